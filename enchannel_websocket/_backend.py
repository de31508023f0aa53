"""The WebSocket backend: kernels on a Jupyter server, or on a gateway with the same API."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar, Unpack

from enchannel import KernelModel, KernelspecModel
from enchannel.abc import Launcher, Link, Lister, OpenContext
from enchannel.backends import (
    EventLoopThread,
    Lease,
    call_server,
    open_on_server,
    start_or_undo,
    undo_start,
)
from enchannel.errors import ConnectionFailed, KernelDied, LaunchFailed, Remedy
from enchannel_websocket._address import ServerAddress, parse_address, parse_server
from enchannel_websocket._launching import KernelSettings, StartedKernel
from enchannel_websocket._lifecycle import JupyterLifecycle
from enchannel_websocket._link import WebsocketLink
from enchannel_websocket._loop import loops
from enchannel_websocket._options import (
    JupyterKeywords,
    JupyterOptions,
    WebsocketKeywords,
    WebsocketOptions,
)
from enchannel_websocket._server import JupyterClient

__all__ = ["WebsocketBackend"]

T = TypeVar("T")

# For connecting to a kernel that was just started: it may have lost its ports to another process, in which
# case its server starts another, but keeps waiting for the first.
LAUNCH_ATTEMPT_TIMEOUT = 15.0


class WebsocketBackend(Launcher, Lister):
    """Kernels on a Jupyter server.

    ``connect`` takes the URL of a kernel, ``https://host/base/api/kernels/ID``, or of a session, which has
    a notebook's kernel. ``launch`` takes the URL of a server, ``at="https://host/base"``. The URL of one of
    the server's pages (``/lab``, ``/tree``) works as well, with the ``?token=…`` that Jupyter prints.

    jupyverse accepts a token only in a URL, where this backend never sends one. Pass the cookie that it
    sets for that URL instead, as ``headers={"Cookie": …}``.
    """

    contract = 1

    def open(
        self,
        target: Any,
        context: OpenContext,
        **options: Unpack[WebsocketKeywords],
    ) -> Link:
        """Connect to a running kernel.

        Args:
            target: URL of a kernel or of a session; see the class. With ``at``, the id of a kernel on that
                server, or an unambiguous beginning of the id.
            context: Session, timeout and, if the target is an id, the server's URL. For the same session,
                the server keeps messages that its only client missed.
            options: See ``WebsocketKeywords``.

        Raises:
            ConnectionFailed: The target does not answer, or is the URL of a server.
            AuthenticationFailed: The server does not accept the credentials.
            ValueError, TypeError: The URL is invalid.
        """
        chosen = WebsocketOptions.from_keywords(options)
        address = _parse_target(target, context, allow_http=chosen.allow_http)

        async def connect(server: JupyterClient, lease: Lease[EventLoopThread]) -> Link:
            if address.kind == "sessions":
                kernel_id = await server.kernel_of_session(address.id)
            else:
                kernel_id = address.id or (await server.find_kernel(target)).id
            link = WebsocketLink(server, kernel_id, context.session, lease, chosen)
            await link.open()
            return link.link(
                JupyterLifecycle(server, link, lease.resource, session_id=None), owned=False
            )

        def make_client() -> JupyterClient:
            return JupyterClient(address, chosen, connect_timeout=context.timeout)

        return open_on_server(loops, make_client, connect, context.timeout)

    def launch(
        self,
        name: str,
        context: OpenContext,
        *,
        cwd: Path | None = None,
        extra_env: Mapping[str, str] | None = None,
        notebook: str | None = None,
        **options: Unpack[WebsocketKeywords],
    ) -> Link:
        """Start a kernel on a server.

        Args:
            name: Name of the kernelspec.
            context: Session, timeout and the server's URL. Shutting down a kernel that does not answer
                within the timeout may take 4 s more.
            cwd: Working directory, as the server names it: below its own root. Where a server cannot tell
                whether it exists (gateways, hidden directories), ``kernel.errors`` emits NotSupported.
            extra_env: Environment variables. Only gateways accept them: those that begin with
                ``KERNEL_``, and those in the gateway's configuration.
            notebook: Path of a notebook on the server that the kernel belongs to, as shown in JupyterLab.
                Not with ``cwd`` and ``extra_env``: the kernel starts in the notebook's directory.
            options: See ``WebsocketKeywords``.

        Raises:
            LaunchFailed: The kernelspec or ``cwd`` does not exist, or the kernel did not start.
            NotSupported: The server does not accept environment variables.
            AuthenticationFailed: The server does not accept the credentials.
            ConnectionFailed: The server could not be reached.
            ValueError: ``notebook`` was passed with ``cwd`` or ``extra_env``.
        """
        chosen = WebsocketOptions.from_keywords(options)
        address = parse_server(context.at, allow_http=chosen.allow_http)
        settings = KernelSettings(name, cwd, extra_env, notebook)

        async def launch(server: JupyterClient, lease: Lease[EventLoopThread]) -> Link:
            def shut_down(started: StartedKernel) -> Any:
                return server.shut_down(started.kernel_id, started.session_id)

            unchecked_cwd = await settings.check_cwd(server)
            started = await start_or_undo(settings.start_on(server), shut_down)
            try:
                link = WebsocketLink(server, started.kernel_id, context.session, lease, chosen)
                await link.open(attempt_timeout=LAUNCH_ATTEMPT_TIMEOUT)
            except BaseException as error:
                await undo_start(shut_down(started))
                if isinstance(error, KernelDied):
                    raise LaunchFailed(f"kernel {name!r} died while starting: {error}") from None
                raise
            if unchecked_cwd is not None:
                link.emit(unchecked_cwd)
            lifecycle = JupyterLifecycle(
                server, link, lease.resource, session_id=started.session_id
            )
            return link.link(lifecycle, owned=True)

        def make_client() -> JupyterClient:
            return JupyterClient(address, chosen, connect_timeout=context.timeout)

        return open_on_server(loops, make_client, launch, context.timeout)

    def validate_open(self, target: Any, context: OpenContext, options: Mapping[str, Any]) -> None:
        """Check the URL and the options; see ``Backend``."""
        chosen = WebsocketOptions.from_keywords(options)
        _parse_target(target, context, allow_http=chosen.allow_http)

    def validate_launch(self, name: str, context: OpenContext, options: Mapping[str, Any]) -> None:
        """Check the URL of the server and the options; see ``Launcher``."""
        chosen = WebsocketOptions.from_keywords(
            {name: value for name, value in options.items() if name != "notebook"}
        )
        parse_server(context.at, allow_http=chosen.allow_http)

    def list_kernels(
        self, context: OpenContext, **options: Unpack[JupyterKeywords]
    ) -> tuple[KernelModel, ...]:
        """Return the running kernels of a server, the most recently active first.

        Args:
            context: Timeout and the server's URL.
            options: See ``JupyterKeywords``.

        Raises:
            ServerRefused: The server refused, or is not a Jupyter server; a ConnectionFailed.
            ConnectionFailed: The server could not be reached.
            AuthenticationFailed: It does not accept the credentials.
        """
        return _call(context, options, JupyterClient.kernels)

    def list_kernelspecs(
        self, context: OpenContext, **options: Unpack[JupyterKeywords]
    ) -> tuple[KernelspecModel, ...]:
        """Return the kernelspecs of a server, by name; arguments and errors as of ``list_kernels``."""
        return _call(context, options, JupyterClient.kernelspecs)


def _parse_target(target: object, context: OpenContext, *, allow_http: bool) -> ServerAddress:
    """Return the address of a kernel, or that of the server if the target is an id."""
    if context.at is not None:
        return parse_server(context.at, allow_http=allow_http)
    address = parse_address(target, allow_http=allow_http)
    if not address.id:
        raise ConnectionFailed(
            f"target must be the URL of a kernel, {address.base}/api/kernels/ID, not that of a server, "
            f"{address.base}",
            remedy=Remedy.LAUNCH,
        )
    return address


def _call(
    context: OpenContext,
    keywords: JupyterKeywords,
    call: Callable[[JupyterClient], Awaitable[T]],
) -> T:
    options = JupyterOptions.from_keywords(keywords)
    address = parse_server(context.at, allow_http=options.allow_http)

    def make_client() -> JupyterClient:
        return JupyterClient(address, options, connect_timeout=context.timeout)

    return call_server(loops, make_client, call, context.timeout)
