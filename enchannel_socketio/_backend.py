"""The Socket.IO backend: kernels behind a relay."""

from __future__ import annotations

import asyncio
import ssl as tls
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from enchannel import Secret, Session
from enchannel.abc import Launcher, Link
from enchannel.backends import EventLoopThread, Lease
from enchannel.errors import ConnectionFailed, EnchannelError, KernelDied
from enchannel_socketio._address import Address, kernel_address, relay_address
from enchannel_socketio._client import Access, Client
from enchannel_socketio._link import LinkOptions, SocketioLink
from enchannel_socketio._loop import shared
from enchannel_socketio._remote import RemoteKernel

__all__ = ["GIBIBYTE", "SocketioBackend", "access_of", "on_relay", "spawned"]

T = TypeVar("T")

GIBIBYTE = 1 << 30
ENDING = 4.0  # seconds for a kernel to go that was launched in vain


class SocketioBackend(Launcher):
    """Kernels behind a relay.

    ``connect`` takes a kernel's URL, ``socketio+http://host:4000/ID``; ``launch`` a relay's,
    ``at="socketio+https://host:4000"``.
    """

    def open(
        self,
        target: Any,
        *,
        session: Session,
        timeout: float,
        token: str | None = None,
        headers: Mapping[str, str] | None = None,
        ssl: tls.SSLContext | None = None,
        allow_http: bool = False,
        since: int | None = None,
        max_received: int = GIBIBYTE,
        reconnect_timeout: float = 60.0,
    ) -> Link:
        """Connect to a kernel that runs.

        Args:
            target: See the class.
            session: Who we are; what answers others on shell, control and stdin is not heard.
            timeout: Seconds until the relay has to answer.
            token: What it knows us by; or it is in the URL. It travels in a header. With one that is only
                for watching, iopub is all that is heard, and nothing can be said.
            headers: What is sent with every request besides.
            ssl: For ``https``; by default certificates have to be those that the system trusts.
            allow_http: Speak ``http`` to another host than this.
            since: The position in the relay's log after which to begin, as ``disconnect`` has returned it;
                0: with the first message that it has. It waits there until somebody subscribes to a
                channel, or says something. By default what is said from now on is heard.
            max_received: Bytes; a relay that sends a larger message is hung up on.
            reconnect_timeout: Seconds for which a relay that is lost is looked for again.

        Raises:
            ConnectionFailed: the target makes no sense, or does not answer.
            AuthenticationFailed: the relay does not know us.
        """
        if since is not None and (type(since) is not int or since < 0):
            raise ConnectionFailed(f"since={since!r} is no position: disconnect(…) returns one")
        address = kernel_address(target, allow_http=allow_http)
        access = access_of(token, headers, ssl)
        options = LinkOptions(
            max_received=max_received, reconnect_timeout=reconnect_timeout, since=since
        )

        async def connect(relay: Client, lease: Lease[EventLoopThread]) -> Link:
            link = await _linked(relay, address.kernel_id, session, lease, options)
            self._note(link)
            return link.link(owned=False)

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
        token: str | None = None,
        headers: Mapping[str, str] | None = None,
        ssl: tls.SSLContext | None = None,
        allow_http: bool = False,
        max_received: int = GIBIBYTE,
        reconnect_timeout: float = 60.0,
    ) -> Link:
        """Start a kernel on a relay's machine.

        Args:
            name: The kernelspec's.
            session, timeout: As for ``open``.
            cwd: The directory that it starts in, there.
            env: Environment variables for it, beside those of the relay.
            at: The relay's URL.
            token, headers, ssl, allow_http, max_received, reconnect_timeout: As for ``open``.

        Raises:
            LaunchFailed: there is no such kernelspec, or the kernel did not come up.
            AuthenticationFailed: the relay does not know us.
            ConnectionFailed: it is not to be reached.
        """
        address = relay_address(at, allow_http=allow_http)
        access = access_of(token, headers, ssl)
        options = LinkOptions(max_received=max_received, reconnect_timeout=reconnect_timeout)

        async def launch(relay: Client, lease: Lease[EventLoopThread]) -> Link:
            kernel_id = await spawned(relay, name, cwd, env)
            try:
                link = await _linked(relay, kernel_id, session, lease, options)
            except BaseException:
                await _end(relay, kernel_id)
                raise
            self._note(link)
            return link.link(owned=True)

        return _opened(address, access, timeout, launch)

    def _note(self, link: SocketioLink) -> None:
        """A link was opened."""


def access_of(
    token: str | None, headers: Mapping[str, str] | None, ssl: tls.SSLContext | None
) -> Access:
    """How to get to a relay; a token that was given wins over that of a URL."""
    return Access(token=Secret(token or ""), headers=headers or {}, ssl=ssl)


def on_relay(
    address: Address, access: Access, timeout: float, ask: Callable[[Client], Awaitable[T]]
) -> T:
    """Ask a relay something, and leave nothing behind.

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
    opening: Callable[[Client, Lease[EventLoopThread]], Awaitable[Link]],
) -> Link:
    """Open a link on a relay, which is the link's then."""
    lease = shared.lease()
    try:
        return lease.resource.run(
            _in_time(address, access, timeout, lambda relay: opening(relay, lease), keep=True)
        )
    except BaseException:
        lease.release()
        raise


async def _in_time(
    address: Address,
    access: Access,
    timeout: float,
    use: Callable[[Client], Awaitable[T]],
    *,
    keep: bool,
) -> T:
    relay = Client(address, access, patience=timeout)
    try:
        async with asyncio.timeout(timeout):
            used = await use(relay)
    except BaseException as error:
        await relay.close()
        if isinstance(error, TimeoutError):
            raise ConnectionFailed(
                f"{relay} did not answer within {timeout:g} s: it was asked for {relay.pending}"
            ) from None
        if isinstance(error, KernelDied):
            raise ConnectionFailed(str(error)) from None
        raise
    if not keep:
        await relay.close()
    return used


async def _linked(
    relay: Client,
    kernel_id: str,
    session: Session,
    lease: Lease[EventLoopThread],
    options: LinkOptions,
) -> SocketioLink:
    model = await relay.kernel(kernel_id)
    link = SocketioLink(relay, model, session, lease, options)
    if model.access == "full" and model.lifecycle:
        link.lifecycle = RemoteKernel(relay, link, lease.resource)
    await link.open()
    return link


async def spawned(relay: Client, name: str, cwd: Path | None, env: Mapping[str, str] | None) -> str:
    """Start a kernel; its id. Who gives up waiting for that waits for what it has to end."""
    wanted: dict[str, Any] = {}
    if cwd is not None:
        wanted["cwd"] = str(cwd)
    if env:
        wanted["env"] = dict(env)
    starting = asyncio.ensure_future(relay.spawn(quote(name, safe=""), wanted))
    try:
        return await asyncio.shield(starting)
    except asyncio.CancelledError:
        with suppress(TimeoutError, EnchannelError):
            async with asyncio.timeout(ENDING):
                await _end(relay, await starting)
        raise


async def _end(relay: Client, kernel_id: str) -> None:
    with suppress(TimeoutError, EnchannelError):  # it will notice nobody then
        await asyncio.wait_for(relay.shut_down(kernel_id), ENDING)
