"""The exceptions that need no other type of this library; ``enchannel.errors`` has them all."""

from __future__ import annotations

from enum import Enum
from typing import Any

__all__ = [
    "AuthenticationFailed",
    "BackendNotFound",
    "ChannelClosed",
    "ChannelReadOnly",
    "ConnectionFailed",
    "EnchannelError",
    "InvalidMessage",
    "InvalidSignature",
    "LaunchFailed",
    "MalformedFrame",
    "MessageNotForwarded",
    "MessagesMayBeMissing",
    "MissingDependency",
    "NotConnected",
    "NotSupported",
    "RecordingFailed",
    "RejectedFrame",
    "Remedy",
    "ReplayedFrame",
    "SubscriberRaised",
    "WouldDeadlock",
]


class Remedy(Enum):
    """The advice that an error gives to the caller.

    The value is the advice in terms of the Python API, and part of the text of the error. A program with
    another interface, such as the command line, shows its own advice instead.
    """

    ALLOW_HTTP = "use https://, or pass allow_http=True if you trust the network"
    ALLOW_UNSIGNED = "pass allow_unsigned=True to accept that"
    AUTHENTICATE = 'pass token="…" or password="…"'
    AUTHENTICATE_AT_RELAY = 'pass token="…"'
    CONNECT = "use connect(…) for a running kernel"
    LAUNCH = "start a kernel with launch(…, at=…)"
    OVERWRITE = "pass overwrite=True to replace it"
    TRUST_CERTIFICATE = "pass an ssl.SSLContext that trusts it as ssl=…"


class EnchannelError(Exception):
    """The base class of the exceptions of this library.

    Args:
        args: As for any exception; usually one text.
        remedy: The advice to append to the text, if it is an argument or a function of this library.

    Attributes:
        remedy: As passed.
    """

    remedy: Remedy | None = None

    def __init__(self, *args: object, remedy: Remedy | None = None) -> None:
        super().__init__(*args)
        self.remedy = remedy

    @property
    def problem(self) -> str:
        """The text of the error without the remedy."""
        return super().__str__()

    def __str__(self) -> str:
        return self.problem if self.remedy is None else f"{self.problem}; {self.remedy.value}"


class ConnectionFailed(EnchannelError, ConnectionError):
    """Raised when a connection cannot be established. All resources have been released.

    The text names the channel or server that did not answer, and a likely cause. As an ``OSError`` it has
    no ``errno``.
    """


class AuthenticationFailed(ConnectionFailed):
    """Raised when the server answers, but rejects the key, token or password."""


class BackendNotFound(EnchannelError, LookupError):
    """Raised when no usable backend has the given name or URL scheme.

    The text lists the installed backends, or names the error in the one that was found. It is not a
    ``ConnectionFailed``, because retrying does not help.
    """


class MissingDependency(EnchannelError, ImportError):
    """Raised when an optional package is not installed; the text names the extra to install."""


class LaunchFailed(ConnectionFailed):
    """Raised when a kernel cannot be started, or exits while it starts.

    Attributes:
        exit_code: The exit code of the process; None if it did not start or is still running.
        stderr: The end of the stderr of the process.
    """

    def __init__(self, text: str, *, exit_code: int | None = None, stderr: str = "") -> None:
        super().__init__(text)
        self.exit_code = exit_code
        self.stderr = stderr


class ChannelClosed(EnchannelError):
    """Raised when sending on a channel that this client has closed."""


class ChannelReadOnly(EnchannelError):
    """Raised when sending on a receive-only channel (iopub)."""


class NotSupported(EnchannelError):
    """Raised when the kernel, or the backend that connects to it, does not have the requested feature."""


class NotConnected(EnchannelError, RuntimeError):
    """Raised when a kernel that is not open yet is used; the text says how to open it."""


class WouldDeadlock(EnchannelError, RuntimeError):
    """Raised by a blocking call on a thread that the call would wait for.

    On a running event loop, use ``await``; in a subscriber, subscribe instead.
    """


class InvalidMessage(EnchannelError, ValueError):
    """Raised for a message that cannot be sent; the text names the invalid field."""


class MessageNotForwarded(EnchannelError):
    """Reported when a server does not forward a message to the kernel, so that it gets no reply.

    A request fails with the reason. For a message that was sent in another way, this is reported on
    ``kernel.errors``. As an event of a link it concerns one message; all others stay in flight.

    Args:
        msg_id: The id of the message.
        reason: The reason.

    Attributes:
        msg_id: As passed.
        reason: As passed.
    """

    def __init__(self, msg_id: str, reason: EnchannelError) -> None:
        super().__init__(f"the message {msg_id[:8]} was not forwarded to the kernel: {reason}")
        self.msg_id = msg_id
        self.reason = reason

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.msg_id, self.reason), vars(self)


class RejectedFrame(EnchannelError):
    """Reported when received data is not a valid message. It is dropped, and the channel stays open."""


class InvalidSignature(RejectedFrame):
    """Reported for a message that is unsigned or signed with another key."""


class ReplayedFrame(RejectedFrame):
    """Reported for a message whose signature was already received on this socket."""


class MalformedFrame(RejectedFrame):
    """Reported for data that cannot be decoded, or only with replacements."""


class MessagesMayBeMissing(EnchannelError):
    """Reported when output may have been lost before it was received; the text says where."""


class RecordingFailed(EnchannelError):
    """Raised or reported when a recording cannot be written or read; the text names the remedy."""


class SubscriberRaised(EnchannelError):
    """Reported when a subscriber raises. Only its own subscription ends.

    ``__cause__`` is the exception of the subscriber.

    Attributes:
        item: The item that the subscriber was called with, usually a message.
    """

    def __init__(self, text: str, *, item: object = None) -> None:
        super().__init__(text)
        self.item = item
