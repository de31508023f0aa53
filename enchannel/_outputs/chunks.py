"""An immutable sequence that grows at its end, as a linked list of chunks.

Appending to a string a million times with ``+`` copies it a million times, and a list is mutable. Here
each chunk is at least twice as long as the next newer one, so every element is copied about ``log n``
times in all, and there are at most ``log n`` chunks: cheap to read, to branch from and to discard.
"""

from __future__ import annotations

from collections.abc import Callable, Sized
from typing import Generic, NamedTuple, TypeVar

__all__ = ["Chunks", "append", "in_order"]

P = TypeVar("P", bound=Sized)


class Chunks(NamedTuple, Generic[P]):
    """The newest chunk, and the older ones; the empty sequence is None."""

    older: Chunks[P] | None
    newest: P


def append(chunks: Chunks[P] | None, chunk: P, join: Callable[[P, P], P]) -> Chunks[P]:
    """Return a sequence with one more chunk; the given one stays unchanged."""
    while chunks is not None and len(chunks.newest) < 2 * len(chunk):
        chunk = join(chunks.newest, chunk)
        chunks = chunks.older
    return Chunks(chunks, chunk)


def in_order(chunks: Chunks[P] | None) -> list[P]:
    """Return the chunks, oldest first."""
    found = []
    while chunks is not None:
        found.append(chunks.newest)
        chunks = chunks.older
    found.reverse()
    return found
