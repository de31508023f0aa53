"""The current cell of a notebook run, from the states of the notebook."""

from dataclasses import replace

import commutable as cm
from enchannel._cli.notebook.cell_tracker import CellFinished, CellStarted, CellTracker
from enchannel._cli.notebook.plan import NotebookPlan

RUNNING, IDLE = cm.CellStatus.RUNNING, cm.CellStatus.IDLE


def tracker_of(*sources: str) -> CellTracker:
    """Make a tracker whose clock advances by a second at each reading."""
    notebook = cm.empty_notebook
    for number, source in enumerate(sources, 1):
        notebook = cm.append_cell(notebook, cm.code_cell(source, id=f"c{number}"))
    times = iter(range(100))
    return CellTracker(NotebookPlan(notebook, cm.runnable_cells(notebook)), now=lambda: next(times))


def with_cell(
    notebook: cm.Notebook, cell_id: str, status: cm.CellStatus, count: int | None = None
) -> cm.Notebook:
    cell = notebook.cell(cell_id)
    assert isinstance(cell, cm.CodeCell)
    return cm.replace_cell(notebook, replace(cell, status=status, execution_count=count))


def test_tracker_follows_cells_in_order() -> None:
    tracker = tracker_of("1", "2")
    running = with_cell(tracker.notebook, "c1", RUNNING)
    assert tracker.update(running) == CellStarted("c1")
    assert tracker.update(running) is None
    finished = with_cell(running, "c1", IDLE, 1)
    assert tracker.update(finished) == CellFinished(finished, "c1", 1.0)
    assert tracker.cell_id == "c2"
    assert tracker.update(with_cell(finished, "c2", RUNNING)) == CellStarted("c2")


def test_tracker_has_no_cell_after_last() -> None:
    tracker = tracker_of("1")
    running = with_cell(tracker.notebook, "c1", RUNNING)
    tracker.update(running)
    tracker.update(with_cell(running, "c1", IDLE, 1))
    assert (tracker.cell_id, tracker.is_started, tracker.is_executing) == (None, False, False)
    assert tracker.update(running) is None
    assert tracker.notebook is running


def test_tracker_executes_once_kernel_reports_it() -> None:
    tracker = tracker_of("1")
    assert not tracker.is_started
    tracker.update(with_cell(tracker.notebook, "c1", RUNNING))
    assert (tracker.is_started, tracker.is_executing) == (True, False)
    tracker.update(with_cell(tracker.notebook, "c1", RUNNING, 1))
    assert tracker.is_executing


def test_tracker_executes_after_input_request() -> None:
    tracker = tracker_of("1", "2")
    tracker.update(with_cell(tracker.notebook, "c1", RUNNING))
    tracker.on_input_request()
    assert tracker.is_executing
    tracker.update(with_cell(tracker.notebook, "c1", IDLE))
    tracker.update(with_cell(tracker.notebook, "c2", RUNNING))
    assert (tracker.is_started, tracker.is_executing) == (True, False)
