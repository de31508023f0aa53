"""Watchers that count messages without decoding them, so that hundreds need less CPU than the server."""

from __future__ import annotations

import asyncio
import re
import socket
from dataclasses import dataclass
from time import perf_counter
from typing import Final

from benchmarks.measuring import SIDE_TIMEOUT

__all__ = ["HOST", "Endpoint", "Watcher", "watch"]

HOST: Final = "127.0.0.1"
# The first byte of a WebSocket frame.
TEXT_FRAME: Final = 0x81
PING_FRAME: Final = 0x89
PONG_FRAME: Final = 0x8A
HEAD_SIZE: Final = 160  # inspected bytes of a frame
JOINED: Final = re.compile(rb'42[^\[]+\["ready",\{"position":(\d+)|40\{"sid"')
BATCH: Final = re.compile(rb'42[^\[]+\["batch",\{"after":\d+,"upto":(\d+)')
MESSAGE: Final = b'["msg",{'
MESSAGES_PER_ACK: Final = 250
BUFFER_SIZE: Final = 64 << 10
"""The size of the receive buffer in bytes, and of the socket buffer of a slow watcher."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """The address of a kernel for watchers.

    Attributes:
        port: The port on the loopback interface.
        token: The access token of the server.
        namespace: The Socket.IO namespace; empty for the default one.
        auth: The payload of the Socket.IO CONNECT packet, as JSON.
        credit: If True, messages must be acknowledged.
    """

    port: int
    token: str = ""
    namespace: str = ""
    auth: str = ""
    credit: bool = False


class Watcher(asyncio.BufferedProtocol):
    """A client that watches a kernel.

    Attributes:
        joined: Done when no further message can be missed.
        started, ended: The times of the first and the last expected message.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self.joined: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.started = self.ended = 0.0
        self._endpoint = endpoint
        self._namespace = f"{endpoint.namespace}," if endpoint.namespace else ""
        self._finished = self.joined
        self._buffer = memoryview(bytearray(BUFFER_SIZE))
        # The bytes of an incomplete frame head at the start of the buffer.
        self._kept = 0
        # The offset of the next frame, possibly beyond the buffer.
        self._next = 0
        # The number of messages in the frame before that.
        self._pending = 0
        self._is_open = False
        self._position = self._received = self._acknowledged = self._expected = 0

    def expect(self, messages: int) -> asyncio.Future[None]:
        """Return a future that is done after this many more messages."""
        self.started = 0.0
        self._expected = self._received + messages
        self._finished = asyncio.get_running_loop().create_future()
        return self._finished

    def sleep(self) -> None:
        """Stop reading."""
        self._transport.pause_reading()

    def leave(self) -> None:
        """Close the connection."""
        self._transport.abort()

    # -- called by asyncio ------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101  # for create_connection
        self._transport = transport
        transport.write(
            b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\n"
            b"Host: localhost:%d\r\nAuthorization: Bearer %b\r\n"
            b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
            % (self._endpoint.port, self._endpoint.token.encode())
        )

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._buffer[self._kept :]

    def buffer_updated(self, nbytes: int) -> None:
        filled = self._kept + nbytes
        if self._is_open or self._open(filled):
            self._take(filled)
        self._kept = max(0, filled - self._next)
        self._buffer[: self._kept] = self._buffer[filled - self._kept : filled]
        self._next = max(0, self._next - filled)

    def connection_lost(self, exc: Exception | None) -> None:
        lost = exc or ConnectionError("the server closed the connection")
        for waiting in (self.joined, self._finished):
            if not waiting.done():
                waiting.set_exception(lost)

    # -- frames -----------------------------------------------------------------------------------

    def _open(self, filled: int) -> bool:
        """Return True if the response to the upgrade request is complete."""
        end = bytes(self._buffer[:filled]).find(b"\r\n\r\n")
        if end >= 0:
            self._is_open, self._next = True, end + 4
        return self._is_open

    def _take(self, filled: int) -> None:
        """Go through all frames; those of a server are unmasked and not fragmented."""
        buffer = self._buffer
        while self._next <= filled:
            if self._pending:
                self._count_messages()
            at = self._next
            if at + 2 > filled:
                break
            size, start = buffer[at + 1], at + 2
            if size > 125:
                start += 2 if size == 126 else 8
                size = int.from_bytes(buffer[at + 2 : start])
            head = min(start + size, start + HEAD_SIZE)
            if head > filled:
                break
            self._next = start + size
            self._on_frame(buffer[at], bytes(buffer[start:head]))

    def _on_frame(self, kind: int, head: bytes) -> None:
        """Handle a frame by its first bytes."""
        if kind == PING_FRAME:
            self._send(PONG_FRAME, head)
        elif batch := BATCH.match(head):
            self._pending = int(batch[1]) - self._position
        elif MESSAGE in head:
            self._pending = 1
        elif head == b"2":
            self._send_text("3")
        elif head.startswith(b"0"):
            self._send_text(f"40{self._namespace}{self._endpoint.auth}")
        elif joined := JOINED.match(head):
            self._position = self._acknowledged = int(joined[1] or 0)
            self.joined.set_result(None)

    def _count_messages(self) -> None:
        self.started = self.started or perf_counter()
        self._received += self._pending
        self._position += self._pending
        self._pending = 0
        if self._endpoint.credit and self._position - self._acknowledged >= MESSAGES_PER_ACK:
            self._acknowledged = self._position
            self._send_text(f'42{self._namespace}["ack",{self._position}]')
        if self._received >= self._expected and not self._finished.done():
            self.ended = perf_counter()
            self._finished.set_result(None)

    def _send_text(self, text: str) -> None:
        self._send(TEXT_FRAME, text.encode())

    def _send(self, kind: int, data: bytes) -> None:
        """Send a short frame; frames of clients need a mask, which may be zero."""
        self._transport.write(b"%c%c\0\0\0\0%b" % (kind, 0x80 | len(data), data))


async def watch(endpoint: Endpoint, *, slow: bool = False) -> Watcher:
    """Connect a watcher.

    Args:
        endpoint: The address of the kernel.
        slow: If True, use a small socket buffer, for a watcher that will stop reading.
    """
    connection = socket.socket()
    connection.setblocking(False)
    if slow:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_SIZE)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(connection, (HOST, endpoint.port))
    _, watcher = await loop.create_connection(lambda: Watcher(endpoint), sock=connection)
    async with asyncio.timeout(SIDE_TIMEOUT):
        await watcher.joined
    return watcher
