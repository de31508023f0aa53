"""Interrupts what runs, on Ctrl-C or when its time is up.

On a thread of its own: the main thread may be stuck in a write that nobody reads.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Self

__all__ = ["Watch"]

GRACE = 2.0  # seconds in which code that was interrupted is expected to end


class Watch:
    """Watches one execution while its block runs.

    Args:
        timeout: Seconds, or None.
        interrupt: Called for each ``interrupt``.
        late: Called when the time is up, to interrupt it too.
        overdue: Called when it goes on in spite of that.

    Attributes:
        timed_out: Whether the time was up.
    """

    def __init__(
        self,
        timeout: float | None,
        interrupt: Callable[[], None],
        late: Callable[[], None],
        overdue: Callable[[], None],
    ) -> None:
        self.timed_out = False
        self._timeout = timeout
        self._interrupt = interrupt
        self._late = late
        self._overdue = overdue
        self._asked: SimpleQueue[bool] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="enchannel watch", daemon=True)

    def interrupt(self) -> None:
        """Interrupt it; from anywhere, also from a signal handler."""
        self._asked.put(True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._asked.put(False)
        self._thread.join()

    def _run(self) -> None:
        if self._timeout is not None:
            if not self._serve(self._timeout):
                return
            self.timed_out = True
            self._late()
            if not self._serve(GRACE):
                return
            self._overdue()
        self._serve(None)

    def _serve(self, seconds: float | None) -> bool:
        """Interrupt when asked to; whether the time is up, and not the block."""
        deadline = None if seconds is None else time.monotonic() + seconds
        while True:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            try:
                if not self._asked.get(timeout=left):
                    return False
            except Empty:
                return True
            self._interrupt()
