"""The cells to run: all of a notebook, or those that are left since the last run."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import commutable as cm
import enchannel as ec
from enchannel._cli.notebook.files import UnusableNotebook, is_stream, load_notebook

__all__ = ["NotebookPlan", "plan_notebook"]

PAPERMILL_WORDS: Mapping[str, bool | None] = {"True": True, "False": False, "None": None}


@dataclass(frozen=True, slots=True)
class NotebookPlan:
    """The cells to run.

    Attributes:
        notebook: The notebook before the run.
        cells: The ids of the cells to run, in order.
        done: The number of cells that have run before and are left out.
    """

    notebook: cm.Notebook
    cells: Sequence[str]
    done: int = 0


def plan_notebook(arguments: argparse.Namespace, warn: Callable[[str], None]) -> NotebookPlan:
    """Read the notebook and the parameters of the command line.

    Args:
        arguments: The command line.
        warn: Called with a description of each repair of the notebook.

    Raises:
        UnusableNotebook: a file cannot be read or is not a notebook; an option or parameter is invalid.
    """
    if arguments.json:
        raise UnusableNotebook("--json must be used with code, not with a notebook")
    if arguments.resume and (arguments.output is None or is_stream(arguments.output)):
        raise UnusableNotebook("--resume requires --output with a file, to resume from")
    try:
        notebook = load_notebook(
            Path(arguments.code), strict=arguments.strict, on_repair=partial(_on_repair, warn)
        )
        notebook = cm.with_parameters(notebook, _read_parameters(arguments))
        if arguments.resume and Path(arguments.output).exists():
            done = load_notebook(Path(arguments.output))
            return _plan_rest(notebook, done, allow_errors=arguments.allow_errors)
        return _plan_all(notebook)
    except (cm.InvalidNotebook, ec.MissingDependency, ec.NotSupported, ValueError) as error:
        raise UnusableNotebook(str(error)) from error


def _on_repair(warn: Callable[[str], None], text: str) -> None:
    warn(f"the notebook was repaired: {text}")


def _plan_all(notebook: cm.Notebook) -> NotebookPlan:
    cells = cm.runnable_cells(notebook)
    for cell_id in cells:
        notebook = cm.clear_outputs(notebook, cell_id)
    return NotebookPlan(notebook, cells)


def _plan_rest(notebook: cm.Notebook, previous: cm.Notebook, *, allow_errors: bool) -> NotebookPlan:
    """Leave out the first cells that have run and have the same code as in the previous run.

    Args:
        notebook: The notebook to run.
        previous: The notebook as the previous run saved it.
        allow_errors: Also leave out cells that raised.
    """
    plan = _plan_all(notebook)
    done = 0
    notebook = plan.notebook
    for cell_id, old_id in zip(plan.cells, cm.runnable_cells(previous), strict=False):
        cell, old = notebook.cell(cell_id), previous.cell(old_id)
        if not (isinstance(cell, cm.CodeCell) and isinstance(old, cm.CodeCell)):
            break
        if cell.source != old.source or not _has_run(old, allow_errors=allow_errors):
            break
        metadata = {**cell.metadata, "execution": old.metadata["execution"]}
        count, outputs = old.execution_count, old.outputs
        notebook = cm.replace_cell(
            notebook, replace(cell, metadata=metadata, outputs=outputs, execution_count=count)
        )
        done += 1
    return NotebookPlan(notebook, plan.cells[done:], done)


def _has_run(cell: cm.CodeCell, *, allow_errors: bool) -> bool:
    times = cell.metadata.get("execution")
    if not (isinstance(times, dict) and "shell.execute_reply" in times):
        return False
    may_raise = allow_errors or "raises-exception" in cell.tags
    return may_raise or all(output["output_type"] != "error" for output in cell.outputs)


def _read_parameters(arguments: argparse.Namespace) -> Mapping[str, Any]:
    values = {} if arguments.parameters is None else _read_parameter_file(arguments.parameters)
    for name, text in arguments.parameter:
        values[name] = _parameter_value(text)
    return values


def _parameter_value(text: str) -> Any:
    """Return the value of a text: by the rules of papermill, or else as JSON, or else the text."""
    if text in PAPERMILL_WORDS:
        return PAPERMILL_WORDS[text]
    for convert in (int, float, json.loads):
        with suppress(ValueError, RecursionError):
            return convert(text)
    return text


def _read_parameter_file(path: str) -> dict[str, Any]:
    try:
        values = json.loads(Path(path).read_bytes().decode("utf-8-sig"))
    except OSError as error:
        raise UnusableNotebook(f"{path} cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise UnusableNotebook(f"{path} is not JSON: {error}") from error
    if not isinstance(values, dict):
        raise UnusableNotebook(f"{path} must contain a JSON object")
    return values
