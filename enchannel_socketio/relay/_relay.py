"""The relay, as an ASGI application."""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from enchannel import Secret
from enchannel_socketio.relay._access_control import (
    LOOPBACK,
    AccessControl,
    path_of,
)
from enchannel_socketio.relay._directory import KernelDirectory
from enchannel_socketio.relay._routes import routes
from enchannel_socketio.relay._socketio_server import SocketioServer
from enchannel_socketio.relay._store import MemoryStore, Store
from enchannel_socketio.relay._tokens import Grant, Tokens

__all__ = ["InvalidRelayOption", "Limits", "Relay"]

log = logging.getLogger("enchannel.socketio.relay")

SOCKETIO_PATH = "/socket.io/"
_HOST = re.compile(r"(?:[\w.-]+|\[[\da-fA-F:.]+\])(?::\d+)?")
_ORIGIN = re.compile(r"https?://(?:[\w.-]+|\[[\da-fA-F:.]+\])(?::\d+)?")
_TOKEN = re.compile(r"[!-~][ -~]*[!-~]")
MIN_TOKEN_LENGTH = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The limits of a relay.

    Attributes:
        max_message: The maximum size of a client's message or request, in bytes.
        kernels: The maximum number of kernels at a time.
        connections: The maximum number of Socket.IO connections at a time.
    """

    max_message: int = 10 << 20
    kernels: int = 32
    connections: int = 1_000


DEFAULT_LIMITS = Limits()


class InvalidRelayOption(ValueError):
    """Raised for an invalid argument of ``Relay``.

    Attributes:
        argument: The name of the argument.
        requirement: The requirement on its value, as a predicate: "must …".
    """

    def __init__(self, argument: str, requirement: str) -> None:
        super().__init__(argument, requirement)
        self.argument = argument
        self.requirement = requirement

    def __str__(self) -> str:
        return f"{self.argument} {self.requirement}"


class Relay:
    """Serves kernels to browsers and programs: an ASGI application, to be run by a server or mounted.

    A server starts and stops it through the ASGI lifespan protocol. An application that mounts it must do
    so itself, with ``lifespan`` or ``async with relay``.

    Args:
        token: The access token, at least 16 printable ASCII characters long; a random one by default.
        store: The store of the kernels' logs; in memory by default.
        limits: The limits of clients.
        hosts: Accepted host names besides those of loopback, each with a port, or without one for any port:
            ``"relay.example.org"``. Requests with other host names are refused.
        origins: Origins that may use the relay, besides its own: ``"https://lab.example.org"``.
        allow_spawn: Allow clients to launch kernels.
        share: Running kernels to serve from the start, as targets of ``enchannel.connect``.

    Attributes:
        token: The access token.
        limits: The limits of clients.
        failure: The text of the error if the server could not start the relay; empty otherwise.

    Raises:
        InvalidRelayOption: The token is too short or cannot be sent in a header, or a host or an origin is
            invalid.

    Example:
        >>> relay = Relay(token="…")
        >>> app = Starlette(routes=[Mount("/kernels", relay)], lifespan=relay.lifespan)
    """

    def __init__(
        self,
        *,
        token: str | None = None,
        store: Store | None = None,
        limits: Limits = DEFAULT_LIMITS,
        hosts: Collection[str] = (),
        origins: Collection[str] = (),
        allow_spawn: bool = True,
        share: Collection[Any] = (),
    ) -> None:
        token = secrets.token_urlsafe(32) if token is None else token
        if len(token) < MIN_TOKEN_LENGTH:
            raise InvalidRelayOption("token", f"must have at least {MIN_TOKEN_LENGTH} characters")
        if not _TOKEN.fullmatch(token):
            raise InvalidRelayOption(
                "token",
                "must have only printable ASCII characters, and no space at its ends: clients send it in "
                "an HTTP header",
            )
        _validate_names(
            "hosts", hosts, _HOST, "a host name such as relay.example.org or relay.example.org:4000"
        )
        _validate_names("origins", origins, _ORIGIN, "an origin such as https://lab.example.org")
        self.token: Secret = Secret(token)
        self.limits: Limits = limits
        self.failure: str = ""
        self._tokens = Tokens(self.token)
        self._store = store or MemoryStore()
        self._directory = KernelDirectory(
            self._store, max_kernels=limits.kernels, allow_spawn=allow_spawn
        )
        self._socketio = SocketioServer(
            self._directory, max_message=limits.max_message, max_connections=limits.connections
        )
        self._share = tuple(share)
        self._is_open = False
        self._routes = routes(self._directory, self._tokens, limits.max_message, self.shut_down)
        self._store.set_shutdown_handler(self.shut_down)
        self._access_control = AccessControl(
            app=self._route,
            tokens=self._tokens,
            hosts=frozenset(map(str.lower, (*LOOPBACK, *hosts))),
            origins=frozenset(origins),
            max_message=limits.max_message,
        )

    def one_time_token(self) -> str:
        """Return a token for ``/?token=…``, which gives a browser full access, once, within an hour."""
        return self._tokens.issue_one_time_token(Grant())

    async def spawn(self, name: str = "python3") -> str:
        """Launch a kernel, and return its id.

        Raises:
            LaunchFailed: The kernel does not start.
        """
        return (await self._directory.spawn(name)).id

    async def share(self, target: Any, **options: Any) -> str:
        """Serve a running kernel, and return its id at the relay.

        Args:
            target: As for ``enchannel.connect``.
            options: As for ``enchannel.connect``.

        Raises:
            ConnectionFailed: The kernel does not answer.
        """
        return (await self._directory.share(target, **options)).id

    async def shut_down(self, kernel_id: str) -> None:
        """Shut down a launched kernel, or disconnect from a shared one, and delete its log.

        Raises:
            LookupError: The relay has no kernel with this id.
        """
        kernel = await self._directory.shut_down(kernel_id)
        await self._socketio.disconnect_watchers(kernel)
        await self._directory.forget(kernel_id)

    async def start(self) -> None:
        """Open the store, and connect to the shared kernels."""
        await self._store.open()
        self._is_open = True
        try:
            for target in self._share:
                await self._directory.share(target)
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Disconnect all clients, and shut down the kernels that the relay launched."""
        self._is_open = False
        await self._socketio.close()
        await self._directory.close()
        await self._store.close()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    @asynccontextmanager
    async def lifespan(self, app: object) -> AsyncIterator[None]:
        """Run the relay during the lifespan of the application that mounts it."""
        async with self:
            yield

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""
        if scope["type"] == "lifespan":
            await self._run_lifespan(receive, send)
        elif scope["type"] == "http" and not self._is_open:
            response = JSONResponse(
                {"error": "the relay is not running; start it with Relay.lifespan"}, 503
            )
            await response(scope, receive, send)
        else:
            await self._access_control(scope, receive, send)

    async def _route(self, scope: Scope, receive: Receive, send: Send) -> None:
        if path_of(scope).startswith(SOCKETIO_PATH):
            await self._socketio.handle(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            await self._routes(scope, receive, send)

    async def _run_lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            await self.start()
        except Exception as error:
            self.failure = str(error)
            await send({"type": "lifespan.startup.failed", "message": self.failure})
            return
        await send({"type": "lifespan.startup.complete"})
        try:
            await receive()
        except asyncio.CancelledError:  # the server's grace period is over
            await self.close()
            return
        await self.close()
        await send({"type": "lifespan.shutdown.complete"})


def _validate_names(
    argument: str, names: Collection[str], pattern: re.Pattern[str], kind: str
) -> None:
    if isinstance(names, str):
        raise InvalidRelayOption(argument, f"must be a list of strings, not the string {names!r}")
    for name in names:
        if not pattern.fullmatch(name):
            raise InvalidRelayOption(argument, f"must be {kind}, not {name!r}")
