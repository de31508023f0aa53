"""The command lines of the package and of each script."""

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
from benchmarks.rounds import WORKING_TREE, Samples, measure
from benchmarks.table import HEAD, aligned, compared, rows

__all__ = ["main", "run"]

DEFAULT_ROUNDS = 7


def main(script: Script) -> None:
    """Run one script, or measure one side of it in this process."""
    parser = _parser(f"{script.name}: {script.method}", f"benchmarks.{script.name}")
    side = parser.add_argument_group("internal", "measure one side in this process")
    side.add_argument("--side", choices=script.sides, help="the side to measure")
    side.add_argument("--numbers", type=json.loads, default={}, help="its arguments, as JSON")
    side.add_argument("--kernels", type=Path, nargs="*", default=[], help="connection files")
    options = parser.parse_args()
    if options.side is None:
        _run([script], options)
        return
    try:
        result: object = script.sides[options.side](options.kernels, **options.numbers)
    except Skipped as reason:
        result = {"skipped": str(reason)}
    print(json.dumps(result), flush=True)


def run(scripts: Sequence[Script]) -> None:
    """Run several scripts."""
    parser = _parser("Measure enchannel beside other clients, and print a table.", "benchmarks")
    by_name = {script.name: script for script in scripts}
    parser.add_argument(
        "scripts",
        nargs="*",
        metavar="SCRIPT",
        help=f"the scripts to run (default: all): {', '.join(by_name)}",
    )
    options = parser.parse_args()
    if unknown := ", ".join(name for name in options.scripts if name not in by_name):
        parser.error(f"unknown script {unknown}; choose from {', '.join(by_name)}")
    _run([by_name[name] for name in options.scripts or by_name], options)


def _parser(description: str, module: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(f"python -m {module}", description=description)
    parser.add_argument(
        "--rounds",
        type=int,
        default=DEFAULT_ROUNDS,
        help="measurements of each case (default: %(default)s)",
    )
    parser.add_argument(
        "--compare", metavar="REV", help="compare enchannel with a git revision of itself instead"
    )
    parser.add_argument(
        "--set",
        metavar="NAME=NUMBER",
        action="append",
        type=_number,
        default=[],
        help="override a number of the cases, such as messages=1000; the table is then not written",
    )
    parser.add_argument(
        "--write", action="store_true", help="replace docs/performance.md with the new table"
    )
    return parser


def _number(text: str) -> tuple[str, int]:
    name, _, number = text.partition("=")
    return name, int(number)


def _run(scripts: Sequence[Script], options: argparse.Namespace) -> None:
    scripts = [script.with_numbers(dict(options.set)) for script in scripts]
    if options.compare is not None:
        _compare(scripts, options.rounds, options.compare)
        return
    measured: list[tuple[Script, Samples]] = []
    for script in scripts:
        samples = measure(script, script.cases(), options.rounds)
        measured.append((script, samples))
        print(aligned(HEAD, rows(script, samples)), end="\n\n", flush=True)
    if options.write and not options.set:
        path = WORKING_TREE.path / "docs" / "performance.md"
        path.write_text(report(measured, options.rounds))
        print(f"wrote {path.relative_to(WORKING_TREE.path)}", file=sys.stderr)


def _compare(scripts: Sequence[Script], rounds: int, revision: str) -> None:
    with checked_out(revision) as before:
        for script in scripts:
            cases = [case for case in script.cases() if case.ours]
            samples = measure(script, cases, rounds, (before, WORKING_TREE))
            head = (script.name, "", before.name, WORKING_TREE.name, "ratio")
            print(
                aligned(head, compared(cases, samples, before, WORKING_TREE)),
                end="\n\n",
                flush=True,
            )
