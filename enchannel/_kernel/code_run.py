"""Running code to its end: the steps that ``run`` and ``arun`` share."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Generator
from typing import Protocol, TypeAlias

from enchannel._kernel.in_flight import InFlightRequest, Progress
from enchannel._kernel.request_registry import Request, start
from enchannel._outputs.budget import validate_max_output
from enchannel._outputs.result import RequestAborted, Result, ResultBuilder, copy_of_error
from enchannel._protocol.message import AnyMessage
from enchannel._rx.waiting import AsyncWaiter, Waiter
from enchannel.errors import OutputMissing, RequestFailed, RequestTimeout

__all__ = ["CodeRun"]

INTERRUPT_GRACE = 1.0  # for interrupted code to end

Steps: TypeAlias = Generator[float | None, bool, Result]
"""Yields the seconds to wait for the end of the request, and is sent True if it ended in this time."""


class Outcome(Protocol):
    """The end of a request."""

    def last(self) -> AnyMessage:
        """Return the reply, or raise the error of the request."""
        ...


class CodeRun:
    """One run of code: collects the output, interrupts the code if it is abandoned, builds the result.

    Args:
        request: The request, which interrupts the kernel if it is abandoned and has no timeout of its own.
        timeout: Seconds after which the code is interrupted, or None.
        check: Raise if the code raised.
        max_output: Characters of output to keep, or None.

    Raises:
        TypeError, ValueError: ``max_output`` is invalid.
    """

    def __init__(
        self, request: Request, *, timeout: float | None, check: bool, max_output: int | None
    ) -> None:
        validate_max_output(max_output)
        self._request = request
        self._timeout = timeout
        self._check = check
        self._builder = ResultBuilder(max_output)
        self._started = 0.0

    def run(self) -> Result:
        """Send the request and block until its end."""
        waiter: Waiter[AnyMessage] = Waiter(self._builder.add)
        self._started = time.monotonic()
        request = start(self._request, waiter)
        with request:
            steps = self._steps(request, waiter)
            try:
                seconds = next(steps)
                while True:
                    try:
                        has_ended = waiter.wait(seconds)
                    # Ctrl-C, or an on_input that raised.
                    except BaseException as error:
                        seconds = steps.throw(error)
                    else:
                        seconds = steps.send(has_ended)
            except StopIteration as end:
                result: Result = end.value
                return result

    async def arun(self) -> Result:
        """Send the request and wait for its end in a coroutine."""
        waiter: AsyncWaiter[AnyMessage] = AsyncWaiter(asyncio.get_running_loop(), self._builder.add)
        self._started = time.monotonic()
        request = start(self._request, waiter)
        with request:
            steps = self._steps(request, waiter)
            try:
                seconds = next(steps)
                while True:
                    try:
                        has_ended = await waiter.wait(seconds)
                    # A cancellation, or an on_input that raised.
                    except BaseException as error:
                        seconds = steps.throw(error)
                    else:
                        seconds = steps.send(has_ended)
            except StopIteration as end:
                result: Result = end.value
                return result

    def _steps(self, request: InFlightRequest, outcome: Outcome) -> Steps:
        try:
            has_ended = yield self._timeout
        # The coroutine was dropped and cannot wait; disposing of the request interrupts the code.
        except GeneratorExit:
            raise
        except BaseException:
            yield from self._interrupt(request)
            raise
        if not has_ended:
            result = self._result()
            what = yield from self._interrupt(request)
            raise self._timeout_error(result, what)
        try:
            outcome.last()
        except OutputMissing:
            result = self._result(output_missing=True)
        except RequestFailed as failed:
            if not self._check and isinstance(failed, RequestAborted):
                return self._result()
            # A copy, because the error may be that of several requests.
            failed = copy_of_error(failed)
            failed.result = self._result()
            raise failed from None
        else:
            result = self._result()
        return result.check() if self._check else result

    def _interrupt(self, request: InFlightRequest) -> Generator[float, bool, str]:
        """Interrupt a request and wait for its end; return its state in words, for an error."""
        is_link_lost, reason = request.is_link_lost, request.reason_for_waiting
        match request.interrupt():
            case Progress.WAITING:
                return f"was not sent, because {reason}"
            case Progress.DONE | Progress.ENDED:
                return "has ended, but its reply or its idle status has not arrived"
            case _ if is_link_lost:
                return "may run on, because the connection is lost"
            case _ if not request.can_interrupt:
                return "goes on, because an interrupt does not reach a subshell"
            case Progress.SENT:
                return "has not started; it will be interrupted when it does"
            case _:
                has_ended = yield INTERRUPT_GRACE
                return "was interrupted" if has_ended else "was interrupted, but goes on"

    def _timeout_error(self, result: Result, what: str) -> RequestTimeout:
        count = len(result.outputs)
        error = RequestTimeout(
            f"the code did not finish within {self._timeout:g} s and {what}; "
            f"{count} output{'' if count == 1 else 's'} received"
        )
        error.result = result
        return error

    def _result(self, *, output_missing: bool = False) -> Result:
        duration = time.monotonic() - self._started
        return self._builder.build(duration, output_missing=output_missing)
