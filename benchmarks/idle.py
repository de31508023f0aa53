"""The CPU time of connected kernels that send only heartbeats."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from benchmarks.case import Figure, Goal, Kernels, Script, Unit, case
from benchmarks.command import main
from benchmarks.many_kernels import connected
from benchmarks.measuring import Lap, Measured

__all__ = ["SCRIPT"]

KERNEL_COUNT = 100
SETTLING_TIME = 1.0
IDLE_TIME = 5


def enchannel(kernels: Sequence[Path], seconds: int) -> Measured:
    with ExitStack() as stack:
        connected(stack, kernels)
        time.sleep(SETTLING_TIME)
        lap = Lap()
        lap.start()
        time.sleep(seconds)
        lap.stop()
    measured = lap.per_item(1)
    return {"share": measured["cpu"] / measured["wall"]}


SCRIPT = Script(
    name="idle",
    method=(
        f"CPU time of the process over {IDLE_TIME} seconds, with {KERNEL_COUNT} fake kernels connected and"
        " the default heartbeats, as a share of one core."
    ),
    sides={"enchannel": enchannel},
    figures=(
        Figure(
            title=f"idle, {KERNEL_COUNT} kernels, CPU",
            ours=case("enchannel", Kernels(idle=KERNEL_COUNT), seconds=IDLE_TIME),
            unit=Unit.PERCENT,
            value="share",
            goal=Goal.AT_MOST,
            required=0.02,
            target=0.005,
        ),
    ),
)

if __name__ == "__main__":
    main(SCRIPT)
