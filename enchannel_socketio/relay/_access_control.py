"""The door of a relay: who is nobody, comes from elsewhere, or brings too much gets no further."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, MutableMapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response

from enchannel_socketio.relay._tokens import COOKIE_LASTS, Access, Keys

__all__ = ["ACCESS", "Guard", "Refusal", "path_of"]

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

ACCESS = "enchannel.access"
LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
FRAME = "/page/frame.html"
POLICY = (
    "default-src 'self'; img-src 'self' data: blob:; object-src 'none'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
FRAME_POLICY = (
    "sandbox allow-scripts; default-src 'none'; script-src 'unsafe-inline'; "
    "style-src 'unsafe-inline'; img-src data: blob:; font-src data:; media-src data: blob:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
NOBODY = """<!doctype html><html lang="en"><meta charset="utf-8"><title>enchannel relay</title>
<h1>Who are you?</h1>
<p>This relay opens to who has its token. Open the link that it has printed; it is good once.</p>
"""


class Refusal(Exception):
    """A request that is refused.

    Args:
        status: Of the answer.
        why: In words.
    """

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status

    def response(self) -> Response:
        """The answer."""
        headers = {"WWW-Authenticate": "Bearer"} if self.status == 401 else {}
        return JSONResponse({"error": str(self)}, self.status, headers)


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard:
    """Lets requests pass that may; an ASGI middleware, for HTTP and WebSockets.

    Attributes:
        app: What is behind it; finds the Access in the scope.
        keys: What is good for access.
        hosts: By which names the relay is called; each with a port, or without one for any port.
        origins: Whose pages may use it, beside its own.
        max_message: Bytes that a request may have.
    """

    app: App
    keys: Keys
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
            self._demand_home(headers)
            if scope["type"] == "http" and path_of(scope) == "/":
                answer = self._at_the_door(scope, headers)
                if answer is not None:
                    await answer(scope, receive, send)
                    return
            scope[ACCESS] = self._demand_access(scope, headers)
            self._demand_modesty(headers)
            await self.app(scope, receive, send)
        except Refusal as refusal:
            await _refuse(refusal, scope, receive, send)

    def _demand_home(self, headers: Headers) -> None:
        host = headers.get("host", "")
        if not _is_among(host, self.hosts):
            raise Refusal(421, "this relay is not called by that name (allow_hosts says by which)")
        origin = headers.get("origin")
        if origin is not None and origin not in self.origins and urlsplit(origin).netloc != host:
            raise Refusal(403, "a page from elsewhere has no business here")

    def _at_the_door(self, scope: Scope, headers: Headers) -> Response | None:
        """For the one page to which a browser comes without anything in its hands."""
        query = scope["query_string"].decode("latin-1")
        here = self._access(scope, headers)
        # Who may do everything and follows a link for watching does not want to be less for it.
        if query.startswith("token=") and not (here is not None and here.is_full):
            access = self.keys.use_link(query.removeprefix("token="))
            if access is not None:
                return self._welcome(scope, access)
        if here is None:
            return HTMLResponse(NOBODY, 401)
        return RedirectResponse(_root(scope), 303) if query else None

    def _welcome(self, scope: Scope, access: Access) -> Response:
        response = RedirectResponse(_root(scope), 303)
        response.set_cookie(
            _cookie_name(scope),
            self.keys.cookie(access),
            max_age=COOKIE_LASTS,
            path=_root(scope),
            secure=scope.get("scheme") == "https",
            httponly=True,
            samesite="lax",
        )
        return response

    def _demand_access(self, scope: Scope, headers: Headers) -> Access:
        access = self._access(scope, headers)
        if access is None:
            raise Refusal(401, "a token is wanted, as in Authorization: Bearer TOKEN")
        return access

    def _access(self, scope: Scope, headers: Headers) -> Access | None:
        kind, _, token = headers.get("authorization", "").partition(" ")
        if kind.lower() in ("bearer", "token"):
            return self.keys.of_token(token.strip())
        return self.keys.of_cookies(headers.get("cookie", ""), _cookie_name(scope))

    def _demand_modesty(self, headers: Headers) -> None:
        """The server itself bounds what comes on WebSockets."""
        if "transfer-encoding" in headers:
            raise Refusal(411, "say how large it is, with Content-Length")
        length = headers.get("content-length", "0")
        if not length.isdecimal():
            raise Refusal(400, "Content-Length is no number")
        if int(length) > self.max_message:
            raise Refusal(413, f"that is larger than {self.max_message} bytes")


def path_of(scope: Scope) -> str:
    """The path of a request, as seen from where the relay is mounted."""
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", "")) or "/"


def _root(scope: Scope) -> str:
    return f"{scope.get('root_path', '')}/"


def _cookie_name(scope: Scope) -> str:
    """Cookies know no ports: two relays on one machine must not take each other's away."""
    server = scope.get("server") or ("", 0)
    return f"enchannel-relay-{server[1]}"


def _is_among(host: str, hosts: Iterable[str]) -> bool:
    name = host.rpartition(":")[0] if not host.endswith("]") and ":" in host else host
    return bool(host) and any(known in (host.lower(), name.lower()) for known in hosts)


def _with_headers(scope: Scope, send: Send) -> Send:
    policy = FRAME_POLICY if path_of(scope) == FRAME else POLICY

    async def send_with_headers(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers["Content-Security-Policy"] = policy
            for name, value in HEADERS.items():
                headers[name] = value
        await send(message)

    return send_with_headers


async def _refuse(refusal: Refusal, scope: Scope, receive: Receive, send: Send) -> None:
    response = refusal.response()
    if scope["type"] == "http":
        await response(scope, receive, send)
        return
    if "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close", "code": 1008})  # which a server makes a 403 of
        return
    await send(
        {
            "type": "websocket.http.response.start",
            "status": response.status_code,
            "headers": response.raw_headers,
        }
    )
    await send({"type": "websocket.http.response.body", "body": response.body})
