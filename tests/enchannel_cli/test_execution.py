"""``Execution`` in situations that depend on timing."""

import io
from collections.abc import Callable, Iterator
from dataclasses import replace
from queue import SimpleQueue

import pytest
from reactivex.subject import AsyncSubject, BehaviorSubject

import commutable as cm
import enchannel as ec
from enchannel import messages as build
from enchannel._cli.execution import Execution
from enchannel._cli.exit_code import ExitCode
from enchannel._cli.input_reader import InputReader
from enchannel._cli.notebook import run
from enchannel._cli.notebook.plan import NotebookPlan
from enchannel._cli.notebook.run import NotebookRun
from enchannel._cli.terminal.printer import TextPrinter
from enchannel._cli.terminal.screen import Screen
from enchannel._cli.terminal.signals import InputCancelled, Signals
from enchannel.memory import InMemoryKernel
from tests.rigs import DEADLINE
from tests.rigs.messages import busy, idle, reply_to


class EarlyCtrlC(Signals):
    """Presses Ctrl-C before the code can have begun."""

    def set_interrupt_handler(self, on_interrupt: Callable[[], bool]) -> None:
        super().set_interrupt_handler(on_interrupt)
        assert on_interrupt()


class CtrlCAtPrompt(InputReader):
    """Presses Ctrl-C instead of typing an answer."""

    def __init__(self, screen: Screen, signals: "CapturedHandler") -> None:
        super().__init__(None, screen, stdout_has_messages=False)
        self._signals = signals

    def read(self, prompt: str, password: bool) -> str:
        assert self._signals.on_interrupt()
        raise InputCancelled


class CapturedHandler(Signals):
    """Lets a test call the interrupt handler."""

    on_interrupt: Callable[[], bool]

    def set_interrupt_handler(self, on_interrupt: Callable[[], bool]) -> None:
        self.on_interrupt = on_interrupt


@pytest.fixture
def asking_kernel() -> Iterator[ec.Kernel]:
    """Connect to a kernel whose input request arrives before the status busy, on another channel."""
    requests: list[ec.AnyMessage] = []

    def on_message(message: ec.AnyMessage) -> None:
        match message.header.msg_type:
            case "execute_request":
                requests.append(message)
                remote.send(build.input_request("name? ", parent=message))
            case "kernel_info_request":
                remote.send(reply_to(message))
            case "interrupt_request":
                remote.send(reply_to(message))
                for request in requests:
                    for answer in (busy(request), reply_to(request, status="error"), idle(request)):
                        remote.send(answer)
            case _:
                pass

    with InMemoryKernel() as remote:
        remote.on_message(on_message)
        with ec.connect(remote.target) as kernel:
            yield kernel


def test_execution_is_interrupted_at_early_input(asking_kernel: ec.Kernel) -> None:
    shown = io.StringIO()
    screen, signals = Screen(shown, shown, {}), CapturedHandler()
    reader = CtrlCAtPrompt(screen, signals)
    execution = Execution(asking_kernel, TextPrinter(screen), screen, reader, signals)
    assert execution.run("input('name? ')", timeout=DEADLINE) == ExitCode.RAISED
    assert "busy with code of another client" not in shown.getvalue()


def test_notebook_is_interrupted_at_early_input(asking_kernel: ec.Kernel) -> None:
    shown = io.StringIO()
    screen, signals = Screen(shown, shown, {}), CapturedHandler()
    notebook = cm.append_cell(cm.empty_notebook, cm.code_cell("input('name? ')", id="c1"))
    run = NotebookRun(
        asking_kernel,
        NotebookPlan(notebook, ["c1"]),
        None,
        screen,
        CtrlCAtPrompt(screen, signals),
        signals,
    )
    assert run.run(timeout=DEADLINE, allow_errors=False) == ExitCode.RAISED


class StuckRun:
    """A command whose notebook run has started a cell, and then does nothing any more."""

    def __init__(self, kernel: ec.Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
        cell = cm.code_cell("1", id="c1")
        notebook = cm.append_cell(cm.empty_notebook, cell)
        started = cm.replace_cell(notebook, replace(cell, status=cm.CellStatus.RUNNING))
        self.states: BehaviorSubject[cm.Notebook] = BehaviorSubject(started)
        monkeypatch.setattr(cm, "execute", lambda *_, **__: self.states)
        monkeypatch.setattr(run, "RUN_GRACE_PERIOD", 0.01)
        monkeypatch.setattr(run, "CHECK_INTERVAL", 0.01)
        screen = Screen(io.StringIO(), io.StringIO(), {})
        self.signals = CapturedHandler()
        self.run = NotebookRun(
            kernel,
            NotebookPlan(notebook, ["c1"]),
            None,
            screen,
            InputReader(None, screen, stdout_has_messages=False),
            self.signals,
        )


def test_timeout_ends_stuck_notebook_run(
    asking_kernel: ec.Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    stuck = StuckRun(asking_kernel, monkeypatch)
    with pytest.raises(ec.RequestTimeout, match=r"did not finish within 0\.01 s"):
        stuck.run.run(timeout=0.01, allow_errors=False)
    assert not stuck.states.observers


def test_ctrl_c_ends_stuck_notebook_run(
    asking_kernel: ec.Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    stuck = StuckRun(asking_kernel, monkeypatch)
    monkeypatch.setattr(stuck.run, "_is_cell_running", lambda: True)
    monkeypatch.setattr(stuck.run, "_show_running", lambda: stuck.signals.on_interrupt())
    assert stuck.run.run(timeout=None, allow_errors=False) == ExitCode.RAISED
    assert not stuck.states.observers


def test_fault_in_command_ends_notebook_run(
    asking_kernel: ec.Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    stuck = StuckRun(asking_kernel, monkeypatch)

    def fails(*_: object) -> None:
        raise ZeroDivisionError("a fault")

    monkeypatch.setattr(stuck.run._tracker, "update", fails)
    with pytest.raises(ZeroDivisionError, match="a fault"):
        stuck.run.run(timeout=None, allow_errors=False)


@pytest.mark.kernel
def test_execution_leaves_other_clients_alone(running: ec.Kernel) -> None:
    answer: AsyncSubject[str] = AsyncSubject()
    events: SimpleQueue[object] = SimpleQueue()

    def on_input(request: ec.InputPrompt) -> AsyncSubject[str]:
        events.put("asked")
        return answer

    with ec.connect(running.id) as others:
        theirs = others.execute("theirs = input()", on_input=on_input)
        theirs.subscribe(on_error=events.put, on_completed=lambda: events.put("done"))
        assert events.get(timeout=DEADLINE) == "asked"

        shown = io.StringIO()
        screen = Screen(shown, shown, {})
        reader = InputReader(None, screen, stdout_has_messages=False)
        with ec.connect(running.id) as kernel:
            ours = Execution(kernel, TextPrinter(screen), screen, reader, EarlyCtrlC())
            with pytest.raises(ec.RequestTimeout, match="because the kernel is busy"):
                ours.run("'ours'", timeout=0.2)
        assert "busy with code of another client" in shown.getvalue()

        answer.on_next("answered")
        answer.on_completed()
        assert events.get(timeout=DEADLINE) == "done"
    assert running.run("theirs", timeout=DEADLINE).text == "'answered'"
