"""One resource of the process that several links use: a thread, mostly. It begins with the first, and ends
with the last.

A Ctrl-C may come between any two steps of who takes part in it, so what is held is an object: where nobody
got it, nobody keeps it, and that is as good as giving it back.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections import deque
from collections.abc import Callable
from itertools import count
from typing import Any, Generic, Protocol, TypeVar

__all__ = ["Lease", "SharedResource", "Startable"]


class Startable(Protocol):
    """What can be shared. It is made without anything running yet."""

    def start(self) -> None:
        """Begin, if it has not yet."""
        ...

    def end(self, wait: bool) -> None:
        """Begin no more, and let what runs come to its end; wait for that, or not. From any thread."""
        ...


T = TypeVar("T", bound=Startable)


class SharedResource(Generic[T]):
    """Makes the resource when it is wanted, and ends it when nobody wants it any more. A forked child has
    its own.

    Args:
        make: Makes one.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._numbers = count()
        self._lock = threading.Lock()
        self._thing: T | None = None
        self._held: set[int] = set()
        self._dropped: deque[int] = deque()  # of leases that were collected
        _all.add(self)

    def lease(self) -> Lease[T]:
        """Take part in it, until the lease is released, or collected."""
        try:
            with self._lock:
                if self._thing is None:
                    self._thing = self._make()
                lease = Lease(self, next(self._numbers), self._thing)
                self._held.add(lease.number)
                self._thing.start()
                return lease
        finally:
            self._settle()

    def __repr__(self) -> str:
        return f"<Shared {self._make.__qualname__}>"

    def _release(self, number: int) -> None:
        with self._lock:
            last = self._let_go(number)
        if last is not None:
            last.end(wait=True)
        self._settle()

    def _drop(self, number: int) -> None:
        """A lease was collected: on any thread, also on one that is about to give us the lock."""
        self._dropped.append(number)
        self._settle()

    def _settle(self) -> None:
        # Nobody is waited for: who holds the lock comes here when it has let go of it.
        while self._dropped and self._lock.acquire(blocking=False):
            try:
                last = self._let_go(self._dropped.popleft()) if self._dropped else None
            finally:
                self._lock.release()
            if last is not None:
                last.end(wait=False)

    def _let_go(self, number: int) -> T | None:
        """With the lock held: the resource, if nobody wants it any more."""
        if number not in self._held:
            return None
        self._held.discard(number)
        if self._held:
            return None
        resource, self._thing = self._thing, None
        return resource

    def _disown(self) -> None:
        """In a forked child, where the thread is not."""
        _forked.append(self._thing)
        self._lock, self._thing, self._held = threading.Lock(), None, set()
        self._dropped.clear()


class Lease(Generic[T]):
    """A part in something shared.

    Attributes:
        resource: What is shared.
        number: Its own, among all of them.
    """

    __slots__ = ("_shared", "number", "resource")

    def __init__(self, shared: SharedResource[T], number: int, resource: T) -> None:
        self._shared = shared
        self.number: int = number
        self.resource: T = resource

    def release(self, *, wait: bool = True) -> None:
        """It is not needed any more; the last one out ends it, and waits for its end or not. May be
        called again."""
        if wait:
            self._shared._release(self.number)
        else:
            self._shared._drop(self.number)

    def __del__(self) -> None:
        self.release(wait=False)


_all: weakref.WeakSet[SharedResource[Any]] = weakref.WeakSet()
_forked: list[Any] = []  # kept for ever in a child: what is in them belongs to its parent


def _disown_all() -> None:
    for shared in list(_all):
        shared._disown()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_disown_all)
