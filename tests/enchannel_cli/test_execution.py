"""What a person would have to be quick for."""

import io
from collections.abc import Callable
from queue import SimpleQueue

import pytest
from reactivex.subject import AsyncSubject

import enchannel as ec
from enchannel._cli.execution import Execution
from enchannel._cli.input_reader import Answers
from enchannel._cli.terminal.printer import TextPrinter
from enchannel._cli.terminal.screen import Screen
from enchannel._cli.terminal.signals import Signals
from tests.rigs import DEADLINE

pytestmark = pytest.mark.kernel


class Impatient(Signals):
    """A person who presses Ctrl-C before the code can have begun."""

    def running(self, on_interrupt: Callable[[], bool]) -> None:
        super().running(on_interrupt)
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
        answers = Answers(None, screen, only_messages=False)
        signals = Impatient(on_hurry=lambda: None)
        with ec.connect(running.id) as kernel:
            ours = Execution(kernel, TextPrinter(screen), screen, answers, signals)
            with pytest.raises(ec.RequestTimeout, match="because the kernel is busy"):
                ours.run("'ours'", timeout=0.2)
        assert "busy with other code" in shown.getvalue()

        answer.on_next("answered")
        answer.on_completed()
        assert events.get(timeout=DEADLINE) == "done"
    assert running.run("theirs", timeout=DEADLINE).text == "'answered'"
