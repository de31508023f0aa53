"""From what a user types to a server, a kernel on it, and a token that is in no URL any more."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal
from urllib.parse import unquote

from enchannel import Secret
from enchannel.backends import parse_server_url

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


def address_of(url: object, *, allow_http: bool) -> Address:
    """Take a URL apart. That of a page (``/lab``, ``/tree``), which Jupyter prints, will do.

    Raises:
        ConnectionFailed: it is none, or would send secrets in the clear.
    """
    server = parse_server_url(url, _SECURE, allow_http=allow_http)
    where = _WHERE.fullmatch(server.path)
    path = where["base"] if where else _API.sub("", _PAGES.sub("", server.path)).rstrip("/")
    return Address(
        base=f"{server.origin}{path}",
        kind="sessions" if where and where["kind"] == "sessions" else "kernels",
        id=unquote(where["id"]) if where else "",
        token=server.token,
    )
