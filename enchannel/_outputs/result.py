"""The result of one request, built from its messages, and the errors that end a request.

They are in one module because they refer to each other: an error has the result so far, and a result the
error of its code.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, TypeVar

from enchannel._outputs.budget import OutputBudget
from enchannel._outputs.output import data_of, error_output, execution_count_of, text_of
from enchannel._outputs.outputs import Outputs
from enchannel._protocol.channel_name import ChannelName
from enchannel._protocol.errors import EnchannelError, MessagesMayBeMissing
from enchannel._protocol.message import AnyMessage
from enchannel.frozen import EMPTY, FrozenDict

__all__ = [
    "ConnectionLost",
    "KernelDied",
    "KernelError",
    "OutputMissing",
    "RequestAborted",
    "RequestFailed",
    "RequestTimeout",
    "Result",
    "ResultBuilder",
    "ResultStatus",
    "copy_of_error",
    "is_reply",
    "kernel_error",
    "request_aborted",
    "status_of_reply",
]

ResultStatus: TypeAlias = Literal["ok", "error", "aborted", "incomplete"]

E = TypeVar("E", bound=BaseException)


class RequestFailed(EnchannelError):
    """The base class of errors that end a request.

    Attributes:
        result: The result built from the messages received so far, set by ``run`` and ``to_result``;
            None elsewhere.
    """

    result: Result | None = None


class ConnectionLost(RequestFailed, ConnectionError):
    """Raised when the connection breaks and in-flight requests can no longer be answered."""


class KernelDied(RequestFailed):
    """Raised when the kernel exits or is restarted while a request is in flight.

    Attributes:
        exit_code: The exit code of the process (negative: the signal that killed it); None if unknown.
        stderr: The end of the stderr of the process, if enchannel launched it.
    """

    def __init__(self, text: str, *, exit_code: int | None = None, stderr: str = "") -> None:
        super().__init__(text)
        self.exit_code = exit_code
        self.stderr = stderr


class KernelError(RequestFailed):
    """Raised when the code of a request raises an exception in the kernel.

    Attributes:
        ename: The name of the exception, as the kernel reports it.
        evalue: The text of the exception.
        traceback: The lines of the traceback, with ANSI escape sequences.
    """

    def __init__(self, ename: str, evalue: str, traceback: tuple[str, ...] = ()) -> None:
        super().__init__(f"{ename}: {evalue}" if evalue else ename)
        self.ename = ename
        self.evalue = evalue
        self.traceback = traceback

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.ename, self.evalue, self.traceback), self.__dict__


class RequestTimeout(RequestFailed, TimeoutError):
    """Raised when a request or observable does not complete in time; the text names the missing part."""


class OutputMissing(RequestFailed, MessagesMayBeMissing):
    """Raised when a request is answered, and the kernel or the connection has dropped its output.

    The reply has arrived, and is in ``result.reply``.
    """


class RequestAborted(RequestFailed):
    """Raised when the kernel aborts a request, because an earlier one failed or was interrupted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """The outputs, status and reply of one request.

    Attributes:
        status: ``"ok"``; ``"error"`` if the code raised; ``"aborted"`` if the kernel did not run the
            code; ``"incomplete"`` until the reply has arrived.
        outputs: The streams, displays, results and errors, as nbformat 4 outputs.
        error: The exception that the code raised, from the reply, or until then from its error message.
        execution_count: The number in the prompt, if the kernel sent one.
        duration: Seconds from the request to its end.
        truncated: True if outputs exceeded ``max_output`` and were cut or dropped.
        output_missing: True if the kernel or the connection has dropped output.
        reply: The reply message, with its ``payload`` and ``user_expressions``.

    Example:
        >>> kernel.run("print('woo'); 6 * 7")
        Result(status='ok', outputs=Outputs(stream 'woo\\n', execute_result '42'), error=None, ...
    """

    status: ResultStatus
    outputs: Outputs = field(default_factory=Outputs)
    # Not compared: exceptions are equal only to themselves, and the other fields have the same data.
    error: KernelError | None = field(default=None, compare=False)
    execution_count: int | None = None
    duration: float = 0.0
    truncated: bool = False
    output_missing: bool = False
    reply: AnyMessage | None = None

    @property
    def pages(self) -> tuple[FrozenDict, ...]:
        """The MIME bundles of the ``page`` payloads of the reply, such as the answer to ``print?``."""
        payload = None if self.reply is None else self.reply.content.get("payload")
        if not isinstance(payload, list):
            return ()
        return tuple(data_of(entry) for entry in payload if _is_page(entry))

    @property
    def text(self) -> str:
        """The outputs as plain text, as a terminal would show them, followed by the pages."""
        if not self.pages:
            return self.outputs.text
        texts = [self.outputs.text, *(text_of({"data": page}) for page in self.pages)]
        return "\n".join(text.removesuffix("\n") for text in texts if text)

    def check(self) -> Result:
        """Return this result if its status is ``"ok"`` or ``"incomplete"``, and raise otherwise.

        Raises:
            KernelError: the code raised; ``error.result`` is this result.
            RequestAborted: the kernel did not run the code; ``error.result`` is this result.
            OutputMissing: output was lost; ``error.result`` is this result.
        """
        failure: RequestFailed
        if self.status == "aborted":
            failure = request_aborted()
        elif self.error is not None:
            # A copy, since raising an exception changes its traceback.
            failure = copy_of_error(self.error)
        elif self.output_missing:
            failure = OutputMissing(
                "output is missing: the kernel or the connection has dropped it"
            )
        else:
            return self
        failure.result = self
        raise failure


