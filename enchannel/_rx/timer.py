"""The timer thread of the process: timeouts and heartbeats of all kernels."""

from __future__ import annotations

import heapq
import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable
from itertools import count
from queue import Empty, SimpleQueue
from typing import TypeVar

from reactivex import abc, typing
from reactivex.disposable import Disposable
from reactivex.scheduler.periodicscheduler import PeriodicScheduler

from enchannel._rx.library_threads import ThreadRole, mark_thread
from enchannel._rx.process_hooks import call_in_forked_child

__all__ = ["TimerScheduler", "clock_of", "timer"]

State = TypeVar("State")

log = logging.getLogger("enchannel")

# Seconds that the thread stays alive without actions to wait for.
IDLE_TIMEOUT = 1.0
# Seconds after which a longer wait starts again, with a look into the inbox: waits of 292 years and more
# overflow, and a lost wake-up delays no action for longer than this.
MAX_WAIT = 5.0
# Cancelled actions are kept until there are this many, and more of them than others.
MIN_PURGED_ACTIONS = 64
# In place of the time until which the timer thread waits.
WORKING = -math.inf


class TimerScheduler(PeriodicScheduler):
    """A scheduler for many short timeouts, most of which are cancelled.

    reactivex's schedulers start a thread for each timeout, or keep cancelled ones until they are due.
    Actions run one after the other on the timer thread: they must be short and must not raise.

    Scheduling and cancelling take no lock and never wait, so finalizers may do both at any time.
    """

    def __init__(self) -> None:
        super().__init__()
        # Scheduled, and not yet moved to the heap, which only the timer thread touches.
        self._inbox: deque[tuple[float, int, _Item]] = deque()
        self._due: list[tuple[float, int, _Item]] = []
        self._numbers = count()
        self._cancelled = 0  # since the last purge
        self._wakeups: SimpleQueue[None] = SimpleQueue()
        # Until then the timer thread waits; in the past while it works, since it looks into the inbox
        # before it waits.
        self._waits_until = math.inf
        # Held by the timer thread as long as it runs, and only ever tried.
        self._running = threading.Lock()

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
        self._inbox.append((due, next(self._numbers), item))
        if due < self._waits_until:
            self._wake()
        if self._running.acquire(blocking=False):
            self._start()
        return Disposable(lambda: self._cancel(item))

    def _cancel(self, item: _Item) -> None:
        if item.action is None:
            return
        item.action = None
        self._cancelled += 1
        if self._needs_purge and self._waits_until > WORKING:
            self._wake()

    @property
    def _needs_purge(self) -> bool:
        count = len(self._due) + len(self._inbox)
        return self._cancelled > MIN_PURGED_ACTIONS and self._cancelled * 2 > count

    def _wake(self) -> None:
        self._waits_until = WORKING
        self._wakeups.put(None)

    def _start(self) -> None:
        thread = threading.Thread(target=self._run, name="enchannel timer", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            # The limit of threads is reached: the next call tries again.
            self._running.release()
            log.error("starting the timer thread failed, so timeouts are delayed: %s", error)

    def _run(self) -> None:
        mark_thread(ThreadRole.SHARED)
        is_running = True
        while is_running:
            self._waits_until = WORKING
            self._run_due()
            until = self._due[0][0] if self._due else math.inf
            # Published before the last look into the inbox, so that a thread that schedules later sees it
            # and wakes this thread.
            self._waits_until = until
            if not self._inbox and not self._wait(until):
                self._running.release()
                # Scheduled before the release, by a thread that saw this one running.
                is_running = bool(self._inbox) and self._running.acquire(blocking=False)

    def _run_due(self) -> None:
        while True:
            while self._inbox:
                heapq.heappush(self._due, self._inbox.popleft())
            if self._needs_purge:
                self._purge()
            if not self._due:
                return
            due, _, item = self._due[0]
            if item.action is not None and due > time.monotonic():
                return
            heapq.heappop(self._due)
            try:
                item()
            except BaseException:  # one action must not end the thread for all others
                log.exception("a scheduled action raised an unexpected exception")

    def _purge(self) -> None:
        self._cancelled = 0
        self._due = [entry for entry in self._due if entry[2].action is not None]
        heapq.heapify(self._due)

    def _wait(self, until: float) -> bool:
        """Wait for this time or a wake-up; return False if there was nothing to wait for."""
        is_idle = until == math.inf
        seconds = IDLE_TIMEOUT if is_idle else min(until - time.monotonic(), MAX_WAIT)
        try:
            self._wakeups.get(timeout=max(0.0, seconds))
        except Empty:
            return not is_idle
        return True


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
