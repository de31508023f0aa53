"""A relay: serves Jupyter kernels to browsers and programs, over HTTP and Socket.IO.

Run one with ``enchannel relay``; in a program, run ``RelayServer(Relay())``, or mount a ``Relay`` in an
ASGI application.
"""

from enchannel.errors import MissingDependency

try:
    from enchannel_socketio.relay._log import Bounds
    from enchannel_socketio.relay._make_store import make_store
    from enchannel_socketio.relay._relay import InvalidRelayOption, Limits, Relay
    from enchannel_socketio.relay._server import RelayServer
    from enchannel_socketio.relay._store import MemoryStore, Store
except ImportError as _error:
    raise MissingDependency(
        f'running a relay requires {_error.name}; pip install "enchannel[relay]"'
    ) from _error

__all__ = [
    "Bounds",
    "InvalidRelayOption",
    "Limits",
    "MemoryStore",
    "Relay",
    "RelayServer",
    "Store",
    "make_store",
]
