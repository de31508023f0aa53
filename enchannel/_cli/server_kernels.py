"""Kernels and kernelspecs on Jupyter servers and relays."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import enchannel as ec
from enchannel._cli.server_access import is_relay
from enchannel.backends import redact_url

__all__ = ["ServerKernel", "find_kernel", "list_server_kernels", "list_server_kernelspecs"]


@dataclass(frozen=True, slots=True)
class ServerKernel:
    """A running kernel on a server.

    Attributes:
        id: The kernel's id on the server.
        name: The name of its kernelspec.
        state: Its execution state, as the server reports it.
        last_activity: The time of its last message, in ISO 8601; empty where the server does not report it.
        url: The target for ``enchannel.connect``.
    """

    id: str
    name: str
    state: str
    last_activity: str
    url: str


def list_server_kernels(server: str, options: Mapping[str, Any]) -> Sequence[ServerKernel]:
    """Return the running kernels of a server.

    Args:
        server: The URL of the server.
        options: See ``server_options``.

    Raises:
        MissingDependency: the libraries for this kind of server are not installed.
        ConnectionFailed: the server does not answer, or denies access.
    """
    if is_relay(server):
        with _backend_of_extra("socketio"):
            from enchannel_socketio import list_kernels as list_relay_kernels
        base = redact_url(server).rstrip("/")
        return [
            ServerKernel(model.id, model.name, model.state, "", f"{base}/{model.id}")
            for model in list_relay_kernels(server, **options)
        ]
    with _backend_of_extra("websocket"):
        from enchannel_websocket import list_kernels
    return [
        ServerKernel(model.id, model.name, model.state, model.last_activity, model.url)
        for model in list_kernels(server, **options)
    ]


def list_server_kernelspecs(
    server: str, options: Mapping[str, Any]
) -> Mapping[str, Mapping[str, Any]]:
    """Return the kernelspecs of a server by name; arguments and errors as of ``list_server_kernels``."""
    if is_relay(server):
        with _backend_of_extra("socketio"):
            from enchannel_socketio import list_kernelspecs as list_relay_kernelspecs
        return list_relay_kernelspecs(server, **options)
    with _backend_of_extra("websocket"):
        from enchannel_websocket import list_kernelspecs
    return list_kernelspecs(server, **options)


def find_kernel(server: str, prefix: str, options: Mapping[str, Any]) -> str:
    """Return the URL of a running kernel on a server.

    Args:
        server: The URL of the server.
        prefix: The kernel's id, or a beginning of it that no other kernel shares.
        options: See ``server_options``.

    Raises:
        ConnectionFailed: no kernel, or more than one, has such an id.
    """
    kernels = list_server_kernels(server, options)
    matching = [kernel for kernel in kernels if prefix and kernel.id.startswith(prefix)]
    if len(matching) == 1:
        return matching[0].url
    ids = ", ".join(kernel.id for kernel in matching or kernels) or "none"
    raise ec.ConnectionFailed(
        f"{prefix!r} matches more than one kernel: {ids}"
        if matching
        else f"{redact_url(server)} has no kernel {redact_url(prefix)!r}; running kernels: {ids}"
    )


@contextmanager
def _backend_of_extra(extra: str) -> Iterator[None]:
    try:
        yield
    except ImportError as error:
        raise ec.MissingDependency(
            f'{error}; kernels on a server require pip install "enchannel[{extra}]"'
        ) from error
