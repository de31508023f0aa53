"""Parsing and checking the URL of a server."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit

from enchannel._protocol.connection_info import Secret
from enchannel._protocol.url_secrets import token_of_url
from enchannel.errors import ConnectionFailed, Remedy

__all__ = ["ServerUrl", "is_loopback", "parse_server_url"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerUrl:
    """A server's URL in parts.

    Attributes:
        origin: ``http`` or ``https``, host and port.
        path: The path, unchanged.
        token: The token of the query, or else the password.
    """

    origin: str
    path: str
    token: Secret


def parse_server_url(url: object, schemes: Mapping[str, bool], *, allow_http: bool) -> ServerUrl:
    """Parse the URL of a server.

    Args:
        url: The URL as the user passed it.
        schemes: The supported schemes; True for those that are encrypted.
        allow_http: Accept an unencrypted URL of another machine.

    Raises:
        TypeError: The URL is not a string.
        ValueError: The URL is invalid.
        ConnectionFailed: The URL would send secrets unencrypted.
    """
    if not isinstance(url, str):
        raise TypeError(f"a server URL must be a string, not {type(url).__name__}")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise ValueError(f"the URL is invalid: {error}") from None
    secure = schemes.get(parts.scheme)
    if secure is None or not host:
        known = " or ".join(f"{scheme}://" for scheme in schemes if scheme[:2] != "ws")
        raise ValueError(
            f"a server URL must begin with {known} and a host, as in "
            "https://hub.example.org/user/me"
        )
    if not _is_plain(host) or not _is_plain(parts.path, "\x00\r\n "):
        raise ValueError("the URL contains characters that are not allowed in a URL")
    if not (secure or allow_http or is_loopback(host)):
        raise ConnectionFailed(
            f"http:// to {host} would send token and code in the clear", remedy=Remedy.ALLOW_HTTP
        )
    host = f"[{host}]" if ":" in host else host
    return ServerUrl(
        origin=f"{'https' if secure else 'http'}://{host}{f':{port}' if port else ''}",
        path=parts.path,
        token=token_of_url(url),
    )


def _is_plain(text: str, forbidden: str = "\x00\r\n /\\") -> bool:
    return text.isascii() and not any(character in text for character in forbidden)


def is_loopback(host: str) -> bool:
    """Return True for a host name or an address of this machine's loopback interface."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
