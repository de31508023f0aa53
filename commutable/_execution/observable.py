"""The public entry point: a notebook run as a cold observable of notebook states."""

from __future__ import annotations

import math
from collections.abc import Iterable

from reactivex import Observable, abc
from reactivex.scheduler import CurrentThreadScheduler

import enchannel as ec
from commutable._cell import CodeCell
from commutable._execution.cell_execution import RunOptions
from commutable._execution.notebook_run import NotebookRun
from commutable._notebook import Notebook

__all__ = ["execute", "runnable_cells"]

SKIP_TAG = "skip-execution"


def execute(
    notebook: Notebook,
    kernel: ec.Kernel,
    *,
    cells: Iterable[str] | None = None,
    timeout: float | None = None,
    allow_errors: bool = False,
    on_input: ec.OnInput | None = None,
    record_timing: bool = True,
) -> Observable[Notebook]:
    """Return a cold observable of notebook states; each subscription runs the notebook once.

    The first state marks the cells to run as queued: all code cells except empty ones and those with the
    tag ``skip-execution``. A state follows whenever a cell starts, gets an output or ends; the last state
    is complete. An error stops the run, unless its cell has the tag ``raises-exception``.

    Outputs go to the cell whose code produced them, also after that cell has ended, as when a thread
    prints late. After the last cell the run waits for remaining output until the kernel answers a
    ``kernel_info_request``, for at most one second. Updates of a display apply to every cell that shows
    it. Stream text that is overwritten, as by a progress bar, keeps its last state.

    The first state is emitted on the subscribing thread. Further states are emitted on the kernel's
    delivery thread, or on the event loop whose scheduler is passed to ``subscribe``. Disposing of the
    subscription interrupts the running cell.

    Args:
        notebook: The notebook to run.
        kernel: The kernel to run it in; it keeps its existing variables.
        cells: The ids of the cells to run, in any order; they run in notebook order. Default: all.
        timeout: The timeout of each cell in seconds, from sending its code. The cell is then interrupted
            (if it has not started, when it starts) and the run fails.
        allow_errors: Continue after cells that raise.
        on_input: Answers ``input()``, as in ``Kernel.execute``. If None, ``input()`` raises in the kernel.
        record_timing: Record the start and end of each cell in its metadata, as JupyterLab does.

    Raises:
        CellNotFound: ``cells`` contains an unknown id.
        ValueError: the timeout is not a positive number of seconds.

    Errors of the observable:
        CellFailed: a cell raised or timed out, or the kernel or the connection was lost. It has the id of
            the cell, the reason and the last state.

    Example:
        >>> done = ec.wait(cm.execute(notebook, kernel))
    """
    if timeout is not None and not 0 < timeout < math.inf:
        raise ValueError(f"timeout must be a positive number of seconds or None, not {timeout!r}")
    wanted = None if cells is None else frozenset(cells)
    for cell_id in wanted or ():
        notebook.index(cell_id)
    queue = [id for id in runnable_cells(notebook) if wanted is None or id in wanted]

    def subscribe(
        observer: abc.ObserverBase[Notebook], scheduler: abc.SchedulerBase | None = None
    ) -> abc.DisposableBase:
        options = RunOptions(
            kernel=kernel,
            timeout=timeout,
            allow_errors=allow_errors,
            on_input=on_input,
            record_timing=record_timing,
            scheduler=scheduler,
        )
        run = NotebookRun(notebook, queue, options, observer)
        # Starts after `subscribe` has returned, so that the subscriber can dispose on the first state.
        CurrentThreadScheduler.singleton().schedule(lambda *_: run.start())
        return run

    return Observable(subscribe)


def runnable_cells(notebook: Notebook) -> tuple[str, ...]:
    """Return the ids of the cells that ``execute`` runs by default, in notebook order.

    Args:
        notebook: The notebook.
    """
    return tuple(
        cell.id
        for cell in notebook.cells
        if isinstance(cell, CodeCell) and cell.source.strip() and SKIP_TAG not in cell.tags
    )
