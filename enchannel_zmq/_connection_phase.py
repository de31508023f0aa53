"""The phases of a connection as a table: the current phase and an event determine the next phase.

::

                        ┌───────── restored ─────────┐
                        ▼                            │
    NEW → CONNECTING → READY → PARTIAL → RECONNECTING → GIVEN_UP
               ▲        (some lost)  (all lost)  (not in time)
               └── SUSPENDED ← death or restart, from every phase

A link can be closed in every phase.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, auto
from types import MappingProxyType
from typing import Final

__all__ = ["TRANSITIONS", "ConnectionPhase", "PhaseEvent", "PhaseTracker"]


class ConnectionPhase(Enum):
    """The phase of a connection, which determines the handling of messages and lost sockets."""

    NEW = auto()
    """Not opened yet."""
    CONNECTING = auto()
    """``open`` or ``reopen`` is waiting for all sockets and for the readiness proof."""
    READY = auto()
    """Messages are sent and delivered."""
    PARTIAL = auto()
    """Some sockets were lost and are being reconnected; the others are open."""
    RECONNECTING = auto()
    """All sockets were lost and are being reconnected."""
    SUSPENDED = auto()
    """All sockets are closed until ``reopen``: the process ended, or is being restarted."""
    GIVEN_UP = auto()
    """All sockets are closed, and the link has failed."""
    CLOSED = auto()
    """``close`` was called."""


class PhaseEvent(Enum):
    """An event that may change the phase."""

    OPENED = auto()
    """``open`` or ``reopen`` was called."""
    PROVEN = auto()
    """All sockets are connected and the iopub subscription is in force."""
    SOME_LOST = auto()
    """Some of the sockets were lost."""
    ALL_LOST = auto()
    """All sockets were lost, or more of them while some were being reconnected."""
    DIED = auto()
    """The kernel's process ended."""
    SUSPENDED = auto()
    """``suspend`` was called."""
    MISCONFIGURED = auto()
    """The peer on a channel turned out not to be a kernel."""
    TIMED_OUT = auto()
    """The time for reconnecting is over."""
    CLOSED = auto()
    """``close`` was called."""


_P, _E = ConnectionPhase, PhaseEvent

TRANSITIONS: Final[Mapping[tuple[ConnectionPhase, PhaseEvent], ConnectionPhase]] = MappingProxyType(
    {
        (_P.NEW, _E.OPENED): _P.CONNECTING,
        (_P.SUSPENDED, _E.OPENED): _P.CONNECTING,
        (_P.GIVEN_UP, _E.OPENED): _P.CONNECTING,
        (_P.CONNECTING, _E.PROVEN): _P.READY,
        (_P.PARTIAL, _E.PROVEN): _P.READY,
        (_P.RECONNECTING, _E.PROVEN): _P.READY,
        (_P.READY, _E.SOME_LOST): _P.PARTIAL,
        (_P.READY, _E.ALL_LOST): _P.RECONNECTING,
        (_P.PARTIAL, _E.ALL_LOST): _P.RECONNECTING,
        (_P.READY, _E.DIED): _P.SUSPENDED,
        (_P.PARTIAL, _E.DIED): _P.SUSPENDED,
        (_P.RECONNECTING, _E.DIED): _P.SUSPENDED,
        (_P.READY, _E.MISCONFIGURED): _P.GIVEN_UP,
        (_P.PARTIAL, _E.MISCONFIGURED): _P.GIVEN_UP,
        (_P.PARTIAL, _E.TIMED_OUT): _P.GIVEN_UP,
        (_P.RECONNECTING, _E.TIMED_OUT): _P.GIVEN_UP,
        **{(phase, _E.SUSPENDED): _P.SUSPENDED for phase in _P if phase is not _P.CLOSED},
        **{(phase, _E.CLOSED): _P.CLOSED for phase in _P if phase is not _P.CLOSED},
    }
)
"""The next phase; an event that is not listed for a phase is ignored in it."""


class PhaseTracker:
    """The current phase; only the I/O thread changes it.

    Attributes:
        phase: The current phase.
    """

    def __init__(self) -> None:
        self.phase = ConnectionPhase.NEW

    def accepts(self, event: PhaseEvent) -> bool:
        """Return True unless the event is ignored in the current phase."""
        return (self.phase, event) in TRANSITIONS

    def advance(self, event: PhaseEvent) -> bool:
        """Change the phase; return False if the event is ignored in the current phase."""
        phase = TRANSITIONS.get((self.phase, event))
        if phase is None:
            return False
        self.phase = phase
        return True
