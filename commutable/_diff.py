"""The difference between two states of a notebook. Objects that both share are not compared."""

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
    """The difference between two notebooks; falsy if there is none.

    Attributes:
        removed: The cells of the first notebook only, in its order.
        added: The cells of the second notebook only, in its order.
        changed: Both states of each cell that has changed, in the order of the second notebook.
        moved: The cells whose order among the common cells has changed, in the order of the second
            notebook. The number of these cells is minimal.
        metadata: True if the metadata, the version or the extra fields of the notebooks differ.
    """

    removed: tuple[Cell, ...] = ()
    added: tuple[Cell, ...] = ()
    changed: tuple[tuple[Cell, Cell], ...] = ()
    moved: tuple[Cell, ...] = ()
    metadata: bool = False

    def __repr__(self) -> str:
        counts = {
            "removed": len(self.removed),
            "added": len(self.added),
            "changed": len(self.changed),
            "moved": len(self.moved),
        }
        parts = [f"{count} {name}" for name, count in counts.items() if count]
        parts += ["metadata"] if self.metadata else []
        return f"<Difference: {', '.join(parts) or 'none'}>"

    def __bool__(self) -> bool:
        return bool(self.removed or self.added or self.changed or self.moved or self.metadata)


def diff(before: Notebook, after: Notebook) -> Difference:
    """Return the difference between two states of a notebook.

    Cells that both states share are not compared, so the cost depends on the size of the change.

    Args:
        before: The first state.
        after: The second state.

    Example:
        >>> after = cm.update_source(before, "a", "6 * 9")
        >>> cm.diff(before, after).changed
        ((CodeCell(id='a', source='6 * 7', ...), CodeCell(id='a', source='6 * 9', ...)),)
    """
    if before is after:
        return Difference()
    old, new = _without_common_ends(before.cells, after.cells)
    positions = {cell.id: position for position, cell in enumerate(old)}
    kept = [cell for cell in new if cell.id in positions]
    kept_ids = {cell.id for cell in kept}
    pairs = [(old[positions[cell.id]], cell) for cell in kept]
    in_order = _longest_rising_subsequence([positions[cell.id] for cell in kept])
    return Difference(
        removed=tuple(cell for cell in old if cell.id not in kept_ids),
        added=tuple(cell for cell in new if cell.id not in positions),
        changed=tuple((was, now) for was, now in pairs if was is not now and was != now),
        moved=tuple(cell for cell in kept if positions[cell.id] not in in_order),
        metadata=_metadata(before) != _metadata(after),
    )


def _without_common_ends(
    old: Sequence[Cell], new: Sequence[Cell]
) -> tuple[Sequence[Cell], Sequence[Cell]]:
    """Strip the cells that both share at the beginning and at the end."""
    start = sum(1 for _ in takewhile(bool, map(is_, old, new)))
    old, new = old[start:], new[start:]
    end = sum(1 for _ in takewhile(bool, map(is_, reversed(old), reversed(new))))
    return old[: len(old) - end], new[: len(new) - end]


def _longest_rising_subsequence(numbers: Sequence[int]) -> set[int]:
    """Return the numbers of a longest rising subsequence of distinct numbers."""
    # The smallest end of a rising subsequence of each length.
    ends: list[int] = []
    predecessors: dict[int, int | None] = {}
    for number in numbers:
        length = bisect_left(ends, number)
        predecessors[number] = ends[length - 1] if length else None
        ends[length : length + 1] = [number]
    rising: set[int] = set()
    number_or_none = ends[-1] if ends else None
    while number_or_none is not None:
        rising.add(number_or_none)
        number_or_none = predecessors[number_or_none]
    return rising


def _metadata(notebook: Notebook) -> tuple[object, ...]:
    return notebook.metadata, notebook.nbformat_minor, notebook.extra
