"""Operators on messages that need neither a kernel nor a thread.

Messages with missing or invalid fields never end a stream: they emit nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar

from reactivex import Observable, abc

from enchannel._outputs.budget import validate_max_output
from enchannel._outputs.failures import FailureFinder
from enchannel._outputs.output import (
    DisplayOutput,
    Output,
    execution_count_of,
    output_of,
    updated_output_of,
)
from enchannel._outputs.outputs import Outputs
from enchannel._outputs.result import Result, ResultBuilder, copy_of_error
from enchannel._protocol.message import AnyMessage, Header, Message
from enchannel._rx.per_item import Operator, make_operator
from enchannel.errors import EnchannelError, OutputMissing, RequestAborted, RequestFailed

if TYPE_CHECKING:
    from enchannel.contents import InputRequest, Payload

__all__ = [
    "accumulate_outputs",
    "check",
    "execution_counts",
    "input_requests",
    "kernel_statuses",
    "outputs",
    "payloads",
    "to_result",
    "until_idle",
    "updated_outputs",
    "with_comm_id",
]

B = TypeVar("B")
# Operators of M return a literal Callable: through the alias Operator, mypy cannot infer M in a pipe.
M = TypeVar("M", bound=AnyMessage)


def with_comm_id(comm_id: str) -> Callable[[Observable[M]], Observable[M]]:
    """Emit only the messages of one comm.

    Args:
        comm_id: The id of the comm, as in ``message.content["comm_id"]``.

    Example:
        >>> updates = kernel.iopub.pipe(ec.with_comm_id(comm.id))
    """

    def pick(message: M) -> Iterable[M]:
        if message.content.get("comm_id") == comm_id:
            yield message

    return _picked(lambda: pick)


def outputs() -> Operator[AnyMessage, Output]:
    """Emit each stream, display, result and error message as an nbformat 4 output.

    One dict per message; ``accumulate_outputs`` also joins streams, updates displays and clears.

    Example:
        >>> kernel.execute("print('hello')").pipe(ec.outputs()).subscribe(print)
    """
    return _picked(lambda: _optional(output_of))


def updated_outputs() -> Operator[AnyMessage, DisplayOutput]:
    """Emit the new content of each updated display as an nbformat 4 output.

    The output has one more key than nbformat defines: ``transient``, with the ``display_id`` of the
    display to replace.

    Example:
        >>> kernel.iopub.pipe(ec.updated_outputs()).subscribe(redraw)
    """
    return _picked(lambda: _optional(updated_output_of))


def payloads() -> Operator[AnyMessage, Payload]:
    """Emit each payload of successful ``execute_reply`` messages, such as a page to show.

    Example:
        >>> kernel.execute("len?").pipe(ec.payloads()).subscribe(show_page)
    """

    def pick(message: AnyMessage) -> Iterable[Any]:
        if message.header.msg_type != "execute_reply":
            return ()
        if message.content.get("status", "ok") != "ok":
            return ()
        payload = message.content.get("payload")
        if not isinstance(payload, list):
            return ()
        return [entry for entry in payload if isinstance(entry, dict)]

    return _picked(lambda: pick)


def execution_counts() -> Operator[AnyMessage, int]:
    """Emit the number of each execution once: on its ``execute_input``, or else on its reply.

    Example:
        >>> kernel.execute("6 * 7").pipe(ec.execution_counts()).subscribe(set_prompt)
    """

    def start() -> Callable[[AnyMessage], Iterable[int]]:
        latest: tuple[str, int] | None = None

        def pick(message: AnyMessage) -> Iterable[int]:
            nonlocal latest
            msg_type = message.header.msg_type
            if msg_type not in ("execute_input", "execute_reply"):
                return
            count = execution_count_of(message.content)
            if count is None:
                return
            current = (message.parent_header.msg_id, count)
            if msg_type == "execute_reply" and current == latest:
                return
            latest = current
            yield count

        return pick

    return _picked(start)


def kernel_statuses() -> Operator[AnyMessage, str]:
    """Emit the kernel's execution states: ``"busy"``, ``"idle"``, ``"starting"``; servers add others.

    Example:
        >>> kernel.iopub.pipe(ec.kernel_statuses()).subscribe(print)
    """

    def pick(message: AnyMessage) -> Iterable[str]:
        if message.header.msg_type == "status":
            state = message.content.get("execution_state")
            if isinstance(state, str):
                yield state

    return _picked(lambda: pick)


def input_requests() -> Operator[AnyMessage, InputRequest]:
    """Emit the kernel's requests for input: the ``prompt``, and ``password`` for hidden input.

    Example:
        >>> kernel.stdin.pipe(ec.input_requests()).subscribe(
        ...     lambda request: print(request["prompt"])
        ... )
    """

    def pick(message: AnyMessage) -> Iterable[Any]:
        if message.header.msg_type == "input_request":
            yield message.content

    return _picked(lambda: pick)


def accumulate_outputs() -> Operator[AnyMessage, Outputs]:
    """Emit all outputs so far, as an immutable ``Outputs``, after each message that changes them.

    If there were no changes, an empty ``Outputs`` is emitted on completion.

    Example:
        >>> kernel.execute(code).pipe(ec.accumulate_outputs()).subscribe(show)
    """

    def accumulated(source: Observable[AnyMessage]) -> Observable[Outputs]:
        def subscribe(
            observer: abc.ObserverBase[Outputs], scheduler: abc.SchedulerBase | None = None
        ) -> abc.DisposableBase:
            so_far = Outputs()
            has_emitted = False

            def on_next(message: AnyMessage) -> None:
                nonlocal so_far, has_emitted
                if not isinstance(message, Message):
                    return
                before, so_far = so_far, so_far.add(message)
                if not so_far.is_unchanged_from(before):
                    has_emitted = True
                    observer.on_next(so_far)

            def on_completed() -> None:
                if not has_emitted:
                    observer.on_next(so_far)
                observer.on_completed()

            return source.subscribe(on_next, observer.on_error, on_completed, scheduler=scheduler)

        return Observable(subscribe)

    return accumulated


def until_idle(
    parent: AnyMessage | Header | None = None,
) -> Callable[[Observable[M]], Observable[M]]:
    """Emit messages up to and including the first ``idle`` status, then complete.

    Args:
        parent: The request whose idle status ends the stream; None accepts any idle status.

    Example:
        >>> kernel.iopub.pipe(ec.until_idle(request)).subscribe(print)
    """
    header = parent.header if isinstance(parent, Message) else parent

    def start(observer: abc.ObserverBase[M]) -> Callable[[M], None]:
        def on_next(message: M) -> None:
            observer.on_next(message)
            if _is_idle_status(message, header):
                observer.on_completed()

        return on_next

    return make_operator(start)


def to_result(*, check: bool = True, max_output: int | None = None) -> Operator[AnyMessage, Result]:
    """Emit one ``Result`` built from the messages of a request, when the request completes.

    If the request fails with an error that has a ``result`` attribute (``RequestTimeout``,
    ``KernelDied``, ``ConnectionLost``), the attribute is set to the incomplete result.

    Args:
        check: Fail if the code raised or was not run; False emits the result in these cases too.
        max_output: The maximum size of the kept outputs, about in characters; ``Result.truncated``
            is True if more arrived. None keeps all output.

    Raises:
        KernelError: the code raised, with ``check``.
        RequestAborted: the kernel did not run the code, with ``check``.
        OutputMissing: output was lost, with ``check``.
        TypeError, ValueError: ``max_output`` is invalid.

    Example:
        >>> result = await kernel.execute("6 * 7").pipe(ec.to_result())
    """

    validate_max_output(max_output)

    def fold(source: Observable[AnyMessage]) -> Observable[Result]:
        def subscribe(
            observer: abc.ObserverBase[Result], scheduler: abc.SchedulerBase | None = None
        ) -> abc.DisposableBase:
            builder = ResultBuilder(max_output)
            elapsed = _stopwatch(scheduler)

            def on_next(message: AnyMessage) -> None:
                if isinstance(message, Message):
                    builder.add(message)

            def on_error(error: Exception) -> None:
                if isinstance(error, OutputMissing):
                    finish(builder.build(elapsed(), output_missing=True))
                    return
                result = builder.build(elapsed())
                if isinstance(error, RequestAborted) and result.status == "aborted":
                    finish(result)
                    return
                if isinstance(error, RequestFailed) and error.result is None:
                    # A copy, because the source may pass one error to several subscribers.
                    error = copy_of_error(error)
                    error.result = result
                observer.on_error(error)

            def on_completed() -> None:
                finish(builder.build(elapsed()))

            def finish(result: Result) -> None:
                try:
                    if check:
                        result.check()
                except EnchannelError as failure:
                    observer.on_error(failure)
                    return
                observer.on_next(result)
                observer.on_completed()

            return source.subscribe(on_next, on_error, on_completed, scheduler=scheduler)

        return Observable(subscribe)

    return fold


def check() -> Callable[[Observable[M]], Observable[M]]:
    """Emit all messages, and fail in place of completing if a request failed.

    Without it, an observable of messages completes also when the code raised: only the reply tells.
    Use it before operators that emit anything but messages. Of several requests, the first failure counts.
    ``to_result`` checks by itself, and keeps the outputs in ``error.result``.

    Raises:
        KernelError: the code raised, or the request was answered with an error.
        RequestAborted: the kernel did not run the request.

    Example:
        >>> await kernel.execute("1 / 0").pipe(ec.check())
        Traceback (most recent call last):
            ...
        enchannel.errors.KernelError: ZeroDivisionError: division by zero
    """

    def checked(source: Observable[M]) -> Observable[M]:
        def subscribe(
            observer: abc.ObserverBase[M], scheduler: abc.SchedulerBase | None = None
        ) -> abc.DisposableBase:
            finder = FailureFinder()

            def on_next(message: M) -> None:
                if isinstance(message, Message):
                    finder.add(message)
                observer.on_next(message)

            def on_completed() -> None:
                failure = finder.failure()
                if failure is None:
                    observer.on_completed()
                else:
                    observer.on_error(failure)

            return source.subscribe(on_next, observer.on_error, on_completed, scheduler=scheduler)

        return Observable(subscribe)

    return checked


def _picked(
    start: Callable[[], Callable[[M], Iterable[B]]],
) -> Callable[[Observable[M]], Observable[B]]:
    """Return an operator that emits the values that a function picks from each message.

    Args:
        start: Returns that function; called for each subscription.
    """

    def begin(observer: abc.ObserverBase[B]) -> Callable[[M], None]:
        pick = start()

        def on_next(message: M) -> None:
            if isinstance(message, Message):
                for value in pick(message):
                    observer.on_next(value)

        return on_next

    return make_operator(begin)


def _optional(function: Callable[[AnyMessage], B | None]) -> Callable[[AnyMessage], Iterable[B]]:
    def pick(message: AnyMessage) -> Iterable[B]:
        value = function(message)
        if value is not None:
            yield value

    return pick


def _is_idle_status(message: AnyMessage, parent: Header | None) -> bool:
    return (
        isinstance(message, Message)
        and message.header.msg_type == "status"
        and message.content.get("execution_state") == "idle"
        and (parent is None or message.parent_header.msg_id == parent.msg_id)
    )


def _stopwatch(scheduler: abc.SchedulerBase | None) -> Callable[[], float]:
    # Not only None: a PipeEnd is false as well.
    if not scheduler:
        started_at = time.monotonic()
        return lambda: time.monotonic() - started_at
    start = scheduler.now
    return lambda: max((scheduler.now - start).total_seconds(), 0.0)
