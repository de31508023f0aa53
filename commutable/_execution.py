"""A notebook that runs itself: one cell after the other, and a state for whatever comes of it."""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from reactivex import Observable, abc
from reactivex.disposable import CompositeDisposable, SerialDisposable
from reactivex.scheduler import CurrentThreadScheduler

import enchannel as ec
from commutable._cell import Cell, CellStatus, CodeCell
from commutable._notebook import Notebook, mapped, replaced
from commutable._turn import Terms, Turn, when_all_is_said
from commutable.errors import CellFailed
from enchannel import messages as build
from enchannel.frozen import EMPTY, FrozenDict

__all__ = ["execute", "runnable_cells"]

LATE = 1.0  # seconds in which a kernel that has nothing to do answers
SKIPPED, MAY_RAISE = "skip-execution", "raises-exception"
DISPLAYS = ("display_data", "execute_result", "update_display_data")


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
    """Run a notebook, as a cold observable of its states: subscribing runs it.

    The first state has the cells queued that will run: those of code, but for empty ones and those with
    the tag ``skip-execution``. Then there is one for each beginning, each output and each end; the last
    has all. An error stops it, unless its cell has the tag ``raises-exception``. An output goes to the cell
    whose code made it, also when that is over (threads print late; after the last cell, as long as the
    kernel takes to answer a ``kernel_info_request``, one second at most). A display is updated wherever it
    stands. Of what is written over in streams, as by a progress bar, the last state is kept.

    Items come where messages do: on the kernel's delivery thread, or on the event loop whose scheduler is
    subscribed with; the first one where it is subscribed. Disposing interrupts the cell that runs.

    Args:
        notebook: What to run.
        kernel: In which; what was defined there before still is.
        cells: The ids of those to run, in the notebook's order whatever theirs is; all by default.
        timeout: Seconds for each cell, from when it is sent; then it is interrupted, and fails.
        allow_errors: Go on after cells that raise.
        on_input: Answers ``input()``, as that of ``Kernel.execute``; without one, ``input()`` raises.
        record_timing: Note in the metadata of a cell when it began and ended, as JupyterLab does.

    Raises:
        CellNotFound: one of the cells is not there.
        ValueError: a timeout that makes no sense.

    Errors of the observable:
        CellFailed: a cell raised, was not done in time, or the kernel or the connection to it is gone; it
            says which cell, and has the last state.

    Example:
        >>> done = ec.wait(cm.execute(notebook, kernel))
    """
    if timeout is not None and not 0 < timeout < math.inf:
        raise ValueError(f"the timeout is {timeout!r}, and has to be seconds, or None for none")
    wanted = None if cells is None else frozenset(cells)
    for cell_id in wanted or ():
        notebook.index(cell_id)
    queue = [id for id in runnable_cells(notebook) if wanted is None or id in wanted]

    def subscribe(
        observer: abc.ObserverBase[Notebook], scheduler: abc.SchedulerBase | None = None
    ) -> abc.DisposableBase:
        terms = Terms(
            kernel=kernel,
            timeout=timeout,
            on_input=on_input,
            scheduler=scheduler,
            late=CompositeDisposable(),
        )
        run = _Run(
            notebook, queue, terms, observer, lenient=allow_errors, record_timing=record_timing
        )
        # When the subscriber can leave, as it may at the first state.
        CurrentThreadScheduler.singleton().schedule(lambda *_: run.begin())
        return run

    return Observable(subscribe)


def runnable_cells(notebook: Notebook) -> tuple[str, ...]:
    """The ids of the cells that ``execute`` runs, in their order."""
    return tuple(
        cell.id
        for cell in notebook.cells
        if isinstance(cell, CodeCell) and cell.source.strip() and SKIPPED not in cell.tags
    )


