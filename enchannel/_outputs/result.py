"""What became of one request: its messages, folded into a value. No Rx here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, TypeVar

from enchannel._outputs.budget import OutputBudget
from enchannel._outputs.output import error_output, execution_count_of
from enchannel._outputs.outputs import Outputs
from enchannel._protocol.channel_name import ChannelName
from enchannel._protocol.message import AnyMessage
from enchannel.errors import KernelError, RequestAborted
from enchannel.frozen import EMPTY

__all__ = ["Result", "ResultBuilder", "ResultStatus", "copy_of_error"]

ResultStatus: TypeAlias = Literal["ok", "error", "aborted", "incomplete"]

E = TypeVar("E", bound=BaseException)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What became of a request.

    Attributes:
        status: ``"ok"``; ``"error"`` when the code raised; ``"aborted"`` when the kernel did not
            run it; ``"incomplete"`` as long as the reply is not there.
        outputs: What it printed, displayed and returned, as nbformat has it.
        error: What the code raised. Without a reply, what it was seen to raise.
        execution_count: The number in the prompt, where the kernel has said it.
        duration: Seconds.
        truncated: There was more output than was asked for; what did not fit was dropped.
        reply: The reply itself, with its ``payload`` and ``user_expressions``.

    Example:
        >>> kernel.run("print('woo'); 6 * 7")
        Result(status='ok', outputs=Outputs(stream 'woo\\n', execute_result '42'), error=None, ...
    """

    status: ResultStatus
    outputs: Outputs = field(default_factory=Outputs)
    # Not compared: the others say the same, and two exceptions are never equal.
    error: KernelError | None = field(default=None, compare=False)
    execution_count: int | None = None
    duration: float = 0.0
    truncated: bool = False
    reply: AnyMessage | None = None

    @property
    def text(self) -> str:
        """The outputs as plain text, as a terminal would show them."""
        return self.outputs.text

    def check(self) -> Result:
        """This result, unless the code raised or was not run.

        Raises:
            KernelError: the code raised; ``.result`` is this result.
            RequestAborted: the kernel did not run it; ``.result`` is this result.
        """
        failure: KernelError | RequestAborted
        if self.status == "aborted":
            failure = RequestAborted(
                "the kernel did not run the request, because one queued before it had failed"
            )
        elif self.error is not None:
            failure = copy_of_error(self.error)  # raising adds a traceback to an exception
        else:
            return self
        failure.result = self
        raise failure


class ResultBuilder:
    """Makes a ``Result`` of the messages of one request, from whichever channels.

    Args:
        max_output: How much output is kept: characters of stream text, and the size of the JSON of
            other outputs. Text is cut there, another output that does not fit is dropped, and so is
            an update. What ``clear_output`` clears does not count any more.
    """

    def __init__(self, max_output: int | None = None) -> None:
        self._outputs = Outputs()
        self._budget = None if max_output is None else OutputBudget(max_output)
        self._raised: AnyMessage | None = None
        self._reply: AnyMessage | None = None
        self._execution_count: int | None = None

    def add(self, message: AnyMessage) -> None:
        """Take one more message; what is no part of a result is ignored."""
        match message.header.msg_type:
            case "execute_input":
                self._count(message)
            case "error":
                self._raised = message
            case msg_type if msg_type.endswith("_reply") and message.channel in _REPLIES_COME_ON:
                self._reply = message
                self._count(message)
            case _:
                pass
        if self._budget is None:
            self._outputs = self._outputs.add(message)
        else:
            self._outputs = self._budget.add(self._outputs, message)

    def build(self, duration: float = 0.0) -> Result:
        """The result so far; more messages may follow."""
        status = self._status()
        return Result(
            status=status,
            outputs=self._outputs,
            error=self._error(status),
            execution_count=self._execution_count,
            duration=duration,
            truncated=self._budget is not None and self._budget.exceeded,
            reply=self._reply,
        )

    def _count(self, message: AnyMessage) -> None:
        count = execution_count_of(message.content)
        if count is not None:
            self._execution_count = count

    def _status(self) -> ResultStatus:
        if self._reply is None:
            return "incomplete"
        match self._reply.content.get("status"):
            case "error":
                return "error"
            case "aborted" | "abort":
                return "aborted"
            case _:  # some kernels leave it out, and is_complete_reply has words of its own
                return "ok"

    def _error(self, status: ResultStatus) -> KernelError | None:
        raised: Mapping[str, Any] = EMPTY if self._raised is None else self._raised.content
        if status == "error" and self._reply is not None:
            return _kernel_error(self._reply.content, raised)
        if status == "incomplete" and self._raised is not None:
            return _kernel_error(raised, raised)
        return None


_REPLIES_COME_ON = (ChannelName.SHELL, ChannelName.CONTROL)


def _kernel_error(said: Mapping[str, Any], also_said: Mapping[str, Any]) -> KernelError:
    first, second = error_output(said), error_output(also_said)
    ename, evalue, traceback = (
        first[key] or second[key] for key in ("ename", "evalue", "traceback")
    )
    return KernelError(ename or "Error", evalue, tuple(traceback))


def copy_of_error(error: E) -> E:
    """Another instance that says the same, for one raiser or subscriber of its own."""
    copy: E = type(error).__new__(type(error), *error.args)
    copy.__dict__.update(error.__dict__)
    copy.__cause__, copy.__context__ = error.__cause__, error.__context__
    copy.__suppress_context__ = error.__suppress_context__
    return copy.with_traceback(error.__traceback__)
