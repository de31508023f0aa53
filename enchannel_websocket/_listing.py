"""What there is on a server."""

from __future__ import annotations

import ssl as tls
from collections.abc import Mapping
from typing import Any

from enchannel_websocket._address import address_of
from enchannel_websocket._backend import access_of, on_server
from enchannel_websocket._server import KernelModel, Server

__all__ = ["list_kernels", "list_kernelspecs"]


def list_kernels(
    at: str,
    *,
    timeout: float = 10.0,
    token: str | None = None,
    password: str | None = None,
    headers: Mapping[str, str] | None = None,
    ssl: tls.SSLContext | None = None,
    proxy: str | bool | None = True,
    allow_http: bool = False,
) -> tuple[KernelModel, ...]:
    """The kernels that run on a server.

    Args:
        at: The server's URL.
        timeout: Seconds.
        token, password, headers, ssl, proxy, allow_http: As for ``WebsocketBackend.open``.

    Raises:
        ConnectionFailed: the server does not answer, or not as one of Jupyter's.
        AuthenticationFailed: it does not know us.
    """
    address = address_of(at, allow_http=allow_http)
    access = access_of(
        address, token=token, password=password, headers=headers, ssl=ssl, proxy=proxy
    )
    return on_server(address, access, timeout, Server.kernels)


def list_kernelspecs(
    at: str,
    *,
    timeout: float = 10.0,
    token: str | None = None,
    password: str | None = None,
    headers: Mapping[str, str] | None = None,
    ssl: tls.SSLContext | None = None,
    proxy: str | bool | None = True,
    allow_http: bool = False,
) -> Mapping[str, Mapping[str, Any]]:
    """What can be started on a server: the contents of each ``kernel.json``, by name.

    Args:
        at: The server's URL.
        timeout: Seconds.
        token, password, headers, ssl, proxy, allow_http: As for ``WebsocketBackend.open``.

    Raises:
        ConnectionFailed: the server does not answer, or not as one of Jupyter's.
        AuthenticationFailed: it does not know us.
    """
    address = address_of(at, allow_http=allow_http)
    access = access_of(
        address, token=token, password=password, headers=headers, ssl=ssl, proxy=proxy
    )
    return on_server(address, access, timeout, Server.kernelspecs)
