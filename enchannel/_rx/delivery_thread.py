"""The thread on which a kernel's subscribers are called."""

from __future__ import annotations

import logging
import os
import threading
import weakref
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, Protocol, TypeVar

__all__ = ["DeliveryThread", "is_delivering", "mark_delivering"]

T = TypeVar("T")

log = logging.getLogger("enchannel")

_this_thread = threading.local()


def is_delivering() -> bool:
    """Return True if the current thread calls subscribers, so that it could wait for itself."""
    return getattr(_this_thread, "delivering", False)


def mark_delivering(value: bool = True) -> None:
    """Mark the current thread as one that calls subscribers, or that carries messages to them."""
    _this_thread.delivering = value


class Source(Protocol):
    """A source whose subscribers are called on a delivery thread."""

    def reset_after_fork(self, error: Exception, /) -> None:
        """Terminate the copy in a forked child with this error."""


class DeliveryThread:
    """A queue of calls, and the thread that makes them one after the other.

    Backends append and go on; a slow subscriber delays only those of its own kernel. Urgent calls (state
    changes of link and kernel) are made before all others. Calls must not raise: the caller of ``put``
    guards them.

    The thread is started by the first call, and woken only when it waits: a call that is added while it
    works costs an append.

    Args:
        name: The name of the thread.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._queue: deque[tuple[Callable[[Any], None], Any]] = deque()
        self._urgent: deque[tuple[Callable[[Any], None], Any]] = deque()
        self._wakeups: SimpleQueue[None] = SimpleQueue()
        self._needs_wakeup = True  # or there is no thread yet
        self._lock = threading.RLock()
        self._thread: threading.Thread | None = None
        self._is_ending = False
        self._has_ended = False
        self._pid = os.getpid()
        self._sources: weakref.WeakSet[Source] = weakref.WeakSet()

    def put(self, call: Callable[[T], None], item: T) -> None:
        """Call a function with an item, after the calls that are queued."""
        self._queue.append((call, item))
        if self._needs_wakeup:
            self._wake()

    def put_urgent(self, call: Callable[[T], None], item: T) -> None:
        """Call a function with an item as soon as the current call has returned."""
        self._urgent.append((call, item))
        if self._needs_wakeup:
            self._wake()

    def end(self) -> None:
        """Make the queued calls, then end the thread."""
        self._is_ending = True
        self._wake()

    def join(self, timeout: float) -> bool:
        """Wait until all calls were made, unless this is the delivery thread; return True if they were.

        Args:
            timeout: Seconds.
        """
        thread = self._thread
        if thread is None or self.is_current or os.getpid() != self._pid:
            return True
        thread.join(timeout)
        return not thread.is_alive()

    @property
    def is_current(self) -> bool:
        """True on the delivery thread itself."""
        return threading.current_thread() is self._thread

    @property
    def is_started(self) -> bool:
        """True once there was something to deliver."""
        return self._thread is not None

    @property
    def backlog(self) -> int:
        """The number of queued calls."""
        return len(self._queue)

    def add_source(self, source: Source) -> None:
        """Reset a source together with this thread after a fork; only a weak reference is kept."""
        self._sources.add(source)

    def reset_after_fork(self, error: Exception) -> None:
        """Drop the queue and terminate the sources: in a forked child the thread does not exist.

        Args:
            error: The error with which the sources fail.
        """
        self._lock = threading.RLock()
        self._queue, self._urgent, self._wakeups = deque(), deque(), SimpleQueue()
        self._thread, self._is_ending, self._needs_wakeup = None, True, True
        for source in list(self._sources):
            source.reset_after_fork(error)

    def _wake(self) -> None:
        with self._lock:
            if self._thread is not None and not self._has_ended:
                self._needs_wakeup = False
                self._wakeups.put(None)
            elif self._is_ending:
                self._make_remaining_calls()
            elif self._thread is None and os.getpid() == self._pid:
                self._start()

    def _start(self) -> None:
        # Set first, so that a finalizer that runs here and puts a call starts no second thread.
        self._needs_wakeup = False
        thread = threading.Thread(target=self._run, name=self._name, daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            # The limit of threads is reached: the next call that is put tries again.
            self._needs_wakeup = True
            log.error(
                "starting the thread %s failed, so delivery is delayed: %s", self._name, error
            )
        else:
            self._thread = thread

    def _run(self) -> None:
        mark_delivering()
        queue, urgent = self._queue, self._urgent
        while True:
            try:
                while urgent or queue:
                    call, item = urgent.popleft() if urgent else queue.popleft()
                    call(item)
            except BaseException:  # one call must not end the thread for all subscribers
                log.exception("delivery caught an unexpected exception and continues")
                continue
            # Set before the final queue check, so a producer that appends after the check sees the flag
            # and wakes this thread.
            self._needs_wakeup = True
            if urgent or queue:
                self._needs_wakeup = False
                continue
            if self._is_ending:
                break
            self._wakeups.get()
        with self._lock:
            self._has_ended = self._needs_wakeup = True
            self._make_remaining_calls()

    def _make_remaining_calls(self) -> None:
        """Call late subscribers on their own thread: the delivery thread has ended."""
        with self._lock:
            while self._urgent or self._queue:
                call, item = (self._urgent or self._queue).popleft()
                try:
                    call(item)
                except Exception:
                    log.exception("delivery caught an unexpected exception and continues")
