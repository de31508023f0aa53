"""ASGI middleware that rejects requests without access, cross-origin requests, and oversized requests."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Collection, Iterable, MutableMapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from enchannel_socketio.relay._tokens import COOKIE_LIFETIME, Grant, Tokens

__all__ = ["CONNECTION", "GRANT", "AccessControl", "RequestRefused", "path_of"]

GRANT = "enchannel.grant"
# A server that limits unauthorized connections sets this to a function, called with the grant of a request.
CONNECTION = "enchannel.connection"
MAX_LENGTH_DIGITS = 18
LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
FRAME = "/page/frame.html"
FRAME_FILE = Path(__file__).parent / "page" / "frame.html"
POLICY = (
    "default-src 'self'; img-src 'self' data: blob:; object-src 'none'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
FRAME_POLICY = (
    "sandbox allow-scripts; default-src 'none'; script-src {scripts}; "
    "style-src 'unsafe-inline'; img-src data: blob:; font-src data:; media-src data: blob:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)
# The query of a frame that runs the scripts of its output.
WITH_SCRIPTS = b"scripts"
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
    # Browsers look up the hosts of links in advance.
    "X-DNS-Prefetch-Control": "off",
}
UNAUTHENTICATED_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8">
<title>enchannel relay</title>
<h1>Authentication required</h1>
<p>Open the link that the relay has printed. It can be used once.</p>
"""


class RequestRefused(Exception):
    """Raised to refuse a request.

    Args:
        status: The HTTP status of the response.
        reason: The error text of the response.
    """

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status

    def response(self) -> Response:
        """Return the HTTP response."""
        headers = {"WWW-Authenticate": "Bearer"} if self.status == 401 else {}
        return JSONResponse({"error": str(self)}, self.status, headers)


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessControl:
    """Passes permitted requests to an application; ASGI middleware for HTTP and WebSockets.

    Attributes:
        app: The application; it finds the Grant of a request in its scope, as ``GRANT``.
        tokens: Checks tokens and cookies.
        hosts: The accepted host names, each with a port, or without one for any port.
        origins: The accepted origins, besides the relay's own.
        max_message: The maximum size of a request, in bytes.
    """

    app: ASGIApp
    tokens: Tokens
    hosts: Collection[str]
    origins: Collection[str]
    max_message: int

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        if scope["type"] == "http":
            send = _with_headers(scope, send)
        try:
            self._check_host_and_origin(headers)
            if scope["type"] == "http" and path_of(scope) == "/":
                response = self._log_in(scope, headers)
                if response is not None:
                    await response(scope, receive, send)
                    return
            grant = scope[GRANT] = self._require_grant(scope, headers)
            self._check_size(headers)
            if CONNECTION in scope:
                scope[CONNECTION](grant)
            await self.app(scope, receive, send)
        except RequestRefused as refusal:
            await _refuse(refusal, scope, receive, send)

    def _check_host_and_origin(self, headers: Headers) -> None:
        host = headers.get("host", "")
        if not _is_allowed_host(host, self.hosts):
            raise RequestRefused(
                421, "host name not allowed; add it with --allow-host, or hosts= in a program"
            )
        # Behind a proxy, the scheme of the request is not that of the page.
        own = (f"http://{host}", f"https://{host}")
        if not all(origin in self.origins or origin in own for origin in headers.getlist("origin")):
            raise RequestRefused(403, "cross-origin request rejected")

    def _log_in(self, scope: Scope, headers: Headers) -> Response | None:
        """Exchange a one-time token for a cookie; return None if the page can be served."""
        query = scope["query_string"].decode("latin-1")
        grant = self._grant_of(scope, headers)
        # A browser with full access keeps it when it follows a watch link.
        is_redeemable = scope["method"] == "GET" and query.startswith("token=")
        if is_redeemable and not (grant is not None and grant.is_full):
            redeemed = self.tokens.redeem_one_time_token(query.removeprefix("token="))
            if redeemed is not None:
                return self._set_cookie(scope, redeemed)
        if grant is None:
            return HTMLResponse(UNAUTHENTICATED_PAGE, 401)
        return RedirectResponse(_root(scope), 303) if query else None

    def _set_cookie(self, scope: Scope, grant: Grant) -> Response:
        response = RedirectResponse(_root(scope), 303)
        response.set_cookie(
            _cookie_name(scope),
            self.tokens.cookie(grant),
            max_age=COOKIE_LIFETIME,
            path=_root(scope),
            secure=scope.get("scheme") == "https",
            httponly=True,
            samesite="lax",
        )
        return response

    def _require_grant(self, scope: Scope, headers: Headers) -> Grant:
        grant = self._grant_of(scope, headers)
        if grant is None:
            raise RequestRefused(401, "authentication required; send Authorization: Bearer TOKEN")
        return grant

    def _grant_of(self, scope: Scope, headers: Headers) -> Grant | None:
        kind, _, token = headers.get("authorization", "").partition(" ")
        if kind.lower() in ("bearer", "token"):
            return self.tokens.grant_of_token(token.strip())
        cookies = "; ".join(headers.getlist("cookie"))
        return self.tokens.grant_of_cookies(cookies, _cookie_name(scope))

    def _check_size(self, headers: Headers) -> None:
        """Raise if the body is too large. The server limits the size of WebSocket messages."""
        if "transfer-encoding" in headers:
            raise RequestRefused(411, "Content-Length is required")
        length = headers.get("content-length", "0")
        if not length.isdecimal():
            raise RequestRefused(400, "Content-Length must be a number")
        if len(length) > MAX_LENGTH_DIGITS or int(length) > self.max_message:
            raise RequestRefused(413, f"the body is larger than {self.max_message} bytes")


def path_of(scope: Scope) -> str:
    """Return the path of a request, relative to the path at which the relay is mounted."""
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", "")) or "/"


def _root(scope: Scope) -> str:
    return f"{scope.get('root_path', '')}/"


def _cookie_name(scope: Scope) -> str:
    """Return a name with the port: cookies are shared by all ports of a host, and so by two relays."""
    server = scope.get("server") or ("", 0)
    return f"enchannel-relay-{server[1]}"


def _is_allowed_host(host: str, hosts: Iterable[str]) -> bool:
    name = re.sub(r":\d*$", "", host)
    return bool(host) and any(known in (host.lower(), name.lower()) for known in hosts)


@cache
def _frame_script() -> str:
    """Return the CSP source of the script of the frame itself: its hash."""
    script = FRAME_FILE.read_text("utf-8").partition("<script>")[2].partition("</script>")[0]
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


def _frame_policy(query: bytes) -> str:
    scripts = "'unsafe-inline'" if query == WITH_SCRIPTS else _frame_script()
    return FRAME_POLICY.format(scripts=scripts)


def _with_headers(scope: Scope, send: Send) -> Send:
    policy = _frame_policy(scope["query_string"]) if path_of(scope) == FRAME else POLICY

    async def send_with_headers(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers["Content-Security-Policy"] = policy
            for name, value in HEADERS.items():
                headers[name] = value
        await send(message)

    return send_with_headers


async def _refuse(refusal: RequestRefused, scope: Scope, receive: Receive, send: Send) -> None:
    response = refusal.response()
    if scope["type"] == "http":
        await response(scope, receive, send)
        return
    if "websocket.http.response" not in scope.get("extensions", {}):
        # Servers turn this into a 403.
        await send({"type": "websocket.close", "code": 1008})
        return
    await send(
        {
            "type": "websocket.http.response.start",
            "status": response.status_code,
            "headers": response.raw_headers,
        }
    )
    await send({"type": "websocket.http.response.body", "body": response.body})
