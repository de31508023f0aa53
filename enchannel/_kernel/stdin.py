"""Answering ``input()`` in the kernel with a callback of the user."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, cast

from reactivex import Observable
from reactivex.disposable import CompositeDisposable, Disposable

from enchannel._protocol.message import AnyMessage
from enchannel._rx.loop_watch import watch_loop_of
from enchannel.abc import Capabilities
from enchannel.errors import ConnectionLost, EnchannelError, WouldDeadlock
from enchannel.messages import input_reply

__all__ = ["InputHost", "InputPrompt", "InputResponder", "OnInput"]


@dataclass(frozen=True, slots=True, kw_only=True)
class InputPrompt:
    """A call of ``input()`` in the kernel that waits for an answer, as ``on_input`` gets it.

    Attributes:
        prompt: The prompt, which may be empty.
        password: True if the answer should not be shown while it is typed.
        message: The ``input_request`` message.
    """

    prompt: str
    password: bool
    message: AnyMessage


OnInput: TypeAlias = Callable[[InputPrompt], "str | Awaitable[str] | Observable[str]"]
"""Answers ``input()`` in the kernel: called with the request, and returns the text or raises EOFError."""

END_OF_FILE = "\x04"  # ipykernel raises EOFError for it
LOOP_STOPPED = (
    "the event loop that ran the answer of on_input has stopped, so the code is interrupted; keep the "
    "loop running until the request has ended"
)


class InputHost(Protocol):
    """The interface to a kernel that answering input requests uses."""

    @property
    def capabilities(self) -> Capabilities:
        """The capabilities of the link."""
        ...

    def send(self, message: AnyMessage, /) -> None:
        """Send a message on the channel that it names."""

    def report(self, error: Exception, /) -> None:
        """Report an error that terminates nothing."""

    def interrupt(self, request_id: str, /) -> None:
        """Interrupt the kernel, which works on this request; a failure is reported."""


class InputResponder:
    """Answers the input requests of one in-flight request.

    An answer may be a text, or an awaitable or observable of one. If there is no answer, the kernel is
    interrupted, because the code would wait for ever; code that no interrupt reaches gets an EOFError.

    Args:
        on_input: The callback of the user.
        host: The kernel.
        call: Calls a function on the thread of the subscriber.
        can_interrupt: An interrupt reaches the code.
    """

    def __init__(
        self,
        on_input: OnInput,
        host: InputHost,
        call: Callable[[Callable[[], None]], None],
        *,
        can_interrupt: bool,
    ) -> None:
        self._can_interrupt = can_interrupt
        self._on_input = on_input
        self._host = host
        self._call = call
        self._lock = threading.Lock()
        self._pending: AnyMessage | None = None
        self._unsent_answer: Any = None  # kept until the link is back
        self._answers = CompositeDisposable()

    @property
    def is_pending(self) -> bool:
        """True while the kernel waits for an answer."""
        return self._pending is not None

    def on_request(self, request: AnyMessage) -> None:
        """Call the user's callback for an ``input_request``."""
        with self._lock:
            self._pending = request
        self._call(lambda: self._ask(request))

    def on_idle(self) -> None:
        """Forget a pending input request: the code has ended."""
        with self._lock:
            self._pending = None

    def on_reconnect(self) -> None:
        """Send the answer that could not be sent while the link was lost."""
        answer, self._unsent_answer = self._unsent_answer, None
        request = self._pending
        if answer is not None and request is not None:
            self._send_or_report(answer, request)

    def close(self) -> None:
        """Cancel awaitables and subscriptions of the user, and send no answer any more."""
        self._answers.dispose()

    def give_up(self) -> None:
        """Answer no more: the caller interrupts the kernel."""
        with self._lock:
            self._pending = None

    def end_of_file(self) -> None:
        """Let a pending ``input()`` raise EOFError."""
        request = self._pending
        if request is None:
            return
        try:
            self._send(END_OF_FILE, request)
        except EnchannelError as error:
            self._host.report(error)

    def _ask(self, request: AnyMessage) -> None:
        prompt = request.content.get("prompt")
        password = bool(request.content.get("password"))
        try:
            answer = self._on_input(
                InputPrompt(
                    prompt=prompt if isinstance(prompt, str) else "",
                    password=password,
                    message=request,
                )
            )
            if isinstance(answer, Observable):
                self._subscribe(answer, request)
            elif inspect.isawaitable(answer):
                self._schedule(answer, request)
            else:
                self._send(answer, request)
        except EOFError:
            self._send(END_OF_FILE, request)
        except StopIteration as error:
            # It would end the generator that calls this.
            raise RuntimeError("on_input raised StopIteration") from error

    def _subscribe(self, answers: Observable[str], request: AnyMessage) -> None:
        is_answered = False

        def on_next(answer: str) -> None:
            nonlocal is_answered
            if not is_answered:
                is_answered = True
                self._send_or_report(answer, request)

        def on_error(error: Exception) -> None:
            self._fail(error, request)

        def on_completed() -> None:
            if not is_answered:
                self._give_up(request)

        self._answers.add(answers.subscribe(on_next, on_error, on_completed))

    def _schedule(self, answer: Awaitable[str], request: AnyMessage) -> None:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            if inspect.iscoroutine(answer):
                answer.close()
            raise WouldDeadlock(
                "on_input returned an awaitable on a thread without a running event loop; use "
                "`await kernel.arun(…)` or subscribe on an event loop, or return a string or an observable"
            ) from None
        task = asyncio.ensure_future(answer)

        def on_done(finished: asyncio.Future[str]) -> None:
            if finished.cancelled():
                self._give_up(request)
            elif (error := finished.exception()) is None:
                self._send_or_report(finished.result(), request)
            else:
                self._fail(cast(Exception, error), request)

        task.add_done_callback(on_done)
        loop = task.get_loop()

        def cancel() -> None:
            with suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(task.cancel)

        self._answers.add(Disposable(cancel))
        watched = _AnswerTask(task, lambda: self._fail(EnchannelError(LOOP_STOPPED), request))
        # Keeps the object alive until the task is done.
        task.add_done_callback(watched.on_done)
        watch_loop_of(watched)

    def _send(self, answer: Any, request: AnyMessage) -> None:
        with self._lock:
            if not self._is_awaited(request):
                return
            self._pending = None
        try:
            self._host.send(input_reply(answer, parent=request))
        except EnchannelError as error:
            self._pending = request
            if isinstance(error, ConnectionLost) and self._host.capabilities.can_resume:
                self._unsent_answer = answer
                return
            raise

    def _send_or_report(self, answer: Any, request: AnyMessage) -> None:
        try:
            self._send(answer, request)
        except EnchannelError as error:
            self._fail(error, request)

    def _fail(self, error: Exception, request: AnyMessage) -> None:
        if isinstance(error, EOFError):
            self._send_or_report(END_OF_FILE, request)
        else:
            self._host.report(error)
            self._give_up(request)

    def _give_up(self, request: AnyMessage) -> None:
        with self._lock:
            is_awaited = self._is_awaited(request)
        if not is_awaited:
            return
        if not self._can_interrupt:
            self.end_of_file()
        else:
            self.give_up()
            self._host.interrupt(request.parent_header.msg_id)

    def _is_awaited(self, request: AnyMessage) -> bool:
        """Return False if the code has ended, or the kernel has sent another input request since."""
        return self._pending is request and not self._answers.is_disposed


class _AnswerTask:
    """A task that computes an answer, on a loop that may stop before the task is done.

    Args:
        task: The task.
        on_loop_stopped: Called if its loop has been closed.
    """

    def __init__(self, task: asyncio.Future[str], on_loop_stopped: Callable[[], None]) -> None:
        self._task = task
        self._on_loop_stopped = on_loop_stopped
        self._is_given_up = False

    def is_done(self) -> bool:
        return self._is_given_up or self._task.done()

    def give_up_if_stopped(self) -> None:
        if self._task.get_loop().is_closed():
            self._is_given_up = True
            self._on_loop_stopped()

    def on_done(self, _: asyncio.Future[str]) -> None:
        self._is_given_up = True
