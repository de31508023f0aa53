"""What can be asked of a kernel, or of one of its subshells."""

from __future__ import annotations

import itertools
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Literal, cast

from reactivex import Observable

from enchannel import messages as build
from enchannel._kernel.in_flight import DEFAULT_TIMEOUT, InFlightRequest, Request
from enchannel._kernel.stdin import OnInput
from enchannel._outputs.result import Result, ResultBuilder, copy_of_error
from enchannel._protocol.message import AnyMessage
from enchannel._rx.waiting import Waiter, refuse_to_block
from enchannel.errors import ConnectionLost, KernelDied, RequestTimeout

__all__ = ["Requests", "validate_timeout"]

_debug_numbers = itertools.count(1)

INTERRUPT_GRACE = 1.0  # for interrupted code to end


class Requests(ABC):
    """The requests of the protocol, each as a cold observable: subscribing sends it.

    Items are all messages that belong to it, in order of arrival, the reply last, so that
    ``await kernel.kernel_info()`` is the reply. Each subscription is a request of its own; to watch one
    execution twice, ``share()`` it.
    """

    @abstractmethod
    def request(
        self,
        message: AnyMessage,
        *,
        timeout: float | None = DEFAULT_TIMEOUT,
        idle_grace: float | None = None,
        on_dispose: Literal["interrupt"] | None = None,
        on_input: OnInput | None = None,
    ) -> Observable[AnyMessage]:
        """Any request, as a cold observable.

        Args:
            message: On which channel it goes, it says itself.
            timeout: Seconds for the whole answer; None: as long as kernel and connection live.
            idle_grace: Seconds that the reply is held for an idle that does not come, and no output
                either; then the request completes, and ``errors`` says that output may be missing. By
                default what the backend says (2 s, or 10 s over a server).
            on_dispose: ``"interrupt"`` interrupts the kernel, while it is at work on this
                request, when the subscription is disposed of. The default only stops listening.
            on_input: Answers the kernel's ``input()``; called where the subscriber is called. It
                gets the prompt and whether it is for a password, and returns the text, an
                awaitable or an observable of it. An EOFError is the end of the kernel's stdin.

        Errors of the observable:
            InvalidMessage, ChannelClosed: it was not sent.
            RequestTimeout: the answer was not complete in time.
            KernelDied, ConnectionLost: it will not be answered.
        """

    def execute(
        self,
        code: str,
        *,
        silent: bool = False,
        store_history: bool = True,
        user_expressions: Mapping[str, str] | None = None,
        allow_stdin: bool | None = None,
        stop_on_error: bool = True,
        timeout: float | None = None,
        idle_grace: float | None = None,
        on_dispose: Literal["interrupt"] | None = None,
        on_input: OnInput | None = None,
    ) -> Observable[AnyMessage]:
        """Run code; the items are its output as it comes.

        Args:
            code: In the kernel's language.
            silent: Leave no trace in history and counters.
            store_history: Whether the kernel keeps it.
            user_expressions: Evaluated after the code; their values are in the reply.
            allow_stdin: Whether code may ask for input; by default it may where ``on_input`` is
                given. With True and no ``on_input``, answer on ``kernel.stdin`` yourself.
            stop_on_error: Whether an error aborts the requests that are queued behind it.
            timeout, idle_grace, on_dispose, on_input: As for ``request``; there is no timeout by
                default.
        """
        message = build.execute_request(
            code,
            silent=silent,
            store_history=store_history,
            user_expressions=user_expressions,
            allow_stdin=on_input is not None if allow_stdin is None else allow_stdin,
            stop_on_error=stop_on_error,
        )
        return self.request(
            message,
            timeout=timeout,
            idle_grace=idle_grace,
            on_dispose=on_dispose,
            on_input=on_input,
        )

    def run(
        self,
        code: str,
        *,
        timeout: float | None = None,
        check: bool = True,
        max_output: int | None = None,
        on_input: OnInput | None = None,
    ) -> Result:
        """Run code and wait for it, in the manner of ``subprocess.run``.

        Ctrl-C interrupts the kernel as well.

        Args:
            code: In the kernel's language.
            timeout: Seconds; then the code is interrupted, or if its turn has not come, when it comes.
            check: Raise if the code does; False: the result says so.
            max_output: Characters of output to keep; the result says if there was more.
            on_input: Answers ``input()`` on this thread: given the prompt and whether it is for
                a password, it returns the text.

        Raises:
            KernelError: the code raised.
            RequestAborted: the kernel did not run it.
            RequestTimeout, KernelDied, ConnectionLost: there is no answer; ``result`` of the error
                is what had arrived by then.
            WouldDeadlock: on a running event loop, or on a thread that delivers messages.
            ValueError: a timeout or limit that makes no sense; nothing was sent.
        """
        refuse_to_block("run")
        validate_timeout(timeout)
        if max_output is not None and max_output < 0:
            raise ValueError(f"max_output is {max_output}, and has to be a number of characters")
        builder = ResultBuilder(max_output)
        message = build.execute_request(code, allow_stdin=on_input is not None)
        # Every implementation of request() returns a Request.
        request = cast(Request, self.request(message, timeout=None, on_input=on_input))
        started = time.monotonic()
        waiter: Waiter[AnyMessage] = Waiter(builder.add)
        in_flight = request.attach(waiter)
        with in_flight:
            try:
                waiter.wait(timeout)
                waiter.last()
            except RequestTimeout as late:
                result = builder.build(time.monotonic() - started)
                stopped = _stop(in_flight, waiter)
                what = "was interrupted" if stopped else "has not begun, and will be interrupted"
                text = f"the code did not finish within {timeout:g} s, and {what}"
                error = RequestTimeout(f"{text}; {_arrived(result)}")
                error.result = result
                raise error from late
            except (KernelDied, ConnectionLost) as ended:
                ended = copy_of_error(ended)
                ended.result = builder.build(time.monotonic() - started)
                raise ended from None
            except BaseException:  # Ctrl-C, or an on_input that raised
                _stop(in_flight, waiter)
                raise
        result = builder.build(time.monotonic() - started)
        return result.check() if check else result

    def kernel_info(self, *, timeout: float | None = DEFAULT_TIMEOUT) -> Observable[AnyMessage]:
        """What kernel this is, and what language it speaks."""
        return self.request(build.kernel_info_request(), timeout=timeout)

    def complete(
        self, code: str, cursor_pos: int | None = None, *, timeout: float | None = DEFAULT_TIMEOUT
    ) -> Observable[AnyMessage]:
        """How the code could go on; ``cursor_pos`` counts code points, and is the end by default."""
        return self.request(build.complete_request(code, cursor_pos), timeout=timeout)

    def inspect(
        self,
        code: str,
        cursor_pos: int | None = None,
        *,
        detail_level: Literal[0, 1] = 0,
        timeout: float | None = DEFAULT_TIMEOUT,
    ) -> Observable[AnyMessage]:
        """What the kernel knows of the name at the cursor; level 1 asks for its source."""
        message = build.inspect_request(code, cursor_pos, detail_level=detail_level)
        return self.request(message, timeout=timeout)

    def history(
        self,
        access_type: Literal["range", "tail", "search"] = "tail",
        *,
        timeout: float | None = DEFAULT_TIMEOUT,
        **options: Any,
    ) -> Observable[AnyMessage]:
        """What was run before; ``options`` are those of ``history_request``."""
        return self.request(build.history_request(access_type, **options), timeout=timeout)

    def is_complete(
        self, code: str, *, timeout: float | None = DEFAULT_TIMEOUT
    ) -> Observable[AnyMessage]:
        """Whether the code can be run as it is, or a prompt should ask for more."""
        return self.request(build.is_complete_request(code), timeout=timeout)

    def comm_info(
        self, target_name: str | None = None, *, timeout: float | None = DEFAULT_TIMEOUT
    ) -> Observable[AnyMessage]:
        """The comms that are open, of one target or all."""
        return self.request(build.comm_info_request(target_name), timeout=timeout)

    def debug(
        self,
        command: str,
        arguments: Mapping[str, Any] | None = None,
        *,
        timeout: float | None = DEFAULT_TIMEOUT,
    ) -> Observable[AnyMessage]:
        """A request of the Debug Adapter Protocol; the reply's content is its response."""
        message = build.debug_request(command, arguments, seq=next(_debug_numbers))
        return self.request(message, timeout=timeout)


def validate_timeout(timeout: float | None) -> None:
    """Raise ValueError for a timeout that is none, before anything is sent."""
    if timeout is None:
        return
    if not isinstance(timeout, (int, float)) or not 0 < timeout < math.inf:
        raise ValueError(
            f"the timeout is {timeout!r}, and has to be seconds, or None for no timeout"
        )


def _stop(request: InFlightRequest, waiter: Waiter[AnyMessage]) -> bool:
    """Interrupt a request and wait for its end; return False if it has not started.

    A request that is sent before the end of the interrupted one would be aborted with it.
    """
    if not request.interrupt():
        request.interrupt_when_running()
        return False
    with suppress(RequestTimeout):
        waiter.wait(INTERRUPT_GRACE)
    return True


def _arrived(result: Result) -> str:
    count = len(result.outputs)
    return f"{count} output{'' if count == 1 else 's'} had arrived"
