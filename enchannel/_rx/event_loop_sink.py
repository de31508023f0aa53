"""Handing over to somebody else's event loop, in batches."""

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

BREATH = 256  # items after which the loop gets a turn


class Guarded(Protocol[T_in]):
    """A subscriber that does not raise."""

    stopped: bool

    def on_next(self, item: T_in, /) -> None: ...
    def on_error(self, error: Exception, /) -> None: ...
    def on_completed(self) -> None: ...
    def run(self, function: Callable[[], None], /) -> None: ...
    def dispose(self) -> None: ...


class Call:
    """Something to call when its turn comes, among the items."""

    __slots__ = ("function",)

    def __init__(self, function: Callable[[], None]) -> None:
        self.function = function


class EventLoopSink(Generic[T]):
    """A sink that keeps what arrives until the loop comes for it: one scheduled action drains all.

    reactivex's ``observe_on`` schedules an action for every item, which is what this is here to avoid.

    Args:
        subscription: Is called on the loop; it does not raise.
        scheduler: The loop's.
        interval: Seconds at least between two batches; 0: as soon as the loop comes round.
    """

    def __init__(
        self, subscription: Guarded[T], scheduler: abc.SchedulerBase, *, interval: float = 0.0
    ) -> None:
        self._subscription = subscription
        self._loop = to_foreign_loop(scheduler)
        self._is_closed = self._loop.is_closed
        self._interval = interval
        self._waiting: deque[Any] = deque()  # items, and a Call here and there
        self._lock = threading.Lock()
        self._coming = False  # the loop has been told to come, or is here
        self._batch = 0  # what is left of it, when the loop is given a turn

    def _put(self, item: Any) -> None:
        # No wake-up is lost, though no lock is held: here the item is put before `_coming` is read, and
        # in _drain `_coming` is cleared before the items are looked for. Whichever thread does its second
        # step last sees the first step of the other.
        self._waiting.append(item)
        if not self._coming or self._is_closed():
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
        """How many items wait for the loop."""
        return len(self._waiting)

    def _wake(self) -> None:
        with self._lock:
            if self._coming and not self._is_closed():
                return  # another thread was faster
            self._coming = True
        self._come(self._interval)

    def _come(self, seconds: float) -> None:
        try:
            if not self._is_closed():
                self._loop.call(self._drain, seconds)
                return
        except Exception:  # noqa: S110  # a loop's own way to say that it is closed
            pass
        # Nobody is there to be called.
        self._waiting.clear()
        self._subscription.dispose()

    def _drain(self) -> None:
        waiting, subscription = self._waiting, self._subscription
        self._batch = self._batch or len(waiting)
        turn = min(self._batch, BREATH)
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
        finally:  # also after Ctrl-C, which some loops survive
            if self._batch:
                self._come(0.0)
            else:
                self._coming = False
                if waiting:
                    self._wake()

    def _deliver(self, item: T, /) -> None:
        self._subscription.on_next(item)
