"""A ZeroMQ publisher on a plain socket, which can send data that libzmq never sends."""

import socket
import struct
import threading
from collections.abc import Sequence
from contextlib import suppress
from queue import SimpleQueue
from types import TracebackType
from typing import Self

from tests.rigs import DEADLINE

__all__ = ["RawPublisher"]

MORE, LONG, COMMAND = 1, 2, 4
GREETING = b"\xff" + bytes(8) + b"\x7f" + b"\x03\x00" + b"NULL".ljust(20, b"\0") + bytes(32)
READY = b"\x05READY\x0bSocket-Type" + struct.pack(">I", 3) + b"PUB"


class RawPublisher:
    """Listens on a port; sends each subscriber a first message and passes its socket to the test.

    Args:
        port: A port of the loopback interface.
        welcome: The frames of the first message.

    Attributes:
        subscribers: The sockets of the subscribers.
    """

    def __init__(self, port: int, welcome: Sequence[bytes]) -> None:
        self.subscribers: SimpleQueue[socket.socket] = SimpleQueue()
        self._welcome = welcome
        self._listener = socket.create_server(("127.0.0.1", port))
        self._open: list[socket.socket] = []
        self._thread = threading.Thread(target=self._run, name="raw publisher")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)  # accept returns
        self._thread.join()
        for connection in (self._listener, *self._open):
            connection.close()

    def _run(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._open.append(connection)
            # A client that only tests whether anything listens closes the connection.
            with suppress(ConnectionError):
                self._welcome_subscriber(connection)
                self.subscribers.put(connection)

    def _welcome_subscriber(self, connection: socket.socket) -> None:
        connection.settimeout(DEADLINE)
        connection.sendall(GREETING)
        exactly(connection, len(GREETING))
        connection.sendall(bytes([COMMAND, len(READY)]) + READY)
        receive_frame(connection)  # its READY
        receive_frame(connection)  # a subscription
        connection.sendall(encoded(self._welcome))


def encoded(frames: Sequence[bytes]) -> bytes:
    """Return a multipart message, encoded for ZMTP."""
    more = [MORE] * (len(frames) - 1) + [0]
    return b"".join(
        claim(len(frame), flags) + frame for frame, flags in zip(frames, more, strict=True)
    )


def claim(size: int, flags: int = 0) -> bytes:
    """Return the head of a frame of ``size`` bytes."""
    return struct.pack(">BQ", flags | LONG, size)


def receive_frame(connection: socket.socket) -> bytes:
    (flags,) = exactly(connection, 1)
    size = (
        struct.unpack(">Q", exactly(connection, 8))[0]
        if flags & LONG
        else exactly(connection, 1)[0]
    )
    return exactly(connection, size)


def exactly(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        received = connection.recv(size - len(data))
        if not received:
            raise ConnectionResetError
        data += received
    return data
