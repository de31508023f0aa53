"""A relay's HTTP API: kernels and kernelspecs. Runs on the event loop.

Exceptions of aiohttp are translated here.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import quote

import aiohttp
import msgspec
from aiohttp.abc import ResolveResult

from enchannel import KernelModel, KernelspecModel
from enchannel.backends import (
    InvalidResponseBody,
    ServerOptions,
    choose_proxy,
    find_kernel,
    read_body,
)
from enchannel.errors import (
    AuthenticationFailed,
    ConnectionFailed,
    EnchannelError,
    KernelDied,
    LaunchFailed,
    NotSupported,
    Remedy,
)
from enchannel.wire.nesting import is_too_deep
from enchannel_socketio._address import RelayAddress

__all__ = ["KernelRecord", "RelayClient", "RelayKernelModel"]

# Characters of a kernel's id, which is a UUID.
ID_LENGTH = 36

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayKernelModel(KernelModel):
    """A running kernel, as its relay describes it.

    Attributes:
        first: Position of the first event in the relay's log.
        last: Position of the last event in the log; less than ``first`` if the log is empty.
        access: ``"full"``, or ``"watch"`` if the token does not allow sending.
        has_lifecycle: True if it can be interrupted, restarted and shut down.
    """

    first: int
    last: int
    access: str
    has_lifecycle: bool


class KernelRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A kernel in an answer of a relay.

    Attributes:
        id, name, state, first, last, access: See ``RelayKernelModel``.
        watchers: Number of sockets that receive its messages.
        lifecycle: See ``RelayKernelModel.has_lifecycle``.
        max_message: Largest message, in bytes, that the relay accepts; 0 in a listing.
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

    def to_model(self, base: str) -> RelayKernelModel:
        """Return the public description.

        Args:
            base: The relay's URL.
        """
        return RelayKernelModel(
            id=self.id,
            name=self.name,
            state=self.state,
            connections=self.watchers,
            target=f"socketio+{base}/{quote(self.id, safe='')}",
            first=self.first,
            last=self.last,
            access=self.access,
            has_lifecycle=self.lifecycle,
        )


class RelayClient:
    """A client of one relay.

    Args:
        address: The relay's address.
        options: Credentials and other options.
        connect_timeout: Seconds until a TCP connection has to be established.

    Attributes:
        base: The relay's URL.
        path: Path below which the relay is mounted, without slashes around it.
        proxy: The proxy of all connections; None for none.
        pending: The current or latest request, for error messages.
        http: The HTTP session, which Socket.IO uses as well.
    """

    def __init__(
        self, address: RelayAddress, options: ServerOptions, *, connect_timeout: float
    ) -> None:
        self.base = address.base
        self.path = address.path
        self.proxy = choose_proxy(address.base)
        if self.proxy is not None and not self.proxy.url.startswith("http"):
            raise ConnectionFailed(
                f"the proxy {self.proxy} cannot be used for {self.base}, because relays are connected to "
                "through HTTP proxies only; bypass it with NO_PROXY"
            )
        self.pending = "a connection"
        self.http = aiohttp.ClientSession(
            # Uncompressed: a compressed answer may be a bomb.
            headers={"Accept-Encoding": "identity"}
            | options.with_default_token(address.token).request_headers("Bearer"),
            auto_decompress=False,
            connector=aiohttp.TCPConnector(ssl=options.ssl or True, resolver=_Resolver()),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=connect_timeout),
            cookie_jar=aiohttp.DummyCookieJar(),
            proxy=None if self.proxy is None else self.proxy.url,
        )

    def __str__(self) -> str:
        return self.base

    async def close(self) -> None:
        """Close all connections."""
        await self.http.close()

    async def kernels(self) -> tuple[RelayKernelModel, ...]:
        """Return all kernels."""
        answer = await self._request("GET", "/kernels")
        records = self._decoded(answer, "kernels", tuple[KernelRecord, ...])
        return tuple(record.to_model(self.base) for record in records)

    async def find_kernel(self, beginning: str) -> str:
        """Return the id, quoted for a URL, of the kernel whose id has an unambiguous beginning.

        A complete id is not looked up.

        Raises:
            ConnectionFailed: No kernel or several kernels match.
        """
        if len(beginning) >= ID_LENGTH:
            return quote(beginning, safe="")
        return quote(find_kernel(await self.kernels(), beginning, str(self)).id, safe="")

    async def kernel(self, kernel_id: str) -> KernelRecord:
        """Return one kernel.

        Raises:
            KernelDied: It does not exist.
        """
        return self._decoded(
            await self._request("GET", f"/kernels/{kernel_id}"), None, KernelRecord
        )

    async def kernelspecs(self) -> tuple[KernelspecModel, ...]:
        """Return the kernelspecs by name."""
        answer = await self._request("GET", "/kernelspecs")
        records = self._decoded(answer, "kernelspecs", list[_KernelspecRecord])
        specs = [
            KernelspecModel(
                name=record.name, display_name=record.display_name, language=record.language
            )
            for record in records
        ]
        return tuple(sorted(specs, key=lambda spec: spec.name))

    async def spawn(self, name: str, settings: Mapping[str, Any]) -> str:
        """Start a kernel and return its id.

        Args:
            name: Name of the kernelspec, quoted for a URL.
            settings: ``cwd`` and ``env``, each optional.

        Raises:
            LaunchFailed: It did not start.
        """
        return self._decoded(await self._request("POST", f"/spawn/{name}", settings), "id", str)

    async def interrupt(self, kernel_id: str) -> int:
        """Interrupt a kernel; return the position in its log at which that was done."""
        answer = await self._request("POST", f"/kernels/{kernel_id}/interrupt")
        return self._decoded(answer, "position", int)

    async def restart(self, kernel_id: str) -> int:
        """Restart a kernel; return the position in its log at which that was done."""
        answer = await self._request("POST", f"/kernels/{kernel_id}/restart")
        return self._decoded(answer, "position", int)

    async def shut_down(self, kernel_id: str) -> None:
        """Shut down a kernel.

        Raises:
            KernelDied: It does not exist.
        """
        await self._request("POST", f"/shutdown/{kernel_id}")

    async def _request(
        self, method: str, path: str, body: Mapping[str, Any] | None = None
    ) -> bytes:
        self.pending = f"{method} {path}"
        try:
            async with self.http.request(
                method, self.base + path, json=body, allow_redirects=False
            ) as answer:
                text = await read_body(
                    answer.content.iter_any(), answer.headers.get("Content-Encoding", "")
                )
                if is_too_deep(text):
                    raise InvalidResponseBody("sent JSON that is nested too deeply")
                if answer.status < 300:
                    return text
                raise self._error_of(answer.status, text)
        except InvalidResponseBody as invalid:
            raise ConnectionFailed(
                f"{self} {invalid}; check that the URL is that of a relay"
            ) from None
        except EnchannelError:  # a ConnectionFailed is an OSError
            raise
        except aiohttp.ClientConnectorCertificateError:
            raise ConnectionFailed(
                f"{self} has a certificate that is not trusted", remedy=Remedy.TRUST_CERTIFICATE
            ) from None
        except (aiohttp.ClientError, OSError) as error:
            why = getattr(error, "strerror", None) or str(error) or type(error).__name__
            if self.proxy is not None:
                raise ConnectionFailed(
                    f"could not connect to {self} through the proxy {self.proxy}: {why}; check the proxy, "
                    "or bypass it with NO_PROXY"
                ) from None
            raise ConnectionFailed(
                f"could not connect to {self} ({why}); check that the relay is running and that the URL is "
                "correct"
            ) from None

    def _error_of(self, status: int, body: bytes) -> EnchannelError:
        try:
            answer = msgspec.json.decode(body, type=_ErrorAnswer)
        except (msgspec.MsgspecError, UnicodeError):
            return ConnectionFailed(
                f"{self} sent an invalid response (HTTP {status}); check that the URL is that of a relay"
            )
        if status == 401:
            return AuthenticationFailed(
                f"{self} requires authentication", remedy=Remedy.AUTHENTICATE_AT_RELAY
            )
        if status == 403:
            return AuthenticationFailed(f"{self} denied access: {answer.error}")
        if status == 404:
            return KernelDied(f"{answer.error} ({self})")
        if status == 501:
            return NotSupported(f"{self}: {answer.error}")
        if answer.kind in ("LaunchFailed", "MissingDependency"):  # on the machine of the relay
            return LaunchFailed(f"{self}: {answer.error}")
        if answer.kind == "KernelDied":
            return KernelDied(answer.error)
        return ConnectionFailed(f"{self} answered {status}: {answer.error}")

    def _decoded(self, answer: bytes, field: str | None, kind: type[T]) -> T:
        try:
            if field is None:
                return msgspec.json.decode(answer, type=kind)
            fields = msgspec.json.decode(answer, type=dict[str, msgspec.Raw])
            return msgspec.json.decode(fields[field], type=kind)
        except (msgspec.MsgspecError, UnicodeError, KeyError):
            raise ConnectionFailed(
                f"{self} sent an invalid response; check that the URL is that of a relay"
            ) from None


class _Resolver(aiohttp.ThreadedResolver):
    """Resolves host names; from its memory during interpreter exit, when no thread can be started."""

    def __init__(self) -> None:
        super().__init__()
        self._resolved: dict[tuple[str, int], list[ResolveResult]] = {}

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        try:
            results = await super().resolve(host, port, family)
        except RuntimeError:
            return self._resolved[host, port]
        self._resolved[host, port] = results
        return results


class _KernelspecRecord(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    display_name: str = ""
    language: str = ""


class _ErrorAnswer(msgspec.Struct):
    error: str
    kind: str = ""
