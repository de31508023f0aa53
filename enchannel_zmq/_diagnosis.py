"""Likely causes of a connection attempt that timed out, and their error texts."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from enum import Enum, auto
from ipaddress import ip_address
from types import MappingProxyType
from typing import Final

from enchannel import ChannelName, ConnectionInfo
from enchannel.errors import ConnectionFailed

__all__ = ["EXPLANATIONS", "ConnectDiagnostics", "Diagnosis", "SocketFailure", "is_address"]


class SocketFailure(Enum):
    """The failure of one socket's last connection attempt."""

    NO_CONNECTION = auto()
    """The address refused the connection or did not respond."""
    NO_HANDSHAKE = auto()
    """The address accepted a connection, and the ZeroMQ handshake did not succeed."""


class Diagnosis(Enum):
    """The likely cause, derived from the failures of all sockets."""

    NO_IOPUB_MESSAGE = auto()
    NO_HANDSHAKE_UNENCRYPTED = auto()
    NO_HANDSHAKE_ENCRYPTED = auto()
    NO_IPC_SOCKET = auto()
    NO_CONNECTION = auto()
    NO_CONNECTION_TO_HOST = auto()


EXPLANATIONS: Final[Mapping[Diagnosis, tuple[str, str]]] = MappingProxyType(
    {
        Diagnosis.NO_IOPUB_MESSAGE: (
            "all sockets connected, but no message arrived on iopub",
            "check that the key is correct, and that the kernel is not busy with code during which it "
            "answers no requests",
        ),
        Diagnosis.NO_HANDSHAKE_UNENCRYPTED: (
            "the ZeroMQ handshake did not succeed",
            "check that these are the ports of a kernel, and add its CURVE keys to the connection info if "
            "it requires CURVE encryption",
        ),
        Diagnosis.NO_HANDSHAKE_ENCRYPTED: (
            "the ZeroMQ handshake did not succeed",
            "check that these are the ports of a kernel that uses CURVE encryption, with the keys of the "
            "connection info",
        ),
        Diagnosis.NO_IPC_SOCKET: (
            "the socket does not exist or refuses connections",
            "check that the kernel is running",
        ),
        Diagnosis.NO_CONNECTION: (
            "connection refused or no response",
            "check that the kernel is running and that its ports are correct",
        ),
        Diagnosis.NO_CONNECTION_TO_HOST: (
            "connection refused or no response",
            "check that the host {host} exists, that the kernel is running, and that its ports are correct",
        ),
    }
)
"""Cause and remedy of each diagnosis."""


class ConnectDiagnostics:
    """Records how the sockets' connection attempts fail; use it on the I/O thread only.

    ``explain`` may be called from any thread.

    Args:
        info: The addresses.
        kernel_id: Names the kernel.
    """

    def __init__(self, info: ConnectionInfo, kernel_id: str) -> None:
        self._info = info
        self._kernel_id = kernel_id
        self._failures: dict[ChannelName, SocketFailure] = {}

    def reset(self) -> None:
        """Forget all failures."""
        self._failures.clear()

    def on_connected(self, name: ChannelName) -> None:
        """Note that the address accepted a connection, until the handshake succeeds."""
        self._failures[name] = SocketFailure.NO_HANDSHAKE

    def on_closed(self, name: ChannelName) -> None:
        """Note that the connection attempt ended, unless one was accepted before."""
        self._failures.setdefault(name, SocketFailure.NO_CONNECTION)

    def is_refused(self, name: ChannelName) -> bool:
        """Return True if the address did not accept a connection."""
        return self._failures.get(name) is SocketFailure.NO_CONNECTION

    def on_handshake(self, name: ChannelName) -> None:
        """Note that the socket is connected."""
        self._failures.pop(name, None)

    def diagnose(self, disconnected: Collection[ChannelName]) -> Diagnosis:
        """Return the likely cause.

        Args:
            disconnected: The channels whose sockets are not connected.
        """
        info, failures = self._info, dict(self._failures)
        if not (disconnected or failures):
            return Diagnosis.NO_IOPUB_MESSAGE
        if SocketFailure.NO_HANDSHAKE in failures.values():
            if info.curve_publickey:
                return Diagnosis.NO_HANDSHAKE_ENCRYPTED
            return Diagnosis.NO_HANDSHAKE_UNENCRYPTED
        if info.transport == "ipc":
            return Diagnosis.NO_IPC_SOCKET
        return Diagnosis.NO_CONNECTION if is_address(info.ip) else Diagnosis.NO_CONNECTION_TO_HOST

    def explain(self, timeout: float, disconnected: Collection[ChannelName]) -> ConnectionFailed:
        """Return the error of a connection attempt that timed out.

        Args:
            timeout: Seconds that the attempt took.
            disconnected: The channels whose sockets are not connected.
        """
        info, failures = self._info, dict(self._failures)
        cause, remedy = EXPLANATIONS[self.diagnose(disconnected)]
        names = [name for name in ChannelName if name in failures or name in disconnected]
        where = ", ".join(f"{name} ({info.url(name)})" for name in names or [ChannelName.IOPUB])
        return ConnectionFailed(
            f"connecting to kernel {self._kernel_id} failed: no answer within {timeout:g} s on {where}: "
            f"{cause}; {remedy.format(host=info.ip)}"
        )


def is_address(ip: str) -> bool:
    """Return True if using the address needs no name resolution."""
    try:
        ip_address(ip)
    except ValueError:
        return ip in ("localhost", "*")
    return True
