"""The WebSocket backend: kernels behind a Jupyter Server, or a gateway that looks like one."""

from __future__ import annotations

import asyncio
import ssl as tls
import uuid
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from enchannel import Secret, Session
from enchannel.abc import Launcher, Link
from enchannel.backends import EventLoopThread, Lease
from enchannel.errors import ConnectionFailed, KernelDied, LaunchFailed, NotSupported, Remedy
from enchannel_websocket._address import Address, address_of
from enchannel_websocket._link import LinkOptions, WebsocketLink
from enchannel_websocket._loop import shared
from enchannel_websocket._remote import RemoteKernel
from enchannel_websocket._server import Access, Server, ServerRefused

__all__ = ["GIBIBYTE", "MESSAGE_LIMIT", "WebsocketBackend", "access_of", "on_server"]

T = TypeVar("T")

MESSAGE_LIMIT = 10 << 20  # bytes: Tornado's default
GIBIBYTE = 1 << 30
NOT_ALLOWED = 405
ATTEMPT = 15.0  # seconds to connect to a kernel that was started, before it is tried anew
ENDING = 4.0  # seconds for a kernel to go that was launched in vain
RULING = 60.0  # seconds for an interrupt, a restart or a shutdown


class WebsocketBackend(Launcher):
    """Kernels on a server.

    ``connect`` takes a kernel's URL, ``https://host/base/api/kernels/ID``, or that of a session, which is
    a notebook's kernel; ``launch`` a server's, ``at="https://host/base"``. That of one of its pages
    (``/lab``, ``/tree``) will do, with the ``?token=…`` that Jupyter prints.

    jupyverse takes a token in a URL and nowhere else, where ours never go: with one, it wants the cookie
    that it gives for it, as ``headers={"Cookie": …}``.
    """

    def open(
        self,
        target: Any,
        *,
        session: Session,
        timeout: float,
        token: str | None = None,
        password: str | None = None,
        headers: Mapping[str, str] | None = None,
        ssl: tls.SSLContext | None = None,
        proxy: str | bool | None = True,
        allow_http: bool = False,
        max_sent: int = MESSAGE_LIMIT,
        max_received: int = GIBIBYTE,
        keepalive_timeout: float = 30.0,
        reconnect_timeout: float = 60.0,
        poll_interval: float = 10.0,
        legacy: bool = False,
    ) -> Link:
        """Connect to a kernel that runs.

        Args:
            target: See the class.
            session: Who we are; the server keeps what its only client missed, for the same session.
            timeout: Seconds until kernel and server have to answer.
            token: What the server knows us by; or it is in the URL. It travels in a header.
            password: For a server that has one instead of a token.
            headers: What is sent with every request besides.
            ssl: For ``https``; by default certificates have to be those that the system trusts.
            proxy: The URL of a proxy; by default what the environment says; None: none.
            allow_http: Speak ``http`` to another host than this.
            max_sent: Bytes; what the server takes in one message.
            max_received: Bytes; a server that sends a larger message is hung up on.
            keepalive: Seconds after which a server that gives no sign of life is lost.
            reconnect_timeout: Seconds for which a server that is lost is looked for again.
            poll_interval: Seconds between two looks whether the kernel is still there: servers do not say.
            legacy: Speak the older framing, as if the server knew no other.

        Raises:
            ConnectionFailed: the target makes no sense, or does not answer.
            AuthenticationFailed: the server does not know us.
        """
        address = address_of(target, allow_http=allow_http)
        if not address.id:
            raise ConnectionFailed(
                f"{address.base} is the URL of a server, not of a kernel as "
                f"{address.base}/api/kernels/ID is",
                remedy=Remedy.LAUNCH,
            )
        access = access_of(
            address, token=token, password=password, headers=headers, ssl=ssl, proxy=proxy
        )
        options = LinkOptions(
            max_sent=max_sent,
            max_received=max_received,
            keepalive_timeout=keepalive_timeout,
            reconnect_timeout=reconnect_timeout,
            poll_interval=poll_interval,
            legacy=legacy,
        )

        async def connect(server: Server, lease: Lease[EventLoopThread]) -> Link:
            kernel_id = address.id
            if address.kind == "sessions":
                kernel_id = await server.kernel_of_session(address.id)
            return await _linked(server, kernel_id, session, lease, options, owned=False)

        return _opened(address, access, timeout, connect)

    def launch(
        self,
        name: str,
        *,
        session: Session,
        timeout: float,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        at: str = "",
        notebook: str | None = None,
        token: str | None = None,
        password: str | None = None,
        headers: Mapping[str, str] | None = None,
        ssl: tls.SSLContext | None = None,
        proxy: str | bool | None = True,
        allow_http: bool = False,
        max_sent: int = MESSAGE_LIMIT,
        max_received: int = GIBIBYTE,
        keepalive_timeout: float = 30.0,
        reconnect_timeout: float = 60.0,
        poll_interval: float = 10.0,
        legacy: bool = False,
    ) -> Link:
        """Start a kernel on a server.

        Args:
            name: The kernelspec's.
            session, timeout: As for ``open``; a kernel that is late is ended, which may take 4 s more.
            cwd: The directory that it starts in, as the server names it: below its own root.
            env: Environment variables for it. Only gateways take them: those that begin with ``KERNEL_``,
                and those that they are told to take.
            at: The server's URL.
            notebook: The path of a notebook there, beside which the kernel is seen, in JupyterLab.
            token, password, headers, ssl, proxy, allow_http: As for ``open``.
            max_sent, max_received, keepalive, reconnect_timeout, poll_interval, legacy: As for ``open``.

        Raises:
            LaunchFailed: there is no such kernelspec, or the kernel did not come up.
            NotSupported: the server cannot set its environment.
            AuthenticationFailed: the server does not know us.
            ConnectionFailed: it is not to be reached.
        """
        address = address_of(at, allow_http=allow_http)
        if address.id:
            raise ConnectionFailed(
                "at must be the URL of a server, not of a kernel", remedy=Remedy.CONNECT
            )
        access = access_of(
            address, token=token, password=password, headers=headers, ssl=ssl, proxy=proxy
        )
        options = LinkOptions(
            max_sent=max_sent,
            max_received=max_received,
            keepalive_timeout=keepalive_timeout,
            reconnect_timeout=reconnect_timeout,
            poll_interval=poll_interval,
            legacy=legacy,
        )
        wanted = _Wanted(name, cwd, env, notebook)

        async def launch(server: Server, lease: Lease[EventLoopThread]) -> Link:
            session_id, kernel_id = await _started(server, wanted)
            try:
                return await _linked(
                    server, kernel_id, session, lease, options, owned=True, session_id=session_id
                )
            except BaseException as error:
                with suppress(TimeoutError, ConnectionFailed):  # it will notice nobody then
                    await asyncio.wait_for(server.end(kernel_id, session_id), ENDING)
                if isinstance(error, KernelDied):
                    raise LaunchFailed(f"kernel {name!r} ended while starting: {error}") from None
                raise

        return _opened(address, access, timeout, launch)


