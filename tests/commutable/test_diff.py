"""The difference between two notebooks is minimal, and its parts are in order."""

from __future__ import annotations

import dataclasses
import itertools
import pickle
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import commutable as cm

IDS = "abcdef"
A, B, C, D, E, F = CELLS = [cm.code_cell(id, id=id) for id in IDS]
NOTEBOOK = cm.Notebook(CELLS)
NEW = cm.markdown_cell("new", id="new")


def changed(cell: cm.Cell, **fields: Any) -> dict[str, Any]:
    return {"changed": ((cell, dataclasses.replace(cell, **fields)),)}


OPERATIONS: dict[str, tuple[Callable[[cm.Notebook], cm.Notebook], dict[str, Any]]] = {
    "append": (lambda n: cm.append_cell(n, NEW), {"added": (NEW,)}),
    "insert": (lambda n: cm.insert_cell_at(n, NEW, 0), {"added": (NEW,)}),
    "delete": (lambda n: cm.delete_cell(n, "c"), {"removed": (C,)}),
    "mark": (lambda n: cm.mark_cell_deleting(n, "c"), changed(C, deleting=True)),
    "edit": (lambda n: cm.update_source(n, "c", "x"), changed(C, source="x")),
    "move down": (lambda n: cm.move_cell(n, "b", 4), {"moved": (B,)}),
    "move up": (lambda n: cm.move_cell(n, "e", 1), {"moved": (E,)}),
    "split": (
        lambda n: cm.split_cell(n, "c", 0, new_cell_id="new"),
        {"added": (cm.code_cell("c", id="new"),), **changed(C, source="")},
    ),
    "merge": (
        lambda n: cm.merge_cells(n, "b", "c", "e"),
        {"removed": (C, E), **changed(B, source="b\nc\ne")},
    ),
    "metadata": (lambda n: cm.set_metadata(n, {"x": 1}), {"metadata": True}),
    "nothing": (lambda n: cm.clear_all_outputs(n), {}),
}


@pytest.mark.parametrize(("operation", "parts"), OPERATIONS.values(), ids=OPERATIONS.keys())
def test_diff_reports_operation(
    operation: Callable[[cm.Notebook], cm.Notebook], parts: dict[str, Any]
) -> None:
    assert cm.diff(NOTEBOOK, operation(NOTEBOOK)) == cm.Difference(**parts)


def test_diff_after_undone_edits_is_empty() -> None:
    there = cm.update_source(cm.move_cell(NOTEBOOK, "a", 5), "b", "x")
    back = cm.update_source(cm.move_cell(there, "a", 0), "b", "b")
    assert back is not NOTEBOOK
    assert cm.diff(NOTEBOOK, back) == cm.Difference()


def test_diff_reports_reinserted_cell_as_moved() -> None:
    again = cm.append_cell(cm.delete_cell(NOTEBOOK, "a"), A)
    assert cm.diff(NOTEBOOK, again) == cm.Difference(moved=(A,))


def test_diff_compares_cells_by_id() -> None:
    renamed = dataclasses.replace(C, id="new")
    after = cm.Notebook([A, B, renamed, D, E, F])
    assert cm.diff(NOTEBOOK, after) == cm.Difference(removed=(C,), added=(renamed,))


@given(st.permutations(IDS))
def test_diff_moves_as_few_cells_as_possible(order: Sequence[str]) -> None:
    after = cm.Notebook([NOTEBOOK.cell(id) for id in order])
    moved = cm.diff(NOTEBOOK, after).moved
    stay = [id for id in order if NOTEBOOK.cell(id) not in moved]
    assert stay == sorted(stay)
    assert len(stay) == longest_rise(order)


def longest_rise(order: Sequence[str]) -> int:
    """Return the length of the longest rising subsequence, by brute force."""
    lengths = range(len(order), 0, -1)
    return next(
        length
        for length in lengths
        if any(list(some) == sorted(some) for some in itertools.combinations(order, length))
    )


SOME_CELLS = st.lists(st.sampled_from("abcdefgh"), unique=True).flatmap(
    lambda ids: st.tuples(
        *(st.builds(cm.code_cell, st.sampled_from("xy"), id=st.just(id)) for id in ids)
    )
)


@given(SOME_CELLS, SOME_CELLS)
def test_diff_parts_are_in_notebook_order(
    old: tuple[cm.Cell, ...], new: tuple[cm.Cell, ...]
) -> None:
    before, after = cm.Notebook(old), cm.Notebook(new)
    difference = cm.diff(before, after)
    assert difference.removed == tuple(cell for cell in old if cell.id not in after)
    assert difference.added == tuple(cell for cell in new if cell.id not in before)
    both = [(before.cell(cell.id), cell) for cell in new if cell.id in before]
    assert difference.changed == tuple((was, now) for was, now in both if was != now)
    places = [after.index(cell.id) for cell in difference.moved]
    assert places == sorted(places)
    assert all(after.cell(cell.id) is cell for cell in difference.moved)


def test_difference_is_immutable() -> None:
    difference: Any = cm.diff(NOTEBOOK, cm.append_cell(NOTEBOOK, NEW))
    for field in dataclasses.fields(difference):
        with pytest.raises(AttributeError):
            setattr(difference, field.name, ())
    assert not hasattr(difference, "__dict__")


def test_difference_is_compared_by_value() -> None:
    there = cm.diff(NOTEBOOK, cm.update_source(cm.append_cell(NOTEBOOK, NEW), "a", "x"))
    twin = pickle.loads(pickle.dumps(there))  # noqa: S301
    assert twin == there
    assert hash(twin) == hash(there)
    assert there != cm.Difference()


def test_difference_has_short_repr() -> None:
    long = cm.Notebook([cm.code_cell("x = 1\n" * 1000, id=id) for id in IDS])
    after = cm.update_source(cm.delete_cell(long, "b"), "a", "y")
    assert repr(cm.diff(long, after)) == "<Difference: 1 removed, 1 changed>"
    assert repr(cm.diff(long, cm.set_metadata(long, {"x": 1}))) == "<Difference: metadata>"
    assert repr(cm.diff(long, long)) == "<Difference: none>"
