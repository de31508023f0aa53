"""Functions for kernels that outlive their clients: ``spawn``, ``connect``, ``disconnect``, ``shutdown``.

They correspond to those of enchannel-socketio-backend in JavaScript, which starts a kernel and connects to
it in separate calls; ``list_kernels`` and ``list_kernelspecs`` are additions. Prefer ``enchannel.launch``,
``connect``, ``list_kernels`` and ``list_kernelspecs`` with ``at=``, which also run on an event loop.

All functions but ``connect`` block until the relay has answered, and raise WouldDeadlock on a running event
loop.
"""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Unpack

from reactivex.abc import SchedulerBase

import enchannel as ec
from enchannel import KernelspecModel, Session
from enchannel.backends import ServerKeywords, redact_url, refuse_on_event_loop
from enchannel_socketio._address import parse_relay_url
from enchannel_socketio._backend import SocketioBackend, call_relay, spawn_kernel
from enchannel_socketio._client import RelayClient, RelayKernelModel
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
    extra_env: Mapping[str, str] | None = None,
    **options: Unpack[ServerKeywords],
) -> str:
    """Start a kernel on a relay's machine and return its id. It runs until it is shut down.

    Args:
        url: The relay's URL.
        name: Name of the kernelspec.
        timeout: Seconds within which the kernel must answer.
        cwd: Working directory on that machine.
        extra_env: Environment variables, in addition to those of the relay.
        options: See ``enchannel.backends.ServerKeywords``.

    Raises:
        LaunchFailed: The kernelspec does not exist, or the kernel did not start.
        AuthenticationFailed: The relay does not accept the token.
        ConnectionFailed: The relay could not be reached.
        WouldDeadlock: Called on a running event loop.
    """
    refuse_on_event_loop("spawn()", "use `await asyncio.to_thread(enchannel_socketio.spawn, …)`")
    directory = None if cwd is None else Path(cwd)

    async def start(relay: RelayClient) -> str:
        return await spawn_kernel(relay, name, directory, extra_env)

    return call_relay(url, options, timeout, start)


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
    # The token in the URL would be lost with the query, which is not part of the kernel's URL.
    address = parse_relay_url(url, allow_http=options.get("allow_http", False))
    options["token"] = options.get("token") or address.token.reveal()
    return ec.connect(
        f"{redact_url(url).rstrip('/')}/{kernel_id}",
        backend=SocketioBackend(),
        timeout=timeout,
        session=session,
        since=since,
        **options,
    )


def disconnect(kernel: ec.Kernel) -> int:
    """Close the connection; the kernel continues to run.

    Args:
        kernel: A kernel on a relay.

    Returns:
        The position up to which all messages were received: ``connect(…, since=…)`` resumes there, on any
        machine and at any time.

    Raises:
        ValueError: The kernel is not on a relay.
        WouldDeadlock: Called on a running event loop.
    """
    refuse_on_event_loop("disconnect()", "use `await kernel.adetach()` and `kernel.position`")
    if kernel.position is None:
        raise ValueError(
            "kernel must be on a relay, as one returned by enchannel_socketio.connect(…)"
        )
    kernel.detach()
    return kernel.position


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
        WouldDeadlock: Called on a running event loop.
    """
    refuse_on_event_loop(
        "shutdown()", "use `await asyncio.to_thread(enchannel_socketio.shutdown, …)`"
    )

    async def shut_down(relay: RelayClient) -> None:
        await relay.shut_down(kernel_id)

    call_relay(url, options, timeout, shut_down)


def list_kernels(
    url: str, *, timeout: float = 10.0, **options: Unpack[ServerKeywords]
) -> tuple[RelayKernelModel, ...]:
    """Return the kernels of a relay.

    Args:
        url: The relay's URL.
        timeout: Seconds within which the relay must answer.
        options: See ``enchannel.backends.ServerKeywords``.

    Raises:
        ConnectionFailed: The relay could not be reached.
        AuthenticationFailed: The relay does not accept the token.
        WouldDeadlock: Called on a running event loop.
    """
    refuse_on_event_loop("list_kernels()", "use `await enchannel.alist_kernels(…)`")
    return call_relay(url, options, timeout, RelayClient.kernels)


def list_kernelspecs(
    url: str, *, timeout: float = 10.0, **options: Unpack[ServerKeywords]
) -> tuple[KernelspecModel, ...]:
    """Return the kernelspecs of a relay, by name.

    Args:
        url: The relay's URL.
        timeout: Seconds within which the relay must answer.
        options: See ``enchannel.backends.ServerKeywords``.

    Raises:
        ConnectionFailed: The relay could not be reached.
        AuthenticationFailed: The relay does not accept the token, or it only allows watching.
        WouldDeadlock: Called on a running event loop.
    """
    refuse_on_event_loop("list_kernelspecs()", "use `await enchannel.alist_kernelspecs(…)`")
    return call_relay(url, options, timeout, RelayClient.kernelspecs)
