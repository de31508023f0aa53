"""HTTP requests to a Jupyter server: headers, login, cookies, and errors.

Exceptions of httpx are translated here. Runs on the event loop.
"""

from __future__ import annotations

import secrets
import ssl as tls
from typing import Any
from urllib.parse import urljoin, urlsplit

import httpx

from enchannel.backends import InvalidResponseBody, choose_proxy, read_body, redact_url
from enchannel.errors import AuthenticationFailed, ConnectionFailed, Remedy
from enchannel.wire.nesting import is_too_deep
from enchannel_websocket._address import ServerAddress
from enchannel_websocket._options import JupyterOptions

__all__ = ["HttpClient", "ServerRefused", "brief"]

LOGIN_PATH = "/login"
# Parts of the paths to which a server redirects clients that are not logged in.
LOGIN_REDIRECTS = (LOGIN_PATH, "/hub/", "/oauth")
MAX_REASON_LENGTH = 300
PROXY_AUTHENTICATION_REQUIRED = 407


class ServerRefused(ConnectionFailed):
    """The server was reached and refused the request, or gave a wrong answer.

    Attributes:
        status: HTTP status of its answer; 0 if the status is not the reason.
    """

    status: int = 0


class HttpClient:
    """A client of a Jupyter server, or of a gateway with the same API.

    Args:
        address: The server's address.
        options: Credentials and other options.
        connect_timeout: Seconds until a TCP connection has to be established.

    Attributes:
        base: The server's URL.
        options: As given.
        headers: Headers of every request.
        ssl: TLS settings.
        proxy: The proxy of all connections, WebSockets included; None for none.
        pending: The current or latest request, for error messages.
    """

    def __init__(
        self, address: ServerAddress, options: JupyterOptions, *, connect_timeout: float
    ) -> None:
        self.base = address.base
        self._candidates = address.candidates
        self.options = options.with_default_token(address.token)
        self.headers = self.options.request_headers("token")
        self.ssl = options.ssl or tls.create_default_context()
        self.proxy = choose_proxy(self.base, options.proxy)
        self.pending = "a connection"
        self._logged_in = not options.password
        try:
            self._http = httpx.AsyncClient(
                # Uncompressed: a compressed answer may be a bomb.
                headers={"Accept-Encoding": "identity"} | self.headers,
                verify=self.ssl,
                # The caller has a timeout for everything. This one comes first, because a task that is
                # cancelled during a TLS handshake leaks its socket.
                timeout=httpx.Timeout(None, connect=connect_timeout * 0.9),
                trust_env=False,
                proxy=None if self.proxy is None else self.proxy.url,
            )
        except ImportError:  # httpx[socks]
            raise ConnectionFailed(
                f"the proxy {self.proxy} requires pip install httpx[socks] python-socks[asyncio]"
            ) from None
        except (
            Exception
        ) as error:  # of httpx and the libraries below it: an invalid proxy or header
            raise ConnectionFailed(f"the options for {self} are invalid: {brief(error)}") from None

    def __str__(self) -> str:
        return self.base

    @property
    def websocket_base(self) -> str:
        """The server's URL, with the scheme ``ws`` or ``wss``."""
        return "ws" + self.base.removeprefix("http")

    async def close(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def request_json(
        self, method: str, path: str, body: object = None, *, missing: Exception | None = None
    ) -> Any:
        """Send a request and return the decoded JSON of its answer; see ``request``."""
        response = await self.request(method, path, body, missing=missing)
        try:
            return _decode(response)
        except ValueError:
            raise self.not_jupyter("sent an answer that is not JSON") from None

    async def request(
        self, method: str, path: str, body: object = None, *, missing: Exception | None = None
    ) -> httpx.Response:
        """Send a request, after logging in if a password is needed.

        Args:
            method: HTTP method.
            path: Path below the server's URL.
            body: Sent as JSON.
            missing: Raised if the answer is 404.

        Raises:
            AuthenticationFailed: The credentials were not accepted.
            ServerRefused: The server answered with another error.
            ConnectionFailed: It could not be reached, or redirects to another place.
        """
        await self.log_in()
        response = await self.send(method, path, json=body)
        if response.status_code in (401, 403) and self.options.password:
            # The cookie of the login has expired.
            self._logged_in = False
            await self.log_in()
            response = await self.send(method, path, json=body)
        location, status = response.headers.get("Location", ""), response.status_code
        self.raise_if_rejected(status, location)
        if status == 404 and missing is not None:
            raise missing
        if status == 404:
            raise self.not_jupyter(f"has no {path}", status)
        if status == PROXY_AUTHENTICATION_REQUIRED and self.proxy is not None:
            raise self.proxy_failed("it requires a user name and a password in its URL")
        if not response.is_success:
            refused = ServerRefused(f"{self} answered {status}{self.via}: {_reason(response)}")
            refused.status = status
            raise refused
        return response

    async def send(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Send a request without logging in; return the answer, also if its status is an error.

        Raises:
            ConnectionFailed: The server could not be reached.
        """
        self.pending = f"{method} {path}"
        headers = {}
        if method != "GET":
            if (cookie := self._cookie("_xsrf")) is None:
                # Without a token, a server requires proof that the client can set cookies.
                cookie = secrets.token_hex()
                self._http.cookies.set("_xsrf", cookie)
            headers["X-XSRFToken"] = cookie
        try:
            return await self._exchange(method, self.base + path, headers=headers, **options)
        except ConnectionFailed:
            raise
        except Exception as error:  # of httpx and the libraries below it
            raise self.unreachable(error) from None

    async def _exchange(self, method: str, url: str, **options: Any) -> httpx.Response:
        async with self._http.stream(method, url, **options) as response:
            try:
                body = await read_body(
                    response.aiter_raw(), response.headers.get("Content-Encoding", "")
                )
            except InvalidResponseBody as invalid:
                if response.is_success:
                    raise self.not_jupyter(str(invalid)) from None
                body = b""  # of an error, which its status explains
        headers = [
            (name, value)
            for name, value in response.headers.multi_items()
            if name.lower() not in ("content-encoding", "content-length", "transfer-encoding")
        ]
        reason = response.reason_phrase.encode(errors="replace")
        return httpx.Response(
            response.status_code,
            headers=headers,
            content=body,
            extensions={"reason_phrase": reason},
        )

    # -- login ------------------------------------------------------------------------------------

    async def log_in(self) -> None:
        """Exchange the password for a cookie; a no-op without a password, and when logged in.

        Raises:
            AuthenticationFailed: The password is wrong.
        """
        if self._candidates:
            await self._find_base()
        if self._logged_in:
            return
        page = await self.send("GET", LOGIN_PATH)
        if page.status_code >= 400:
            raise self.not_jupyter(f"has no login page ({LOGIN_PATH})")
        form = {
            "password": self.options.password.reveal(),
            "_xsrf": self._cookie("_xsrf") or "",
        }
        answer = await self.send("POST", LOGIN_PATH, data=form)
        if answer.status_code not in (302, 303, 200) or not self._has_login_cookie():
            raise AuthenticationFailed(f"{self} does not accept the password")
        self._logged_in = True

    async def _find_base(self) -> None:
        """Ask for the version at each URL that may be the server's; keep the guess if none answers.

        Raises:
            ConnectionFailed: The server could not be reached.
        """
        guess, denied = self.base, list[str]()
        try:
            for self.base in self._candidates:  # noqa: B020  # of the URL in errors
                try:
                    response = await self.send("GET", "/api")
                except ServerRefused:  # the answer is too large
                    continue
                if _is_version(response):
                    guess = self.base
                    break
                if response.status_code in (401, 403):
                    denied.append(self.base)
            else:
                # A server that tells its version only to users; a hub denies everything.
                guess = guess if guess in denied or not denied else denied[0]
        finally:
            self.base = guess
        self._candidates = ()

    def cookie_header(self) -> dict[str, str]:
        """Return the ``Cookie`` header for a WebSocket: cookies of the user and of the server."""
        jar = [f"{cookie.name}={cookie.value}" for cookie in self._http.cookies.jar]
        given = [value for name, value in self.headers.items() if name.lower() == "cookie"]
        return {"Cookie": "; ".join([*given, *jar])} if jar else {}

    def _cookie(self, name: str) -> str | None:
        # Of several with that name, the server accepts the one that it set last.
        values = [cookie.value for cookie in self._http.cookies.jar if cookie.name == name]
        return values[-1] if values else None

    def _has_login_cookie(self) -> bool:
        return any(cookie.name != "_xsrf" for cookie in self._http.cookies.jar)

    # -- errors -----------------------------------------------------------------------------------

    def raise_if_rejected(self, status: int, location: str) -> None:
        """Raise an error for an answer that denies access or redirects.

        Args:
            status: HTTP status.
            location: The ``Location`` header.

        Raises:
            AuthenticationFailed: The credentials were not accepted.
            ConnectionFailed: It is another redirect, which is not followed: it would take the token along.
        """
        if status in (401, 403):
            raise self._unauthorized()
        if not 300 <= status < 400:
            return
        to = urljoin(f"{self.base}/", location)
        if any(part in urlsplit(to).path for part in LOGIN_REDIRECTS):
            raise self._unauthorized()
        raise ConnectionFailed(
            f"{self} redirects to {redact_url(to)}, to which no token is sent; if that is the right "
            "server, use its URL"
        )

    def _unauthorized(self) -> AuthenticationFailed:
        if self.options.token:
            return AuthenticationFailed(
                f"{self} does not accept the token; it may have expired or belong to another server"
            )
        if self.options.password:
            return AuthenticationFailed(
                f"{self} accepted the password, but rejects the login; connect again"
            )
        return AuthenticationFailed(f"{self} requires authentication", remedy=Remedy.AUTHENTICATE)

    @property
    def via(self) -> str:
        """The proxy, as a part of an error text; empty for none."""
        return "" if self.proxy is None else f" through the proxy {self.proxy}"

    def proxy_failed(self, why: str) -> ConnectionFailed:
        """Return the error for a connection that failed at, or behind, the proxy."""
        return ConnectionFailed(
            f"could not connect to {self}{self.via}: {why}; check the proxy, or bypass it with NO_PROXY or "
            "proxy=None"
        )

    def not_jupyter(self, why: str, status: int = 0) -> ServerRefused:
        """Return the error for an answer that a Jupyter server would not give."""
        refused = ServerRefused(
            f"{self} {why}; check that it is a Jupyter server and that this is its base URL"
        )
        refused.status = status
        return refused

    def unreachable(self, error: Exception) -> ConnectionFailed:
        """Return the error for an exception of an HTTP or WebSocket library while connecting."""
        if isinstance(error, httpx.ConnectTimeout):
            if self.proxy is not None:
                return self.proxy_failed("no answer in time")
            https = ", and that it supports https" if self.base.startswith("https:") else ""
            return ConnectionFailed(
                f"{self} did not answer in time; check that it is running{https}"
            )
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, tls.SSLCertVerificationError):
                return ConnectionFailed(
                    f"{self} has a certificate that is not trusted ({cause.verify_message})",
                    remedy=Remedy.TRUST_CERTIFICATE,
                )
            if isinstance(cause, tls.SSLError):
                return ConnectionFailed(f"the TLS handshake with {self} failed ({brief(cause)})")
            cause = cause.__cause__ or cause.__context__
        if self.proxy is not None:
            return self.proxy_failed(brief(error))
        return ConnectionFailed(
            f"could not connect to {self} ({brief(error)}); check that the server is running and that the "
            "URL is correct"
        )


def _decode(response: httpx.Response) -> Any:
    if is_too_deep(response.content):
        raise ValueError("the JSON is nested too deeply")
    return response.json()


def _is_version(response: httpx.Response) -> bool:
    """Return True for the answer of a Jupyter server to ``GET /api``."""
    try:
        return response.is_success and "version" in _decode(response)
    except (ValueError, TypeError):
        return False


def _reason(response: httpx.Response) -> str:
    """Return the server's reason for an error."""
    try:
        fields: Any = _decode(response)
        text = fields.get("message") or fields.get("reason") or ""
    except (ValueError, AttributeError):
        text = ""
    return str(text)[:MAX_REASON_LENGTH] or response.reason_phrase or "no reason given"


def brief(error: BaseException) -> str:
    """Return an exception's text, shortened."""
    return str(error)[:MAX_REASON_LENGTH] or type(error).__name__
