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

from enchannel._outputs.result import (
    ConnectionLost,
    KernelDied,
    KernelError,
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
    MessagesMayBeMissing,
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

# Tracebacks and pickles name the public module.
for _name in __all__:
    globals()[_name].__module__ = __name__