class ResultBuilder:
    """Builds a ``Result`` from the messages of one request, of all channels.

    Args:
        max_output: The maximum size of the outputs: characters of streams and tracebacks without colour
            codes, plus the size of the JSON of other outputs. Longer text is cut, and a traceback keeps its
            last lines; other outputs and updates that do not fit are dropped. Cleared outputs do not count.
            None is unlimited.
    """

    def __init__(self, max_output: int | None = None) -> None:
        self._outputs = Outputs()
        self._budget = None if max_output is None else OutputBudget(max_output)
        self._raised: AnyMessage | None = None
        self._reply: AnyMessage | None = None
        self._execution_count: int | None = None

    def add(self, message: AnyMessage) -> None:
        """Add one message; messages that are not part of a result are ignored."""
        match message.header.msg_type:
            case "execute_input":
                self._update_count(message)
            case "error":
                self._raised = message
            case _ if is_reply(message):
                self._reply = message
                self._update_count(message)
            case _:
                pass
        if self._budget is None:
            self._outputs = self._outputs.add(message)
        else:
            self._outputs = self._budget.add(self._outputs, message)

    def build(self, duration: float = 0.0, *, output_missing: bool = False) -> Result:
        """Return the result so far; more messages may be added.

        Args:
            duration: Seconds since the request.
            output_missing: True if output was lost.
        """
        status = "incomplete" if self._reply is None else status_of_reply(self._reply)
        return Result(
            status=status,
            outputs=self._outputs,
            error=self._error(status),
            execution_count=self._execution_count,
            duration=duration,
            truncated=self._budget is not None and self._budget.exceeded,
            output_missing=output_missing,
            reply=self._reply,
        )

    def _update_count(self, message: AnyMessage) -> None:
        count = execution_count_of(message.content)
        if count is not None:
            self._execution_count = count

    def _error(self, status: ResultStatus) -> KernelError | None:
        raised: Mapping[str, Any] = EMPTY if self._raised is None else self._raised.content
        if status == "error" and self._reply is not None:
            return kernel_error(self._reply.content, raised)
        if status == "incomplete" and self._raised is not None:
            return kernel_error(raised, raised)
        return None


def _is_page(entry: object) -> bool:
    return isinstance(entry, dict) and entry.get("source") == "page"


_REPLY_CHANNELS = (ChannelName.SHELL, ChannelName.CONTROL)


def is_reply(message: AnyMessage) -> bool:
    """Return True if a message is the reply to a request."""
    return message.header.msg_type.endswith("_reply") and message.channel in _REPLY_CHANNELS


def status_of_reply(reply: AnyMessage) -> Literal["ok", "error", "aborted"]:
    """Return the status of the request that a reply answers."""
    match reply.content.get("status"):
        case "error":
            return "error"
        case "aborted" | "abort":
            return "aborted"
        case _:
            # Some kernels leave it out, and is_complete_reply has other values.
            return "ok"


def request_aborted() -> RequestAborted:
    """Return the error of a request whose reply has the status ``aborted``."""
    return RequestAborted(
        "the kernel aborted the request because earlier code failed or was interrupted"
    )


def kernel_error(content: Mapping[str, Any], fallback: Mapping[str, Any]) -> KernelError:
    """Return the error in the content of a message.

    Args:
        content: The content of a reply or error message.
        fallback: The content whose fields replace missing and invalid ones.
    """
    first, second = error_output(content), error_output(fallback)
    ename, evalue, traceback = (
        first[key] or second[key] for key in ("ename", "evalue", "traceback")
    )
    return KernelError(ename or "Error", evalue, tuple(traceback))


def copy_of_error(error: E) -> E:
    """Return a copy of an exception, to raise or to pass to one of several subscribers."""
    copy: E = type(error).__new__(type(error), *error.args)
    # An OSError whose class has an __init__ sets its args there, not in __new__.
    copy.args = error.args
    copy.__dict__.update(error.__dict__)
    copy.__cause__, copy.__context__ = error.__cause__, error.__context__
    copy.__suppress_context__ = error.__suppress_context__
    return copy.with_traceback(error.__traceback__)
