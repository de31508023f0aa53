"""Stores of kernel logs: the interface, and the store in memory."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping

from enchannel_socketio.relay._kernels import LocalKernel, ServedKernel
from enchannel_socketio.relay._log import Bounds, Log, MemoryLog

__all__ = ["MemoryStore", "Store"]

DEFAULT_BOUNDS = Bounds()


class Store(ABC):
    """Creates the logs of kernels, and lists the kernels of other relays. Runs on the relay's loop.

    ``make_store`` and ``MemoryStore`` make one, to pass to a ``Relay``. Its methods are not public.
    """

    def set_shutdown_handler(self, shut_down: Callable[[str], Awaitable[None]]) -> None:
        """Set the function that shuts down a kernel of this relay at the request of another relay."""
        self._shut_down = shut_down

    @abstractmethod
    async def open(self) -> None:
        """Open the store.

        Raises:
            ConnectionFailed: The store cannot be opened.
        """

    @abstractmethod
    async def close(self) -> None:
        """Close the store; persistent logs stay."""

    @abstractmethod
    async def create_log(self, kernel_id: str) -> Log:
        """Create the log of a new kernel."""

    @abstractmethod
    async def register(self, kernel: LocalKernel) -> None:
        """Announce a kernel of this relay to other relays."""

    @abstractmethod
    async def forget(self, kernel_id: str) -> None:
        """Delete the log of a kernel that was shut down."""

    @abstractmethod
    async def other_kernels(self) -> Mapping[str, ServedKernel]:
        """Return the kernels of other and of earlier relays, by id."""


class MemoryStore(Store):
    """Logs in the memory of this process.

    Args:
        bounds: The maximum size of each log.
    """

    def __init__(self, bounds: Bounds = DEFAULT_BOUNDS) -> None:
        self._bounds = bounds

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def create_log(self, kernel_id: str) -> Log:
        return MemoryLog(self._bounds)

    async def register(self, kernel: LocalKernel) -> None: ...

    async def forget(self, kernel_id: str) -> None: ...

    async def other_kernels(self) -> Mapping[str, ServedKernel]:
        return {}
