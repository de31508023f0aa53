"""Kernels that are connected, beat, and say nothing: what they cost meanwhile."""

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

KERNELS = 100
SETTLING = 1.0
SECONDS = 5


def enchannel(kernels: Sequence[Path], seconds: int) -> Measured:
    with ExitStack() as stack:
        connected(stack, kernels)
        time.sleep(SETTLING)
        lap = Lap()
        lap.start()
        time.sleep(seconds)
        lap.stop()
    told = lap.each(1)
    return {"share": told["cpu"] / told["wall"]}


SCRIPT = Script(
    name="idle",
    method=(
        f"CPU time of the process over {SECONDS} seconds with {KERNELS} fake kernels connected and "
        "heartbeats as they are by default; of one core."
    ),
    sides={"enchannel": enchannel},
    figures=(
        Figure(
            title=f"idle, {KERNELS} kernels, CPU",
            ours=case("enchannel", Kernels(quiet=KERNELS), seconds=SECONDS),
            unit=Unit.PERCENT,
            value="share",
            goal=Goal.AT_MOST,
            reach=0.02,
            aim=0.005,
        ),
    ),
)

if __name__ == "__main__":
    main(SCRIPT)
