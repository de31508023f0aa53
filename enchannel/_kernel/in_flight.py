"""One request and all that answers it."""

from __future__ import annotations

import asyncio
import inspect
import threading
import uuid
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

from msgspec.structs import replace
from reactivex import Observable, abc
from reactivex.disposable import Disposable

from enchannel._protocol.channel_name import ChannelName
from enchannel._protocol.message import AnyMessage
from enchannel._rx.sink import Sink
from enchannel._rx.sink_observable import SinkObservable
from enchannel.errors import (
    ConnectionLost,
    EnchannelError,
    MessagesMayBeMissing,
    RequestTimeout,
    WouldDeadlock,
)
from enchannel.messages import input_reply

if TYPE_CHECKING:
    from enchannel._kernel.kernel import Kernel

__all__ = ["OnInput", "Request"]

OnInput: TypeAlias = Callable[[str, bool], "str | Awaitable[str] | Observable[str]"]
"""Answers ``input()`` in the kernel: given the prompt, and whether it is for a password."""

REPLY_GRACE = (
    10.0  # seconds after idle in which a reply, which comes on another socket, is expected
)
COMMS = frozenset({"comm_open", "comm_msg", "comm_close"})  # some kernels say these on shell
END_OF_FILE = "\x04"  # what ipykernel takes for the end of its stdin


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestOptions:
    """What one request asks for besides its answer; seconds."""

    timeout: float | None = None
    idle_grace: float | None = None
    on_dispose: Literal["interrupt"] | None = None
    on_input: OnInput | None = None


class Request(SinkObservable[AnyMessage]):
    """A request as a cold observable: each subscription sends it, and sees what answers it.

    Items come in order of arrival, the reply last. It completes when reply and idle are there,
    in whichever order, and ends with an error when the kernel dies or the time is up.
    """

    def __init__(self, kernel: Kernel, message: AnyMessage, terms: RequestOptions) -> None:
        super().__init__()
        self._kernel = kernel
        self._message = message
        self._terms = terms
        self._delivery = kernel._delivery
        self._reporter = kernel.errors.report
        self._first = threading.Lock()

    def attach(self, sink: Sink[AnyMessage]) -> abc.DisposableBase:
        message = self._message
        first = self._first.acquire(blocking=False)
        # each request has an id of its own
        if not first or message.header.msg_id in self._kernel._exchanges:
            header = replace(message.header, msg_id=uuid.uuid4().hex, date="")
            message = message.replace(header=header)
        exchange = InFlightRequest(self._kernel, message, self._terms, sink)
        exchange.begin()
        return exchange

    def __str__(self) -> str:
        return f"a {self._message.header.msg_type}"


