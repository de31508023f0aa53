"""Parsing the URL of a relay, or of a kernel on it."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote, unquote

from enchannel import Secret
from enchannel.backends import parse_server_url
from enchannel.errors import ConnectionFailed, Remedy

__all__ = ["RelayAddress", "parse_kernel_url", "parse_relay_url"]

_IS_ENCRYPTED = {
    "socketio+http": False,
    "socketio+https": True,
    "http": False,
    "https": True,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayAddress:
    """A relay, and possibly a kernel on it.

    Attributes:
        base: The relay's URL, without a slash at its end.
        kernel_id: The kernel's id; empty for the relay itself.
        token: The token in the URL.
    """

    base: str
    kernel_id: str = ""
    token: Secret = Secret("")

    @property
    def path(self) -> str:
        """Path below which the relay is mounted, without slashes around it."""
        return "/".join(self.base.split("/")[3:])


def parse_relay_url(url: object, *, allow_http: bool) -> RelayAddress:
    """Parse the URL of a relay.

    Raises:
        ValueError, TypeError: The URL is invalid.
        ConnectionFailed: The URL would send secrets in the clear.
    """
    if url is None:
        raise TypeError(
            "at must be the URL of a relay, such as socketio+http://localhost:8889, not None"
        )
    server = parse_server_url(url, _IS_ENCRYPTED, allow_http=allow_http)
    return RelayAddress(base=server.origin + server.path.rstrip("/"), token=server.token)


def parse_kernel_url(url: object, *, allow_http: bool) -> RelayAddress:
    """Parse the URL of a kernel: the relay's URL and the kernel's id.

    Raises:
        ValueError, TypeError: The URL is invalid.
        ConnectionFailed: The URL would send secrets in the clear.
    """
    address = parse_relay_url(url, allow_http=allow_http)
    base, _, kernel_id = address.base.rpartition("/")
    if base.count("/") < 2 or not kernel_id:
        raise ConnectionFailed(
            f"target must be the URL of a kernel, {address.base}/ID, not that of a relay, {address.base}",
            remedy=Remedy.LAUNCH,
        )
    return RelayAddress(
        base=base, kernel_id=quote(unquote(kernel_id), safe=""), token=address.token
    )
