"""Add, remove, move and replace whole cells."""

from __future__ import annotations

from dataclasses import fields

from commutable._cell import Cell
from commutable._notebook import Notebook, inserted, replaced, without
from commutable._operations.fields import is_unchanged

__all__ = [
    "append_cell",
    "delete_cell",
    "insert_cell_after",
    "insert_cell_at",
    "move_cell",
    "replace_cell",
    "validate_index",
]


def append_cell(notebook: Notebook, cell: Cell) -> Notebook:
    """Return the notebook with a cell added at the end.

    Args:
        notebook: The notebook to extend.
        cell: The cell to add.

    Raises:
        DuplicateCell: the notebook already has a cell with this id.
    """
    return inserted(notebook, cell, len(notebook.cells))


def insert_cell_at(notebook: Notebook, cell: Cell, index: int) -> Notebook:
    """Return the notebook with a cell inserted at an index.

    Args:
        notebook: The notebook to extend.
        cell: The cell to add.
        index: The index of the new cell: 0 inserts it first, ``len(notebook.cells)`` last.

    Raises:
        DuplicateCell: the notebook already has a cell with this id.
        IndexError: the index is out of range.
    """
    return inserted(notebook, cell, validate_index("index", index, len(notebook.cells)))


def insert_cell_after(notebook: Notebook, cell: Cell, prior_id: str) -> Notebook:
    """Return the notebook with a cell inserted after another one.

    Args:
        notebook: The notebook to extend.
        cell: The cell to add.
        prior_id: The id of the cell before it.

    Raises:
        DuplicateCell: the notebook already has a cell with the id of ``cell``.
        CellNotFound: the notebook has no cell with the id ``prior_id``.
    """
    return inserted(notebook, cell, notebook.index(prior_id) + 1)


def delete_cell(notebook: Notebook, cell_id: str) -> Notebook:
    """Return the notebook without the given cell.

    Args:
        notebook: The notebook that contains the cell.
        cell_id: The id of the cell to remove.

    Raises:
        CellNotFound: the notebook has no such cell.
    """
    return without(notebook, notebook.index(cell_id))


def move_cell(notebook: Notebook, cell_id: str, index: int) -> Notebook:
    """Return the notebook with a cell moved to an index; the other cells keep their order.

    Args:
        notebook: The notebook that contains the cell.
        cell_id: The id of the cell to move.
        index: The index of the cell afterwards; 0 is the first.

    Raises:
        CellNotFound: the notebook has no such cell.
        IndexError: the index is out of range.
    """
    before = notebook.index(cell_id)
    after = validate_index("index", index, len(notebook.cells) - 1)
    if before == after:
        return notebook
    return inserted(without(notebook, before), notebook.cells[before], after)


def replace_cell(notebook: Notebook, cell: Cell) -> Notebook:
    """Return the notebook with the given cell in place of the one with the same id.

    Args:
        notebook: The notebook that contains a cell with this id.
        cell: The new state of that cell.

    Raises:
        CellNotFound: the notebook has no cell with this id.
    """
    index = notebook.index(cell.id)
    return notebook if _equal(notebook.cells[index], cell) else replaced(notebook, index, cell)


def validate_index(name: str, index: int, maximum: int) -> int:
    """Return the index.

    Raises:
        IndexError: it is not between 0 and ``maximum``.
    """
    if not 0 <= index <= maximum:
        raise IndexError(f"{name} must be 0 to {maximum}, not {index}")
    return index


def _equal(before: Cell, after: Cell) -> bool:
    return before.cell_type == after.cell_type and all(
        is_unchanged(getattr(before, field.name), getattr(after, field.name))
        for field in fields(before)
    )
