"""A check for a running kernel that sends no message."""

from __future__ import annotations

import socket
import sys
from urllib.parse import urlsplit

from enchannel import ChannelName, ConnectionInfo

__all__ = ["is_alive"]

PROBE_TIMEOUT = 0.3
# Bytes by which a ZeroMQ socket greets every client: ff … 7f.
SIGNATURE_LENGTH = 10


def is_alive(info: ConnectionInfo, timeout: float = PROBE_TIMEOUT) -> bool:
    """Return True if a ZeroMQ socket answers at the address of the kernel's heartbeat.

    An open port is not enough: another program may have taken it after the kernel died.
    """
    try:
        with _connect(info.url(ChannelName.HEARTBEAT), timeout) as connection:
            greeting = _receive_greeting(connection)
    except (OSError, ValueError):
        return False
    return greeting[:1] == b"\xff" and greeting[-1:] == b"\x7f"


def _connect(url: str, timeout: float) -> socket.socket:
    if not url.startswith("ipc://"):
        address = urlsplit(url)
        return socket.create_connection((address.hostname, address.port), timeout)
    if sys.platform == "win32":
        raise OSError("ipc:// is not supported on Windows")
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(timeout)
    try:
        connection.connect(url.removeprefix("ipc://"))
    except BaseException:
        connection.close()
        raise
    return connection


def _receive_greeting(connection: socket.socket) -> bytes:
    greeting = b""
    while len(greeting) < SIGNATURE_LENGTH:
        piece = connection.recv(SIGNATURE_LENGTH - len(greeting))
        if not piece:
            break
        greeting += piece
    return greeting
