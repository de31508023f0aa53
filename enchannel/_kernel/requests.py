"""The requests that a kernel and its subshells have in common."""

from __future__ import annotations

import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, Literal, cast, overload

from reactivex import Observable

from enchannel import messages as build
from enchannel._kernel.code_run import CodeRun
from enchannel._kernel.in_flight import DEFAULT_TIMEOUT
from enchannel._kernel.request_registry import Request, reply_of
from enchannel._kernel.stdin import OnInput
from enchannel._outputs.result import Result
from enchannel._protocol.argument_types import validate_flags, validate_type
from enchannel._protocol.message import AnyMessage, Message
from enchannel._rx.waiting import refuse_to_block
from enchannel.contents import (
    CommInfoReply,
    CompleteReply,
    DebugReply,
    HistoryReply,
    InspectReply,
    IsCompleteReply,
    KernelInfoReply,
)

__all__ = ["Requests", "validate_on_input", "validate_timeout"]

_debug_numbers = itertools.count(1)


class Requests(ABC):
    """The requests of the protocol, each as a cold observable: subscribing sends the request.

    Each subscription sends a request of its own; use ``share()`` to observe one execution twice.

    The items of ``execute`` and ``request`` are all messages that belong to the request, in order of
    arrival; the reply is the last one. The other requests emit exactly one item, the reply, and fail with
    RequestFailed if the kernel answers with a message of another type. A reply may have the status
    ``"error"`` and lack the other fields; ``pipe(ec.check())`` raises for it. A request that the kernel
    aborts fails with RequestAborted after its reply.
    """

    @abstractmethod
    def request(
        self,
        message: AnyMessage,
        *,
        timeout: float | None = DEFAULT_TIMEOUT,
        idle_grace: float | None = None,
        interrupt_if_abandoned: bool = False,
        on_input: OnInput | None = None,
    ) -> Observable[AnyMessage]:
        """Return any request as a cold observable.

        Args:
            message: The request; it names its channel.
            timeout: Seconds for the whole answer; None: no timeout.
            idle_grace: Seconds to wait for the idle status after the reply, renewed by output. Then a
                small request to the kernel finds out if it is still to come. The default is that of the
                backend (2 s, or 10 s over a server).
            interrupt_if_abandoned: Interrupt the kernel if the timeout expires, the subscription is
                disposed of or the task that awaits it is cancelled while the kernel works on this request.
                If it has not started by then, it is interrupted when it starts. By default, it runs on.
                Code in a subshell runs on in any case, because an interrupt does not reach it, but its
                ``input()`` raises EOFError.
            on_input: Answers ``input()`` in the kernel, on the thread of the subscriber: called with an
                ``InputPrompt``, and returns the text, or an awaitable or observable of it. If it raises
                EOFError, ``input()`` does as well.

        Errors of the observable:
            InvalidMessage, ChannelClosed: the request was not sent.
            RequestTimeout: the answer was not complete within ``timeout``.
            RequestAborted: the kernel aborted it, because an earlier request failed or was interrupted.
            KernelDied, ConnectionLost: the request will not be answered.
            OutputMissing: the reply was emitted, but the kernel or the connection has dropped messages.
        """

    def execute(
        self,
        code: str,
        *,
        silent: bool = False,
        store_history: bool = True,
        user_expressions: Mapping[str, str] | None = None,
        allow_stdin: bool | None = None,
        stop_on_error: bool | None = None,
        timeout: float | None = None,
        idle_grace: float | None = None,
        interrupt_if_abandoned: bool = False,
        on_input: OnInput | None = None,
    ) -> Observable[AnyMessage]:
        """Run code; the items are its output as it arrives.

        Args:
            code: The code, in the kernel's language.
            silent: Do not count, store or publish the execution.
            store_history: Add it to the kernel's history.
            user_expressions: Expressions to evaluate after the code; the reply has their values.
            allow_stdin: Allow the code to call ``input()``; by default only if ``on_input`` is given.
                With True and no ``on_input``, answer on ``kernel.stdin``.
            stop_on_error: Abort the requests that are queued behind it if the code raises. By default,
                unless the library may interrupt it (with ``interrupt_if_abandoned`` or ``on_input``, as
                ``run`` does): an error of its own making must abort nothing.
            timeout, idle_grace, interrupt_if_abandoned, on_input: As for ``request``, but without a
                timeout by default.
        """
        validate_type("code", code, str)
        validate_flags(silent=silent, store_history=store_history)
        validate_type("stop_on_error", stop_on_error, bool | None)
        validate_type("allow_stdin", allow_stdin, bool | None)
        validate_user_expressions(user_expressions)
        may_interrupt = interrupt_if_abandoned or on_input is not None
        message = build.execute_request(
            code,
            silent=silent,
            store_history=store_history,
            user_expressions=user_expressions,
            allow_stdin=on_input is not None if allow_stdin is None else allow_stdin,
            stop_on_error=not may_interrupt if stop_on_error is None else stop_on_error,
        )
        return self.request(
            message,
            timeout=timeout,
            idle_grace=idle_grace,
            interrupt_if_abandoned=interrupt_if_abandoned,
            on_input=on_input,
        )

    def run(
        self,
        code: str,
        *,
        silent: bool = False,
        store_history: bool = True,
        user_expressions: Mapping[str, str] | None = None,
        allow_stdin: bool | None = None,
        stop_on_error: bool | None = None,
        timeout: float | None = None,
        idle_grace: float | None = None,
        on_input: OnInput | None = None,
        check: bool = True,
        max_output: int | None = None,
    ) -> Result:
        """Run code and wait for its end, like ``subprocess.run``; blocks. ``arun`` is its coroutine.

        The code is interrupted at the timeout and at Ctrl-C.

        Args:
            code: The code, in the kernel's language.
            silent, store_history, user_expressions, allow_stdin, stop_on_error, idle_grace: As for
                ``execute``.
            timeout: Seconds after which the code is interrupted; if it has not started by then, it is
                interrupted when it starts. None: no timeout.
            on_input: Answers ``input()`` on this thread, as for ``request``, but returns no awaitable.
            check: Raise if the code raises; False: return a result with its error.
            max_output: Characters of output to keep; ``Result.truncated`` is True if there was more.

        Raises:
            KernelError: the code raised.
            RequestAborted: the kernel aborted the code, because earlier code raised or was interrupted.
            RequestTimeout, KernelDied, ConnectionLost: the request was not answered; the error's ``result``
                has the output so far.
            OutputMissing: output was dropped on its way; the error's ``result`` has the rest.
            WouldDeadlock: called on a running event loop or on a thread that delivers messages.
            TypeError, ValueError: timeout, on_input or max_output is invalid; nothing was sent.
        """
        refuse_to_block(
            "run()", "use `await kernel.arun(…)`", "subscribe to `kernel.execute(…)` instead"
        )
        return self._code_run(
            code,
            silent=silent,
            store_history=store_history,
            user_expressions=user_expressions,
            allow_stdin=allow_stdin,
            stop_on_error=stop_on_error,
            timeout=timeout,
            idle_grace=idle_grace,
            on_input=on_input,
            check=check,
            max_output=max_output,
        ).run()

    async def arun(
        self,
        code: str,
        *,
        silent: bool = False,
        store_history: bool = True,
        user_expressions: Mapping[str, str] | None = None,
        allow_stdin: bool | None = None,
        stop_on_error: bool | None = None,
        timeout: float | None = None,
        idle_grace: float | None = None,
        on_input: OnInput | None = None,
        check: bool = True,
        max_output: int | None = None,
    ) -> Result:
        """Run code and wait for its end in a coroutine; otherwise as ``run``.

        The code is interrupted at the timeout, and when the task is cancelled. The cancellation then
        waits for the end of the code, for at most one second.

        Args:
            code: The code, in the kernel's language.
            silent, store_history, user_expressions, allow_stdin, stop_on_error, idle_grace: As for
                ``execute``.
            timeout, check, max_output: As for ``run``.
            on_input: Answers ``input()`` on the event loop, as for ``request``.

        Raises:
            KernelError: the code raised.
            RequestAborted: the kernel aborted the code, because earlier code raised or was interrupted.
            RequestTimeout, KernelDied, ConnectionLost: the request was not answered; the error's ``result``
                has the output so far.
            OutputMissing: output was dropped on its way; the error's ``result`` has the rest.
            TypeError, ValueError: timeout, on_input or max_output is invalid; nothing was sent.

        Example:
            >>> result = await kernel.arun("6 * 7", timeout=60)
        """
        return await self._code_run(
            code,
            silent=silent,
            store_history=store_history,
            user_expressions=user_expressions,
            allow_stdin=allow_stdin,
            stop_on_error=stop_on_error,
            timeout=timeout,
            idle_grace=idle_grace,
            on_input=on_input,
            check=check,
            max_output=max_output,
        ).arun()

    def kernel_info(
        self, *, timeout: float | None = DEFAULT_TIMEOUT
    ) -> Observable[Message[KernelInfoReply]]:
        """Request the name, version and language of the kernel."""
        return self._request_reply(build.kernel_info_request(), timeout)

    def complete(
        self, code: str, cursor_pos: int | None = None, *, timeout: float | None = DEFAULT_TIMEOUT
    ) -> Observable[Message[CompleteReply]]:
        """Request completions at ``cursor_pos`` (in code points; default: the end of the code)."""
        return self._request_reply(build.complete_request(code, cursor_pos), timeout)

    def inspect(
        self,
        code: str,
        cursor_pos: int | None = None,
        *,
        detail_level: Literal[0, 1] = 0,
        timeout: float | None = DEFAULT_TIMEOUT,
    ) -> Observable[Message[InspectReply]]:
        """Request the documentation of the name at the cursor; ``detail_level=1`` adds its source."""
        message = build.inspect_request(code, cursor_pos, detail_level=detail_level)
        return self._request_reply(message, timeout)

    @overload
    def history(
        self,
        hist_access_type: Literal["tail"] = "tail",
        *,
        n: int | None = None,
        output: bool = False,
        raw: bool = True,
        timeout: float | None = DEFAULT_TIMEOUT,
    ) -> Observable[Message[HistoryReply]]: ...
    @overload
    def history(
        self,
        hist_access_type: Literal["range"],
        *,
        session: int = 0,
        start: int = 0,
        stop: int | None = None,
        output: bool = False,
        raw: bool = True,
        timeout: float | None = DEFAULT_TIMEOUT,
    ) -> Observable[Message[HistoryReply]]: ...
    @overload
    def history(
        self,
        hist_access_type: Literal["search"],
        *,
        pattern: str,
        n: int | None = None,
        unique: bool = False,
        output: bool = False,
        raw: bool = True,
        timeout: float | None = DEFAULT_TIMEOUT,
    ) -> Observable[Message[HistoryReply]]: ...
    def history(
        self,
        hist_access_type: Literal["tail", "range", "search"] = "tail",
        *,
        n: int | None = None,
        session: int | None = None,
        start: int | None = None,
        stop: int | None = None,
        pattern: str | None = None,
        unique: bool | None = None,
        output: bool = False,
        raw: bool = True,
        timeout: float | None = DEFAULT_TIMEOUT,
    ) -> Observable[Message[HistoryReply]]:
        """Request code that was run before.

        Args:
            hist_access_type: ``"tail"``: the last entries. ``"range"``: a range of one session.
                ``"search"``: the entries that match a pattern.
            n: For a tail or a search: the maximum number of entries. None: all that match a search; for a
                tail, the default of the kernel (10 in ipykernel).
            session: For a range: 0 is the current session, -1 the previous one.
            start: For a range: its first line.
            stop: For a range: the line after its last line; None for all.
            pattern: For a search: a glob with ``*`` and ``?``.
            unique: For a search: omit duplicates.
            output: Include results.
            raw: Return the code as it was typed, not as the kernel transformed it.
            timeout: Seconds for the whole answer; None: no timeout.
        """
        # The overloads of both functions are the same, and a type checker sees only one of each at a time.
        history_request: Callable[..., AnyMessage] = build.history_request
        message = history_request(
            hist_access_type,
            n=n,
            session=session,
            start=start,
            stop=stop,
            pattern=pattern,
            unique=unique,
            output=output,
            raw=raw,
        )
        return self._request_reply(message, timeout)

    def is_complete(
        self, code: str, *, timeout: float | None = DEFAULT_TIMEOUT
    ) -> Observable[Message[IsCompleteReply]]:
        """Request a check of whether the code is complete or needs another line."""
        return self._request_reply(build.is_complete_request(code), timeout)

    def comm_info(
        self, target_name: str | None = None, *, timeout: float | None = DEFAULT_TIMEOUT
    ) -> Observable[Message[CommInfoReply]]:
        """Request the open comms, of one target or of all."""
        return self._request_reply(build.comm_info_request(target_name), timeout)

    def debug(
        self,
        command: str,
        arguments: Mapping[str, Any] | None = None,
        *,
        timeout: float | None = DEFAULT_TIMEOUT,
    ) -> Observable[Message[DebugReply]]:
        """Send a request of the Debug Adapter Protocol; the content of the reply is the response."""
        message = build.debug_request(command, arguments, seq=next(_debug_numbers))
        return self._request_reply(message, timeout)

    def _request_reply(
        self, message: AnyMessage, timeout: float | None
    ) -> Observable[Message[Any]]:
        reply_type = message.msg_type.removesuffix("_request") + "_reply"
        # Every implementation of request() in the library returns a Request.
        return reply_of(cast(Request, self.request(message, timeout=timeout)), reply_type)

    def _code_run(
        self,
        code: str,
        *,
        timeout: float | None,
        check: bool,
        max_output: int | None,
        **options: Any,
    ) -> CodeRun:
        validate_timeout(timeout)
        validate_flags(check=check)
        request = self.execute(code, timeout=None, interrupt_if_abandoned=True, **options)
        return CodeRun(cast(Request, request), timeout=timeout, check=check, max_output=max_output)


