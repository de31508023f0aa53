"""The cost of a message from socket to subscriber, while a kernel prints as fast as it can."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from reactivex import operators as ops

import enchannel as ec
from benchmarks.case import Figure, Goal, Script, case
from benchmarks.command import main
from benchmarks.measuring import SIDE_TIMEOUT, Measured, Tally

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["SCRIPT", "text"]

MESSAGE_COUNT = 20_000


def text(message: ec.AnyMessage) -> str:
    """Return the text of a stream message, or the state in a status message."""
    content = message.content
    text: str
    if message.header.msg_type == "stream":
        text = content["text"]
    else:
        text = content["execution_state"]
    return text


def enchannel(kernels: Sequence[Path], messages: int, size: int) -> Measured:
    with ec.connect(kernels[0]) as kernel:
        for count, characters in ((1000, 200), (messages, size)):
            tally = Tally(count)
            request = ec.execute_request(f"flood {count} {characters}")
            kernel.iopub.pipe(ec.child_of(request), ops.map(text)).subscribe(tally.on_text)
            kernel.shell.on_next(request)
            tally.finished.wait(SIDE_TIMEOUT)
    return tally.result()


def jupyter_client(kernels: Sequence[Path], client: str, messages: int, size: int) -> Measured:
    from benchmarks.peers import jupyter

    return jupyter.flood(client, kernels[0], messages, size)


def plain_pyzmq(kernels: Sequence[Path], messages: int, size: int) -> Measured:
    from benchmarks.peers import bare_zmq

    return bare_zmq.flood(kernels[0], messages, size, bare_zmq.receive_simply)


def minimal_pyzmq(kernels: Sequence[Path], messages: int, size: int) -> Measured:
    from benchmarks.peers import bare_zmq

    return bare_zmq.flood(kernels[0], messages, size, bare_zmq.receive_minimally)


def _figures(size: int, required: float, target: float) -> list[Figure]:
    title = f"flood, {size:,} B, per message"
    ours = case("enchannel", messages=MESSAGE_COUNT, size=size)
    clients = {
        name: case("jupyter_client", client=name, messages=MESSAGE_COUNT, size=size)
        for name in ("blocking", "async", "threaded")
    }
    plain = case("plain_pyzmq", messages=MESSAGE_COUNT, size=size)
    lowest = case("minimal_pyzmq", messages=MESSAGE_COUNT, size=size)
    blocking = Figure(
        title=title,
        peer="jupyter_client, blocking",
        ours=ours,
        theirs=clients["blocking"],
        goal=Goal.FASTER,
        required=required,
        target=target,
    )
    others = [
        Figure(
            title=title,
            peer=f"jupyter_client, {name}",
            ours=ours,
            theirs=clients[name],
            goal=Goal.FASTER,
        )
        for name in ("async", "threaded")
    ]
    within = (3.0, 2.0) if size == 200 else (None, None)
    raw = [
        Figure(
            title=title,
            peer="recv_multipart, hmac, msgspec",
            ours=ours,
            theirs=plain,
            goal=Goal.WITHIN,
        ),
        Figure(
            title=title,
            peer="minimal recv, hmac, no decode",
            ours=ours,
            theirs=lowest,
            goal=Goal.WITHIN,
            required=within[0],
            target=within[1],
        ),
    ]
    cpu = Figure(
        title=f"the same, {size:,} B, CPU of the process",
        peer="minimal recv, hmac, no decode",
        ours=ours,
        theirs=lowest,
        value="cpu",
        goal=Goal.WITHIN,
    )
    return [blocking, *others, *raw, cpu]


SCRIPT = Script(
    name="flood",
    method=(
        'stream messages from busy to idle, with the `content["text"]` of each read. Ours arrive through '
        "`kernel.iopub.pipe(ec.child_of(request), ops.map(text)).subscribe(…)`: verified, decoded, frozen "
        "and delivered on the delivery thread."
    ),
    sides={
        "enchannel": enchannel,
        "jupyter_client": jupyter_client,
        "plain_pyzmq": plain_pyzmq,
        "minimal_pyzmq": minimal_pyzmq,
    },
    figures=(*_figures(200, 8, 15), *_figures(10_000, 3.5, 5)),
)

if __name__ == "__main__":
    main(SCRIPT)
