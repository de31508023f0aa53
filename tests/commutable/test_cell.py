"""The three types of cell as immutable values."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import commutable as cm
import enchannel as ec

OUTPUT = {"output_type": "stream", "name": "stdout", "text": "42\n"}
BUNDLE = {"image/png": "AAAA"}
CODE = cm.CodeCell(
    id="a",
    source="6 * 7",
    metadata={"tags": ["x"]},
    deleting=True,
    extra={"later": [1]},
    outputs=ec.Outputs.from_nbformat([OUTPUT]),
    execution_count=0,
    status=cm.CellStatus.RUNNING,
)
MARKDOWN = cm.MarkdownCell(
    id="a",
    source="prose",
    metadata={"tags": ["x"]},
    deleting=True,
    extra={"later": [1]},
    attachments={"p.png": BUNDLE},
)
RAW = cm.RawCell(
    id="a",
    source="raw",
    metadata={"tags": ["x"]},
    deleting=True,
    extra={"later": [1]},
    attachments={"p.png": BUNDLE},
)
CELLS: list[cm.Cell] = [CODE, MARKDOWN, RAW]
FIELDS = [(cell, field.name) for cell in CELLS for field in dataclasses.fields(cell)]
OTHER: dict[str, Any] = {
    "id": "b",
    "source": "other",
    "metadata": {},
    "deleting": False,
    "extra": {},
    "outputs": ec.Outputs(),
    "execution_count": None,
    "status": cm.CellStatus.QUEUED,
    "attachments": None,
}


def replaced(cell: cm.Cell, **fields: Any) -> cm.Cell:
    return dataclasses.replace(cell, **fields)


def name_of(value: object) -> str:
    return value if isinstance(value, str) else type(value).__name__


every_cell = pytest.mark.parametrize("cell", CELLS, ids=name_of)
every_field = pytest.mark.parametrize(("cell", "name"), FIELDS, ids=name_of)


@every_field
def test_cell_field_cannot_be_set(cell: cm.Cell, name: str) -> None:
    with pytest.raises(AttributeError):
        setattr(cell, name, OTHER[name])


@every_cell
def test_cell_attribute_cannot_be_added(cell: cm.Cell) -> None:
    with pytest.raises((AttributeError, TypeError)):
        cell.name = "x"  # type: ignore[union-attr] # pyright: ignore
    assert not hasattr(cell, "__dict__")


@every_field
def test_cell_equality_compares_every_field(cell: cm.Cell, name: str) -> None:
    other = replaced(cell, **{name: OTHER[name]})
    assert other != cell
    assert replaced(other, **{name: getattr(cell, name)}) == cell


@every_cell
def test_equal_cells_have_equal_hashes(cell: cm.Cell) -> None:
    twin = replaced(cell)
    assert twin is not cell
    assert len({cell, twin, replaced(cell, source="other")}) == 2


@every_cell
@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_cell_pickle_keeps_every_field(cell: cm.Cell, protocol: int) -> None:
    twin = pickle.loads(pickle.dumps(cell, protocol))  # noqa: S301
    assert type(twin) is type(cell)
    assert twin == cell
    with pytest.raises(TypeError, match="this object is immutable"):
        twin.metadata["tags"].append("y")


@every_cell
def test_deepcopy_of_containers_shares_cells(cell: cm.Cell) -> None:
    assert copy.deepcopy([cell, {"x": cell}]) == [cell, {"x": cell}]
    assert copy.deepcopy([cell])[0] is cell


@every_cell
def test_cell_fields_are_keyword_only(cell: cm.Cell) -> None:
    make: Any = type(cell)
    with pytest.raises(TypeError, match="positional"):
        make("a", id="a")


# -- frozen fields ----------------------------------------------------------------------------------

NESTED = [(cell, name) for cell, name in FIELDS if name in ("metadata", "extra", "attachments")]


@pytest.mark.parametrize(("cell", "name"), NESTED, ids=name_of)
def test_replaced_cell_field_is_copied_and_frozen(cell: cm.Cell, name: str) -> None:
    given: dict[str, Any] = {"x": {"y": [1]}}
    value = getattr(replaced(cell, **{name: given}), name)
    given["x"]["y"].append(2)
    assert value == {"x": {"y": [1]}}
    for change in (value.clear, value["x"].clear, value["x"]["y"].clear):
        with pytest.raises(TypeError, match="this object is immutable"):
            change()


@pytest.mark.parametrize(("cell", "name"), NESTED, ids=name_of)
def test_non_json_cell_field_error_names_path(cell: cm.Cell, name: str) -> None:
    with pytest.raises(
        cm.InvalidNotebook, match=rf"{name} of cell a\.x\.y must be a JSON value, not set"
    ):
        replaced(cell, **{name: {"x": {"y": {1}}}})


@pytest.mark.parametrize(("cell", "name"), NESTED, ids=name_of)
def test_replaced_cell_shares_frozen_fields(cell: cm.Cell, name: str) -> None:
    value = getattr(cell, name)
    assert getattr(replaced(cell, source="other"), name) is value


@pytest.mark.parametrize("make", [cm.markdown_cell, cm.raw_cell])
def test_attachments_are_frozen_at_every_depth(make: Callable[..., Any]) -> None:
    attachments = make(attachments={"p.png": BUNDLE}).attachments
    for change in (attachments.clear, attachments["p.png"].clear):
        with pytest.raises(TypeError, match="this object is immutable"):
            change()


# -- outputs ----------------------------------------------------------------------------------------


def test_code_cell_accepts_output_iterator() -> None:
    def one_by_one() -> Iterator[dict[str, Any]]:
        yield OUTPUT
        yield OUTPUT

    assert cm.code_cell(outputs=one_by_one()).outputs == [OUTPUT, OUTPUT]


def test_code_cell_shares_outputs_object() -> None:
    assert cm.code_cell(outputs=CODE.outputs).outputs is CODE.outputs


def test_code_cell_copies_outputs() -> None:
    given = copy.deepcopy(OUTPUT)
    cell = cm.code_cell(outputs=[given])
    given["text"] = "other"
    assert cell.outputs == [OUTPUT]


# -- execution count --------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [None, 0, 1, 10**9])
def test_valid_execution_count_is_accepted(count: int | None) -> None:
    assert cm.code_cell(execution_count=count).execution_count == count


@pytest.mark.parametrize("count", [-1, True, False, 1.0, "1", [1]])
def test_invalid_execution_count_is_rejected(count: Any) -> None:
    with pytest.raises(
        cm.InvalidNotebook,
        match="execution_count of cell a must be a non-neg",
    ):
        cm.code_cell(id="a", execution_count=count)
