"""Comm messages with 64 MiB of binary data: what the memory costs, and nothing else."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

import enchannel as ec
from benchmarks.case import Figure, Goal, Script, Unit, case
from benchmarks.command import main
from benchmarks.measuring import DEADLINE, Lap, Measured

__all__ = ["SCRIPT"]

WARM = 2
MESSAGES = 12
SIZE = 64 << 20
NUMBERS = {"messages": MESSAGES, "size": SIZE}


def enchannel(kernels: Sequence[Path], messages: int, size: int) -> Measured:
    with ec.connect(kernels[0]) as kernel:
        for count in (WARM, messages):
            tally = _Tally()
            request = ec.execute_request(f"buffers {count} {size}")
            kernel.iopub.pipe(ec.child_of(request)).subscribe(tally.hear)
            kernel.shell.on_next(request)
            tally.over.wait(DEADLINE)
    if tally.received != messages * size:
        raise RuntimeError(f"{tally.received} of {messages * size} bytes arrived")
    return tally.lap.each(messages)


class _Tally:
    """Looks at the buffers, and keeps none."""

    def __init__(self) -> None:
        self.lap = Lap()
        self.received = 0
        self.over = threading.Event()

    def hear(self, message: ec.AnyMessage) -> None:
        if message.buffers:
            self.received += len(message.buffers[0])
        elif message.content["execution_state"] == "busy":
            self.lap.start()
        else:
            self.lap.stop()
            self.over.set()


def copying(kernels: Sequence[Path], messages: int, size: int) -> Measured:
    from benchmarks.peers import bare

    with bare.connected(kernels[0], listens=True) as sockets:
        for count in (WARM, messages):
            sockets.run(f"buffers {count} {size}")
            lap = bare.receive_buffers(sockets)
        return lap.each(messages)


SCRIPT = Script(
    name="buffers",
    method=(
        "12 comm messages with a buffer of 64 MiB each, which the kernel sends without copying, from busy "
        "to idle; a message. The peer is `recv_multipart()`, which copies, and the signature."
    ),
    sides={"enchannel": enchannel, "copying": copying},
    figures=(
        Figure(
            title="64 MiB buffer, a message",
            peer="recv_multipart()",
            ours=case("enchannel", **NUMBERS),
            theirs=case("copying", **NUMBERS),
            unit=Unit.MILLISECONDS,
            goal=Goal.WITHIN,
            reach=0.8,
            aim=0.6,
        ),
    ),
)

if __name__ == "__main__":
    main(SCRIPT)
