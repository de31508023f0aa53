"""Waiting for the output that a kernel sent before it died."""

from __future__ import annotations

from collections.abc import Callable

from enchannel_zmq._incoming import IncomingMessages
from enchannel_zmq._io_thread import Timer, TimerGroup
from enchannel_zmq._socket_set import SocketSet

__all__ = ["RemainingOutput"]

STALL_INTERVAL = 0.25
MAX_STALLS = 4


class RemainingOutput:
    """Calls a function once all output of a dead kernel was received; use it on the I/O thread only.

    The last output may still be in the buffers of the operating system, and a connection is lost only after
    its last byte. If a child process of the kernel has inherited the sockets, no connection is lost: then
    the output ends when nothing arrives for a second.

    Args:
        timers: Schedules the checks.
        sockets: The sockets.
        incoming: Counts the batches of messages.
        end: Called once.
    """

    def __init__(
        self,
        timers: TimerGroup,
        sockets: SocketSet,
        incoming: IncomingMessages,
        end: Callable[[], None],
    ) -> None:
        self._timers = timers
        self._sockets = sockets
        self._incoming = incoming
        self._end = end
        self._timer: Timer | None = None

    def start(self) -> None:
        """Start to wait; call the function at once if all connections are lost."""
        if not self.check():
            self._schedule(self._incoming.batches, 0)

    def check(self) -> bool:
        """Call the function if all connections are lost, and return True then."""
        if not self._sockets.are_all_disconnected:
            return False
        self.cancel()
        self._end()
        return True

    def cancel(self) -> None:
        """Stop waiting, without calling the function."""
        if self._timer is not None:
            self._timer.cancel()

    def _schedule(self, batches: int, stalls: int) -> None:
        self._timer = self._timers.later(STALL_INTERVAL, lambda: self._look(batches, stalls))

    def _look(self, batches: int, stalls: int) -> None:
        received = self._incoming.batches
        stalls = stalls + 1 if received == batches else 0
        if stalls == MAX_STALLS:
            self._end()
        else:
            self._schedule(received, stalls)
