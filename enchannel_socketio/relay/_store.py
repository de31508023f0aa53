"""Where the logs of a relay's kernels are kept."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from enchannel.errors import NotSupported
from enchannel_socketio.relay._kernels import Kernel, LocalKernel
from enchannel_socketio.relay._log import Bounds, Log, MemoryLog

__all__ = ["MemoryStore", "Store", "store_of"]

DEFAULT = Bounds()


class Store(ABC):
    """Makes the logs of kernels, and knows those that are served elsewhere. Runs on the relay's loop."""

    def obey(self, shut_down: Callable[[str], Awaitable[None]]) -> None:
        """How a kernel of this relay is ended, where another relay is asked to."""
        self._shut_down = shut_down

    @abstractmethod
    async def open(self) -> None:
        """Begin.

        Raises:
            ConnectionFailed: that is not possible.
        """

    @abstractmethod
    async def close(self) -> None:
        """End; what is kept for longer stays."""

    @abstractmethod
    async def log(self, kernel_id: str) -> Log:
        """The log of a new kernel."""

    @abstractmethod
    async def serve(self, kernel: LocalKernel) -> None:
        """Let others know of a kernel of this relay."""

    @abstractmethod
    async def forget(self, kernel_id: str) -> None:
        """A kernel was shut down: its log is no longer wanted."""

    @abstractmethod
    async def others(self) -> Mapping[str, Kernel]:
        """The kernels that are not this relay's own, or no longer, by id."""


class MemoryStore(Store):
    """In the memory of this process, which ends with it.

    Args:
        bounds: How much of each kernel.
    """

    def __init__(self, bounds: Bounds = DEFAULT) -> None:
        self._bounds = bounds

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def log(self, kernel_id: str) -> Log:
        return MemoryLog(self._bounds)

    async def serve(self, kernel: LocalKernel) -> None: ...

    async def forget(self, kernel_id: str) -> None: ...

    async def others(self) -> Mapping[str, Kernel]:
        return {}


def store_of(where: str | None, bounds: Bounds = DEFAULT) -> Store:
    """The store of a name.

    Args:
        where: A directory; ``redis://…`` or ``rediss://…``; None: in memory.
        bounds: How much it keeps of each kernel.

    Raises:
        NotSupported: it is none, or what it takes is not installed.
    """
    if where is None:
        return MemoryStore(bounds)
    if re.match(r"rediss?://", where):
        try:
            from enchannel_socketio.relay._redis_store import RedisStore
        except ImportError as error:
            raise NotSupported(
                f'{error}; several relays on one Redis take pip install "enchannel[redis]"'
            ) from error
        return RedisStore(where, bounds)
    if not where or "://" in where:
        # Not what comes after it: that may be a password.
        what = f"{where.partition('://')[0]}://…" if where else "''"
        raise NotSupported(f"{what} is no store: a directory is, and redis:// or rediss://")
    from enchannel_socketio.relay._disk_store import DiskStore

    return DiskStore(Path(where), bounds)
