"""Undo histories, and differences between notebooks."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from collections.abc import Callable, Iterable
from functools import partial
from operator import is_
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

import commutable as cm

FIRST = cm.Notebook([cm.code_cell("", id="a"), cm.markdown_cell("", id="b")])


def states_of(*sources: str) -> list[cm.Notebook]:
    """Return notebooks in which cell a has the given sources."""
    return [cm.update_source(FIRST, "a", source) for source in sources]


def pushed(history: cm.History, notebooks: Iterable[cm.Notebook]) -> cm.History:
    for notebook in notebooks:
        history = history.push(notebook)
    return history


def sources(history: cm.History, cell_id: str = "a") -> list[str]:
    return [state.cell(cell_id).source for state in history.states]


# -- undo and redo ----------------------------------------------------------------------------------


def test_new_history_has_one_state() -> None:
    history = cm.History(FIRST)
    assert history.notebook is FIRST
    assert history.states == (FIRST,)
    assert (history.index, history.limit) == (0, 1_000)
    assert (history.can_undo, history.can_redo) == (False, False)


def test_undo_and_redo_step_through_states() -> None:
    one, two = states_of("one", "two")
    history = cm.History(FIRST).push(one).push(two)
    assert history.notebook is two
    assert history.undo().notebook is one
    assert history.undo().undo().notebook is FIRST
    assert history.undo().undo().redo().notebook is one
    assert history.undo().undo().redo().redo().notebook is two


def test_can_undo_and_can_redo_follow_index() -> None:
    history = pushed(cm.History(FIRST), states_of("one", "two"))
    can = [(history.go_to(i).can_undo, history.go_to(i).can_redo) for i in range(3)]
    assert can == [(False, True), (True, True), (True, False)]


def test_undo_and_redo_stop_at_the_ends() -> None:
    history = pushed(cm.History(FIRST), states_of("one"))
    assert history.redo() is history
    back = history.undo()
    assert back.undo() is back


def test_go_to_selects_any_state() -> None:
    states = [FIRST, *states_of("one", "two", "three")]
    history = pushed(cm.History(FIRST), states[1:])
    assert all(history.go_to(i).notebook is state for i, state in enumerate(states))
    assert history.go_to(0).go_to(2).index == 2
    assert history.go_to(3) is history


@pytest.mark.parametrize("index", [-1, 2, 100])
def test_go_to_rejects_index_out_of_range(index: int) -> None:
    history = pushed(cm.History(FIRST), states_of("one"))
    with pytest.raises(IndexError, match=f"index must be 0 to 1, not {index}"):
        history.go_to(index)


def test_push_drops_states_to_redo() -> None:
    one, two, other = states_of("one", "two", "other")
    history = cm.History(FIRST).push(one).push(two).undo().push(other)
    assert history.states == (FIRST, one, other)
    assert not history.can_redo


def test_push_of_current_state_is_a_no_op() -> None:
    history = pushed(cm.History(FIRST), states_of("one", "two")).undo()
    assert history.push(history.notebook) is history


def test_push_of_equal_state_adds_it() -> None:
    assert len(cm.History(FIRST).push(cm.Notebook(FIRST.cells)).states) == 2


def test_limit_drops_oldest_states() -> None:
    states = states_of(*"uvwxyz")
    history = pushed(cm.History(FIRST, limit=3), states)
    assert history.states == tuple(states[-3:])
    assert history.undo().undo().notebook is states[-3]
    assert history.undo().undo().undo().notebook is states[-3]
    assert history.index == 2
    assert history.limit == history.undo().limit == 3


def test_limit_of_one_keeps_one_state() -> None:
    one, two = states_of("one", "two")
    history = cm.History(FIRST, limit=1).push(one).push(two)
    assert history.states == (two,)
    assert history.undo() is history


@pytest.mark.parametrize("limit", [0, -1])
def test_limit_below_one_is_rejected(limit: int) -> None:
    with pytest.raises(ValueError, match=f"limit must be at least 1, not {limit}"):
        cm.History(FIRST, limit=limit)


def test_history_is_immutable() -> None:
    history = pushed(cm.History(FIRST), states_of("one", "two"))
    before = history.states, history.index
    history.push(FIRST)
    history.undo().push(FIRST)
    history.go_to(0)
    assert (history.states, history.index) == before
    for name in ("states", "index", "limit", "notebook"):
        with pytest.raises((AttributeError, TypeError)):
            setattr(history, name, None)


def test_history_can_be_copied_and_pickled() -> None:
    history = pushed(cm.History(FIRST, limit=7), states_of("one", "two")).undo()
    for twin in (copy.deepcopy(history), pickle.loads(pickle.dumps(history))):  # noqa: S301
        assert (twin.states, twin.index, twin.limit) == (history.states, 1, 7)


class HistoryModel(RuleBasedStateMachine):
    """A history compared with a mutable list of its states."""

    def __init__(self) -> None:
        super().__init__()
        self.history = cm.History(FIRST, limit=4)
        self.states, self.index = [FIRST], 0
        self.before: list[tuple[cm.History, tuple[cm.Notebook, ...], int]] = []

    def step(self, after: cm.History) -> None:
        self.before.append((self.history, self.history.states, self.history.index))
        self.history = after

    @rule(source=st.sampled_from(["", "a", "ab", "b"]))
    def push(self, source: str) -> None:
        state = cm.update_source(self.history.notebook, "a", source)
        if state is not self.states[self.index]:
            self.states = [*self.states[: self.index + 1], state][-4:]
            self.index = len(self.states) - 1
        self.step(self.history.push(state, coalesce=False))

    @rule()
    def undo(self) -> None:
        self.index = max(self.index - 1, 0)
        self.step(self.history.undo())

    @rule()
    def redo(self) -> None:
        self.index = min(self.index + 1, len(self.states) - 1)
        self.step(self.history.redo())

    @precondition(lambda self: len(self.states) > 1)
    @rule(data=st.data())
    def go_to(self, data: st.DataObject) -> None:
        self.index = data.draw(st.integers(0, len(self.states) - 1))
        self.step(self.history.go_to(self.index))

    @invariant()
    def history_equals_model(self) -> None:
        assert len(self.history.states) == len(self.states)
        assert all(map(is_, self.history.states, self.states))
        assert self.history.notebook is self.states[self.index]
        assert self.history.can_undo is (self.index > 0)
        assert self.history.can_redo is (self.index < len(self.states) - 1)

    @invariant()
    def earlier_histories_are_unchanged(self) -> None:
        for history, states, index in self.before:
            assert history.states is states
            assert history.index == index


TestHistoryEqualsMutableModel = HistoryModel.TestCase


def test_history_repr() -> None:
    assert repr(cm.History(FIRST)) == "<History at 0 of 1 states>"


# -- typing -----------------------------------------------------------------------------------------

TYPED = {
    "one word": (["w", "wo", "wor"], ["", "wor"]),
    "two words": (["a", "a ", "a b", "a bc"], ["", "a ", "a bc"]),
    "spaces": (["a", "a ", "a  ", "a  b"], ["", "a  ", "a  b"]),
    "a line, a newline and a line": (["a", "a\n", "a\nb", "a\nbc"], ["", "a", "a\n", "a\nbc"]),
    "in the middle": (["xy", "xay", "xaby"], ["", "xy", "xaby"]),
    "at two places": (["xy", "xya", "bxya"], ["", "xy", "xya", "bxya"]),
    "backspaces": (["abc", "ab", "a", ""], ["", "abc", ""]),
    "backspaces in the middle": (["abcd", "abd", "ad"], ["", "abcd", "ad"]),
    "the delete key": (["abcd", "acd", "ad"], ["", "abcd", "ad"]),
    "the delete key, and a backspace": (["abcd", "abd", "ab", "a"], ["", "abcd", "a"]),
    "a deleted newline": (["a\n", "a"], ["", "a\n", "a"]),
    "typed, then deleted": (["a", "ab", "a"], ["", "ab", "a"]),
    "deleted, then typed": (["abc", "ab", "a", "ax", "axy"], ["", "abc", "a", "axy"]),
    "pasted": (["a", "abc", "abcd"], ["", "a", "abc", "abcd"]),
    "typed, with the rest changed": (["zz", "azz", "abyy"], ["", "zz", "azz", "abyy"]),
    "another character in its place": (["a", "b", "c"], ["", "a", "b", "c"]),
    "the same letter again": (["a", "aa", "aaa"], ["", "aaa"]),
    "beyond the BMP": (["\U0001d54f", "\U0001d54f\U0001d54f"], ["", "\U0001d54f\U0001d54f"]),
}


@pytest.mark.parametrize(("typed", "kept"), TYPED.values(), ids=TYPED.keys())
def test_consecutive_typing_is_one_step(typed: list[str], kept: list[str]) -> None:
    history = pushed(cm.History(FIRST), states_of(*typed))
    assert sources(history) == kept
    assert history.index == len(kept) - 1


def test_coalescing_can_be_disabled() -> None:
    history = cm.History(FIRST)
    for state in states_of("a", "ab", "abc"):
        history = history.push(state, coalesce=False)
    assert sources(history) == ["", "a", "ab", "abc"]


def test_typing_continues_uncoalesced_step() -> None:
    a, ab = states_of("a", "ab")
    history = cm.History(FIRST).push(a, coalesce=False).push(ab)
    assert sources(history) == ["", "ab"]


def test_typing_in_another_cell_is_a_new_step() -> None:
    history = cm.History(FIRST)
    for cell_id, source in [("a", "x"), ("a", "xy"), ("b", "x"), ("b", "xy"), ("a", "xyz")]:
        history = history.push(cm.update_source(history.notebook, cell_id, source))
    assert sources(history, "a") == ["", "xy", "xy", "xyz"]
    assert sources(history, "b") == ["", "", "xy", "xy"]


BETWEEN: dict[str, Callable[[cm.Notebook], cm.Notebook]] = {
    "a run": partial(cm.update_execution_count, cell_id="a", count=1),
    "metadata": partial(cm.set_metadata, metadata={"x": 1}),
    "metadata of the cell": partial(cm.set_cell_metadata, cell_id="a", metadata={"x": 1}),
    "a new cell": partial(cm.append_cell, cell=cm.code_cell(id="new")),
    "a deleted cell": partial(cm.delete_cell, cell_id="b"),
    "a moved cell": partial(cm.move_cell, cell_id="b", index=0),
    "another cell": partial(cm.update_source, cell_id="b", source="x"),
}


@pytest.mark.parametrize("change", BETWEEN.values(), ids=BETWEEN.keys())
def test_change_between_typing_is_a_step(change: Callable[..., cm.Notebook]) -> None:
    history = pushed(cm.History(FIRST), states_of("w", "wo"))
    history = history.push(change(history.notebook))
    history = history.push(cm.update_source(history.notebook, "a", "wor"))
    assert sources(history) == ["", "wo", "wo", "wor"]


@pytest.mark.parametrize("change", BETWEEN.values(), ids=BETWEEN.keys())
def test_change_beside_typing_is_a_step(change: Callable[..., cm.Notebook]) -> None:
    history = pushed(cm.History(FIRST), states_of("w", "wo"))
    typed = cm.update_source(history.notebook, "a", "wor")
    assert len(history.push(change(typed)).states) == 3


@pytest.mark.parametrize("there_and_back", [cm.History.undo, lambda h: h.undo().redo()])
def test_typing_after_undo_is_a_new_step(
    there_and_back: Callable[[cm.History], cm.History],
) -> None:
    history = pushed(cm.History(FIRST), states_of("one", "x", "xy"))
    back = there_and_back(history)
    present = back.notebook.cell("a").source
    after = back.push(cm.update_source(back.notebook, "a", f"{present}z"))
    assert after.undo().notebook is back.notebook


def test_first_typing_can_be_undone() -> None:
    history = pushed(cm.History(FIRST), states_of("w", "wo", "wor"))
    assert history.undo().notebook is FIRST


def test_typing_does_not_exhaust_limit() -> None:
    typed = states_of(*("x" * count for count in range(1, 200)))
    history = pushed(cm.History(FIRST, limit=2), typed)
    assert history.states == (FIRST, typed[-1])


# -- differences ------------------------------------------------------------------------------------

CELLS = tuple(cm.code_cell(id, id=id) for id in "abcdef")
A, B, C, D, E, F = CELLS
NOTEBOOK = cm.Notebook(CELLS, {"x": 1})
OTHER_B = dataclasses.replace(B, source="other")
NEW = cm.code_cell(id="new")

DIFFERENT: dict[str, tuple[list[cm.Cell], dict[str, Any]]] = {
    "nothing": ([*CELLS], {}),
    "nothing, in other objects": ([dataclasses.replace(cell) for cell in CELLS], {}),
    "removed": ([A, C, D, F], {"removed": (B, E)}),
    "added": ([A, B, C, NEW, D, E, F], {"added": (NEW,)}),
    "changed": ([A, OTHER_B, C, D, E, F], {"changed": ((B, OTHER_B),)}),
    "moved to the end": ([B, C, D, E, F, A], {"moved": (A,)}),
    "moved to the beginning": ([F, A, B, C, D, E], {"moved": (F,)}),
    "two moved": ([C, A, B, D, F, E], {"moved": (C, F)}),
    "moved and changed": (
        [A, C, D, E, F, OTHER_B],
        {"moved": (OTHER_B,), "changed": ((B, OTHER_B),)},
    ),
    "all removed": ([], {"removed": CELLS}),
    "another type": (
        [A, cm.raw_cell("b", id="b"), C, D, E, F],
        {"changed": ((B, cm.raw_cell("b", id="b")),)},
    ),
    "everything at once": (
        [D, A, OTHER_B, NEW, E, F],
        {"removed": (C,), "added": (NEW,), "changed": ((B, OTHER_B),), "moved": (D,)},
    ),
}


@pytest.mark.parametrize(("cells", "parts"), DIFFERENT.values(), ids=DIFFERENT.keys())
def test_diff_reports_each_part(cells: list[cm.Cell], parts: dict[str, Any]) -> None:
    difference = cm.diff(NOTEBOOK, cm.Notebook(cells, {"x": 1}))
    assert difference == cm.Difference(**parts)
    assert bool(difference) is bool(parts)


OTHER_METADATA = {
    "metadata": cm.set_metadata(NOTEBOOK, {"x": 2}),
    "version": cm.Notebook(CELLS, {"x": 1}, nbformat_minor=6),
    "other fields": cm.Notebook(CELLS, {"x": 1}, extra={"y": 1}),
}


@pytest.mark.parametrize("after", OTHER_METADATA.values(), ids=OTHER_METADATA.keys())
def test_diff_reports_metadata(after: cm.Notebook) -> None:
    difference = cm.diff(NOTEBOOK, after)
    assert difference == cm.Difference(metadata=True)
    assert difference


def test_diff_of_same_notebook_is_empty() -> None:
    assert not cm.diff(NOTEBOOK, NOTEBOOK)


def test_diff_of_reversal_moves_all_but_one() -> None:
    assert len(cm.diff(NOTEBOOK, cm.Notebook(CELLS[::-1], {"x": 1})).moved) == len(CELLS) - 1


def test_diff_does_not_compare_shared_cells() -> None:
    class Untouchable(cm.CodeCell):
        def __eq__(self, other: object) -> bool:
            raise AssertionError("a shared cell was compared")

        __hash__ = cm.CodeCell.__hash__

    cells = [Untouchable(id=f"c{number}") for number in range(100)]
    before = cm.Notebook(cells)
    after = cm.move_cell(cm.append_cell(cm.delete_cell(before, "c5"), NEW), "c60", 3)
    difference = cm.diff(before, after)
    assert (difference.added, len(difference.removed)) == ((NEW,), 1)
    assert [cell.id for cell in difference.moved] == ["c60"]
