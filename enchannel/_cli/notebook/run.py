"""One run of a notebook: its cells are run and saved in order, and their progress is shown."""

from __future__ import annotations

import time
from contextlib import suppress
from queue import Empty
from typing import TypeAlias

from reactivex import Observable
from reactivex.disposable import SerialDisposable

import commutable as cm
import enchannel as ec
from enchannel._cli.exit_code import ExitCode, is_successful_exit
from enchannel._cli.input_reader import InputReader
from enchannel._cli.interrupts import InterruptThread, interrupt_and_wait
from enchannel._cli.notebook.cell_tracker import CellFinished, CellStarted, CellTracker
from enchannel._cli.notebook.files import NotebookWriter
from enchannel._cli.notebook.output import OutputPrinter
from enchannel._cli.notebook.plan import NotebookPlan
from enchannel._cli.notebook.progress import Progress
from enchannel._cli.run_inbox import KernelWarning, PendingInput, RunEnd, RunInbox
from enchannel._cli.terminal.screen import Screen
from enchannel._cli.terminal.signals import Signals

__all__ = ["NotebookRun"]

# States of the notebook that follow one another faster than this are shown as one.
STATE_INTERVAL = 0.02
# A run ends a cell within a few seconds after its timeout or an interrupt. After this time the command ends
# without it.
RUN_GRACE_PERIOD = 10.0
CHECK_INTERVAL = 1.0


class _StateChanged:
    """The notebook has changed; only its latest state is shown."""


_Item: TypeAlias = _StateChanged | CellFinished


