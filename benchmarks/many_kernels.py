"""A flood from one kernel, beside many connected kernels that are idle."""

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
from benchmarks.limits import raise_descriptor_limit
from benchmarks.measuring import SIDE_TIMEOUT, Measured, Tally

__all__ = ["SCRIPT", "connected"]

MESSAGE_COUNT = 20_000
TEXT_SIZE = 200  # characters
IDLE_KERNELS = 500
DESCRIPTORS_PER_KERNEL = 30  # with some to spare
CONNECTING_THREADS = 8


def connected(stack: ExitStack, files: Sequence[Path]) -> list[ec.Kernel]:
    """Connect to all kernels, several at a time, until the stack closes."""
    raise_descriptor_limit(DESCRIPTORS_PER_KERNEL * len(files) + 200)
    with ThreadPoolExecutor(CONNECTING_THREADS) as pool:
        kernels = list(pool.map(lambda path: ec.connect(path, timeout=SIDE_TIMEOUT), files))
    for kernel in kernels:
        stack.callback(kernel.close)
    return kernels


def enchannel(kernels: Sequence[Path], messages: int, size: int) -> Measured:
    """Measure a flood from the first kernel, and the time to connect."""
    with ExitStack() as stack:
        started = perf_counter()
        flooding, *_ = connected(stack, kernels)
        connecting = (perf_counter() - started) / len(kernels)
        for count in (1000, messages):
            tally = Tally(count)
            request = ec.execute_request(f"flood {count} {size}")
            flooding.iopub.pipe(ec.child_of(request), ops.map(text)).subscribe(tally.on_text)
            flooding.shell.on_next(request)
            tally.finished.wait(SIDE_TIMEOUT)
        return {**tally.result(), "connecting": connecting}


BESIDE = case(
    "enchannel", Kernels(fake=1, idle=IDLE_KERNELS), messages=MESSAGE_COUNT, size=TEXT_SIZE
)

SCRIPT = Script(
    name="many_kernels",
    method=(
        f"the flood of 200 B beside {IDLE_KERNELS} more kernels that are connected and send only "
        "heartbeats; these are in one process, and the flooding one in another. Eight threads connect."
    ),
    sides={"enchannel": enchannel},
    figures=(
        Figure(
            title=f"flood, 200 B, beside {IDLE_KERNELS} idle kernels, per message",
            peer="alone",
            ours=BESIDE,
            theirs=case("enchannel", messages=MESSAGE_COUNT, size=TEXT_SIZE),
            goal=Goal.WITHIN,
            required=1.3,
            target=1.1,
        ),
        Figure(
            title=f"connecting to {IDLE_KERNELS} kernels, per kernel",
            ours=BESIDE,
            unit=Unit.MILLISECONDS,
            value="connecting",
        ),
    ),
)

if __name__ == "__main__":
    main(SCRIPT)
