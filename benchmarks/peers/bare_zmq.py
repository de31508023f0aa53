"""Plain pyzmq, without a client library."""

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
from benchmarks.request_series import RequestSeries

__all__ = [
    "BareClient",
    "connected",
    "flood",
    "queue_and_count",
    "receive_minimally",
    "receive_buffers",
    "receive_simply",
    "round_trips",
]

NOBLOCK: Final = int(zmq.NOBLOCK)
RCVMORE: Final = int(zmq.RCVMORE)
# The topic, the delimiter, the signature and the four parts.
FRAME_COUNT: Final = 7
WARM_UP_CODE: Final = "flood 1000 200"
Socket = zmq.Socket[bytes]


class BareClient:
    """A DEALER socket, and with ``listens`` a SUB socket that has received its welcome message."""

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
        """Send an ``execute_request``."""
        self.shell.send_multipart(self.signed("execute_request", execute_request(code))[1])

    def signed(self, msg_type: str, content: dict[str, Any]) -> tuple[str, list[bytes]]:
        """Return the id of a new request, and its signed frames."""
        return request(self.sign, msg_type, content, SESSION)

    def receive_part_of(self, socket: Socket, msg_id: str) -> list[bytes]:
        """Return the parts of the next message with the given parent."""
        while True:
            *_, signature, header, parent, metadata, content = socket.recv_multipart()
            parts = [header, parent, metadata, content]
            self.verify(signature, parts)
            if json.loads(parent).get("msg_id") == msg_id:
                return parts

    def verify(self, signature: bytes, parts: list[bytes]) -> None:
        if not compare_digest(self.sign(parts), signature):
            raise ValueError("invalid signature")


SESSION: Final = uuid.uuid4().hex


@contextmanager
def connected(path: Path, *, listens: bool) -> Iterator[BareClient]:
    """Connect to a kernel for the block."""
    context = zmq.Context[Socket]()
    try:
        yield BareClient(context, path, listens=listens)
    finally:
        context.destroy(linger=0)


def flood(path: Path, messages: int, size: int, receive: Callable[[BareClient], Lap]) -> Measured:
    """Return the times per message of a flood, received by a given function."""
    with connected(path, listens=True) as bare:
        for code in (WARM_UP_CODE, f"flood {messages} {size}"):
            bare.run(code)
            lap = receive(bare)
            bare.shell.recv_multipart()
    return lap.per_item(messages)


def receive_simply(bare: BareClient) -> Lap:
    """Receive with ``recv_multipart``, verify the signature, decode all parts and read the text."""
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


def receive_minimally(bare: BareClient) -> Lap:
    """Receive with the fewest calls possible, and verify the signature, without decoding.

    There is one call per frame, and one per message to check that it has no more frames.
    """
    receive, get, poll = CompiledSocket.recv, CompiledSocket.get, bare.iopub.poll
    iopub, again, verify = bare.iopub, zmq.Again, bare.verify
    lap, states = Lap(), 0
    while True:
        try:
            topic = receive(iopub, NOBLOCK)
        except again:
            poll()
            continue
        frames = [receive(iopub, NOBLOCK) for _ in range(1, FRAME_COUNT)]
        if get(iopub, RCVMORE):
            raise ValueError("the message has more frames than a stream message")
        verify(frames[1], frames[2:])
        if topic == b"status":
            states += 1
            if states == 1:
                lap.start()
            else:
                lap.stop()
                return lap


def receive_buffers(bare: BareClient) -> Lap:
    """Receive with the copies of ``recv_multipart``, and verify the signature, which excludes buffers."""
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
    """Let libzmq receive a flood while Python is idle, and return how many of its messages arrived."""
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


def round_trips(path: Path, series: RequestSeries, *, idle: bool = False) -> Measured:
    """Sign, send, receive and verify, and decode only the parent header of the reply.

    Args:
        path: The connection file of the kernel.
        series: The requests.
        idle: If True, wait for the idle status as well.
    """
    with connected(path, listens=idle) as bare:

        def send_and_wait() -> None:
            msg_id, frames = bare.signed(series.msg_type, series.content)
            bare.shell.send_multipart(frames)
            bare.receive_part_of(bare.shell, msg_id)
            while idle and b"idle" not in bare.receive_part_of(bare.iopub, msg_id)[3]:
                pass

        return series.timed(send_and_wait)
