"""Jupyter kernels behind a relay, over Socket.IO: a backend of enchannel, and the relay.

``enchannel.connect``, ``launch``, ``list_kernels`` and ``list_kernelspecs`` choose it for URLs with the
schemes ``socketio+http`` and ``socketio+https``. The relay is in ``enchannel_socketio.relay``.
"""

from enchannel.errors import MissingDependency

try:
    from enchannel_socketio._backend import SocketioBackend
    from enchannel_socketio._client import RelayKernelModel
    from enchannel_socketio._options import SocketioKeywords
    from enchannel_socketio.relay_api import (
        ConnectKeywords,
        connect,
        disconnect,
        list_kernels,
        list_kernelspecs,
        shutdown,
        spawn,
    )
except ImportError as _error:
    raise MissingDependency(
        f"kernels behind a relay require {_error.name}; "
        'pip install "enchannel[socketio]", or "enchannel[relay]" to run a relay'
    ) from _error

__all__ = [
    "ConnectKeywords",
    "RelayKernelModel",
    "SocketioBackend",
    "SocketioKeywords",
    "backend",
    "connect",
    "disconnect",
    "list_kernels",
    "list_kernelspecs",
    "shutdown",
    "spawn",
]

backend: SocketioBackend = SocketioBackend()
"""The object that the entry points name."""
