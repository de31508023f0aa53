"""An undo history of notebook states. It uses no clock."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import final

from commutable._cell import Cell
from commutable._diff import diff
from commutable._notebook import Notebook

__all__ = ["History"]


@dataclass(frozen=True, slots=True)
class _Typing:
    """One typed or deleted character, and the position where typing would continue.

    Attributes:
        cell_id: The id of the edited cell.
        adds: True if the character was typed, False if it was deleted.
        position: The position after a typed character, or of a deleted one.
        after_space: True if the character is white space.
    """

    cell_id: str
    adds: bool
    position: int
    after_space: bool


@final
@dataclass(frozen=True, slots=True, init=False, eq=False)
class History:
    """An immutable undo history of notebook states; each method returns another history.

    States share unchanged cells, so a thousand states of a large notebook need little more memory than
    one.

    Args:
        notebook: The first state.
        limit: The maximum number of states; the oldest are dropped first.

    Attributes:
        states: The states, oldest first.
        index: The index of the current state.
        limit: The maximum number of states.

    Raises:
        ValueError: the limit is less than 1.

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
            raise ValueError(f"limit must be at least 1, not {limit}")
        _fill(self, (notebook,), 0, limit, None)

    @property
    def notebook(self) -> Notebook:
        """The current state."""
        return self.states[self.index]

    def push(self, notebook: Notebook, *, coalesce: bool = True) -> History:
        """Return the history with a new current state; states that could be redone are dropped.

        Args:
            notebook: The new state. If it is the same object as the current state, nothing is added.
            coalesce: If True, combine consecutive typing into one step: characters added or deleted one
                by one at the same position in one cell, up to the end of a word or line.
        """
        if notebook is self.notebook:
            return self
        typing = _typing(self.notebook, notebook)
        past = self.states[: self.index + 1]
        if coalesce and self.index and typing is not None and _continues(self._typing, typing):
            past = past[:-1]
        states = (*past, notebook)[-self.limit :]
        return _history(states, len(states) - 1, self.limit, typing)

    def undo(self) -> History:
        """Return the history one step back, or itself at the first state."""
        return self.go_to(max(self.index - 1, 0))

    def redo(self) -> History:
        """Return the history one step forward, or itself at the last state."""
        return self.go_to(min(self.index + 1, len(self.states) - 1))

    def go_to(self, index: int) -> History:
        """Return the history with another of its states as the current one.

        Raises:
            IndexError: the index is out of range.
        """
        if not 0 <= index < len(self.states):
            raise IndexError(f"index must be 0 to {len(self.states) - 1}, not {index}")
        return self if index == self.index else _history(self.states, index, self.limit, None)

    @property
    def can_undo(self) -> bool:
        """True if there is a state before the current one."""
        return self.index > 0

    @property
    def can_redo(self) -> bool:
        """True if there is a state after the current one."""
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
    """Return the character typed or deleted between two states, or None if anything else changed."""
    if len(before.cells) != len(after.cells):
        return None
    changes = diff(before, after)
    if changes.removed or changes.added or changes.moved or changes.metadata:
        return None
    if len(changes.changed) != 1:
        return None
    ((was, now),) = changes.changed
    return _typing_in_cell(was, now)


def _typing_in_cell(was: Cell, now: Cell) -> _Typing | None:
    adds = len(now.source) == len(was.source) + 1
    deletes = len(now.source) == len(was.source) - 1
    if not (adds or deletes) or replace(was, source=now.source) != now:
        return None
    shorter, longer = (was.source, now.source) if adds else (now.source, was.source)
    position = _first_difference(shorter, longer)
    character = longer[position]
    if shorter[position:] != longer[position + 1 :] or character == "\n":
        return None
    return _Typing(now.id, adds, position + 1 if adds else position, character.isspace())


def _first_difference(shorter: str, longer: str) -> int:
    same, end = 0, len(shorter)
    while same < end:
        middle = (same + end + 1) // 2
        if shorter[same:middle] == longer[same:middle]:
            same = middle
        else:
            end = middle - 1
    return same


def _continues(before: _Typing | None, now: _Typing) -> bool:
    """Return True if both belong to one step; a new word begins a new step."""
    if before is None or before.cell_id != now.cell_id or before.adds is not now.adds:
        return False
    if before.after_space and not now.after_space:
        return False
    if now.adds:
        return now.position == before.position + 1
    # The delete key keeps the position, and backspace lowers it.
    return now.position in (before.position, before.position - 1)
