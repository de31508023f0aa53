"""Handing over to somebody else's event loop, in batches."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

from reactivex import abc
from reactivex.scheduler.eventloop import AsyncIOScheduler

__all__ = ["Batches"]

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


class Batches(Generic[T]):
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
        self._schedule, self._is_closed = _scheduling(scheduler)
        self._interval = interval
        self._waiting: deque[Callable[[], None]] = deque()
        self._lock = threading.Lock()
        self._scheduled = False
        self._batch = 0  # what is left of it, when the loop is given a turn

    def on_next(self, item: T) -> None:
        self._put(lambda: self._subscription.on_next(item))

    def on_error(self, error: Exception) -> None:
        self._put(lambda: self._subscription.on_error(error))

    def on_completed(self) -> None:
        self._put(self._subscription.on_completed)

    def call(self, function: Callable[[], None]) -> None:
        self._put(lambda: self._subscription.run(function))

    @property
    def backlog(self) -> int:
        """How many items wait for the loop."""
        return len(self._waiting)

    def _put(self, call: Callable[[], None]) -> None:
        self._waiting.append(call)
        with self._lock:
            if self._scheduled and not self._is_closed():
                return
            self._scheduled = True
        self._wake(self._interval)

    def _wake(self, seconds: float) -> None:
        try:
            self._schedule(self._drain, seconds)
        except Exception:  # a loop's own way to say that it is closed: nobody is there to be called
            self._waiting.clear()
            self._subscription.dispose()

    def _drain(self) -> None:
        waiting, subscription = self._waiting, self._subscription
        self._batch = self._batch or len(waiting)
        turn = min(self._batch, BREATH)
        for _ in range(turn):
            if subscription.stopped:
                waiting.clear()
                return
            waiting.popleft()()
        self._batch -= turn
        with self._lock:
            if not waiting:
                self._scheduled = False
                return
        self._wake(0.0 if self._batch else self._interval)


Scheduling: TypeAlias = Callable[[Callable[[], None], float], Any]


def _scheduling(scheduler: abc.SchedulerBase) -> tuple[Scheduling, Callable[[], bool]]:
    """How to have something called on a scheduler's loop, from any thread, after some seconds; and
    whether that loop is known to be closed."""
    if isinstance(scheduler, AsyncIOScheduler):
        loop = scheduler._loop  # its own schedule() may not be called from another thread

        def on_asyncio(call: Callable[[], None], seconds: float) -> None:
            if seconds:
                loop.call_soon_threadsafe(lambda: loop.call_later(seconds, call))
            else:
                loop.call_soon_threadsafe(call)

        return on_asyncio, loop.is_closed

    def on_scheduler(call: Callable[[], None], seconds: float) -> None:
        def action(_: abc.SchedulerBase, __: object = None) -> None:
            call()

        if seconds:
            scheduler.schedule_relative(seconds, action)
        else:
            scheduler.schedule(action)

    return on_scheduler, lambda: getattr(scheduler, "_is_disposed", False)
