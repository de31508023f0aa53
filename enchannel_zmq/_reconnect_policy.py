"""The times at which lost sockets are reconnected, and at which a lost link is given up."""

from __future__ import annotations

from collections.abc import Callable

from enchannel import ChannelName
from enchannel_zmq._io_thread import IoThread, Timer

__all__ = ["ReconnectPolicy"]

MIN_RETRY_DELAY, MAX_RETRY_DELAY = 0.02, 1.0
RETRY_BACKOFF = 1.5


class ReconnectPolicy:
    """Exponential backoff for each socket, and one deadline for all; use it on the I/O thread only.

    Args:
        io: The I/O thread.
        timeout: Seconds from the loss of the link until it is given up.
    """

    def __init__(self, io: IoThread, timeout: float) -> None:
        self.timeout = timeout
        self._io = io
        self._delays = dict.fromkeys(ChannelName, MIN_RETRY_DELAY)
        self._deadline: Timer | None = None

    def reset_delay(self, name: ChannelName) -> None:
        """Start the backoff anew, since the socket is connected or tried for the first time."""
        self._delays[name] = MIN_RETRY_DELAY

    def next_delay(self, name: ChannelName) -> float:
        """Return the seconds to wait before the next attempt, and increase them."""
        delay = self._delays[name]
        self._delays[name] = min(delay * RETRY_BACKOFF, MAX_RETRY_DELAY)
        return delay

    def start_deadline(self, give_up: Callable[[], None]) -> None:
        """Call a function after ``timeout``; a no-op if a deadline is running."""
        if self._deadline is None or not self._deadline.is_pending:
            self._deadline = self._io.later(self.timeout, give_up)

    def stop_deadline(self) -> None:
        """Cancel the deadline; a no-op if none is running."""
        if self._deadline is not None:
            self._deadline.cancel()
