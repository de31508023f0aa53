"""Requests beside a subscriber that takes a second per message."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import enchannel as ec
from benchmarks.case import Figure, Goal, Kernels, Script, case
from benchmarks.command import main
from benchmarks.measuring import SIDE_TIMEOUT, Measured, timed, warm_median

__all__ = ["SCRIPT"]

TWO = Kernels(fake=2)
WAITING_MESSAGES = 1000  # for the slow subscriber
REQUEST_TIMES = 500
SUBSCRIBER_SLEEP = 1.0


def enchannel(kernels: Sequence[Path], waiting: int, times: int) -> Measured:
    """Measure requests, beside a slow subscriber if messages are to wait for one."""
    with ExitStack() as stack:
        slow, other = (stack.enter_context(ec.connect(path)) for path in kernels)
        if waiting:
            request = ec.execute_request(f"flood {waiting} 200")
            subscription = slow.iopub.pipe(ec.child_of(request)).subscribe(_sleep)
            stack.callback(subscription.dispose)
            ec.wait(slow.request(request, timeout=SIDE_TIMEOUT))
        trips = timed(lambda: ec.wait(other.execute("echo")), times)
        interrupts = timed(lambda: ec.wait(slow.request(ec.interrupt_request())), times)
    return {"round_trip": warm_median(trips), "interrupt": warm_median(interrupts)}


def _sleep(message: ec.AnyMessage) -> None:
    time.sleep(SUBSCRIBER_SLEEP)


def _figure(title: str, value: str) -> Figure:
    return Figure(
        title=f"{title} beside a subscriber that sleeps",
        peer="without one",
        ours=case("enchannel", TWO, waiting=WAITING_MESSAGES, times=REQUEST_TIMES),
        theirs=case("enchannel", TWO, waiting=0, times=REQUEST_TIMES),
        value=value,
        goal=Goal.WITHIN,
        required=1.2,
        target=1.1,
    )


SCRIPT = Script(
    name="slow_subscriber",
    method=(
        f"a subscriber of one kernel sleeps {SUBSCRIBER_SLEEP:g} s per message, and {WAITING_MESSAGES:,} "
        f"messages wait for it. The time is the median of {REQUEST_TIMES} round trips on another kernel, "
        f"and of {REQUEST_TIMES} from `interrupt_request` to its reply on the control channel of the same "
        "kernel."
    ),
    sides={"enchannel": enchannel},
    figures=(
        _figure("round trip on another kernel", "round_trip"),
        _figure("interrupt on the same kernel", "interrupt"),
    ),
)

if __name__ == "__main__":
    main(SCRIPT)
