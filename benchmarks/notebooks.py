"""Notebook runs beside nbclient, and edits of a large notebook beside a deep copy."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import commutable as cm
import enchannel as ec
from benchmarks.case import Figure, Goal, Kernels, Script, Unit, case
from benchmarks.command import main
from benchmarks.measuring import SIDE_TIMEOUT, Lap, Measured, timed, warm_median

__all__ = ["SCRIPT"]

CELL_COUNT = 100
LARGE_CELL_COUNT = 10_000
EDIT_TIMES = 50
CODE = {
    "a line, in the fake kernel": "flood 1 20",
    "100 lines, in the fake kernel": "flood 100 20",
    "a result, in ipykernel": "6 * 7",
    "100 lines, in ipykernel": "for i in range(100): print(i)",
}


def _notebook(cells: int, code: str) -> cm.Notebook:
    notebook = cm.empty_notebook
    for _ in range(cells):
        notebook = cm.append_cell(notebook, cm.code_cell(code))
    return notebook


def enchannel_run(kernels: Sequence[Path], cells: int, code: str) -> Measured:
    notebook, lap = _notebook(cells, CODE[code]), Lap()
    with ec.connect(kernels[0]) as kernel:
        kernel.run(CODE[code])
        lap.start()
        done = ec.wait(cm.execute(notebook, kernel), timeout=SIDE_TIMEOUT)
        lap.stop()
    _raise_if_not_run(cm.to_dict(done), cells)
    return lap.per_item(cells)


def nbclient_run(kernels: Sequence[Path], cells: int, code: str) -> Measured:
    import nbformat

    from benchmarks.peers import nbclient_runner

    node: Any = nbformat.from_dict(cm.to_dict(_notebook(cells, CODE[code])))  # type: ignore[no-untyped-call]
    lap = nbclient_runner.run(node, kernels[0] if kernels else None)
    _raise_if_not_run(node, cells)
    return lap.per_item(cells)


def _raise_if_not_run(notebook: Any, cells: int) -> None:
    ran = sum(bool(cell["outputs"]) for cell in notebook["cells"])
    if ran != cells:
        raise RuntimeError(f"{ran} of {cells} cells ran")


def enchannel_append(kernels: Sequence[Path], cells: int, times: int) -> Measured:
    notebook = _notebook(cells, "6 * 7")
    return {
        "wall": warm_median(timed(lambda: cm.append_cell(notebook, cm.code_cell("6 * 9")), times))
    }


def enchannel_update(kernels: Sequence[Path], cells: int, times: int) -> Measured:
    notebook = _notebook(cells, "6 * 7")
    middle = notebook.cells[cells // 2].id
    return {"wall": warm_median(timed(lambda: cm.update_source(notebook, middle, "6 * 9"), times))}


def deep_copy(kernels: Sequence[Path], cells: int, times: int) -> Measured:
    import nbformat

    node: Any = nbformat.from_dict(cm.to_dict(_notebook(cells, "6 * 7")))  # type: ignore[no-untyped-call]
    new: Any = nbformat.v4.new_code_cell

    return {
        "wall": warm_median(timed(lambda: copy.deepcopy(node).cells.append(new("6 * 9")), times))
    }


REAL = Kernels(real=True)
NONE = Kernels()

SCRIPT = Script(
    name="notebooks",
    method=(
        f"a notebook of {CELL_COUNT} cells, from sending the first to the end of the last, in the fake "
        f"kernel and in an ipykernel (nbclient launches its own). A notebook of {LARGE_CELL_COUNT:,} cells"
        " gets one more cell, or a new source in one; a NotebookNode is copied with `copy.deepcopy` and "
        "gets one more cell."
    ),
    sides={
        "enchannel run": enchannel_run,
        "nbclient run": nbclient_run,
        "enchannel append": enchannel_append,
        "enchannel update": enchannel_update,
        "deep copy": deep_copy,
    },
    figures=(
        *(
            Figure(
                title=f"a cell with {code}: {title}",
                peer="nbclient",
                ours=case(
                    "enchannel run", REAL if "ipy" in code else None, cells=CELL_COUNT, code=code
                ),
                theirs=case(
                    "nbclient run", NONE if "ipy" in code else None, cells=CELL_COUNT, code=code
                ),
                unit=Unit.MILLISECONDS,
                value=value,
                goal=Goal.FASTER,
            )
            for code in CODE
            for title, value in (("wall", "wall"), ("CPU of the client", "cpu"))
        ),
        Figure(
            title=f"append a cell to {LARGE_CELL_COUNT:,} cells",
            peer="a deep copy",
            ours=case("enchannel append", NONE, cells=LARGE_CELL_COUNT, times=EDIT_TIMES),
            theirs=case("deep copy", NONE, cells=LARGE_CELL_COUNT, times=EDIT_TIMES),
            goal=Goal.FASTER,
        ),
        Figure(
            title=f"update the source of one of {LARGE_CELL_COUNT:,} cells",
            peer="a deep copy",
            ours=case("enchannel update", NONE, cells=LARGE_CELL_COUNT, times=EDIT_TIMES),
            theirs=case("deep copy", NONE, cells=LARGE_CELL_COUNT, times=EDIT_TIMES),
            goal=Goal.FASTER,
        ),
    ),
)

if __name__ == "__main__":
    main(SCRIPT)
