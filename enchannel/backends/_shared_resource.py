"""A resource of the process that several links share, usually a thread, with reference counting.

Ctrl-C may be raised between any two steps of acquiring the resource, so a reference is an object, a
``Lease``: one that is lost before its owner could store it is collected, which releases it.
"""

from __future__ import annotations

import threading
import weakref
from collections import deque
from collections.abc import Callable
from itertools import count
from typing import Any, Generic, Protocol, TypeVar

from enchannel._rx.process_hooks import call_in_forked_child

__all__ = ["Lease", "SharedResource", "Startable", "leases_in_process"]


class Startable(Protocol):
    """A resource that can be shared. Creating it must not start anything yet."""

    def start(self) -> None:
        """Start it; a no-op if it is running."""
        ...

    def stop(self, wait: bool) -> None:
        """Accept no more work, and stop when pending work is done. May be called from any thread.

        Args:
            wait: Return only when it has stopped.
        """
        ...


T = TypeVar("T", bound=Startable)


class SharedResource(Generic[T]):
    """Creates and starts a resource for the first lease, and stops it after the last.

    Thread-safe. A forked child creates its own resource and never touches that of its parent.

    Args:
        make: Creates the resource; called again when it is needed after it was stopped.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._numbers = count()
        self._lock = threading.Lock()
        self._resource: T | None = None
        self._leased: set[int] = set()
        # Numbers of leases that were collected, or released without waiting.
        self._dropped: deque[int] = deque()
        _all.add(self)

    def lease(self) -> Lease[T]:
        """Return a reference to the running resource; it ends when it is released or collected."""
        try:
            with self._lock:
                if self._resource is None:
                    self._resource = self._make()
                lease = Lease(self, next(self._numbers), self._resource)
                self._leased.add(lease.number)
                self._resource.start()
                return lease
        finally:
            self._release_dropped()

    @property
    def current(self) -> T | None:
        """The running resource; None while there is no lease."""
        return self._resource

    @property
    def leased(self) -> frozenset[int]:
        """Numbers of the leases that have not been released."""
        return frozenset(self._leased)

    def __repr__(self) -> str:
        return f"<SharedResource {self._make.__qualname__}>"

    def _release(self, number: int) -> None:
        with self._lock:
            unused = self._remove(number)
        if unused is not None:
            unused.stop(wait=True)
        self._release_dropped()

    def _drop(self, number: int) -> None:
        """Release a lease that may have been collected while this very thread acquires the lock."""
        self._dropped.append(number)
        self._release_dropped()

    def _release_dropped(self) -> None:
        # Never blocks: a thread that holds the lock calls this after it has released it.
        while self._dropped and self._lock.acquire(blocking=False):
            try:
                unused = self._remove(self._dropped.popleft()) if self._dropped else None
            finally:
                self._lock.release()
            if unused is not None:
                unused.stop(wait=False)

    def _remove(self, number: int) -> T | None:
        """Remove a lease; return the resource if that was the last. The lock must be held."""
        if number not in self._leased:
            return None
        self._leased.discard(number)
        if self._leased:
            return None
        resource, self._resource = self._resource, None
        return resource

    def _reset_after_fork(self) -> None:
        """Forget the resource of the parent, whose thread does not exist in a forked child."""
        _of_parents.append(self._resource)
        self._lock, self._resource, self._leased = threading.Lock(), None, set()
        self._dropped.clear()


class Lease(Generic[T]):
    """A reference to a shared resource.

    Attributes:
        resource: The resource, which runs until the last lease of it is released.
        number: Unique among the leases of that ``SharedResource``.
    """

    __slots__ = ("_shared", "number", "resource")

    def __init__(self, shared: SharedResource[T], number: int, resource: T) -> None:
        self._shared = shared
        self.number: int = number
        self.resource: T = resource

    def release(self, *, wait: bool = True) -> None:
        """Give up the reference; idempotent.

        Args:
            wait: If this was the last lease, wait until the resource has stopped.
        """
        if wait:
            self._shared._release(self.number)
        else:
            self._shared._drop(self.number)

    def __del__(self) -> None:
        self.release(wait=False)


_all: weakref.WeakSet[SharedResource[Any]] = weakref.WeakSet()
# Never freed in a child: their finalizers would close resources of the parent.
_of_parents: list[Any] = []


def leases_in_process() -> set[tuple[str, int]]:
    """Return all leases that have not been released: the resource's name and the lease's number."""
    return {(str(shared), number) for shared in list(_all) for number in shared.leased}


def _reset_all_after_fork() -> None:
    for shared in list(_all):
        shared._reset_after_fork()


call_in_forked_child(_reset_all_after_fork)
