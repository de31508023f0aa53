"""The Socket.IO backend: kernels on a relay."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar, Unpack
from urllib.parse import quote

from enchannel import KernelspecModel, Session
from enchannel.abc import Launcher, Link, Lister, OpenContext
from enchannel.backends import (
    EventLoopThread,
    Lease,
    ServerKeywords,
    ServerOptions,
    call_server,
    open_on_server,
    start_or_undo,
    undo_start,
)
from enchannel_socketio._address import RelayAddress, parse_kernel_url, parse_relay_url
from enchannel_socketio._client import RelayClient, RelayKernelModel
from enchannel_socketio._lifecycle import RelayLifecycle
from enchannel_socketio._link import SocketioLink
from enchannel_socketio._loop import loops
from enchannel_socketio._options import SocketioKeywords, SocketioOptions

__all__ = ["SocketioBackend", "call_relay", "spawn_kernel"]

T = TypeVar("T")


class SocketioBackend(Launcher, Lister):
    """Kernels on a relay.

    ``connect`` takes the URL of a kernel, ``socketio+http://host:4000/ID``; ``launch`` that of a relay,
    ``at="socketio+https://host:4000"``.
    """

    contract = 1

    def open(
        self,
        target: Any,
        context: OpenContext,
        *,
        since: int | None = None,
        **options: Unpack[SocketioKeywords],
    ) -> Link:
        """Connect to a running kernel.

        Args:
            target: URL of a kernel; see the class. With ``at``, the id of a kernel on that relay, or an
                unambiguous beginning of the id.
            context: Session, timeout and, if the target is an id, the relay's URL. Answers to other
                sessions on shell, control and stdin are not received.
            since: Position in the relay's log after which to begin, such as ``kernel.position`` of an
                earlier connection; 0 for the first message in the log. The messages stay in the log until
                the first subscription to a channel, or the first message that is sent. By default only
                messages from now on are received.
            options: See ``SocketioKeywords``.

        Raises:
            ConnectionFailed: The target does not answer, or is the URL of a relay.
            AuthenticationFailed: The relay does not accept the token.
            ValueError, TypeError: The URL or ``since`` is invalid.
        """
        _validate_since(since)
        chosen = SocketioOptions.from_keywords(options)
        address = _parse_target(target, context, allow_http=chosen.allow_http)

        async def connect(relay: RelayClient, lease: Lease[EventLoopThread]) -> Link:
            kernel_id = address.kernel_id or await relay.find_kernel(target)
            link = await _open_link(relay, kernel_id, context.session, lease, chosen, since)
            return link.link(owned=False)

        def make_client() -> RelayClient:
            return RelayClient(address, chosen, connect_timeout=context.timeout)

        return open_on_server(loops, make_client, connect, context.timeout)

    def launch(
        self,
        name: str,
        context: OpenContext,
        *,
        cwd: Path | None = None,
        extra_env: Mapping[str, str] | None = None,
        **options: Unpack[SocketioKeywords],
    ) -> Link:
        """Start a kernel on a relay's machine.

        Args:
            name: Name of the kernelspec.
            context: Session, timeout and the relay's URL.
            cwd: Working directory on that machine.
            extra_env: Environment variables, in addition to those of the relay.
            options: See ``SocketioKeywords``.

        Raises:
            LaunchFailed: The kernelspec does not exist, or the kernel did not start.
            AuthenticationFailed: The relay does not accept the token.
            ConnectionFailed: The relay could not be reached.
        """
        chosen = SocketioOptions.from_keywords(options)
        address = parse_relay_url(context.at, allow_http=chosen.allow_http)

        async def launch(relay: RelayClient, lease: Lease[EventLoopThread]) -> Link:
            kernel_id = await spawn_kernel(relay, name, cwd, extra_env)
            try:
                link = await _open_link(relay, kernel_id, context.session, lease, chosen, None)
            except BaseException:
                await undo_start(relay.shut_down(kernel_id))
                raise
            return link.link(owned=True)

        def make_client() -> RelayClient:
            return RelayClient(address, chosen, connect_timeout=context.timeout)

        return open_on_server(loops, make_client, launch, context.timeout)

    def validate_open(self, target: Any, context: OpenContext, options: Mapping[str, Any]) -> None:
        """Check the URL and the options; see ``Backend``."""
        _validate_since(options.get("since"))
        chosen = SocketioOptions.from_keywords(
            {name: value for name, value in options.items() if name != "since"}
        )
        _parse_target(target, context, allow_http=chosen.allow_http)

    def validate_launch(self, name: str, context: OpenContext, options: Mapping[str, Any]) -> None:
        """Check the URL of the relay and the options; see ``Launcher``."""
        chosen = SocketioOptions.from_keywords(options)
        parse_relay_url(context.at, allow_http=chosen.allow_http)

    def list_kernels(
        self, context: OpenContext, **options: Unpack[ServerKeywords]
    ) -> tuple[RelayKernelModel, ...]:
        """Return the kernels of a relay.

        Args:
            context: Timeout and the relay's URL.
            options: See ``enchannel.backends.ServerKeywords``.

        Raises:
            ConnectionFailed: The relay could not be reached.
            AuthenticationFailed: It does not accept the token.
        """
        return call_relay(context.at, options, context.timeout, RelayClient.kernels)

    def list_kernelspecs(
        self, context: OpenContext, **options: Unpack[ServerKeywords]
    ) -> tuple[KernelspecModel, ...]:
        """Return the kernelspecs of a relay, by name.

        Args:
            context: Timeout and the relay's URL.
            options: See ``enchannel.backends.ServerKeywords``.

        Raises:
            ConnectionFailed: The relay could not be reached.
            AuthenticationFailed: It does not accept the token, or the token only allows watching.
        """
        return call_relay(context.at, options, context.timeout, RelayClient.kernelspecs)


def call_relay(
    url: str | None,
    keywords: ServerKeywords,
    timeout: float,
    call: Callable[[RelayClient], Awaitable[T]],
) -> T:
    """Call a relay's HTTP API.

    Args:
        url: The relay's URL.
        keywords: Credentials and other options.
        timeout: Seconds within which the relay must answer.
        call: Calls the relay, in the event loop.

    Raises:
        ConnectionFailed: The relay did not answer.
    """
    options = ServerOptions.from_keywords(keywords)
    address = parse_relay_url(url, allow_http=options.allow_http)

    def make_client() -> RelayClient:
        return RelayClient(address, options, connect_timeout=timeout)

    return call_server(loops, make_client, call, timeout)


def _parse_target(target: object, context: OpenContext, *, allow_http: bool) -> RelayAddress:
    """Return the address of a kernel, or that of the relay if the target is an id."""
    if context.at is not None:
        return parse_relay_url(context.at, allow_http=allow_http)
    return parse_kernel_url(target, allow_http=allow_http)


def _validate_since(since: object) -> None:
    if since is None:
        return
    if type(since) is not int:
        raise TypeError(f"since must be a position in the relay's log, not {since!r}")
    if since < 0:
        raise ValueError(f"since must be a position in the relay's log, 0 or more, not {since}")


async def _open_link(
    relay: RelayClient,
    kernel_id: str,
    session: Session,
    lease: Lease[EventLoopThread],
    options: SocketioOptions,
    since: int | None,
) -> SocketioLink:
    model = await relay.kernel(kernel_id)
    link = SocketioLink(relay, model, session, lease, options, since=since)
    if model.access == "full" and model.lifecycle:
        link.lifecycle = RelayLifecycle(relay, link, lease.resource)
    await link.open()
    return link


async def spawn_kernel(
    relay: RelayClient, name: str, cwd: Path | None, env: Mapping[str, str] | None
) -> str:
    """Start a kernel and return its id; if that is cancelled, shut the kernel down."""
    settings: dict[str, Any] = {}
    if cwd is not None:
        settings["cwd"] = str(cwd)
    if env:
        settings["env"] = dict(env)
    return await start_or_undo(relay.spawn(quote(name, safe=""), settings), relay.shut_down)
