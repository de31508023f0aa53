"""Messages that nobody keeps: by how much the process grows."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from pathlib import Path

from reactivex import operators as ops

import enchannel as ec
from benchmarks.case import Figure, Goal, Script, Unit, case
from benchmarks.command import main
from benchmarks.flood import text
from benchmarks.measuring import DEADLINE, Measured, Tally

__all__ = ["SCRIPT"]

MESSAGES = 1_000_000
SIZE = 200
AT_ONCE = 10_000  # a flood of all of them would wait in a queue, which is memory too
WARM = 30  # floods, after which everything that is allocated once is allocated


def enchannel(kernels: Sequence[Path], messages: int, size: int) -> Measured:
    import psutil

    process = psutil.Process()
    with ec.connect(kernels[0]) as kernel:
        for _ in range(WARM):
            _flood(kernel, size)
        gc.collect()
        before = process.memory_info().rss
        for _ in range(messages // AT_ONCE):
            _flood(kernel, size)
        gc.collect()
        return {"growth": process.memory_info().rss - before}


def _flood(kernel: ec.Kernel, size: int) -> None:
    tally = Tally(AT_ONCE)
    request = ec.execute_request(f"flood {AT_ONCE} {size}")
    kernel.iopub.pipe(ec.child_of(request), ops.map(text)).subscribe(tally.hear)
    kernel.request(request).subscribe()
    tally.over.wait(DEADLINE)
    tally.told()


SCRIPT = Script(
    name="memory",
    method=(
        f"resident memory after {MESSAGES:,} messages of 200 B in floods of {AT_ONCE:,}, each flood a "
        f"request and a subscription that is not disposed of, less that after the first {WARM} floods."
    ),
    sides={"enchannel": enchannel},
    figures=(
        Figure(
            title=f"growth over {MESSAGES:,} messages that nobody keeps",
            ours=case("enchannel", messages=MESSAGES, size=SIZE),
            unit=Unit.MEGABYTES,
            value="growth",
            goal=Goal.AT_MOST,
            reach=10e6,
            aim=1e6,
        ),
    ),
)

if __name__ == "__main__":
    main(SCRIPT)
