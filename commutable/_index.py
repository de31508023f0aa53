"""Where the cells of a notebook are. One index serves all states that came from one another."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

from commutable._cell import Cell

__all__ = ["Index"]

NEAR = 16  # places where a cell is looked for first
SPARE = 64  # ids more than twice the cells, before those that are gone are forgotten


class Index:
    """The place of each cell by its id, as it was seen last in one of the states.

    Adding a cell to ten thousand copies no index that way. A place is a guess, which is looked at before
    it is believed; only that an id is not here is certain. So it may be used by many states, and threads.
    """

    __slots__ = ("_places",)

    def __init__(self, cells: Sequence[Cell]) -> None:
        self._places = {cell.id: place for place, cell in enumerate(cells)}

    def find(self, cells: Sequence[Cell], cell_id: str) -> int | None:
        """Where a cell is among those of a state."""
        guess = self._places.get(cell_id)
        if guess is None:
            return None
        end = len(cells)
        if guess < end and cells[guess].id == cell_id:
            return guess
        near = range(max(guess - NEAR, 0), min(guess + NEAR, end))  # it has moved, and rarely far
        for place in chain(near, range(end)):
            if cells[place].id == cell_id:
                self._places[cell_id] = place
                return place
        return None

    def with_place(self, cells: Sequence[Cell], place: int) -> Index:
        """The index of a state that has another cell, there."""
        if len(self._places) > 2 * len(cells) + SPARE:
            return Index(cells)
        self._places[cells[place].id] = place
        return self
