"""Listing the kernels and kernelspecs of a server."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar, Unpack

from enchannel.backends import call_server
from enchannel_websocket._address import parse_address
from enchannel_websocket._loop import loops
from enchannel_websocket._options import JupyterKeywords, JupyterOptions
from enchannel_websocket._server import JupyterClient, KernelModel

__all__ = ["list_kernels", "list_kernelspecs"]

T = TypeVar("T")


def list_kernels(
    at: str, *, timeout: float = 10.0, **options: Unpack[JupyterKeywords]
) -> tuple[KernelModel, ...]:
    """Return the kernels that run on a server.

    Args:
        at: The server's URL.
        timeout: Seconds within which the server must answer.
        options: See ``JupyterKeywords``.

    Raises:
        ConnectionFailed: The server could not be reached, or is not a Jupyter server.
        AuthenticationFailed: It does not accept the credentials.
    """
    return _call(at, options, timeout, JupyterClient.kernels)


def list_kernelspecs(
    at: str, *, timeout: float = 10.0, **options: Unpack[JupyterKeywords]
) -> Mapping[str, Mapping[str, Any]]:
    """Return the kernelspecs of a server: the contents of each ``kernel.json``, by name.

    Args:
        at: The server's URL.
        timeout: Seconds within which the server must answer.
        options: See ``JupyterKeywords``.

    Raises:
        ConnectionFailed: The server could not be reached, or is not a Jupyter server.
        AuthenticationFailed: It does not accept the credentials.
    """
    return _call(at, options, timeout, JupyterClient.kernelspecs)


def _call(
    at: str,
    keywords: JupyterKeywords,
    timeout: float,
    call: Callable[[JupyterClient], Awaitable[T]],
) -> T:
    options = JupyterOptions.from_keywords(keywords)
    address = parse_address(at, allow_http=options.allow_http)

    def make_client() -> JupyterClient:
        return JupyterClient(address, options, connect_timeout=timeout)

    return call_server(loops, make_client, call, timeout)
