"""The one thread of the process that touches ZeroMQ: it owns every socket and monitor.

It runs while there are links, and ends with the last. Nobody else calls a socket's methods: who wants
something of it posts a function.
"""

from __future__ import annotations

import heapq
import logging
import os
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from itertools import count
from typing import Protocol

import zmq

from enchannel.backends import SharedResource

__all__ = ["Drained", "Io", "Timer", "shared"]

log = logging.getLogger("enchannel.zmq")

AGAIN = 0.1  # seconds after which a socket is looked at again whose reading failed


class Drained(Protocol):
    """Something with a socket to be read."""

    def drain(self) -> bool:
        """Read what is there, but not for ever; whether there is no more."""
        ...


class Timer:
    """A function that will be called, if nobody cancels it."""

    __slots__ = ("call",)

    def __init__(self, call: Callable[[], None]) -> None:
        self.call: Callable[[], None] | None = call

    def cancel(self) -> None:
        """Do not call it; from the I/O thread only."""
        self.call = None


class Io:
    """The thread, its context, and what it waits for."""

    def __init__(self) -> None:
        self.context = zmq.Context()
        self.context.set(zmq.MAX_SOCKETS, self.context.get(zmq.SOCKET_LIMIT))
        self._selector = selectors.DefaultSelector()
        self._bell = _Bell()
        self._posted: deque[Callable[[], None]] = deque()
        self._ready: dict[Drained, None] = {}  # in order, so that nobody starves
        self._timers: list[tuple[float, int, Timer]] = []
        self._numbers = count()
        self._ending = False
        self._selector.register(self._bell.fileno, selectors.EVENT_READ, None)
        self._started = False
        self.thread = threading.Thread(target=self._run, name="enchannel-zmq I/O", daemon=True)

    def start(self) -> None:
        """Begin, if it has not yet."""
        if not self._started:
            self._started = True
            self.thread.start()

    def post(self, call: Callable[[], None]) -> None:
        """Have a function called on the thread, after those posted before; from any thread."""
        self._posted.append(call)
        self._bell.ring()

    def call(self, function: Callable[[], None], timeout: float) -> bool:
        """Have a function called on the thread, and wait for it; whether it was called by then."""
        if threading.current_thread() is self.thread:
            function()
            return True
        done = threading.Event()

        def called() -> None:
            try:
                function()
            finally:
                done.set()

        self.post(called)
        return done.wait(timeout)

    def later(self, seconds: float, call: Callable[[], None]) -> Timer:
        """Have a function called after some seconds; from the thread only."""
        timer = Timer(call)
        heapq.heappush(self._timers, (time.monotonic() + seconds, next(self._numbers), timer))
        return timer

    def watch(self, fileno: int, reader: Drained) -> None:
        """Drain a reader when its descriptor is readable; from the thread only."""
        self._selector.register(fileno, selectors.EVENT_READ, reader)
        self._ready[reader] = None

    def unwatch(self, fileno: int, reader: Drained) -> None:
        """Forget a reader; from the thread only."""
        self._selector.unregister(fileno)
        self._ready.pop(reader, None)

    def touched(self, reader: Drained) -> None:
        """A socket was used, which swallows the wake-up of what arrived meanwhile: look at it."""
        self._ready[reader] = None

    def stop(self, wait: bool = True) -> None:
        """End the thread, when what was posted is done; and wait for it, or not."""

        def ending() -> None:
            self._ending = True

        self.post(ending)
        if wait and threading.current_thread() is not self.thread:
            self.thread.join(5.0)

    def _run(self) -> None:
        while not self._ending:
            try:
                self._turn()
            except Exception:  # whatever it is, the other kernels of the process go on
                log.exception("the I/O thread met something unexpected, and goes on")
        self._selector.close()
        self._bell.close()
        self.context.destroy(linger=0)

    def _turn(self) -> None:
        for key, _ in self._selector.select(0 if self._ready or self._posted else self._patience()):
            if key.data is None:
                self._bell.silence()
            else:
                self._ready[key.data] = None
        for _ in range(len(self._posted)):
            self._posted.popleft()()
        while self._timers and self._timers[0][0] <= time.monotonic():
            timer = heapq.heappop(self._timers)[2]
            if timer.call is not None:
                timer.call()
        for reader in list(self._ready):
            if reader in self._ready:
                del self._ready[reader]
                self._drain(reader)

    def _drain(self, reader: Drained) -> None:
        try:
            drained = reader.drain()
        except Exception:  # it is looked at again, but not at once: it might fail for ever
            self.later(AGAIN, lambda: self._look_again(reader))
            raise
        if not drained:
            self._ready.setdefault(reader)

    def _look_again(self, reader: Drained) -> None:
        if any(key.data is reader for key in self._selector.get_map().values()):
            self._ready[reader] = None

    def _patience(self) -> float | None:
        while self._timers and self._timers[0][2].call is None:
            heapq.heappop(self._timers)
        return max(0.0, self._timers[0][0] - time.monotonic()) if self._timers else None


class _Bell:
    """Wakes the thread: an eventfd where there is one, a pair of sockets elsewhere."""

    def __init__(self) -> None:
        self._rung = self._closed = False
        if hasattr(os, "eventfd"):
            self._eventfd: int | None = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
            self.fileno = self._eventfd
        else:
            self._eventfd = None
            self._reader, self._writer = socket.socketpair()
            self._reader.setblocking(False)
            self._writer.setblocking(False)
            self.fileno = self._reader.fileno()

    def ring(self) -> None:
        if self._rung:
            return
        self._rung = True
        try:
            if self._eventfd is not None:
                os.eventfd_write(self._eventfd, 1)
            elif not self._closed:
                self._writer.send(b"\0")
        except OSError:  # it rings already, or the thread has ended
            pass

    def silence(self) -> None:
        try:
            if self._eventfd is not None:
                os.eventfd_read(self._eventfd)
            else:
                self._reader.recv(4096)
        except OSError:
            pass
        # Last, and before what was posted is looked at: cleared sooner, a ring between the two is
        # read away while its flag stays, and nothing rings ever again.
        self._rung = False

    def close(self) -> None:
        self._closed = True
        if self._eventfd is not None:
            fileno, self._eventfd = self._eventfd, None
            os.close(fileno)
        else:
            self._reader.close()
            self._writer.close()


shared = SharedResource(Io)
"""The one of the process; who leases it has it run."""
