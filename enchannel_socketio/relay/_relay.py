"""The relay as an application, and the server that runs it."""

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

from enchannel import Secret
from enchannel_socketio.relay._access_control import LOOPBACK, Guard, Receive, Scope, Send, path_of
from enchannel_socketio.relay._directory import Directory
from enchannel_socketio.relay._routes import routes
from enchannel_socketio.relay._socketio_server import Sockets
from enchannel_socketio.relay._store import MemoryStore, Store
from enchannel_socketio.relay._tokens import Access, Keys

__all__ = ["InvalidRelayOption", "Limits", "Relay"]

log = logging.getLogger("enchannel.socketio.relay")

SOCKETS = "/socket.io/"
_HOST = re.compile(r"(?:[\w.-]+|\[[\da-fA-F:.]+\])(?::\d+)?")
_ORIGIN = re.compile(r"https?://(?:[\w.-]+|\[[\da-fA-F:.]+\])(?::\d+)?")
MIN_TOKEN_LENGTH = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a relay bears.

    Attributes:
        max_message: Bytes in one message, or one request, of a client.
        kernels: That run at a time.
        connections: Of Socket.IO, at a time.
    """

    max_message: int = 10 << 20
    kernels: int = 32
    connections: int = 1_000


DEFAULT = Limits()


class InvalidRelayOption(ValueError):
    """An argument of ``Relay`` has a value that cannot be used.

    Attributes:
        argument: The name of the argument.
        requirement: What its value must be, as a predicate: "must …".
    """

    def __init__(self, argument: str, requirement: str) -> None:
        super().__init__(argument, requirement)
        self.argument = argument
        self.requirement = requirement

    def __str__(self) -> str:
        return f"{self.argument} {self.requirement}"


class Relay:
    """Serves kernels to browsers and programs: an ASGI application, to be run by a server or mounted.

    A server that runs it tells it of its beginning and its end (ASGI's lifespan). Where it is mounted in
    another application, which does not, the other one enters it: ``async with relay``, or ``lifespan``.

    Args:
        token: What opens it, 16 characters at least; a random one by default.
        store: Where what kernels say is kept; in memory by default.
        limits: What it bears.
        hosts: Names by which it is called beside those of loopback, each with a port or for any:
            ``"relay.example.org"``. Requests to other names are refused.
        origins: Whose pages may use it, beside its own: ``"https://lab.example.org"``.
        spawns: Whether clients may start kernels.
        share: Kernels that run already and are served from the beginning: what ``enchannel.connect`` takes.

    Attributes:
        token: What opens it.
        limits: What it bears.
        failure: Why it did not begin, where a server told it to.

    Raises:
        InvalidRelayOption: the token is too short; a host or an origin is invalid.

    Example:
        >>> relay = Relay(token="…")
        >>> app = Starlette(routes=[Mount("/kernels", relay)], lifespan=relay.lifespan)
    """

    def __init__(
        self,
        *,
        token: str | None = None,
        store: Store | None = None,
        limits: Limits = DEFAULT,
        hosts: Collection[str] = (),
        origins: Collection[str] = (),
        spawns: bool = True,
        share: Collection[Any] = (),
    ) -> None:
        token = secrets.token_urlsafe(32) if token is None else token
        if len(token) < MIN_TOKEN_LENGTH:
            raise InvalidRelayOption("token", f"must have at least {MIN_TOKEN_LENGTH} characters")
        _validate_names(
            "hosts", hosts, _HOST, "a host name such as relay.example.org or relay.example.org:4000"
        )
        _validate_names("origins", origins, _ORIGIN, "an origin such as https://lab.example.org")
        self.token: Secret = Secret(token)
        self.limits: Limits = limits
        self.failure: str = ""
        self._keys = Keys(self.token)
        self._store = store or MemoryStore()
        self._directory = Directory(self._store, most=limits.kernels, spawns=spawns)
        self._sockets = Sockets(
            self._directory, max_message=limits.max_message, connections=limits.connections
        )
        self._share = tuple(share)
        self._is_open = False
        self._routes = routes(self._directory, self._keys, limits.max_message, self.shut_down)
        self._store.obey(self.shut_down)
        self._guard = Guard(
            app=self._behind,
            keys=self._keys,
            hosts=frozenset(map(str.lower, (*LOOPBACK, *hosts))),
            origins=frozenset(origins),
            max_message=limits.max_message,
        )

    def link(self) -> str:
        """A one-time token: ``/?token=…`` gives a browser its cookie, once, within an hour."""
        return self._keys.link(Access())

    async def spawn(self, name: str = "python3") -> str:
        """Start a kernel; its id.

        Raises:
            LaunchFailed: it does not start.
        """
        return (await self._directory.spawn(name)).id

    async def share(self, target: Any, **options: Any) -> str:
        """Serve a kernel that runs already; its id here.

        Args:
            target: What ``enchannel.connect`` takes.
            options: As for ``enchannel.connect``.

        Raises:
            ConnectionFailed: it does not answer.
        """
        return (await self._directory.share(target, **options)).id

    async def shut_down(self, kernel_id: str) -> None:
        """End a kernel that was started here, or let go of another, and forget what it said.

        Raises:
            LookupError: there is none of that id.
        """
        kernel = await self._directory.end(kernel_id)
        await self._sockets.dismiss(kernel)
        await self._directory.forget(kernel_id)

    async def start(self) -> None:
        """Begin: open the store, and connect to what is shared."""
        await self._store.open()
        self._is_open = True
        try:
            for target in self._share:
                await self._directory.share(target)
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Hang up on all clients, and end the kernels that were started here."""
        self._is_open = False
        await self._sockets.close()
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
        """The lifespan of an application that it is mounted in."""
        async with self:
            yield

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """A request."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http" and not self._is_open:
            answer = JSONResponse({"error": "this relay was not started: see Relay.lifespan"}, 503)
            await answer(scope, receive, send)
        else:
            await self._guard(scope, receive, send)

    async def _behind(self, scope: Scope, receive: Receive, send: Send) -> None:
        if path_of(scope).startswith(SOCKETS):
            await self._sockets.handle(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            await self._routes(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
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
        except asyncio.CancelledError:  # the server has no patience; its kernels end all the same
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
