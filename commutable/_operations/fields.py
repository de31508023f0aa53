"""Change single fields of a cell or of the notebook."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from commutable._cell import frozen_dict
from commutable._notebook import Notebook, annotated, replaced
from enchannel import Outputs
from enchannel.frozen import FrozenDict

__all__ = [
    "is_unchanged",
    "mark_cell_deleting",
    "mark_cell_not_deleting",
    "set_cell_metadata",
    "set_metadata",
    "update_source",
    "with_fields",
]


def mark_cell_deleting(notebook: Notebook, cell_id: str) -> Notebook:
    """Return the notebook with a cell marked as about to be deleted.

    A user interface can show the mark while it asks for confirmation. It is not saved to files.

    Args:
        notebook: The notebook that contains the cell.
        cell_id: The id of the cell.

    Raises:
        CellNotFound: the notebook has no such cell.
    """
    return with_fields(notebook, cell_id, deleting=True)


def mark_cell_not_deleting(notebook: Notebook, cell_id: str) -> Notebook:
    """Return the notebook with the mark of ``mark_cell_deleting`` removed from a cell.

    Args:
        notebook: The notebook that contains the cell.
        cell_id: The id of the cell.

    Raises:
        CellNotFound: the notebook has no such cell.
    """
    return with_fields(notebook, cell_id, deleting=False)


def update_source(notebook: Notebook, cell_id: str, source: str) -> Notebook:
    """Return the notebook with the source of a cell replaced; its outputs are kept.

    Args:
        notebook: The notebook that contains the cell.
        cell_id: The id of the cell.
        source: The new source.

    Raises:
        CellNotFound: the notebook has no such cell.
        InvalidNotebook: the source is not a ``str``.
    """
    return with_fields(notebook, cell_id, source=source)


def set_cell_metadata(notebook: Notebook, cell_id: str, metadata: Mapping[str, Any]) -> Notebook:
    """Return the notebook with the metadata of a cell replaced.

    Args:
        notebook: The notebook that contains the cell.
        cell_id: The id of the cell.
        metadata: All of the new metadata; copied and frozen.

    Raises:
        CellNotFound: the notebook has no such cell.
        InvalidNotebook: the metadata is not a JSON object.
    """
    return with_fields(notebook, cell_id, metadata=frozen_dict(metadata, "cell metadata"))


def set_metadata(notebook: Notebook, metadata: Mapping[str, Any]) -> Notebook:
    """Return the notebook with its own metadata replaced.

    Args:
        notebook: The notebook.
        metadata: All of the new metadata; copied and frozen.

    Raises:
        InvalidNotebook: the metadata is not a JSON object.
    """
    frozen = frozen_dict(metadata, "notebook metadata")
    return notebook if is_unchanged(notebook.metadata, frozen) else annotated(notebook, frozen)


def with_fields(notebook: Notebook, cell_id: str, **fields: Any) -> Notebook:
    """Return the notebook with some fields of a cell replaced, or itself if they are all unchanged."""
    index = notebook.index(cell_id)
    cell = notebook.cells[index]
    if all(is_unchanged(getattr(cell, name), value) for name, value in fields.items()):
        return notebook
    return replaced(notebook, index, replace(cell, **fields))


def is_unchanged(before: object, after: object) -> bool:
    """Return True if two values of a field are the same JSON, in which True and 1 differ."""
    if isinstance(before, FrozenDict):
        return before is after or (before == after and repr(before) == repr(after))
    if isinstance(before, Outputs) and isinstance(after, Outputs):
        return before.is_unchanged_from(after)
    return type(before) is type(after) and before == after
