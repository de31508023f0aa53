"""The record of a soak: operations, disturbances, violations."""

from __future__ import annotations

import itertools
import threading
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from enum import Enum, auto

__all__ = ["Cause", "Disturbance", "Journal", "Violation"]

LINES_KEPT = 60


class Violation(AssertionError):
    """Raised when an invariant does not hold."""


class Cause(Enum):
    """A cause for which the operations that overlap it may fail."""

    ERROR = auto()
    """Code raises, and the kernel aborts requests that are queued behind it."""
    INTERRUPT = auto()
    """The kernel is interrupted, by a call or because a request was abandoned."""
    DEATH = auto()
    """The kernel process ends or is replaced."""
    CLOSE = auto()
    """A client is closed."""


@dataclass(eq=False)
class Disturbance:
    """A cause of failures, from before its action until its effects have ended.

    Attributes:
        cause: The cause.
        operation: The id of the operation that does it.
        started, ended: Times of ``time.monotonic``.
    """

    cause: Cause
    operation: str
    started: float = field(default_factory=time.monotonic)
    ended: float = float("inf")

    def end(self) -> None:
        """Note that the effects have ended."""
        self.ended = min(self.ended, time.monotonic())


class Journal:
    """The record of a soak. Thread-safe.

    Attributes:
        counts: How often operations, and their outcomes, occurred.
        violations: The texts of all violations.
    """

    def __init__(self, *, verbose: bool = False) -> None:
        self.counts: Counter[str] = Counter()
        self.violations: list[str] = []
        self._lines: deque[str] = deque(maxlen=LINES_KEPT)
        self._lock = threading.Lock()
        self._started = time.monotonic()
        self._numbers = itertools.count(1)
        self._verbose = verbose

    def note(self, text: str) -> None:
        """Add a line."""
        line = f"{time.monotonic() - self._started:9.3f} {threading.current_thread().name}: {text}"
        with self._lock:
            self._lines.append(line)
        if self._verbose:
            print(line, flush=True)

    def count(self, *names: str) -> None:
        """Count occurrences."""
        with self._lock:
            self.counts.update(names)

    def report(self, text: str) -> None:
        """Add a violation."""
        self.note(f"VIOLATION {text}")
        with self._lock:
            self.violations.append(text)

    def failure(self) -> str:
        """Return the last lines and the last violation, as text."""
        with self._lock:
            return "\n".join([*self._lines, *self.violations[-1:]])
