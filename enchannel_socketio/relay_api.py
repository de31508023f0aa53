"""Functions for kernels that outlive their clients: ``spawn``, ``connect``, ``disconnect``, ``shutdown``.

They correspond to those of enchannel-socketio-backend in JavaScript, which starts a kernel and connects to
it in separate calls. ``list_kernels`` and ``list_kernelspecs`` are additions.
"""

from __future__ import annotations

import weakref
from collections.abc import Awaitable, Callable, Mapping
from os import PathLike
from pathlib import Path
from typing import TypeVar, Unpack

from reactivex.abc import SchedulerBase

import enchannel as ec
from enchannel import Session
from enchannel.backends import ServerKeywords, ServerOptions, call_server, redact_url
from enchannel_socketio._address import parse_relay_url
from enchannel_socketio._backend import SocketioBackend, spawn_kernel
from enchannel_socketio._client import KernelModel, RelayClient
from enchannel_socketio._link import SocketioLink
from enchannel_socketio._loop import loops
from enchannel_socketio._options import SocketioKeywords

__all__ = [
    "ConnectKeywords",
    "connect",
    "disconnect",
    "list_kernels",
    "list_kernelspecs",
    "shutdown",
    "spawn",
]

_T = TypeVar("_T")


class ConnectKeywords(SocketioKeywords, total=False):
    """Keyword arguments of ``connect``, besides those of ``SocketioKeywords``.

    Attributes:
        silent_after: See ``enchannel.connect``.
        scheduler: See ``enchannel.connect``.
    """

    silent_after: float
    scheduler: SchedulerBase | None


def spawn(
    url: str,
    name: str = "python3",
    *,
    timeout: float = 60.0,
    cwd: str | PathLike[str] | None = None,
    env: Mapping[str, str] | None = None,
    **options: Unpack[ServerKeywords],
) -> str:
    """Start a kernel on a relay's machine and return its id. It runs until it is shut down.

    Args:
        url: The relay's URL.
        name: Name of the kernelspec.
        timeout: Seconds within which the kernel must answer.
        cwd: Working directory on that machine.
        env: Environment variables, in addition to those of the relay.
        options: See ``enchannel.backends.ServerKeywords``.

    Raises:
        LaunchFailed: The kernelspec does not exist, or the kernel did not start.
        AuthenticationFailed: The relay does not accept the token.
        ConnectionFailed: The relay could not be reached.
    """
    directory = None if cwd is None else Path(cwd)

    async def start(relay: RelayClient) -> str:
        return await spawn_kernel(relay, name, directory, env)

    return _call(url, options, timeout, start)


def connect(
    url: str,
    kernel_id: str,
    *,
    since: int | None = None,
    timeout: float = 10.0,
    session: Session | None = None,
    **options: Unpack[ConnectKeywords],
) -> ec.Kernel:
    """Connect to a kernel on a relay, as ``enchannel.connect`` does.

    Args:
        url: The relay's URL.
        kernel_id: The kernel's id, as returned by ``spawn``.
        since: Position at which to resume, as returned by ``disconnect``; 0 for the first message in the
            relay's log. By default only messages from now on are received.
        timeout: Seconds within which the relay must answer.
        session: The client's session; by default a new one.
        options: See ``ConnectKeywords``.

    Raises:
        ConnectionFailed: The kernel does not exist, or the relay could not be reached.
        AuthenticationFailed: The relay does not accept the token.
    """
    backend = _PositionBackend()
    # The token in the URL would be lost with the query, which is not part of the kernel's URL.
    address = parse_relay_url(url, allow_http=options.get("allow_http", False))
    options["token"] = options.get("token") or address.token.reveal()
    kernel = ec.connect(
        f"{redact_url(url).rstrip('/')}/{kernel_id}",
        backend=backend,
        timeout=timeout,
        session=session,
        since=since,
        **options,
    )
    _backends[kernel] = backend
    return kernel


def disconnect(kernel: ec.Kernel) -> int:
    """Close the connection; the kernel continues to run.

    Args:
        kernel: A kernel that this module's ``connect`` returned.

    Returns:
        The position up to which all messages were received: ``connect(…, since=…)`` resumes there, on any
        machine and at any time.

    Raises:
        ValueError: Another function returned the kernel.
    """
    backend = _backends.get(kernel)
    if backend is None:
        raise ValueError("kernel must have been returned by enchannel_socketio.connect(…)")
    kernel.close()
    return backend.position


def shutdown(
    url: str, kernel_id: str, *, timeout: float = 60.0, **options: Unpack[ServerKeywords]
) -> None:
    """Shut down a kernel on a relay, and delete its log.

    Args:
        url: The relay's URL.
        kernel_id: The kernel's id.
        timeout: Seconds within which the relay must answer.
        options: See ``enchannel.backends.ServerKeywords``.

    Raises:
        ConnectionFailed: The kernel does not exist, or the relay could not be reached.
        AuthenticationFailed: The relay does not accept the token.
    """

    async def shut_down(relay: RelayClient) -> None:
        await relay.shut_down(kernel_id)

    _call(url, options, timeout, shut_down)


def list_kernels(
    url: str, *, timeout: float = 10.0, **options: Unpack[ServerKeywords]
) -> tuple[KernelModel, ...]:
    """Return the kernels of a relay.

    Args:
        url: The relay's URL.
        timeout: Seconds within which the relay must answer.
        options: See ``enchannel.backends.ServerKeywords``.

    Raises:
        ConnectionFailed: The relay could not be reached.
        AuthenticationFailed: The relay does not accept the token.
    """
    return _call(url, options, timeout, RelayClient.kernels)


def list_kernelspecs(
    url: str, *, timeout: float = 10.0, **options: Unpack[ServerKeywords]
) -> Mapping[str, Mapping[str, str]]:
    """Return the kernelspecs of a relay by name, each with its ``display_name`` and ``language``.

    Args:
        url: The relay's URL.
        timeout: Seconds within which the relay must answer.
        options: See ``enchannel.backends.ServerKeywords``.

    Raises:
        ConnectionFailed: The relay could not be reached.
        AuthenticationFailed: The relay does not accept the token, or it only allows watching.
    """
    return _call(url, options, timeout, RelayClient.kernelspecs)


def _call(
    url: str,
    keywords: ServerKeywords,
    timeout: float,
    call: Callable[[RelayClient], Awaitable[_T]],
) -> _T:
    options = ServerOptions.from_keywords(keywords)
    address = parse_relay_url(url, allow_http=options.allow_http)

    def make_client() -> RelayClient:
        return RelayClient(address, options, connect_timeout=timeout)

    return call_server(loops, make_client, call, timeout)


class _PositionBackend(SocketioBackend):
    """Knows the position of the one link that it has opened."""

    contract = 1

    def __init__(self) -> None:
        self._link: SocketioLink | None = None

    @property
    def position(self) -> int:
        """Position in the relay's log up to which events were received."""
        return 0 if self._link is None else self._link.position

    def _on_opened(self, link: SocketioLink) -> None:
        self._link = link


_backends: weakref.WeakKeyDictionary[ec.Kernel, _PositionBackend] = weakref.WeakKeyDictionary()
