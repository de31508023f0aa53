"""The one thread of the process that uses ZeroMQ; it owns every socket and monitor.

It runs while links are open and stops with the last. Other threads never call a socket's methods: they
post a function to this thread.
"""

from __future__ import annotations

import heapq
import logging
import os
import selectors
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from itertools import count
from typing import Protocol

import zmq

from enchannel.backends import SharedResource, mark_io_thread

__all__ = ["Drainable", "IoThread", "Timer", "TimerGroup", "io_thread"]

log = logging.getLogger("enchannel.zmq")

DRAIN_RETRY_DELAY = 0.1
JOIN_TIMEOUT = 5.0


class Drainable(Protocol):
    """An object with a file descriptor to read from."""

    def drain(self) -> bool:
        """Read a bounded number of messages; return True if none are left."""
        ...


class Timer:
    """A scheduled call; use it on the I/O thread only."""

    __slots__ = ("call",)

    def __init__(self, call: Callable[[], None]) -> None:
        self.call: Callable[[], None] | None = call

    @property
    def is_pending(self) -> bool:
        """True until the call is made or cancelled."""
        return self.call is not None

    def cancel(self) -> None:
        """Cancel the call; a no-op if it was made."""
        self.call = None


class IoThread:
    """The I/O thread, its ZeroMQ context, and the descriptors and timers that it waits for.

    Attributes:
        context: The ZeroMQ context of all sockets.
        thread: The thread.
    """

    def __init__(self) -> None:
        self.context = zmq.Context()
        self.context.set(zmq.MAX_SOCKETS, self.context.get(zmq.SOCKET_LIMIT))
        self._selector = selectors.DefaultSelector()
        self._waker = _Waker()
        self._posted: deque[Callable[[], None]] = deque()
        self._timers: list[tuple[float, int, Timer]] = []
        self._numbers = count()
        self._ready: dict[Drainable, None] = {}
        self._stopping = False
        self._selector.register(self._waker.fileno, selectors.EVENT_READ, None)
        self._started = False
        self.thread = threading.Thread(target=self._run, name="enchannel-zmq I/O", daemon=True)

    def start(self) -> None:
        """Start the thread; a no-op if it is running."""
        if not self._started:
            self._started = True
            self.thread.start()

    # -- for any thread ---------------------------------------------------------------------------

    def post(self, call: Callable[[], None]) -> None:
        """Call a function on the I/O thread, after those posted before it, without waiting."""
        self._posted.append(call)
        self._waker.wake()

    def call(self, function: Callable[[], None], timeout: float) -> bool:
        """Call a function on the I/O thread and wait for it; return True if it was called in time.

        On the I/O thread itself the function is called at once.

        Args:
            function: The function.
            timeout: Seconds to wait for it.
        """
        if threading.current_thread() is self.thread:
            function()
            return True
        done = threading.Event()

        def call() -> None:
            try:
                function()
            finally:
                done.set()

        self.post(call)
        return done.wait(timeout)

    def stop(self, wait: bool = True) -> None:
        """Stop the thread after all posted calls.

        Args:
            wait: Wait up to 5 s for the thread to end; ignored on the thread itself.
        """

        def stop() -> None:
            self._stopping = True

        self.post(stop)
        if wait and threading.current_thread() is not self.thread:
            self.thread.join(JOIN_TIMEOUT)

    # -- for the I/O thread -----------------------------------------------------------------------

    def later(self, seconds: float, call: Callable[[], None]) -> Timer:
        """Schedule a call; from the I/O thread only."""
        timer = Timer(call)
        heapq.heappush(self._timers, (time.monotonic() + seconds, next(self._numbers), timer))
        return timer

    def watch(self, fileno: int, reader: Drainable) -> None:
        """Drain a reader whenever its descriptor is readable; from the I/O thread only."""
        self._selector.register(fileno, selectors.EVENT_READ, reader)
        self._ready[reader] = None

    def unwatch(self, fileno: int, reader: Drainable) -> None:
        """Stop watching a reader; from the I/O thread only."""
        self._selector.unregister(fileno)
        self._ready.pop(reader, None)

    def recheck(self, reader: Drainable) -> None:
        """Drain a reader soon, even if its descriptor is not readable; from the I/O thread only.

        Using a ZeroMQ socket consumes the wake-up for messages that arrived meanwhile.
        """
        self._ready[reader] = None

    def _run(self) -> None:
        mark_io_thread()
        while not self._stopping:
            try:
                self._run_once()
            except Exception:  # one link's failure must not stop the others
                log.exception("the I/O thread caught an unexpected exception and continues")
        self._selector.close()
        self._waker.close()
        self.context.destroy(linger=0)

    def _run_once(self) -> None:
        timeout = 0 if self._ready or self._posted else self._select_timeout()
        for key, _ in self._selector.select(timeout):
            if key.data is None:
                self._waker.clear()
            else:
                self._ready[key.data] = None
        for _ in range(len(self._posted)):
            self._posted.popleft()()
        while self._timers and self._timers[0][0] <= time.monotonic():
            timer = heapq.heappop(self._timers)[2]
            call, timer.call = timer.call, None
            if call is not None:
                call()
        for reader in list(self._ready):
            if reader in self._ready:
                del self._ready[reader]
                self._drain(reader)

    def _drain(self, reader: Drainable) -> None:
        try:
            drained = reader.drain()
        except Exception:  # retried after a delay, since it could fail every time
            self.later(DRAIN_RETRY_DELAY, lambda: self._retry_drain(reader))
            raise
        if not drained:
            self._ready.setdefault(reader)

    def _retry_drain(self, reader: Drainable) -> None:
        if any(key.data is reader for key in self._selector.get_map().values()):
            self._ready[reader] = None

    def _select_timeout(self) -> float | None:
        while self._timers and self._timers[0][2].call is None:
            heapq.heappop(self._timers)
        return max(0.0, self._timers[0][0] - time.monotonic()) if self._timers else None