def validate_timeout(timeout: float | None, name: str = "timeout") -> None:
    """Raise TypeError or ValueError unless a timeout is a positive number of seconds or None."""
    if timeout is None:
        return
    if type(timeout) is bool or not isinstance(timeout, (int, float)):
        raise TypeError(f"{name} must be a number of seconds or None, not {timeout!r}")
    if not 0 < timeout < math.inf:
        raise ValueError(f"{name} must be a positive number of seconds or None, not {timeout!r}")


def validate_user_expressions(expressions: object) -> None:
    """Raise TypeError unless expressions are a mapping of strings, or None."""
    if expressions is None:
        return
    if not isinstance(expressions, Mapping):
        raise TypeError(
            'user_expressions must be a mapping such as {"name": "expression"}, '
            f"not {type(expressions).__name__}"
        )
    for name, expression in cast("Mapping[object, object]", expressions).items():
        validate_type("a name in user_expressions", name, str)
        validate_type(f"user_expressions[{name!r}]", expression, str)


def validate_on_input(on_input: object) -> None:
    """Raise TypeError unless a callback is callable or None."""
    if on_input is not None and not callable(on_input):
        raise TypeError(
            "on_input must be a function that takes an InputPrompt, "
            f"such as lambda request: 'yes', not {on_input!r}"
        )
