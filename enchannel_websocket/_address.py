"""Parsing the URL of a Jupyter server, kernel or session."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal
from urllib.parse import unquote

from enchannel import Secret
from enchannel.backends import parse_server_url
from enchannel.errors import ConnectionFailed, Remedy

__all__ = ["ServerAddress", "parse_address", "parse_server"]

_API_ID = re.compile(r"(?P<base>.*?)/api/(?P<kind>kernels|sessions)/(?P<id>[^/]+)(?:/channels)?/?")
# The first page in a path and everything after it. A user of a hub may have the name of a page.
_PAGES = re.compile(r"(?<!/user)/(?:lab|tree|notebooks|doc|consoles|edit)(?:/.*)?$")
_API = re.compile(r"/api(?:/kernels|/sessions)?/?$")
# Where the path of a server may end. Each of these may also be a part of it: any path can be a base_url.
_ENDS = re.compile(
    r"/(?=(?:lab|tree|notebooks|doc|consoles|edit|nbclassic|terminals|view|files|voila|retro|hub|api)(?:/|$))"
)
MAX_CANDIDATES = 8
_IS_ENCRYPTED = {"http": False, "ws": False, "https": True, "wss": True}


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerAddress:
    """A Jupyter server, and a kernel or session on it.

    Attributes:
        base: The server's URL, ``http`` or ``https``, without a slash at its end. If there are candidates,
            it is a guess.
        candidates: The URLs that may be the server's, the longest first, if that is not certain. The server
            knows which.
        kind: Whether ``id`` is that of a kernel, or of a session, which has a notebook's kernel.
        id: Id of the kernel or session; empty for the server itself.
        token: The token in the URL.
    """

    base: str
    kind: Literal["kernels", "sessions"] = "kernels"
    id: str = ""
    token: Secret = Secret("")
    candidates: tuple[str, ...] = ()


def parse_address(url: object, *, allow_http: bool) -> ServerAddress:
    """Parse a URL; also that of a page (``/lab``, ``/tree``), which Jupyter prints.

    Raises:
        ValueError, TypeError: The URL is invalid.
        ConnectionFailed: The URL would send secrets in the clear.
    """
    server = parse_server_url(url, _IS_ENCRYPTED, allow_http=allow_http)
    match = _API_ID.fullmatch(server.path)
    path = match["base"] if match else _API.sub("", _PAGES.sub("", server.path)).rstrip("/")
    candidates = () if match else _candidates(server.path.rstrip("/"))
    return ServerAddress(
        base=f"{server.origin}{path}",
        candidates=tuple(f"{server.origin}{candidate}" for candidate in candidates),
        kind="sessions" if match and match["kind"] == "sessions" else "kernels",
        id=unquote(match["id"]) if match else "",
        token=server.token,
    )


def parse_server(url: object, *, allow_http: bool) -> ServerAddress:
    """Parse the URL of a server, as ``parse_address`` does.

    Raises:
        ValueError, TypeError: The URL is invalid.
        ConnectionFailed: The URL is that of a kernel, or would send secrets in the clear.
    """
    if url is None:
        raise TypeError("at must be the URL of a server, such as http://localhost:8888, not None")
    address = parse_address(url, allow_http=allow_http)
    if address.id:
        raise ConnectionFailed(
            "at must be the URL of a server, not that of a kernel, "
            f"{address.base}/api/kernels/{address.id}",
            remedy=Remedy.CONNECT,
        )
    return address


def _candidates(path: str) -> tuple[str, ...]:
    """Return the paths that the server may have, the longest first; none if that is certain."""
    ends = [match.start() for match in _ENDS.finditer(path)][: MAX_CANDIDATES - 1]
    return tuple(path[:end] for end in (len(path), *reversed(ends))) if ends else ()
