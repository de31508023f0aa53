"""Watchers that count what comes and read nothing of it: hundreds of them take less than who serves."""

from __future__ import annotations

import asyncio
import re
import socket
from dataclasses import dataclass
from time import perf_counter
from typing import Final

from benchmarks.measuring import DEADLINE

__all__ = ["HOST", "Place", "Watcher", "watch"]

HOST: Final = "127.0.0.1"
TEXT: Final = 0x81  # how a frame begins
PING: Final = 0x89
PONG: Final = 0x8A
HEAD: Final = 160  # bytes of a frame that are looked at
JOINED: Final = re.compile(rb'42[^\[]+\["ready",\{"position":(\d+)|40\{"sid"')
BATCH: Final = re.compile(rb'42[^\[]+\["batch",\{"after":\d+,"upto":(\d+)')
MESSAGE: Final = b'["msg",{'
ACKNOWLEDGED: Final = 250  # messages that are acknowledged together
ROOM: Final = 64 << 10
"""Bytes that are received at once; and those that the machine takes for one that reads nothing, or twice
as many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a kernel is watched.

    Attributes:
        port: On the loopback interface.
        token: What the server opens to.
        namespace: Of Socket.IO; empty: the one that has no name.
        auth: What is said when it is opened, as JSON.
        credit: Whether what came is to be acknowledged.
    """

    port: int
    token: str = ""
    namespace: str = ""
    auth: str = ""
    credit: bool = False


class Watcher(asyncio.BufferedProtocol):
    """One who watches.

    Attributes:
        joined: Done when nothing is missed from then on.
        began, ended: When the first message came of those that were awaited, and the last.
    """

    def __init__(self, place: Place) -> None:
        self.joined: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.began = self.ended = 0.0
        self._place = place
        self._namespace = f"{place.namespace}," if place.namespace else ""
        self._over = self.joined
        self._buffer = memoryview(bytearray(ROOM))
        self._kept = 0  # bytes at its beginning: those of a frame whose head is not all there
        self._next = 0  # where the next frame begins; it may be beyond what has come
        self._coming = 0  # messages in the frame before that
        self._is_open = False
        self._position = self._heard = self._acknowledged = self._awaited = 0

    def expect(self, messages: int) -> asyncio.Future[None]:
        """So many more; done when they have come."""
        self.began = 0.0
        self._awaited = self._heard + messages
        self._over = asyncio.get_running_loop().create_future()
        return self._over

    def sleep(self) -> None:
        """Read nothing any more."""
        self._transport.pause_reading()

    def leave(self) -> None:
        """Hang up."""
        self._transport.abort()

    # -- what asyncio calls -----------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101  # that of a connection is one
        self._transport = transport
        transport.write(
            b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\n"
            b"Host: localhost:%d\r\nAuthorization: Bearer %b\r\n"
            b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
            % (self._place.port, self._place.token.encode())
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
        lost = exc or ConnectionError("the server hung up")
        for waiting in (self.joined, self._over):
            if not waiting.done():
                waiting.set_exception(lost)

    # -- what is made of it -----------------------------------------------------------------------

    def _open(self, filled: int) -> bool:
        """Whether the answer to the request is there."""
        end = bytes(self._buffer[:filled]).find(b"\r\n\r\n")
        if end >= 0:
            self._is_open, self._next = True, end + 4
        return self._is_open

    def _take(self, filled: int) -> None:
        """Go from frame to frame: what a server says has no mask, and comes in one."""
        buffer = self._buffer
        while self._next <= filled:
            if self._coming:
                self._hear()
            at = self._next
            if at + 2 > filled:
                break
            size, start = buffer[at + 1], at + 2
            if size > 125:
                start += 2 if size == 126 else 8
                size = int.from_bytes(buffer[at + 2 : start])
            head = min(start + size, start + HEAD)
            if head > filled:
                break
            self._next = start + size
            self._look(buffer[at], bytes(buffer[start:head]))

    def _look(self, kind: int, head: bytes) -> None:
        """What a frame is, by its beginning."""
        if kind == PING:
            self._send(PONG, head)
        elif batch := BATCH.match(head):
            self._coming = int(batch[1]) - self._position
        elif MESSAGE in head:
            self._coming = 1
        elif head == b"2":
            self._say("3")
        elif head.startswith(b"0"):
            self._say(f"40{self._namespace}{self._place.auth}")
        elif joined := JOINED.match(head):
            self._position = self._acknowledged = int(joined[1] or 0)
            self.joined.set_result(None)

    def _hear(self) -> None:
        self.began = self.began or perf_counter()
        self._heard += self._coming
        self._position += self._coming
        self._coming = 0
        if self._place.credit and self._position - self._acknowledged >= ACKNOWLEDGED:
            self._acknowledged = self._position
            self._say(f'42{self._namespace}["ack",{self._position}]')
        if self._heard >= self._awaited and not self._over.done():
            self.ended = perf_counter()
            self._over.set_result(None)

    def _say(self, text: str) -> None:
        self._send(TEXT, text.encode())

    def _send(self, kind: int, data: bytes) -> None:
        """As a short frame; what a client says has a mask, and may have one of zeros."""
        self._transport.write(b"%c%c\0\0\0\0%b" % (kind, 0x80 | len(data), data))


async def watch(place: Place, *, slow: bool = False) -> Watcher:
    """One who watches from now on.

    Args:
        place: Where.
        slow: Whether it is one who will read nothing: for such a one the machine is to take little.
    """
    connection = socket.socket()
    connection.setblocking(False)
    if slow:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, ROOM)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(connection, (HOST, place.port))
    _, watcher = await loop.create_connection(lambda: Watcher(place), sock=connection)
    async with asyncio.timeout(DEADLINE):
        await watcher.joined
    return watcher
