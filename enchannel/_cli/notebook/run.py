"""``enchannel run analysis.ipynb``: a notebook that runs, and is saved after each of its cells."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from threading import Event
from typing import Any, TypeAlias

from reactivex import Observable
from reactivex.disposable import SerialDisposable
from reactivex.subject import AsyncSubject

import commutable as cm
import enchannel as ec
from enchannel._cli.child_processes import kill_children
from enchannel._cli.exit_code import ExitCode
from enchannel._cli.input_reader import Answers
from enchannel._cli.interrupts import Watch
from enchannel._cli.kernel_session import DEFAULT_KERNEL, connect, in_kernel, launch
from enchannel._cli.notebook.plan import Plan, afresh, taken_up
from enchannel._cli.notebook.progress import Progress
from enchannel._cli.terminal.screen import Screen
from enchannel._cli.terminal.signals import Signals, Stopped

__all__ = ["run_notebook"]


LEAVING = 1.0  # seconds for a kernel that stays to take our last interrupt
LATENCY = 0.02  # seconds after which another state is looked at


def run_notebook(arguments: argparse.Namespace, screen: Screen, signals: Signals) -> int:
    """Run a notebook; the exit code."""
    try:
        plan = _planned(arguments)
        saver = None if arguments.output is None else cm.Saver(arguments.output)
        if saver is not None:
            _save(plan.notebook, saver)  # what cannot be saved is better known before it runs
    except NotebookUnusable as error:
        screen.say(str(error))
        return ExitCode.USAGE
    if plan.done:
        _tell_of_resuming(plan, arguments, screen)
    if not plan.cells:
        return ExitCode.OK
    answers = Answers(sys.stdin, screen, only_messages=False)

    def execute(kernel: ec.Kernel) -> ExitCode:
        run = NotebookRun(kernel, plan, saver, screen, answers, signals)
        try:
            return run.run(timeout=arguments.timeout, allow_errors=arguments.allow_errors)
        except NotebookUnusable as error:
            screen.say(str(error))
            return ExitCode.RAISED
        finally:
            if kernel.owned and kernel.state.value is ec.KernelState.BUSY:
                kill_children()  # it was interrupted, and goes on in spite of that

    return in_kernel(_kernel(plan, arguments, screen), execute, arguments, screen, signals)


def _kernel(plan: Plan, arguments: argparse.Namespace, screen: Screen) -> ec.Kernel:
    if arguments.connection is not None:
        return connect(arguments.connection, arguments, screen)
    name = arguments.kernel or plan.notebook.kernel_name or DEFAULT_KERNEL
    return launch(name, arguments, screen, cwd=Path(arguments.code).absolute().parent)


def _tell_of_resuming(plan: Plan, arguments: argparse.Namespace, screen: Screen) -> None:
    if not plan.cells:
        screen.say("nothing is left to run: all of it had run, and is the same")
        return
    first = plan.notebook.index(plan.cells[0]) + 1
    known = "" if arguments.connection else "; the kernel is new, and knows nothing of those before"
    screen.say(f"it goes on at cell {first} of {len(plan.notebook.cells)}{known}")


class NotebookUnusable(Exception):
    """There is no notebook to run, or none to be written; the text says why."""


def _planned(arguments: argparse.Namespace) -> Plan:
    """What is to run, as the command line has it.

    Raises:
        NotebookUnusable: a file cannot be read, or is no notebook; a parameter or an option makes no sense.
    """
    if arguments.json:
        raise NotebookUnusable("--json prints the messages of code, not of a notebook")
    if arguments.resume and arguments.output is None:
        raise NotebookUnusable(
            "--resume goes on with what --output names, and there is no --output"
        )
    try:
        notebook = _loaded(Path(arguments.code))
        notebook = cm.with_parameters(notebook, _parameters(arguments))
        if arguments.resume and Path(arguments.output).exists():
            done = _loaded(Path(arguments.output))
            return taken_up(notebook, done, lenient=arguments.allow_errors)
        return afresh(notebook)
    except (cm.InvalidNotebook, ec.NotSupported, ValueError) as error:
        raise NotebookUnusable(str(error)) from error


def _loaded(path: Path) -> cm.Notebook:
    try:
        return cm.load(path)
    except OSError as error:
        raise NotebookUnusable(f"{path} cannot be read: {error.strerror or error}") from error


def _parameters(arguments: argparse.Namespace) -> Mapping[str, Any]:
    values: dict[str, Any] = {}
    if arguments.parameters is not None:
        try:
            read = json.loads(Path(arguments.parameters).read_bytes())
        except OSError as error:
            why = error.strerror or error
            raise NotebookUnusable(f"{arguments.parameters} cannot be read: {why}") from error
        except ValueError as error:
            raise NotebookUnusable(f"{arguments.parameters} is not JSON: {error}") from error
        if not isinstance(read, dict):
            raise NotebookUnusable(f"{arguments.parameters} has no JSON object in it")
        values |= read
    for name, text in arguments.parameter:
        try:
            values[name] = json.loads(text)
        except ValueError:
            values[name] = text  # a text needs no quotes
    return values


@dataclass(frozen=True, slots=True)
class _Question:
    prompt: str
    password: bool
    answer: AsyncSubject[str]


@dataclass(frozen=True, slots=True)
class _Warning:
    text: str


@dataclass(frozen=True, slots=True)
class _CellEnded:
    notebook: cm.Notebook
    cell_id: str
    seconds: float


class _Changed:
    """There is another state; the latest is what counts."""


@dataclass(frozen=True, slots=True)
class _End:
    error: Exception | None = None


_Item: TypeAlias = _Changed | _CellEnded | _Question | _Warning | _End


class NotebookRun:
    """Runs a notebook in a kernel that is there, and shows how far it is.

    What is shown and asked is on the main thread, which is told by the library's. A cell is saved where
    its end is known, before the next begins.

    Args:
        kernel: In which.
        plan: What.
        saver: Saves it, after each cell; None: what its cells say is printed instead.
        screen: Where it is shown.
        answers: Is asked what the code asks.
        signals: Is told that there is something to interrupt.
    """

    def __init__(
        self,
        kernel: ec.Kernel,
        plan: Plan,
        saver: cm.Saver | None,
        screen: Screen,
        answers: Answers,
        signals: Signals,
    ) -> None:
        self._kernel = kernel
        self._plan = plan
        self._saver = saver
        self._screen = screen
        self._answers = answers
        self._signals = signals
        self._inbox: SimpleQueue[_Item] = SimpleQueue()
        self._states = SerialDisposable()
        self._latest = plan.notebook
        self._kept = plan.notebook  # as it was when it was saved last
        self._printed: dict[str, cm.Outputs] = {}
        self._is_told = False  # of a state that it has not looked at yet
        self._number = 0  # of the cell in the plan whose turn it is
        self._since: float | None = None  # when it began to run
        self._interrupted = False
        self._language: dict[str, Any] | None = None
        self._ended = Event()

    def run(self, *, timeout: float | None, allow_errors: bool) -> ExitCode:
        """Run it.

        Raises:
            NotebookUnusable: it cannot be saved any more.
            Ended: nobody waits for it.
        """
        states = cm.execute(
            self._plan.notebook,
            self._kernel,
            cells=self._plan.cells,
            timeout=timeout,
            allow_errors=allow_errors,
            on_input=self._on_input,
        )
        with (
            Progress(self._screen, self._plan) as progress,
            Watch(None, self._interrupt, _nothing, _nothing) as watch,
        ):
            self._signals.running(lambda: self._asked_to_stop(watch))
            self._kernel.errors.subscribe(self._warned)
            # It is answered before the first cell.
            self._kernel.kernel_info(timeout=None).subscribe(self._introduced, lambda _: None)
            self._states.disposable = states.subscribe(
                self._became, self._end_with_latest, self._end_with_latest
            )
            try:
                error = self._follow(progress)
            finally:
                self._leave()
                self._states.dispose()
        return self._verdict(error)

    # -- on the library's threads -------------------------------------------------------------------

    def _introduced(self, message: ec.AnyMessage) -> None:
        info = message.content.get("language_info")
        if isinstance(info, dict) and info.get("name"):
            self._language = info

    def _became(self, notebook: cm.Notebook) -> None:
        self._latest = notebook
        if self._number < len(self._plan.cells):
            cell_id = self._plan.cells[self._number]
            runs = _runs(notebook.cell(cell_id))
            if runs and self._since is None:
                self._since = time.monotonic()
                if (
                    self._interrupted
                ):  # that was for the one before: with errors allowed it would go on
                    self._states.dispose()
                    self._end()
            elif not runs and self._since is not None:
                self._cell_ended(notebook, cell_id, time.monotonic() - self._since)
        if not self._is_told:
            self._is_told = True
            self._inbox.put(_Changed())

    def _cell_ended(self, notebook: cm.Notebook, cell_id: str, seconds: float) -> None:
        self._number += 1
        self._since = None
        self._inbox.put(_CellEnded(notebook, cell_id, seconds))
        try:
            self._keep(notebook)
        except NotebookUnusable as error:
            self._states.dispose()
            self._end(error)

    def _keep(self, notebook: cm.Notebook) -> None:
        """Save it, if that is wanted, and was not done."""
        if self._saver is None or notebook is self._kept:
            return
        self._kept = notebook
        if self._language is not None:  # as others note it as well
            known = {**notebook.metadata, "language_info": self._language}
            notebook = cm.set_metadata(notebook, known)
        _save(notebook, self._saver)

    def _end_with_latest(self, error: Exception | None = None) -> None:
        """The last cell may have said something after its end."""
        try:
            self._keep(self._latest)
        except NotebookUnusable as unusable:
            error = error or unusable
        self._end(error)

    def _end(self, error: Exception | None = None) -> None:
        self._ended.set()
        self._inbox.put(_End(error))
        self._signals.wake()

    def _warned(self, error: ec.EnchannelError) -> None:
        if isinstance(error, (ec.MessagesMayBeMissing, ec.RejectedFrame)):
            self._inbox.put(_Warning(f"warning: {error}"))

    def _on_input(self, prompt: str, password: bool) -> Observable[str]:
        answer: AsyncSubject[str] = AsyncSubject()
        self._inbox.put(_Question(prompt, password, answer))
        return answer

    def _interrupt(self) -> None:
        self._kernel.interrupt().subscribe(on_error=lambda _: None)

    # -- in the handler of a signal -----------------------------------------------------------------

    def _asked_to_stop(self, watch: Watch) -> bool:
        if not self._has_begun():
            return False  # what runs there may be somebody else's
        self._interrupted = True
        watch.interrupt()
        return True

    def _has_begun(self) -> bool:
        """Whether the kernel is at work on a cell of ours."""
        if self._since is None or self._number == len(self._plan.cells):
            return False
        cell = self._latest.cell(self._plan.cells[self._number])
        begun = isinstance(cell, cm.CodeCell) and cell.execution_count is not None
        return begun or self._kernel.owned

    # -- on the main thread -------------------------------------------------------------------------

    def _follow(self, progress: Progress) -> Exception | None:
        """Until the end; what it ended with."""
        while True:
            match self._inbox.get():
                case _CellEnded(notebook, cell_id, seconds):
                    self._show_end(notebook, cell_id, seconds, progress)
                    self._show_state(self._latest, progress)
                case _Question() as question:
                    self._ask(question, progress.paused())
                case _Warning(text):
                    with progress.paused():
                        self._screen.say(text)
                case _End(error):
                    self._print_new(self._latest, progress)
                    return error
                case _:
                    self._is_told = False
                    self._show_state(self._latest, progress)
                    self._ended.wait(LATENCY)

    def _show_state(self, notebook: cm.Notebook, progress: Progress) -> None:
        since, number = self._since, self._number
        if since is not None and number < len(self._plan.cells):
            progress.running(notebook, self._plan.cells[number], since)

    def _show_end(
        self, notebook: cm.Notebook, cell_id: str, seconds: float, progress: Progress
    ) -> None:
        cell = notebook.cell(cell_id)
        assert isinstance(cell, cm.CodeCell)  # noqa: S101  # no other runs
        progress.ended(notebook, cell, seconds)
        self._printed[cell_id] = cm.Outputs()
        self._print_new(notebook, progress)

    def _print_new(self, notebook: cm.Notebook, progress: Progress) -> None:
        """What cells have said that have ended, where it is not saved; also what they said afterwards."""
        if self._saver is not None:
            return
        for cell_id, before in self._printed.items():
            cell = notebook.cell(cell_id)
            if isinstance(cell, cm.CodeCell) and cell.outputs is not before:
                self._printed[cell_id] = cell.outputs
                with progress.paused():
                    self._print(_added(before, cell.outputs))

    def _print(self, outputs: Iterator[cm.Output]) -> None:
        for output in outputs:
            to_err = output["output_type"] == "error" or output.get("name") == "stderr"
            pane = self._screen.err if to_err else self._screen.out
            self._screen.line(pane, cm.Outputs.from_nbformat([output]).text)
        self._screen.flush()

    def _leave(self) -> None:
        """What still runs in somebody else's kernel is not left to it."""
        if not (self._ended.is_set() or self._kernel.owned) and self._has_begun():
            with suppress(ec.EnchannelError):
                # Not by disposing: what is said just before closing may not get through.
                ec.wait(self._kernel.interrupt(), timeout=LEAVING)

    def _ask(self, question: _Question, alone: AbstractContextManager[None]) -> None:
        try:
            with alone, self._signals.asking():
                if self._ended.is_set():
                    return
                answer = self._answers.answer(question.prompt, question.password)
        except Stopped:
            return  # the kernel was interrupted, or is gone
        except EOFError as end:
            question.answer.on_error(end)
            return
        question.answer.on_next(answer)
        question.answer.on_completed()

    def _verdict(self, error: Exception | None) -> ExitCode:
        if error is None:
            return ExitCode.RAISED if self._interrupted else ExitCode.OK
        if not isinstance(error, cm.CellFailed):
            raise error
        reason = error.reason
        if isinstance(reason, ec.KernelError) and reason.traceback and self._saver is not None:
            self._screen.traceback("\n".join(reason.traceback))  # else it has just been printed
        self._screen.say(str(error))
        return ExitCode.of(reason) if isinstance(reason, ec.EnchannelError) else ExitCode.RAISED


def _save(notebook: cm.Notebook, saver: cm.Saver) -> None:
    """Write it.

    Raises:
        NotebookUnusable: that cannot be.
    """
    try:
        saver.save(notebook)
    except (OSError, cm.InvalidNotebook) as error:
        why = error.strerror or error if isinstance(error, OSError) else error
        raise NotebookUnusable(f"{saver.path} cannot be written: {why}") from error


def _added(before: cm.Outputs, after: cm.Outputs) -> Iterator[cm.Output]:
    """What there is to show of an output's later state to who has seen the earlier."""
    for place, output in enumerate(after):
        shown = before[place] if place < len(before) else None
        if output == shown:
            continue
        if output["output_type"] == "stream" and shown and shown["output_type"] == "stream":
            grows = output["name"] == shown["name"] and output["text"].startswith(shown["text"])
            more = output["text"].removeprefix(shown["text"])
            yield {**output, "text": more} if grows else output
        else:
            yield output


def _runs(cell: cm.Cell) -> bool:
    return isinstance(cell, cm.CodeCell) and cell.status is cm.CellStatus.RUNNING


def _nothing() -> None: ...
