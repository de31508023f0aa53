"""One run of a notebook: it executes the cells in order and emits the states of the notebook."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from functools import partial

from reactivex import abc
from reactivex.disposable import CompositeDisposable, SerialDisposable

import enchannel as ec
from commutable._cell import Cell, CellStatus, CodeCell
from commutable._execution.cell_execution import (
    CellExecution,
    RunOptions,
    after_remaining_output,
)
from commutable._execution.cell_outcome import failure, is_execution_count, with_reply
from commutable._execution.displays import DISPLAY_MESSAGES, DisplayIndex
from commutable._execution.timing import TIMING_KEY, ExecutionTimes
from commutable._execution.widgets import Widgets
from commutable._notebook import Notebook, annotated, mapped, replaced
from commutable.errors import CellFailed
from enchannel.frozen import FrozenDict

__all__ = ["NotebookRun"]

REMAINING_OUTPUT_TIMEOUT = 1.0


class NotebookRun(abc.DisposableBase):
    """Runs a notebook for one subscription.

    All methods except ``dispose`` are called where messages are delivered, one call at a time. Any
    exception in one of them ends the run with ``CellFailed``: raised to the caller, it would only end a
    subscription, and nothing would continue the run.

    Args:
        notebook: The notebook to run.
        queue: The ids of the code cells to run, in order.
        options: The options of the run.
        observer: Receives the states of the notebook.
    """

    def __init__(
        self,
        notebook: Notebook,
        queue: Iterable[str],
        options: RunOptions,
        observer: abc.ObserverBase[Notebook],
    ) -> None:
        self._notebook = notebook
        self._queue = deque(queue)
        self._options = options
        self._observer = observer
        self._displays = DisplayIndex()
        self._widgets = Widgets(self._send_to_widget)
        self._times = ExecutionTimes()  # of the running cell
        self._current = SerialDisposable()
        self._late_subscriptions = CompositeDisposable()
        self._is_finished = False
        self._finish_lock = threading.Lock()

    def start(self) -> None:
        """Emit the state with the queued cells, and execute the first."""
        queued = frozenset(self._queue)

        def with_status(cell: Cell) -> Cell:
            if not isinstance(cell, CodeCell):
                return cell
            self._displays.add_cell(cell)
            status = CellStatus.QUEUED if cell.id in queued else CellStatus.IDLE
            return cell if cell.status is status else replace(cell, status=status)

        self._emit(mapped(self._notebook, with_status))
        if self._queue:
            self._execute_next()
        elif self._finish():
            self._observer.on_completed()

    def dispose(self) -> None:
        """Interrupt the running cell and emit nothing more; callable from any thread."""
        self._finish()

    # -- one cell after the other -------------------------------------------------------------------

    def _execute_next(self) -> None:
        if self._is_finished:
            return
        if not self._queue:
            self._finish_after_remaining_output(self._observer.on_completed)
            return
        cell_id = self._queue.popleft()
        try:
            self._start_cell(self._code_cell(cell_id))
        except Exception as error:
            self._on_exception(cell_id, error)

    def _start_cell(self, cell: CodeCell) -> None:
        self._times = ExecutionTimes()
        metadata = {name: value for name, value in cell.metadata.items() if name != TIMING_KEY}
        self._emit_cell(
            replace(
                cell,
                metadata=FrozenDict(metadata),
                outputs=ec.Outputs(terminal=True),
                execution_count=None,
                status=CellStatus.RUNNING,
            )
        )
        if not self._is_finished:
            execution = CellExecution(
                self._options,
                self._late_subscriptions,
                partial(self._on_message, cell.id),
                partial(self._on_cell_end, cell.id),
            )
            self._current.disposable = execution.start(cell.source)

    def _on_message(self, cell_id: str, message: ec.AnyMessage) -> None:
        """Apply an iopub message of the code of a cell, unless the run has finished."""
        if self._is_finished:
            return
        try:
            self._apply(cell_id, message)
        except Exception as error:
            self._on_exception(cell_id, error)

    def _on_cell_end(
        self, cell_id: str, reply: ec.AnyMessage | None, error: Exception | None
    ) -> None:
        """Finish a cell and execute the next, unless the run has finished."""
        if self._is_finished:
            return
        try:
            reason = self._finish_cell(cell_id, reply, error)
        except Exception as raised:
            self._on_exception(cell_id, raised)
            return
        if reason is None:
            self._execute_next()

    def _apply(self, cell_id: str, message: ec.AnyMessage) -> None:
        cell = self._code_cell(cell_id)
        if cell.status is CellStatus.RUNNING:
            self._times.add_output(message)
        count = message.content.get("execution_count")
        if message.header.msg_type == "execute_input" and is_execution_count(count):
            self._emit_cell(replace(cell, execution_count=count))
            return
        before = cell.outputs
        outputs = before if self._widgets.add(message) else before.add(message)
        if outputs is not before:
            cell = replace(cell, outputs=outputs)
            self._notebook = replaced(self._notebook, self._notebook.index(cell_id), cell)
        notebook = self._notebook
        if message.header.msg_type in DISPLAY_MESSAGES:
            notebook = self._displays.updated(notebook, cell, message)
        if notebook is not self._notebook or not outputs.is_unchanged_from(before):
            self._emit(notebook)

    def _finish_cell(
        self, cell_id: str, reply: ec.AnyMessage | None, error: Exception | None
    ) -> Exception | None:
        """Emit the last state of a cell; return the error that stops the run, if any."""
        cell = self._code_cell(cell_id)
        if reply is not None:
            self._times.add_reply(reply)
            cell = with_reply(cell, reply)
        if self._options.record_timing:
            cell = replace(cell, metadata=self._times.added_to(cell.metadata))
        cell = replace(cell, status=CellStatus.IDLE)
        reason = error or failure(cell, reply, allow_errors=self._options.allow_errors)
        if reason is None:
            self._emit_cell(cell)
        else:
            self._fail(cell, reason)
        return reason

    # -- the end of the run -------------------------------------------------------------------------

    def _on_exception(self, cell_id: str, error: Exception) -> None:
        """Fail with an exception that was raised while the run handled an event of a cell."""
        # The observer has raised, or disposed of the run before something else raised.
        if self._is_finished:
            raise error
        self._fail(replace(self._code_cell(cell_id), status=CellStatus.IDLE), error)

    def _fail(self, cell: CodeCell, reason: Exception) -> None:
        def idle(other: Cell) -> Cell:
            if other.id == cell.id:
                return cell
            if isinstance(other, CodeCell) and other.status is not CellStatus.IDLE:
                return replace(other, status=CellStatus.IDLE)
            return other

        def emit_error() -> None:
            notebook = self._notebook
            number, count = notebook.index(cell.id) + 1, len(notebook.cells)
            text = f"cell {number} of {count} ({cell.id}): {reason}"
            self._observer.on_error(
                CellFailed(text, cell_id=cell.id, notebook=notebook, reason=reason)
            )

        self._emit(self._with_widgets(mapped(self._notebook, idle)))
        if isinstance(reason, ec.KernelError):
            self._finish_after_remaining_output(emit_error)
        elif self._finish():
            emit_error()

    def _finish_after_remaining_output(self, emit_end: Callable[[], None]) -> None:
        # The request of a cell waits only for kernels that are not known to send idle last. Others may send
        # output later all the same, as an extension of ipykernel does, and one request per run is cheap.
        def finish() -> None:
            notebook = self._with_widgets(self._notebook)
            if notebook is not self._notebook:
                self._emit(notebook)
            if self._finish():
                emit_end()

        if not self._is_finished:
            self._current.disposable = after_remaining_output(
                self._options, REMAINING_OUTPUT_TIMEOUT, finish
            )

    def _finish(self) -> bool:
        """Release all subscriptions, and return True for the first call only."""
        with self._finish_lock:
            is_first, self._is_finished = not self._is_finished, True
        if is_first:
            self._current.dispose()
            self._late_subscriptions.dispose()
        return is_first

    def _send_to_widget(self, message: ec.AnyMessage) -> None:
        # A kernel that is lost ends the run by the error of its request.
        with suppress(ec.EnchannelError):
            self._options.kernel.shell.on_next(message)

    # -- states -------------------------------------------------------------------------------------

    def _code_cell(self, cell_id: str) -> CodeCell:
        cell = self._notebook.cell(cell_id)
        assert isinstance(cell, CodeCell)  # noqa: S101  # only code cells are queued
        return cell

    def _with_widgets(self, notebook: Notebook) -> Notebook:
        """Return the notebook with the state of the widgets in its metadata."""
        metadata = self._widgets.added_to(notebook.metadata)
        if metadata == notebook.metadata:
            return notebook
        return annotated(notebook, FrozenDict(metadata))

    def _emit_cell(self, cell: CodeCell) -> None:
        self._emit(replaced(self._notebook, self._notebook.index(cell.id), cell))

    def _emit(self, notebook: Notebook) -> None:
        self._notebook = notebook
        if not self._is_finished:
            self._observer.on_next(notebook)
