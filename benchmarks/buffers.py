"""The cost of comm messages with 64 MiB of binary data, which is mostly memory access."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

import enchannel as ec
from benchmarks.case import Figure, Goal, Script, Unit, case
from benchmarks.command import main
from benchmarks.measuring import SIDE_TIMEOUT, Lap, Measured

__all__ = ["SCRIPT"]

WARM_UP_MESSAGES = 2
MESSAGE_COUNT = 12
BUFFER_SIZE = 64 << 20  # bytes
NUMBERS = {"messages": MESSAGE_COUNT, "size": BUFFER_SIZE}


def enchannel(kernels: Sequence[Path], messages: int, size: int) -> Measured:
    with ec.connect(kernels[0]) as kernel:
        for count in (WARM_UP_MESSAGES, messages):
            tally = _Tally()
            request = ec.execute_request(f"buffers {count} {size}")
            kernel.iopub.pipe(ec.child_of(request)).subscribe(tally.on_message)
            kernel.shell.on_next(request)
            tally.finished.wait(SIDE_TIMEOUT)
    if tally.received != messages * size:
        raise RuntimeError(f"{tally.received} of {messages * size} bytes arrived")
    return tally.lap.per_item(messages)


class _Tally:
    """Counts the bytes of buffers, and keeps no buffer."""

    def __init__(self) -> None:
        self.lap = Lap()
        self.received = 0
        self.finished = threading.Event()

    def on_message(self, message: ec.AnyMessage) -> None:
        if message.buffers:
            self.received += len(message.buffers[0])
        elif message.content["execution_state"] == "busy":
            self.lap.start()
        else:
            self.lap.stop()
            self.finished.set()


def copying(kernels: Sequence[Path], messages: int, size: int) -> Measured:
    from benchmarks.peers import bare_zmq

    with bare_zmq.connected(kernels[0], listens=True) as sockets:
        for count in (WARM_UP_MESSAGES, messages):
            sockets.run(f"buffers {count} {size}")
            lap = bare_zmq.receive_buffers(sockets)
        return lap.per_item(messages)


SCRIPT = Script(
    name="buffers",
    method=(
        "12 comm messages with a buffer of 64 MiB each, which the kernel sends without copying; the time "
        "per message from busy to idle. The peer is `recv_multipart()`, which copies, and the signature."
    ),
    sides={"enchannel": enchannel, "copying": copying},
    figures=(
        Figure(
            title="64 MiB buffer, per message",
            peer="recv_multipart()",
            ours=case("enchannel", **NUMBERS),
            theirs=case("copying", **NUMBERS),
            unit=Unit.MILLISECONDS,
            goal=Goal.WITHIN,
            required=0.8,
            target=0.6,
        ),
    ),
)

if __name__ == "__main__":
    main(SCRIPT)
