"""Is anybody there? A look at a kernel's socket, without a word."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

import enchannel as ec

__all__ = ["answers"]

PATIENCE = 0.3  # seconds
SIGNATURE = 10  # bytes, with which every ZeroMQ socket greets whoever connects: ff … 7f


def answers(info: ec.ConnectionInfo) -> bool:
    """Whether a ZeroMQ socket greets us where the kernel's heartbeat should be.

    That a port is open does not say it: after a kernel has died another program may get its ports.
    """
    try:
        with _connected(info.url(ec.ChannelName.HEARTBEAT)) as connection:
            greeting = _received(connection)
    except (OSError, ValueError):
        return False
    return greeting[:1] == b"\xff" and greeting[-1:] == b"\x7f"


def _connected(url: str) -> socket.socket:
    if url.startswith("ipc://"):
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(PATIENCE)
        try:
            connection.connect(url.removeprefix("ipc://"))
        except BaseException:
            connection.close()
            raise
        return connection
    address = urlsplit(url)
    connection = socket.create_connection((address.hostname, address.port), PATIENCE)
    return connection


def _received(connection: socket.socket) -> bytes:
    greeting = b""
    while len(greeting) < SIGNATURE:
        piece = connection.recv(SIGNATURE - len(greeting))
        if not piece:
            break
        greeting += piece
    return greeting
