"""The URL of a server, taken apart: for backends that speak to some. No secret stays in what is shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import parse_qs, unquote, urlsplit

from enchannel._protocol.connection_info import Secret
from enchannel.errors import ConnectionFailed, Remedy

__all__ = ["ServerUrl", "parse_server_url"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerUrl:
    """Where a server is.

    Attributes:
        origin: ``http`` or ``https``, host and port.
        path: Behind that, as it was given.
        token: What was in the query, or in the place of a password.
    """

    origin: str
    path: str
    token: Secret


def parse_server_url(url: object, schemes: Mapping[str, bool], *, allow_http: bool) -> ServerUrl:
    """Take a URL apart.

    Args:
        url: What a user gave.
        schemes: Those that are known, and whether they are encrypted.
        allow_http: Whether one that is not may go to another machine.

    Raises:
        ConnectionFailed: it is none, or would send secrets in the clear.
    """
    if not isinstance(url, str):
        raise ConnectionFailed(f"a {type(url).__name__} is not the URL of a server")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise ConnectionFailed(f"that is not a URL: {error}") from None
    secure = schemes.get(parts.scheme)
    if secure is None or not host:
        known = " or ".join(f"{scheme}://" for scheme in schemes if scheme[:2] != "ws")
        raise ConnectionFailed(
            f"the URL of a server begins with {known} and its host, as in "
            "https://hub.example.org/user/me"
        )
    if not _is_plain(host) or not _is_plain(parts.path, "\x00\r\n "):
        raise ConnectionFailed("the URL has characters in it that no URL may have")
    if not (secure or allow_http or _is_loopback(host)):
        raise ConnectionFailed(
            f"http:// to {host} would send token and code in the clear", remedy=Remedy.ALLOW_HTTP
        )
    shown = f"[{host}]" if ":" in host else host
    token = parse_qs(parts.query).get("token", [""])[0] or unquote(parts.password or "")
    return ServerUrl(
        origin=f"{'https' if secure else 'http'}://{shown}{f':{port}' if port else ''}",
        path=parts.path,
        token=Secret(token),
    )


def _is_plain(text: str, forbidden: str = "\x00\r\n /\\") -> bool:
    return text.isascii() and not any(character in text for character in forbidden)


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
