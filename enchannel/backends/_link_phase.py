"""The phases of a link, and which may follow which."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, auto
from typing import Final

__all__ = ["FINAL_PHASES", "PHASE_TRANSITIONS", "LinkPhase"]


class LinkPhase(Enum):
    """The phase of a ``ReconnectingLink``. Messages can be sent while it is DEFERRED or OPEN."""

    NEW = auto()
    """The first connection is being opened."""
    DEFERRED = auto()
    """Connects when the first message is sent or ``begin_soon`` is called; messages are queued."""
    OPEN = auto()
    """Connected."""
    SUSPENDED = auto()
    """Connected, but the kernel cannot receive messages: it restarts, or it has died."""
    RECONNECTING = auto()
    """The connection is lost, and another is being opened."""
    ENDED = auto()
    """Given up: the kernel is gone, or the connection could not be restored."""
    CLOSED = auto()
    """``close`` was called."""


PHASE_TRANSITIONS: Final[Mapping[LinkPhase, frozenset[LinkPhase]]] = {
    LinkPhase.NEW: frozenset(
        {LinkPhase.DEFERRED, LinkPhase.OPEN, LinkPhase.ENDED, LinkPhase.CLOSED}
    ),
    LinkPhase.DEFERRED: frozenset(
        {LinkPhase.OPEN, LinkPhase.RECONNECTING, LinkPhase.ENDED, LinkPhase.CLOSED}
    ),
    LinkPhase.OPEN: frozenset(
        {LinkPhase.SUSPENDED, LinkPhase.RECONNECTING, LinkPhase.ENDED, LinkPhase.CLOSED}
    ),
    LinkPhase.SUSPENDED: frozenset(
        {LinkPhase.OPEN, LinkPhase.RECONNECTING, LinkPhase.ENDED, LinkPhase.CLOSED}
    ),
    LinkPhase.RECONNECTING: frozenset({LinkPhase.OPEN, LinkPhase.ENDED, LinkPhase.CLOSED}),
    LinkPhase.ENDED: frozenset({LinkPhase.CLOSED}),
    LinkPhase.CLOSED: frozenset(),
}
"""The phases that may follow each phase."""

FINAL_PHASES: Final = frozenset({LinkPhase.ENDED, LinkPhase.CLOSED})
"""The phases in which a link does not connect any more."""