class NotebookRun:
    """Runs the cells of a plan in a kernel.

    Progress is shown and input is read on the main thread. Each cell is saved on the library's thread,
    before the next cell starts.

    Args:
        kernel: A connected kernel.
        plan: The cells to run.
        writer: Saves the notebook. None prints the outputs instead.
        screen: Where progress is shown.
        input_reader: Reads the answers to ``input()``.
        signals: Interrupt the running cell.
    """

    def __init__(
        self,
        kernel: ec.Kernel,
        plan: NotebookPlan,
        writer: NotebookWriter | None,
        screen: Screen,
        input_reader: InputReader,
        signals: Signals,
    ) -> None:
        self._kernel = kernel
        self._plan = plan
        self._screen = screen
        self._signals = signals
        self._progress = Progress(screen, plan)
        self._writer = writer
        self._printer = OutputPrinter(screen, self._progress) if writer is None else None
        self._inbox: RunInbox[_Item] = RunInbox(input_reader, signals)
        self._states = SerialDisposable()
        self._tracker = CellTracker(plan)
        self._change_pending = False
        self._interrupted = False

    def run(self, *, timeout: float | None, allow_errors: bool) -> ExitCode:
        """Run the cells until the last, or until one raises.

        Args:
            timeout: Seconds after which a cell is interrupted, or None.
            allow_errors: Go on after cells that raise.

        Raises:
            UnusableNotebook: the file can no longer be written.
            Terminated: a signal ended the command.
        """
        states = cm.execute(
            self._plan.notebook,
            self._kernel,
            cells=self._plan.cells,
            timeout=timeout,
            allow_errors=allow_errors,
            on_input=self._on_input,
        )
        with self._progress, InterruptThread(self._interrupt) as thread:
            self._signals.set_interrupt_handler(lambda: self._on_ctrl_c(thread))
            self._kernel.errors.subscribe(self._inbox.on_error)
            # Requested first, so that the reply arrives before the first cell ends.
            self._kernel.kernel_info(timeout=None).subscribe(self._on_kernel_info, lambda _: None)
            self._states.disposable = states.subscribe(
                self._on_state, self._save_and_end, self._save_and_end
            )
            try:
                error = self._follow(timeout)
            finally:
                self._leave()
                # Ends the wait of the interrupt thread.
                self._inbox.has_ended.set()
                self._states.dispose()
        if self._writer is not None:
            self._writer.finish(self._tracker.notebook)
        return self._exit_code(error)

    # -- on the library's threads -------------------------------------------------------------------

    def _on_kernel_info(self, message: ec.AnyMessage) -> None:
        info = message.content.get("language_info")
        if self._writer is not None and isinstance(info, dict) and info.get("name"):
            self._writer.language_info = info

    def _on_state(self, notebook: cm.Notebook) -> None:
        try:
            self._follow_cell(notebook)
        except Exception as error:
            self._states.dispose()
            self._inbox.end(error)

    def _follow_cell(self, notebook: cm.Notebook) -> None:
        match self._tracker.update(notebook):
            case CellStarted():
                self._on_cell_started()
            case CellFinished() as finished:
                self._on_cell_finished(finished)
            case None:
                pass
        if not self._change_pending:
            self._change_pending = True
            self._inbox.put(_StateChanged())

    def _on_cell_started(self) -> None:
        if self._interrupted:
            # The interrupted cell was the one before. With --allow-errors the next one would run.
            self._states.dispose()
            self._inbox.end()

    def _on_cell_finished(self, finished: CellFinished) -> None:
        self._inbox.put(finished)
        self._save(finished.notebook)

    def _save(self, notebook: cm.Notebook) -> None:
        if self._writer is not None:
            self._writer.write(notebook)

    def _save_and_end(self, error: Exception | None = None) -> None:
        """Save output that the last cell's threads printed after the end of the cell."""
        try:
            self._save(self._tracker.notebook)
        except Exception as raised:
            error = error or raised
        self._inbox.end(error)

    def _on_input(self, request: ec.InputPrompt) -> Observable[str]:
        self._tracker.on_input_request()
        return self._inbox.on_input(request)

    def _interrupt(self) -> None:
        # The kernel may have been closed or lost by now.
        with suppress(ec.EnchannelError):
            self._kernel.interrupt().subscribe(on_error=lambda _: None)
        has_ended = self._inbox.has_ended.wait(RUN_GRACE_PERIOD)
        # Code that catches the interrupt may go on; a second Ctrl-C leaves it.
        if not has_ended and self._kernel.state.value is not ec.KernelState.BUSY:
            self._states.dispose()
            self._inbox.end()

    # -- in a signal handler ------------------------------------------------------------------------

    def _on_ctrl_c(self, thread: InterruptThread) -> bool:
        if not self._is_cell_running():
            # The kernel may be running the code of another client.
            return False
        self._interrupted = True
        thread.interrupt()
        return True

    def _is_cell_running(self) -> bool:
        """Return True if the kernel runs a cell of the plan, and not the code of another client."""
        tracker = self._tracker
        return tracker.is_executing or (tracker.is_started and self._kernel.owned)

    # -- on the main thread -------------------------------------------------------------------------

    def _follow(self, timeout: float | None) -> Exception | None:
        """Handle events until the end; return the error that ended the run."""
        while True:
            try:
                event = self._inbox.get(None if timeout is None else CHECK_INTERVAL)
            except Empty:
                if timeout is not None and self._is_overdue(timeout):
                    return ec.RequestTimeout(f"the cell did not finish within {timeout:g} s")
                continue
            match event:
                case CellFinished() as finished:
                    self._show_finished(finished)
                    self._show_running()
                case PendingInput() as pending:
                    with self._progress.paused():
                        self._inbox.answer(pending)
                case KernelWarning(text):
                    with self._progress.paused():
                        self._screen.warn(text)
                case RunEnd(error):
                    self._print_outputs(self._tracker.notebook)
                    return error
                case _:
                    self._change_pending = False
                    self._show_running()
                    self._inbox.has_ended.wait(STATE_INTERVAL)

    def _is_overdue(self, timeout: float) -> bool:
        """Return True if the run did not end the current cell after its timeout."""
        started_at = self._tracker.started_at
        return started_at is not None and (
            time.monotonic() > started_at + timeout + RUN_GRACE_PERIOD
        )

    def _show_running(self) -> None:
        tracker = self._tracker
        started_at, cell_id = tracker.started_at, tracker.cell_id
        if started_at is not None and cell_id is not None:
            self._progress.show_running(tracker.notebook, cell_id, started_at)

    def _show_finished(self, finished: CellFinished) -> None:
        cell = finished.notebook.cell(finished.cell_id)
        assert isinstance(cell, cm.CodeCell)  # noqa: S101  # only code cells run
        self._progress.show_finished(finished.notebook, cell, finished.seconds)
        if self._printer is not None:
            self._printer.add_finished(finished.cell_id)
        self._print_outputs(finished.notebook)

    def _print_outputs(self, notebook: cm.Notebook) -> None:
        if self._printer is not None:
            self._printer.print_new(notebook)

    def _leave(self) -> None:
        """Interrupt a cell that would go on in a kernel that stays."""
        is_over = self._inbox.has_ended.is_set() or self._kernel.owned
        if not is_over and self._is_cell_running():
            interrupt_and_wait(self._kernel)

    def _exit_code(self, error: Exception | None) -> ExitCode:
        if error is None:
            return ExitCode.RAISED if self._interrupted else ExitCode.OK
        if not isinstance(error, cm.CellFailed):
            raise error
        reason = error.reason
        if is_successful_exit(reason):
            return ExitCode.OK
        # Without a file, the traceback was printed with the other outputs.
        if isinstance(reason, ec.KernelError) and reason.traceback and self._writer is not None:
            self._screen.write_traceback("\n".join(reason.traceback))
        self._screen.print_message(str(error))
        return ExitCode.of(reason) if isinstance(reason, ec.EnchannelError) else ExitCode.RAISED
