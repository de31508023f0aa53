"""A thousand states of a large notebook need little more memory than one."""

from __future__ import annotations

import gc
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

import commutable as cm

CELLS, STATES = 500, 1_000
TOTAL_BYTES = 20_000_000


def large() -> cm.Notebook:
    """Return a notebook of 500 cells, each with its own image of 40 kB."""
    cells: list[cm.Cell] = []
    for number in range(CELLS):
        image = f"{number:04}" * (TOTAL_BYTES // CELLS // 4)
        shown = {"output_type": "display_data", "metadata": {}, "data": {"image/png": image}}
        cells.append(cm.code_cell(f"show({number})", id=f"c{number}", outputs=[shown]))
    return cm.Notebook(cells)


@contextmanager
def traced() -> Iterator[Callable[[], int]]:
    """Measure the bytes allocated since the start of the block."""
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        yield lambda: tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()


OPERATIONS: dict[str, Callable[[cm.Notebook, int], cm.Notebook]] = {
    "typing": lambda n, i: cm.update_source(n, f"c{i % CELLS}", f"show({i}) # again"),
    "moving": lambda n, i: cm.move_cell(n, f"c{i % CELLS}", i * 7 % CELLS),
    "counting": lambda n, i: cm.update_execution_count(n, f"c{i % CELLS}", i),
    "clearing": lambda n, i: cm.clear_outputs(cm.append_cell(n, cm.code_cell()), f"c{i % CELLS}"),
    "metadata": lambda n, i: cm.set_metadata(n, {"x": i}),
}


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS.keys())
def test_thousand_states_share_memory(
    operation: Callable[[cm.Notebook, int], cm.Notebook],
) -> None:
    with traced() as held:
        history = cm.History(large(), limit=STATES)
        of_first = held()
        assert of_first > TOTAL_BYTES
        for number in range(STATES - 1):
            history = history.push(operation(history.notebook, number))
        of_others = held() - of_first
    # Each state adds only its tuple of cells, of 8 bytes for each cell.
    tuples = sum(sys.getsizeof(state.cells) for state in history.states)
    assert len(history.states) > STATES // 2
    assert of_others < tuples + 2_000 * STATES
    assert of_others < of_first


def test_dropped_states_are_freed() -> None:
    with traced() as held:
        history = cm.History(large(), limit=3)
        of_first = held()
        for number in range(CELLS):
            history = history.push(cm.clear_outputs(history.notebook, f"c{number}"))
        assert held() < of_first / 10


def test_difference_holds_no_copies() -> None:
    before = large()
    after = cm.move_cell(cm.update_source(before, "c1", "x"), "c400", 0)
    with traced() as held:
        difference = cm.diff(before, after)
        assert held() < 100_000
    assert len(difference.changed) == len(difference.moved) == 1
