"""Notebooks of every version are read and written as by nbformat; invalid ones are rejected."""

from __future__ import annotations

import copy
import io
import json
import logging
import math
import os
import sys
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeAlias

import nbformat
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import commutable as cm
import enchannel as ec
from commutable._format import parse_json, read_notebook, to_bytes
from tests.rigs.corpus import DEFAULT

Plain: TypeAlias = dict[str, Any]
CORPUS = Path(os.environ.get("ENCHANNEL_TEST_CORPUS", DEFAULT)) / "notebooks"


LIBRARY: Any = nbformat  # without type annotations


def written_by_nbformat(notebook: Plain | str, ids: list[str]) -> bytes:
    """Return the file that nbformat writes after reading and upgrading a notebook, with these ids."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        text = notebook if isinstance(notebook, str) else json.dumps(notebook)
        node = LIBRARY.v4.upgrade(LIBRARY.reads(text, as_version=4))
        for cell, id in zip(node.cells, ids, strict=True):
            cell.id = id
        file = io.StringIO()
        LIBRARY.write(node, file)
    return file.getvalue().encode(errors="surrogatepass")


def written_by_us(notebook: cm.Notebook, path: Path) -> bytes:
    cm.save(notebook, path)
    return path.read_bytes()


def ids_of(notebook: cm.Notebook) -> list[str]:
    return [cell.id for cell in notebook.cells]


# -- the test notebooks of nbformat -----------------------------------------------------------------

# The error texts for the invalid notebooks.
BROKEN = {
    "invalid": r"at cells\[0\]: 'source' is a required property",
    "invalid_cell_id": r"id of cell 1 must be .*, not '\$illegal_chars'",
    "no_min_version": "nbformat_minor",
    "test3_no_metadata": "missing a key: metadata",
    "test3_no_worksheets": "worksheets",
    "test3_worksheet_with_no_cells": "cells",
    "test4plus": "cell_type of cell 10 must be .*, not 'future cell'",
    "v4_5_invalid_metadata": r"at metadata\.kernelspec: 'BAD: should be a dict'",
}


def corpus() -> list[Path]:
    return sorted(CORPUS.rglob("*.ipynb"))


def readable() -> list[Path]:
    return [path for path in corpus() if path.stem not in BROKEN]


def test_corpus_is_present() -> None:
    assert len(readable()) >= 12, "python tests/rigs/corpus.py has not been run"
    assert {path.stem for path in corpus()} >= set(BROKEN)


@pytest.mark.parametrize("path", readable(), ids=lambda path: path.stem)
def test_corpus_notebook_is_saved_as_nbformat_does(
    path: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    notebook = cm.load(path)
    ours = written_by_us(notebook, tmp_path / "new.ipynb")
    assert ours == written_by_nbformat(path.read_text("utf-8"), ids_of(notebook))
    assert cm.load(tmp_path / "new.ipynb") == notebook
    nbformat.validate(cm.to_dict(notebook))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("path", readable(), ids=lambda path: path.stem)
def test_corpus_cell_ids_are_kept(path: Path) -> None:
    js = json.loads(path.read_bytes())
    had = [cell.get("id") for cell in js.get("cells", [])]
    have = ids_of(cm.load(path))
    first = [id not in had[:place] and id is not None for place, id in enumerate(had)]
    assert all(have[place] == had[place] for place, kept in enumerate(first) if kept)


@pytest.mark.parametrize("name", BROKEN)
def test_load_error_names_fault_and_file(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    path = CORPUS / f"{name}.ipynb"
    with pytest.raises(cm.InvalidNotebook, match=BROKEN[name]) as caught:
        cm.load(path, strict=True)
    assert str(caught.value).startswith(str(path))
    assert capfd.readouterr() == ("", "")


# -- our own notebooks ------------------------------------------------------------------------------


def notebook_js(*cells: Plain, minor: int = 5, **fields: Any) -> Plain:
    js = {"cells": list(cells), "metadata": {}, "nbformat": 4, "nbformat_minor": minor}
    return js | fields


def code_js(*outputs: Plain, **fields: Any) -> Plain:
    cell = markdown_js(cell_type="code", execution_count=None)
    return cell | {"outputs": list(outputs)} | fields


def markdown_js(**fields: Any) -> Plain:
    return {"cell_type": "markdown", "id": "a", "source": "", "metadata": {}} | fields


def raw_js(**fields: Any) -> Plain:
    return {"cell_type": "raw", "id": "a", "source": "", "metadata": {}} | fields


def display_js(**data: Any) -> Plain:
    return {"output_type": "display_data", "metadata": {}, "data": data}


ERROR = {"output_type": "error", "ename": "E", "evalue": "why", "traceback": ["a", "\x1b[31mb"]}
OWN: dict[str, Plain] = {
    "nothing": notebook_js(),
    "a stream": notebook_js(
        code_js({"output_type": "stream", "name": "stderr", "text": "one\ntwo"})
    ),
    "a result": notebook_js(
        code_js(
            {
                "output_type": "execute_result",
                "execution_count": 3,
                "data": {"text/plain": "42"},
                "metadata": {"image/png": {"width": 3}},
            },
            execution_count=3,
        )
    ),
    "an error": notebook_js(code_js(ERROR)),
    "an error without a traceback": notebook_js(code_js(ERROR | {"traceback": []})),
    "html and svg": notebook_js(
        code_js(display_js(**{"text/html": "<p>\n</p>\n", "image/svg+xml": "<svg>\n</svg>"}))
    ),
    "an image": notebook_js(code_js(display_js(**{"image/png": "AAAA\nBBBB\n"}))),
    "javascript": notebook_js(code_js(display_js(**{"application/javascript": "a;\nb;\n"}))),
    "latex and markdown": notebook_js(
        code_js(display_js(**{"text/latex": "$\\n$", "text/markdown": "*a*\n\n* b"}))
    ),
    "JSON": notebook_js(
        code_js(
            display_js(
                **{
                    "application/json": {"x": [[1, [2.5, None]], True, "a\nb"]},
                    "application/vnd.vendor.v1+json": ["a\n", "b"],
                    "application/geo+json": "a\nb",
                }
            )
        )
    ),
    "NaN": notebook_js(code_js(display_js(**{"application/json": [math.nan, math.inf]}))),
    "big numbers": notebook_js(metadata={"x": [2**64, -(2**200), 1e300, 1.0, -0.0]}),
    "beyond the BMP": notebook_js(code_js(source="𝕏 = '🎉'\n", metadata={"ключ": "значение"})),
    "a lone surrogate": notebook_js(markdown_js(source="a\ud83d b")),
    "a lone surrogate in a key": notebook_js(code_js(metadata={"\ude00": 1})),
    "Windows line endings": notebook_js(code_js(source="a\r\nb\rc\r\n")),
    "other line separators": notebook_js(code_js(source="a\x0bb\x0cc\x1cd\x85e\u2028f\u2029g")),
    "control characters": notebook_js(
        code_js({"output_type": "stream", "name": "stdout", "text": "\x00\x1b[31m\x7f\b"})
    ),
    "empty texts": notebook_js(
        code_js({"output_type": "stream", "name": "stdout", "text": ""}, ERROR | {"evalue": ""}),
        raw_js(id="b"),
        markdown_js(id="c"),
    ),
    "attachments": notebook_js(
        markdown_js(
            attachments={"p.png": {"image/png": "AAAA"}, "q": {"text/plain": "a\nb", "x/y": "a\nb"}}
        ),
        raw_js(id="b", attachments={"p.svg": {"image/svg+xml": "<svg>\n</svg>"}}),
    ),
    "empty attachments, and none": notebook_js(
        markdown_js(attachments={}), markdown_js(id="b"), raw_js(id="c", attachments={})
    ),
    "an empty attachment": notebook_js(markdown_js(attachments={"p": {}})),
    "unknown metadata": notebook_js(
        code_js(metadata={"tags": ["a"], "collapsed": True, "mine": {"x": [None, {"y": {}}]}}),
        markdown_js(id="b", metadata={"tags": ["a"], "mine": {"x": [None]}}),
        raw_js(id="c", metadata={"format": "text/latex", "mine": {"x": [None]}}),
        metadata={"kernelspec": {"name": "k", "display_name": "K", "mine": 1}, "mine": [[]]},
    ),
    "unknown fields of a later version": notebook_js(
        code_js(display_js(**{"text/plain": "a\nb"}) | {"later": [1]}, later={"x": "a\nb"}),
        markdown_js(id="b", later=[{}], outputs="none"),
        minor=99,
        later={"x": ["a\n"]},
        other=None,
    ),
    "an output of a later version": notebook_js(
        code_js({"output_type": "later", "text": "a\nb", "x": 1}), minor=99
    ),
}


@pytest.mark.parametrize("js", OWN.values(), ids=OWN.keys())
def test_json_round_trip_is_lossless(js: Plain) -> None:
    given = copy.deepcopy(js)
    notebook = cm.from_dict(js)
    assert repr(js) == repr(given)
    assert canonical(cm.to_dict(notebook)) == canonical(given)
    assert canonical(cm.to_dict(cm.from_dict(cm.to_dict(notebook)))) == canonical(given)


@pytest.mark.parametrize("js", OWN.values(), ids=OWN.keys())
def test_file_equals_output_of_nbformat(js: Plain, tmp_path: Path) -> None:
    ours = written_by_us(cm.from_dict(js), tmp_path / "new.ipynb")
    if js["nbformat_minor"] > 5:  # nbformat would write 4.5
        node = LIBRARY.from_dict(copy.deepcopy(js))
        assert ours.decode() == f"{LIBRARY.v4.writes_json(node)}\n"
    elif (theirs := written_by_nbformat(js, [cell["id"] for cell in js["cells"]])) != ours:
        # UTF-8 cannot encode a lone surrogate, so nbformat could not write this file.
        assert theirs.decode(errors="replace") != theirs.decode(errors="ignore")
        assert json.loads(ours) == json.loads(theirs.decode(errors="surrogatepass"))
    again = cm.load(tmp_path / "new.ipynb")
    assert canonical(cm.to_dict(again)) == canonical(js)


def canonical(js: Plain) -> str:
    """Return a text to compare by, since NaN differs from itself and 1 equals True."""
    return json.dumps(js, sort_keys=True)


def test_to_dict_returns_mutable_copy() -> None:
    notebook = cm.from_dict(OWN["JSON"])
    js = cm.to_dict(notebook)
    js["cells"][0]["outputs"][0]["data"]["application/json"]["x"].append(1)
    js["metadata"]["x"] = 1
    assert cm.to_dict(notebook) == OWN["JSON"]


def test_from_dict_accepts_frozen_json() -> None:
    frozen = cm.Notebook(metadata={"x": OWN["JSON"]}).metadata["x"]
    assert cm.to_dict(cm.from_dict(frozen)) == OWN["JSON"]


def test_from_dict_joins_lines() -> None:
    lines = notebook_js(
        code_js(
            {"output_type": "stream", "name": "stdout", "text": ["a\n", "b"]},
            display_js(**{"text/plain": ["a\n", "b"], "application/x+json": ["a\n", "b"]}),
            source=["a\n", "b"],
        )
    )
    (cell,) = cm.from_dict(lines).cells
    assert isinstance(cell, cm.CodeCell)
    stream, shown = cell.outputs
    assert cell.source == "a\nb"
    assert stream == {"output_type": "stream", "name": "stdout", "text": "a\nb"}
    assert shown["output_type"] == "display_data"
    assert shown["data"] == {"text/plain": "a\nb", "application/x+json": ["a\n", "b"]}


def test_cell_status_is_not_serialized() -> None:
    marked = cm.mark_cell_deleting(cm.from_dict(notebook_js(code_js())), "a")
    assert cm.to_dict(marked) == notebook_js(code_js())


def test_transient_metadata_is_dropped() -> None:
    transient = {"orig_nbformat": 3, "orig_nbformat_minor": 0, "signature": "x"}
    js = notebook_js(code_js(metadata={"trusted": True}), metadata=transient)
    assert cm.to_dict(cm.from_dict(js)) == notebook_js(code_js())


# -- older versions ---------------------------------------------------------------------------------

CELLS_3: list[Plain] = [
    {"cell_type": "heading", "level": 2, "metadata": {}, "source": ["Title\n", "of it"]},
    {"cell_type": "markdown", "metadata": {}, "source": ["*a*\n", "b"]},
    {"cell_type": "html", "metadata": {}, "source": "<b>a</b>"},
    {"cell_type": "raw", "metadata": {}, "source": "raw"},
    {
        "cell_type": "code",
        "collapsed": True,
        "input": ["a\n", "b"],
        "language": "python",
        "metadata": {},
        "prompt_number": 3,
        "outputs": [
            {"output_type": "stream", "stream": "stderr", "text": ["a\n", "b"]},
            {"output_type": "stream", "text": "a"},
            {"output_type": "pyout", "prompt_number": 3, "text": "a", "metadata": {}},
            {"output_type": "display_data", "png": "AAAA", "html": ["<p>\n", "</p>"]},
            {"output_type": "display_data", "json": '{"x": 1}', "metadata": {}},
            {"output_type": "pyerr", "ename": "E", "evalue": "w", "traceback": ["a"]},
        ],
    },
]
OLDER: dict[str, Plain] = {
    "3": {
        "metadata": {"name": "old", "signature": "x"},
        "nbformat": 3,
        "nbformat_minor": 0,
        "worksheets": [{"cells": CELLS_3[:3]}, {"cells": CELLS_3[3:]}],
    },
    "2": {
        "metadata": {"name": "old"},
        "nbformat": 2,
        "worksheets": [{"cells": [dict(c) for c in CELLS_3[1:]]}],
    },
    "4.0": notebook_js({"cell_type": "markdown", "metadata": {}, "source": ["a\n"]}, minor=0),
    "4.4": notebook_js(
        {k: v for k, v in code_js(ERROR).items() if k != "id"},
        {k: v for k, v in raw_js().items() if k != "id"},
        minor=4,
    ),
}


@pytest.mark.parametrize("js", OLDER.values(), ids=OLDER.keys())
def test_older_versions_are_upgraded_as_by_nbformat(js: Plain, tmp_path: Path) -> None:
    notebook = cm.from_dict(js)
    assert notebook.nbformat_minor == 5
    ours = written_by_us(notebook, tmp_path / "new.ipynb")
    assert ours == written_by_nbformat(js, ids_of(notebook))


def test_upgrade_covers_every_cell_and_output_type() -> None:
    notebook = cm.from_dict(OLDER["3"])
    kinds = [(cell.cell_type, cell.source) for cell in notebook.cells]
    assert kinds == [
        ("markdown", "## Title of it"),
        ("markdown", "*a*\nb"),
        ("markdown", "<b>a</b>"),
        ("raw", "raw"),
        ("code", "a\nb"),
    ]
    code = notebook.cells[-1]
    assert isinstance(code, cm.CodeCell)
    assert [output["output_type"] for output in code.outputs] == [
        *("stream", "stream", "execute_result", "display_data", "display_data", "error")
    ]
    assert code.execution_count == 3


def test_cell_without_id_gets_one() -> None:
    js = notebook_js({k: v for k, v in code_js().items() if k != "id"}, code_js())
    first, second = ids_of(cm.from_dict(js))
    assert first != second == "a"


def test_cell_with_duplicate_id_gets_new_one() -> None:
    first, second, third = ids_of(
        cm.from_dict(notebook_js(code_js(), raw_js(), markdown_js(id="b")))
    )
    assert first == "a"
    assert third == "b"
    assert second not in "ab"


def test_valid_notebook_logs_nothing(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        for js in (*OWN.values(), *OLDER.values()):
            cm.from_dict(js)
    assert caplog.messages == [] or all("v3" in message for message in caplog.messages)


# -- repairs ----------------------------------------------------------------------------------------


def without(js: Plain, *names: str) -> Plain:
    return {name: value for name, value in js.items() if name not in names}


def stream_js(**fields: Any) -> Plain:
    return {"output_type": "stream", "name": "stdout", "text": "x", **fields}


ERROR = {"output_type": "error", "ename": "E", "evalue": "why", "traceback": ["a", "b"]}
RESULT = {
    "output_type": "execute_result",
    "data": {"text/plain": "5"},
    "metadata": {},
    "execution_count": None,
}
FULL = notebook_js(code_js())
SPEC = {"name": "k", "display_name": "K"}

# The deviating notebook, and the one that it is read as.
REPAIRED: dict[str, tuple[Plain, Plain]] = {
    "no metadata": (without(FULL, "metadata"), FULL),
    "null metadata": ({**FULL, "metadata": None}, FULL),
    "no minor version": (without(FULL, "nbformat_minor"), FULL),
    "no version": (without(FULL, "nbformat"), FULL),
    "version is a text": ({**FULL, "nbformat": "4", "nbformat_minor": "5"}, FULL),
    "version is a float": ({**FULL, "nbformat": 4.0, "nbformat_minor": 5.0}, FULL),
    "kernelspec without name": (
        notebook_js(metadata={"kernelspec": {"display_name": "K"}}),
        notebook_js(metadata={"kernelspec": {"name": "", "display_name": "K"}}),
    ),
    "kernelspec without display name": (
        notebook_js(metadata={"kernelspec": {"name": "k"}}),
        notebook_js(metadata={"kernelspec": {"name": "k", "display_name": "k"}}),
    ),
    "null kernelspec": (notebook_js(metadata={"kernelspec": None}), notebook_js()),
    "language without name": (
        notebook_js(metadata={"kernelspec": {**SPEC, "language": "R"}, "language_info": {}}),
        notebook_js(
            metadata={"kernelspec": {**SPEC, "language": "R"}, "language_info": {"name": "R"}}
        ),
    ),
    "invalid authors": (
        notebook_js(metadata={"authors": "me", "x": 1}),
        notebook_js(metadata={"x": 1}),
    ),
    "no metadata in cell": (notebook_js(without(code_js(), "metadata")), FULL),
    "no source": (notebook_js(without(code_js(), "source")), notebook_js(code_js(source=""))),
    "null source": (notebook_js(code_js(source=None)), notebook_js(code_js(source=""))),
    "no outputs": (notebook_js(without(code_js(), "outputs")), FULL),
    "null outputs": (notebook_js(code_js(outputs=None)), FULL),
    "no execution count": (notebook_js(without(code_js(), "execution_count")), FULL),
    "execution count is a text": (
        notebook_js(code_js(execution_count="7")),
        notebook_js(code_js(execution_count=7)),
    ),
    "execution count is a star": (notebook_js(code_js(execution_count="*")), FULL),
    "execution count is negative": (notebook_js(code_js(execution_count=-1)), FULL),
    "number as id": (notebook_js(raw_js(id=12)), notebook_js(raw_js(id="12"))),
    "outputs of markdown": (
        notebook_js(raw_js(cell_type="markdown", outputs=[], execution_count=None)),
        notebook_js(raw_js(cell_type="markdown")),
    ),
    "null attachments": (notebook_js(raw_js(attachments=None)), notebook_js(raw_js())),
    "code without type": (notebook_js(without(code_js(), "cell_type")), FULL),
    "type in capitals": (notebook_js(code_js(cell_type="Code")), FULL),
    "heading": (
        notebook_js(raw_js(cell_type="heading", level=2, source="T")),
        notebook_js(raw_js(cell_type="markdown", source="## T")),
    ),
    "old names in code": (
        notebook_js(
            {**without(code_js(), "source", "execution_count"), "input": "x", "prompt_number": 3}
        ),
        notebook_js(code_js(source="x", execution_count=3)),
    ),
    "tags are a text": (
        notebook_js(raw_js(metadata={"tags": "a"})),
        notebook_js(raw_js(metadata={"tags": ["a"]})),
    ),
    "repeated tags and commas": (
        notebook_js(raw_js(metadata={"tags": ["a", "b,a", "c d"]})),
        notebook_js(raw_js(metadata={"tags": ["a", "b", "c d"]})),
    ),
    "invalid tags": (
        notebook_js(raw_js(metadata={"tags": [1], "x": 2})),
        notebook_js(raw_js(metadata={"x": 2})),
    ),
    "invalid collapsed": (notebook_js(code_js(metadata={"collapsed": 1})), FULL),
    "stream without name": (
        notebook_js(code_js(without(stream_js(), "name"))),
        notebook_js(code_js(stream_js())),
    ),
    "stream without text": (
        notebook_js(code_js(without(stream_js(), "text"))),
        notebook_js(code_js(stream_js(text=""))),
    ),
    "stream without type": (
        notebook_js(code_js(without(stream_js(), "output_type"))),
        notebook_js(code_js(stream_js())),
    ),
    "old stream": (
        notebook_js(code_js({**without(stream_js(), "name"), "stream": "stderr"})),
        notebook_js(code_js(stream_js(name="stderr"))),
    ),
    "error without traceback": (
        notebook_js(code_js(without(ERROR, "traceback"))),
        notebook_js(code_js({**ERROR, "traceback": []})),
    ),
    "traceback is a text": (
        notebook_js(code_js({**ERROR, "traceback": "a\nb"})),
        notebook_js(code_js(ERROR)),
    ),
    "value of error is a number": (
        notebook_js(code_js({**ERROR, "evalue": 1})),
        notebook_js(code_js({**ERROR, "evalue": "1"})),
    ),
    "result without metadata": (
        notebook_js(code_js(without(RESULT, "metadata", "execution_count"))),
        notebook_js(code_js(RESULT)),
    ),
    "old result": (
        notebook_js(
            code_js({"output_type": "pyout", "text": "5", "metadata": {}, "prompt_number": None})
        ),
        notebook_js(code_js(RESULT)),
    ),
    "result is a number": (
        notebook_js(code_js({**RESULT, "data": {"text/plain": 5, "text/html": None}})),
        notebook_js(code_js(RESULT)),
    ),
}


@pytest.mark.parametrize(("js", "expected"), REPAIRED.values(), ids=REPAIRED.keys())
def test_deviation_is_repaired_and_reported(js: Plain, expected: Plain, tmp_path: Path) -> None:
    repairs: list[str] = []
    notebook = cm.from_dict(js, on_repair=repairs.append)
    assert cm.to_dict(notebook) == expected
    assert repairs
    assert all(repairs)
    cm.save(notebook, tmp_path / "a.ipynb")
    assert cm.load(tmp_path / "a.ipynb", strict=True) == notebook
    with pytest.raises(cm.InvalidNotebook):
        cm.from_dict(js, strict=True)


def test_repairs_are_logged_with_path(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "a.ipynb"
    path.write_text(json.dumps(without(FULL, "metadata")))
    cm.load(path)
    assert caplog.messages == [f"{path} was repaired: the metadata of the notebook was missing"]


def test_unknown_fields_are_kept(tmp_path: Path) -> None:
    js = notebook_js(raw_js(later=1), code_js(stream_js(later=2), id="b"), later=3)
    notebook = cm.from_dict(js, on_repair=pytest.fail)
    assert cm.to_dict(notebook) == js
    cm.save(notebook, tmp_path / "a.ipynb")
    assert cm.load(tmp_path / "a.ipynb", on_repair=pytest.fail) == notebook


def test_invalid_cell_id_is_replaced() -> None:
    repairs: list[str] = []
    notebook = cm.from_dict(notebook_js(raw_js(id="a b")), on_repair=repairs.append)
    assert repairs == [f"cell 1 got the id {notebook.cells[0].id} instead of the invalid 'a b'"]


# -- invalid notebooks ------------------------------------------------------------------------------


def nested(depth: int) -> Any:
    deep: Any = 1
    for _ in range(depth):
        deep = [deep]
    return deep


INVALID: dict[str, tuple[Any, str]] = {
    "a list": ([], "a notebook must be a JSON object, not list"),
    "a number": (1, "must be a JSON object, not int"),
    "null": (None, "must be a JSON object, not NoneType"),
    "an empty object": ({}, "nbformat must be an integer, not None"),
    "nbformat 5": (notebook_js(nbformat=5), "nbformat 5 is not supported; versions 2 to 4 are"),
    "nbformat 1": (notebook_js(nbformat=1), "nbformat 1 is not supported"),
    "a version that is a text": (notebook_js(nbformat="4"), "nbformat must be an integer, not '4'"),
    "a version that is true": (notebook_js(nbformat=True), "nbformat must be an integer, not True"),
    "no minor version": ({"cells": [], "metadata": {}, "nbformat": 4}, "nbformat_minor"),
    "a minor version that is a text": (notebook_js(nbformat_minor="5"), "nbformat_minor"),
    "a negative minor version": (
        notebook_js(nbformat_minor=-1),
        "nbformat_minor must be a non-negative integer, not -1",
    ),
    "no cells": ({"metadata": {}, "nbformat": 4, "nbformat_minor": 5}, "cells"),
    "cells that are an object": (notebook_js(cells={}), "cells must be a list, not dict"),
    "a cell that is a number": (notebook_js(cells=[1]), "."),
    "a cell that is null": (notebook_js(cells=[code_js(), None]), "."),
    "a cell that is a list": (notebook_js(cells=[[]]), "."),
    "a cell without a type": (notebook_js({"id": "a", "source": "", "metadata": {}}), "cell"),
    "a cell whose type is null": (notebook_js(raw_js(cell_type=None)), "invalid notebook"),
    "a cell of another type": (notebook_js(raw_js(cell_type="x")), "cell"),
    "a cell of a later type": (
        notebook_js(raw_js(cell_type="x"), minor=99),
        "cell_type of cell 1 .*'x'",
    ),
    "a bad id": (notebook_js(code_js(), raw_js(id="?")), "id of cell 2 must be .*, not '\\?'"),
    "an id that is a number": (notebook_js(raw_js(id=1)), "id of cell 1 must be .*, not 1"),
    "an id that is a list": (notebook_js(raw_js(id=[])), "id of cell 1 must be .*, not \\[\\]"),
    "no source": (notebook_js({"cell_type": "raw", "id": "a", "metadata": {}}), "cells\\[0\\]"),
    "a source that is a number": (notebook_js(raw_js(source=1)), "."),
    "a source of numbers": (notebook_js(raw_js(source=[1])), "."),
    "metadata that is a list": (notebook_js(metadata=[]), "."),
    "metadata that is null": (notebook_js(metadata=None), "."),
    "metadata of a cell that is a text": (notebook_js(raw_js(metadata="x")), "."),
    "attachments that are a list": (notebook_js(raw_js(attachments=[])), "."),
    "an attachment that is a text": (notebook_js(raw_js(attachments={"p": "x"})), "."),
    "outputs that are an object": (notebook_js(code_js(outputs={})), "."),
    "an output that is a text": (notebook_js(code_js(outputs=["x"])), "."),
    "an output without a type": (notebook_js(code_js(outputs=[{}])), "."),
    "an output of another type": (
        notebook_js(code_js({"output_type": "x"})),
        "at cells\\[0\\].outputs\\[0\\]",
    ),
    "an execution count that is a text": (
        notebook_js(code_js(execution_count="1")),
        "at cells\\[0\\].execution_count: '1' is not",
    ),
    "an unknown field": (notebook_js(raw_js(later=1)), "cells\\[0\\].*later"),
    "an unknown field of a notebook": (notebook_js(later=1), "at the top level.*later"),
    "old worksheets that are a number": (OLDER["3"] | {"worksheets": 1}, "."),
    "an old cell that is a number": (OLDER["3"] | {"worksheets": [{"cells": [1]}]}, "."),
    "old metadata that is a list": (OLDER["3"] | {"metadata": []}, "."),
    "ancient worksheets that are a number": (OLDER["2"] | {"worksheets": 1}, "."),
}


@pytest.mark.parametrize(("js", "text"), INVALID.values(), ids=INVALID.keys())
def test_invalid_json_is_rejected(js: Any, text: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(cm.InvalidNotebook, match=text):
        cm.from_dict(js, strict=True)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(("js", "text"), INVALID.values(), ids=INVALID.keys())
def test_invalid_json_in_file_is_rejected(js: Any, text: str, tmp_path: Path) -> None:
    path = tmp_path / "a.ipynb"
    path.write_text(json.dumps(js))
    with pytest.raises(cm.InvalidNotebook) as caught:
        cm.load(path, strict=True)
    assert str(path) in str(caught.value)


FILES: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "it is not JSON"),
    "truncated": (b'{"cells": [', "it is not JSON"),
    "text": (b"# a notebook", "it is not JSON"),
    "not UTF-8": (b'{"cells": "\xff"}', "it is not UTF-8"),
    "UTF-16": ("{}".encode("utf-16"), "it is not UTF-8"),
    "an image": (b"\x89PNG\r\n", "it is not UTF-8"),
    "trailing data": (b"{}{}", "it is not JSON"),
    "a list": (b"[]", "must be a JSON object, not list"),
    "deeply nested": (b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "it is not JSON"),
    "a number of many digits": (b'{"x":' + b"1" * 10_000 + b"}", "it is not JSON"),
}


@pytest.mark.parametrize(("data", "text"), FILES.values(), ids=FILES.keys())
def test_invalid_file_is_rejected(data: bytes, text: str, tmp_path: Path) -> None:
    path = tmp_path / "a.ipynb"
    path.write_bytes(data)
    with pytest.raises(cm.InvalidNotebook, match=text) as caught:
        cm.load(path)
    assert str(path) in str(caught.value)


def test_byte_order_mark_is_ignored(tmp_path: Path) -> None:
    path = tmp_path / "a.ipynb"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(OWN["JSON"]).encode())
    assert cm.load(path) == cm.from_dict(OWN["JSON"])


@pytest.mark.parametrize("validate", [True, False])
@pytest.mark.parametrize("depth", [100, 300, 500, 700, 900, 2_000, 100_000])
def test_deeply_nested_json_is_read_or_rejected(depth: int, validate: bool, tmp_path: Path) -> None:
    path, deep = tmp_path / "a.ipynb", nested(depth)
    notebooks = [
        notebook_js(metadata={"x": deep}),
        notebook_js(code_js(display_js(**{"application/json": deep}))),
        notebook_js(raw_js(metadata={"x": deep})),
        notebook_js(raw_js(attachments={"x": {"x": deep}})),
        notebook_js(minor=99, later=deep),
        notebook_js(cells=deep),
        {**OLDER["3"], "metadata": {"x": deep}},
    ]
    for js in notebooks:
        if (notebook := read_or_rejected(js, validate)) is not None:
            with suppress(cm.InvalidNotebook):
                cm.save(notebook, path, validate=validate)
                assert cm.to_dict(cm.load(path, validate=validate)) == cm.to_dict(notebook)


def test_validation_error_text_is_short() -> None:
    with pytest.raises(cm.InvalidNotebook, match=r"at metadata\.kernelspec: 'xxx.*…$") as caught:
        cm.from_dict(notebook_js(metadata={"kernelspec": "x" * 10_000}), strict=True)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("validate", [True, False])
def test_recursive_json_is_rejected(validate: bool) -> None:
    endless: Plain = {}
    endless["x"] = endless
    for js in (notebook_js(metadata=endless), notebook_js(metadata={"x": nested(100_000)})):
        with pytest.raises(cm.InvalidNotebook, match="the notebook is nested too deeply"):
            cm.from_dict(js, validate=validate)


def test_invalid_notebook_is_not_saved(tmp_path: Path) -> None:
    path = tmp_path / "a.ipynb"
    bad = cm.update_outputs(
        cm.from_dict(notebook_js(code_js())), "a", [{"output_type": "stream", "name": "stdout"}]
    )
    with pytest.raises(cm.InvalidNotebook, match=r"at cells\[0\]\.outputs\[0\].*'text'"):
        cm.save(bad, path)
    assert list(tmp_path.iterdir()) == []


def test_deviations_pass_without_validation(tmp_path: Path) -> None:
    js = notebook_js(code_js({"output_type": "x", "y": 1}), raw_js(id="b", later=1), later=1)
    notebook = cm.from_dict(js, validate=False)
    assert cm.to_dict(notebook) == js


ALWAYS_INVALID: dict[str, tuple[Plain, str]] = {
    "an output without a type": (
        notebook_js(code_js({"text": "x"})),
        "output_type of an output of cell 1 must be a string, not None",
    ),
    "an output whose type is a number": (
        notebook_js(raw_js(), code_js({"output_type": 1}, id="b")),
        "output_type of an output of cell 2 must be a string, not 1",
    ),
    "an output that is a text": (notebook_js(code_js(outputs=["x"])), "."),
    "outputs that are an object": (
        notebook_js(code_js(outputs={})),
        "outputs of cell 1 must be a list, not dict",
    ),
    "a cell without a type": (
        notebook_js(raw_js(cell_type="x")),
        "cell_type of cell 1 must be .*, not 'x'",
    ),
    "a cell that is a number": (notebook_js(cells=[1]), "."),
    "attachments that are a list": (notebook_js(raw_js(attachments=[])), "."),
    "metadata that is a list": (notebook_js(metadata=[]), "."),
    "metadata of a cell that is a list": (notebook_js(raw_js(metadata=[1])), "."),
    "a source that is a number": (
        notebook_js(raw_js(source=1)),
        "source of cell a must be a str, not 1",
    ),
}


@pytest.mark.parametrize(("js", "text"), ALWAYS_INVALID.values(), ids=ALWAYS_INVALID.keys())
def test_invalid_json_is_rejected_without_validation(js: Plain, text: str) -> None:
    with pytest.raises(cm.InvalidNotebook, match=text):
        cm.from_dict(js, validate=False)


def test_missing_nbformat_error_names_extra(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "nbformat", None)
    for action in (
        lambda: cm.from_dict(OWN["nothing"]),
        lambda: cm.save(cm.empty_notebook, tmp_path / "a.ipynb"),
    ):
        with pytest.raises(ec.MissingDependency, match=r'pip install "enchannel\[notebook\]"'):
            action()
    assert list(tmp_path.iterdir()) == []


INCOMPLETE: dict[str, tuple[Plain, str, str]] = {
    "a stream": ({"output_type": "stream"}, "", "stream ''"),
    "lines": ({"output_type": "stream", "text": ["a\n", "b"]}, "a\nb", "stream 'a\\nb'"),
    "an error": ({"output_type": "error", "ename": "E"}, "E: ", "error 'E: '"),
    "a display": ({"output_type": "display_data"}, "", "display_data ''"),
    "a later one": ({"output_type": "later"}, "", "later ''"),
}


@pytest.mark.parametrize(("output", "text", "in_short"), INCOMPLETE.values(), ids=INCOMPLETE.keys())
def test_incomplete_output_is_rendered(output: Plain, text: str, in_short: str) -> None:
    (cell,) = cm.from_dict(notebook_js(code_js(output)), validate=False).cells
    assert isinstance(cell, cm.CodeCell)
    assert cell.outputs.text == text
    assert repr(cell.outputs) == f"Outputs({in_short})"


# -- arbitrary JSON ---------------------------------------------------------------------------------

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 9)
    | st.floats()
    | st.text(max_size=3)
    | st.sampled_from(
        ["a", "code", "raw", "markdown", "stream", "display_data", "error", "\ud800"]
    ),
    lambda deeper: (
        st.lists(deeper, max_size=2)
        | st.dictionaries(
            st.sampled_from(["id", "cell_type", "source", "metadata", "outputs", "cells", "x"]),
            deeper,
            max_size=3,
        )
    ),
    max_leaves=4,
)
SEEDS: list[Plain] = [
    notebook_js(
        *OWN["a result"]["cells"],
        code_js(*OWN["JSON"]["cells"][0]["outputs"], ERROR, id="b", source=["a\n", "b"]),
        markdown_js(id="c", attachments={"p": {"text/plain": ["a"]}}),
        raw_js(id="d"),
        metadata={
            "kernelspec": {"name": "k", "display_name": "K"},
            "language_info": {"name": "python"},
            "authors": [{"name": "x"}],
        },
    ),
    *OLDER.values(),
    *(js for js in OWN.values() if js["nbformat_minor"] > 5),
]


def positions(js: Any) -> list[tuple[Any, Any]]:
    """Return the container and the key of each value in a JSON value."""
    keys = js if isinstance(js, dict) else range(len(js)) if isinstance(js, list) else ()
    return [position for key in keys for position in ((js, key), *positions(js[key]))]


@st.composite
def mutants(draw: st.DrawFn) -> Any:
    """Return a notebook with one or two values changed, removed, repeated or renamed."""
    js = copy.deepcopy(draw(st.sampled_from(SEEDS)))
    for _ in range(draw(st.integers(1, 2))):
        owner, key = draw(st.sampled_from(positions(js)))
        change = draw(st.sampled_from(["changed", "removed", "repeated", "renamed"]))
        if change == "removed":
            del owner[key]
        elif change == "repeated" and isinstance(owner, list):
            owner.append(copy.deepcopy(owner[key]))
        elif change == "renamed" and isinstance(owner, dict):
            owner[draw(st.sampled_from(["x", "id", "source", "outputs"]))] = owner.pop(key)
        else:
            owner[key] = draw(VALUES)
    return js


def read_or_rejected(js: Any, validate: bool, *, strict: bool = False) -> cm.Notebook | None:
    try:
        notebook = cm.from_dict(js, validate=validate, strict=strict)
    except cm.InvalidNotebook:
        return None
    assert isinstance(notebook, cm.Notebook)
    return notebook


@settings(max_examples=200)
@given(mutants())
def test_mutated_json_is_read_or_rejected(js: Any) -> None:
    given = copy.deepcopy(js)
    for strict in (True, False):
        notebook = read_or_rejected(js, validate=True, strict=strict)
        assert repr(js) == repr(given)
        if notebook is not None:
            is_relaxed = not strict or notebook.nbformat_minor > 5
            nbformat.validate(cm.to_dict(notebook), relax_add_props=is_relaxed)
            again = cm.from_dict(cm.to_dict(notebook), on_repair=pytest.fail)
            assert canonical(cm.to_dict(again)) == canonical(cm.to_dict(notebook))


@settings(max_examples=200)
@given(mutants())
def test_unvalidated_notebook_is_usable(js: Any) -> None:
    notebook = read_or_rejected(js, validate=False)
    if notebook is None:
        return
    assert notebook == notebook
    assert hash(notebook) == hash(cm.Notebook(notebook.cells, notebook.metadata))
    assert repr(notebook.cells)
    assert notebook.language is None or notebook.kernel_name != ""
    assert cm.clear_all_outputs(notebook).cells is not None
    for cell in notebook.cells:
        assert isinstance(cell.tags, tuple)
        if isinstance(cell, cm.CodeCell):
            assert isinstance(cell.outputs.text, str)
        assert len(cm.split_cell(notebook, cell.id, 0).cells) == len(notebook.cells) + 1
        assert cm.change_cell_type(notebook, cell.id, "raw").cell(cell.id).source == cell.source
        if cell is not notebook.cells[0]:
            cm.merge_cells(notebook, notebook.cells[0].id, cell.id)


@settings(max_examples=200)
@given(mutants())
def test_mutated_json_round_trip_is_lossless(js: Any) -> None:
    for validate in (True, False):
        notebook = read_or_rejected(js, validate)
        if notebook is not None:
            with suppress(cm.InvalidNotebook):
                again = read_notebook(
                    parse_json(to_bytes(notebook, validate=validate), "it"), validate=validate
                )
                assert canonical(cm.to_dict(again)) == canonical(cm.to_dict(notebook))


@given(VALUES)
def test_arbitrary_json_is_rejected(js: Any) -> None:
    for validate in (True, False):
        assert read_or_rejected(js, validate) is None
