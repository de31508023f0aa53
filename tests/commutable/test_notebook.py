"""Notebooks are frozen at every depth and compared by value; cells are found by id."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import sys
from collections.abc import Callable
from typing import Any

import pytest

import commutable as cm
import enchannel as ec

OUTPUT = {"output_type": "display_data", "data": {"x/y+json": [[1], {"a": 1}]}, "metadata": {}}


def example() -> cm.Notebook:
    code = cm.code_cell(
        "6 * 7", id="a", metadata={"tags": ["x"], "deep": {"er": [1]}}, outputs=[OUTPUT]
    )
    prose = cm.markdown_cell("prose", id="b", attachments={"p.png": {"image/png": "AAAA"}})
    later = dataclasses.replace(cm.raw_cell("raw", id="c"), extra={"later": [1]})
    metadata = {"kernelspec": {"name": "python3"}, "authors": [{"name": "Ada"}]}
    return cm.Notebook([code, prose, later], metadata, extra={"later": {"x": [1]}})


def code(notebook: cm.Notebook) -> cm.CodeCell:
    cell = notebook.cell("a")
    assert isinstance(cell, cm.CodeCell)
    return cell


def output(notebook: cm.Notebook) -> cm.DisplayOutput:
    output = code(notebook).outputs[0]
    assert output["output_type"] == "display_data"
    return output


def attachments(notebook: cm.Notebook) -> Any:
    cell = notebook.cell("b")
    assert isinstance(cell, cm.MarkdownCell)
    assert cell.attachments is not None
    return cell.attachments


# -- immutability -----------------------------------------------------------------------------------

ATTRIBUTES: dict[str, Callable[[cm.Notebook], tuple[Any, str]]] = {
    "the cells of a notebook": lambda n: (n, "cells"),
    "the metadata of a notebook": lambda n: (n, "metadata"),
    "the version of a notebook": lambda n: (n, "nbformat_minor"),
    "other fields of a notebook": lambda n: (n, "extra"),
    "the version of all notebooks": lambda n: (n, "nbformat"),
    "an unknown attribute of a notebook": lambda n: (n, "name"),
    "the id of a cell": lambda n: (n.cells[0], "id"),
    "the source of code": lambda n: (n.cells[0], "source"),
    "the outputs of code": lambda n: (n.cells[0], "outputs"),
    "the status of code": lambda n: (n.cells[0], "status"),
    "the source of Markdown": lambda n: (n.cells[1], "source"),
    "the attachments of Markdown": lambda n: (n.cells[1], "attachments"),
    "the metadata of raw": lambda n: (n.cells[2], "metadata"),
    "other fields of raw": lambda n: (n.cells[2], "extra"),
}


@pytest.mark.parametrize("attribute", ATTRIBUTES.values(), ids=ATTRIBUTES.keys())
def test_attributes_cannot_be_set_or_deleted(
    attribute: Callable[[cm.Notebook], tuple[Any, str]],
) -> None:
    owner, name = attribute(example())
    with pytest.raises(AttributeError):
        setattr(owner, name, None)
    with pytest.raises(AttributeError):
        delattr(owner, name)


FROZEN: dict[str, Callable[[cm.Notebook], Any]] = {
    "metadata": lambda n: n.metadata,
    "a dict in metadata": lambda n: n.metadata["kernelspec"],
    "a list in metadata": lambda n: n.metadata["authors"],
    "a dict in a list in metadata": lambda n: n.metadata["authors"][0],
    "other fields": lambda n: n.extra,
    "a dict in other fields": lambda n: n.extra["later"],
    "metadata of a cell": lambda n: n.cell("a").metadata,
    "a list in metadata of a cell": lambda n: n.cell("a").metadata["tags"],
    "a nested list in metadata of a cell": lambda n: n.cell("a").metadata["deep"]["er"],
    "other fields of a cell": lambda n: n.cell("c").extra,
    "a list in other fields of a cell": lambda n: n.cell("c").extra["later"],
    "attachments": attachments,
    "an attachment": lambda n: attachments(n)["p.png"],
    "an output": lambda n: output(n),
    "the data of an output": lambda n: output(n)["data"],
    "JSON in an output": lambda n: output(n)["data"]["x/y+json"],
    "a list in JSON in an output": lambda n: output(n)["data"]["x/y+json"][0],
    "a dict in JSON in an output": lambda n: output(n)["data"]["x/y+json"][1],
}
DICT_CHANGES: list[Callable[[Any], object]] = [
    lambda d: d.update(x=1),
    lambda d: d.setdefault("x", 1),
    lambda d: d.pop("x", None),
    lambda d: d.popitem(),
    lambda d: d.clear(),
    lambda d: d.__setitem__("x", 1),
    lambda d: d.__delitem__(next(iter(d))),
    lambda d: d.__ior__({"x": 1}),
]
LIST_CHANGES: list[Callable[[Any], object]] = [
    lambda x: x.append(1),
    lambda x: x.extend([1]),
    lambda x: x.insert(0, 1),
    lambda x: x.pop(),
    lambda x: x.remove(x[0]),
    lambda x: x.clear(),
    lambda x: x.sort(),
    lambda x: x.reverse(),
    lambda x: x.__setitem__(0, 1),
    lambda x: x.__setitem__(slice(None), []),
    lambda x: x.__delitem__(0),
    lambda x: x.__iadd__([1]),
    lambda x: x.__imul__(2),
]


@pytest.mark.parametrize("part", FROZEN.values(), ids=FROZEN.keys())
def test_notebook_is_frozen_at_every_depth(part: Callable[[cm.Notebook], Any]) -> None:
    notebook = example()
    value = part(notebook)
    for change in DICT_CHANGES if isinstance(value, dict) else LIST_CHANGES:
        with pytest.raises(TypeError, match="this object is immutable"):
            change(value)
    assert notebook == example()


def test_outputs_are_frozen() -> None:
    outputs: Any = code(example()).outputs
    assert not hasattr(outputs, "append")
    with pytest.raises(TypeError):
        outputs[0] = OUTPUT


def test_notebook_copies_its_arguments() -> None:
    metadata: dict[str, Any] = {"x": [1]}
    output = copy.deepcopy(OUTPUT)
    bundle = {"text/plain": "a"}
    cells: list[cm.Cell] = [
        cm.code_cell(id="a", metadata=metadata, outputs=[output]),
        cm.raw_cell(id="b", attachments={"p": bundle}),
    ]
    notebook = cm.Notebook(cells, metadata)
    before = cm.to_dict(notebook)
    metadata["x"].append(2)
    output["data"] = {}
    bundle["text/plain"] = "b"
    cells.clear()
    assert cm.to_dict(notebook) == before


def test_replaced_cell_is_frozen() -> None:
    metadata: dict[str, Any] = {"x": [1]}
    outputs: Any = [OUTPUT]
    made = dataclasses.replace(code(example()), metadata=metadata, outputs=outputs)
    metadata["x"].append(2)
    assert made.metadata == {"x": [1]}
    assert isinstance(made.outputs, ec.Outputs)
    with pytest.raises(TypeError):
        made.metadata["x"] = 2  # type: ignore[index]


# -- values -----------------------------------------------------------------------------------------

DIFFERENT: dict[str, Callable[[cm.Notebook], cm.Notebook]] = {
    "source": lambda n: cm.update_source(n, "a", "x"),
    "metadata": lambda n: cm.set_metadata(n, {}),
    "metadata of a cell": lambda n: cm.set_cell_metadata(n, "a", {}),
    "outputs": lambda n: cm.update_outputs(n, "a", []),
    "execution count": lambda n: cm.update_execution_count(n, "a", 1),
    "attachments": lambda n: cm.attach(n, "b", "p.png", {}),
    "no attachments": lambda n: cm.detach(n, "b", "p.png"),
    "type": lambda n: cm.change_cell_type(n, "c", "markdown"),
    "order": lambda n: cm.move_cell(n, "a", 1),
    "a deleted cell": lambda n: cm.delete_cell(n, "c"),
    "deleting": lambda n: cm.mark_cell_deleting(n, "c"),
    "version": lambda n: cm.Notebook(n.cells, n.metadata, nbformat_minor=99, extra=n.extra),
    "other fields": lambda n: cm.Notebook(n.cells, n.metadata),
}


def test_notebooks_are_equal_by_value() -> None:
    one, other = example(), example()
    assert one is not other
    assert one == other
    assert hash(one) == hash(other)
    assert len({one, other, *one.cells, *other.cells}) == 4


@pytest.mark.parametrize("change", DIFFERENT.values(), ids=DIFFERENT.keys())
def test_notebooks_differ_by_value(change: Callable[[cm.Notebook], cm.Notebook]) -> None:
    assert change(example()) != example()


def test_notebook_differs_from_other_types() -> None:
    assert example() != 1
    assert cm.empty_notebook != ()


def test_cells_of_different_types_are_not_equal() -> None:
    cells: list[cm.Cell] = [cm.markdown_cell("x", id="a"), cm.raw_cell("x", id="a")]
    assert cells[0] != cells[1]
    assert cells[1] != cells[0]


def test_empty_attachments_differ_from_none() -> None:
    assert cm.markdown_cell(id="a", attachments={}) != cm.markdown_cell(id="a")


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_notebook_can_be_pickled(protocol: int) -> None:
    notebook = cm.delete_cell(example(), "b")
    twin = pickle.loads(pickle.dumps(notebook, protocol))  # noqa: S301
    assert twin == notebook
    assert twin.index("c") == 1
    with pytest.raises(TypeError):
        twin.cell("a").metadata.clear()


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_notebook_pickle_keeps_every_field(protocol: int) -> None:
    notebook = cm.Notebook(example().cells, {"x": 1}, nbformat_minor=99, extra={"later": [1]})
    assert pickle.loads(pickle.dumps(notebook, protocol)) == notebook  # noqa: S301


def test_notebook_errors_can_be_pickled() -> None:
    with pytest.raises(cm.CellNotFound) as caught:
        example().cell("x")
    twin = pickle.loads(pickle.dumps(caught.value))  # noqa: S301
    assert type(twin) is cm.CellNotFound
    assert str(twin) == str(caught.value)


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
def test_copy_of_notebook_is_itself(copied: Callable[[cm.Notebook], cm.Notebook]) -> None:
    notebook = example()
    assert copied(notebook) is notebook


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
def test_copy_of_cell_is_itself(copied: Callable[[cm.Cell], cm.Cell]) -> None:
    assert all(copied(cell) is cell for cell in example().cells)


def test_notebook_and_cell_repr() -> None:
    assert repr(cm.empty_notebook) == "<Notebook of 0 cells>"
    assert repr(cm.Notebook([cm.code_cell()])) == "<Notebook of 1 cell>"
    assert repr(example()) == "<Notebook of 3 cells>"
    assert repr(code(example())).startswith("CodeCell(id='a', source='6 * 7', metadata=")


def test_new_cell_is_empty_and_idle() -> None:
    cell = cm.code_cell()
    assert (cell.source, cell.metadata, cell.execution_count) == ("", {}, None)
    assert len(cell.outputs) == 0
    assert (cell.status, cell.deleting, cell.extra) == (cm.CellStatus.IDLE, False, {})
    assert (cm.markdown_cell().attachments, cm.raw_cell().attachments) == (None, None)


# -- ids --------------------------------------------------------------------------------------------


def test_generated_ids_are_valid_and_unique() -> None:
    cells = [make() for make in (cm.code_cell, cm.markdown_cell, cm.raw_cell) for _ in range(100)]
    assert len(cm.Notebook(cells).cells) == 300
    assert all(1 <= len(cell.id) <= 64 for cell in cells)


@pytest.mark.parametrize("id", ["a", "-", "_", "A-z_0", "x" * 64])
def test_valid_cell_id_is_accepted(id: str) -> None:
    assert cm.code_cell(id=id).id == id


@pytest.mark.parametrize("id", ["", " ", "a b", "ä", "a\n", "x" * 65, "a.b", "٣", 1, b"a"])
@pytest.mark.parametrize("make", [cm.code_cell, cm.markdown_cell, cm.raw_cell])
def test_invalid_cell_id_is_rejected(make: Callable[..., cm.Cell], id: Any) -> None:
    with pytest.raises(cm.InvalidNotebook, match="cell id must be 1 to 64 letters"):
        make(id=id)


def test_duplicate_cell_ids_are_rejected() -> None:
    with pytest.raises(cm.DuplicateCell, match="two cells have the id a"):
        cm.Notebook([cm.code_cell(id="a"), cm.code_cell(id="b"), cm.raw_cell(id="a")])


INVALID: dict[str, tuple[Callable[[], object], str]] = {
    "a cell that is a dict": (
        lambda: cm.Notebook([{"cell_type": "code"}]),  # type: ignore[list-item] # pyright: ignore
        "a cell must be a CodeCell, MarkdownCell or RawCell, not {'cell_type': 'code'}",
    ),
    "a version without ids": (
        lambda: cm.Notebook(nbformat_minor=4),
        "nbformat_minor must be an int of at least 5.*, not 4",
    ),
    "a version that is a float": (
        lambda: cm.Notebook(nbformat_minor=5.0),  # type: ignore[arg-type] # pyright: ignore
        "nbformat_minor must be an int of at least 5.*, not 5.0",
    ),
    "a version that is true": (
        lambda: cm.Notebook(nbformat_minor=True),
        "nbformat_minor must be an int of at least 5.*, not True",
    ),
    "metadata that is a list": (
        lambda: cm.Notebook(metadata=[]),  # type: ignore[arg-type] # pyright: ignore
        "notebook metadata must be a dict, not \\[\\]",
    ),
    "other fields that are not JSON": (
        lambda: cm.Notebook(extra={"x": b""}),
        "extra notebook fields.x must be a JSON value, not bytes",
    ),
    "source that is a number": (
        lambda: cm.code_cell(1, id="a"),  # type: ignore[arg-type] # pyright: ignore
        "source of cell a must be a str, not 1",
    ),
    "metadata of a cell that is a number": (
        lambda: cm.code_cell(metadata=1),  # type: ignore[arg-type] # pyright: ignore
        "metadata must be a dict, not 1",
    ),
    "keys that are numbers": (
        lambda: cm.code_cell(metadata={"x": {1: 2}}),
        "a key of metadata.x must be a string, not 1",
    ),
    "recursive metadata": (lambda: cm.code_cell(metadata=recursive()), "nested too deeply"),
    "attachments that are a list": (
        lambda: cm.raw_cell(attachments=["p"]),  # type: ignore[arg-type] # pyright: ignore
        "attachments must be a dict",
    ),
    "outputs that are strings": (
        lambda: cm.code_cell(id="a", outputs=["x"]),  # type: ignore[list-item] # pyright: ignore
        "outputs of cell a must be dicts, not 'x'",
    ),
    "an execution count that is a text": (
        lambda: cm.code_cell(id="a", execution_count="1"),  # type: ignore[arg-type] # pyright: ignore
        "execution_count of cell a must be a non-negative int or None, not '1'",
    ),
    "metadata of a replaced cell": (
        lambda: dataclasses.replace(cm.raw_cell(id="a"), metadata={"x": object()}),
        "metadata of cell a.x must be a JSON value, not object",
    ),
}


def recursive() -> dict[str, Any]:
    x: dict[str, Any] = {}
    x["x"] = x
    return x


@pytest.mark.parametrize(("make", "text"), INVALID.values(), ids=INVALID.keys())
def test_invalid_arguments_are_rejected(make: Callable[[], object], text: str) -> None:
    with pytest.raises(cm.InvalidNotebook, match=text):
        make()


# -- lookups ----------------------------------------------------------------------------------------


def test_cell_is_found_by_id() -> None:
    notebook = example()
    assert [notebook.index(id) for id in "abc"] == [0, 1, 2]
    assert all(notebook.cell(id) is notebook.cells[notebook.index(id)] for id in "abc")
    assert "a" in notebook
    assert "x" not in notebook
    assert 0 not in notebook
    assert ["a"] not in notebook
    assert notebook.cells[0] not in notebook


@pytest.mark.parametrize("find", [cm.Notebook.cell, cm.Notebook.index])
def test_unknown_cell_id_is_not_found(find: Callable[[cm.Notebook, str], object]) -> None:
    with pytest.raises(cm.CellNotFound, match="the id 'x'; it has 3 cells"):
        find(example(), "x")
    with pytest.raises(cm.CellNotFound, match="the id 'x'; it has 1 cell$"):
        find(cm.Notebook([cm.code_cell()]), "x")


def test_empty_notebook_has_no_cells() -> None:
    assert cm.empty_notebook == cm.Notebook()
    assert cm.empty_notebook.cells == ()
    assert "a" not in cm.empty_notebook


KERNELS = {
    "nothing": ({}, None, None),
    "a kernel": ({"kernelspec": {"name": "ir", "language": "R"}}, "ir", "R"),
    "a language": ({"language_info": {"name": "python"}}, None, "python"),
    "both": (
        {"kernelspec": {"name": "k", "language": "a"}, "language_info": {"name": "b"}},
        *("k", "a"),
    ),
    "no language of the kernel": (
        {"kernelspec": {"name": "k", "language": ""}, "language_info": {"name": "b"}},
        *("k", "b"),
    ),
    "empty texts": ({"kernelspec": {"name": ""}, "language_info": {"name": ""}}, None, None),
    "nonsense": ({"kernelspec": ["k"], "language_info": 1}, None, None),
    "numbers": ({"kernelspec": {"name": 1}, "language_info": {"name": None}}, None, None),
}


@pytest.mark.parametrize(("metadata", "name", "language"), KERNELS.values(), ids=KERNELS.keys())
def test_kernel_name_and_language_from_metadata(
    metadata: dict[str, Any], name: str | None, language: str | None
) -> None:
    notebook = cm.Notebook(metadata=metadata)
    assert (notebook.kernel_name, notebook.language) == (name, language)


def test_cell_tags_from_metadata() -> None:
    assert cm.code_cell(metadata={"tags": ["a", "b"]}).tags == ("a", "b")
    assert cm.code_cell().tags == ()
    assert cm.code_cell(metadata={"tags": "a"}).tags == ()


# -- the shared index -------------------------------------------------------------------------------


def numbered(*numbers: int) -> cm.Notebook:
    return cm.Notebook([cm.code_cell(id=f"c{number}") for number in numbers])


def assert_all_found(*states: cm.Notebook) -> None:
    """Check that each notebook finds its own cells only, in both orders of lookup."""
    ids = {cell.id for state in states for cell in state.cells}
    for some in (states, states[::-1]):
        for id in sorted(ids):
            for state in some:
                positions = [index for index, cell in enumerate(state.cells) if cell.id == id]
                assert (id in state) is bool(positions)
                if positions:
                    assert state.index(id) == positions[0]
                else:
                    with pytest.raises(cm.CellNotFound):
                        state.index(id)


def test_index_finds_cells_of_old_and_new_states() -> None:
    states = [numbered(*range(12))]
    states.append(cm.delete_cell(states[-1], "c3"))
    states.append(cm.move_cell(states[-1], "c0", 10))
    states.append(cm.move_cell(states[-1], "c11", 0))
    states.append(cm.insert_cell_at(states[-1], cm.raw_cell(id="c3"), 7))
    states.append(cm.insert_cell_at(states[0], cm.raw_cell(id="x"), 0))
    states.append(cm.append_cell(states[0], cm.raw_cell(id="x")))
    states.append(cm.merge_cells(states[-1], "c1", "c5", "x"))
    states.append(cm.split_cell(states[2], "c0", 0, new_cell_id="x"))
    assert_all_found(*states)


def test_index_finds_reinserted_cell() -> None:
    first = numbered(*range(5))
    without = cm.delete_cell(first, "c4")
    again = cm.insert_cell_at(without, cm.raw_cell(id="c4"), 0)
    assert_all_found(first, without, again)
    assert isinstance(first.cell("c4"), cm.CodeCell)
    assert isinstance(again.cell("c4"), cm.RawCell)


def test_index_finds_cells_after_many_deletions() -> None:
    first = state = numbered(*range(200))
    some = [first]
    for number in range(198):
        state = cm.delete_cell(state, f"c{number}")
        if number % 50 == 0:
            some.append(state)
    forgetting = cm.append_cell(state, cm.raw_cell(id="x"))
    assert_all_found(*some, state, forgetting, cm.append_cell(some[1], cm.raw_cell(id="y")))


def test_derived_notebooks_share_index() -> None:
    first = numbered(*range(200))
    states = [first, cm.append_cell(first, cm.raw_cell(id="x")), cm.delete_cell(first, "c5")]
    states.append(cm.move_cell(states[-1], "c9", 100))
    states.append(cm.merge_cells(states[-1], "c1", "c2"))
    assert {id(state._index) for state in states} == {id(first._index)}
    assert_all_found(*states)


def test_index_forgets_deleted_ids() -> None:
    state = numbered(0)
    for number in range(1, 1_000):
        state = cm.delete_cell(cm.append_cell(state, cm.code_cell(id=f"c{number}")), f"c{number}")
    assert sys.getsizeof(state._index._positions) < 20_000


def test_index_finds_cell_moved_far() -> None:
    first = numbered(*range(300))
    assert_all_found(first, cm.move_cell(first, "c0", 299), cm.move_cell(first, "c299", 0))


def test_monocell_notebook_has_an_empty_code_cell() -> None:
    (cell,) = cm.monocell_notebook().cells
    assert cell == cm.code_cell(id=cell.id)
    assert cm.monocell_notebook().cells[0].id != cell.id


def test_monocell_notebook_has_the_given_cell() -> None:
    cell = cm.markdown_cell("# Title", id="a")
    assert cm.monocell_notebook(cell) == cm.append_cell(cm.empty_notebook, cell)


def test_monocell_notebook_refuses_other_types() -> None:
    no_cell: Any = "6 * 7"
    with pytest.raises(cm.InvalidNotebook, match="a cell must be a CodeCell"):
        cm.monocell_notebook(no_cell)


def test_created_cell_ids_are_valid_and_unique() -> None:
    ids = {cm.create_cell_id() for _ in range(100)}
    assert len(ids) == 100
    assert {cm.code_cell(id=id).id for id in ids} == ids
