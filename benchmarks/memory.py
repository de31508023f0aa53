"""The growth of the process over many messages that are not kept."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from pathlib import Path

from reactivex import operators as ops

import enchannel as ec
from benchmarks.case import Figure, Goal, Script, Unit, case
from benchmarks.command import main
from benchmarks.flood import text
from benchmarks.measuring import SIDE_TIMEOUT, Measured, Tally

__all__ = ["SCRIPT"]

MESSAGE_COUNT = 1_000_000
TEXT_SIZE = 200  # characters
# One large flood would wait in a queue, which takes memory as well.
MESSAGES_PER_FLOOD = 10_000
# After these floods all one-time allocations are done.
WARM_UP_FLOODS = 30


def enchannel(kernels: Sequence[Path], messages: int, size: int) -> Measured:
    import psutil

    process = psutil.Process()
    with ec.connect(kernels[0]) as kernel:
        for _ in range(WARM_UP_FLOODS):
            _flood(kernel, size)
        gc.collect()
        before = process.memory_info().rss
        for _ in range(messages // MESSAGES_PER_FLOOD):
            _flood(kernel, size)
        gc.collect()
        return {"growth": process.memory_info().rss - before}


def _flood(kernel: ec.Kernel, size: int) -> None:
    tally = Tally(MESSAGES_PER_FLOOD)
    request = ec.execute_request(f"flood {MESSAGES_PER_FLOOD} {size}")
    kernel.iopub.pipe(ec.child_of(request), ops.map(text)).subscribe(tally.on_text)
    kernel.request(request).subscribe()
    tally.finished.wait(SIDE_TIMEOUT)
    tally.result()


SCRIPT = Script(
    name="memory",
    method=(
        f"resident memory after {MESSAGE_COUNT:,} messages of 200 B in floods of {MESSAGES_PER_FLOOD:,}, "
        "each with one request and one subscription that is not disposed of, minus that after the first "
        f"{WARM_UP_FLOODS} floods."
    ),
    sides={"enchannel": enchannel},
    figures=(
        Figure(
            title=f"growth over {MESSAGE_COUNT:,} messages that are not kept",
            ours=case("enchannel", messages=MESSAGE_COUNT, size=TEXT_SIZE),
            unit=Unit.MEGABYTES,
            value="growth",
            goal=Goal.AT_MOST,
            required=10e6,
            target=1e6,
        ),
    ),
)

if __name__ == "__main__":
    main(SCRIPT)
