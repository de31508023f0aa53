"""The timer thread of the process: timeouts and heartbeats of all kernels."""

from __future__ import annotations

import heapq
import threading
import time
from collections.abc import Callable
from itertools import count
from typing import TypeVar

from reactivex import abc, typing
from reactivex.disposable import Disposable
from reactivex.scheduler.periodicscheduler import PeriodicScheduler

from enchannel._rx.process_hooks import call_in_forked_child

__all__ = ["TimerScheduler", "clock_of", "timer"]

State = TypeVar("State")

# Seconds that the thread stays alive without actions to wait for.
IDLE_TIMEOUT = 1.0
# Cancelled actions are kept in the heap until there are this many, and more of them than others.
MIN_PURGED_ACTIONS = 64


class TimerScheduler(PeriodicScheduler):
    """A scheduler for many short timeouts, most of which are cancelled.

    reactivex's schedulers start a thread for each timeout, or keep cancelled ones until they are due.
    Actions run one after the other on the timer thread: they must be short and must not raise.
    """

    def __init__(self) -> None:
        super().__init__()
        self._due: list[tuple[float, int, _Item]] = []
        self._numbers = count()
        self._cancelled = 0
        self._changed = threading.Condition()
        self._running = False

    def schedule(
        self, action: typing.ScheduledAction[State], state: State | None = None
    ) -> abc.DisposableBase:
        return self.schedule_relative(0.0, action, state)

    def schedule_absolute(
        self,
        duetime: typing.AbsoluteTime,
        action: typing.ScheduledAction[State],
        state: State | None = None,
    ) -> abc.DisposableBase:
        return self.schedule_relative(self.to_datetime(duetime) - self.now, action, state)

    def schedule_relative(
        self,
        duetime: typing.RelativeTime,
        action: typing.ScheduledAction[State],
        state: State | None = None,
    ) -> abc.DisposableBase:
        item = _Item(lambda: action(self, state))
        due = time.monotonic() + max(0.0, self.to_seconds(duetime))
        with self._changed:
            heapq.heappush(self._due, (due, next(self._numbers), item))
            if not self._running:
                self._running = True
                threading.Thread(target=self._run, name="enchannel timer", daemon=True).start()
            elif self._due[0][2] is item:
                self._changed.notify()
        return Disposable(lambda: self._cancel(item))

    def _cancel(self, item: _Item) -> None:
        with self._changed:
            if item.action is None:
                return
            item.action = None
            self._cancelled += 1
            if self._cancelled > MIN_PURGED_ACTIONS and self._cancelled * 2 > len(self._due):
                self._due = [entry for entry in self._due if entry[2].action is not None]
                heapq.heapify(self._due)
                self._cancelled = 0

    def _run(self) -> None:
        while True:
            with self._changed:
                if not self._due and not self._changed.wait(IDLE_TIMEOUT) and not self._due:
                    self._running = False
                    return
                item = self._next()
            if item is not None:
                item()

    def _next(self) -> _Item | None:
        if not self._due:
            return None
        due, _, item = self._due[0]
        if item.action is not None and (seconds := due - time.monotonic()) > 0:
            self._changed.wait(seconds)
            return None
        heapq.heappop(self._due)
        if item.action is None:
            self._cancelled -= 1
            return None
        return item


class _Item:
    """An action; None once it has run or was cancelled."""

    __slots__ = ("action",)

    def __init__(self, action: Callable[[], object]) -> None:
        self.action: Callable[[], object] | None = action

    def __call__(self) -> None:
        action, self.action = self.action, None
        if action is not None:
            action()


def clock_of(scheduler: abc.SchedulerBase) -> Callable[[], float]:
    """Return a function that reads a scheduler's time, in seconds from an arbitrary origin.

    For a TimerScheduler this is the monotonic clock, which adjustments of the system time do not affect.
    """
    if isinstance(scheduler, TimerScheduler):
        return time.monotonic
    return lambda: scheduler.now.timestamp()


def timer() -> TimerScheduler:
    """Return the timer scheduler of this process."""
    return _timer


def _renew() -> None:
    # The timer thread does not exist in a forked process.
    global _timer
    _timer = TimerScheduler()


_timer = TimerScheduler()
call_in_forked_child(_renew)
