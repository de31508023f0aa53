"""The exceptions of enchannel.

::

    EnchannelError
    ├── ConnectionFailed          connect or launch did not succeed
    │   ├── AuthenticationFailed  the server rejected the key, token or password
    │   ├── BackendNotFound       no installed backend has that name or URL scheme
    │   └── LaunchFailed          the kernel process did not start, or exited while starting
    ├── RequestFailed             a request ended without a complete answer, or with an error
    │   ├── ConnectionLost        the connection broke while the request was in flight
    │   ├── KernelDied            the kernel exited or was restarted while the request was in flight
    │   ├── KernelError           the code raised an exception in the kernel
    │   ├── RequestTimeout        the answer was not complete in time
    │   └── RequestAborted        the kernel did not run the queued request
    ├── ChannelClosed             the channel or kernel was closed by this client
    ├── ChannelReadOnly           the channel cannot send (iopub)
    ├── NotSupported              the kernel or backend does not have this feature
    ├── WouldDeadlock             a blocking call on a thread that the call would wait for
    ├── InvalidMessage            a message that cannot be sent
    ├── RejectedFrame             received data that is not a valid message; it was dropped
    │   ├── InvalidSignature
    │   ├── ReplayedFrame
    │   └── MalformedFrame
    ├── MessagesMayBeMissing      output may have been lost in transit
    ├── RecordingFailed           a recording cannot be written or read
    └── SubscriberRaised          a subscriber raised an exception
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any

# For annotations only: a Result has the KernelError of its request, and that error has the Result.
if TYPE_CHECKING:
    from enchannel._outputs.result import Result

__all__ = [
    "AuthenticationFailed",
    "BackendNotFound",
    "ChannelClosed",
    "ChannelReadOnly",
    "ConnectionFailed",
    "ConnectionLost",
    "EnchannelError",
    "InvalidMessage",
    "InvalidSignature",
    "KernelDied",
    "KernelError",
    "LaunchFailed",
    "MalformedFrame",
    "MessagesMayBeMissing",
    "NotSupported",
    "RecordingFailed",
    "RejectedFrame",
    "Remedy",
    "ReplayedFrame",
    "RequestAborted",
    "RequestFailed",
    "RequestTimeout",
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


class ConnectionFailed(EnchannelError):
    """Raised when a connection cannot be established. All resources have been released.

    The text names the channel or server that did not answer, and a likely cause.
    """


class AuthenticationFailed(ConnectionFailed):
    """Raised when the server answers, but rejects the key, token or password."""


class BackendNotFound(ConnectionFailed):
    """Raised when no installed backend has the given name or URL scheme. The text lists all installed."""


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


class RequestFailed(EnchannelError):
    """The base class of errors that end a request.

    Attributes:
        result: The result built from the messages received so far, set by ``run`` and ``to_result``;
            None elsewhere.
    """

    result: Result | None = None


class ConnectionLost(RequestFailed):
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


class RequestTimeout(RequestFailed):
    """Raised when a request or observable does not complete in time; the text names the missing part."""


class RequestAborted(RequestFailed):
    """Raised when the kernel does not run a request because an earlier queued request failed."""


class ChannelClosed(EnchannelError):
    """Raised when sending on a channel that this client has closed."""


class ChannelReadOnly(EnchannelError):
    """Raised when sending on a receive-only channel (iopub)."""


class NotSupported(EnchannelError):
    """Raised when the kernel, or the backend that connects to it, does not have the requested feature."""


class WouldDeadlock(EnchannelError):
    """Raised by a blocking call on a thread that the call would wait for.

    On a running event loop, use ``await``; in a subscriber, subscribe instead.
    """


class InvalidMessage(EnchannelError, ValueError):
    """Raised for a message that cannot be sent; the text names the invalid field."""


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
