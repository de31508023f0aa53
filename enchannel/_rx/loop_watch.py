"""Noticing that an event loop has stopped while something waits for it."""

from __future__ import annotations

import logging
import threading
import weakref
from collections import deque
from collections.abc import Callable
from typing import Protocol

from enchannel._rx.process_hooks import call_in_forked_child
from enchannel._rx.timer import timer

__all__ = ["LoopUser", "watch_loop_of"]

log = logging.getLogger("enchannel")

# No loop tells other threads of its end.
WATCH_INTERVAL = 0.5


class LoopUser(Protocol):
    """Waits for an event loop."""

    def is_done(self) -> bool:
        """Return True if it does not need the loop any more."""
        ...

    def give_up_if_stopped(self) -> None:
        """End, and report the loss, if the loop has stopped; called on the timer thread."""


class _Watch:
    def __init__(self) -> None:
        self._added: deque[Callable[[], LoopUser | None]] = deque()
        self._watched: list[Callable[[], LoopUser | None]] = []
        self._is_scheduled = False
        self._lock = threading.RLock()

    def add(self, user: LoopUser) -> None:
        self._added.append(weakref.ref(user))
        with self._lock:
            if not self._is_scheduled:
                self._schedule()

    def _schedule(self) -> None:
        self._is_scheduled = True
        timer().schedule_relative(WATCH_INTERVAL, self._check)

    def _check(self, *_: object) -> None:
        while self._added:
            self._watched.append(self._added.popleft())
        remaining = list[Callable[[], LoopUser | None]]()
        for reference in self._watched:
            user = reference()
            if user is not None and not user.is_done():
                remaining.append(reference)
                try:
                    user.give_up_if_stopped()
                except (
                    Exception
                ):  # of a disposable of the user, which must not end the timer thread
                    log.exception("ending a subscription whose event loop has stopped failed")
        self._watched = remaining
        with self._lock:
            self._is_scheduled = False
            if self._watched or self._added:
                self._schedule()


def watch_loop_of(user: LoopUser) -> None:
    """Call ``give_up_if_stopped`` at an interval until the user is done; only a weak reference is kept."""
    _watch.add(user)


def _renew() -> None:
    # The timer thread does not exist in a forked process, nor do the loops of others.
    global _watch
    _watch = _Watch()


_watch = _Watch()
call_in_forked_child(_renew)
