"""Changes of shared state that a finalizer can make in the middle of another one."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

__all__ = ["Changes"]


class Changes:
    """Makes changes one after the other, on any thread.

    The garbage collector may run a finalizer in every allocation, so also while its thread makes a change.
    A change that is requested there is made by the outer one when it is done: it neither waits for its own
    thread nor is it overwritten.
    """

    __slots__ = ("_is_changing", "_lock", "_pending")

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._pending: deque[Callable[[], None]] = deque()
        self._is_changing = False

    def make(self, change: Callable[[], None]) -> None:
        """Make a change before this returns, unless the current thread is in the middle of another."""
        self._pending.append(change)
        self._make_pending(blocking=True)

    def post(self, change: Callable[[], None]) -> None:
        """Make a change, or leave it to the thread that makes another; never blocks."""
        self._pending.append(change)
        self._make_pending(blocking=False)

    def _make_pending(self, *, blocking: bool) -> None:
        # The check is repeated after the release: a change that was posted just before is not lost.
        while self._pending and self._lock.acquire(blocking):
            try:
                if self._is_changing:
                    return
                self._is_changing = True
                try:
                    self._make_all()
                finally:
                    self._is_changing = False
            finally:
                self._lock.release()

    def _make_all(self) -> None:
        while self._pending:
            self._pending.popleft()()
