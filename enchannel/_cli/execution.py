"""One execution: what the kernel says about it is shown as it comes, and what it asks is answered.

All of that on the main thread, where Ctrl-C and ``input()`` work; the library's threads only put what
arrives into a queue.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import TypeAlias

from reactivex import Observable
from reactivex.subject import AsyncSubject

import enchannel as ec
from enchannel._cli.exit_code import ExitCode
from enchannel._cli.input_reader import Answers
from enchannel._cli.interrupts import Watch
from enchannel._cli.terminal.printer import Printer
from enchannel._cli.terminal.screen import Screen
from enchannel._cli.terminal.signals import Signals, Stopped

__all__ = ["Execution"]

LATENCY = 0.05  # seconds after which what was written is shown, however much there is to come
QUIET = 0.03  # seconds without output after which a question is asked: it has a channel of its own
NOISY = 0.3  # seconds after which it is asked in spite of output
LEAVING = 1.0  # seconds for a kernel that stays to take our last interrupt
BUSY = (
    "the kernel is busy with other code, which was not interrupted; "
    "Ctrl-C again leaves, and this code will run when its turn comes"
)


@dataclass(frozen=True, slots=True)
class _Question:
    prompt: str
    password: bool
    answer: AsyncSubject[str]
    since: float


@dataclass(frozen=True, slots=True)
class _Warning:
    text: str


@dataclass(frozen=True, slots=True)
class _End:
    error: Exception | None = None


_Item: TypeAlias = ec.AnyMessage | _Question | _Warning | _End


class Execution:
    """Runs code in a kernel that is there.

    Args:
        kernel: A kernel.
        printer: Is given each message.
        screen: Is flushed when there is nothing more to show for the moment.
        answers: Is asked what the code asks.
        signals: Is told that there is something to interrupt.

    Attributes:
        stubborn: Whether the code goes on, though it was interrupted because its time was up.
    """

    def __init__(
        self,
        kernel: ec.Kernel,
        printer: Printer,
        screen: Screen,
        answers: Answers,
        signals: Signals,
    ) -> None:
        self._kernel = kernel
        self._printer = printer
        self._screen = screen
        self._answers = answers
        self._signals = signals
        self._inbox: SimpleQueue[_Item] = SimpleQueue()
        self._question: _Question | None = None
        self._begun = self._running = False
        self._interrupted = False
        self._ended = False
        self._status = ""
        self.stubborn = False

    def run(self, code: str, *, timeout: float | None) -> ExitCode:
        """Run it.

        Raises:
            KernelDied, ConnectionLost: it cannot end any more.
            RequestAborted: the kernel did not run it.
            RequestTimeout: it did not end in time.
            Ended, OSError: nobody waits for it, or reads what it prints.
        """
        kernel = self._kernel
        request = kernel.execute(
            code,
            stop_on_error=False,  # what others have queued there is not ours to abort
            on_input=self._on_input,
        )
        kernel.errors.subscribe(self._warned)
        with Watch(timeout, self._interrupt, self._late, self._overdue) as watch:

            def on_interrupt() -> bool:
                if not self._begun and kernel.owned:
                    return False
                self._screen.hurry()
                watch.interrupt()
                return True

            self._signals.running(on_interrupt)
            subscription = request.subscribe(self._arrived, self._failed, self._completed)
            died = ""
            try:
                self._follow()
            except ec.KernelDied as error:
                if not watch.timed_out:
                    raise
                died = f"; {error}"  # some kernels end by being interrupted
            finally:
                self._leave()
                subscription.dispose()
        if watch.timed_out:
            how = "and was interrupted" if self._interrupted else "because the kernel is busy"
            raise ec.RequestTimeout(f"the code did not end within {timeout:g} s, {how}{died}")
        if self._status in ("aborted", "abort"):
            raise ec.RequestAborted("the kernel did not run the code, because earlier code failed")
        return ExitCode.RAISED if self._status == "error" else ExitCode.OK

    # -- on the library's threads -------------------------------------------------------------------

    def _arrived(self, message: ec.AnyMessage) -> None:
        if message.header.msg_type == "status":
            self._running = message.content.get("execution_state") == "busy"
            self._begun = self._begun or self._running
        elif message.header.msg_type == "execute_reply":
            self._status = str(message.content.get("status"))
        self._inbox.put(message)

    def _failed(self, error: Exception) -> None:
        self._end(error)

    def _completed(self) -> None:
        self._end(None)

    def _end(self, error: Exception | None) -> None:
        self._ended = True
        self._inbox.put(_End(error))
        self._signals.wake()

    def _warned(self, error: ec.EnchannelError) -> None:
        if isinstance(error, (ec.MessagesMayBeMissing, ec.RejectedFrame)):
            self._inbox.put(_Warning(f"warning: {error}"))

    def _on_input(self, prompt: str, password: bool) -> Observable[str]:
        answer: AsyncSubject[str] = AsyncSubject()
        self._inbox.put(_Question(prompt, password, answer, time.monotonic()))
        return answer

    # -- on the thread of the watch -----------------------------------------------------------------

    def _interrupt(self) -> None:
        if not self._interrupt_ours():
            self._inbox.put(_Warning(BUSY))

    def _late(self) -> None:
        self._signals.wake()
        if not self._interrupt_ours():
            self._inbox.put(_End())

    def _overdue(self) -> None:
        self.stubborn = True
        self._inbox.put(_End())

    def _interrupt_ours(self) -> bool:
        """Interrupt what runs, unless it is somebody else's."""
        if not (self._kernel.owned or self._begun):
            return False
        if self._running:  # else it ends by itself; some kernels do not survive an interrupt then
            self._interrupted = True
            self._kernel.interrupt()
        return True

    # -- on the main thread -------------------------------------------------------------------------

    def _follow(self) -> None:
        """Until the end."""
        while (item := self._next()) is not None:
            shown_by = time.monotonic() + LATENCY
            while item is not None:
                if isinstance(item, _End):
                    self._screen.finish()
                    if item.error is not None:
                        raise item.error
                    return
                self._take(item)
                item = self._waiting() if time.monotonic() < shown_by else None
            self._screen.flush()

    def _leave(self) -> None:
        """Nobody listens any more: what still runs in somebody else's kernel is not left to it."""
        if self._running and not (self._ended or self._kernel.owned):
            with suppress(ec.EnchannelError):
                # Not by on_dispose: what is said just before closing may not get through.
                ec.wait(self._kernel.interrupt(), timeout=LEAVING)

    def _next(self) -> _Item | None:
        """What comes next; a question is asked when what was said before it is shown."""
        while self._question is not None or self._screen.hurrying:
            question = self._question
            if question is not None and time.monotonic() >= question.since + NOISY:
                self._ask()
                continue
            try:
                return self._inbox.get(timeout=QUIET)
            except Empty:
                self._screen.caught_up()
                self._screen.flush()
                self._ask()
        return self._inbox.get()

    def _waiting(self) -> _Item | None:
        try:
            return self._inbox.get_nowait()
        except Empty:
            self._screen.caught_up()
            return None

    def _take(self, item: ec.AnyMessage | _Question | _Warning) -> None:
        match item:
            case _Question():
                self._question = item
            case _Warning():
                self._screen.say(item.text)
            case _:
                self._printer.message(item)

    def _ask(self) -> None:
        """Ask what the kernel asks, if it does."""
        question, self._question = self._question, None
        if question is None:
            return
        try:
            with self._signals.asking():
                if self._ended:
                    return
                answer = self._answers.answer(question.prompt, question.password)
        except Stopped:
            return  # the kernel was interrupted, or is gone
        except EOFError as end:
            question.answer.on_error(end)
            return
        question.answer.on_next(answer)
        question.answer.on_completed()
