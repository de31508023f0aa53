"""Output that had piled up when Ctrl-C was pressed: its beginning and its end are shown."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence

from enchannel._cli.terminal.pane import Pane

__all__ = ["MAX_BACKLOG_LENGTH", "Backlog"]

# Lengths are in characters.
MAX_BACKLOG_LENGTH = 1 << 16
# The end of the output says where the code stopped.
MAX_TAIL_LENGTH = 1 << 12
# The kernel sends the output that had piled up on its side within this time.
SETTLE_TIME = 0.3


class Backlog:
    """Admits the first characters after ``start``, drops the next, and keeps the last.

    Attributes:
        is_active: True between ``start`` and ``stop``.
    """

    def __init__(self) -> None:
        self.is_active = False
        self._settled_at = 0.0
        self._allowance = 0
        self._dropped = 0
        self._tail: deque[tuple[Pane, str]] = deque()

    def start(self) -> None:
        """Begin to drop output. A signal handler may call this."""
        if not self.is_active:
            self._allowance = MAX_BACKLOG_LENGTH
            self._settled_at = time.monotonic() + SETTLE_TIME
            self.is_active = True

    @property
    def is_settled(self) -> bool:
        """True if the kernel has had the time to send everything that had piled up."""
        return time.monotonic() >= self._settled_at

    def admit(self, pane: Pane, text: str) -> bool:
        """Return True if a text must be shown now; otherwise keep its end for ``stop``."""
        if self._allowance > 0:
            self._allowance -= len(text)
            return True
        if not self._dropped and pane.escapes is not None:
            pane.escapes.reset()
        self._dropped += len(text)
        self._tail.append((pane, text[-MAX_TAIL_LENGTH:]))
        while len(self._tail) > 1 and sum(len(t) for _, t in self._tail) > MAX_TAIL_LENGTH:
            self._tail.popleft()
        return False

    def stop(self) -> tuple[int, Sequence[tuple[Pane, str]]]:
        """End dropping.

        Returns:
            The number of characters that are lost, and the texts at the end of the output.
        """
        self.is_active = False
        tail = list(self._tail)
        lost = self._dropped - sum(len(text) for _, text in tail)
        self._tail.clear()
        self._dropped = 0
        return lost, tail
