"""What a Jupyter server does on request: kernels and sessions by REST, and the door to channels.

Whatever the two libraries raise is translated here. Runs on the loop.
"""

from __future__ import annotations

import asyncio
import re
import secrets
import socket
import ssl as tls
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urljoin, urlsplit

import httpx
import websockets
from websockets.asyncio.client import ClientConnection, connect

from enchannel import Secret
from enchannel.backends import redact_url
from enchannel.errors import AuthenticationFailed, ConnectionFailed, KernelDied, Remedy
from enchannel.wire.websocket import SUBPROTOCOL
from enchannel_websocket._address import Address
from enchannel_websocket._logs import quiet

__all__ = ["Access", "KernelModel", "Server", "ServerRefused", "Socket"]

LOGIN = "/login"
LOGIN_PATHS = (LOGIN, "/hub/", "/oauth")
_HEADER = re.compile(r"[!-9;-~]+: [\t -~]*")
INTERNAL = 500
AGAIN = (0.2, 0.5, 1.0, 2.0, 4.0, None)  # seconds between attempts to end a kernel
# Servers leave Nagle's algorithm on: what they say waits for the acknowledgement of what they said before,
# and that would wait, on our side, for up to 40 ms. The system forgets the option; hence each time.
QUICKACK: int | None = getattr(socket, "TCP_QUICKACK", None)


