"""What a relay does on request: kernels by HTTP. Runs on the loop.

Whatever aiohttp raises is translated here.
"""

from __future__ import annotations

import socket
import ssl as tls
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
import msgspec
from aiohttp.abc import ResolveResult

from enchannel import Secret
from enchannel.errors import (
    AuthenticationFailed,
    ConnectionFailed,
    EnchannelError,
    KernelDied,
    LaunchFailed,
    NotSupported,
    Remedy,
)
from enchannel_socketio._address import Address

__all__ = ["Access", "Client", "KernelModel"]

T = TypeVar("T")

_PLAIN = frozenset(map(chr, range(33, 127)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """How one gets to a relay.

    Attributes:
        token: What it knows us by; it travels in a header.
        headers: What is sent with every request besides.
        ssl: For ``https``; by default certificates have to be those that the system trusts.
    """

    token: Secret = Secret("")
    headers: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    ssl: tls.SSLContext | None = None


class KernelModel(msgspec.Struct, frozen=True, kw_only=True):
    """A kernel as its relay describes it.

    Attributes:
        id: The relay's name for it.
        name: Its kernelspec's.
        state: What it does: ``"idle"``, ``"busy"``, ``"dead"``, ….
        watchers: How many sockets watch it.
        first: The position of the first message that the relay still has.
        last: That of the last; less than ``first``: it has none.
        access: ``"full"``, or ``"watch"``: nothing can be said to it.
        lifecycle: Whether it can be restarted there.
        max_message: Bytes that can be said in one message; 0 in a listing.
    """

    id: str
    name: str
    state: str
    watchers: int
    first: int
    last: int
    access: str
    lifecycle: bool = True
    max_message: int = 0


class Client:
    """One relay, by HTTP.

    Args:
        address: Where it is.
        access: How one gets there.
        patience: Seconds for a connection to be made.
    """

    def __init__(self, address: Address, access: Access, *, patience: float) -> None:
        self.base = address.base
        self.path = address.path
        headers = {"User-Agent": "enchannel", **access.headers}
        if token := (access.token or address.token).reveal().strip():
            headers["Authorization"] = f"Bearer {token}"
        for name, value in headers.items():
            if not set(name) <= _PLAIN or not set(value) <= _PLAIN | {" ", "\t"}:
                what = "the token" if name == "Authorization" else f"the header {name!r}"
                raise ConnectionFailed(f"{what} has characters in it that no header may have")
        self.pending = "nothing yet"
        self.http = aiohttp.ClientSession(
            headers=headers,
            connector=aiohttp.TCPConnector(ssl=access.ssl or True, resolver=_Resolver()),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=patience),
            cookie_jar=aiohttp.DummyCookieJar(),
            proxy=_proxy_of(address.base),
        )

    def __str__(self) -> str:
        return self.base

    async def close(self) -> None:
        """Let go of its connections."""
        await self.http.close()

    async def kernels(self) -> tuple[KernelModel, ...]:
        """All that there are."""
        return self._read(await self._ask("GET", "/kernels"), "kernels", tuple[KernelModel, ...])

    async def kernel(self, kernel_id: str) -> KernelModel:
        """What it knows of a kernel.

        Raises:
            KernelDied: there is no such kernel.
        """
        return self._read(await self._ask("GET", f"/kernels/{kernel_id}"), None, KernelModel)

    async def kernelspecs(self) -> Mapping[str, Mapping[str, str]]:
        """What can be started, by name."""
        answer = await self._ask("GET", "/kernelspecs")
        specs = self._read(answer, "kernelspecs", list[dict[str, str]])
        return {spec["name"]: spec for spec in specs if "name" in spec}

    async def spawn(self, name: str, wanted: Mapping[str, Any]) -> str:
        """Start a kernel; its id.

        Raises:
            LaunchFailed: it does not start.
        """
        return self._read(await self._ask("POST", f"/spawn/{name}", wanted), "id", str)

    async def rule(self, kernel_id: str, how: str) -> int:
        """Interrupt or restart it; the position in its log at which that was done."""
        answer = await self._ask("POST", f"/kernels/{kernel_id}/{how}")
        return self._read(answer, "position", int)

    async def shut_down(self, kernel_id: str) -> None:
        """End a kernel.

        Raises:
            KernelDied: there is no such kernel.
        """
        await self._ask("POST", f"/shutdown/{kernel_id}")

    async def _ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> bytes:
        self.pending = f"{method} {path}"
        try:
            async with self.http.request(
                method, self.base + path, json=body, allow_redirects=False
            ) as answer:
                if answer.status < 300:
                    return await answer.read()
                raise self._refused(answer.status, await answer.read())
        except aiohttp.ClientConnectorCertificateError:
            raise ConnectionFailed(
                f"{self} has a certificate that is not trusted", remedy=Remedy.TRUST_CERTIFICATE
            ) from None
        except (aiohttp.ClientError, OSError) as error:
            why = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise ConnectionFailed(f"{self} is not to be reached: {why}") from None

    def _refused(self, status: int, body: bytes) -> EnchannelError:
        try:
            told = msgspec.json.decode(body, type=_Refusal)
        except (msgspec.MsgspecError, UnicodeError):
            return ConnectionFailed(f"{self} answers with {status}, and not as a relay")
        if status == 401:
            return AuthenticationFailed(
                f"{self} requires authentication", remedy=Remedy.AUTHENTICATE_AT_RELAY
            )
        if status == 403:
            return AuthenticationFailed(f"{self} does not let us: {told.error}")
        if status == 404:
            return KernelDied(f"{told.error} ({self})")
        if status == 501:
            return NotSupported(f"{self}: {told.error}")
        if told.kind == "LaunchFailed":
            return LaunchFailed(f"{self}: {told.error}")
        if told.kind == "KernelDied":
            return KernelDied(told.error)
        return ConnectionFailed(f"{self} answers with {status}: {told.error}")

    def _read(self, answer: bytes, field: str | None, kind: type[T]) -> T:
        try:
            if field is None:
                return msgspec.json.decode(answer, type=kind)
            fields = msgspec.json.decode(answer, type=dict[str, msgspec.Raw])
            return msgspec.json.decode(fields[field], type=kind)
        except (msgspec.MsgspecError, UnicodeError, KeyError):
            raise ConnectionFailed(f"{self} answers in a way that is not a relay's") from None


def _proxy_of(url: str) -> str | None:
    """What the environment says; aiohttp would ask it again for each request, on a thread."""
    parts = urlsplit(url)
    if not parts.hostname or proxy_bypass(parts.hostname):
        return None
    return getproxies().get(parts.scheme)


class _Resolver(aiohttp.ThreadedResolver):
    """Finds hosts; at the interpreter's end, when threads are no more, as it has found them before."""

    def __init__(self) -> None:
        super().__init__()
        self._found: dict[tuple[str, int], list[ResolveResult]] = {}

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        try:
            found = await super().resolve(host, port, family)
        except RuntimeError:
            return self._found[host, port]
        self._found[host, port] = found
        return found


class _Refusal(msgspec.Struct):
    error: str
    kind: str = ""
