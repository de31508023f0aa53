"""What a person would have to be quick for."""

import io
from collections.abc import Callable
from queue import SimpleQueue

import pytest
from reactivex.subject import AsyncSubject

import enchannel as ec
from enchannel._cli.execution import Execution
from enchannel._cli.input_reader import InputReader
from enchannel._cli.terminal.printer import TextPrinter
from enchannel._cli.terminal.screen import Screen
from enchannel._cli.terminal.signals import Signals
from tests.rigs import DEADLINE

pytestmark = pytest.mark.kernel


class Impatient(Signals):
    """A person who presses Ctrl-C before the code can have begun."""

    def set_interrupt_handler(self, on_interrupt: Callable[[], bool]) -> None:
        super().set_interrupt_handler(on_interrupt)
        assert on_interrupt()


def test_the_code_of_others_is_not_interrupted(running: ec.Kernel) -> None:
    answer: AsyncSubject[str] = AsyncSubject()
    events: SimpleQueue[object] = SimpleQueue()

    def on_input(prompt: str, password: bool) -> AsyncSubject[str]:
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
            ours = Execution(kernel, TextPrinter(screen), screen, reader, Impatient())
            with pytest.raises(ec.RequestTimeout, match="because the kernel is busy"):
                ours.run("'ours'", timeout=0.2)
        assert "busy with code of another client" in shown.getvalue()

        answer.on_next("answered")
        answer.on_completed()
        assert events.get(timeout=DEADLINE) == "done"
    assert running.run("theirs", timeout=DEADLINE).text == "'answered'"
