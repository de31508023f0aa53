"""Delivery to a foreign event loop in batches."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar

from reactivex import abc

from enchannel._rx.foreign_loops import to_foreign_loop

__all__ = ["EventLoopSink"]

T = TypeVar("T")
T_in = TypeVar("T_in", contravariant=True)

# Items after which the loop runs its other tasks.
MAX_ITEMS_PER_TURN = 256


class GuardedObserver(Protocol[T_in]):
    """A subscriber whose methods do not raise."""

    stopped: bool

    def on_next(self, item: T_in, /) -> None: ...
    def on_error(self, error: Exception, /) -> None: ...
    def on_completed(self) -> None: ...
    def run(self, function: Callable[[], None], /) -> None: ...
    def dispose(self) -> None: ...


class Call:
    """A function in the queue, called in its turn among the items."""

    __slots__ = ("function",)

    def __init__(self, function: Callable[[], None]) -> None:
        self.function = function


class EventLoopSink(Generic[T]):
    """A sink that queues items for an event loop: one scheduled action delivers all of them.

    reactivex's ``observe_on`` would schedule an action for every item.

    Args:
        subscription: Called on the loop; does not raise.
        scheduler: The scheduler of the loop.
        interval: The minimum number of seconds between two batches; 0 delivers as soon as possible.
    """

    def __init__(
        self,
        subscription: GuardedObserver[T],
        scheduler: abc.SchedulerBase,
        *,
        interval: float = 0.0,
    ) -> None:
        self._subscription = subscription
        self._loop = to_foreign_loop(scheduler)
        self._is_closed = self._loop.is_closed
        self._interval = interval
        self._waiting: deque[Any] = deque()  # items and Calls
        # Re-entrant, because a finalizer may emit an item while this thread holds it.
        self._lock = threading.RLock()
        self._scheduled = False  # or running
        self._batch = 0  # its remaining items

    def _put(self, item: Any) -> None:
        # No wake-up is lost although no lock is held: this method appends the item before it reads
        # `_scheduled`, and _drain clears `_scheduled` before it checks for items. Whichever thread does its
        # second step last sees the first step of the other.
        self._waiting.append(item)
        if not self._scheduled or self._is_closed():
            self._wake()

    def on_next(self, item: T) -> None:
        self._put(item)

    def on_error(self, error: Exception) -> None:
        self.call(lambda: self._subscription.on_error(error))

    def on_completed(self) -> None:
        self.call(self._subscription.on_completed)

    def call(self, function: Callable[[], None]) -> None:
        self._put(Call(function))

    @property
    def backlog(self) -> int:
        """The number of items that wait for the loop."""
        return len(self._waiting)

    def _wake(self) -> None:
        with self._lock:
            if self._scheduled and not self._is_closed():
                return  # by another thread
            self._scheduled = True
        self._schedule(self._interval)

    def _schedule(self, seconds: float) -> None:
        try:
            if not self._is_closed():
                self._loop.call(self._drain, seconds)
                return
        except Exception:  # noqa: S110  # loops raise different errors when closed
            pass
        # The loop is gone, so no subscriber can be called.
        self._waiting.clear()
        self._subscription.dispose()

    def _drain(self) -> None:
        waiting, subscription = self._waiting, self._subscription
        self._batch = self._batch or len(waiting)
        turn = min(self._batch, MAX_ITEMS_PER_TURN)
        self._batch -= turn
        try:
            for _ in range(turn):
                if subscription.stopped:
                    waiting.clear()
                    self._batch = 0
                    break
                item = waiting.popleft()
                if item.__class__ is Call:
                    subscription.run(item.function)
                else:
                    self._deliver(item)
        finally:
            # Some loops continue after a KeyboardInterrupt.
            if self._batch:
                self._schedule(0.0)
            else:
                self._scheduled = False
                if waiting:
                    self._wake()

    def _deliver(self, item: T, /) -> None:
        self._subscription.on_next(item)
