"""The states that a notebook went through, to go back and forth among. No clock here."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import final

from commutable._cell import Cell
from commutable._diff import diff
from commutable._notebook import Notebook

__all__ = ["History"]


@dataclass(frozen=True, slots=True)
class _Typing:
    """Where somebody types: at a place in the text of a cell, adding to it or taking away."""

    cell_id: str
    adds: bool
    place: int  # where the next character would come, or go
    after_space: bool


@final
@dataclass(frozen=True, slots=True, init=False, eq=False)
class History:
    """States of a notebook, and which is the present one. It never changes: each step gives another.

    States share what they have in common, so a thousand of them take little more room than one.

    Args:
        notebook: The first state.
        limit: How many states are kept; the oldest go first.

    Attributes:
        states: Oldest first.
        index: Which of them is the present one.
        limit: How many are kept.

    Raises:
        ValueError: the limit is not at least 1.

    Example:
        >>> history = cm.History(notebook).push(after)
        >>> history.undo().notebook is notebook
        True
        >>> history.undo().redo().notebook is after
        True
    """

    states: tuple[Notebook, ...]
    index: int
    limit: int
    _typing: _Typing | None

    def __init__(self, notebook: Notebook, *, limit: int = 1_000) -> None:
        if limit < 1:
            raise ValueError(f"a history of {limit} states has none")
        _fill(self, (notebook,), 0, limit, None)

    @property
    def notebook(self) -> Notebook:
        """The present state."""
        return self.states[self.index]

    def push(self, notebook: Notebook, *, coalesce: bool = True) -> History:
        """A new present state, and no future any more.

        Args:
            notebook: What came of the present state; if that is the same object, nothing is added.
            coalesce: Make one step of what is typed in one go: characters that are added, or taken away,
                one after the other at one place of one cell, up to the end of a word or line.
        """
        if notebook is self.notebook:
            return self
        typing = _typing(self.notebook, notebook)
        past = self.states[: self.index + 1]
        if coalesce and self.index and typing is not None and _goes_on(self._typing, typing):
            past = past[:-1]
        states = (*past, notebook)[-self.limit :]
        return _history(states, len(states) - 1, self.limit, typing)

    def undo(self) -> History:
        """One step back; this same history at the beginning."""
        return self.go_to(max(self.index - 1, 0))

    def redo(self) -> History:
        """One step forth; this same history at the end."""
        return self.go_to(min(self.index + 1, len(self.states) - 1))

    def go_to(self, index: int) -> History:
        """Any state.

        Raises:
            IndexError: there is none of that number.
        """
        if not 0 <= index < len(self.states):
            raise IndexError(
                f"this history has no state {index}: it has 0 to {len(self.states) - 1}"
            )
        return self if index == self.index else _history(self.states, index, self.limit, None)

    @property
    def can_undo(self) -> bool:
        """Whether there is a state before the present one."""
        return self.index > 0

    @property
    def can_redo(self) -> bool:
        """Whether there is a state after the present one."""
        return self.index < len(self.states) - 1

    def __repr__(self) -> str:
        return f"<History at {self.index} of {len(self.states)} states>"


def _history(
    states: tuple[Notebook, ...], index: int, limit: int, typing: _Typing | None
) -> History:
    history = History.__new__(History)
    _fill(history, states, index, limit, typing)
    return history


def _fill(
    history: History, states: tuple[Notebook, ...], index: int, limit: int, typing: _Typing | None
) -> None:
    fill = object.__setattr__
    fill(history, "states", states)
    fill(history, "index", index)
    fill(history, "limit", limit)
    fill(history, "_typing", typing)


def _typing(before: Notebook, after: Notebook) -> _Typing | None:
    """Whether a character was typed, and where."""
    if len(before.cells) != len(after.cells):
        return None
    changes = diff(before, after)
    if changes.removed or changes.added or changes.moved or changes.metadata:
        return None
    if len(changes.changed) != 1:
        return None
    ((was, now),) = changes.changed
    return _typed(was, now)


def _typed(was: Cell, now: Cell) -> _Typing | None:
    adds = len(now.source) == len(was.source) + 1
    takes = len(now.source) == len(was.source) - 1
    if not (adds or takes) or replace(was, source=now.source) != now:
        return None
    shorter, longer = (was.source, now.source) if adds else (now.source, was.source)
    place = _first_difference(shorter, longer)
    character = longer[place]
    if shorter[place:] != longer[place + 1 :] or character == "\n":
        return None
    return _Typing(now.id, adds, place + 1 if adds else place, character.isspace())


def _first_difference(shorter: str, longer: str) -> int:
    same, end = 0, len(shorter)
    while same < end:
        middle = (same + end + 1) // 2
        if shorter[same:middle] == longer[same:middle]:
            same = middle
        else:
            end = middle - 1
    return same


def _goes_on(before: _Typing | None, now: _Typing) -> bool:
    """Whether one was typed with the other: a new word is a new step."""
    if before is None or before.cell_id != now.cell_id or before.adds is not now.adds:
        return False
    if before.after_space and not now.after_space:
        return False
    if now.adds:
        return now.place == before.place + 1
    return now.place in (before.place, before.place - 1)  # delete, and backspace