def access_of(
    address: Address,
    *,
    token: str | None,
    password: str | None,
    headers: Mapping[str, str] | None,
    ssl: tls.SSLContext | None,
    proxy: str | bool | None,
) -> Access:
    """How to get to a server; a token that was given wins over that of the URL."""
    return Access(
        token=Secret(token) if token else address.token,
        password=Secret(password or ""),
        headers=headers or {},
        ssl=ssl,
        proxy=proxy,
    )


def on_server(
    address: Address, access: Access, timeout: float, ask: Callable[[Server], Awaitable[T]]
) -> T:
    """Ask a server something, and leave nothing behind.

    Raises:
        ConnectionFailed: also when it did not answer in time.
    """
    lease = shared.lease()
    try:
        return lease.resource.run(_in_time(address, access, timeout, ask, keep=False))
    finally:
        lease.release()


def _opened(
    address: Address,
    access: Access,
    timeout: float,
    opening: Callable[[Server, Lease[EventLoopThread]], Awaitable[Link]],
) -> Link:
    """Open a link on a server, which is the link's then."""
    lease = shared.lease()
    try:
        return lease.resource.run(
            _in_time(address, access, timeout, lambda server: opening(server, lease), keep=True)
        )
    except BaseException:
        lease.release()
        raise


async def _in_time(
    address: Address,
    access: Access,
    timeout: float,
    use: Callable[[Server], Awaitable[T]],
    *,
    keep: bool,
) -> T:
    server = Server(address, access, patience=timeout)
    try:
        async with asyncio.timeout(timeout):
            used = await use(server)
    except BaseException as error:
        await server.close()
        if isinstance(error, TimeoutError):
            raise ConnectionFailed(
                f"{server} did not answer within {timeout:g} s: it was asked for {server.pending}"
            ) from None
        if isinstance(error, KernelDied):
            raise ConnectionFailed(str(error)) from None
        raise
    if not keep:
        await server.close()
    return used


