"""Outputs made by hand equal those of a kernel, and are converted one by one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from reactivex import of

import commutable as cm
import enchannel as ec
from enchannel import messages

HEADER = ec.execute_request("6 * 7").header
DATA = {"text/plain": "42", "application/json": {"answer": [42]}}
METADATA = {"image/png": {"width": 7}}
MADE: dict[str, cm.Output] = {
    "stream": cm.stream_output("stderr", "woo\n"),
    "display": cm.display_output(DATA, metadata=METADATA),
    "result": cm.result_output(DATA, 3, metadata=METADATA),
    "error": cm.error_output("ValueError", "no", ["line 1", "line 2"]),
}
RECEIVED = {
    "stream": messages.stream("stderr", "woo\n"),
    "display": messages.display_data(DATA, metadata=METADATA),
    "result": messages.execute_result(DATA, 3, metadata=METADATA, parent=HEADER),
    "error": messages.error("ValueError", "no", ["line 1", "line 2"], parent=HEADER),
}


@pytest.mark.parametrize("kind", MADE)
def test_made_output_equals_received_one(kind: str) -> None:
    assert ec.Outputs().add(RECEIVED[kind]) == [MADE[kind]]


@pytest.mark.parametrize("kind", MADE)
def test_made_output_is_immutable(kind: str) -> None:
    output: Any = MADE[kind]
    with pytest.raises(TypeError):
        output["output_type"] = "other"
    for value in output.values():
        if isinstance(value, dict):
            with pytest.raises(TypeError):
                value["new"] = 1
    assert DATA == {"text/plain": "42", "application/json": {"answer": [42]}}


def test_made_outputs_are_valid_nbformat() -> None:
    cell = cm.code_cell("6 * 7", outputs=MADE.values(), execution_count=3)
    notebook = cm.monocell_notebook(cell)
    assert cm.from_dict(cm.to_dict(notebook)) == notebook


def test_result_without_count_is_valid() -> None:
    cell = cm.code_cell(outputs=[cm.result_output({"text/plain": "42"})])
    notebook = cm.monocell_notebook(cell)
    assert cm.from_dict(cm.to_dict(notebook)) == notebook


def test_error_has_an_empty_traceback_by_default() -> None:
    assert cm.error_output("E", "")["traceback"] == []


BAD: Any = 42
REFUSED: dict[str, Callable[[], object]] = {
    r"name must be a str, not 42": lambda: cm.stream_output(BAD, ""),
    r"text must be a str, not 42": lambda: cm.stream_output("stdout", BAD),
    r"data must be a dict, not 42": lambda: cm.display_output(BAD),
    r"data\['text/html'\] must be a str, not 42": lambda: cm.display_output({"text/html": 42}),
    r"data\['image/png'\] must be a str, not \['a'\]": lambda: cm.result_output(
        {"image/png": ["a"]}
    ),
    r"bytes": lambda: cm.display_output({"image/png": b"\x89PNG"}),
    r"metadata must be a dict, not 42": lambda: cm.display_output({}, metadata=BAD),
    r"execution_count must be a non-negative int or None, not -1": lambda: cm.result_output({}, -1),
    r"execution_count must be a non-negative int or None, not True": lambda: cm.result_output(
        {}, True
    ),
    r"evalue must be a str, not 42": lambda: cm.error_output("E", BAD),
    r"traceback must be a sequence of lines": lambda: cm.error_output("E", "", "line 1"),
    r"a line of traceback must be a str, not 42": lambda: cm.error_output("E", "", [BAD]),
}


@pytest.mark.parametrize("text", REFUSED)
def test_invalid_output_argument_raises(text: str) -> None:
    with pytest.raises(cm.InvalidNotebook, match=text):
        REFUSED[text]()


@pytest.mark.parametrize("kind", MADE)
def test_output_to_dict_returns_mutable_copy(kind: str) -> None:
    js = cm.output_to_dict(MADE[kind])
    assert js == dict(MADE[kind])
    assert type(js) is dict
    for value in js.values():
        if isinstance(value, (dict, list)):
            value.clear()
    assert ec.Outputs().add(RECEIVED[kind]) == [MADE[kind]]


def test_output_to_dict_omits_transient() -> None:
    update = messages.update_display_data({"text/plain": "42"}, "a")
    seen: list[ec.DisplayOutput] = []
    of(update).pipe(ec.updated_outputs()).subscribe(seen.append)
    assert "transient" in seen[0]
    assert cm.output_to_dict(seen[0]) == cm.display_output({"text/plain": "42"})


CELLS: dict[str, cm.Cell] = {
    "code": cm.code_cell("6 * 7", metadata={"tags": ["x"]}, outputs=MADE.values()),
    "markdown": cm.markdown_cell("![](p)", attachments={"p": {"image/png": "AAAA"}}),
    "raw": cm.raw_cell("raw"),
}


@pytest.mark.parametrize("cell_type", CELLS)
def test_cell_to_dict_is_its_part_of_the_notebook(cell_type: str) -> None:
    cell = CELLS[cell_type]
    assert cm.cell_to_dict(cell) == cm.to_dict(cm.monocell_notebook(cell))["cells"][0]
    assert cm.cell_to_dict(cell)["cell_type"] == cell_type
    cm.cell_to_dict(cell)["metadata"]["new"] = 1
    assert "new" not in cell.metadata
