"""Delivery to a foreign event loop in batches."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, Generic, Protocol, TypeVar

from reactivex import abc

from enchannel._rx.foreign_loops import to_foreign_loop
from enchannel._rx.loop_watch import watch_loop_of

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
    def on_loop_stopped(self, undelivered: int, error: Exception | None, /) -> None: ...


class Call:
    """A function in the queue, called in its turn among the items.

    Attributes:
        function: The function.
        is_end: True if it passes on the terminal event.
        error: The error of the terminal event, or None.
    """

    __slots__ = ("error", "function", "is_end")

    def __init__(
        self,
        function: Callable[[], None],
        *,
        is_end: bool = False,
        error: Exception | None = None,
    ) -> None:
        self.function = function
        self.is_end = is_end
        self.error = error


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
        self._forward: Callable[[Callable[[], None]], None] | None = None
        watch_loop_of(self)

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
        function = partial(self._subscription.on_error, error)
        self._put(Call(function, is_end=True, error=error))

    def on_completed(self) -> None:
        self._put(Call(self._subscription.on_completed, is_end=True))

    def call(self, function: Callable[[], None]) -> None:
        if self._forward is not None:
            function = partial(self._forward, function)
        self._put(Call(function))

    def forward_calls(self, call: Callable[[Callable[[], None]], None]) -> None:
        """Pass functions on to another caller, in their turn among the items."""
        self._forward = call

    @property
    def backlog(self) -> int:
        """The number of items that wait for the loop."""
        return len(self._waiting)

    def is_done(self) -> bool:
        return self._subscription.stopped

    def give_up_if_stopped(self) -> None:
        # Without waiting items, nothing is lost yet.
        if self._waiting and self._is_closed():
            self._give_up()

    def _count(self, _: Any, /) -> int:
        """Return the number of items in an entry of the queue."""
        return 1

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
        self._give_up()

    def _give_up(self) -> None:
        """End the subscription: the loop is gone, so no subscriber can be called."""
        undelivered, error = 0, None
        with self._lock, suppress(IndexError):
            while True:
                item = self._waiting.popleft()
                if item.__class__ is Call and item.is_end:
                    error = item.error
                else:
                    undelivered += 1 if item.__class__ is Call else self._count(item)
        if self._subscription.stopped:
            undelivered, error = 0, None
        self._subscription.on_loop_stopped(undelivered, error)

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
