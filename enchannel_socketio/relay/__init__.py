"""The relay: serves Jupyter kernels to browsers and programs, over HTTP and Socket.IO.

``enchannel relay`` runs one; in a program, ``RelayServer(Relay())``, or a ``Relay`` mounted in an
application.
"""

from enchannel_socketio.relay._log import Bounds
from enchannel_socketio.relay._relay import InvalidRelayOption, Limits, Relay
from enchannel_socketio.relay._server import RelayServer
from enchannel_socketio.relay._store import MemoryStore, Store, store_of

__all__ = [
    "Bounds",
    "InvalidRelayOption",
    "Limits",
    "MemoryStore",
    "Relay",
    "RelayServer",
    "Store",
    "store_of",
]
