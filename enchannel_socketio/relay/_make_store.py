"""Makes the store that a location names. The packages of a store are imported only when it is made."""

from __future__ import annotations

import re
from pathlib import Path

from enchannel.errors import MissingDependency, NotSupported
from enchannel_socketio.relay._log import Bounds
from enchannel_socketio.relay._store import DEFAULT_BOUNDS, MemoryStore, Store

__all__ = ["make_store"]


def make_store(location: str | None, bounds: Bounds = DEFAULT_BOUNDS) -> Store:
    """Return the store at a location.

    Args:
        location: A directory; ``redis://…`` or ``rediss://…``; None: in memory.
        bounds: The maximum size of each kernel's log.

    Raises:
        MissingDependency: The package that the location needs is not installed.
        NotSupported: The location is invalid.
    """
    if location is None:
        return MemoryStore(bounds)
    if re.match(r"rediss?://", location):
        try:
            from enchannel_socketio.relay._redis_store import RedisStore
        except ImportError as error:
            raise MissingDependency(
                f'a Redis store requires {error.name}; pip install "enchannel[redis]"'
            ) from error
        return RedisStore(location, bounds)
    if not location or "://" in location:
        # Only the scheme is shown: the rest may contain a password.
        shown = f"{location.partition('://')[0]}://…" if location else "''"
        raise NotSupported(
            f"a store must be a directory or a redis:// or rediss:// URL, not {shown}"
        )
    from enchannel_socketio.relay._disk_store import DiskStore

    return DiskStore(Path(location), bounds)
