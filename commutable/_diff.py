"""What is different between two states of a notebook. What they share is not looked at."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from operator import is_

from commutable._cell import Cell
from commutable._notebook import Notebook

__all__ = ["Difference", "diff"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """What makes one state of another.

    Attributes:
        removed: Cells that are gone, in their old order.
        added: Cells that are new, in their new order.
        changed: Both states of each cell that is another, in the new order.
        moved: Cells that stand elsewhere among those that are in both states, in their new order; as few
            as there can be.
        metadata: Whether that of the notebook is another; or its version, or its other fields.
    """

    removed: tuple[Cell, ...] = ()
    added: tuple[Cell, ...] = ()
    changed: tuple[tuple[Cell, Cell], ...] = ()
    moved: tuple[Cell, ...] = ()
    metadata: bool = False

    def __bool__(self) -> bool:
        return bool(self.removed or self.added or self.changed or self.moved or self.metadata)


def diff(before: Notebook, after: Notebook) -> Difference:
    """What is different. Cells that both share are the same without a look at them.

    Example:
        >>> after = cm.update_source(before, "a", "6 * 9")
        >>> cm.diff(before, after).changed
        ((CodeCell(id='a', source='6 * 7', ...), CodeCell(id='a', source='6 * 9', ...)),)
    """
    if before is after:
        return Difference()
    old, new = _apart(before.cells, after.cells)
    places = {cell.id: place for place, cell in enumerate(old)}
    kept = [cell for cell in new if cell.id in places]
    kept_ids = {cell.id for cell in kept}
    pairs = [(old[places[cell.id]], cell) for cell in kept]
    in_order = _longest_rise([places[cell.id] for cell in kept])
    return Difference(
        removed=tuple(cell for cell in old if cell.id not in kept_ids),
        added=tuple(cell for cell in new if cell.id not in places),
        changed=tuple((was, now) for was, now in pairs if was is not now and was != now),
        moved=tuple(cell for cell in kept if places[cell.id] not in in_order),
        metadata=_metadata(before) != _metadata(after),
    )


def _apart(old: Sequence[Cell], new: Sequence[Cell]) -> tuple[Sequence[Cell], Sequence[Cell]]:
    """What is between the beginning and the end that both share."""
    start = sum(1 for _ in takewhile(bool, map(is_, old, new)))
    old, new = old[start:], new[start:]
    end = sum(1 for _ in takewhile(bool, map(is_, reversed(old), reversed(new))))
    return old[: len(old) - end], new[: len(new) - end]


def _longest_rise(places: Sequence[int]) -> set[int]:
    """The most of some different numbers that are in order."""
    ends: list[int] = []  # the least number at which a rise of each length ends
    before: dict[int, int | None] = {}
    for place in places:
        length = bisect_left(ends, place)
        before[place] = ends[length - 1] if length else None
        ends[length : length + 1] = [place]
    rise: set[int] = set()
    place_or_none = ends[-1] if ends else None
    while place_or_none is not None:
        rise.add(place_or_none)
        place_or_none = before[place_or_none]
    return rise


def _metadata(notebook: Notebook) -> tuple[object, ...]:
    return notebook.metadata, notebook.nbformat_minor, notebook.extra
