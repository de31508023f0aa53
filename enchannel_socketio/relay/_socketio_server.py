"""The namespaces of a relay: a socket for each channel of a kernel, and one for all of them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qs

import msgspec
import socketio
from socketio.exceptions import ConnectionRefusedError as Refused

from enchannel import ChannelName
from enchannel.errors import EnchannelError, NotSupported
from enchannel_socketio._logs import quiet
from enchannel_socketio._packet import Packet, Parts, message_from
from enchannel_socketio.relay._access_control import ACCESS, Refusal
from enchannel_socketio.relay._directory import Directory, NoSuchKernel
from enchannel_socketio.relay._kernels import Kernel
from enchannel_socketio.relay._tokens import Access
from enchannel_socketio.relay._watcher import CREDIT, CREDIT_MOST, Watcher, Wish

__all__ = ["OVERHEAD", "Sockets"]

log = logging.getLogger("enchannel.socketio.relay")

MAIN = "main"
CHANNELS = {name.value: name for name in ChannelName if name is not ChannelName.HEARTBEAT}
IOPUB = ChannelName.IOPUB.value
MOST = 16  # namespaces of one connection
OVERHEAD = 4_096  # bytes around a message
ACKNOWLEDGEMENT = 4_096  # bytes, and much more than one has
SEEING = 5.0  # seconds for those who watch to see the end


class Asked(msgspec.Struct, frozen=True):
    """What a client says when it connects to a namespace."""

    session: str = ""
    since: int | None = None
    batch: bool = False
    credit: int = CREDIT


class Sockets:
    """Speaks Socket.IO with clients.

    Args:
        directory: Of the kernels.
        max_message: Bytes that a client may send in one message.
        connections: How many there may be.
    """

    def __init__(self, directory: Directory, *, max_message: int, connections: int) -> None:
        self._directory = directory
        self._max_message = max_message
        self._most = connections
        self._seats: dict[tuple[str, str], _Seat] = {}
        bounded = type("BoundedPacket", (Packet,), {"most": max_message})
        options: dict[str, Any] = {
            "async_mode": "asgi",
            "async_handlers": False,  # what a client says stays in order
            "namespaces": "*",
            "serializer": bounded,
            "cors_allowed_origins": [],  # the guard has seen to that
            "max_http_buffer_size": max_message + OVERHEAD,
            "ping_interval": 10,
            "ping_timeout": 20,
            "logger": quiet,
            "engineio_logger": quiet,
        }
        self._io: Any = socketio.AsyncServer(**options)
        for name in ("connect", "disconnect", "msg", "ack"):
            self._io.on(name, getattr(self, f"_on_{name}"), namespace="*")
        self._take = self._io.eio.handlers["message"]
        self._io.eio.on("message", self._on_packet)

    @property
    def connections(self) -> int:
        """How many there are."""
        return len(self._io.eio.sockets)

    async def handle(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request; an ASGI application.

        Raises:
            Refusal: there are too many.
        """
        access: Access = scope[ACCESS]
        # Some are kept for those who may do everything.
        most = self._most if access.is_full else self._most - max(1, self._most // 10)
        if not _is_continued(scope) and self.connections >= most:
            raise Refusal(503, f"there are {self.connections} connections already")
        try:
            await self._io.handle_request(scope, receive, send)
        except (
            ValueError,
            IndexError,
        ) as error:  # it is no Engine.IO, and the connection is given up
            if scope["type"] != "websocket":
                raise
            log.info("a client was hung up on: %s", error)

    async def dismiss(self, kernel: Kernel) -> None:
        """A kernel was shut down: let those who watch it see its end, and go."""
        seats = {where: seat for where, seat in self._seats.items() if seat.kernel is kernel}
        await asyncio.gather(*(seat.until_told(SEEING) for seat in seats.values()))
        for (namespace, sid), seat in seats.items():
            seat.leave()
            await self._io.disconnect(sid, namespace=namespace)

    async def close(self) -> None:
        """Hang up on everybody."""
        for seat in list(self._seats.values()):
            seat.leave()
        self._seats.clear()
        for connection in list(self._io.eio.sockets.values()):
            await connection.close(wait=False, abort=True)  # some may never read what is for them
        await self._io.shutdown()

    async def _on_packet(self, connection: str, data: str | bytes) -> None:
        """Read a packet; who sends what is none, or too much of it, is hung up on."""
        try:
            self._demand_modesty(connection, data)
            await self._take(connection, data)
        except Exception as error:
            log.info("a client was hung up on: %s", error)
            self._io._binary_packet.pop(connection, None)
            socket = self._io.eio.sockets.get(connection)
            if socket is not None:
                await socket.close(wait=False, abort=True)
                await socket.queue.put(None)  # with which its writer ends, and closes the WebSocket

    def _demand_modesty(self, connection: str, data: str | bytes) -> None:
        """Who may only watch acknowledges, and has nothing to say that is large, or has attachments."""
        access: Access = self._io.environ[connection]["asgi.scope"][ACCESS]
        large = len(data) > ACKNOWLEDGEMENT or isinstance(data, bytes) or data[:1] in ("5", "6")
        if large and not access.is_full:
            raise ValueError("it may only watch, and says too much for that")

    async def _on_connect(self, namespace: str, sid: str, environ: Any, auth: object) -> None:
        access: Access = environ["asgi.scope"][ACCESS]
        kind, kernel_id = _parts_of(namespace)
        if not access.may_watch(kernel_id) or not (access.is_full or kind == IOPUB):
            raise Refused(f"this token does not open {namespace[:80]}")
        asked = _asked(auth)
        connection = self._io.manager.eio_sid_from_sid(sid, namespace)
        if sum(seat.connection == connection for seat in self._seats.values()) >= MOST:
            raise Refused(f"one connection has {MOST} namespaces at most")
        try:
            kernel = await self._directory.find(kernel_id)
            _, last = await kernel.log.ends()
        except (NoSuchKernel, EnchannelError, OSError) as error:
            raise Refused(str(error)) from None
        position = last if asked.since is None else min(asked.since, last)
        wish = Wish(
            channels=frozenset(CHANNELS) if kind == MAIN else frozenset({kind}),
            statuses=kind in (MAIN, IOPUB),
            session=asked.session,
            batch=asked.batch,
            credit=asked.credit,
        )

        async def emit(name: str, told: object) -> None:
            await self._io.emit(name, told, to=sid, namespace=namespace)

        watcher = Watcher(kernel.log, wish, position, emit, kernel.batches)
        ready = {
            "position": position,
            "state": kernel.state.value,
            "access": str(access),
            "max_message": _least(self._max_message, kernel.max_message),
        }

        async def watch() -> None:
            try:
                await emit("ready", ready)
                await watcher.run()
            except Exception as error:  # whoever watches comes back, and goes on where it was
                log.exception("kernel %s cannot be watched at the moment: %s", kernel.id, error)
                await self._io.disconnect(sid, namespace=namespace)

        seat = _Seat(kernel, watcher, connection, CHANNELS.get(kind), can_speak=access.is_full)
        self._seats[namespace, sid] = seat
        seat.begin(watch())

    async def _on_disconnect(self, namespace: str, sid: str, reason: object = None) -> None:
        seat = self._seats.pop((namespace, sid), None)
        if seat is not None:
            seat.leave()

    async def _on_ack(self, namespace: str, sid: str, position: object = None, *_: object) -> None:
        seat = self._seats.get((namespace, sid))
        if seat is not None and isinstance(position, int):
            seat.watcher.acknowledge(position)

    async def _on_msg(
        self, namespace: str, sid: str, parts: object = None, *_: object
    ) -> Mapping[str, str]:
        seat = self._seats.get((namespace, sid))
        if seat is None:
            return {"error": "this namespace is not connected"}
        try:
            await seat.say(parts)
        except EnchannelError as error:
            why, kind = str(error), type(error).__name__
        except Exception as error:
            log.exception("a message to kernel %s could not be passed on", seat.kernel.id)
            why, kind = f"it could not be passed on: {type(error).__name__}", "EnchannelError"
        else:
            return {}
        told = {"msg_id": _id_of(parts), "error": why, "kind": kind}
        await self._io.emit("refused", told, to=sid, namespace=namespace)
        return {"error": why}


class _Seat:
    """One who is connected to one namespace."""

    def __init__(
        self,
        kernel: Kernel,
        watcher: Watcher,
        connection: str,
        channel: ChannelName | None,
        *,
        can_speak: bool,
    ) -> None:
        self.kernel = kernel
        self.watcher = watcher
        self.connection = connection
        self._channel = channel
        self._can_speak = can_speak and channel is not ChannelName.IOPUB
        self._watching: asyncio.Task[None] | None = None

    def begin(self, watching: Coroutine[Any, Any, None]) -> None:
        """Watch; not before what is going on is over."""
        self.kernel.watchers += 1
        self._watching = asyncio.create_task(watching)
        self._watching.add_done_callback(self._over)

    def leave(self) -> None:
        """It is gone."""
        if self._watching is not None:
            self._watching.cancel()

    async def until_told(self, seconds: float) -> None:
        """Wait until it was told all that there is, but not for ever."""
        _, last = await self.kernel.log.ends()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.watcher.until(last)

    async def say(self, parts: object) -> None:
        """Pass on what it says.

        Raises:
            EnchannelError: it may not, or that is no message, or the kernel does not take it.
        """
        if not self._can_speak:
            raise NotSupported("nothing can be said here: this is only for watching")
        flaws: list[EnchannelError] = []
        message = message_from(parts, self._channel, flaws.append)
        if message.channel is ChannelName.IOPUB:
            raise NotSupported("nothing can be said on iopub")
        await self.kernel.say(message)

    def _over(self, watching: asyncio.Task[None]) -> None:
        self.kernel.watchers -= 1


def _is_continued(scope: Any) -> bool:
    """Return True for a request on an existing connection: it has a session id."""
    query = scope["query_string"].decode("latin-1")
    return "sid" in parse_qs(query)


def _parts_of(namespace: str) -> tuple[str, str]:
    """Which channel of which kernel."""
    kind, _, kernel_id = namespace.removeprefix("/").partition("/")
    if kind == "stdio":  # as the ancestor called it
        kind = ChannelName.STDIN.value
    if kernel_id and (kind == MAIN or kind in CHANNELS):
        return kind, kernel_id
    raise Refused("a namespace is /main/ID, /shell/ID, /control/ID, /stdin/ID or /iopub/ID")


def _asked(auth: object) -> Asked:
    try:
        asked = msgspec.convert(auth or {}, type=Asked)
    except msgspec.ValidationError as error:
        raise Refused(
            f"the namespace was asked for in a way that makes no sense: {error}"
        ) from None
    if not 1 <= asked.credit <= CREDIT_MOST or (asked.since is not None and asked.since < 0):
        raise Refused(f"credit is a number from 1 to {CREDIT_MOST}, and since one from 0")
    return asked


def _least(*limits: int | None) -> int:
    return min(limit for limit in limits if limit is not None)


def _id_of(parts: object) -> str:
    if not isinstance(parts, Parts):
        return ""
    try:
        return str(msgspec.json.decode(parts.header)["msg_id"])
    except (msgspec.MsgspecError, UnicodeError, KeyError, TypeError):
        return ""