class TimerGroup:
    """Scheduled calls that are cancelled together; use it on the I/O thread only.

    Args:
        io: The I/O thread.
    """

    def __init__(self, io: IoThread) -> None:
        self._io = io
        self._timers: list[Timer] = []

    def later(self, seconds: float, call: Callable[[], None]) -> Timer:
        """Schedule a call."""
        timer = self._io.later(seconds, call)
        self._timers = [timer for timer in self._timers if timer.is_pending]
        self._timers.append(timer)
        return timer

    def cancel(self) -> None:
        """Cancel all calls."""
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()


class _Waker:
    """Wakes the thread from ``select``: an eventfd on Linux, a socket pair elsewhere."""

    def __init__(self) -> None:
        self._woken = self._closed = False
        self._eventfd: int | None = None
        if sys.platform == "linux" and hasattr(os, "eventfd"):
            self._eventfd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
            self.fileno = self._eventfd
        else:
            self._reader, self._writer = socket.socketpair()
            self._reader.setblocking(False)
            self._writer.setblocking(False)
            self.fileno = self._reader.fileno()

    def wake(self) -> None:
        """Make ``fileno`` readable; from any thread."""
        if self._woken:
            return
        self._woken = True
        try:
            if sys.platform == "linux" and self._eventfd is not None:
                os.eventfd_write(self._eventfd, 1)
            elif not self._closed:
                self._writer.send(b"\0")
        except OSError:  # already readable, or the thread has ended
            pass

    def clear(self) -> None:
        """Make ``fileno`` unreadable again."""
        try:
            if sys.platform == "linux" and self._eventfd is not None:
                os.eventfd_read(self._eventfd)
            else:
                self._reader.recv(4096)
        except OSError:
            pass
        # Set last, and before the posted calls are run. If it were cleared before the read, a wake
        # between the two would be read away while its flag stays set, and nothing would wake again.
        self._woken = False

    def close(self) -> None:
        self._closed = True
        if self._eventfd is not None:
            fileno, self._eventfd = self._eventfd, None
            os.close(fileno)
        else:
            self._reader.close()
            self._writer.close()


io_thread = SharedResource(IoThread)
"""The I/O thread of the process; it runs while somebody holds a lease."""
