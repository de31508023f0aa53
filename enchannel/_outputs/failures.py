"""The failures in the messages of requests, without their outputs."""

from __future__ import annotations

from enchannel._outputs.result import (
    KernelError,
    RequestAborted,
    is_reply,
    kernel_error,
    request_aborted,
    status_of_reply,
)
from enchannel._protocol.message import AnyMessage
from enchannel.frozen import EMPTY

__all__ = ["FailureFinder"]


class FailureFinder:
    """Finds the first failure in the messages of one or several requests.

    A reply decides about its request. An error message counts only while its request has no reply.
    """

    def __init__(self) -> None:
        self._unanswered: dict[str, AnyMessage] = {}  # error messages by request id
        self._failure: KernelError | RequestAborted | None = None

    def add(self, message: AnyMessage) -> None:
        """Add one message; messages that report neither a success nor a failure are ignored."""
        if self._failure is not None:
            return
        if message.header.msg_type == "error":
            self._unanswered[message.parent_header.msg_id] = message
        elif is_reply(message):
            raised = self._unanswered.pop(message.parent_header.msg_id, None)
            match status_of_reply(message):
                case "error":
                    fallback = EMPTY if raised is None else raised.content
                    self._failure = kernel_error(message.content, fallback)
                case "aborted":
                    self._failure = request_aborted()
                case _:
                    pass

    def failure(self) -> KernelError | RequestAborted | None:
        """Return the first failure, or None."""
        if self._failure is None:
            for raised in self._unanswered.values():
                return kernel_error(raised.content, raised.content)
        return self._failure
