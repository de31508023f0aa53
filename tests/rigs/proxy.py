"""A TCP proxy in front of a server, which breaks connections when a test wants it to."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Self, TypeVar

from enchannel.backends import EventLoopThread
from tests.rigs import DEADLINE
from tests.rigs.servers import HOST, free_port

T = TypeVar("T")
CHUNK_BYTES = 1 << 16


class Proxy:
    """Forwards bytes between clients and a server; ``with`` starts and stops it.

    Args:
        to_port: The port of the server.

    Attributes:
        port: The port for clients.
        requests: The first line and the headers of each request.
        answers: A function that returns the answer to a request in the server's place, or None.
        ignores: A function that returns True for a request that is never answered.
    """

    def __init__(self, to_port: int) -> None:
        self.port = free_port()
        self.requests: list[str] = []
        self.answers: Callable[[str], bytes | None] = lambda request: None
        self.ignores: Callable[[str], bool] = lambda request: False
        self._to_port = to_port
        self._lines: set[_Line] = set()
        self._loop = EventLoopThread("proxy")
        self._server: asyncio.Server | None = None
        self._flows = asyncio.Event()

    def __enter__(self) -> Self:
        self._loop.start()
        self._loop.call(self._flows.set)
        try:
            self.restore()
        except BaseException:
            self._loop.stop(wait=True)
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.cut()
        finally:
            self._loop.stop(wait=True)

    def cut(self) -> None:
        """Break all connections, and accept no more."""
        self._do(self._cut())

    def restore(self) -> None:
        """Accept connections again."""
        self._do(self._listen())

    def pause(self) -> None:
        """Stop reading from clients."""
        self._loop.call(self._flows.clear)

    def resume(self) -> None:
        """Continue reading from clients."""
        self._loop.call(self._flows.set)

    def inject(self, frame: bytes, *, text: bool | None = None) -> None:
        """Send a WebSocket frame to all clients, between the frames of the server.

        Args:
            frame: The payload.
            text: Whether it is a text frame; by default if it begins with a brace.
        """
        is_text = frame[:1] == b"{" if text is None else text

        def inject() -> None:
            for line in self._lines:
                line.inject(frame, is_text)

        self._loop.call(inject)

    @contextmanager
    def answering(self, answer: Callable[[str], bytes | None]) -> Iterator[None]:
        """Answer requests in the server's place if ``answer`` returns something for them."""
        self.answers = answer
        try:
            yield
        finally:
            self.answers = lambda request: None

    def _do(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self._loop.spawn(coroutine).result(DEADLINE)

    async def _listen(self) -> None:
        if self._server is None:
            self._server = await asyncio.start_server(self._serve, HOST, self.port)

    async def _cut(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.close()
        lines, self._lines = self._lines, set()
        for line in lines:
            line.break_off()
        await asyncio.gather(*(line.over for line in lines))
        if server is not None:
            await server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._server is None:  # cut() was called meanwhile
            writer.transport.abort()
            return
        line = _Line(self, reader, writer)
        self._lines.add(line)
        try:
            await line.carry(self._to_port, self._flows)
        finally:
            self._lines.discard(line)


class _Line:
    """The connection of a client, and the one to the server that belongs to it."""

    def __init__(
        self, proxy: Proxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._proxy = proxy
        self._reader, self._writer = reader, writer
        self._server_writer: asyncio.StreamWriter | None = None
        self._injected: list[tuple[bytes, bool]] = []
        # Remaining bytes of the current frame from the server; None before the WebSocket handshake.
        self._left: int | None = None
        self._head = b""
        self.over = asyncio.get_running_loop().create_future()

    async def carry(self, to_port: int, flows: asyncio.Event) -> None:
        try:
            with suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
                await flows.wait()
                request = await self._reader.readuntil(b"\r\n\r\n")
                self._proxy.requests.append(request.decode(errors="replace"))
                if self._proxy.ignores(self._proxy.requests[-1]):
                    await self._reader.read()  # until the client disconnects
                    return
                if (answer := self._proxy.answers(self._proxy.requests[-1])) is not None:
                    self._writer.write(answer)
                    await self._writer.drain()
                    return
                server_reader, self._server_writer = await asyncio.open_connection(HOST, to_port)
                self._server_writer.write(request)
                to_server = asyncio.create_task(self._forward_to_server(self._server_writer, flows))
                to_client = asyncio.create_task(self._forward_to_client(server_reader))
                await asyncio.wait((to_server, to_client), return_when=asyncio.FIRST_COMPLETED)
                to_server.cancel()
                to_client.cancel()
                await asyncio.gather(to_server, to_client, return_exceptions=True)
        finally:
            for writer in (self._writer, self._server_writer):
                if writer is not None:
                    writer.close()
            if not self.over.done():
                self.over.set_result(None)

    def break_off(self) -> None:
        for writer in (self._writer, self._server_writer):
            if writer is not None:
                writer.transport.abort()

    def inject(self, frame: bytes, is_text: bool) -> None:
        if self._left is not None:
            self._injected.append((frame, is_text))
            self._send_injected()

    async def _forward_to_server(self, server: asyncio.StreamWriter, flows: asyncio.Event) -> None:
        while data := await self._reader.read(CHUNK_BYTES):
            await flows.wait()
            server.write(data)
            await server.drain()

    async def _forward_to_client(self, server: asyncio.StreamReader) -> None:
        while data := await server.read(CHUNK_BYTES):
            if self._left is None and data.startswith(
                b"HTTP/1.1 101"
            ):  # other responses may precede it
                head, end, data = data.partition(b"\r\n\r\n")
                self._writer.write(head + end)
                self._left = 0
            self._forward_frames(data)
            await self._writer.drain()

    def _forward_frames(self, data: bytes) -> None:
        while data:
            if self._left is None:
                piece, data = data, b""
            elif self._left:
                piece, data = data[: self._left], data[self._left :]
                self._left -= len(piece)
            else:
                self._head, data = self._head + data, b""
                piece = self._head_of_frame()
                if not piece:
                    return
                data, self._head = self._head[len(piece) :], b""
            self._writer.write(piece)
            self._send_injected()

    def _head_of_frame(self) -> bytes:
        """Return a frame's head once it is complete, and set ``_left`` to the length of the payload."""
        head = self._head
        if len(head) < 2:
            return b""
        more = {126: 2, 127: 8}.get(head[1] & 0x7F, 0)
        if len(head) < 2 + more:
            return b""
        length = int.from_bytes(head[2 : 2 + more]) if more else head[1] & 0x7F
        self._left = length
        return head[: 2 + more]

    def _send_injected(self) -> None:
        if self._left == 0 and not self._head:
            for payload, is_text in self._injected:
                opcode = 0x81 if is_text else 0x82
                size = len(payload)
                length = bytes([size]) if size < 126 else b"\x7e" + size.to_bytes(2)
                self._writer.write(bytes([opcode]) + length + payload)
            self._injected.clear()
