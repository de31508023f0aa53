"""What of a notebook is to run: all of it, or what is left since the last time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import commutable as cm

__all__ = ["Plan", "afresh", "taken_up"]


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to run.

    Attributes:
        notebook: As it is before.
        cells: The ids of the cells that are to run, in order.
        done: How many have run before, and are not to run again.
    """

    notebook: cm.Notebook
    cells: Sequence[str]
    done: int = 0


def afresh(notebook: cm.Notebook) -> Plan:
    """All of it, as if none had ever run."""
    cells = cm.runnable_cells(notebook)
    for cell_id in cells:
        notebook = cm.clear_outputs(notebook, cell_id)
    return Plan(notebook, cells)


def taken_up(notebook: cm.Notebook, before: cm.Notebook, *, lenient: bool) -> Plan:
    """What is left after the cells that have run, and are still the same.

    Args:
        notebook: What is to run.
        before: What was saved when it ran.
        lenient: A cell that raised has run as well.
    """
    plan = afresh(notebook)
    done = 0
    notebook = plan.notebook
    for cell_id, was_id in zip(plan.cells, cm.runnable_cells(before), strict=False):
        cell, was = notebook.cell(cell_id), before.cell(was_id)
        if not (isinstance(cell, cm.CodeCell) and isinstance(was, cm.CodeCell)):
            break
        if cell.source != was.source or not _has_run(was, lenient=lenient):
            break
        metadata = {**cell.metadata, "execution": was.metadata["execution"]}
        count, outputs = was.execution_count, was.outputs
        notebook = cm.replace_cell(
            notebook, replace(cell, metadata=metadata, outputs=outputs, execution_count=count)
        )
        done += 1
    return Plan(notebook, plan.cells[done:], done)


def _has_run(cell: cm.CodeCell, *, lenient: bool) -> bool:
    times = cell.metadata.get("execution")
    if not (isinstance(times, dict) and "shell.execute_reply" in times):
        return False
    may_raise = lenient or "raises-exception" in cell.tags
    return may_raise or all(output["output_type"] != "error" for output in cell.outputs)
