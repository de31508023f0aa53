"""What can be done to a notebook. Each gives another state, and shares with the old one what it leaves be.

Where an operation changes nothing, what it gives is the same object: ``after is before`` tells.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from typing import Any, Literal

from commutable._cell import (
    Cell,
    CellStatus,
    CodeCell,
    MarkdownCell,
    RawCell,
    code_cell,
    frozen_dict,
    new_id,
)
from commutable._document_errors import InvalidNotebook, NotebookError
from commutable._notebook import Notebook, annotated, inserted, mapped, replaced, without
from enchannel import Outputs
from enchannel.frozen import FrozenDict

__all__ = [
    "append_cell",
    "attach",
    "change_cell_type",
    "clear_all_outputs",
    "clear_outputs",
    "delete_cell",
    "detach",
    "insert_cell_after",
    "insert_cell_at",
    "mark_cell_deleting",
    "mark_cell_not_deleting",
    "merge_cells",
    "move_cell",
    "replace_cell",
    "set_cell_metadata",
    "set_metadata",
    "split_cell",
    "update_execution_count",
    "update_outputs",
    "update_source",
]


def append_cell(notebook: Notebook, cell: Cell) -> Notebook:
    """A cell after all others.

    Raises:
        DuplicateCell: the notebook has one of that id.
    """
    return inserted(notebook, cell, len(notebook.cells))


def insert_cell_at(notebook: Notebook, cell: Cell, index: int) -> Notebook:
    """A cell at a place: 0 is before all others, their number after them.

    Raises:
        DuplicateCell: the notebook has one of that id.
        IndexError: there is no such place.
    """
    return inserted(notebook, cell, _place(index, len(notebook.cells)))


def insert_cell_after(notebook: Notebook, cell: Cell, prior_id: str) -> Notebook:
    """A cell behind another.

    Raises:
        DuplicateCell: the notebook has one of that id.
        CellNotFound: there is no such other.
    """
    return inserted(notebook, cell, notebook.index(prior_id) + 1)


def delete_cell(notebook: Notebook, cell_id: str) -> Notebook:
    """Without a cell.

    Raises:
        CellNotFound: there is none, as of all the following.
    """
    return without(notebook, notebook.index(cell_id))


def mark_cell_deleting(notebook: Notebook, cell_id: str) -> Notebook:
    """A cell as it is shown while somebody is asked whether to delete it. Files do not have that."""
    return _changed(notebook, cell_id, deleting=True)


def mark_cell_not_deleting(notebook: Notebook, cell_id: str) -> Notebook:
    """The cell stays."""
    return _changed(notebook, cell_id, deleting=False)


def update_source(notebook: Notebook, cell_id: str, source: str) -> Notebook:
    """Another text in a cell; its outputs stay."""
    return _changed(notebook, cell_id, source=source)


def set_cell_metadata(notebook: Notebook, cell_id: str, metadata: Mapping[str, Any]) -> Notebook:
    """Other metadata of a cell, in place of what it had.

    Raises:
        InvalidNotebook: it is not what JSON calls an object.
    """
    return _changed(notebook, cell_id, metadata=frozen_dict(metadata, "the metadata of a cell"))


def set_metadata(notebook: Notebook, metadata: Mapping[str, Any]) -> Notebook:
    """Other metadata of the notebook, in place of what it had.

    Raises:
        InvalidNotebook: it is not what JSON calls an object.
    """
    frozen = frozen_dict(metadata, "the metadata of a notebook")
    return notebook if _same(notebook.metadata, frozen) else annotated(notebook, frozen)


def update_outputs(
    notebook: Notebook, cell_id: str, outputs: Iterable[Mapping[str, Any]]
) -> Notebook:
    """Other outputs of a code cell: ``Outputs``, or such as nbformat has. Equal ones may be others: they
    can have displays that go on being updated.

    Raises:
        InvalidNotebook: it is no code cell, or they are no outputs.
    """
    outputs = code_cell(outputs=outputs).outputs
    cell = _code(notebook, cell_id, "has outputs")
    return (
        notebook if _same(cell.outputs, outputs) else _changed(notebook, cell_id, outputs=outputs)
    )


def update_execution_count(notebook: Notebook, cell_id: str, count: int | None) -> Notebook:
    """Another number in the prompt of a code cell.

    Raises:
        InvalidNotebook: it is no code cell, or this is no such number.
    """
    _code(notebook, cell_id, "has an execution count")
    return _changed(notebook, cell_id, execution_count=count)


def clear_outputs(notebook: Notebook, cell_id: str) -> Notebook:
    """A code cell as if it had not been run: without outputs, execution count and times.

    Raises:
        InvalidNotebook: it is no code cell.
    """
    cell = _code(notebook, cell_id, "has outputs")
    return replaced(notebook, notebook.index(cell_id), _cleared(cell))


def clear_all_outputs(notebook: Notebook) -> Notebook:
    """A notebook as if it had not been run."""
    return mapped(notebook, _cleared)


def move_cell(notebook: Notebook, cell_id: str, index: int) -> Notebook:
    """A cell at another place: 0 is before all others. The others keep their order.

    Raises:
        IndexError: there is no such place.
    """
    before = notebook.index(cell_id)
    after = _place(index, len(notebook.cells) - 1)
    if before == after:
        return notebook
    return inserted(without(notebook, before), notebook.cells[before], after)


def replace_cell(notebook: Notebook, cell: Cell) -> Notebook:
    """Another state of the cell that has its id.

    Raises:
        CellNotFound: there is none.
    """
    place = notebook.index(cell.id)
    return notebook if _alike(notebook.cells[place], cell) else replaced(notebook, place, cell)


def split_cell(
    notebook: Notebook, cell_id: str, position: int, *, new_cell_id: str | None = None
) -> Notebook:
    """Two cells of one: its text up to a position (in characters), and the rest, behind it.

    The first stays the cell that it was, with its attachments. The outputs of a code cell go with the
    second, as they were those of its end. A newline at the cut goes.

    Args:
        notebook: With the cell.
        cell_id: Which.
        position: How many characters the first keeps.
        new_cell_id: The id of the second; a fresh one by default.

    Raises:
        IndexError: its text is not that long.
        DuplicateCell: the notebook has a cell of the new id.
    """
    place = notebook.index(cell_id)
    cell = notebook.cells[place]
    position = _place(position, len(cell.source))
    first, second = cell.source[:position], cell.source[position:]
    if first.endswith("\n"):
        first = first[:-1]
    elif second.startswith("\n"):
        second = second[1:]
    other_id = new_id() if new_cell_id is None else new_cell_id
    other: Cell
    if isinstance(cell, CodeCell):
        other = replace(cell, id=other_id, source=second, deleting=False, status=CellStatus.IDLE)
        cell = replace(cell, source=first, outputs=Outputs(), execution_count=None)
    else:
        other = replace(cell, id=other_id, source=second, deleting=False, attachments=None)
        cell = replace(cell, source=first)
    return inserted(replaced(notebook, place, cell), other, place + 1)


def merge_cells(notebook: Notebook, *cell_ids: str) -> Notebook:
    """One cell of several, in the order of the notebook, at the place of the first of them.

    It is of the first's type, with its id and metadata. Their texts are on lines of their own (Markdown:
    paragraphs). Their attachments are together; one whose name another has already gets a new one. What
    was run has no outputs any more.

    Raises:
        NotebookError: those are fewer than two cells.
    """
    places = sorted({notebook.index(cell_id) for cell_id in cell_ids})
    if len(places) < 2:
        raise NotebookError("it takes two cells to merge them")
    first, *others = (notebook.cells[place] for place in places)
    sources, attachments = [first.source], dict(_attachments(first) or ())
    for other in others:
        sources.append(_moved_in(attachments, other))
    between = "\n\n" if isinstance(first, MarkdownCell) else "\n"
    source = between.join(sources)
    merged: Cell
    if isinstance(first, CodeCell):
        merged = replace(first, source=source, outputs=Outputs(), execution_count=None)
    else:
        have = any(_attachments(notebook.cells[place]) is not None for place in places)
        merged = replace(
            first, source=source, attachments=FrozenDict(attachments) if have else None
        )
    for place in reversed(places[1:]):
        notebook = without(notebook, place)
    return replaced(notebook, places[0], merged)


def change_cell_type(
    notebook: Notebook, cell_id: str, cell_type: Literal["code", "markdown", "raw"]
) -> Notebook:
    """The same text as a cell of another type. Code has no attachments, and only code has outputs.

    Raises:
        InvalidNotebook: there is no such type.
    """
    place = notebook.index(cell_id)
    cell = notebook.cells[place]
    if cell.cell_type == cell_type:
        return notebook
    id, source, metadata, attachments = cell.id, cell.source, cell.metadata, _attachments(cell)
    other: Cell
    match cell_type:
        case "code":
            other = CodeCell(id=id, source=source, metadata=metadata)
        case "markdown":
            other = MarkdownCell(id=id, source=source, metadata=metadata, attachments=attachments)
        case "raw":
            other = RawCell(id=id, source=source, metadata=metadata, attachments=attachments)
        case _:
            raise InvalidNotebook(
                f"{cell_type!r} is no type of a cell: those are code, markdown and raw"
            )
    return replaced(notebook, place, other)


def attach(notebook: Notebook, cell_id: str, name: str, bundle: Mapping[str, Any]) -> Notebook:
    """A medium with a cell, which its Markdown shows as ``![](attachment:NAME)``.

    Args:
        notebook: With the cell.
        cell_id: Which.
        name: What the text calls it; another of that name is replaced.
        bundle: The same thing in one or more formats, by MIME type: base64 of an image, say.

    Raises:
        InvalidNotebook: it is a code cell, or no bundle.
    """
    cell = _attachable(notebook, cell_id)
    frozen = frozen_dict(bundle, f"attachment {name}")
    attachments = FrozenDict({**(cell.attachments or {}), name: frozen})
    return _changed(notebook, cell_id, attachments=attachments)


def detach(notebook: Notebook, cell_id: str, name: str) -> Notebook:
    """A cell without one of its attachments.

    Raises:
        InvalidNotebook: it has none of that name.
    """
    attachments = dict(_attachable(notebook, cell_id).attachments or {})
    if name not in attachments:
        raise InvalidNotebook(f"cell {cell_id} has no attachment {name!r}")
    del attachments[name]
    return _changed(notebook, cell_id, attachments=FrozenDict(attachments) if attachments else None)


def _changed(notebook: Notebook, cell_id: str, **fields: Any) -> Notebook:
    place = notebook.index(cell_id)
    cell = notebook.cells[place]
    if all(_same(getattr(cell, name), value) for name, value in fields.items()):
        return notebook
    return replaced(notebook, place, replace(cell, **fields))


def _same(before: object, after: object) -> bool:
    """Whether there is nothing to change; True and 1 are two things to JSON."""
    if isinstance(before, FrozenDict):
        return before is after or (before == after and repr(before) == repr(after))
    if isinstance(before, Outputs) and isinstance(after, Outputs):
        return before.is_unchanged_from(after)
    return type(before) is type(after) and before == after


def _alike(before: Cell, after: Cell) -> bool:
    return before.cell_type == after.cell_type and all(
        _same(getattr(before, field.name), getattr(after, field.name)) for field in fields(before)
    )


def _cleared(cell: Cell) -> Cell:
    if not isinstance(cell, CodeCell):
        return cell
    if not cell.outputs and cell.execution_count is None and "execution" not in cell.metadata:
        return cell
    metadata = FrozenDict({k: v for k, v in cell.metadata.items() if k != "execution"})
    return replace(cell, outputs=Outputs(), execution_count=None, metadata=metadata)


def _place(index: int, most: int) -> int:
    if not 0 <= index <= most:
        raise IndexError(f"{index} is no place here: those are 0 to {most}")
    return index


def _code(notebook: Notebook, cell_id: str, what: str) -> CodeCell:
    cell = notebook.cell(cell_id)
    if not isinstance(cell, CodeCell):
        raise InvalidNotebook(f"cell {cell_id} is {cell.cell_type}, and only code {what}")
    return cell


def _attachable(notebook: Notebook, cell_id: str) -> MarkdownCell | RawCell:
    cell = notebook.cell(cell_id)
    if isinstance(cell, CodeCell):
        raise InvalidNotebook(f"cell {cell_id} is code, and code has no attachments")
    return cell


def _attachments(cell: Cell) -> dict[str, dict[str, Any]] | None:
    return None if isinstance(cell, CodeCell) else cell.attachments


def _moved_in(attachments: dict[str, Any], cell: Cell) -> str:
    """Add the attachments of a cell to those that are there; its text, which calls them by their names."""
    names: dict[str, str] = {}
    for name, bundle in (_attachments(cell) or {}).items():
        free = name
        number = 1
        while free in attachments and attachments[free] != bundle:
            stem, dot, suffix = name.rpartition(".")
            free = f"{stem}-{number}{dot}{suffix}" if dot else f"{name}-{number}"
            number += 1
        attachments[free] = bundle
        names[name] = free
    if not names:
        return cell.source
    # In one go: what one is called now may be what another was called. The longest name is the one meant.
    called = "|".join(map(re.escape, sorted(names, key=len, reverse=True)))
    return re.sub(
        rf"(?<=attachment:)({called})(?![\w.-])", lambda match: names[match[1]], cell.source
    )
