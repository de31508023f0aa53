"""Add, remove and merge the attachments of Markdown and raw cells."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from commutable._cell import Attachments, Cell, CodeCell, MarkdownCell, RawCell, frozen_dict
from commutable._document_errors import InvalidNotebook
from commutable._notebook import Notebook
from commutable._operations.fields import with_fields
from enchannel.frozen import FrozenDict

__all__ = ["attach", "attachments_of", "detach", "merge_attachments"]


def attach(notebook: Notebook, cell_id: str, name: str, bundle: Mapping[str, Any]) -> Notebook:
    """Return the notebook with an attachment added to a cell.

    Markdown shows the attachment as ``![](attachment:NAME)``.

    Args:
        notebook: The notebook that contains the cell.
        cell_id: The id of the cell.
        name: The name of the attachment; an existing one with this name is replaced.
        bundle: The content in one or more formats, by MIME type; for example an image in base64.

    Raises:
        CellNotFound: the notebook has no such cell.
        InvalidNotebook: the cell is a code cell, or the bundle is not a JSON object.
    """
    cell = _attachable_cell(notebook, cell_id)
    frozen = frozen_dict(bundle, f"attachment {name}")
    attachments = FrozenDict({**(cell.attachments or {}), name: frozen})
    return with_fields(notebook, cell_id, attachments=attachments)


def detach(notebook: Notebook, cell_id: str, name: str) -> Notebook:
    """Return the notebook with an attachment removed from a cell.

    Args:
        notebook: The notebook that contains the cell.
        cell_id: The id of the cell.
        name: The name of the attachment.

    Raises:
        CellNotFound: the notebook has no such cell.
        InvalidNotebook: the cell has no such attachment.
    """
    attachments = dict(_attachable_cell(notebook, cell_id).attachments or {})
    if name not in attachments:
        raise InvalidNotebook(f"cell {cell_id} has no attachment {name!r}")
    del attachments[name]
    remaining = FrozenDict(attachments) if attachments else None
    return with_fields(notebook, cell_id, attachments=remaining)


def attachments_of(cell: Cell) -> Attachments | None:
    """Return the attachments of a cell; None for a code cell."""
    return None if isinstance(cell, CodeCell) else cell.attachments


def merge_attachments(attachments: dict[str, Any], cell: Cell) -> str:
    """Add the attachments of a cell to a dict, and return its source with their new names.

    An attachment gets a new name if the dict has a different one of the same name.
    """
    new_names: dict[str, str] = {}
    for name, bundle in (attachments_of(cell) or {}).items():
        new_names[name] = _free_name(name, bundle, attachments)
        attachments[new_names[name]] = bundle
    if not new_names:
        return cell.source
    # One pass, since the new name of one attachment can be the old name of another. Longer names
    # come first, since a name can begin another.
    pattern = "|".join(map(re.escape, sorted(new_names, key=len, reverse=True)))
    return re.sub(
        rf"(?<=attachment:)({pattern})(?![\w.-])", lambda match: new_names[match[1]], cell.source
    )


def _free_name(name: str, bundle: object, attachments: Mapping[str, Any]) -> str:
    """Return the name, with a number if the attachments have other content under it."""
    stem, dot, suffix = name.rpartition(".")
    free, number = name, 1
    while free in attachments and attachments[free] != bundle:
        free = f"{stem}-{number}{dot}{suffix}" if dot else f"{name}-{number}"
        number += 1
    return free


def _attachable_cell(notebook: Notebook, cell_id: str) -> MarkdownCell | RawCell:
    cell = notebook.cell(cell_id)
    if isinstance(cell, CodeCell):
        raise InvalidNotebook(f"cell {cell_id} is a code cell; code cells have no attachments")
    return cell