class _Run(abc.DisposableBase):
    """One subscription. All but ``dispose`` is called where messages are delivered, one call at a time."""

    def __init__(
        self,
        notebook: Notebook,
        queue: Iterable[str],
        terms: Terms,
        observer: abc.ObserverBase[Notebook],
        *,
        lenient: bool,
        record_timing: bool,
    ) -> None:
        self._notebook = notebook
        self._queue = deque(queue)
        self._terms = terms
        self._observer = observer
        self._lenient = lenient
        self._record_timing = record_timing
        self._current = SerialDisposable()
        self._times: dict[str, str] = {}  # of the cell that runs, as JupyterLab calls them
        # The cells in which a display stands, or stood, by its id.
        self._standing: dict[object, set[str]] = {}
        self._over = False
        self._ending = threading.Lock()

    def begin(self) -> None:
        """Say what will run, and run the first."""
        queued = frozenset(self._queue)

        def waits(cell: Cell) -> Cell:
            if not isinstance(cell, CodeCell):
                return cell
            for display_id in cell.outputs.display_ids:
                self._standing.setdefault(display_id, set()).add(cell.id)
            status = CellStatus.QUEUED if cell.id in queued else CellStatus.IDLE
            return cell if cell.status is status else replace(cell, status=status)

        self._become(mapped(self._notebook, waits))
        if self._queue:
            self._next()
        elif self._finish():
            self._observer.on_completed()

    def dispose(self) -> None:
        """Interrupt what runs, and say nothing more."""
        self._finish()

    # -- one cell after the other -------------------------------------------------------------------

    def _next(self) -> None:
        if self._over:
            return
        if not self._queue:
            self._after_the_last(self._observer.on_completed)
            return
        cell = self._code(self._queue.popleft())
        self._times = {}
        without = {name: value for name, value in cell.metadata.items() if name != "execution"}
        cell = replace(
            cell,
            metadata=FrozenDict(without),
            outputs=ec.Outputs(terminal=True),
            execution_count=None,
            status=CellStatus.RUNNING,
        )
        self._put(cell)
        if not self._over:
            turn = Turn(self._terms, partial(self._said, cell.id), partial(self._ended, cell.id))
            self._current.disposable = turn.begin(cell.source)

    def _ended(self, cell_id: str, reply: ec.AnyMessage | None, error: Exception | None) -> None:
        """The turn of a cell is over."""
        if self._over:
            return
        if reply is not None:
            self._note_reply(cell_id, reply)
        cell = self._code(cell_id)
        metadata = cell.metadata
        if self._times and self._record_timing:
            metadata = FrozenDict({**metadata, "execution": FrozenDict(self._times)})
        cell = replace(cell, status=CellStatus.IDLE, metadata=metadata)
        reason = error or self._failure(cell, EMPTY if reply is None else reply.content)
        if reason is None:
            self._put(cell)
            self._next()
        else:
            self._fail(cell, reason)

    def _failure(self, cell: CodeCell, content: Mapping[str, Any]) -> Exception | None:
        """Why it stops here, if it does."""
        match content.get("status"):
            case "error" if not (self._lenient or MAY_RAISE in cell.tags):
                return _error_of(cell, content)
            case "aborted" | "abort":
                return ec.RequestAborted(
                    "the kernel did not run it, because earlier code had failed"
                )
            case _:
                return None

    def _fail(self, cell: CodeCell, reason: Exception) -> None:
        def idle(other: Cell) -> Cell:
            if other.id == cell.id:
                return cell
            if isinstance(other, CodeCell) and other.status is not CellStatus.IDLE:
                return replace(other, status=CellStatus.IDLE)
            return other

        def tell() -> None:
            notebook = self._notebook
            number, count = notebook.index(cell.id) + 1, len(notebook.cells)
            text = f"cell {number} of {count} ({cell.id}): {reason}"
            self._observer.on_error(
                CellFailed(text, cell_id=cell.id, notebook=notebook, reason=reason)
            )

        self._become(mapped(self._notebook, idle))
        if isinstance(reason, ec.KernelError):
            self._after_the_last(tell)
        elif self._finish():
            tell()

    def _after_the_last(self, tell: Callable[[], None]) -> None:
        """What the last cell printed may come after its end: deno's does, now and then."""

        def end() -> None:
            if self._finish():
                tell()

        if not self._over:
            self._current.disposable = when_all_is_said(self._terms, LATE, end)

    # -- what is said -------------------------------------------------------------------------------

    def _said(self, cell_id: str, message: ec.AnyMessage) -> None:
        """By the code of a cell."""
        if self._over:
            return
        cell = self._code(cell_id)
        if cell.status is CellStatus.RUNNING:
            self._note_time(message)
        count = message.content.get("execution_count")
        if message.header.msg_type == "execute_input" and type(count) is int and count >= 0:
            self._put(replace(cell, execution_count=count))
            return
        before = cell.outputs
        outputs = before.add(message)
        if outputs is not before:
            cell = replace(cell, outputs=outputs)
            self._notebook = replaced(self._notebook, self._notebook.index(cell_id), cell)
        notebook = self._notebook
        if message.header.msg_type in DISPLAYS:
            notebook = self._updated(notebook, cell, message)
        if notebook is not self._notebook or not outputs.is_unchanged_from(before):
            self._become(notebook)

    def _updated(self, notebook: Notebook, cell: CodeCell, message: ec.AnyMessage) -> Notebook:
        """A display with an id is shown wherever it stands."""
        transient = message.content.get("transient")
        display_id = transient.get("display_id") if isinstance(transient, dict) else None
        if not isinstance(display_id, (str, int)):
            return notebook
        standing = self._standing.setdefault(display_id, set())
        if message.header.msg_type != "update_display_data":
            standing.add(cell.id)
        for other_id in standing:
            place = notebook.index(other_id)
            other = notebook.cells[place]
            if other_id != cell.id and isinstance(other, CodeCell):
                outputs = other.outputs.update(message)
                if outputs is not other.outputs:
                    notebook = replaced(notebook, place, replace(other, outputs=outputs))
        return notebook

    def _note_time(self, message: ec.AnyMessage) -> None:
        match message.header.msg_type:
            case "status":
                name = f"iopub.status.{message.content.get('execution_state')}"
            case "execute_input":
                name = "iopub.execute_input"
            case _:
                return
        if message.header.date:
            self._times[name] = message.header.date

    def _note_reply(self, cell_id: str, reply: ec.AnyMessage) -> None:
        started = reply.metadata.get("started")
        if isinstance(started, str):
            self._times["shell.execute_reply.started"] = started
        if reply.header.date:
            self._times["shell.execute_reply"] = reply.header.date
        cell = self._code(cell_id)
        count = reply.content.get("execution_count")
        if cell.execution_count is None and type(count) is int and count >= 0:
            cell = replace(cell, execution_count=count)
        raised = reply.content.get("status") == "error"
        if raised and all(output["output_type"] != "error" for output in cell.outputs):
            # Some kernels say it in the reply alone.
            error = _error_of(cell, reply.content)
            told = build.error(error.ename, error.evalue, list(error.traceback), parent=reply)
            cell = replace(cell, outputs=cell.outputs.add(told))
        if cell is not self._code(cell_id):
            self._notebook = replaced(self._notebook, self._notebook.index(cell_id), cell)

    # -- one state after the other ------------------------------------------------------------------

    def _code(self, cell_id: str) -> CodeCell:
        cell = self._notebook.cell(cell_id)
        assert isinstance(cell, CodeCell)  # noqa: S101  # only such are queued
        return cell

    def _put(self, cell: CodeCell) -> None:
        self._become(replaced(self._notebook, self._notebook.index(cell.id), cell))

    def _become(self, notebook: Notebook) -> None:
        self._notebook = notebook
        if not self._over:
            self._observer.on_next(notebook)

    def _finish(self) -> bool:
        with self._ending:
            first, self._over = not self._over, True
        if first:
            self._current.dispose()
            self._terms.late.dispose()
        return first


def _error_of(cell: CodeCell, content: Mapping[str, Any]) -> ec.KernelError:
    """What was raised: as the reply says, or the last error among the outputs."""
    shown = [output for output in cell.outputs if output["output_type"] == "error"]
    said: Mapping[str, Any] = shown[-1] if shown else EMPTY
    ename, evalue, traceback = (
        content.get(key) or said.get(key) for key in ("ename", "evalue", "traceback")
    )
    lines = traceback if isinstance(traceback, list) else []
    return ec.KernelError(str(ename or "Error"), str(evalue or ""), tuple(map(str, lines)))
