"""The positions of cells by id, in one index for all notebooks derived from one another."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

from commutable._cell import Cell

__all__ = ["CellIndex"]

# The number of cells on each side of its last known position among which a moved cell is searched first.
NEARBY_CELLS = 16
# An index with more ids than twice the cells and this is rebuilt, to drop the ids of deleted cells.
MAX_STALE_IDS = 64


class CellIndex:
    """The last known position of each cell by id, in any of the notebooks that share the index.

    Sharing saves copying the index of a large notebook for each added cell. A position is only a hint
    and is checked before use, but an id that is missing here is in none of the notebooks. This makes the
    index safe to share between notebooks and threads.
    """

    __slots__ = ("_positions",)

    def __init__(self, cells: Sequence[Cell]) -> None:
        self._positions = {cell.id: position for position, cell in enumerate(cells)}

    def find(self, cells: Sequence[Cell], cell_id: str) -> int | None:
        """Return the position of a cell in the cells of a notebook, or None."""
        hint = self._positions.get(cell_id)
        if hint is None:
            return None
        end = len(cells)
        if hint < end and cells[hint].id == cell_id:
            return hint
        # Cells rarely move far.
        nearby = range(max(hint - NEARBY_CELLS, 0), min(hint + NEARBY_CELLS, end))
        for position in chain(nearby, range(end)):
            if cells[position].id == cell_id:
                self._positions[cell_id] = position
                return position
        return None

    def with_cell_at(self, cells: Sequence[Cell], position: int) -> CellIndex:
        """Return the index of a notebook that has gained a cell at a position."""
        if len(self._positions) > 2 * len(cells) + MAX_STALE_IDS:
            return CellIndex(cells)
        self._positions[cells[position].id] = position
        return self
