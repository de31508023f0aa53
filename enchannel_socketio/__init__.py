"""Jupyter kernels behind a relay, over Socket.IO: a backend of enchannel, and the relay.

``enchannel.connect`` and ``enchannel.launch`` find it by themselves, by ``socketio+http`` and
``socketio+https``. The relay is in ``enchannel_socketio.relay``.
"""

from enchannel_socketio._backend import SocketioBackend
from enchannel_socketio._client import KernelModel
from enchannel_socketio._four import (
    connect,
    disconnect,
    list_kernels,
    list_kernelspecs,
    shutdown,
    spawn,
)

__all__ = [
    "KernelModel",
    "SocketioBackend",
    "backend",
    "connect",
    "disconnect",
    "list_kernels",
    "list_kernelspecs",
    "shutdown",
    "spawn",
]

backend: SocketioBackend = SocketioBackend()
"""What the entry points name."""
