"""Something long that grows at its end, a bit at a time, and never changes.

Adding to a text a million times with ``+`` copies it a million times, and a list can be changed. A
pile keeps a few pieces, each at least twice as long as the one that came after it: what is added is
copied about ``log n`` times in all, and a pile is ``log n`` deep, cheap to read, to branch from and
to throw away.
"""

from __future__ import annotations

from collections.abc import Callable, Sized
from typing import Generic, NamedTuple, TypeVar

__all__ = ["Chunks", "add_to", "pieces"]

P = TypeVar("P", bound=Sized)


class Chunks(NamedTuple, Generic[P]):
    """The newest piece, on those that are older; no pile at all is None."""

    older: Chunks[P] | None
    piece: P


def add_to(pile: Chunks[P] | None, piece: P, join: Callable[[P, P], P]) -> Chunks[P]:
    """A pile with one more piece; the old one stays as it is."""
    while pile is not None and len(pile.piece) < 2 * len(piece):
        piece = join(pile.piece, piece)
        pile = pile.older
    return Chunks(pile, piece)


def pieces(pile: Chunks[P] | None) -> list[P]:
    """The pieces, oldest first."""
    found = []
    while pile is not None:
        found.append(pile.piece)
        pile = pile.older
    found.reverse()
    return found
