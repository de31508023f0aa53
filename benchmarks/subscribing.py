"""One more subscription among those that are there: what subscribing and disposing of it costs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import enchannel as ec
from benchmarks.case import Case, Figure, Goal, Script, case
from benchmarks.command import main
from benchmarks.measuring import Measured, half_of, timed

__all__ = ["SCRIPT"]

TIMES = 2000
AMONG = 5000


def enchannel_child_of(kernels: Sequence[Path], among: int, times: int) -> Measured:
    """Each to another request."""
    with ec.connect(kernels[0]) as kernel:
        for number in range(among):
            kernel.iopub.pipe(ec.child_of(f"request {number}")).subscribe(_hear)
        samples = timed(
            lambda: kernel.iopub.pipe(ec.child_of("another")).subscribe(_hear).dispose(), times
        )
    return {"wall": half_of(samples)}


def enchannel_same(kernels: Sequence[Path], among: int, times: int) -> Measured:
    """All to one request."""
    with ec.connect(kernels[0]) as kernel:
        children = kernel.iopub.pipe(ec.child_of("a request"))
        for _ in range(among):
            children.subscribe(_hear)
        samples = timed(lambda: children.subscribe(_hear).dispose(), times)
    return {"wall": half_of(samples)}


def enchannel_iopub(kernels: Sequence[Path], among: int, times: int) -> Measured:
    """All to the whole channel."""
    with ec.connect(kernels[0]) as kernel:
        for _ in range(among):
            kernel.iopub.subscribe(_hear)
        samples = timed(lambda: kernel.iopub.subscribe(_hear).dispose(), times)
    return {"wall": half_of(samples)}


def _hear(message: ec.AnyMessage) -> None: ...


def _among(side: str, among: int) -> Case:
    return case(side, among=among, times=TIMES)


def _figure(title: str, side: str, *, promised: bool = False) -> Figure:
    return Figure(
        title=f"{title} among {AMONG:,}",
        peer="among 1",
        ours=_among(side, AMONG),
        theirs=_among(side, 1),
        goal=Goal.WITHIN,
        reach=1.2 if promised else None,
    )


CHILD = "subscribe and dispose of one more `child_of`"
SCRIPT = Script(
    name="subscribing",
    method=(
        "half of 2,000 times; each of the 5,000 is a `child_of` of another request, or all of them are of "
        "the same, or subscribers to the whole channel."
    ),
    sides={
        "enchannel_child_of": enchannel_child_of,
        "enchannel_same": enchannel_same,
        "enchannel_iopub": enchannel_iopub,
    },
    figures=(
        _figure(CHILD, "enchannel_child_of", promised=True),
        Figure(
            title=f"{CHILD} among {AMONG:,}",
            ours=_among("enchannel_child_of", AMONG),
            goal=Goal.AT_MOST,
            aim=30e-6,
        ),
        _figure(f"{CHILD} of the same request", "enchannel_same"),
        _figure("subscribe to all of iopub and dispose of it", "enchannel_iopub"),
    ),
)

if __name__ == "__main__":
    main(SCRIPT)
