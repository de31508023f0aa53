"""Plain pyzmq: what receiving and asking costs without any client library."""

import json
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hmac import compare_digest
from pathlib import Path
from typing import Any, Final

import msgspec
import zmq
from zmq.backend import Socket as CompiledSocket

from benchmarks.frames import Info, Signer, execute_request, read_info, request
from benchmarks.measuring import Lap, Measured
from benchmarks.trips import Trips

__all__ = [
    "Bare",
    "connected",
    "flood",
    "queue_and_count",
    "receive_at_the_floor",
    "receive_buffers",
    "receive_plainly",
    "round_trips",
]

NOBLOCK: Final = int(zmq.NOBLOCK)
RCVMORE: Final = int(zmq.RCVMORE)
FRAMES: Final = 7  # the topic, the delimiter, the signature, the four parts
WARM: Final = "flood 1000 200"
Socket = zmq.Socket[bytes]


class Bare:
    """A DEALER, and a SUB that the kernel has welcomed if there is something to listen to."""

    def __init__(self, context: zmq.Context[Socket], path: Path, *, listens: bool) -> None:
        self._context = context
        info = read_info(path)
        self.sign = Signer(info["key"].encode())
        self.shell = self._connected(zmq.DEALER, info, "shell_port")
        if listens:
            self.iopub = self._connected(zmq.SUB, info, "iopub_port")
            self.iopub.recv_multipart()

    def _connected(self, kind: int, info: Info, port: str) -> Socket:
        socket = self._context.socket(kind)
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.RCVHWM, 0)
        if kind == zmq.SUB:
            socket.setsockopt(zmq.SUBSCRIBE, b"")
        socket.connect(f"tcp://{info['ip']}:{info[port]}")
        return socket

    def run(self, code: str) -> None:
        """Send a request to execute."""
        self.shell.send_multipart(self.signed("execute_request", execute_request(code))[1])

    def signed(self, msg_type: str, content: dict[str, Any]) -> tuple[str, list[bytes]]:
        """A request, and its id."""
        return request(self.sign, msg_type, content, SESSION)

    def receive_part_of(self, socket: Socket, msg_id: str) -> list[bytes]:
        """The parts of the next message that belongs to this request."""
        while True:
            *_, signature, header, parent, metadata, content = socket.recv_multipart()
            parts = [header, parent, metadata, content]
            self.verify(signature, parts)
            if json.loads(parent).get("msg_id") == msg_id:
                return parts

    def verify(self, signature: bytes, parts: list[bytes]) -> None:
        if not compare_digest(self.sign(parts), signature):
            raise ValueError("the signature is wrong")


SESSION: Final = uuid.uuid4().hex


@contextmanager
def connected(path: Path, *, listens: bool) -> Iterator[Bare]:
    """The sockets, until the end of the block."""
    context = zmq.Context[Socket]()
    try:
        yield Bare(context, path, listens=listens)
    finally:
        context.destroy(linger=0)


def flood(path: Path, messages: int, size: int, receive: Callable[[Bare], Lap]) -> Measured:
    """What a message costs to receive, in this way."""
    with connected(path, listens=True) as bare:
        for code in (WARM, f"flood {messages} {size}"):
            bare.run(code)
            lap = receive(bare)
            bare.shell.recv_multipart()
    return lap.each(messages)


def receive_plainly(bare: Bare) -> Lap:
    """As one writes it: ``recv_multipart``, the signature, the four parts decoded, the text read."""
    lap, decode = Lap(), msgspec.json.Decoder().decode
    receive = bare.iopub.recv_multipart
    lap.start()
    while True:
        topic, _, signature, *parts = receive()
        bare.verify(signature, parts)
        _, _, _, content = map(decode, parts)
        if topic == b"status":
            if content["execution_state"] == "idle":
                lap.stop()
                return lap
            lap.start()
        else:
            len(content["text"])


def receive_at_the_floor(bare: Bare) -> Lap:
    """The fewest calls that there can be: each frame once, one question for each message whether there is
    more, and the signature; nothing is decoded."""
    receive, get, poll = CompiledSocket.recv, CompiledSocket.get, bare.iopub.poll
    iopub, again, verify = bare.iopub, zmq.Again, bare.verify
    lap, states = Lap(), 0
    while True:
        try:
            topic = receive(iopub, NOBLOCK)
        except again:
            poll()
            continue
        frames = [receive(iopub, NOBLOCK) for _ in range(1, FRAMES)]
        if get(iopub, RCVMORE):
            raise ValueError("the message has more frames than a stream")
        verify(frames[1], frames[2:])
        if topic == b"status":
            states += 1
            if states == 1:
                lap.start()
            else:
                lap.stop()
                return lap


def receive_buffers(bare: Bare) -> Lap:
    """With the copies that ``recv_multipart`` makes, and the signature, which is not of the buffers."""
    receive, lap, states = bare.iopub.recv_multipart, Lap(), 0
    while states < 2:
        topic, _, signature, *parts = receive()
        bare.verify(signature, parts[:4])
        if topic == b"status":
            states += 1
            if states == 1:
                lap.start()
    lap.stop()
    return lap


def queue_and_count(path: Path, messages: int, size: int) -> Measured:
    """A flood that libzmq takes in while Python does nothing at all; how many messages of it are there."""
    with connected(path, listens=True) as bare:
        bare.run(f"flood {messages} {size}")
        *_, content = bare.shell.recv_multipart()
        states = arrived = 0
        while states < 2:
            topic, *_ = bare.iopub.recv_multipart()
            states += topic == b"status"
            arrived += topic != b"status"
    dropped = json.loads(content)["dropped"]
    return {"arrived": arrived, "dropped": dropped, "lost": messages - dropped - arrived}


def round_trips(path: Path, trips: Trips, *, idle: bool = False) -> Measured:
    """Sign, send, receive, verify, and no more decoding than tells whose reply it is.

    Args:
        path: The kernel's connection file.
        trips: What it is asked.
        idle: Until the idle of the request has come as well.
    """
    with connected(path, listens=idle) as bare:

        def ask() -> None:
            msg_id, frames = bare.signed(trips.asked, trips.content)
            bare.shell.send_multipart(frames)
            bare.receive_part_of(bare.shell, msg_id)
            while idle and b"idle" not in bare.receive_part_of(bare.iopub, msg_id)[3]:
                pass

        return trips.timed(ask)
