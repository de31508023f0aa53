"""A kernel that prints as fast as it can: what a message costs from the socket to a subscriber."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from reactivex import operators as ops

import enchannel as ec
from benchmarks.case import Figure, Goal, Script, case
from benchmarks.command import main
from benchmarks.measuring import DEADLINE, Measured, Tally

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["SCRIPT", "text"]

MESSAGES = 20_000


def text(message: ec.AnyMessage) -> str:
    """What is printed, or the state that is told."""
    content = message.content
    heard: str
    if message.header.msg_type == "stream":
        heard = content["text"]
    else:
        heard = content["execution_state"]
    return heard


def enchannel(kernels: Sequence[Path], messages: int, size: int) -> Measured:
    with ec.connect(kernels[0]) as kernel:
        for count, characters in ((1000, 200), (messages, size)):
            tally = Tally(count)
            request = ec.execute_request(f"flood {count} {characters}")
            kernel.iopub.pipe(ec.child_of(request), ops.map(text)).subscribe(tally.hear)
            kernel.shell.on_next(request)
            tally.over.wait(DEADLINE)
    return tally.told()


def jupyter_client(kernels: Sequence[Path], client: str, messages: int, size: int) -> Measured:
    from benchmarks.peers import jupyter

    return jupyter.flood(client, kernels[0], messages, size)


def plain_pyzmq(kernels: Sequence[Path], messages: int, size: int) -> Measured:
    from benchmarks.peers import bare

    return bare.flood(kernels[0], messages, size, bare.receive_plainly)


def floor(kernels: Sequence[Path], messages: int, size: int) -> Measured:
    from benchmarks.peers import bare

    return bare.flood(kernels[0], messages, size, bare.receive_at_the_floor)


def _figures(size: int, reach: float, aim: float) -> list[Figure]:
    title = f"flood, {size:,} B, a message"
    ours = case("enchannel", messages=MESSAGES, size=size)
    clients = {
        name: case("jupyter_client", client=name, messages=MESSAGES, size=size)
        for name in ("blocking", "async", "threaded")
    }
    plain = case("plain_pyzmq", messages=MESSAGES, size=size)
    lowest = case("floor", messages=MESSAGES, size=size)
    blocking = Figure(
        title=title,
        peer="jupyter_client, blocking",
        ours=ours,
        theirs=clients["blocking"],
        goal=Goal.FASTER,
        reach=reach,
        aim=aim,
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
            peer="fewest recv, hmac, no decode",
            ours=ours,
            theirs=lowest,
            goal=Goal.WITHIN,
            reach=within[0],
            aim=within[1],
        ),
    ]
    cpu = Figure(
        title=f"the same, {size:,} B, CPU of the process",
        peer="fewest recv, hmac, no decode",
        ours=ours,
        theirs=lowest,
        value="cpu",
        goal=Goal.WITHIN,
    )
    return [blocking, *others, *raw, cpu]


SCRIPT = Script(
    name="flood",
    method=(
        'stream messages from busy to idle, each with its `content["text"]` read; ours through '
        "`kernel.iopub.pipe(ec.child_of(request), ops.map(text)).subscribe(…)`, verified, decoded, frozen "
        "and called on the delivery thread."
    ),
    sides={
        "enchannel": enchannel,
        "jupyter_client": jupyter_client,
        "plain_pyzmq": plain_pyzmq,
        "floor": floor,
    },
    figures=(*_figures(200, 8, 15), *_figures(10_000, 3.5, 5)),
)

if __name__ == "__main__":
    main(SCRIPT)
