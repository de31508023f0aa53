"""A subscriber that takes a second for a message: whom it delays, which is nobody."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import enchannel as ec
from benchmarks.case import Figure, Goal, Kernels, Script, case
from benchmarks.command import main
from benchmarks.measuring import DEADLINE, Measured, half_of, timed

__all__ = ["SCRIPT"]

TWO = Kernels(fake=2)
WAITING = 1000  # messages before the slow subscriber
TIMES = 500
NAP = 1.0


def enchannel(kernels: Sequence[Path], waiting: int, times: int) -> Measured:
    """With a slow subscriber if there are messages that wait for one."""
    with ExitStack() as stack:
        slow, other = (stack.enter_context(ec.connect(path)) for path in kernels)
        if waiting:
            request = ec.execute_request(f"flood {waiting} 200")
            subscription = slow.iopub.pipe(ec.child_of(request)).subscribe(_sleep)
            stack.callback(subscription.dispose)
            ec.wait(slow.request(request, timeout=DEADLINE))
        trips = timed(lambda: ec.wait(other.execute("echo")), times)
        interrupts = timed(lambda: ec.wait(slow.request(ec.interrupt_request())), times)
    return {"round_trip": half_of(trips), "interrupt": half_of(interrupts)}


def _sleep(message: ec.AnyMessage) -> None:
    time.sleep(NAP)


def _figure(title: str, value: str) -> Figure:
    return Figure(
        title=f"{title} beside a subscriber that sleeps",
        peer="without one",
        ours=case("enchannel", TWO, waiting=WAITING, times=TIMES),
        theirs=case("enchannel", TWO, waiting=0, times=TIMES),
        value=value,
        goal=Goal.WITHIN,
        reach=1.2,
        aim=1.1,
    )


SCRIPT = Script(
    name="slow_subscriber",
    method=(
        f"a subscriber of one kernel sleeps {NAP:g} s a message, and {WAITING:,} wait for it; meanwhile "
        f"half of {TIMES} round trips on another kernel, and of {TIMES} from `interrupt_request` to its "
        "reply on the control channel of the same one."
    ),
    sides={"enchannel": enchannel},
    figures=(
        _figure("round trip on another kernel", "round_trip"),
        _figure("interrupt on the same kernel", "interrupt"),
    ),
)

if __name__ == "__main__":
    main(SCRIPT)
