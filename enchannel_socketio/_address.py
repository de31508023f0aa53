"""From what a user types to a relay, and a kernel on it."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote, unquote

from enchannel import Secret
from enchannel.backends import parse_server_url
from enchannel.errors import ConnectionFailed, Remedy

__all__ = ["Address", "kernel_address", "relay_address"]

_SECURE = {
    "socketio+http": False,
    "socketio+https": True,
    "http": False,
    "https": True,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """A place on a relay.

    Attributes:
        base: The relay's URL, without a slash at its end.
        kernel_id: The kernel's id there, if one is meant.
        token: What was in the query.
    """

    base: str
    kernel_id: str = ""
    token: Secret = Secret("")

    @property
    def path(self) -> str:
        """Where the relay is mounted, without slashes around it."""
        return "/".join(self.base.split("/")[3:])


def relay_address(url: object, *, allow_http: bool) -> Address:
    """The URL of a relay, taken apart.

    Raises:
        ConnectionFailed: it is none, or would send secrets in the clear.
    """
    server = parse_server_url(url, _SECURE, allow_http=allow_http)
    return Address(base=server.origin + server.path.rstrip("/"), token=server.token)


def kernel_address(url: object, *, allow_http: bool) -> Address:
    """The URL of a kernel, taken apart: the relay's, and the kernel's id behind it.

    Raises:
        ConnectionFailed: it is none, or would send secrets in the clear.
    """
    address = relay_address(url, allow_http=allow_http)
    base, _, kernel_id = address.base.rpartition("/")
    if base.count("/") < 2 or not kernel_id:
        raise ConnectionFailed(
            f"{address.base} is the URL of a relay, not of a kernel as {address.base}/ID is",
            remedy=Remedy.LAUNCH,
        )
    return Address(base=base, kernel_id=quote(unquote(kernel_id), safe=""), token=address.token)