class ServerRefused(ConnectionFailed):
    """The server was reached, and cannot do that now.

    Attributes:
        status: Of its answer, where there was one.
    """

    status: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """How one gets to a server.

    Attributes:
        token: What it knows us by; it travels in a header.
        password: For a server that has one instead; it is given for cookies, once a connection.
        headers: What is sent with every request besides.
        ssl: For ``https``; by default certificates have to be those that the system trusts.
        proxy: The URL of a proxy; by default what the environment says; None: none.
    """

    token: Secret = Secret("")
    password: Secret = Secret("")
    headers: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    ssl: tls.SSLContext | None = None
    proxy: str | bool | None = field(default=True, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelModel:
    """A kernel as its server describes it.

    Attributes:
        id: The server's name for it.
        name: Its kernelspec's.
        state: What it does, as the server knows it: ``"idle"``, ``"busy"``, ``"starting"``, ….
        connections: How many clients it has.
        last_activity: When it was last at work, as ISO 8601.
        url: What to give to ``enchannel.connect``; there is no token in it.
    """

    id: str
    name: str
    state: str
    connections: int
    last_activity: str
    url: str


class Socket(ClientConnection):
    """A WebSocket that knows when it last heard anything at all."""

    received_at: float = 0.0

    def data_received(self, data: bytes) -> None:
        self.received_at = self.loop.time()
        if QUICKACK is not None:
            sock: socket.socket = self.transport.get_extra_info("socket")
            sock.setsockopt(socket.IPPROTO_TCP, QUICKACK, 1)
        super().data_received(data)


class _Connect(connect):
    """Goes nowhere else: a redirect would take the token along."""

    def process_redirect(self, exc: Exception) -> Exception:
        return exc


class Server:
    """One Jupyter Server, or a gateway that looks like one.

    Args:
        address: Where it is.
        access: How one gets there.
        patience: Seconds for a connection to be made.
    """

    def __init__(self, address: Address, access: Access, *, patience: float) -> None:
        self.base = address.base
        self._websocket = address.websocket
        self._access = access
        self._ssl = access.ssl or tls.create_default_context()
        headers = {"User-Agent": "enchannel", **access.headers}
        if token := access.token.reveal().strip():  # as it is read from a file
            headers["Authorization"] = f"token {token}"
        for name, value in headers.items():
            if not _HEADER.fullmatch(f"{name}: {value}"):
                what = "the token" if name == "Authorization" else f"the header {name!r}"
                raise ConnectionFailed(f"{what} has characters in it that no header may have")
        self._headers = headers
        self._logged_in = not access.password
        self.pending = "nothing yet"
        try:
            self._http = httpx.AsyncClient(
                headers=headers,
                verify=self._ssl,
                # Who calls has a timeout for all of it; but who is cancelled in a handshake of TLS
                # leaves its socket behind.
                timeout=httpx.Timeout(None, connect=patience * 0.9),
                trust_env=access.proxy is True,
                proxy=access.proxy if isinstance(access.proxy, str) else None,
            )
        except Exception as error:  # a proxy that is none, a header that is none, and what else
            raise ConnectionFailed(f"{self} cannot be asked like that: {_words(error)}") from None

    def __str__(self) -> str:
        return self.base

    async def close(self) -> None:
        """Let go of its connections."""
        await self._http.aclose()

    # -- kernels ----------------------------------------------------------------------------------

    async def kernel(self, kernel_id: str) -> KernelModel:
        """What it knows of a kernel.

        Raises:
            KernelDied: there is no such kernel.
        """
        path = f"/api/kernels/{_quoted(kernel_id)}"
        found = await self._json("GET", path, missing=_gone(self, kernel_id))
        if found is None:  # jupyverse says it like this
            raise _gone(self, kernel_id)
        return self._model(found)

    async def kernels(self) -> tuple[KernelModel, ...]:
        """All that run."""
        with self._understood():
            return tuple(map(self._model, await self._json("GET", "/api/kernels")))

    async def kernelspecs(self) -> Mapping[str, Mapping[str, Any]]:
        """What can be started, by name: what ``kernel.json`` says."""
        with self._understood():
            specs = (await self._json("GET", "/api/kernelspecs"))["kernelspecs"]
            return {name: dict(entry["spec"]) for name, entry in specs.items()}

    async def is_gateway(self) -> bool:
        """Whether it is a Kernel Gateway, or an Enterprise Gateway."""
        await self._log_in()
        answer = await self._ask("GET", "/api/status")  # which they do not have
        return answer.status_code == 404

    async def start(self, wanted: Mapping[str, Any]) -> str:
        """Start a kernel; its id."""
        with self._understood():
            return str((await self._json("POST", "/api/kernels", wanted))["id"])

    async def start_session(self, wanted: Mapping[str, Any]) -> tuple[str, str]:
        """Start a kernel beside a notebook; the ids of the session and of the kernel."""
        with self._understood():
            session = await self._json("POST", "/api/sessions", wanted)
            return str(session["id"]), str(session["kernel"]["id"])

    async def session_at(self, path: str) -> str | None:
        """The id of the kernel that a notebook has, if it has one."""
        with self._understood():
            for session in await self._json("GET", "/api/sessions"):
                if session.get("path") == path:
                    return str(session["kernel"]["id"])
        return None

    async def kernel_of_session(self, session_id: str) -> str:
        """The kernel that a session has.

        Raises:
            KernelDied: there is no such session.
        """
        path = f"/api/sessions/{_quoted(session_id)}"
        missing = _gone(self, session_id, "session")
        with self._understood():
            return str((await self._json("GET", path, missing=missing))["kernel"]["id"])

    async def interrupt(self, kernel_id: str) -> None:
        """Interrupt what runs."""
        path = f"/api/kernels/{_quoted(kernel_id)}/interrupt"
        await self._call("POST", path, missing=_gone(self, kernel_id))

    async def restart(self, kernel_id: str) -> None:
        """A new process; returns when the server has seen it live."""
        path = f"/api/kernels/{_quoted(kernel_id)}/restart"
        await self._call("POST", path, missing=_gone(self, kernel_id))

    async def end(self, kernel_id: str, session_id: str | None = None) -> None:
        """End a kernel, and the session that it was started in; that it is gone already is as good."""
        pending = self.pending  # what an error is about is not how it is made good
        if session_id is None:
            path = f"/api/kernels/{_quoted(kernel_id)}"
        else:
            path = f"/api/sessions/{_quoted(session_id)}"
        for pause in AGAIN:
            try:
                await self._call("DELETE", path, missing=_gone(self, kernel_id))
            except KernelDied:
                break
            except ServerRefused as refused:  # while it restarts one that died, a server cannot
                if refused.status < INTERNAL or pause is None:
                    raise
                await asyncio.sleep(pause)
            else:
                break
        self.pending = pending

    def _model(self, model: Any) -> KernelModel:
        with self._understood():
            kernel_id = str(model["id"])
            return KernelModel(
                id=kernel_id,
                name=str(model.get("name", "")),
                state=str(model.get("execution_state", "")),
                connections=int(model.get("connections") or 0),
                last_activity=str(model.get("last_activity", "")),
                url=f"{self.base}/api/kernels/{kernel_id}",
            )

    @contextmanager
    def _understood(self) -> Iterator[None]:
        """Take apart what it answered."""
        try:
            yield
        except (KeyError, TypeError, ValueError, AttributeError, IndexError):
            raise self._no_jupyter("answers in a way that is not Jupyter's") from None

    # -- the channels -----------------------------------------------------------------------------

    async def channels(
        self, kernel_id: str, session_id: str, *, max_received: int, legacy: bool
    ) -> Socket:
        """A kernel's WebSocket."""
        await self._log_in()
        self.pending = f"the channels of kernel {kernel_id}"
        url = f"{self._websocket}/api/kernels/{_quoted(kernel_id)}/channels"
        opening = _Connect(
            f"{url}?session_id={quote(session_id, safe='')}",
            additional_headers=self._headers | self._cookies(),
            user_agent_header=None,
            subprotocols=None if legacy else [websockets.Subprotocol(SUBPROTOCOL)],
            ssl=self._ssl if url.startswith("wss:") else None,
            proxy=self._access.proxy or None,
            open_timeout=None,
            ping_interval=None,  # any sign of life counts here, see the link
            close_timeout=1.0,
            logger=quiet,
            max_size=max_received,
            max_queue=None,  # it is read all the time, whatever subscribers do
            compression=None,  # as Jupyter's own clients have it: loopback and LAN are faster without
            create_connection=Socket,
        )
        try:
            opened = await opening
        except websockets.InvalidStatus as error:
            response = error.response
            location = response.headers.get("Location", "")
            self._demand_welcome(response.status_code, location, bytes(response.body or b""))
            if response.status_code == 404:
                raise _gone(self, kernel_id) from None
            raise ServerRefused(
                f"{self} refuses the channels of kernel {kernel_id}: HTTP {response.status_code}"
            ) from None
        except websockets.InvalidHandshake as error:
            raise self._no_jupyter(f"speaks no WebSocket there ({_words(error)})") from None
        except Exception as error:  # theirs, and what their own libraries raise
            raise self._unreachable(error) from None
        assert isinstance(opened, Socket)  # noqa: S101  # for the type checkers
        return opened

    def _cookies(self) -> dict[str, str]:
        jar = [f"{cookie.name}={cookie.value}" for cookie in self._http.cookies.jar]
        given = [value for name, value in self._headers.items() if name.lower() == "cookie"]
        return {"Cookie": "; ".join([*given, *jar])} if jar else {}

    # -- HTTP -------------------------------------------------------------------------------------

    async def _json(
        self, method: str, path: str, wanted: object = None, *, missing: Exception | None = None
    ) -> Any:
        response = await self._call(method, path, wanted, missing=missing)
        try:
            return response.json()
        except ValueError:
            raise self._no_jupyter("answers with something that is not JSON") from None

    async def _call(
        self, method: str, path: str, wanted: object = None, *, missing: Exception | None = None
    ) -> httpx.Response:
        await self._log_in()
        response = await self._ask(method, path, json=wanted)
        if response.status_code in (401, 403) and self._access.password:
            self._logged_in = False  # what it gave for the password has expired
            await self._log_in()
            response = await self._ask(method, path, json=wanted)
        location, status = response.headers.get("Location", ""), response.status_code
        self._demand_welcome(status, location, response.content)
        if status == 404 and missing is not None:
            raise missing
        if status == 404:
            raise self._no_jupyter(f"has no {path}")
        if not response.is_success:
            refused = ServerRefused(f"{self} answers {status}: {_reason(response)}")
            refused.status = status
            raise refused
        return response

    async def _ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        self.pending = f"{method} {path}"
        headers = {}
        if method != "GET":
            if (cookie := self._cookie("_xsrf")) is None:
                # Proves that we can set cookies, which is what is asked for where there is no token.
                cookie = secrets.token_hex()
                self._http.cookies.set("_xsrf", cookie)
            headers["X-XSRFToken"] = cookie
        try:
            return await self._http.request(method, self.base + path, headers=headers, **options)
        except Exception as error:  # theirs, and what their own libraries raise
            raise self._unreachable(error) from None

    def _cookie(self, name: str) -> str | None:
        """There may be more than one of a name: what the server set last is what it wants."""
        values = [cookie.value for cookie in self._http.cookies.jar if cookie.name == name]
        return values[-1] if values else None

    async def _log_in(self) -> None:
        """Give the password for a cookie, once."""
        if self._logged_in:
            return
        page = await self._ask("GET", LOGIN)
        if page.status_code >= 400:
            raise self._no_jupyter(f"has no {LOGIN} to give a password to")
        form = {
            "password": self._access.password.reveal(),
            "_xsrf": self._cookie("_xsrf") or "",
        }
        answer = await self._ask("POST", LOGIN, data=form)
        if answer.status_code not in (302, 303, 200) or not self._is_known(answer):
            raise AuthenticationFailed(f"{self} does not accept the password")
        self._logged_in = True

    def _is_known(self, answer: httpx.Response) -> bool:
        """A cookie besides that against forged requests is what a login gives."""
        return any(cookie.name != "_xsrf" for cookie in self._http.cookies.jar)

    def _demand_welcome(self, status: int, location: str, body: bytes) -> None:
        """Refuse what tells us to go, or to go elsewhere.

        Raises:
            AuthenticationFailed, ConnectionFailed
        """
        if status in (401, 403):
            raise self._unknown()
        if not 300 <= status < 400:
            return
        to = urljoin(f"{self.base}/", location)
        if any(part in urlsplit(to).path for part in LOGIN_PATHS):
            raise self._unknown()
        where = redact_url(to)
        raise ConnectionFailed(
            f"{self} sends us to {where}, where no token is taken along; if that is the right "
            "place, use its URL"
        )

    def _unknown(self) -> AuthenticationFailed:
        if self._access.token:
            what = "does not accept the token: is it another server's, or has it expired?"
        elif self._access.password:
            what = "does not know us any more, though it took the password; connect again"
        else:
            return AuthenticationFailed(
                f"{self} requires authentication", remedy=Remedy.AUTHENTICATE
            )
        return AuthenticationFailed(f"{self} {what}")

    def _no_jupyter(self, what: str) -> ServerRefused:
        return ServerRefused(f"{self} {what}: is it a Jupyter server, and is this its base URL?")

    def _unreachable(self, error: Exception) -> ConnectionFailed:
        if isinstance(error, httpx.ConnectTimeout):
            hint = " does it speak https?" if self.base.startswith("https:") else ""
            return ConnectionFailed(f"{self} does not answer in time: does it run?{hint}")
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, tls.SSLCertVerificationError):
                return ConnectionFailed(
                    f"{self} has a certificate that is not trusted ({cause.verify_message})",
                    remedy=Remedy.TRUST_CERTIFICATE,
                )
            if isinstance(cause, tls.SSLError):
                return ConnectionFailed(f"{self} speaks no TLS that we know ({_words(cause)})")
            cause = cause.__cause__ or cause.__context__
        return ConnectionFailed(
            f"{self} is not to be reached ({_words(error)}): does it run, and is this its URL?"
        )


def _gone(server: Server, what: str, kind: str = "kernel") -> KernelDied:
    return KernelDied(
        f"there is no {kind} {what} on {server}: it was shut down or culled, or the server was restarted"
    )


def _quoted(text: str) -> str:
    return quote(text, safe="")


def _reason(response: httpx.Response) -> str:
    """What the server says of it, in a few words."""
    try:
        said: Any = response.json()
        text = said.get("message") or said.get("reason") or ""
    except (ValueError, AttributeError):
        text = ""
    return str(text)[:300] or response.reason_phrase or "no reason given"


def _words(error: BaseException) -> str:
    return str(error)[:300] or type(error).__name__
