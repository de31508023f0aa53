"""The operations on notebooks: their results, and the objects that they share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from functools import partial
from typing import Any, TypeAlias

import pytest

import commutable as cm
import enchannel as ec

Operation: TypeAlias = Callable[[cm.Notebook], cm.Notebook]

OUTPUT = {"output_type": "stream", "name": "stdout", "text": "42\n"}
TIMES = {"iopub.status.busy": "2026-01-01T00:00:00Z"}
PIXEL, OTHER_PIXEL = {"image/png": "AAAA"}, {"image/png": "BBBB"}
A = replace(
    cm.code_cell("one\ntwo", id="a", metadata={"tags": ["t"]}, outputs=[OUTPUT], execution_count=3),
    extra={"later": 1},
)
B = cm.markdown_cell(
    "# Title\n![](attachment:p.png)",
    id="b",
    metadata={"collapsed": True},
    attachments={"p.png": PIXEL},
)
C = cm.raw_cell("raw", id="c")
D = cm.code_cell("", id="d", metadata={"execution": TIMES, "tags": []}, execution_count=4)
E = cm.code_cell("three", id="e")
NEW = cm.markdown_cell("new", id="new")
NOTEBOOK = cm.Notebook([A, B, C, D, E], {"kernelspec": {"name": "python3"}}, extra={"later": 1})
ORIGINAL = cm.to_dict(NOTEBOOK)

# Operations with the cells of their results.
CHANGES: dict[str, tuple[Operation, Sequence[cm.Cell]]] = {
    "a cell after all": (lambda n: cm.append_cell(n, NEW), [A, B, C, D, E, NEW]),
    "a cell before all": (lambda n: cm.insert_cell_at(n, NEW, 0), [NEW, A, B, C, D, E]),
    "a cell among them": (lambda n: cm.insert_cell_at(n, NEW, 2), [A, B, NEW, C, D, E]),
    "a cell at the end": (lambda n: cm.insert_cell_at(n, NEW, 5), [A, B, C, D, E, NEW]),
    "a cell behind another": (lambda n: cm.insert_cell_after(n, NEW, "b"), [A, B, NEW, C, D, E]),
    "a cell behind the last": (lambda n: cm.insert_cell_after(n, NEW, "e"), [A, B, C, D, E, NEW]),
    "the first deleted": (lambda n: cm.delete_cell(n, "a"), [B, C, D, E]),
    "the last deleted": (lambda n: cm.delete_cell(n, "e"), [A, B, C, D]),
    "to be deleted": (
        lambda n: cm.mark_cell_deleting(n, "c"),
        [A, B, replace(C, deleting=True), D, E],
    ),
    "not to be deleted": (
        lambda n: cm.mark_cell_not_deleting(cm.mark_cell_deleting(n, "e"), "e"),
        [A, B, C, D, replace(E)],
    ),
    "another text": (
        lambda n: cm.update_source(n, "a", "x"),
        [replace(A, source="x"), B, C, D, E],
    ),
    "other metadata of a cell": (
        lambda n: cm.set_cell_metadata(n, "b", {"x": [1]}),
        [A, replace(B, metadata={"x": [1]}), C, D, E],
    ),
    "1 where there was true": (
        lambda n: cm.set_cell_metadata(n, "b", {"collapsed": 1}),
        [A, replace(B, metadata={"collapsed": 1}), C, D, E],
    ),
    "other outputs": (
        lambda n: cm.update_outputs(n, "e", [OUTPUT]),
        [A, B, C, D, cm.code_cell("three", id="e", outputs=[OUTPUT])],
    ),
    "no outputs": (
        lambda n: cm.update_outputs(n, "a", []),
        [replace(A, outputs=ec.Outputs()), B, C, D, E],
    ),
    "another number": (
        lambda n: cm.update_execution_count(n, "a", 5),
        [replace(A, execution_count=5), B, C, D, E],
    ),
    "no number": (
        lambda n: cm.update_execution_count(n, "a", None),
        [replace(A, execution_count=None), B, C, D, E],
    ),
    "cleared": (
        lambda n: cm.clear_outputs(n, "a"),
        [replace(A, outputs=ec.Outputs(), execution_count=None), B, C, D, E],
    ),
    "cleared of times": (
        lambda n: cm.clear_outputs(n, "d"),
        [A, B, C, cm.code_cell("", id="d", metadata={"tags": []}), E],
    ),
    "all cleared": (
        cm.clear_all_outputs,
        [
            replace(A, outputs=ec.Outputs(), execution_count=None),
            *(B, C, cm.code_cell("", id="d", metadata={"tags": []}), E),
        ],
    ),
    "cleared of outputs alone": (
        lambda n: cm.clear_outputs(cm.update_outputs(n, "e", [OUTPUT]), "e"),
        [A, B, C, D, replace(E)],
    ),
    "cleared of a number alone": (
        lambda n: cm.clear_outputs(cm.update_execution_count(n, "e", 0), "e"),
        [A, B, C, D, replace(E)],
    ),
    "cleared of times alone": (
        lambda n: cm.clear_outputs(cm.set_cell_metadata(n, "e", {"execution": TIMES}), "e"),
        [A, B, C, D, replace(E)],
    ),
    "moved to the end": (lambda n: cm.move_cell(n, "a", 4), [B, C, D, E, A]),
    "moved to the beginning": (lambda n: cm.move_cell(n, "e", 0), [E, A, B, C, D]),
    "moved down": (lambda n: cm.move_cell(n, "b", 2), [A, C, B, D, E]),
    "moved up": (lambda n: cm.move_cell(n, "d", 1), [A, D, B, C, E]),
    "another cell in its place": (
        lambda n: cm.replace_cell(n, cm.raw_cell("other", id="b")),
        [A, cm.raw_cell("other", id="b"), C, D, E],
    ),
    "another state in its place": (
        lambda n: cm.replace_cell(n, replace(E, source="x")),
        [A, B, C, D, replace(E, source="x")],
    ),
    "a cell of another type in its place": (
        lambda n: cm.replace_cell(n, cm.markdown_cell("raw", id="c")),
        [A, B, cm.markdown_cell("raw", id="c"), D, E],
    ),
    "1 where there was true, in its place": (
        lambda n: cm.replace_cell(n, replace(B, metadata={"collapsed": 1})),
        [A, replace(B, metadata={"collapsed": 1}), C, D, E],
    ),
    "split": (
        lambda n: cm.split_cell(n, "c", 1, new_cell_id="c2"),
        [A, B, cm.raw_cell("r", id="c"), cm.raw_cell("aw", id="c2"), D, E],
    ),
    "split behind a newline": (
        lambda n: cm.split_cell(n, "a", 4, new_cell_id="a2"),
        [
            replace(A, source="one", outputs=ec.Outputs(), execution_count=None),
            replace(A, source="two", id="a2"),
            *(B, C, D, E),
        ],
    ),
    "split before a newline": (
        lambda n: cm.split_cell(n, "b", 7, new_cell_id="b2"),
        [
            *(A, replace(B, source="# Title")),
            replace(B, source="![](attachment:p.png)", id="b2", attachments=None),
            *(C, D, E),
        ],
    ),
    "split before all of it": (
        lambda n: cm.split_cell(n, "c", 0, new_cell_id="c2"),
        [A, B, cm.raw_cell("", id="c"), cm.raw_cell("raw", id="c2"), D, E],
    ),
    "split behind all of it": (
        lambda n: cm.split_cell(n, "c", 3, new_cell_id="c2"),
        [A, B, replace(C), cm.raw_cell("", id="c2"), D, E],
    ),
    "code merged": (
        lambda n: cm.merge_cells(n, "e", "a"),
        [
            replace(A, source="one\ntwo\nthree", outputs=ec.Outputs(), execution_count=None),
            *(B, C, D),
        ],
    ),
    "Markdown merged": (
        lambda n: cm.merge_cells(n, "b", "c", "e"),
        [A, replace(B, source="# Title\n![](attachment:p.png)\n\nraw\n\nthree"), D],
    ),
    "all merged": (
        lambda n: cm.merge_cells(n, *"abcde"),
        [
            replace(
                A,
                source="one\ntwo\n# Title\n![](attachment:p.png)\nraw\n\nthree",
                outputs=ec.Outputs(),
                execution_count=None,
            )
        ],
    ),
    "code to Markdown": (
        lambda n: cm.change_cell_type(n, "a", "markdown"),
        [cm.markdown_cell("one\ntwo", id="a", metadata={"tags": ["t"]}), B, C, D, E],
    ),
    "Markdown to code": (
        lambda n: cm.change_cell_type(n, "b", "code"),
        [A, cm.code_cell(B.source, id="b", metadata=B.metadata), C, D, E],
    ),
    "Markdown to raw": (
        lambda n: cm.change_cell_type(n, "b", "raw"),
        [
            A,
            cm.raw_cell(B.source, id="b", metadata=B.metadata, attachments=B.attachments),
            *(C, D, E),
        ],
    ),
    "raw to Markdown": (
        lambda n: cm.change_cell_type(n, "c", "markdown"),
        [A, B, cm.markdown_cell("raw", id="c"), D, E],
    ),
    "raw to Markdown, with its attachments": (
        lambda n: cm.change_cell_type(cm.attach(n, "c", "p.png", PIXEL), "c", "markdown"),
        [A, B, cm.markdown_cell("raw", id="c", attachments={"p.png": PIXEL}), D, E],
    ),
    "the first attachment": (
        lambda n: cm.attach(n, "c", "p.png", PIXEL),
        [A, B, replace(C, attachments={"p.png": PIXEL}), D, E],
    ),
    "another attachment": (
        lambda n: cm.attach(n, "b", "q.png", OTHER_PIXEL),
        [A, replace(B, attachments={"p.png": PIXEL, "q.png": OTHER_PIXEL}), C, D, E],
    ),
    "an attachment replaced": (
        lambda n: cm.attach(n, "b", "p.png", OTHER_PIXEL),
        [A, replace(B, attachments={"p.png": OTHER_PIXEL}), C, D, E],
    ),
    "detached": (
        lambda n: cm.detach(n, "b", "p.png"),
        [A, replace(B, attachments=None), C, D, E],
    ),
    "one of two detached": (
        lambda n: cm.detach(cm.attach(n, "b", "q.png", PIXEL), "b", "p.png"),
        [A, replace(B, attachments={"q.png": PIXEL}), C, D, E],
    ),
}


@pytest.mark.parametrize(("operation", "cells"), CHANGES.values(), ids=CHANGES.keys())
def test_operation_returns_expected_cells(operation: Operation, cells: Sequence[cm.Cell]) -> None:
    after = operation(NOTEBOOK)
    assert after.cells == tuple(cells)
    assert [type(cell) for cell in after.cells] == [type(cell) for cell in cells]
    assert cm.to_dict(after)["cells"] == [
        cm.to_dict(cm.Notebook([cell]))["cells"][0] for cell in cells
    ]


@pytest.mark.parametrize(("operation", "cells"), CHANGES.values(), ids=CHANGES.keys())
def test_operation_shares_unchanged_cells(operation: Operation, cells: Sequence[cm.Cell]) -> None:
    after = operation(NOTEBOOK)
    assert after is not NOTEBOOK
    assert after.metadata is NOTEBOOK.metadata
    assert after.extra is NOTEBOOK.extra
    untouched = [cell for cell in cells if any(cell is before for before in NOTEBOOK.cells)]
    assert all(after.cell(cell.id) is cell for cell in untouched)


@pytest.mark.parametrize(("operation", "cells"), CHANGES.values(), ids=CHANGES.keys())
def test_operation_leaves_argument_unchanged(
    operation: Operation, cells: Sequence[cm.Cell]
) -> None:
    operation(NOTEBOOK)
    assert cm.to_dict(NOTEBOOK) == ORIGINAL
    assert [NOTEBOOK.index(cell.id) for cell in NOTEBOOK.cells] == [0, 1, 2, 3, 4]
    assert "new" not in NOTEBOOK


def test_update_source_shares_other_fields() -> None:
    after = cm.update_source(NOTEBOOK, "a", "x").cell("a")
    for field in fields(A):
        assert field.name == "source" or getattr(after, field.name) is getattr(A, field.name)


def test_set_metadata_shares_cells() -> None:
    after = cm.set_metadata(NOTEBOOK, {"language_info": {"name": "julia"}})
    assert after.metadata == {"language_info": {"name": "julia"}}
    assert after.cells is NOTEBOOK.cells
    assert after.extra is NOTEBOOK.extra


def test_metadata_distinguishes_true_from_1() -> None:
    ones = cm.set_metadata(NOTEBOOK, {"x": [1]})
    assert cm.set_metadata(ones, {"x": [True]}).metadata["x"][0] is True


@pytest.mark.parametrize("operation", [cm.set_metadata, partial(cm.set_cell_metadata, cell_id="a")])
def test_metadata_argument_is_copied(operation: Callable[..., cm.Notebook]) -> None:
    given: dict[str, Any] = {"x": [1]}
    after = operation(NOTEBOOK, metadata=given)
    given["x"].append(2)
    assert {"x": [1]} in (after.metadata, after.cell("a").metadata)


# -- no-ops -----------------------------------------------------------------------------------------

NO_OPS: dict[str, Operation] = {
    "the same text": lambda n: cm.update_source(n, "a", "one\ntwo"),
    "an equal text": lambda n: cm.update_source(n, "a", "".join(["one", "\ntwo"])),
    "the same outputs": lambda n: cm.update_outputs(n, "a", A.outputs),
    "the same number": lambda n: cm.update_execution_count(n, "a", 3),
    "still no number": lambda n: cm.update_execution_count(n, "e", None),
    "the same metadata of a cell": lambda n: cm.set_cell_metadata(n, "a", A.metadata),
    "equal metadata of a cell": lambda n: cm.set_cell_metadata(n, "a", {"tags": ["t"]}),
    "the same metadata": lambda n: cm.set_metadata(n, n.metadata),
    "equal metadata": lambda n: cm.set_metadata(n, {"kernelspec": {"name": "python3"}}),
    "not deleting": lambda n: cm.mark_cell_not_deleting(n, "a"),
    "nothing to clear": lambda n: cm.clear_outputs(n, "e"),
    "where it is": lambda n: cm.move_cell(n, "c", 2),
    "the same cell": lambda n: cm.replace_cell(n, A),
    "an equal cell": lambda n: cm.replace_cell(n, replace(A)),
    "its own type": lambda n: cm.change_cell_type(n, "b", "markdown"),
    "the same attachment": lambda n: cm.attach(n, "b", "p.png", PIXEL),
}


@pytest.mark.parametrize("operation", NO_OPS.values(), ids=NO_OPS.keys())
def test_no_op_returns_same_notebook(operation: Operation) -> None:
    assert operation(NOTEBOOK) is NOTEBOOK


@pytest.mark.parametrize(
    "operation", [partial(cm.mark_cell_deleting, cell_id="a"), cm.clear_all_outputs]
)
def test_repeated_operation_is_a_no_op(operation: Operation) -> None:
    once = operation(NOTEBOOK)
    assert operation(once) is once


# -- errors -----------------------------------------------------------------------------------------

CELL_OPERATIONS: dict[str, Callable[[cm.Notebook, str], cm.Notebook]] = {
    "insert_cell_after": lambda n, id: cm.insert_cell_after(n, NEW, id),
    "delete_cell": cm.delete_cell,
    "mark_cell_deleting": cm.mark_cell_deleting,
    "mark_cell_not_deleting": cm.mark_cell_not_deleting,
    "update_source": lambda n, id: cm.update_source(n, id, "x"),
    "set_cell_metadata": lambda n, id: cm.set_cell_metadata(n, id, {}),
    "update_outputs": lambda n, id: cm.update_outputs(n, id, []),
    "update_execution_count": lambda n, id: cm.update_execution_count(n, id, 1),
    "clear_outputs": cm.clear_outputs,
    "move_cell": lambda n, id: cm.move_cell(n, id, 0),
    "replace_cell": lambda n, id: cm.replace_cell(n, cm.code_cell(id=id)),
    "split_cell": lambda n, id: cm.split_cell(n, id, 0),
    "merge_cells": lambda n, id: cm.merge_cells(n, "a", id),
    "change_cell_type": lambda n, id: cm.change_cell_type(n, id, "raw"),
    "attach": lambda n, id: cm.attach(n, id, "p.png", PIXEL),
    "detach": lambda n, id: cm.detach(n, id, "p.png"),
}


@pytest.mark.parametrize("operation", CELL_OPERATIONS.values(), ids=CELL_OPERATIONS.keys())
def test_operation_on_unknown_cell_raises(
    operation: Callable[[cm.Notebook, str], cm.Notebook],
) -> None:
    with pytest.raises(cm.CellNotFound, match="the notebook has no cell with the id 'x'"):
        operation(NOTEBOOK, "x")


INVALID: dict[str, tuple[Operation, type[Exception], str]] = {
    "an id twice": (lambda n: cm.append_cell(n, E), cm.DuplicateCell, "a cell with the id e"),
    "an id twice, at a place": (lambda n: cm.insert_cell_at(n, A, 0), cm.DuplicateCell, "id a"),
    "an id twice, behind": (lambda n: cm.insert_cell_after(n, A, "b"), cm.DuplicateCell, "id a"),
    "an id twice, split": (
        lambda n: cm.split_cell(n, "a", 1, new_cell_id="a"),
        *(cm.DuplicateCell, "id a"),
    ),
    "no id, split": (
        lambda n: cm.split_cell(n, "a", 1, new_cell_id="?"),
        *(cm.InvalidNotebook, "cell id must be .*, not '\\?'"),
    ),
    "no cell": (
        lambda n: cm.append_cell(n, {"source": "x"}),  # type: ignore[arg-type] # pyright: ignore
        *(cm.InvalidNotebook, "a cell must be .*, not {'source': 'x'}; cm.code_cell"),
    ),
    "an index out of range": (
        lambda n: cm.insert_cell_at(n, NEW, 6),
        IndexError,
        "index must be 0 to 5, not 6",
    ),
    "a negative index": (lambda n: cm.insert_cell_at(n, NEW, -1), IndexError, "0 to 5, not -1"),
    "moved out of range": (
        lambda n: cm.move_cell(n, "a", 5),
        IndexError,
        "index must be 0 to 4, not 5",
    ),
    "split behind its end": (
        lambda n: cm.split_cell(n, "c", 4),
        IndexError,
        "position must be 0 to 3, not 4",
    ),
    "split before its start": (
        lambda n: cm.split_cell(n, "c", -1),
        IndexError,
        "position must be 0 to 3, not -1",
    ),
    "one merged": (
        lambda n: cm.merge_cells(n, "a"),
        cm.NotebookError,
        "at least two different cells",
    ),
    "one merged with itself": (
        lambda n: cm.merge_cells(n, "a", "a"),
        *(cm.NotebookError, "at least two different cells"),
    ),
    "no source": (
        lambda n: cm.update_source(n, "a", 1),  # type: ignore[arg-type] # pyright: ignore
        *(cm.InvalidNotebook, "source of cell a must be a str, not 1"),
    ),
    "no metadata of a cell": (
        lambda n: cm.set_cell_metadata(n, "a", []),  # type: ignore[arg-type] # pyright: ignore
        *(cm.InvalidNotebook, "cell metadata must be a dict"),
    ),
    "no metadata": (
        lambda n: cm.set_metadata(n, {"x": {1}}),
        *(cm.InvalidNotebook, "notebook metadata.x must be a JSON value, not set"),
    ),
    "outputs of Markdown": (
        lambda n: cm.update_outputs(n, "b", []),
        *(cm.InvalidNotebook, "cell b is a markdown cell; only code cells have outputs"),
    ),
    "outputs that are not JSON": (
        lambda n: cm.update_outputs(n, "a", [{"x": object()}]),
        *(cm.InvalidNotebook, "an output.x must be a JSON value, not object"),
    ),
    "outputs of raw, cleared": (
        lambda n: cm.clear_outputs(n, "c"),
        *(cm.InvalidNotebook, "cell c is a raw cell; only code cells have outputs"),
    ),
    "a number of Markdown": (
        lambda n: cm.update_execution_count(n, "b", 1),
        *(cm.InvalidNotebook, "cell b is a markdown cell; only code cells have an execution count"),
    ),
    "a negative number": (
        lambda n: cm.update_execution_count(n, "a", -1),
        *(cm.InvalidNotebook, "execution_count of cell a must be .*, not -1"),
    ),
    "true as a number": (
        lambda n: cm.update_execution_count(cm.update_execution_count(n, "a", 1), "a", True),
        *(cm.InvalidNotebook, "execution_count of cell a must be .*, not True"),
    ),
    "no type": (
        lambda n: cm.change_cell_type(n, "a", "html"),  # type: ignore[arg-type] # pyright: ignore
        *(cm.InvalidNotebook, "cell_type must be 'code', 'markdown' or 'raw', not 'html'"),
    ),
    "attached to code": (
        lambda n: cm.attach(n, "a", "p.png", PIXEL),
        *(cm.InvalidNotebook, "cell a is a code cell; code cells have no attachments"),
    ),
    "detached from code": (
        lambda n: cm.detach(n, "a", "p.png"),
        *(cm.InvalidNotebook, "cell a is a code cell; code cells have no attachments"),
    ),
    "detached, and not there": (
        lambda n: cm.detach(n, "b", "q.png"),
        *(cm.InvalidNotebook, "cell b has no attachment 'q.png'"),
    ),
    "detached from what has none": (
        lambda n: cm.detach(n, "c", "p.png"),
        *(cm.InvalidNotebook, "cell c has no attachment 'p.png'"),
    ),
    "attached, and no bundle": (
        lambda n: cm.attach(n, "b", "p.png", "AAAA"),  # type: ignore[arg-type] # pyright: ignore
        *(cm.InvalidNotebook, "attachment p.png must be a dict, not 'AAAA'"),
    ),
}


@pytest.mark.parametrize(("operation", "error", "text"), INVALID.values(), ids=INVALID.keys())
def test_invalid_operation_raises(operation: Operation, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        operation(NOTEBOOK)
    assert cm.to_dict(NOTEBOOK) == ORIGINAL


# -- split and merge --------------------------------------------------------------------------------


def test_split_off_cell_gets_new_id() -> None:
    after = cm.split_cell(cm.split_cell(NOTEBOOK, "c", 1), "c", 1)
    assert len({cell.id for cell in after.cells}) == 7


@pytest.mark.parametrize("cell_id", ["a", "b", "c"])
def test_split_off_cell_is_not_marked_deleting(cell_id: str) -> None:
    marked = cm.mark_cell_deleting(NOTEBOOK, cell_id)
    after = cm.split_cell(marked, cell_id, 1, new_cell_id="new")
    assert after.cell(cell_id).deleting
    assert not after.cell("new").deleting


def test_split_off_cell_is_idle() -> None:
    running = cm.replace_cell(NOTEBOOK, replace(A, status=cm.CellStatus.RUNNING))
    first, second, *_ = cm.split_cell(running, "a", 1).cells
    assert isinstance(first, cm.CodeCell)
    assert isinstance(second, cm.CodeCell)
    assert (first.status, second.status) == (cm.CellStatus.RUNNING, cm.CellStatus.IDLE)


def merged(*cells: cm.Cell) -> cm.Cell:
    (cell,) = cm.merge_cells(cm.Notebook(cells), *(cell.id for cell in cells)).cells
    return cell


def pictured(*names: str, id: str, of: str = "") -> cm.MarkdownCell:
    """Return a cell that shows attachments, each with its own content."""
    source = " ".join(f"![](attachment:{name})" for name in names)
    attachments = {name: {"image/png": f"{name} of {of or id}"} for name in names}
    return cm.markdown_cell(source, id=id, attachments=attachments)


def shown(cell: cm.Cell) -> list[str]:
    """Return the content of each attachment in the text, in order."""
    assert isinstance(cell, cm.MarkdownCell)
    names = cell.source.replace("![](attachment:", "").replace(")", "").split()
    assert cell.attachments is not None
    return [cell.attachments[name]["image/png"] for name in names]


MERGED = {
    "other names": (("p.png",), ("q.png",), ["p.png of a", "q.png of b"], {"p.png", "q.png"}),
    "one name": (("p.png",), ("p.png",), ["p.png of a", "p.png of b"], {"p.png", "p-1.png"}),
    "no suffix": (("p",), ("p",), ["p of a", "p of b"], {"p", "p-1"}),
    "the new name is taken": (
        ("p.png", "p-1.png"),
        ("p.png",),
        ["p.png of a", "p-1.png of a", "p.png of b"],
        {"p.png", "p-1.png", "p-2.png"},
    ),
    "the new name is the other's": (
        ("p.png",),
        ("p.png", "p-1.png"),
        ["p.png of a", "p.png of b", "p-1.png of b"],
        None,
    ),
    "a name that begins another": (
        ("p",),
        ("p", "p.png", "p-x"),
        ["p of a", "p of b", "p.png of b", "p-x of b"],
        {"p", "p-1", "p.png", "p-x"},
    ),
    "a name that begins another, with a symbol after it": (
        ("p", "p+x"),
        ("p", "p+x"),
        ["p of a", "p+x of a", "p of b", "p+x of b"],
        {"p", "p-1", "p+x", "p+x-1"},
    ),
    "a name that is a pattern": (
        ("(.*).png",),
        ("(.*).png",),
        None,
        {"(.*).png", "(.*)-1.png"},
    ),
}


@pytest.mark.parametrize(("first", "second", "wanted", "names"), MERGED.values(), ids=MERGED.keys())
def test_merge_keeps_attachment_references(
    first: tuple[str, ...],
    second: tuple[str, ...],
    wanted: list[str] | None,
    names: set[str] | None,
) -> None:
    cell = merged(pictured(*first, id="a"), pictured(*second, id="b"))
    assert wanted is None or shown(cell) == wanted
    assert isinstance(cell, cm.MarkdownCell)
    assert names is None or set(cell.attachments or ()) == names


def test_merge_keeps_equal_attachment_once() -> None:
    cell = merged(pictured("p.png", id="a", of="x"), pictured("p.png", id="b", of="x"))
    assert shown(cell) == ["p.png of x", "p.png of x"]
    assert isinstance(cell, cm.MarkdownCell)
    assert list(cell.attachments or ()) == ["p.png"]


def test_merge_combines_attachments_of_three_cells() -> None:
    cell = merged(*(pictured("p.png", id=id) for id in "abc"))
    assert shown(cell) == ["p.png of a", "p.png of b", "p.png of c"]


def test_merge_without_attachments_has_none() -> None:
    both = merged(cm.markdown_cell(id="a"), cm.markdown_cell(id="b"))
    assert isinstance(both, cm.MarkdownCell)
    assert both.attachments is None


def test_merge_uses_notebook_order() -> None:
    ids = "abcdefgh"
    notebook = cm.Notebook([cm.code_cell(id, id=id) for id in ids])
    after = cm.merge_cells(notebook, "g", "c", "e", "c")
    assert [cell.source for cell in after.cells] == ["a", "b", "c\ne\ng", "d", "f", "h"]
    assert [after.index(cell.id) for cell in after.cells] == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("position", range(len("one\ntwo") + 1))
def test_merge_reverses_split(position: int) -> None:
    after = cm.split_cell(NOTEBOOK, "a", position, new_cell_id="a2")
    source = cm.merge_cells(after, "a", "a2").cell("a").source
    assert source.replace("\n", "") == "onetwo"
