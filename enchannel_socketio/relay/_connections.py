"""Limits connections that have not sent an authorized request: in number, and in time.

Such a connection costs a file descriptor. Without limits, anyone could use up those of the process, and no
other client could connect.
"""

from __future__ import annotations

import socket
from collections import Counter, OrderedDict
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol, Self

from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from enchannel_socketio.relay._access_control import CONNECTION, RequestRefused
from enchannel_socketio.relay._tokens import Grant

__all__ = ["ConnectionLimiter", "LimitedSocket", "limited_protocols"]


class ConnectionLimiter:
    """The connections of a server. Those without an authorized request in progress are pending.

    Runs on the event loop of the server.

    Args:
        max_pending: Above this number, the oldest connection is closed, of the address with most of them.
        timeout: Seconds after which a pending connection is closed.
        max_watchers: The maximum number of requests in progress whose token only allows watching.
        now: Returns the time in seconds.
    """

    def __init__(
        self, max_pending: int, timeout: float, max_watchers: int, now: Callable[[], float]
    ) -> None:
        self._max_pending = max_pending
        self._timeout = timeout
        self._now = now
        self._max_watchers = max_watchers
        self._watchers = 0
        # By file descriptor, the oldest first.
        self._pending: OrderedDict[int, tuple[float, str, socket.socket]] = OrderedDict()

    def add(self, connection: socket.socket, address: str) -> None:
        """Note a new connection, or one whose request has ended."""
        self._pending.pop(connection.fileno(), None)
        self._pending[connection.fileno()] = self._now() + self._timeout, address, connection
        if len(self._pending) > self._max_pending:
            self._remove_closed()
        if len(self._pending) > self._max_pending:
            counts = Counter(address for _, address, _ in self._pending.values())
            most = max(counts.values())
            self._close(next(fd for fd, (_, a, _) in self._pending.items() if counts[a] == most))

    def remove(self, descriptor: int) -> tuple[socket.socket, str] | None:
        """Exempt a connection from the limits; return the arguments with which ``add`` undoes that."""
        found = self._pending.pop(descriptor, None)
        return None if found is None else (found[2], found[1])

    def add_watcher(self) -> None:
        """Count a request whose token only allows watching.

        Raises:
            RequestRefused: There are too many of them.
        """
        if self._watchers >= self._max_watchers:
            raise RequestRefused(503, f"too many connections: {self._watchers} are open")
        self._watchers += 1

    def remove_watcher(self) -> None:
        """Undo ``add_watcher``."""
        self._watchers -= 1

    def close_expired(self) -> None:
        """Close the connections that have been pending for too long."""
        while self._pending:
            descriptor = next(iter(self._pending))
            if self._pending[descriptor][0] > self._now():
                return
            self._close(descriptor)

    def _close(self, descriptor: int) -> None:
        _, _, connection = self._pending.pop(descriptor)
        # The transport notices the end, in any state, and closes the socket.
        with suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)

    def _remove_closed(self) -> None:
        for descriptor, (_, _, connection) in list(self._pending.items()):
            if connection.fileno() < 0:
                del self._pending[descriptor]


class LimitedSocket(socket.socket):
    """A listening socket whose accepted connections are pending, also during a TLS handshake.

    Attributes:
        limiter: The limits; None: no limits.
    """

    limiter: ConnectionLimiter | None = None

    def accept(self) -> tuple[socket.socket, Any]:
        connection, address = super().accept()
        if self.limiter is not None:
            self.limiter.add(connection, str(address[0]))
        return connection, address


class _Server(Protocol):
    app: Any
    transport: Any


def limited_protocols(
    limiter: ConnectionLimiter,
) -> tuple[type[H11Protocol], type[WebSocketsSansIOProtocol]]:
    """Return uvicorn's protocols for HTTP and WebSockets, with the limits."""

    def limit(protocol: _Server) -> None:
        app, connection = protocol.app, _Connection(limiter, protocol.transport)

        async def serve(scope: Scope, receive: Receive, send: Send) -> None:
            with _Request(limiter, connection) as request:
                scope[CONNECTION] = request.admit
                await app(scope, receive, send)

        protocol.app = serve

    class LimitedHttp(H11Protocol):
        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            limit(self)

    class LimitedWebSocket(WebSocketsSansIOProtocol):
        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            limit(self)

    return LimitedHttp, LimitedWebSocket


class _Connection:
    """One connection; pending, unless an authorized request is in progress."""

    def __init__(self, limiter: ConnectionLimiter, transport: Any) -> None:
        self._limiter = limiter
        self._descriptor: int = transport.get_extra_info("socket").fileno()
        self._transport = transport
        self._requests = 0
        self._exempted: tuple[socket.socket, str] | None = None

    def begin(self) -> None:
        """Note the begin of an authorized request."""
        # The next request may begin before the handler of the previous one has returned.
        self._requests += 1
        if self._requests == 1:
            self._exempted = self._limiter.remove(self._descriptor)

    def end(self) -> None:
        """Note the end of an authorized request."""
        self._requests -= 1
        if not self._requests and self._exempted is not None and not self._transport.is_closing():
            self._limiter.add(*self._exempted)


class _Request:
    """A request, as a context manager."""

    def __init__(self, limiter: ConnectionLimiter, connection: _Connection) -> None:
        self._limiter = limiter
        self._connection = connection
        self._on_end: list[Callable[[], None]] = []

    def admit(self, grant: Grant) -> None:
        """Note that the request is authorized.

        Raises:
            RequestRefused: There are too many requests whose token only allows watching.
        """
        if not grant.is_full:
            self._limiter.add_watcher()
            self._on_end.append(self._limiter.remove_watcher)
        self._connection.begin()
        self._on_end.append(self._connection.end)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for on_end in self._on_end:
            on_end()
