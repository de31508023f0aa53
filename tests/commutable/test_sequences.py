"""Invariants of notebooks under arbitrary sequences of operations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import nbformat
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import commutable as cm

IDS = st.sampled_from([f"c{number}" for number in range(8)])
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=6) | st.sampled_from(
    ["a\nb", "![](attachment:p)", "![](attachment:p-1)"]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False),
    lambda deeper: st.lists(deeper, max_size=2) | st.dictionaries(TEXT, deeper, max_size=2),
    max_leaves=4,
)
METADATA = st.dictionaries(st.sampled_from(["x", "y", "z"]), JSON, max_size=2)
NAMES = st.sampled_from(["p", "p-1", "q.png"])
BUNDLES = st.dictionaries(st.sampled_from(["image/png", "text/plain"]), TEXT, max_size=2)
OUTPUTS = st.lists(
    st.builds(lambda text: {"output_type": "stream", "name": "stdout", "text": text}, TEXT)
    | st.builds(
        lambda data: {"output_type": "display_data", "data": data, "metadata": {}},
        st.dictionaries(st.just("application/x+json"), JSON),
    ),
    max_size=2,
)
COUNTS = st.none() | st.integers(0, 9)
TYPES: st.SearchStrategy[Literal["code", "markdown", "raw"]] = st.sampled_from(
    ["code", "markdown", "raw"]
)
CELLS: st.SearchStrategy[cm.Cell] = st.one_of(
    st.builds(cm.code_cell, TEXT, id=IDS, metadata=METADATA, outputs=OUTPUTS),
    st.builds(
        cm.markdown_cell,
        *[TEXT],
        id=IDS,
        metadata=METADATA,
        attachments=st.none() | st.dictionaries(NAMES, BUNDLES, max_size=2),
    ),
    st.builds(cm.raw_cell, TEXT, id=IDS, metadata=METADATA),
)
PLACES = st.integers(0, 8)

# The name of an operation, with its arguments after the notebook.
STEPS: st.SearchStrategy[tuple[str, tuple[Any, ...]]] = st.one_of(
    st.tuples(st.just("append_cell"), st.tuples(CELLS)),
    st.tuples(st.just("insert_cell_at"), st.tuples(CELLS, PLACES)),
    st.tuples(st.just("insert_cell_after"), st.tuples(CELLS, IDS)),
    st.tuples(st.just("delete_cell"), st.tuples(IDS)),
    st.tuples(st.just("mark_cell_deleting"), st.tuples(IDS)),
    st.tuples(st.just("update_source"), st.tuples(IDS, TEXT)),
    st.tuples(st.just("set_cell_metadata"), st.tuples(IDS, METADATA)),
    st.tuples(st.just("set_metadata"), st.tuples(METADATA)),
    st.tuples(st.just("update_outputs"), st.tuples(IDS, OUTPUTS)),
    st.tuples(st.just("update_execution_count"), st.tuples(IDS, COUNTS)),
    st.tuples(st.just("clear_outputs"), st.tuples(IDS)),
    st.tuples(st.just("clear_all_outputs"), st.tuples()),
    st.tuples(st.just("move_cell"), st.tuples(IDS, PLACES)),
    st.tuples(st.just("replace_cell"), st.tuples(CELLS)),
    st.tuples(st.just("split"), st.tuples(IDS, PLACES, IDS)),
    st.tuples(st.just("merge_cells"), st.tuples(IDS, IDS)),
    st.tuples(st.just("change_cell_type"), st.tuples(IDS, TYPES)),
    st.tuples(st.just("attach"), st.tuples(IDS, NAMES, BUNDLES)),
    st.tuples(st.just("detach"), st.tuples(IDS, NAMES)),
)
SEQUENCES = st.lists(STEPS, max_size=30)
START = cm.Notebook([cm.code_cell("a\nb", id=f"c{number}") for number in range(4)])


def done(notebook: cm.Notebook, step: tuple[str, tuple[Any, ...]]) -> cm.Notebook:
    """Return the notebook after a step, or unchanged if the step is invalid."""
    name, arguments = step
    try:
        if name == "split":
            cell_id, position, new_cell_id = arguments
            return cm.split_cell(notebook, cell_id, position, new_cell_id=new_cell_id)
        after: cm.Notebook = getattr(cm, name)(notebook, *arguments)
    except (cm.NotebookError, IndexError):
        return notebook
    return after


def states_after(steps: Sequence[tuple[str, tuple[Any, ...]]]) -> list[cm.Notebook]:
    states = [START]
    for step in steps:
        states.append(done(states[-1], step))
    return states


@given(SEQUENCES)
def test_ids_are_unique_and_find_their_cells(steps: list[Any]) -> None:
    for state in states_after(steps):
        ids = [cell.id for cell in state.cells]
        assert len(set(ids)) == len(ids)
        assert [state.index(id) for id in ids] == list(range(len(ids)))
        assert all(state.cell(id) is cell for id, cell in zip(ids, state.cells, strict=True))
        assert not any(f"c{number}" in state for number in range(9) if f"c{number}" not in ids)


@given(SEQUENCES, st.randoms(use_true_random=False))
def test_states_find_their_cells_in_any_order(steps: list[Any], random: Any) -> None:
    states = states_after(steps)
    for state in random.sample(states, len(states)):
        ids = [cell.id for cell in state.cells]
        for number in random.sample(range(9), 9):
            id = f"c{number}"
            assert (id in state) is (id in ids)
            if id in state:
                assert state.index(id) == ids.index(id)


@given(SEQUENCES)
def test_states_never_change(steps: list[Any]) -> None:
    states, then = [START], [cm.to_dict(START)]
    for step in steps:
        states.append(done(states[-1], step))
        then.append(cm.to_dict(states[-1]))
    assert [cm.to_dict(state) for state in states] == then


@given(SEQUENCES)
def test_step_without_change_returns_same_notebook(steps: list[Any]) -> None:
    state = START
    for step in steps:
        before, state = state, done(state, step)
        # Outputs are not compared by value: equal ones make a new notebook.
        if state is before or not sets_outputs(step):
            assert (state is before) is (as_text(state) == as_text(before))


def sets_outputs(step: tuple[str, tuple[Any, ...]]) -> bool:
    name, arguments = step
    replaces = name == "replace_cell" and isinstance(arguments[0], cm.CodeCell)
    return name == "update_outputs" or (replaces and bool(arguments[0].outputs))


def as_text(notebook: cm.Notebook) -> str:
    """Return a text of the whole notebook, in which 1 and True differ."""
    return repr((cm.to_dict(notebook), [cell.deleting for cell in notebook.cells]))


@settings(max_examples=50)
@given(SEQUENCES)
def test_every_state_is_valid_and_round_trips(steps: list[Any]) -> None:
    seen = {id(state): state for state in states_after(steps)}
    for state in seen.values():
        js = cm.to_dict(state)
        nbformat.validate(js)
        kept = cm.Notebook([unmarked(cell) for cell in state.cells], state.metadata)
        assert cm.from_dict(js) == kept
        assert cm.to_dict(cm.from_dict(js)) == js


def unmarked(cell: cm.Cell) -> cm.Cell:
    """Return the cell without its mark, which files do not have."""
    return cm.mark_cell_not_deleting(cm.Notebook([cell]), cell.id).cells[0]


@given(SEQUENCES)
def test_all_steps_can_be_undone_and_redone(steps: list[Any]) -> None:
    states = states_after(steps)
    history = cm.History(START)
    for state in states[1:]:
        history = history.push(state)
    last = history.notebook
    assert last is states[-1]
    while history.can_undo:
        history = history.undo()
    assert history.notebook is START
    while history.can_redo:
        history = history.redo()
    assert history.notebook is last


@given(SEQUENCES, SEQUENCES)
def test_diff_can_be_applied_as_patch(one: list[Any], other: list[Any]) -> None:
    before, after = states_after(one)[-1], states_after(other)[-1]
    difference = cm.diff(before, after)
    assert patched(before, difference, [cell.id for cell in after.cells]) == list(after.cells)
    assert difference.metadata is (before.metadata != after.metadata)
    assert bool(difference) is (before != after)


@given(SEQUENCES)
def test_diff_backwards_mirrors_diff(steps: list[Any]) -> None:
    last = states_after(steps)[-1]
    there, back = cm.diff(START, last), cm.diff(last, START)
    assert {cell.id for cell in there.added} == {cell.id for cell in back.removed}
    assert {cell.id for cell in there.removed} == {cell.id for cell in back.added}
    assert {(now.id, was.id) for was, now in there.changed} == {
        (was.id, now.id) for was, now in back.changed
    }
    assert len(there.moved) == len(back.moved)


def patched(notebook: cm.Notebook, difference: cm.Difference, order: list[str]) -> list[cm.Cell]:
    """Apply a difference: cells that have not moved keep their order, others go to their positions."""
    removed = {cell.id for cell in (*difference.removed, *difference.moved)}
    now = {cell.id: cell for _, cell in difference.changed}
    cells = [now.get(cell.id, cell) for cell in notebook.cells if cell.id not in removed]
    placed = {cell.id: cell for cell in (*difference.added, *difference.moved)}
    for index, id in enumerate(order):
        if id in placed:
            cells.insert(index, placed[id])
    return cells


@pytest.mark.parametrize("count", [1, 2, 500])
def test_long_history_leads_back(count: int) -> None:
    history = cm.History(START)
    for number in range(count):
        history = history.push(cm.append_cell(history.notebook, cm.raw_cell(id=f"n{number}")))
    assert history.go_to(0).notebook is START
    assert len(history.notebook.cells) == 4 + count
