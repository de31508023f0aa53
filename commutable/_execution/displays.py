"""Displays with an id, which an update changes in every cell that shows them."""

from __future__ import annotations

from dataclasses import replace

from commutable._cell import CodeCell
from commutable._notebook import Notebook, replaced
from enchannel import AnyMessage

__all__ = ["DISPLAY_MESSAGES", "DisplayIndex"]

DISPLAY_MESSAGES = frozenset({"display_data", "execute_result", "update_display_data"})


class DisplayIndex:
    """The ids of the cells that show, or have shown, each display."""

    def __init__(self) -> None:
        self._cell_ids: dict[object, set[str]] = {}

    def add_cell(self, cell: CodeCell) -> None:
        """Record the displays among the outputs of a cell."""
        for display_id in cell.outputs.display_ids:
            self._cell_ids.setdefault(display_id, set()).add(cell.id)

    def updated(self, notebook: Notebook, cell: CodeCell, message: AnyMessage) -> Notebook:
        """Return the notebook with the display in a message of ``cell`` updated in all other cells."""
        transient = message.content.get("transient")
        display_id = transient.get("display_id") if isinstance(transient, dict) else None
        if not isinstance(display_id, (str, int)):
            return notebook
        cell_ids = self._cell_ids.setdefault(display_id, set())
        if message.header.msg_type != "update_display_data":
            cell_ids.add(cell.id)
        for other_id in cell_ids - {cell.id}:
            index = notebook.index(other_id)
            other = notebook.cells[index]
            if isinstance(other, CodeCell):
                outputs = other.outputs.update(message)
                if outputs is not other.outputs:
                    notebook = replaced(notebook, index, replace(other, outputs=outputs))
        return notebook
