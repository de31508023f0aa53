"""The meaning of lost sockets: the kernel ended, or connections to a running kernel were cut."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Protocol

from enchannel import ChannelName
from enchannel.errors import KernelDied
from enchannel_zmq._connection_phase import ConnectionPhase, PhaseTracker
from enchannel_zmq._incoming import REQUEST_CHANNELS
from enchannel_zmq._io_thread import IoThread, Timer, TimerGroup
from enchannel_zmq._listener_probe import ListenerProbe
from enchannel_zmq._remaining_output import RemainingOutput
from enchannel_zmq._socket_set import SocketSet

__all__ = ["FindDeath", "LossAssessment", "LossHandler"]

# Seconds from the first lost socket until the assessment, in which most of the others are lost as well.
ASSESSMENT_DELAY = 0.02
# Seconds in which a kernel that has closed one socket is expected to close the others.
CLOSING_TIMEOUT = 2.0
CLOSING_POLL_INTERVAL = 0.05

FindDeath = Callable[[Callable[[KernelDied | None], None]], None]
"""Finds out whether the kernel's process ended; see ``ZmqLink``."""


class LossHandler(Protocol):
    """Handles the results of an assessment, on the I/O thread."""

    def on_connections_cut(self, lost: list[ChannelName], /) -> None:
        """Handle connections that were lost although the kernel, as far as is known, is running."""

    def on_kernel_gone(self) -> None:
        """Handle a kernel of an unknown process that closed its sockets."""

    def on_kernel_died(self, why: KernelDied, /) -> None:
        """Handle the end of the kernel's process."""


class LossAssessment:
    """Finds out whether the kernel ended; use it on the I/O thread only.

    The lost sockets do not tell that: the sockets of a dead kernel are lost one after the other, in any
    order, and one with unread messages is lost last. So the questions are whether the kernel still listens
    where a socket was lost, and if it does not, whether its process runs, or, if the process is unknown,
    whether a socket for requests or a second socket is lost too. The end of a kernel is handled once its
    last output was received.

    Args:
        io: The I/O thread.
        timers: Schedules the assessment.
        tracker: The phase; sockets are assessed in READY and PARTIAL.
        sockets: The sockets.
        probe: Tests whether the kernel listens.
        make_remaining: Returns the wait for the last output before a function is called.
        find_death: Finds out whether the process ended; None if it is unknown.
        handler: Handles the result.
    """

    def __init__(
        self,
        io: IoThread,
        timers: TimerGroup,
        tracker: PhaseTracker,
        sockets: SocketSet,
        probe: ListenerProbe,
        make_remaining: Callable[[Callable[[], None]], RemainingOutput],
        find_death: FindDeath | None,
        handler: LossHandler,
    ) -> None:
        self._io = io
        self._timers = timers
        self._tracker = tracker
        self._sockets = sockets
        self._probe = probe
        self._make_remaining = make_remaining
        self._find_death = find_death
        self._handler = handler
        self._timer: Timer | None = None
        # Counts the invalidations; an answer to a question that was asked before one is ignored.
        self._generation = 0
        self._first_loss = 0.0
        self._asked_generation: int | None = None
        self._remaining: RemainingOutput | None = None

    @property
    def is_pending(self) -> bool:
        """True from the loss of a socket until the result is known."""
        return self._asked_generation == self._generation or (
            self._timer is not None and self._timer.is_pending
        )

    @property
    def is_awaiting_output(self) -> bool:
        """True while the kernel is known to have ended, and its last output arrives."""
        return self._remaining is not None

    def on_disconnected(self) -> None:
        """Handle the loss of one more socket."""
        if self._remaining is not None:
            self._remaining.check()
        elif not self.is_pending:
            self._first_loss = time.monotonic()
            self._timer = self._timers.later(ASSESSMENT_DELAY, self._assess)

    def on_process_died(self, why: KernelDied) -> None:
        """Handle the end of the process, once its last output was received."""
        self._end_after_output(partial(self._handler.on_kernel_died, why))

    def invalidate(self) -> None:
        """End the assessment without a result: the sockets were lost, restored or closed."""
        self._generation += 1
        self._probe.cancel()
        if self._remaining is not None:
            self._remaining.cancel()
            self._remaining = None

    def _assess(self) -> None:
        lost = self._sockets.disconnected()
        if not lost or not self._has_connected_sockets():
            return
        if self._sockets.are_all_disconnected:
            self._on_listener_gone()
            return
        probed = next((name for name in REQUEST_CHANNELS if name in lost), lost[0])
        self._probe.start(probed, partial(self._on_probed, self._ask()))

    def _on_listener_gone(self) -> None:
        if self._find_death is not None:
            generation = self._ask()
            self._find_death(
                lambda died: self._io.post(partial(self._on_death_found, generation, died))
            )
        elif self._is_decisive(self._sockets.disconnected()):
            self._end_after_output(self._handler.on_kernel_gone)
        # A kernel may live without its heartbeat, but one that ends loses the other sockets as well.
        elif time.monotonic() < self._first_loss + CLOSING_TIMEOUT:
            self._timer = self._timers.later(CLOSING_POLL_INTERVAL, self._assess)
        else:
            self._on_cut()

    def _is_decisive(self, lost: list[ChannelName]) -> bool:
        """Return True if these closed sockets are the end of a kernel whose process is unknown."""
        is_partial = self._tracker.phase is ConnectionPhase.PARTIAL
        return is_partial or not set(REQUEST_CHANNELS).isdisjoint(lost)

    def _on_cut(self) -> None:
        if self._has_connected_sockets():
            self._handler.on_connections_cut(self._sockets.disconnected())

    def _has_connected_sockets(self) -> bool:
        return self._tracker.phase in (ConnectionPhase.READY, ConnectionPhase.PARTIAL)

    def _ask(self) -> int:
        self._asked_generation = self._generation
        return self._generation

    def _on_death_found(self, generation: int, died: KernelDied | None) -> None:
        if generation != self._generation:
            return
        self._asked_generation = None
        if died is not None:
            self.on_process_died(died)
        else:
            self._on_cut()

    def _on_probed(self, generation: int, is_refused: bool) -> None:
        if generation != self._generation:
            return
        self._asked_generation = None
        if is_refused or self._sockets.are_all_disconnected:
            self._on_listener_gone()
        else:
            self._on_cut()

    def _end_after_output(self, end: Callable[[], None]) -> None:
        if self._remaining is not None:
            return
        if self._tracker.phase is ConnectionPhase.READY:
            self._remaining = self._make_remaining(end)
            self._remaining.start()
        else:
            end()
