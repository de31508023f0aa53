"""The four functions of the ancestor, for which connecting is apart from starting; and two that list."""

from __future__ import annotations

import ssl as tls
import weakref
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import enchannel as ec
from enchannel import Session
from enchannel_socketio._address import relay_address
from enchannel_socketio._backend import SocketioBackend, access_of, on_relay, spawned
from enchannel_socketio._client import Client, KernelModel
from enchannel_socketio._link import SocketioLink

__all__ = ["connect", "disconnect", "list_kernels", "list_kernelspecs", "shutdown", "spawn"]


def spawn(
    url: str,
    name: str = "python3",
    *,
    timeout: float = 60.0,
    cwd: str | PathLike[str] | None = None,
    env: Mapping[str, str] | None = None,
    token: str | None = None,
    headers: Mapping[str, str] | None = None,
    ssl: tls.SSLContext | None = None,
    allow_http: bool = False,
) -> str:
    """Start a kernel on a relay's machine, which stays until it is shut down; its id.

    Args:
        url: The relay's.
        name: The kernelspec's.
        timeout: Seconds until it has to answer.
        cwd: The directory that it starts in, there.
        env: Environment variables for it, beside those of the relay.
        token, headers, ssl, allow_http: As for ``SocketioBackend.open``.

    Raises:
        LaunchFailed: there is no such kernelspec, or the kernel did not come up.
        AuthenticationFailed: the relay does not know us.
        ConnectionFailed: it is not to be reached.
    """
    directory = None if cwd is None else Path(cwd)

    async def ask(relay: Client) -> str:
        return await spawned(relay, name, directory, env)

    return on_relay(
        relay_address(url, allow_http=allow_http), access_of(token, headers, ssl), timeout, ask
    )


def connect(
    url: str,
    kernel_id: str,
    *,
    since: int | None = None,
    timeout: float = 10.0,
    session: Session | None = None,
    token: str | None = None,
    headers: Mapping[str, str] | None = None,
    ssl: tls.SSLContext | None = None,
    allow_http: bool = False,
    **options: Any,
) -> ec.Kernel:
    """Connect to a kernel on a relay, as ``enchannel.connect`` does.

    Args:
        url: The relay's.
        kernel_id: The kernel's, as ``spawn`` has returned it.
        since: Where to go on, as ``disconnect`` has returned it; 0: from the first message that the relay
            still has. By default what is said from now on is heard.
        timeout, session: As for ``enchannel.connect``.
        token, headers, ssl, allow_http: As for ``SocketioBackend.open``.
        options: What else ``enchannel.connect`` and ``SocketioBackend.open`` take.

    Raises:
        ConnectionFailed: there is no such kernel, or the relay is not to be reached.
        AuthenticationFailed: the relay does not know us.
    """
    backend = _Noted()
    kernel = ec.connect(
        f"{url.partition('?')[0].rstrip('/')}/{kernel_id}",
        backend=backend,
        timeout=timeout,
        session=session,
        token=token or relay_address(url, allow_http=allow_http).token.reveal(),
        headers=headers,
        ssl=ssl,
        allow_http=allow_http,
        since=since,
        **options,
    )
    _backends[kernel] = backend
    return kernel


def disconnect(kernel: ec.Kernel) -> int:
    """Close the connection; the kernel goes on.

    Args:
        kernel: One that ``connect`` of this module has returned.

    Returns:
        The position up to which everything was heard: ``connect(…, since=…)`` goes on there, from
        wherever, and whenever.

    Raises:
        ValueError: it is another kernel.
    """
    backend = _backends.get(kernel)
    if backend is None:
        raise ValueError("that is no kernel that enchannel_socketio.connect has returned")
    kernel.close()
    return backend.position


def shutdown(
    url: str,
    kernel_id: str,
    *,
    timeout: float = 60.0,
    token: str | None = None,
    headers: Mapping[str, str] | None = None,
    ssl: tls.SSLContext | None = None,
    allow_http: bool = False,
) -> None:
    """End a kernel on a relay, and forget what it said.

    Args:
        url: The relay's.
        kernel_id: The kernel's.
        timeout: Seconds.
        token, headers, ssl, allow_http: As for ``SocketioBackend.open``.

    Raises:
        ConnectionFailed: there is no such kernel, or the relay is not to be reached.
        AuthenticationFailed: the relay does not know us.
    """

    async def ask(relay: Client) -> None:
        await relay.shut_down(kernel_id)

    on_relay(
        relay_address(url, allow_http=allow_http), access_of(token, headers, ssl), timeout, ask
    )


def list_kernels(
    url: str,
    *,
    timeout: float = 10.0,
    token: str | None = None,
    headers: Mapping[str, str] | None = None,
    ssl: tls.SSLContext | None = None,
    allow_http: bool = False,
) -> tuple[KernelModel, ...]:
    """The kernels that a relay serves.

    Args:
        url: The relay's.
        timeout: Seconds.
        token, headers, ssl, allow_http: As for ``SocketioBackend.open``.

    Raises:
        ConnectionFailed: the relay is not to be reached.
        AuthenticationFailed: it does not know us.
    """
    return on_relay(
        relay_address(url, allow_http=allow_http),
        access_of(token, headers, ssl),
        timeout,
        Client.kernels,
    )


def list_kernelspecs(
    url: str,
    *,
    timeout: float = 10.0,
    token: str | None = None,
    headers: Mapping[str, str] | None = None,
    ssl: tls.SSLContext | None = None,
    allow_http: bool = False,
) -> Mapping[str, Mapping[str, str]]:
    """What a relay can start, by name: each with its ``display_name`` and ``language``.

    Args:
        url: The relay's.
        timeout: Seconds.
        token, headers, ssl, allow_http: As for ``SocketioBackend.open``.

    Raises:
        ConnectionFailed: the relay is not to be reached.
        AuthenticationFailed: it does not know us, or lets us only watch.
    """
    return on_relay(
        relay_address(url, allow_http=allow_http),
        access_of(token, headers, ssl),
        timeout,
        Client.kernelspecs,
    )


class _Noted(SocketioBackend):
    """Knows how far the one link is that it has opened."""

    def __init__(self) -> None:
        self._link: SocketioLink | None = None

    @property
    def position(self) -> int:
        return 0 if self._link is None else self._link.position

    def _note(self, link: SocketioLink) -> None:
        self._link = link


_backends: weakref.WeakKeyDictionary[ec.Kernel, _Noted] = weakref.WeakKeyDictionary()
