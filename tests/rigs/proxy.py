"""A network between a client and a server on this machine, which breaks when a test wants it to."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Self, TypeVar

from tests.rigs import DEADLINE
from tests.rigs.servers import HOST, free_port

T = TypeVar("T")
CHUNK = 1 << 16


class Proxy:
    """Passes on bytes, at a port of its own; a context.

    Args:
        to_port: Where the server is.

    Attributes:
        port: Where clients find it.
        requests: The first line and the headers of each request of a client, as it came.
        swallows: Whether a request is never answered.
    """

    def __init__(self, to_port: int) -> None:
        self.port = free_port()
        self.requests: list[str] = []
        self.answers: Callable[[str], bytes | None] = lambda request: None
        self.swallows: Callable[[str], bool] = lambda request: False
        self._to_port = to_port
        self._lines: set[_Line] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="proxy", daemon=True)
        self._server: asyncio.Server | None = None
        self._flows = asyncio.Event()

    def __enter__(self) -> Self:
        self._thread.start()
        self._loop.call_soon_threadsafe(self._flows.set)
        self.restore()
        return self

    def __exit__(self, *_: object) -> None:
        self.cut()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def cut(self) -> None:
        """Break all connections, and take no more."""
        self._do(self._cut())

    def restore(self) -> None:
        """Take connections."""
        self._do(self._listen())

    def pause(self) -> None:
        """Read nothing of what clients send."""
        self._loop.call_soon_threadsafe(self._flows.clear)

    def resume(self) -> None:
        self._loop.call_soon_threadsafe(self._flows.set)

    def inject(self, frame: bytes, *, text: bool | None = None) -> None:
        """Send a frame to all clients' WebSockets, between those of the server; by default it is a text
        where it begins like an object."""
        is_text = frame[:1] == b"{" if text is None else text

        def inject() -> None:
            for line in self._lines:
                line.inject(frame, is_text)

        self._loop.call_soon_threadsafe(inject)

    @contextmanager
    def answering(self, answer: Callable[[str], bytes | None]) -> Iterator[None]:
        """Answer new connections in the server's place, where a function of their request says how."""
        self.answers = answer
        try:
            yield
        finally:
            self.answers = lambda request: None

    def _do(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(DEADLINE)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
        self._loop.close()

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
        if self._server is None:  # it was cut in this moment
            writer.transport.abort()
            return
        line = _Line(self, reader, writer)
        self._lines.add(line)
        try:
            await line.carry(self._to_port, self._flows)
        finally:
            self._lines.discard(line)


class _Line:
    """One connection, and the one that belongs to it on the other side."""

    def __init__(
        self, proxy: Proxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._proxy = proxy
        self._reader, self._writer = reader, writer
        self._far: asyncio.StreamWriter | None = None
        self._injected: list[tuple[bytes, bool]] = []
        self._left: int | None = None  # bytes of the server's frame; None: this is no WebSocket
        self._head = b""
        self.over = asyncio.get_running_loop().create_future()

    async def carry(self, to_port: int, flows: asyncio.Event) -> None:
        try:
            with suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
                await flows.wait()
                request = await self._reader.readuntil(b"\r\n\r\n")
                self._proxy.requests.append(request.decode(errors="replace"))
                if self._proxy.swallows(self._proxy.requests[-1]):
                    await self._reader.read()  # until the client has had enough
                    return
                if (answer := self._proxy.answers(self._proxy.requests[-1])) is not None:
                    self._writer.write(answer)
                    await self._writer.drain()
                    return
                far_reader, self._far = await asyncio.open_connection(HOST, to_port)
                self._far.write(request)
                there = asyncio.create_task(self._there(self._far, flows))
                back = asyncio.create_task(self._back(far_reader))
                await asyncio.wait((there, back), return_when=asyncio.FIRST_COMPLETED)
                there.cancel()
                back.cancel()
                await asyncio.gather(there, back, return_exceptions=True)
        finally:
            for writer in (self._writer, self._far):
                if writer is not None:
                    writer.close()
            if not self.over.done():
                self.over.set_result(None)

    def break_off(self) -> None:
        for writer in (self._writer, self._far):
            if writer is not None:
                writer.transport.abort()

    def inject(self, frame: bytes, is_text: bool) -> None:
        if self._left is not None:
            self._injected.append((frame, is_text))
            self._send_injected()

    async def _there(self, far: asyncio.StreamWriter, flows: asyncio.Event) -> None:
        while data := await self._reader.read(CHUNK):
            await flows.wait()
            far.write(data)
            await far.drain()

    async def _back(self, far: asyncio.StreamReader) -> None:
        while data := await far.read(CHUNK):
            if self._left is None and data.startswith(b"HTTP/1.1 101"):  # after others, maybe
                head, end, data = data.partition(b"\r\n\r\n")
                self._writer.write(head + end)
                self._left = 0
            self._pass_on(data)
            await self._writer.drain()

    def _pass_on(self, data: bytes) -> None:
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
        """All of the head, once it is there; and how much comes after it."""
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
