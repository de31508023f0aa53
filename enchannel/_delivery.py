"""The thread on which a kernel's subscribers are called."""

from __future__ import annotations

import logging
import os
import threading
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue

__all__ = ["Delivery", "is_delivering"]

log = logging.getLogger(__name__)

_here = threading.local()


def is_delivering() -> bool:
    """Whether this thread calls subscribers, so that a blocking wait on it could wait for itself."""
    return getattr(_here, "delivering", False)


def mark_delivering(value: bool = True) -> None:
    """Say that the current thread calls subscribers (or carries messages to those that do)."""
    _here.delivering = value


class Delivery:
    """A queue of calls, and the thread that makes them one after the other.

    Backends put, and go on; a slow subscriber delays only those of its own kernel. What is urgent (the
    states of link and kernel) goes before all that waits. Calls do not raise: they are guarded
    by who puts them.

    Args:
        name: The thread's.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._queue: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._urgent: deque[Callable[[], None]] = deque()
        self._changing = threading.RLock()
        self._thread: threading.Thread | None = None
        self._ending = False
        self._ended = False
        self._pid = os.getpid()

    def put(self, call: Callable[[], None]) -> None:
        """Make this call after those that wait."""
        self._queue.put(call)
        if self._thread is None:
            self._start()
        elif self._ended:
            self._finish()

    def put_urgent(self, call: Callable[[], None]) -> None:
        """Make this call as soon as the one that runs has returned."""
        self._urgent.append(call)
        self.put(_nothing)

    def end(self) -> None:
        """Make the calls that wait, then end the thread."""
        with self._changing:
            self._ending = True
            self._queue.put(None)

    def disown(self) -> None:
        """In a forked process, where its thread is not: what waited is the parent's."""
        self._changing = threading.RLock()
        self._queue, self._urgent = SimpleQueue(), deque()
        self._thread, self._ending = None, True

    def join(self, timeout: float) -> bool:
        """Wait, if this is another thread, until all is delivered; whether it is by then."""
        thread = self._thread
        if thread is None or thread is threading.current_thread() or os.getpid() != self._pid:
            return True
        thread.join(timeout)
        return not thread.is_alive()

    @property
    def backlog(self) -> int:
        """How many calls wait."""
        return self._queue.qsize()

    def _start(self) -> None:
        with self._changing:
            if self._ending:
                self._finish()
            elif self._thread is None and os.getpid() == self._pid:
                self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                self._thread.start()

    def _run(self) -> None:
        mark_delivering()
        urgent = self._urgent
        while True:
            call = self._queue.get()
            while urgent:
                urgent.popleft()()
            if call is None:
                break
            call()
        self._ended = True
        self._finish()

    def _finish(self) -> None:
        """Who subscribes after the end is told on its own thread: there is no other any more."""
        with self._changing:
            while not self._queue.empty():
                if (call := self._queue.get()) is not None:
                    call()
            while self._urgent:
                self._urgent.popleft()()


def _nothing() -> None:
    """What wakes the thread for an urgent call."""
