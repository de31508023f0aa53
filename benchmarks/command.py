"""The command line, of the package and of each script."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.case import Script
from benchmarks.measuring import Skipped
from benchmarks.report import report
from benchmarks.revision import checked_out
from benchmarks.rounds import HERE, Samples, measure
from benchmarks.table import HEAD, aligned, compared, rows

__all__ = ["main", "run"]

ROUNDS = 7


def main(script: Script) -> None:
    """Of one script: as somebody calls it, or as the process of one side."""
    parser = _parser(script.method, f"benchmarks.{script.name}")
    side = parser.add_argument_group("one side", "what it is called with to be measured")
    side.add_argument("--side", choices=script.sides)
    side.add_argument("--numbers", type=json.loads, default={})
    side.add_argument("--kernels", type=Path, nargs="*", default=[])
    given = parser.parse_args()
    if given.side is None:
        _run([script], given)
        return
    try:
        told: object = script.sides[given.side](given.kernels, **given.numbers)
    except Skipped as reason:
        told = {"skipped": str(reason)}
    print(json.dumps(told), flush=True)


def run(scripts: Sequence[Script]) -> None:
    """Of the package."""
    parser = _parser("Measure enchannel beside its peers.", "benchmarks")
    by_name = {script.name: script for script in scripts}
    parser.add_argument(
        "figures", nargs="*", metavar="FIGURE", help=f"of {', '.join(by_name)}; or all"
    )
    given = parser.parse_args()
    if unknown := ", ".join(name for name in given.figures if name not in by_name):
        parser.error(f"there is no figure {unknown}; there are {', '.join(by_name)}")
    _run([by_name[name] for name in given.figures or by_name], given)


def _parser(description: str, module: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(f"python -m {module}", description=description)
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"{ROUNDS} unless said")
    parser.add_argument(
        "--compare", metavar="REV", help="measure our own sides on this revision of git as well"
    )
    parser.add_argument(
        "--set",
        metavar="NAME=NUMBER",
        action="append",
        type=_number,
        default=[],
        help="messages=1000, for example: a shorter run, of which nothing is written",
    )
    parser.add_argument(
        "--write", action="store_true", help="write the table to docs/performance.md"
    )
    return parser


def _number(text: str) -> tuple[str, int]:
    name, _, number = text.partition("=")
    return name, int(number)


def _run(scripts: Sequence[Script], given: argparse.Namespace) -> None:
    scripts = [script.with_numbers(dict(given.set)) for script in scripts]
    if given.compare is not None:
        _compare(scripts, given.rounds, given.compare)
        return
    measured: list[tuple[Script, Samples]] = []
    for script in scripts:
        samples = measure(script, script.cases(), given.rounds)
        measured.append((script, samples))
        print(aligned(HEAD, rows(script, samples)), end="\n\n", flush=True)
    if given.write and not given.set:
        path = HERE.path / "docs" / "performance.md"
        path.write_text(report(measured, given.rounds))
        print(f"written to {path.relative_to(HERE.path)}", file=sys.stderr)


def _compare(scripts: Sequence[Script], rounds: int, revision: str) -> None:
    with checked_out(revision) as before:
        for script in scripts:
            cases = [case for case in script.cases() if case.ours]
            samples = measure(script, cases, rounds, (before, HERE))
            head = (script.name, "", before.name, HERE.name, "ratio")
            print(aligned(head, compared(cases, samples, before, HERE)), end="\n\n", flush=True)
