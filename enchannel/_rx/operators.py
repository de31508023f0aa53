"""Operators that look at messages and need nothing else: no kernel and no thread.

None ends a stream because of one odd message: what a message does not say is not emitted.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from reactivex import Observable, abc

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
from enchannel.errors import EnchannelError, RequestFailed

if TYPE_CHECKING:
    from enchannel.contents import InputRequest, Payload

__all__ = [
    "accumulate_outputs",
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

A = TypeVar("A")
B = TypeVar("B")
M = TypeVar("M", bound=AnyMessage)

Operator: TypeAlias = Callable[[Observable[A]], Observable[B]]


def with_comm_id(comm_id: str) -> Callable[[Observable[M]], Observable[M]]:
    """Only what is said on one comm."""

    def pick(message: M) -> Iterable[M]:
        if message.content.get("comm_id") == comm_id:
            yield message

    return _picked(lambda: pick)


def outputs() -> Operator[AnyMessage, Output]:
    """Each output as nbformat has it: what is printed, displayed, returned and raised.

    One dict a message: to join streams, update displays and clear, there is ``accumulate_outputs``.
    """
    return _picked(lambda: _optional(output_of))


def updated_outputs() -> Operator[AnyMessage, DisplayOutput]:
    """What is shown in place of an earlier display, as nbformat has it.

    With ``transient``, whose ``display_id`` says in place of which; nbformat does not know that.
    """
    return _picked(lambda: _optional(updated_output_of))


def payloads() -> Operator[AnyMessage, Payload]:
    """What the replies ask of a front end: to show a page, to set the next input, …"""

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
    """The number of each execution, once: as it begins, or with its reply if that was not told."""

    def start() -> Callable[[AnyMessage], Iterable[int]]:
        told: tuple[str, int] | None = None

        def pick(message: AnyMessage) -> Iterable[int]:
            nonlocal told
            msg_type = message.header.msg_type
            if msg_type not in ("execute_input", "execute_reply"):
                return
            count = execution_count_of(message.content)
            if count is None:
                return
            now = (message.parent_header.msg_id, count)
            if msg_type == "execute_reply" and now == told:
                return
            told = now
            yield count

        return pick

    return _picked(start)


def kernel_statuses() -> Operator[AnyMessage, str]:
    """What the kernel says of itself: ``"busy"``, ``"idle"``, ``"starting"``; servers say more."""

    def pick(message: AnyMessage) -> Iterable[str]:
        if message.header.msg_type == "status":
            state = message.content.get("execution_state")
            if isinstance(state, str):
                yield state

    return _picked(lambda: pick)


def input_requests() -> Operator[AnyMessage, InputRequest]:
    """What the kernel asks its user: the ``prompt``, and whether it is for a ``password``."""

    def pick(message: AnyMessage) -> Iterable[Any]:
        if message.header.msg_type == "input_request":
            yield message.content

    return _picked(lambda: pick)


def accumulate_outputs() -> Operator[AnyMessage, Outputs]:
    """The outputs so far, whenever a message changes them; each is a value that stays as it is."""

    def start() -> Callable[[AnyMessage], Iterable[Outputs]]:
        so_far = Outputs()

        def pick(message: AnyMessage) -> Iterable[Outputs]:
            nonlocal so_far
            before, so_far = so_far, so_far.add(message)
            if not so_far.is_unchanged_from(before):
                yield so_far

        return pick

    return _picked(start)


def until_idle(
    parent: AnyMessage | Header | None = None,
) -> Callable[[Observable[M]], Observable[M]]:
    """The messages up to the first that says ``idle``, and that one too.

    Args:
        parent: The request whose idle it is; without one, any idle will do.
    """
    header = parent.header if isinstance(parent, Message) else parent

    def until(source: Observable[M]) -> Observable[M]:
        def subscribe(
            observer: abc.ObserverBase[M], scheduler: abc.SchedulerBase | None = None
        ) -> abc.DisposableBase:
            def on_next(message: M) -> None:
                observer.on_next(message)
                if _says_idle(message, header):
                    observer.on_completed()

            return source.subscribe(
                on_next, observer.on_error, observer.on_completed, scheduler=scheduler
            )

        return Observable(subscribe)

    return until


def to_result(*, check: bool = True, max_output: int | None = None) -> Operator[AnyMessage, Result]:
    """One request's messages as a ``Result``, when they are complete.

    An error that has a ``result`` (``RequestTimeout``, ``KernelDied``, ``ConnectionLost``) is given
    what had arrived by then.

    Args:
        check: End with ``KernelError`` if the code raised, ``RequestAborted`` if it was not run.
        max_output: How much output is kept, about in characters; ``Result.truncated`` tells.

    Example:
        >>> result = await kernel.execute("6 * 7").pipe(ec.to_result())
    """

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
                if isinstance(error, RequestFailed) and error.result is None:
                    error = copy_of_error(error)  # the source's own may go to several subscribers
                    error.result = builder.build(elapsed())
                observer.on_error(error)

            def on_completed() -> None:
                result = builder.build(elapsed())
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


def _picked(
    start: Callable[[], Callable[[M], Iterable[B]]],
) -> Callable[[Observable[M]], Observable[B]]:
    """What is picked from each message, one after the other; each subscription starts anew."""

    def operator(source: Observable[M]) -> Observable[B]:
        def subscribe(
            observer: abc.ObserverBase[B], scheduler: abc.SchedulerBase | None = None
        ) -> abc.DisposableBase:
            pick = start()

            def on_next(message: M) -> None:
                if isinstance(message, Message):
                    for value in pick(message):
                        observer.on_next(value)

            return source.subscribe(
                on_next, observer.on_error, observer.on_completed, scheduler=scheduler
            )

        return Observable(subscribe)

    return operator


def _optional(function: Callable[[AnyMessage], B | None]) -> Callable[[AnyMessage], Iterable[B]]:
    def pick(message: AnyMessage) -> Iterable[B]:
        value = function(message)
        if value is not None:
            yield value

    return pick


def _says_idle(message: AnyMessage, parent: Header | None) -> bool:
    return (
        isinstance(message, Message)
        and message.header.msg_type == "status"
        and message.content.get("execution_state") == "idle"
        and (parent is None or message.parent_header.msg_id == parent.msg_id)
    )


def _stopwatch(scheduler: abc.SchedulerBase | None) -> Callable[[], float]:
    if scheduler is None:
        begun = time.monotonic()
        return lambda: time.monotonic() - begun
    start = scheduler.now
    return lambda: max((scheduler.now - start).total_seconds(), 0.0)
