"""The messages that a kernel with a limited queue drops, and those that we lose."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

import enchannel as ec
from benchmarks.case import Figure, Goal, Kernels, Script, Unit, case
from benchmarks.command import main
from benchmarks.measuring import SIDE_TIMEOUT, Measured

__all__ = ["SCRIPT"]

MESSAGE_COUNT = 50_000
TEXT_SIZE = 200  # characters
LIMITED = Kernels(fake=1, sndhwm=1000)


def enchannel(kernels: Sequence[Path], messages: int, size: int) -> Measured:
    """Return the numbers of messages that arrived, that the kernel dropped, and that were lost here."""
    received = 0
    finished = threading.Event()

    def on_message(message: ec.AnyMessage) -> None:
        nonlocal received
        if message.header.msg_type == "stream":
            received += 1
        elif message.content["execution_state"] == "idle":
            finished.set()

    with ec.connect(kernels[0]) as kernel:
        request = ec.execute_request(f"flood {messages} {size}")
        kernel.iopub.pipe(ec.child_of(request)).subscribe(on_message)
        reply = ec.wait(kernel.request(request, timeout=SIDE_TIMEOUT))
        finished.wait(SIDE_TIMEOUT)
    dropped: int = reply.content["dropped"]
    return {"arrived": received, "dropped": dropped, "lost": messages - dropped - received}


def queueing(kernels: Sequence[Path], messages: int, size: int) -> Measured:
    """Return the same numbers for libzmq alone, which is the upper bound for any client."""
    from benchmarks.peers import bare_zmq

    return bare_zmq.queue_and_count(kernels[0], messages, size)


OURS = case("enchannel", LIMITED, messages=MESSAGE_COUNT, size=TEXT_SIZE)


THEIRS = case("queueing", LIMITED, messages=MESSAGE_COUNT, size=TEXT_SIZE)


def _figure(title: str, value: str, bound: float | None = None) -> Figure:
    return Figure(
        title=f"{title}, of {MESSAGE_COUNT:,}",
        peer="a bare SUB whose process sleeps",
        ours=OURS,
        theirs=THEIRS,
        unit=Unit.MESSAGES,
        value=value,
        goal=Goal.NONE if bound is None else Goal.AT_MOST,
        required=bound,
    )


SCRIPT = Script(
    name="lossless",
    method=(
        f"a flood of {MESSAGE_COUNT:,} messages of 200 B from a kernel with libzmq's default SNDHWM of "
        "1,000. The kernel counts the messages that it drops (with XPUB_NODROP a full socket raises); "
        "messages that it sent and that did not arrive would be lost on our side. The peer is a SUB "
        "socket that libzmq fills while its process sleeps: no client can avoid the drops of that case."
    ),
    sides={"enchannel": enchannel, "queueing": queueing},
    figures=(
        _figure("sent at full speed and lost on our side", "lost", 0),
        _figure("dropped by the kernel before sending", "dropped"),
        _figure("arrived", "arrived"),
    ),
)

if __name__ == "__main__":
    main(SCRIPT)
