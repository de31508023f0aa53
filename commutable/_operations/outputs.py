"""Set and clear the results of code cells: outputs, execution counts and execution times."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from commutable._cell import Cell, CodeCell, code_cell
from commutable._document_errors import InvalidNotebook
from commutable._notebook import Notebook, mapped, replaced
from commutable._operations.fields import is_unchanged, with_fields
from enchannel import Outputs
from enchannel.frozen import FrozenDict

__all__ = [
    "clear_all_outputs",
    "clear_outputs",
    "update_execution_count",
    "update_outputs",
]


def update_outputs(
    notebook: Notebook, cell_id: str, outputs: Iterable[Mapping[str, Any]]
) -> Notebook:
    """Return the notebook with the outputs of a code cell replaced.

    Equal outputs can still count as a change, since a display among them may be updated later.

    Args:
        notebook: The notebook that contains the cell.
        cell_id: The id of the cell.
        outputs: An ``Outputs``, or outputs in nbformat form.

    Raises:
        CellNotFound: the notebook has no such cell.
        InvalidNotebook: the cell is not a code cell, or an output is invalid.
    """
    outputs = code_cell(outputs=outputs).outputs
    cell = _code_cell(notebook, cell_id, "outputs")
    if is_unchanged(cell.outputs, outputs):
        return notebook
    return with_fields(notebook, cell_id, outputs=outputs)


def update_execution_count(notebook: Notebook, cell_id: str, count: int | None) -> Notebook:
    """Return the notebook with the execution count of a code cell replaced.

    Args:
        notebook: The notebook that contains the cell.
        cell_id: The id of the cell.
        count: The number in the prompt, or None.

    Raises:
        CellNotFound: the notebook has no such cell.
        InvalidNotebook: the cell is not a code cell, or the count is not a non-negative ``int`` or None.
    """
    _code_cell(notebook, cell_id, "an execution count")
    return with_fields(notebook, cell_id, execution_count=count)


def clear_outputs(notebook: Notebook, cell_id: str) -> Notebook:
    """Return the notebook with the outputs, execution count and execution times of a code cell removed.

    Args:
        notebook: The notebook that contains the cell.
        cell_id: The id of the cell.

    Raises:
        CellNotFound: the notebook has no such cell.
        InvalidNotebook: the cell is not a code cell.
    """
    cell = _code_cell(notebook, cell_id, "outputs")
    return replaced(notebook, notebook.index(cell_id), _cleared(cell))


def clear_all_outputs(notebook: Notebook) -> Notebook:
    """Return the notebook with ``clear_outputs`` applied to every code cell.

    Args:
        notebook: The notebook.
    """
    return mapped(notebook, _cleared)


def _cleared(cell: Cell) -> Cell:
    if not isinstance(cell, CodeCell):
        return cell
    if not cell.outputs and cell.execution_count is None and "execution" not in cell.metadata:
        return cell
    metadata = FrozenDict({k: v for k, v in cell.metadata.items() if k != "execution"})
    return replace(cell, outputs=Outputs(), execution_count=None, metadata=metadata)


def _code_cell(notebook: Notebook, cell_id: str, feature: str) -> CodeCell:
    cell = notebook.cell(cell_id)
    if not isinstance(cell, CodeCell):
        raise InvalidNotebook(
            f"cell {cell_id} is a {cell.cell_type} cell; only code cells have {feature}"
        )
    return cell