async def _linked(
    server: Server,
    kernel_id: str,
    session: Session,
    lease: Lease[EventLoopThread],
    options: LinkOptions,
    *,
    owned: bool,
    session_id: str | None = None,
) -> Link:
    link = WebsocketLink(server, kernel_id, session, lease, options)
    await link.open(attempt_timeout=ATTEMPT if owned else None)
    rule = RemoteKernel(server, link, lease.resource, session_id=session_id, timeout=RULING)
    return link.link(rule, owned=owned)


async def _started(server: Server, wanted: _Wanted) -> tuple[str | None, str]:
    """Start a kernel; who gives up waiting for that waits for what it has to end."""
    starting = asyncio.ensure_future(wanted.start_on(server))
    try:
        return await asyncio.shield(starting)
    except asyncio.CancelledError:
        with suppress(TimeoutError, ConnectionFailed, NotSupported):
            async with asyncio.timeout(ENDING):
                session_id, kernel_id = await starting
                await server.end(kernel_id, session_id)
        raise


class _Wanted:
    """A kernel that is to be started."""

    def __init__(
        self, name: str, cwd: Path | None, env: Mapping[str, str] | None, notebook: str | None
    ) -> None:
        self._name, self._cwd, self._env, self._notebook = name, cwd, env, notebook

    async def start_on(self, server: Server) -> tuple[str | None, str]:
        """Start it; the ids of its session, where it is beside a notebook, and of itself.

        Raises:
            LaunchFailed: it cannot be started.
        """
        specs = await server.kernelspecs()
        if self._name not in specs:
            known = ", ".join(sorted(specs)) or "none"
            raise LaunchFailed(
                f"there is no kernelspec {self._name!r} on {server}; installed: {known}"
            )
        if self._env and not await server.is_gateway():
            raise NotSupported(
                f"{server} lets nobody set environment variables for kernels; gateways do"
            )
        try:
            if self._notebook is not None:
                return await self._start_session(server, self._notebook)
            try:
                return None, await server.start(self._model())
            except ServerRefused as error:
                if error.status != NOT_ALLOWED:
                    raise
            # jupyverse starts kernels in sessions, and nowhere else; in the directory of their path
            path = f"{self._cwd.as_posix()}/" if self._cwd is not None else ""
            return await self._start_session(server, f"{path}{uuid.uuid4()}")
        except ServerRefused as error:
            raise LaunchFailed(f"kernel {self._name!r} could not be started: {error}") from error

    async def _start_session(self, server: Server, path: str) -> tuple[str, str]:
        running = await server.session_at(path)
        if running is not None:
            raise LaunchFailed(
                f"{path} has a kernel already: connect to {server}/api/kernels/{running}"
            )
        name = path.rpartition("/")[2]
        return await server.start_session(
            {"path": path, "name": name, "type": "notebook", "kernel": {"name": self._name}}
        )

    def _model(self) -> dict[str, Any]:
        model: dict[str, Any] = {"name": self._name}
        if self._cwd is not None:
            model["path"] = self._cwd.as_posix()
        if self._env:
            model["env"] = dict(self._env)
        return model
