"""The current cell of a run, derived from the states of the notebook."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import commutable as cm
from enchannel._cli.notebook.plan import NotebookPlan

__all__ = ["CellEvent", "CellFinished", "CellStarted", "CellTracker"]


@dataclass(frozen=True, slots=True)
class CellStarted:
    """A cell was sent to the kernel."""

    cell_id: str


@dataclass(frozen=True, slots=True)
class CellFinished:
    """A cell has finished.

    Attributes:
        notebook: The notebook at that moment.
        seconds: The time since the cell was sent.
    """

    notebook: cm.Notebook
    cell_id: str
    seconds: float


CellEvent: TypeAlias = CellStarted | CellFinished


class CellTracker:
    """Follows the cells of a plan, one after the other.

    It is updated on one thread, and may be read on any.

    Args:
        plan: The cells that run.
        now: Returns the time in seconds.

    Attributes:
        notebook: The latest state of the notebook.
        started_at: The time at which the current cell was sent; None before that.
    """

    def __init__(self, plan: NotebookPlan, now: Callable[[], float] = time.monotonic) -> None:
        self.notebook = plan.notebook
        self.started_at: float | None = None
        self._cells = plan.cells
        self._now = now
        self._index = 0
        self._has_input_request = False

    @property
    def cell_id(self) -> str | None:
        """The id of the current cell; None after the last."""
        index = self._index
        return self._cells[index] if index < len(self._cells) else None

    @property
    def is_started(self) -> bool:
        """True if the current cell was sent to the kernel."""
        return self.started_at is not None and self.cell_id is not None

    @property
    def is_executing(self) -> bool:
        """True if the kernel has reported that it executes the current cell."""
        cell_id = self.cell_id
        if self.started_at is None or cell_id is None:
            return False
        cell = self.notebook.cell(cell_id)
        has_count = isinstance(cell, cm.CodeCell) and cell.execution_count is not None
        return has_count or self._has_input_request

    def on_input_request(self) -> None:
        """Note an input request, which may arrive before the execution count: its channel is another."""
        self._has_input_request = True

    def update(self, notebook: cm.Notebook) -> CellEvent | None:
        """Take the next state of the notebook; return the event that it shows, if any."""
        self.notebook = notebook
        if (cell_id := self.cell_id) is None:
            return None
        cell = notebook.cell(cell_id)
        is_running = isinstance(cell, cm.CodeCell) and cell.status is cm.CellStatus.RUNNING
        if is_running and self.started_at is None:
            self.started_at = self._now()
            return CellStarted(cell_id)
        if not is_running and self.started_at is not None:
            seconds = self._now() - self.started_at
            self._index += 1
            self.started_at = None
            self._has_input_request = False
            return CellFinished(notebook, cell_id, seconds)
        return None
