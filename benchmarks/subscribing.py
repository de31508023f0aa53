"""The cost of one more subscription beside many existing ones."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import enchannel as ec
from benchmarks.case import Case, Figure, Goal, Script, case
from benchmarks.command import main
from benchmarks.measuring import Measured, timed, warm_median

__all__ = ["SCRIPT"]

SUBSCRIBE_TIMES = 2000
EXISTING_SUBSCRIPTIONS = 5000


def enchannel_child_of(kernels: Sequence[Path], among: int, times: int) -> Measured:
    """Measure subscriptions that all have different requests."""
    with ec.connect(kernels[0]) as kernel:
        for number in range(among):
            kernel.iopub.pipe(ec.child_of(f"request {number}")).subscribe(_on_message)
        samples = timed(
            lambda: kernel.iopub.pipe(ec.child_of("another")).subscribe(_on_message).dispose(),
            times,
        )
    return {"wall": warm_median(samples)}


def enchannel_same(kernels: Sequence[Path], among: int, times: int) -> Measured:
    """Measure subscriptions to the children of one request."""
    with ec.connect(kernels[0]) as kernel:
        children = kernel.iopub.pipe(ec.child_of("a request"))
        for _ in range(among):
            children.subscribe(_on_message)
        samples = timed(lambda: children.subscribe(_on_message).dispose(), times)
    return {"wall": warm_median(samples)}


def enchannel_iopub(kernels: Sequence[Path], among: int, times: int) -> Measured:
    """Measure subscriptions to the whole channel."""
    with ec.connect(kernels[0]) as kernel:
        for _ in range(among):
            kernel.iopub.subscribe(_on_message)
        samples = timed(lambda: kernel.iopub.subscribe(_on_message).dispose(), times)
    return {"wall": warm_median(samples)}


def _on_message(message: ec.AnyMessage) -> None: ...


def _among(side: str, among: int) -> Case:
    return case(side, among=among, times=SUBSCRIBE_TIMES)


def _figure(title: str, side: str, *, has_bound: bool = False) -> Figure:
    return Figure(
        title=f"{title} among {EXISTING_SUBSCRIPTIONS:,}",
        peer="among 1",
        ours=_among(side, EXISTING_SUBSCRIPTIONS),
        theirs=_among(side, 1),
        goal=Goal.WITHIN,
        required=1.2 if has_bound else None,
    )


CHILD = "subscribe and dispose of one more `child_of`"
SCRIPT = Script(
    name="subscribing",
    method=(
        "the median of 2,000 times, beside 5,000 subscriptions: each a `child_of` a different request, all "
        "of the same request, or all to the whole channel."
    ),
    sides={
        "enchannel_child_of": enchannel_child_of,
        "enchannel_same": enchannel_same,
        "enchannel_iopub": enchannel_iopub,
    },
    figures=(
        _figure(CHILD, "enchannel_child_of", has_bound=True),
        Figure(
            title=f"{CHILD} among {EXISTING_SUBSCRIPTIONS:,}",
            ours=_among("enchannel_child_of", EXISTING_SUBSCRIPTIONS),
            goal=Goal.AT_MOST,
            target=30e-6,
        ),
        _figure(f"{CHILD} of the same request", "enchannel_same"),
        _figure("subscribe to all of iopub and dispose of it", "enchannel_iopub"),
    ),
)

if __name__ == "__main__":
    main(SCRIPT)
