"""Delays between retries, and the deadline for giving up."""

from __future__ import annotations

import random

__all__ = ["ATTEMPT_TIMEOUT", "MAX_REJECTIONS", "Backoff", "RejectionCounter"]

FIRST_PAUSE, MAX_PAUSE = 0.1, 5.0
ATTEMPT_TIMEOUT = 10.0
# A connection that the peer closes sooner than this has been rejected.
REJECTION_PERIOD = 5.0
MAX_REJECTIONS = 5


class Backoff:
    """Pauses between attempts, which double until a deadline.

    Args:
        timeout: Seconds after which to give up.
        now: The current time, in seconds, as for the methods.
    """

    def __init__(self, timeout: float, now: float) -> None:
        self._deadline = now + timeout
        self._pause = FIRST_PAUSE

    def attempt_timeout(self, now: float) -> float:
        """Return the seconds that one attempt may take."""
        return max(FIRST_PAUSE, min(ATTEMPT_TIMEOUT, self._deadline - now))

    def next_pause(self, now: float) -> float | None:
        """Return the seconds to wait before the next attempt; None to give up."""
        # Jitter, so that the clients of a server do not all return at once.
        pause = self._pause * random.uniform(0.5, 1.0)  # noqa: S311  # not used for a secret
        self._pause = min(self._pause * 2, MAX_PAUSE)
        return None if now + pause >= self._deadline else pause


class RejectionCounter:
    """Counts connections in a row that the peer closed on purpose right after they were opened."""

    def __init__(self) -> None:
        self._count = 0

    def count(self, *, is_rejection: bool, lasted: float) -> None:
        """Count the end of a connection.

        Args:
            is_rejection: True if the peer closed it on purpose.
            lasted: Seconds for which it was open.
        """
        self._count = self._count + 1 if is_rejection and lasted < REJECTION_PERIOD else 0

    @property
    def is_final(self) -> bool:
        """True if the peer has rejected too many connections."""
        return self._count >= MAX_REJECTIONS

    @property
    def pause(self) -> float:
        """Seconds to wait before the next attempt."""
        return FIRST_PAUSE * 2**self._count if self._count else 0.0
