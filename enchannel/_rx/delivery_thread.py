"""The thread on which a kernel's subscribers are called."""

from __future__ import annotations

import logging
import os
import threading
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, TypeVar

__all__ = ["DeliveryThread", "is_delivering"]

T = TypeVar("T")

log = logging.getLogger("enchannel")

_here = threading.local()


def is_delivering() -> bool:
    """Whether this thread calls subscribers, so that a blocking wait on it could wait for itself."""
    return getattr(_here, "delivering", False)


def mark_delivering(value: bool = True) -> None:
    """Say that the current thread calls subscribers (or carries messages to those that do)."""
    _here.delivering = value


class DeliveryThread:
    """A queue of calls, and the thread that makes them one after the other.

    Backends put, and go on; a slow subscriber delays only those of its own kernel. What is urgent (the
    states of link and kernel) goes before all that waits. Calls do not raise: they are guarded
    by who puts them.

    The thread is woken when it waits, and not for each call: what arrives while it works costs an append.

    Args:
        name: The thread's.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._queue: deque[tuple[Callable[[Any], None], Any]] = deque()
        self._urgent: deque[tuple[Callable[[Any], None], Any]] = deque()
        self._bell: SimpleQueue[None] = SimpleQueue()
        self._waits = True  # whether the thread has to be woken, or there is none
        self._changing = threading.RLock()
        self._thread: threading.Thread | None = None
        self._ending = False
        self._ended = False
        self._pid = os.getpid()

    def put(self, call: Callable[[T], None], item: T) -> None:
        """Call it with an item, after the calls that wait."""
        self._queue.append((call, item))
        if self._waits:
            self._wake()

    def put_urgent(self, call: Callable[[T], None], item: T) -> None:
        """Call it with an item as soon as the call that runs has returned."""
        self._urgent.append((call, item))
        if self._waits:
            self._wake()

    def end(self) -> None:
        """Make the calls that wait, then end the thread."""
        self._ending = True
        self._wake()

    def disown(self) -> None:
        """In a forked process, where its thread is not: what waited is the parent's."""
        self._changing = threading.RLock()
        self._queue, self._urgent, self._bell = deque(), deque(), SimpleQueue()
        self._thread, self._ending, self._waits = None, True, True

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
        return len(self._queue)

    def _wake(self) -> None:
        with self._changing:
            if self._thread is not None and not self._ended:
                self._waits = False
                self._bell.put(None)
            elif self._ending:
                self._finish()
            elif self._thread is None and os.getpid() == self._pid:
                self._begin()

    def _begin(self) -> None:
        thread = threading.Thread(target=self._run, name=self._name, daemon=True)
        self._waits = False
        try:
            thread.start()
        except (
            RuntimeError
        ) as error:  # there are too many; what waits goes with the next that is put
            self._waits = True
            log.error("%s: subscribers wait, as no thread can be started: %s", self._name, error)
        else:
            self._thread = thread

    def _run(self) -> None:
        mark_delivering()
        queue, urgent = self._queue, self._urgent
        while True:
            while urgent or queue:
                call, item = urgent.popleft() if urgent else queue.popleft()
                call(item)
            # Said before the last look at the queues: who puts after that look sees it, and rings.
            self._waits = True
            if urgent or queue:
                self._waits = False
                continue
            if self._ending:
                break
            self._bell.get()
        with self._changing:
            self._ended = self._waits = True
            self._finish()

    def _finish(self) -> None:
        """Who subscribes after the end is told on its own thread: there is no other any more."""
        with self._changing:
            while self._urgent or self._queue:
                call, item = (self._urgent or self._queue).popleft()
                call(item)
