"""One Socket.IO connection to one namespace of a relay. Whatever the library raises is translated here."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import aiohttp
import msgspec
import socketio
from socketio.exceptions import SocketIOError

from enchannel.errors import ConnectionFailed, MalformedFrame
from enchannel_socketio._client import Client
from enchannel_socketio._logs import quiet
from enchannel_socketio._packet import Batch, Packet

__all__ = ["Connection", "Ready"]

HEAVY = 1 << 20  # bytes after which a relay is told that they have come
NAMESPACE = 60.0  # seconds; who opens it has a timeout of its own


class Ready(msgspec.Struct, frozen=True):
    """What a relay says first."""

    position: int
    state: str


class Connection:
    """A connection, until it breaks.

    Args:
        relay: Where to.
        kernel_id: The kernel.
        kind: Which of its namespaces.
        max_received: Bytes that one message may have.

    Attributes:
        lost: Whether it has broken.
        is_heavy: Whether much has come since the last acknowledgement.
        on_batch, on_refused, on_garbage: Called with what came.
    """

    def __init__(self, relay: Client, kernel_id: str, kind: str, *, max_received: int) -> None:
        self.lost = asyncio.Event()
        self.is_heavy = False
        self.on_batch: Callable[[Batch], None] = lambda batch: None
        self.on_refused: Callable[[Any], None] = lambda refusal: None
        self.on_garbage: Callable[[MalformedFrame], None] = lambda error: None
        self._relay = relay
        self._namespace = f"/{kind}/{kernel_id}"
        self._came = 0
        self._saying: set[asyncio.Future[None]] = set()
        self._refusal: Any = None
        self._ready: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        options: dict[str, Any] = {
            "reconnection": False,
            "handle_sigint": False,
            "serializer": Packet,
            "logger": quiet,
            "engineio_logger": quiet,
            "http_session": relay.http,
            "websocket_extra_options": {"max_msg_size": max_received},
        }
        self._io: Any = socketio.AsyncClient(**options)
        # A packet that cannot be read is told of, and the next one is none the worse for it.
        self._handle = self._io.eio.handlers["message"]
        self._io.eio.on("message", self._came_in)
        on = self._io.on
        on("ready", self._is_ready, namespace=self._namespace)
        on("batch", self._on_batch, namespace=self._namespace)
        on("refused", lambda refusal=None, *_: self.on_refused(refusal), namespace=self._namespace)
        on("connect_error", self._on_refusal, namespace=self._namespace)
        on("disconnect", lambda *_: self.lost.set(), namespace=self._namespace)

    async def open(self, *, session: str, since: int | None) -> Ready:
        """Connect; what the relay says first.

        Raises:
            ConnectionFailed: it does not, or refuses.
        """
        asked: dict[str, Any] = {"session": session, "batch": True}
        if since is not None:
            asked["since"] = since
        self._relay.pending = f"the namespace {self._namespace}"
        try:
            await self._io.connect(
                self._relay.base,
                headers={},
                auth=asked,
                transports=["websocket"],
                namespaces=[self._namespace],
                socketio_path=f"{self._relay.path}/socket.io".lstrip("/"),
                wait_timeout=NAMESPACE,
            )
            losing = asyncio.ensure_future(self.lost.wait())
            try:
                await asyncio.wait((self._ready, losing), return_when=asyncio.FIRST_COMPLETED)
            finally:
                losing.cancel()
            if not self._ready.done():
                raise ConnectionFailed(f"{self._relay} hung up as soon as it was connected")
            return msgspec.convert(self._ready.result(), type=Ready)
        except (SocketIOError, aiohttp.ClientError, OSError, ValueError, TypeError) as error:
            raise self._translated(error) from None
        except msgspec.ValidationError:
            raise ConnectionFailed(
                f"{self._relay} answers in a way that is not a relay's"
            ) from None

    def _translated(self, error: Exception) -> ConnectionFailed:
        status = _status_of(error)
        if status == 503:
            return ConnectionFailed(
                f"{self._relay} has as many connections as it bears (--connections)"
            )
        if status:
            return ConnectionFailed(f"{self._relay} answers with {status}, and speaks no Socket.IO")
        why = self._refusal
        if isinstance(why, dict):
            why = why.get("message")
        return ConnectionFailed(f"{self._relay} refuses {self._namespace}: {why or error}")

    async def say(self, name: str, told: object) -> None:
        """Say something."""
        with suppress(SocketIOError):  # it is lost, and who reads is told
            await self._io.emit(name, told, namespace=self._namespace)

    async def until_sent(self, most: int = 0) -> None:
        """Wait until no more than some packets wait to be written."""
        queue = self._io.eio.queue
        if queue.qsize() > most:
            await queue.join()

    async def until_heard(self, position: int) -> None:
        """Wait until the relay has heard all that was said.

        Raises:
            ConnectionFailed: it is lost.
        """
        try:
            await self._io.call("ack", position, namespace=self._namespace, timeout=NAMESPACE)
        except SocketIOError as error:
            raise ConnectionFailed(f"{self._relay} is lost: {error}") from None

    def acknowledge(self, position: int) -> None:
        """All up to there was handled."""
        self._came, self.is_heavy = 0, False
        saying = asyncio.ensure_future(self.say("ack", position))
        self._saying.add(saying)  # or nobody would hold it
        saying.add_done_callback(self._saying.discard)

    def abort(self) -> None:
        """Break it."""
        self.lost.set()

    async def close(self) -> None:
        """Hang up, whatever state it is in."""
        self.lost.set()
        try:
            with suppress(SocketIOError, aiohttp.ClientError, OSError):
                await self._io.disconnect()
        finally:
            self._io.eio.http = None  # which its __del__ would close, on whatever thread

    async def _came_in(self, data: str | bytes) -> None:
        self._came += len(data)
        self.is_heavy = self._came >= HEAVY
        if (
            isinstance(data, str) and self._io._binary_packet is not None
        ):  # it would be taken for one
            self._io._binary_packet = None
            self.on_garbage(MalformedFrame("a packet's attachments did not come; it was dropped"))
        try:
            await self._handle(data)
        except Exception as error:
            self._io._binary_packet = None
            self.on_garbage(
                MalformedFrame(
                    f"a packet cannot be read ({error or type(error).__name__}); it was dropped"
                )
            )

    def _is_ready(self, told: Any = None, *_: Any) -> None:
        if not self._ready.done():
            self._ready.set_result(told)

    def _on_refusal(self, told: Any = None, *_: Any) -> None:
        self._refusal = told

    def _on_batch(self, batch: Any = None, *_: Any) -> None:
        if isinstance(batch, Batch):
            self.on_batch(batch)
        else:
            self.on_garbage(MalformedFrame("what came is no batch; it was dropped"))


def _status_of(error: BaseException | None) -> int:
    """The status with which a WebSocket was refused, which the library keeps to itself; 0: it was not."""
    while error is not None:
        if isinstance(error, aiohttp.WSServerHandshakeError):
            return error.status
        error = error.__cause__ or error.__context__
    return 0