class InFlightRequest(abc.DisposableBase):
    """A request that was sent, until it is answered. Its methods are called where messages arrive."""

    def __init__(
        self, kernel: Kernel, message: AnyMessage, terms: RequestOptions, sink: Sink[AnyMessage]
    ) -> None:
        self.id = message.header.msg_id
        self._kernel = kernel
        self._message = message
        self._terms = terms
        self._sink = sink
        self._lock = threading.RLock()
        self._reply: AnyMessage | None = None
        self._busy = False
        self._idle = False
        self._question: AnyMessage | None = None  # what the kernel waits for an answer to
        self._kept: Any = None  # the answer, while it cannot be given
        self._received = 0
        self._ended = False
        self._timers: list[abc.DisposableBase] = []

    @property
    def place(self) -> tuple[ChannelName, str | None]:
        """Where requests are answered one after the other: its channel, and subshell."""
        return self._message.channel, self._message.header.subshell_id

    def begin(self) -> None:
        """Send it."""
        kernel, terms = self._kernel, self._terms
        with self._lock:
            try:
                kernel._demand_no_restart()
                kernel._exchanges[self.id] = self
                kernel._channel(self._message.channel).on_next(self._message)
            except EnchannelError as error:
                self.fail(error)
                return
            if terms.timeout is not None and not self._ended:
                self._after(terms.timeout, self._timed_out)

    def on_next(self, message: AnyMessage) -> None:
        """A message whose parent is the request."""
        with self._lock:
            if self._ended:
                return
            self._received += 1
            kind = message.header.msg_type
            if message.channel is self._message.channel and kind not in COMMS:
                self._replied(message)
                return
            self._sink.on_next(message)
            if message.channel is ChannelName.IOPUB and kind == "status":
                self._status(message.content.get("execution_state"))
            elif message.channel is ChannelName.STDIN and kind == "input_request":
                self._asked(message)

    def fail(self, error: Exception) -> None:
        """It will not be answered."""
        with self._lock:
            if self._finish():
                self._sink.on_error(error)

    def dispose(self) -> None:
        """Nobody listens any more."""
        with self._lock:
            running = self.is_running
            if not self._finish():
                return
        if self._question or (running and self._terms.on_dispose == "interrupt"):
            self._interrupt()  # it would wait for its input for ever

    def interrupt(self) -> bool:
        """Interrupt the kernel, if it is at work on this very request; whether it was."""
        running = self.is_running
        if running:
            self._interrupt()
        return running

    @property
    def is_running(self) -> bool:
        """Whether the kernel is at work on this very request."""
        return self._busy and not self._idle and not self._ended

    def _interrupt(self) -> None:
        self._question = None
        self._kernel._interrupt_by_itself()

    def _replied(self, reply: AnyMessage) -> None:
        if self._reply is not None:  # a second one is out of the protocol, and no reason to stop
            self._sink.on_next(reply)
            return
        self._reply = reply
        if self._idle:
            self._complete()
        else:
            self._await_idle()

    def _status(self, state: object) -> None:
        if state == "busy":
            self._busy = True
        elif state == "idle":
            self._idle, self._question = True, None
            if self._reply is not None:
                self._complete()
            else:
                self._after(REPLY_GRACE, self._reply_missing)

    def _complete(self) -> None:
        if self._finish():
            self._sink.on_next(cast(AnyMessage, self._reply))
            self._sink.on_completed()

    def _finish(self) -> bool:
        if self._ended:
            return False
        self._ended = True
        self._kernel._exchanges.pop(self.id, None)
        for timer in self._timers:
            timer.dispose()
        return True

    def _after(self, seconds: float, action: Callable[[], None]) -> None:
        def scheduled(_: abc.SchedulerBase, __: object = None) -> None:
            action()

        self._timers.append(self._kernel._scheduler.schedule_relative(seconds, scheduled))

    def _await_idle(self) -> None:
        self._after(self._grace, lambda had=self._received: self._idle_missing(had))  # type: ignore[misc]

    @property
    def _grace(self) -> float:
        grace = self._terms.idle_grace
        return self._kernel._opened().capabilities.idle_grace if grace is None else grace

    def _idle_missing(self, had: int) -> None:
        with self._lock:
            if self._ended:
                return
            if self._received > had:  # its output still comes, and its idle is behind that
                self._await_idle()
                return
            self._complete()
        self._kernel._assume_idle(self.id)
        self._kernel.errors.report(
            MessagesMayBeMissing(
                f"{self} was answered, but no idle came within {self._grace:g} s: "
                "the kernel may have dropped output"
            )
        )

    def _reply_missing(self) -> None:
        self.fail(
            RequestTimeout(
                f"the kernel was done with {self}, and no reply came within {REPLY_GRACE:g} s: it may not "
                "know such a request, or the reply was lost"
            )
        )

    def _timed_out(self) -> None:
        count = self._received
        had = f"{count} message{'' if count == 1 else 's'}" if count else "nothing"
        missing = "the reply" if self._reply is None else "its idle status"
        busy = (
            "" if self.is_running or not self._kernel._busy else "; the kernel is busy with another"
        )
        self.fail(
            RequestTimeout(
                f"{self} had no complete answer within {self._terms.timeout:g} s: {had} had arrived, "
                f"{missing} had not{busy}"
            )
        )
        if self._question:
            self._interrupt()

    def _asked(self, question: AnyMessage) -> None:
        on_input = self._terms.on_input
        if on_input is None:
            self._kernel._asked(question)
            return
        self._question = question
        self._sink.call(lambda: self._ask(on_input, question))

    def _ask(self, on_input: OnInput, question: AnyMessage) -> None:
        """On the subscriber's thread: call what the user gave."""
        prompt = question.content.get("prompt")
        password = bool(question.content.get("password"))
        try:
            answer = on_input(prompt if isinstance(prompt, str) else "", password)
            if isinstance(answer, Observable):
                self._answer_when_there(answer, question)
            elif inspect.isawaitable(answer):
                self._answer_when_done(answer, question)
            else:
                self._answer(answer, question)
        except EOFError:
            self._answer(END_OF_FILE, question)

    def _answer_when_there(self, answers: Observable[str], question: AnyMessage) -> None:
        answered = False

        def on_next(answer: str) -> None:
            nonlocal answered
            if not answered:
                answered = True
                self._answer_late(answer, question)

        def on_error(error: Exception) -> None:
            self._fail_to_answer(error, question)

        def on_completed() -> None:
            if not answered:
                self._give_up(question)

        self._timers.append(answers.subscribe(on_next, on_error, on_completed))

    def _answer_when_done(self, answer: Awaitable[str], question: AnyMessage) -> None:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            if inspect.iscoroutine(answer):
                answer.close()
            raise WouldDeadlock(
                "on_input gave an awaitable, and there is no event loop here to run it: "
                "subscribe or await on a loop, or return a string or an observable"
            ) from None
        task = asyncio.ensure_future(answer)

        def done(finished: asyncio.Future[str]) -> None:
            if finished.cancelled():
                self._give_up(question)
            elif (error := finished.exception()) is None:
                self._answer_late(finished.result(), question)
            else:
                self._fail_to_answer(cast(Exception, error), question)

        task.add_done_callback(done)
        loop = task.get_loop()

        def cancel() -> None:
            with suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(task.cancel)

        self._timers.append(Disposable(cancel))

    def _answer(self, value: Any, question: AnyMessage) -> None:
        with self._lock:
            if self._question is not question or self._ended:
                return  # it has been given up, or the kernel asks something else by now
            self._question = None
        try:
            self._kernel.stdin.on_next(input_reply(value, parent=question))
        except EnchannelError as error:
            self._question = question
            if isinstance(error, ConnectionLost) and self._kernel._opened().capabilities.can_resume:
                self._kept = value  # until the link is back
                return
            raise

    def resume(self) -> None:
        """The link is back: the kernel may wait for an answer that we have."""
        kept, self._kept = self._kept, None
        question = self._question
        if kept is not None and question is not None:
            self._answer_late(kept, question)

    def _answer_late(self, value: Any, question: AnyMessage) -> None:
        """Where nobody would catch what it raises."""
        try:
            self._answer(value, question)
        except EnchannelError as error:
            self._fail_to_answer(error, question)

    def _fail_to_answer(self, error: Exception, question: AnyMessage) -> None:
        if isinstance(error, EOFError):
            self._answer_late(END_OF_FILE, question)
        else:
            self._kernel.errors.report(error)
            self._give_up(question)

    def _give_up(self, question: AnyMessage) -> None:
        with self._lock:
            waits = self._question is question and not self._ended
        if waits:
            self._interrupt()

    def __str__(self) -> str:
        return f"{self._message.header.msg_type} {self.id[:8]}"
