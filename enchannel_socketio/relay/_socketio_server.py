"""The Socket.IO side of a relay: a namespace for each channel of a kernel, and one for all channels."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qs

import msgspec
import socketio
from socketio.exceptions import ConnectionRefusedError as NamespaceRefused

from enchannel import ChannelName
from enchannel.backends import EventRecord
from enchannel.errors import ConnectionLost, EnchannelError, KernelDied, NotSupported
from enchannel_socketio._logs import quiet
from enchannel_socketio._packet import PROTOCOL_VERSION, MessageParts, Packet, decode_message
from enchannel_socketio.relay._access_control import GRANT, RequestRefused
from enchannel_socketio.relay._directory import KernelDirectory, NoSuchKernel
from enchannel_socketio.relay._kernels import ServedKernel
from enchannel_socketio.relay._tokens import Grant
from enchannel_socketio.relay._watcher import DEFAULT_CREDIT, MAX_CREDIT, Watcher, WatchOptions

__all__ = ["MESSAGE_OVERHEAD", "SocketioServer"]

log = logging.getLogger("enchannel.socketio.relay")

MAIN = "main"
CHANNELS = {name.value: name for name in ChannelName if name is not ChannelName.HEARTBEAT}
IOPUB = ChannelName.IOPUB.value
# Of one connection.
MAX_NAMESPACES = 16
# Socket.IO adds at most this many bytes to a message.
MESSAGE_OVERHEAD = 4_096
# The largest packet of a client that only watches; an acknowledgement is much smaller.
MAX_WATCHER_PACKET_BYTES = 4_096
# For watchers to receive the end of a kernel before they are disconnected.
FINAL_DELIVERY_TIMEOUT = 5.0
# Refusals of one client that wait until it has received the log.
MAX_WAITING_REFUSALS = 64
# The first characters of Socket.IO packets with binary attachments: BINARY_EVENT and BINARY_ACK.
BINARY_PACKETS = ("5", "6")


class NamespaceAuth(msgspec.Struct, frozen=True):
    """The ``auth`` that a client sends when it connects to a namespace; see ``docs/relay.md``."""

    session: str = ""
    since: int | None = None
    batch: bool = False
    credit: int = DEFAULT_CREDIT


class SocketioServer:
    """Serves kernels to Socket.IO clients.

    Args:
        directory: The kernels.
        max_message: The maximum size of a client's message, in bytes.
        max_connections: The maximum number of connections.
    """

    def __init__(
        self, directory: KernelDirectory, *, max_message: int, max_connections: int
    ) -> None:
        self._directory = directory
        self._max_message = max_message
        self._max_connections = max_connections
        self._clients: dict[tuple[str, str], _NamespaceClient] = {}
        bounded = type("BoundedPacket", (Packet,), {"max_attachment_bytes": max_message})
        options: dict[str, Any] = {
            "async_mode": "asgi",
            # Messages of a client keep their order.
            "async_handlers": False,
            "namespaces": "*",
            "serializer": bounded,
            # Origins are checked by the access control.
            "cors_allowed_origins": [],
            "max_http_buffer_size": max_message + MESSAGE_OVERHEAD,
            "ping_interval": 10,
            "ping_timeout": 20,
            "logger": quiet,
            "engineio_logger": quiet,
        }
        self._io: Any = socketio.AsyncServer(**options)
        for name in ("connect", "disconnect", "msg", "ack"):
            self._io.on(name, getattr(self, f"_on_{name}"), namespace="*")
        self._handle_packet = self._io.eio.handlers["message"]
        self._io.eio.on("message", self._on_packet)

    @property
    def connections(self) -> int:
        """The number of connections."""
        return len(self._io.eio.sockets)

    async def handle(self, scope: Any, receive: Any, send: Any) -> None:
        """Handle a request; an ASGI application.

        Raises:
            RequestRefused: The maximum number of connections is reached.
        """
        grant: Grant = scope[GRANT]
        # A tenth of the connections is reserved for clients with full access.
        reserved = 0 if grant.is_full else max(1, self._max_connections // 10)
        limit = self._max_connections - reserved
        if not _is_continued(scope) and self.connections >= limit:
            raise RequestRefused(503, f"too many connections: {self.connections} are open")
        try:
            await self._io.handle_request(scope, receive, send)
        except (ValueError, IndexError) as error:  # not Engine.IO
            if scope["type"] != "websocket":
                raise
            log.info("a client was disconnected: %s", error)

    async def disconnect_watchers(self, kernel: ServedKernel) -> None:
        """Send the end of a kernel to its watchers, and disconnect them."""
        clients = {key: client for key, client in self._clients.items() if client.kernel is kernel}
        await asyncio.gather(
            *(client.wait_until_sent(FINAL_DELIVERY_TIMEOUT) for client in clients.values())
        )
        for (namespace, sid), client in clients.items():
            client.stop()
            await self._io.disconnect(sid, namespace=namespace)

    async def close(self) -> None:
        """Disconnect all clients."""
        for client in list(self._clients.values()):
            client.stop()
        self._clients.clear()
        for connection in list(self._io.eio.sockets.values()):
            # Without waiting: a client may never read its pending packets.
            await connection.close(wait=False, abort=True)
        await self._io.shutdown()

    async def _on_packet(self, connection: str, data: str | bytes) -> None:
        """Handle a packet; disconnect a client whose packet is invalid or too large."""
        try:
            self._check_packet(connection, data)
            await self._handle_packet(connection, data)
        except Exception as error:
            log.info("a client was disconnected: %s", error)
            self._io._binary_packet.pop(connection, None)
            socket = self._io.eio.sockets.get(connection)
            if socket is not None:
                await socket.close(wait=False, abort=True)
                # The writer task stops at None, and then closes the WebSocket.
                await socket.queue.put(None)

    def _check_packet(self, connection: str, data: str | bytes) -> None:
        """Raise if a client that only watches sends more than acknowledgements."""
        grant: Grant = self._io.environ[connection]["asgi.scope"][GRANT]
        large = (
            len(data) > MAX_WATCHER_PACKET_BYTES
            or isinstance(data, bytes)
            or data[:1] in BINARY_PACKETS
        )
        if large and not grant.is_full:
            raise ValueError("a client that may only watch sent a message")

    async def _on_connect(self, namespace: str, sid: str, environ: Any, auth: object) -> None:
        grant: Grant = environ["asgi.scope"][GRANT]
        kind, kernel_id = _parse_namespace(namespace)
        if not grant.can_watch(kernel_id) or not (grant.is_full or kind == IOPUB):
            raise NamespaceRefused(f"this token does not grant access to {namespace[:80]}")
        options = _parse_auth(auth)
        connection = self._io.manager.eio_sid_from_sid(sid, namespace)
        open_namespaces = sum(client.connection == connection for client in self._clients.values())
        if open_namespaces >= MAX_NAMESPACES:
            raise NamespaceRefused(f"a connection can have at most {MAX_NAMESPACES} namespaces")
        try:
            kernel = await self._directory.find(kernel_id)
            _, last = await kernel.log.positions()
        except (NoSuchKernel, EnchannelError, OSError) as error:
            raise NamespaceRefused(str(error)) from None
        position = last if options.since is None else min(options.since, last)
        watch_options = WatchOptions(
            channels=frozenset(CHANNELS) if kind == MAIN else frozenset({kind}),
            statuses=kind in (MAIN, IOPUB),
            session=options.session,
            batch=options.batch,
            credit=options.credit,
        )

        async def emit(name: str, argument: object) -> None:
            await self._io.emit(name, argument, to=sid, namespace=namespace)

        watcher = Watcher(kernel.log, watch_options, position, emit, kernel.batches)
        ready = {
            "protocol": PROTOCOL_VERSION,
            "position": position,
            "state": kernel.state.value,
            "access": str(grant),
            "max_message": _min_limit(self._max_message, kernel.max_message),
        }

        async def watch() -> None:
            try:
                await emit("ready", ready)
                await watcher.run()
            except Exception as error:
                # The client reconnects, and continues at its position.
                log.exception("kernel %s cannot be watched at the moment: %s", kernel.id, error)
                await self._io.disconnect(sid, namespace=namespace)

        client = _NamespaceClient(
            kernel, watcher, connection, CHANNELS.get(kind), can_send=grant.is_full
        )
        self._clients[namespace, sid] = client
        client.start(watch())

    async def _on_disconnect(self, namespace: str, sid: str, reason: object = None) -> None:
        client = self._clients.pop((namespace, sid), None)
        if client is not None:
            client.stop()

    async def _on_ack(self, namespace: str, sid: str, position: object = None, *_: object) -> None:
        client = self._clients.get((namespace, sid))
        if client is not None and isinstance(position, int):
            client.watcher.acknowledge(position)

    async def _on_msg(
        self, namespace: str, sid: str, parts: object = None, *_: object
    ) -> Mapping[str, str]:
        client = self._clients.get((namespace, sid))
        if client is None:
            return {"error": "this namespace is not connected"}
        try:
            await client.send(parts)
        except EnchannelError as error:
            reason = error
        except Exception as error:
            log.exception("a message to kernel %s could not be forwarded", client.kernel.id)
            reason = EnchannelError(f"the message could not be forwarded: {type(error).__name__}")
        else:
            return {}
        refusal = _refusal_of(parts, reason)

        async def refuse() -> None:
            await self._io.emit("refused", refusal, to=sid, namespace=namespace)

        if isinstance(reason, (KernelDied, ConnectionLost)):
            await client.call_after_log(refuse)
        else:
            await refuse()
        return {"error": str(reason)}


class _NamespaceClient:
    """A client that is connected to a namespace.

    Args:
        kernel: The kernel of the namespace.
        watcher: Sends the log of the kernel to the client.
        connection: The id of the client's connection.
        channel: The channel of the namespace; None for the namespace of all channels.
        can_send: True if the client may send messages to the kernel.
    """

    def __init__(
        self,
        kernel: ServedKernel,
        watcher: Watcher,
        connection: str,
        channel: ChannelName | None,
        *,
        can_send: bool,
    ) -> None:
        self.kernel = kernel
        self.watcher = watcher
        self.connection = connection
        self._channel = channel
        self._can_send = can_send and channel is not ChannelName.IOPUB
        self._watching: asyncio.Task[None] | None = None
        self._waiting: set[asyncio.Task[None]] = set()

    def start(self, watching: Coroutine[Any, Any, None]) -> None:
        """Start sending the log, in a task: not before the connect handler has returned."""
        self.kernel.watchers += 1
        self._watching = asyncio.create_task(watching)
        self._watching.add_done_callback(self._on_stopped)

    def stop(self) -> None:
        """Stop sending the log."""
        if self._watching is not None:
            self._watching.cancel()
        for task in self._waiting:
            task.cancel()

    async def call_after_log(self, refuse: Callable[[], Awaitable[None]]) -> None:
        """Call a function once the client was sent the current log, without waiting for that.

        The end of the kernel explains the refusal of a message. So it is sent first, after all output, for
        which a slow client makes it wait; its acknowledgements are received meanwhile.
        """
        if len(self._waiting) >= MAX_WAITING_REFUSALS:
            await refuse()
            return
        task = asyncio.create_task(self._call_after_log(refuse))
        self._waiting.add(task)
        task.add_done_callback(self._waiting.discard)

    async def _call_after_log(self, refuse: Callable[[], Awaitable[None]]) -> None:
        with suppress(EnchannelError, OSError):  # of the store
            await self.watcher.wait_until(await self.kernel.position())
        await refuse()

    async def wait_until_sent(self, timeout: float) -> None:
        """Wait until the current entries of the log have been sent, or for the timeout in seconds."""
        _, last = await self.kernel.log.positions()
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self.watcher.wait_until(last)

    async def send(self, parts: object) -> None:
        """Send a message of the client to the kernel.

        Raises:
            EnchannelError: The client may not send, the message is invalid, or the kernel refuses it.
        """
        if not self._can_send:
            raise NotSupported(
                "messages cannot be sent here; this namespace or token is for watching"
            )
        flaws: list[EnchannelError] = []
        message = decode_message(parts, self._channel, flaws.append)
        if message.channel is ChannelName.IOPUB:
            raise NotSupported("messages cannot be sent on iopub")
        await self.kernel.send(message)

    def _on_stopped(self, watching: asyncio.Task[None]) -> None:
        self.kernel.watchers -= 1


def _is_continued(scope: Any) -> bool:
    """Return True for a request on an existing connection: it has a session id."""
    query = scope["query_string"].decode("latin-1")
    return "sid" in parse_qs(query)


def _parse_namespace(namespace: str) -> tuple[str, str]:
    """Return the kind of a namespace (a channel or ``main``), and the id of its kernel."""
    kind, _, kernel_id = namespace.removeprefix("/").partition("/")
    # The name of stdin in nteract's enchannel-socketio.
    if kind == "stdio":
        kind = ChannelName.STDIN.value
    if kernel_id and (kind == MAIN or kind in CHANNELS):
        return kind, kernel_id
    raise NamespaceRefused(
        "a namespace must be /main/ID, /shell/ID, /control/ID, /stdin/ID or /iopub/ID"
    )


def _parse_auth(auth: object) -> NamespaceAuth:
    try:
        options = msgspec.convert(auth or {}, type=NamespaceAuth)
    except msgspec.ValidationError as error:
        raise NamespaceRefused(f"invalid auth: {error}") from None
    if not 1 <= options.credit <= MAX_CREDIT:
        raise NamespaceRefused(f"credit must be a number from 1 to {MAX_CREDIT}")
    if options.since is not None and options.since < 0:
        raise NamespaceRefused("since must be 0 or more")
    return options


def _min_limit(*limits: int | None) -> int:
    return min(limit for limit in limits if limit is not None)


def _refusal_of(parts: object, reason: EnchannelError) -> Mapping[str, object]:
    record = EventRecord.of(reason)
    refusal: dict[str, object] = {
        "msg_id": _message_id_of(parts),
        "error": record.text,
        "kind": record.error,
    }
    if record.exit_code is not None:
        refusal["exit_code"] = record.exit_code
    if record.stderr:
        refusal["stderr"] = record.stderr
    return refusal


def _message_id_of(parts: object) -> str:
    if not isinstance(parts, MessageParts):
        return ""
    try:
        return str(msgspec.json.decode(parts.header)["msg_id"])
    except (msgspec.MsgspecError, UnicodeError, KeyError, TypeError):
        return ""
