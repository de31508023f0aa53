"""One kernel that floods, beside many that are connected and say nothing."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from time import perf_counter

from reactivex import operators as ops

import enchannel as ec
from benchmarks.case import Figure, Goal, Kernels, Script, Unit, case
from benchmarks.command import main
from benchmarks.flood import text
from benchmarks.limits import raise_descriptors
from benchmarks.measuring import DEADLINE, Measured, Tally

__all__ = ["SCRIPT", "connected"]

MESSAGES = 20_000
SIZE = 200
QUIET = 500
DESCRIPTORS = 30  # of a connected kernel, and some to spare
CONNECTING = 8  # at a time


def connected(stack: ExitStack, files: Sequence[Path]) -> list[ec.Kernel]:
    """All of them, several at a time, until the end of the stack."""
    raise_descriptors(DESCRIPTORS * len(files) + 200)
    with ThreadPoolExecutor(CONNECTING) as pool:
        kernels = list(pool.map(lambda path: ec.connect(path, timeout=DEADLINE), files))
    for kernel in kernels:
        stack.callback(kernel.close)
    return kernels


def enchannel(kernels: Sequence[Path], messages: int, size: int) -> Measured:
    """A flood of the first."""
    with ExitStack() as stack:
        began = perf_counter()
        loud, *_ = connected(stack, kernels)
        connecting = (perf_counter() - began) / len(kernels)
        for count in (1000, messages):
            tally = Tally(count)
            request = ec.execute_request(f"flood {count} {size}")
            loud.iopub.pipe(ec.child_of(request), ops.map(text)).subscribe(tally.hear)
            loud.shell.on_next(request)
            tally.over.wait(DEADLINE)
        return {**tally.told(), "connecting": connecting}


BESIDE = case("enchannel", Kernels(fake=1, quiet=QUIET), messages=MESSAGES, size=SIZE)

SCRIPT = Script(
    name="many_kernels",
    method=(
        f"the flood of 200 B, with {QUIET} kernels more that are connected, with heartbeats, and say "
        "nothing; they are in one process, the one that floods in another. Connecting is eight at a time."
    ),
    sides={"enchannel": enchannel},
    figures=(
        Figure(
            title=f"flood, 200 B, beside {QUIET} idle kernels, a message",
            peer="alone",
            ours=BESIDE,
            theirs=case("enchannel", messages=MESSAGES, size=SIZE),
            goal=Goal.WITHIN,
            reach=1.3,
            aim=1.1,
        ),
        Figure(
            title=f"connecting to {QUIET} kernels, each",
            ours=BESIDE,
            unit=Unit.MILLISECONDS,
            value="connecting",
        ),
    ),
)

if __name__ == "__main__":
    main(SCRIPT)
