"""Every way in which talking to a kernel can fail, by name.

::

    EnchannelError
    ├── ConnectionFailed          connect or launch did not succeed
    │   ├── AuthenticationFailed  the other end does not accept who we are
    │   ├── BackendNotFound       no installed backend answers to that name
    │   └── LaunchFailed          the kernel's process did not start, or ended while starting
    ├── ConnectionLost            the link broke; requests that were open got no answer
    ├── KernelDied                the kernel ended or was restarted under a request
    ├── KernelError               code raised in the kernel
    ├── RequestTimeout            no (complete) answer in time
    ├── RequestAborted            the kernel refused to run a queued request
    ├── ChannelClosed             the channel or kernel is closed here
    ├── ChannelReadOnly           nothing can be said on this channel
    ├── NotSupported              this kernel or backend cannot do that
    ├── WouldDeadlock             a blocking call on the thread that it would wait for
    ├── InvalidMessage            a message of ours that may not be sent
    ├── RejectedFrame             something arrived that is not a message; it was dropped
    │   ├── InvalidSignature
    │   ├── ReplayedFrame
    │   └── MalformedFrame
    ├── MessagesMayBeMissing      output may have been lost on the way
    ├── RecordingFailed           a recording cannot be written or read
    └── SubscriberRaised          a subscriber's own code raised
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any

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
    """What the caller can do about an error, as a code.

    The value is the advice in terms of the Python API, and is part of the error's text. A program with
    an interface of its own, such as the command line, shows its own advice for the code instead.
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
    """The root of the tree: ``except EnchannelError`` catches whatever this library raises.

    Args:
        args: As for any exception; mostly one text.
        remedy: What the caller can do about it, where that is an argument or a function of this library.

    Attributes:
        remedy: As given; its text is appended to that of the error.
    """

    remedy: Remedy | None = None

    def __init__(self, *args: object, remedy: Remedy | None = None) -> None:
        super().__init__(*args)
        self.remedy = remedy

    @property
    def problem(self) -> str:
        """The error's text without the remedy."""
        return super().__str__()

    def __str__(self) -> str:
        return self.problem if self.remedy is None else f"{self.problem}; {self.remedy.value}"


class ConnectionFailed(EnchannelError):
    """A connection could not be made; nothing of it is left behind.

    The text names the channel that did not answer and a likely cause.
    """


class AuthenticationFailed(ConnectionFailed):
    """The other end was reached and does not accept the key, token or password."""


class BackendNotFound(ConnectionFailed):
    """No installed backend has that name or handles that URL scheme; the text lists those that are."""


class LaunchFailed(ConnectionFailed):
    """A kernel could not be started.

    Attributes:
        exit_code: The exit code of its process, or None if there was no process or it still ran.
        stderr: The tail of what the process printed on its stderr.
    """

    def __init__(self, text: str, *, exit_code: int | None = None, stderr: str = "") -> None:
        super().__init__(text)
        self.exit_code = exit_code
        self.stderr = stderr


class RequestFailed(EnchannelError):
    """What the errors that end a request share: ``result`` is what had arrived by then.

    ``result`` is set where a :class:`~enchannel.Result` was being made: by ``run`` and ``to_result``.
    """

    result: Result | None = None


class ConnectionLost(RequestFailed):
    """The link to the kernel broke, and what was open can no longer be answered."""


class KernelDied(RequestFailed):
    """The kernel ended, or was restarted, before it had answered.

    Attributes:
        exit_code: The exit code of its process (negative: the signal that killed it), where known.
        stderr: The tail of what it printed on its stderr, where we launched it.
    """

    def __init__(self, text: str, *, exit_code: int | None = None, stderr: str = "") -> None:
        super().__init__(text)
        self.exit_code = exit_code
        self.stderr = stderr


class KernelError(RequestFailed):
    """Code that ran in the kernel raised.

    Attributes:
        ename: The name of the exception, as the kernel says it.
        evalue: Its text.
        traceback: The traceback's lines, with the kernel's colours (ANSI escapes) in them.
    """

    def __init__(self, ename: str, evalue: str, traceback: tuple[str, ...] = ()) -> None:
        super().__init__(f"{ename}: {evalue}" if evalue else ename)
        self.ename = ename
        self.evalue = evalue
        self.traceback = traceback

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.ename, self.evalue, self.traceback), self.__dict__


class RequestTimeout(RequestFailed):
    """A request had no complete answer in time; the text says what had arrived."""


class RequestAborted(RequestFailed):
    """The kernel did not run the request, because one queued before it had failed."""


class ChannelClosed(EnchannelError):
    """The channel was closed on this side; nothing more can be said on it."""


class ChannelReadOnly(EnchannelError):
    """The kernel speaks on this channel (iopub), and nobody else."""


class NotSupported(EnchannelError):
    """The kernel, or the backend that reaches it, does not have what was asked for."""


class WouldDeadlock(EnchannelError):
    """A blocking call was made where it would wait for itself.

    On a running event loop write ``await``; in a subscriber, subscribe instead of running.
    """


class InvalidMessage(EnchannelError, ValueError):
    """A message that may not be sent; the text names the field."""


class RejectedFrame(EnchannelError):
    """Something arrived that is not a message to be trusted; it was dropped, the channel lives on."""


class InvalidSignature(RejectedFrame):
    """A message whose signature is not its key's: a wrong key, or a stranger."""


class ReplayedFrame(RejectedFrame):
    """A message whose signature was seen before on this socket."""


class MalformedFrame(RejectedFrame):
    """Bytes that cannot be read as a message, or could only be read in part."""


class MessagesMayBeMissing(EnchannelError):
    """Output may have been dropped before it reached us; the text says where."""


class RecordingFailed(EnchannelError):
    """A recording cannot be written, or what should be one cannot be read; the text says what to do."""


class SubscriberRaised(EnchannelError):
    """A subscriber raised; its subscription ended, and nobody else's.

    ``__cause__`` is the exception, ``item`` what it was given (a message, mostly).
    """

    def __init__(self, text: str, *, item: object = None) -> None:
        super().__init__(text)
        self.item = item
