"""From what a user types to a server, a kernel on it, and a token that is in no URL any more."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Literal
from urllib.parse import parse_qs, unquote, urlsplit

from enchannel import Secret
from enchannel.errors import ConnectionFailed

__all__ = ["Address", "address_of"]

_WHERE = re.compile(r"(?P<base>.*?)/api/(?P<kind>kernels|sessions)/(?P<id>[^/]+)(?:/channels)?/?")
# The first page in a path, and all behind it. A user of a hub may be called like one.
_PAGES = re.compile(r"(?<!/user)/(?:lab|tree|notebooks|doc|consoles|edit)(?:/.*)?$")
_API = re.compile(r"/api(?:/kernels|/sessions)?/?$")
_SECURE = {"http": False, "ws": False, "https": True, "wss": True}


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """A place on a server.

    Attributes:
        base: The server's URL, without a slash at its end; ``http`` or ``https``.
        kind: What ``id`` is of.
        id: Of a kernel, or of a session (a notebook's kernel); empty where only the server is meant.
        token: What was in the query.
    """

    base: str
    kind: Literal["kernels", "sessions"] = "kernels"
    id: str = ""
    token: Secret = Secret("")

    @property
    def websocket(self) -> str:
        """The server's URL for WebSockets."""
        return "ws" + self.base.removeprefix("http")


def address_of(url: object, *, insecure: bool) -> Address:
    """Take a URL apart. That of a page (``/lab``, ``/tree``), which Jupyter prints, will do.

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
    secure = _SECURE.get(parts.scheme)
    if secure is None or not host:
        raise ConnectionFailed(
            "the URL of a server begins with http:// or https:// and its host, as in "
            "https://hub.example.org/user/me"
        )
    if not _is_plain(host) or not _is_plain(parts.path, "\x00\r\n "):
        raise ConnectionFailed("the URL has characters in it that no URL may have")
    if not (secure or insecure or _is_loopback(host)):
        raise ConnectionFailed(
            f"http:// to {host} would send token and code in the clear; use https://, or "
            "insecure=True if the network is to be trusted"
        )
    where = _WHERE.fullmatch(parts.path)
    path = where["base"] if where else _API.sub("", _PAGES.sub("", parts.path)).rstrip("/")
    shown = f"[{host}]" if ":" in host else host
    token = parse_qs(parts.query).get("token", [""])[0] or unquote(parts.password or "")
    return Address(
        base=f"{'https' if secure else 'http'}://{shown}{f':{port}' if port else ''}{path}",
        kind="sessions" if where and where["kind"] == "sessions" else "kernels",
        id=unquote(where["id"]) if where else "",
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
