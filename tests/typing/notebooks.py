"""User code for notebooks as a test for the type checkers; it is never run."""
# pyright: strict

from collections.abc import Mapping
from pathlib import Path
from typing import Any, assert_never, assert_type

from reactivex import Observable
from reactivex import operators as ops

import commutable as cm
import enchannel as ec


def documents(path: Path) -> None:
    notebook = cm.load(path)
    assert_type(notebook, cm.Notebook)
    assert_type(notebook.metadata, Mapping[str, Any])
    notebook.metadata["x"] = 1  # type: ignore[index]  # pyright: ignore[reportIndexIssue]
    assert_type(notebook.cells[0].metadata, Mapping[str, Any])
    assert_type(notebook.cells[0].extra, Mapping[str, Any])
    assert_type(notebook.kernel_name, str | None)
    assert_type(notebook.cells, tuple[cm.CodeCell | cm.MarkdownCell | cm.RawCell, ...])
    assert_type(cm.code_cell("6 * 7").outputs, ec.Outputs)
    assert_type(cm.code_cell("6 * 7").execution_count, int | None)
    assert_type(cm.to_dict(notebook), dict[str, Any])
    cm.save(notebook, path)


def kinds(cell: cm.Cell) -> str:
    match cell:
        case cm.CodeCell():
            return cell.outputs.text
        case cm.MarkdownCell():
            assert_type(cell.attachments, Mapping[str, Mapping[str, Any]] | None)
            return cell.source
        case cm.RawCell(source=source):
            return source
        case _:
            assert_never(cell)


def outputs_by_hand(cell: cm.Cell) -> cm.Notebook:
    assert_type(cm.stream_output("stdout", "woo"), cm.StreamOutput)
    assert_type(cm.display_output({"text/plain": "42"}, metadata={}), cm.DisplayOutput)
    result = cm.result_output({"text/plain": "42"}, 1)
    assert_type(result, cm.ResultOutput)
    assert_type(cm.error_output("E", "no", ["line"]), cm.ErrorOutput)
    outputs: list[cm.Output] = [result, cm.stream_output("stderr", "")]
    assert_type(cm.output_to_dict(outputs[0]), dict[str, Any])
    assert_type(cm.cell_to_dict(cell), dict[str, Any])
    assert_type(cm.create_cell_id(), str)
    return cm.monocell_notebook(cm.code_cell(outputs=outputs))


def operations(notebook: cm.Notebook, cell: cm.Cell) -> None:
    assert_type(cm.append_cell(notebook, cell), cm.Notebook)
    assert_type(cm.insert_cell_after(notebook, cm.raw_cell("x"), cell.id), cm.Notebook)
    assert_type(cm.merge_cells(notebook, "a", "b", "c"), cm.Notebook)
    assert_type(cm.change_cell_type(notebook, "a", "raw"), cm.Notebook)
    history = cm.History(notebook).push(cm.delete_cell(notebook, cell.id)).undo()
    assert_type(history, cm.History)
    assert_type(history.notebook, cm.Notebook)
    assert_type(cm.diff(notebook, history.notebook).changed, tuple[tuple[cm.Cell, cm.Cell], ...])


def running(notebook: cm.Notebook, kernel: ec.Kernel, path: Path) -> None:
    states = cm.execute(notebook, kernel, timeout=60, on_input=lambda request: "yes")
    assert_type(states, Observable[cm.Notebook])
    assert_type(ec.wait(states), cm.Notebook)
    states.pipe(ops.filter(is_done), ec.deliver_on(ec_scheduler(), overflow="latest")).subscribe(
        cm.Saver(path).save
    )


def is_done(state: cm.Notebook) -> bool:
    return all(
        cell.status is cm.CellStatus.IDLE for cell in state.cells if isinstance(cell, cm.CodeCell)
    )


def ec_scheduler() -> Any: ...


def failures(error: cm.CellFailed) -> None:
    assert_type(error.cell_id, str)
    assert_type(error.notebook, cm.Notebook)
    assert_type(error.reason, Exception)
