"""A kernel that drops what it cannot send, as they do by default: whether we are quick enough."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

import enchannel as ec
from benchmarks.case import Figure, Goal, Kernels, Script, Unit, case
from benchmarks.command import main
from benchmarks.measuring import DEADLINE, Measured

__all__ = ["SCRIPT"]

MESSAGES = 50_000
SIZE = 200
LIMITED = Kernels(fake=1, sndhwm=1000)


def enchannel(kernels: Sequence[Path], messages: int, size: int) -> Measured:
    """How many of the messages did not arrive, and how many the kernel never sent."""
    heard = 0
    over = threading.Event()

    def hear(message: ec.AnyMessage) -> None:
        nonlocal heard
        if message.header.msg_type == "stream":
            heard += 1
        elif message.content["execution_state"] == "idle":
            over.set()

    with ec.connect(kernels[0]) as kernel:
        request = ec.execute_request(f"flood {messages} {size}")
        kernel.iopub.pipe(ec.child_of(request)).subscribe(hear)
        reply = ec.wait(kernel.request(request, timeout=DEADLINE))
        over.wait(DEADLINE)
    dropped: int = reply.content["dropped"]
    return {"arrived": heard, "dropped": dropped, "lost": messages - dropped - heard}


def queueing(kernels: Sequence[Path], messages: int, size: int) -> Measured:
    """What libzmq takes in by itself: no client can take more."""
    from benchmarks.peers import bare

    return bare.queue_and_count(kernels[0], messages, size)


FLOODED = case("enchannel", LIMITED, messages=MESSAGES, size=SIZE)


THEIRS = case("queueing", LIMITED, messages=MESSAGES, size=SIZE)


def _figure(title: str, value: str, bound: float | None = None) -> Figure:
    return Figure(
        title=f"{title}, of {MESSAGES:,}",
        peer="a bare SUB whose process sleeps",
        ours=FLOODED,
        theirs=THEIRS,
        unit=Unit.MESSAGES,
        value=value,
        goal=Goal.NONE if bound is None else Goal.AT_MOST,
        reach=bound,
    )


SCRIPT = Script(
    name="lossless",
    method=(
        f"a flood of {MESSAGES:,} messages of 200 B from a kernel with libzmq's default SNDHWM of 1,000. "
        "The kernel counts what it drops (with XPUB_NODROP a socket tells when it would); "
        "what it sent and did not arrive would be our loss. What it drops for a SUB that libzmq "
        "fills while nobody reads is what the machine drops, whoever listens."
    ),
    sides={"enchannel": enchannel, "queueing": queueing},
    figures=(
        _figure("sent at full speed and lost on our side", "lost", 0),
        _figure("dropped by the kernel, before it is sent", "dropped"),
        _figure("arrived", "arrived"),
    ),
)

if __name__ == "__main__":
    main(SCRIPT)
