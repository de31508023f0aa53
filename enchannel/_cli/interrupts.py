"""Interrupts of running code: on Ctrl-C, after a timeout, and when the command leaves."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Self

import enchannel as ec

__all__ = ["InterruptThread", "interrupt_and_wait"]

# Interrupted code is expected to end within this time.
INTERRUPT_GRACE_PERIOD = 2.0
# A kernel that stays is given this time to receive the last interrupt.
LAST_INTERRUPT_TIMEOUT = 1.0


class InterruptThread:
    """Interrupts code while its block runs.

    The main thread cannot do that: it may be blocked in a write to a pipe whose reader is slow. All
    callbacks are called on this thread.

    Args:
        interrupt: Called for each call of ``interrupt()``.
        timeout: Seconds until the code is interrupted, or None.
        on_timeout: Called after the timeout, to interrupt the code.
        on_overdue: Called if the code still runs after the grace period that follows.

    Attributes:
        timed_out: True after the timeout.
    """

    def __init__(
        self,
        interrupt: Callable[[], None],
        *,
        timeout: float | None = None,
        on_timeout: Callable[[], None] = lambda: None,
        on_overdue: Callable[[], None] = lambda: None,
    ) -> None:
        self.timed_out = False
        self._interrupt = interrupt
        self._timeout = timeout
        self._on_timeout = on_timeout
        self._on_overdue = on_overdue
        # True: interrupt the code. False: the block has ended.
        self._requests: SimpleQueue[bool] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="enchannel interrupt", daemon=True)

    def interrupt(self) -> None:
        """Interrupt the code; from any thread or signal handler."""
        self._requests.put(True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._requests.put(False)
        self._thread.join()

    def _run(self) -> None:
        if self._timeout is not None:
            if not self._serve(self._timeout):
                return
            self.timed_out = True
            self._on_timeout()
            if not self._serve(INTERRUPT_GRACE_PERIOD):
                return
            self._on_overdue()
        self._serve(None)

    def _serve(self, seconds: float | None) -> bool:
        """Interrupt the code on request. Return True after a time, False at the end of the block."""
        deadline = None if seconds is None else time.monotonic() + seconds
        while True:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            try:
                if not self._requests.get(timeout=left):
                    return False
            except Empty:
                return True
            self._interrupt()


def interrupt_and_wait(kernel: ec.Kernel) -> None:
    """Interrupt a kernel that will be left running; errors are ignored.

    A message that is sent just before the connection is closed may not arrive, hence the wait.
    """
    with suppress(ec.EnchannelError):
        ec.wait(kernel.interrupt(), timeout=LAST_INTERRUPT_TIMEOUT)
