"""The exceptions of enchannel.

::

    EnchannelError
    ├── ConnectionFailed (ConnectionError)    connect or launch did not succeed
    │   ├── AuthenticationFailed              the server rejected the key, token or password
    │   └── LaunchFailed                      the kernel process did not start, or exited while starting
    ├── BackendNotFound (LookupError)         no usable backend has that name or URL scheme
    ├── MissingDependency (ImportError)       an optional package is not installed
    ├── RequestFailed                         a request ended without a complete answer, or with an error
    │   ├── ConnectionLost (ConnectionError)  the connection broke while the request was in flight
    │   ├── KernelDied                        the kernel exited or was restarted during the request
    │   ├── KernelError                       the code raised an exception in the kernel
    │   ├── OutputMissing                     output was dropped on its way; also a MessagesMayBeMissing
    │   ├── RequestTimeout (TimeoutError)     the answer was not complete in time
    │   └── RequestAborted                    the kernel did not run the queued request
    ├── ChannelClosed                         the channel or kernel was closed by this client
    ├── ChannelReadOnly                       the channel cannot send (iopub)
    ├── NotConnected (RuntimeError)           the kernel is not open yet
    ├── NotSupported                          the kernel or backend does not have this feature
    ├── WouldDeadlock (RuntimeError)          a blocking call on a thread that the call would wait for
    ├── InvalidMessage (ValueError)           a message that cannot be sent
    ├── MessageNotForwarded                   a message that a server did not forward to the kernel
    ├── RejectedFrame                         received data that is not a valid message; it was dropped
    │   ├── InvalidSignature
    │   ├── ReplayedFrame
    │   └── MalformedFrame
    ├── MessagesMayBeMissing                  output may have been lost in transit
    ├── RecordingFailed                       a recording cannot be written or read
    └── SubscriberRaised                      a subscriber raised an exception

``ConnectionError`` and ``TimeoutError`` are subclasses of ``OSError``. An invalid argument raises
a plain ``ValueError`` or ``TypeError``.
"""

from enchannel._outputs.result import (
    ConnectionLost,
    KernelDied,
    KernelError,
    OutputMissing,
    RequestAborted,
    RequestFailed,
    RequestTimeout,
)
from enchannel._protocol.errors import (
    AuthenticationFailed,
    BackendNotFound,
    ChannelClosed,
    ChannelReadOnly,
    ConnectionFailed,
    EnchannelError,
    InvalidMessage,
    InvalidSignature,
    LaunchFailed,
    MalformedFrame,
    MessageNotForwarded,
    MessagesMayBeMissing,
    MissingDependency,
    NotConnected,
    NotSupported,
    RecordingFailed,
    RejectedFrame,
    Remedy,
    ReplayedFrame,
    SubscriberRaised,
    WouldDeadlock,
)

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
    "MessageNotForwarded",
    "MessagesMayBeMissing",
    "MissingDependency",
    "NotConnected",
    "NotSupported",
    "OutputMissing",
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

# Tracebacks and pickles name the public module.
for _name in __all__:
    globals()[_name].__module__ = __name__
