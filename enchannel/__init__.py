"""Jupyter kernel channels as RxPY Subjects.

Subscribe to a channel to receive messages, call ``on_next`` to send one, and combine both with
reactivex's operators.
"""

from typing import TYPE_CHECKING

from enchannel._kernel.action import Action
from enchannel._kernel.channel import child_of
from enchannel._kernel.comm import Comm
from enchannel._kernel.connect import connect, launch
from enchannel._kernel.heartbeat import Heartbeat
from enchannel._kernel.kernel import Channel, Kernel
from enchannel._kernel.listing import (
    alist_kernels,
    alist_kernelspecs,
    list_kernels,
    list_kernelspecs,
)
from enchannel._kernel.requests import Requests
from enchannel._kernel.stdin import InputPrompt, OnInput
from enchannel._kernel.subjects import Errors, Sent, State
from enchannel._kernel.subshell import Subshell
from enchannel._outputs.output import (
    DisplayOutput,
    ErrorOutput,
    Output,
    ResultOutput,
    StreamOutput,
)
from enchannel._outputs.outputs import Outputs
from enchannel._outputs.result import Result, ResultStatus
from enchannel._protocol.channel_name import ChannelName
from enchannel._protocol.connection_info import ConnectionInfo, Secret
from enchannel._protocol.message import AnyMessage, Buffer, Header, Message, create_message
from enchannel._protocol.models import KernelModel, KernelspecModel
from enchannel._protocol.session import Session
from enchannel._recordings.format import Direction, RecordedEvent, RecordedMessage, Recording
from enchannel._recordings.recorder import Recorder, record
from enchannel._recordings.replay import replay
from enchannel._rx.deliver_on import deliver_on
from enchannel._rx.of_message_type import of_message_type
from enchannel._rx.operators import (
    accumulate_outputs,
    check,
    execution_counts,
    input_requests,
    kernel_statuses,
    outputs,
    payloads,
    to_result,
    until_idle,
    updated_outputs,
    with_comm_id,
)
from enchannel._rx.overflow import Overflow
from enchannel._rx.per_item import Operator
from enchannel._rx.waiting import aiter, last_value, wait
from enchannel.abc import KernelState, LinkState
from enchannel.errors import (
    AuthenticationFailed,
    BackendNotFound,
    ChannelClosed,
    ChannelReadOnly,
    ConnectionFailed,
    ConnectionLost,
    EnchannelError,
    InvalidMessage,
    InvalidSignature,
    KernelDied,
    KernelError,
    LaunchFailed,
    MalformedFrame,
    MessageNotForwarded,
    MessagesMayBeMissing,
    MissingDependency,
    NotConnected,
    NotSupported,
    OutputMissing,
    RecordingFailed,
    RejectedFrame,
    ReplayedFrame,
    RequestAborted,
    RequestFailed,
    RequestTimeout,
    SubscriberRaised,
    WouldDeadlock,
)
from enchannel.messages import (
    comm_close,
    comm_info_request,
    comm_msg,
    comm_open,
    complete_request,
    connect_request,
    create_subshell_request,
    debug_request,
    delete_subshell_request,
    execute_request,
    history_request,
    input_reply,
    inspect_request,
    interrupt_request,
    is_child_message,
    is_complete_request,
    kernel_info_request,
    list_subshell_request,
    shutdown_request,
)

__all__ = [
    "Action",
    "AnyMessage",
    "AuthenticationFailed",
    "BackendNotFound",
    "Buffer",
    "Channel",
    "ChannelClosed",
    "ChannelName",
    "ChannelReadOnly",
    "Comm",
    "ConnectionFailed",
    "ConnectionInfo",
    "ConnectionLost",
    "Direction",
    "DisplayOutput",
    "EnchannelError",
    "ErrorOutput",
    "Errors",
    "Header",
    "Heartbeat",
    "InputPrompt",
    "InvalidMessage",
    "InvalidSignature",
    "Kernel",
    "KernelDied",
    "KernelError",
    "KernelModel",
    "KernelState",
    "KernelspecModel",
    "LaunchFailed",
    "LinkState",
    "MalformedFrame",
    "Message",
    "MessageNotForwarded",
    "MessagesMayBeMissing",
    "MissingDependency",
    "NotConnected",
    "NotSupported",
    "OnInput",
    "Operator",
    "Output",
    "OutputMissing",
    "Outputs",
    "Overflow",
    "RecordedEvent",
    "RecordedMessage",
    "Recorder",
    "Recording",
    "RecordingFailed",
    "RejectedFrame",
    "ReplayedFrame",
    "RequestAborted",
    "RequestFailed",
    "RequestTimeout",
    "Requests",
    "Result",
    "ResultOutput",
    "ResultStatus",
    "Secret",
    "Sent",
    "Session",
    "State",
    "StreamOutput",
    "SubscriberRaised",
    "Subshell",
    "WouldDeadlock",
    "accumulate_outputs",
    "aiter",
    "alist_kernels",
    "alist_kernelspecs",
    "check",
    "child_of",
    "comm_close",
    "comm_info_request",
    "comm_msg",
    "comm_open",
    "complete_request",
    "connect",
    "connect_request",
    "create_message",
    "create_subshell_request",
    "debug_request",
    "delete_subshell_request",
    "deliver_on",
    "execute_request",
    "execution_counts",
    "history_request",
    "input_reply",
    "input_requests",
    "inspect_request",
    "interrupt_request",
    "is_child_message",
    "is_complete_request",
    "kernel_info_request",
    "kernel_statuses",
    "last_value",
    "launch",
    "list_kernels",
    "list_kernelspecs",
    "list_subshell_request",
    "of_message_type",
    "outputs",
    "payloads",
    "record",
    "replay",
    "shutdown_request",
    "to_result",
    "until_idle",
    "updated_outputs",
    "wait",
    "with_comm_id",
]

if TYPE_CHECKING:
    __version__: str
else:

    def __getattr__(name: str) -> str:
        # Lazy, since importing importlib.metadata takes 16 ms, and this package 200 ms.
        if name == "__version__":
            from importlib.metadata import version

            return version("enchannel")
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
