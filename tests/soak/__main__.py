"""The command line: ``python -m tests.soak --minutes 20 --seed 1``."""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack

from tests.conftest import leases, our_threads
from tests.rigs import eventually
from tests.rigs.processes import descendants
from tests.soak.catalog import Group
from tests.soak.journal import Journal
from tests.soak.kernels import Place
from tests.soak.languages import LANGUAGES
from tests.soak.rounds import Plan, Soak

SUMMARY_INTERVAL = 60.0


def main() -> int:
    """Soak for a time or a number of rounds; return 1 if an invariant did not hold."""
    options = _parser().parse_args()
    plan = Plan(
        seed=options.seed,
        kernel=options.kernel,
        place=Place(options.at),
        kernel_count=options.kernels,
        operations=options.operations,
        groups=frozenset(map(Group, options.groups)),
        only=frozenset(options.only),
    )
    journal = Journal(verbose=options.verbose)
    print(f"seed {plan.seed}, kernel {plan.kernel}", flush=True)
    started = time.monotonic()
    last_summary = started
    rounds = 0
    with ExitStack() as stack:
        soak = stack.enter_context(Soak(plan, journal))
        for number in _numbers(options):
            rounds += 1
            if not soak.perform(number):
                _print_failure(plan, number, journal)
                if not options.keep_going:
                    break
                # The operations that caused a violation may still run, and would cause others.
                stack.close()
                soak = stack.enter_context(Soak(plan, journal))
            if time.monotonic() - last_summary > SUMMARY_INTERVAL:
                last_summary = time.monotonic()
                print(f"{last_summary - started:.0f} s, {_summary(rounds, journal)}", flush=True)
    _check_nothing_left(journal)
    print(f"{time.monotonic() - started:.0f} s, {_summary(rounds, journal)}")
    for name, count in sorted(journal.counts.items()):
        print(f"{count:8} {name}")
    return 1 if journal.violations else 0


def _numbers(options: argparse.Namespace) -> Iterator[int]:
    """Return the numbers of the rounds."""
    deadline = time.monotonic() + options.minutes * 60
    for number in itertools.count(options.first):
        if options.rounds is not None:
            if number >= options.first + options.rounds:
                return
        elif time.monotonic() > deadline:
            return
        yield number


def _summary(rounds: int, journal: Journal) -> str:
    operations = sum(journal.counts.values())
    return f"{rounds} rounds, {operations} operations, {len(journal.violations)} violations"


def _print_failure(plan: Plan, number: int, journal: Journal) -> None:
    print(journal.failure())
    print(
        f"repeat with: python -m tests.soak --seed {plan.seed} --first {number} --rounds 1 "
        f"--kernel {plan.kernel} --kernels {plan.kernel_count} --operations {plan.operations}",
        flush=True,
    )


def _check_nothing_left(journal: Journal) -> None:
    def left() -> list[object]:
        return [*our_threads(), *leases(), *descendants()]

    if not eventually(lambda: not left()):
        journal.report(f"left behind: {left()}")
        print(journal.violations[-1])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m tests.soak",
        description="Perform random operations on real kernels, and check invariants.",
    )
    parser.add_argument("--minutes", type=float, default=1.0, help="default: %(default)s")
    parser.add_argument("--rounds", type=int, help="perform so many rounds instead")
    parser.add_argument("--first", type=int, default=0, help="the number of the first round")
    parser.add_argument("--seed", type=int, default=1, help="determines all operations")
    parser.add_argument("--kernel", choices=LANGUAGES, default="python3")
    parser.add_argument("--kernels", type=int, default=2, help="number of kernels")
    parser.add_argument("--operations", type=int, default=4, help="of each actor in a round")
    parser.add_argument("--at", metavar="URL", help="launch the kernels at a server or relay")
    parser.add_argument(
        "--groups",
        metavar="NAME",
        nargs="*",
        choices=list(Group),
        default=list(Group),
        help=f"perform operations of these groups only: {', '.join(Group)}",
    )
    parser.add_argument(
        "--only", metavar="NAME", nargs="*", default=[], help="perform these operations only"
    )
    parser.add_argument(
        "--keep-going", action="store_true", help="continue after a violation, in new kernels"
    )
    parser.add_argument("--verbose", action="store_true", help="print the journal")
    return parser


if __name__ == "__main__":
    sys.exit(main())
