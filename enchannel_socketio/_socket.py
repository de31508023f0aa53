"""One Socket.IO connection to a namespace of a relay. Exceptions of python-socketio are translated here."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import aiohttp
import msgspec
import socketio
from socketio.exceptions import SocketIOError

from enchannel.errors import ConnectionFailed, ConnectionLost, MalformedFrame
from enchannel_socketio._client import RelayClient
from enchannel_socketio._logs import quiet
from enchannel_socketio._packet import PROTOCOL_VERSION, Batch, Packet

__all__ = ["Ready", "RelaySocket"]

# Bytes received after which the relay is sent an acknowledgement.
ACK_BYTES = 1 << 20
# Generous, since the callers have timeouts of their own.
NAMESPACE_TIMEOUT = 60.0


class Ready(msgspec.Struct, frozen=True):
    """The first event that a relay sends.

    Attributes:
        position: Position in the kernel's log after which events follow.
        state: The kernel's state.
        protocol: Version of the relay's protocol.
    """

    position: int
    state: str
    protocol: int = 1


class RelaySocket:
    """A Socket.IO connection, until it breaks.

    Args:
        relay: Client of the relay.
        kernel_id: The kernel's id.
        kind: Name of the kernel's namespace: a channel, or ``"main"`` for all of them.
        max_received: Largest message, in bytes.

    Attributes:
        lost: Set when the connection is broken.
        needs_ack: True after many bytes were received without an acknowledgement.
        on_refused: Called with the relay's reason for rejecting a message.
        on_malformed: Called with an error for each packet that cannot be decoded.
    """

    def __init__(self, relay: RelayClient, kernel_id: str, kind: str, *, max_received: int) -> None:
        self.lost = asyncio.Event()
        self.needs_ack = False
        self.on_refused: Callable[[Any], None] = lambda refusal: None
        self.on_malformed: Callable[[MalformedFrame], None] = lambda error: None
        self._relay = relay
        self._namespace = f"/{kind}/{kernel_id}"
        self._on_batch: Callable[[Batch], None] | None = None
        self._early: list[Batch] = []
        self._bytes_received = 0
        # Without a reference, the event loop may collect a task before it is done.
        self._sending: set[asyncio.Future[None]] = set()
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
        # The library would end the connection at a packet that cannot be decoded.
        self._handle_packet = self._io.eio.handlers["message"]
        self._io.eio.on("message", self._on_packet)
        on = self._io.on
        on("ready", self._on_ready, namespace=self._namespace)
        on("batch", self._on_batch_event, namespace=self._namespace)
        on("refused", lambda refusal=None, *_: self.on_refused(refusal), namespace=self._namespace)
        on("connect_error", self._on_connect_error, namespace=self._namespace)
        on("disconnect", lambda *_: self.lost.set(), namespace=self._namespace)

    async def open(self, *, session: str, since: int | None) -> Ready:
        """Connect, and return the relay's first event.

        Args:
            session: Id of the client's session.
            since: Position in the log after which the relay sends events; by default its end.

        Raises:
            ConnectionFailed: The relay could not be reached, or refused.
        """
        auth: dict[str, Any] = {"session": session, "batch": True}
        if since is not None:
            auth["since"] = since
        self._relay.pending = f"the namespace {self._namespace}"
        try:
            await self._io.connect(
                self._relay.base,
                headers={},
                auth=auth,
                transports=["websocket"],
                namespaces=[self._namespace],
                socketio_path=f"{self._relay.path}/socket.io".lstrip("/"),
                wait_timeout=NAMESPACE_TIMEOUT,
            )
            losing = asyncio.ensure_future(self.lost.wait())
            try:
                await asyncio.wait((self._ready, losing), return_when=asyncio.FIRST_COMPLETED)
            finally:
                losing.cancel()
            if not self._ready.done():
                raise ConnectionFailed(
                    f"{self._relay} closed the connection right after opening it"
                )
            ready = msgspec.convert(self._ready.result(), type=Ready)
            if ready.protocol > PROTOCOL_VERSION:
                raise ConnectionFailed(
                    f"{self._relay} requires a newer enchannel (protocol {ready.protocol}; this version"
                    f" has protocol {PROTOCOL_VERSION}): pip install --upgrade enchannel"
                )
            return ready
        except ConnectionFailed:  # an OSError
            raise
        except msgspec.ValidationError:  # a ValueError
            raise ConnectionFailed(
                f"{self._relay} sent an invalid response; check that the URL is that of a relay"
            ) from None
        except (SocketIOError, aiohttp.ClientError, OSError, ValueError, TypeError) as error:
            raise self._translated(error) from None

    def _translated(self, error: Exception) -> ConnectionFailed:
        status = _handshake_status(error)
        if status == 503:
            return ConnectionFailed(
                f"{self._relay} has reached its limit of connections; raise it there with --max-connections"
            )
        if status:
            return ConnectionFailed(f"{self._relay} answered {status} to the Socket.IO handshake")
        why = self._refusal
        if isinstance(why, dict):
            why = why.get("message")
        return ConnectionFailed(f"{self._relay} refused {self._namespace}: {why or error}")

    async def emit(self, name: str, data: object) -> None:
        """Send an event; dropped if the connection is broken, which ``lost`` reports."""
        with suppress(SocketIOError):
            await self._io.emit(name, data, namespace=self._namespace)

    async def wait_until_written(self, max_queued: int = 0) -> None:
        """Wait until all packets are written, if more than ``max_queued`` are queued."""
        queue = self._io.eio.queue
        if queue.qsize() > max_queued:
            await queue.join()

    async def wait_until_processed(self, position: int) -> None:
        """Send an acknowledgement and wait for the relay's answer, which follows all earlier events.

        Raises:
            ConnectionLost: The connection is broken.
        """
        try:
            await self._io.call(
                "ack", position, namespace=self._namespace, timeout=NAMESPACE_TIMEOUT
            )
        except SocketIOError as error:
            raise ConnectionLost(f"the connection to {self._relay} broke: {error}") from None

    def acknowledge(self, position: int) -> None:
        """Tell the relay that all events up to a position were handled, without waiting."""
        self._bytes_received, self.needs_ack = 0, False
        sending = asyncio.ensure_future(self.emit("ack", position))
        self._sending.add(sending)
        sending.add_done_callback(self._sending.discard)

    def abort(self) -> None:
        """Treat the connection as broken."""
        self.lost.set()

    async def close(self) -> None:
        """Close the connection, in any state."""
        self.lost.set()
        try:
            with suppress(SocketIOError, aiohttp.ClientError, OSError):
                await self._io.disconnect()
        finally:
            # The library's finalizer would close it, on any thread.
            self._io.eio.http = None

    async def _on_packet(self, data: str | bytes) -> None:
        self._bytes_received += len(data)
        self.needs_ack = self._bytes_received >= ACK_BYTES
        # The library would take a text for an attachment that it waits for.
        if isinstance(data, str) and self._io._binary_packet is not None:
            self._io._binary_packet = None
            self.on_malformed(
                MalformedFrame("a packet's attachments were not received; it was dropped")
            )
        try:
            await self._handle_packet(data)
        except Exception as error:
            self._io._binary_packet = None
            self.on_malformed(
                MalformedFrame(
                    f"a packet could not be decoded ({error or type(error).__name__}); it was dropped"
                )
            )

    def _on_ready(self, data: Any = None, *_: Any) -> None:
        if not self._ready.done():
            self._ready.set_result(data)

    def _on_connect_error(self, data: Any = None, *_: Any) -> None:
        self._refusal = data

    def deliver_to(self, on_batch: Callable[[Batch], None]) -> None:
        """Call a function with each batch of events, also with those that were received before."""
        self._on_batch = on_batch
        while self._early:
            on_batch(self._early.pop(0))

    def _on_batch_event(self, batch: Any = None, *_: Any) -> None:
        if isinstance(batch, Batch):
            if self._on_batch is None:
                self._early.append(batch)
            else:
                self._on_batch(batch)
        else:
            self.on_malformed(MalformedFrame("a batch has an invalid structure; it was dropped"))


def _handshake_status(error: BaseException | None) -> int:
    """Return the HTTP status with which a WebSocket was refused, from the causes of an error; 0: none."""
    while error is not None:
        if isinstance(error, aiohttp.WSServerHandshakeError):
            return error.status
        error = error.__cause__ or error.__context__
    return 0
