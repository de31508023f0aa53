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

MESSAGES = 8
SIZE = 64 << 20
NUMBERS = {"messages": MESSAGES, "size": SIZE}


def enchannel(kernels: Sequence[Path], messages: int, size: int) -> Measured:
    lap, over = Lap(), threading.Event()
    received = 0

    def hear(message: ec.AnyMessage) -> None:
        nonlocal received
        if message.buffers:
            received += len(message.buffers[0])
        elif message.content["execution_state"] == "busy":
            lap.start()
        else:
            lap.stop()
            over.set()

    with ec.connect(kernels[0]) as kernel:
        request = ec.execute_request(f"buffers {messages} {size}")
        kernel.iopub.pipe(ec.child_of(request)).subscribe(hear)
        kernel.shell.on_next(request)
        over.wait(DEADLINE)
    if received != messages * size:
        raise RuntimeError(f"{received} of {messages * size} bytes arrived")
    return lap.each(messages)


def copying(kernels: Sequence[Path], messages: int, size: int) -> Measured:
    from benchmarks.peers import bare

    with bare.connected(kernels[0], listens=True) as sockets:
        sockets.run(f"buffers {messages} {size}")
        return bare.receive_buffers(sockets).each(messages)


SCRIPT = Script(
    name="buffers",
    method=(
        "8 comm messages with a buffer of 64 MiB each, which the kernel sends without copying, from busy "
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
