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

from enchannel._rx.library_threads import ThreadRole, mark_thread

__all__ = ["DeliveryThread"]

T = TypeVar("T")

log = logging.getLogger("enchannel")


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
    works costs an append. Putting a call takes no lock, never waits, and never makes the call itself, so it
    may be done with a lock held and in finalizers.

    Args:
        name: The name of the thread.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._queue: deque[tuple[Callable[[Any], None], Any]] = deque()
        self._urgent: deque[tuple[Callable[[Any], None], Any]] = deque()
        self._wakeups: SimpleQueue[None] = SimpleQueue()
        self._needs_wakeup = True  # or there is no thread yet
        # Held by the delivery thread as long as it runs, and only ever tried.
        self._running = threading.Lock()
        self._thread: threading.Thread | None = None
        self._is_ending = False
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
        """End the thread once the queued calls were made; later calls start it again for a moment."""
        self._is_ending = True
        if self._needs_wakeup and (self._thread is not None or self._has_calls):
            self._wake()

    def join(self, timeout: float) -> bool:
        """Wait until all calls were made, unless this is the delivery thread; return True if they were.

        Args:
            timeout: Seconds.
        """
        thread = self._thread
        if thread is None or self.is_current or os.getpid() != self._pid:
            return True
        if thread.ident is None:
            return False  # it is being started
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
        self._running = threading.Lock()
        self._queue, self._urgent, self._wakeups = deque(), deque(), SimpleQueue()
        self._thread, self._is_ending, self._needs_wakeup = None, True, True
        for source in list(self._sources):
            source.reset_after_fork(error)

    def _wake(self) -> None:
        self._needs_wakeup = False
        self._wakeups.put(None)
        # Otherwise the thread runs, and takes the wake-up.
        if self._running.acquire(blocking=False):
            if os.getpid() == self._pid:
                self._start()
            else:
                self._work()

    def _start(self) -> None:
        thread = threading.Thread(target=self._run, name=self._name, daemon=True)
        before, self._thread = self._thread, thread
        try:
            thread.start()
        except RuntimeError as error:
            self._thread = before
            self._on_not_started(error)

    def _on_not_started(self, error: RuntimeError) -> None:
        if self._is_ending:
            # The interpreter exits, so these may be the last calls.
            self._work()
            return
        # The limit of threads is reached: the next call that is put tries again.
        self._running.release()
        self._needs_wakeup = True
        log.error("starting the thread %s failed, so delivery is delayed: %s", self._name, error)

    def _run(self) -> None:
        mark_thread(ThreadRole.DELIVERY)
        self._work()

    def _work(self) -> None:
        is_running = True
        while is_running:
            self._make_calls()
            # Set before the final queue check, so a producer that appends after the check sees the flag
            # and wakes this thread.
            self._needs_wakeup = True
            if self._has_calls:
                self._needs_wakeup = False
            elif not self._is_ending:
                self._wakeups.get()
            else:
                self._running.release()
                # Put before the release, by a thread that saw this one running.
                is_running = self._has_calls and self._running.acquire(blocking=False)

    @property
    def _has_calls(self) -> bool:
        return bool(self._urgent or self._queue)

    def _make_calls(self) -> None:
        queue, urgent = self._queue, self._urgent
        while urgent or queue:
            try:
                while urgent or queue:
                    call, item = urgent.popleft() if urgent else queue.popleft()
                    call(item)
            except BaseException:  # one call must not end the thread for all subscribers
                log.exception("delivery caught an unexpected exception and continues")
