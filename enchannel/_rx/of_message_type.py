"""``of_message_type``: a filter that types the content of the messages it passes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, overload

from reactivex import abc

from enchannel._protocol.message import AnyMessage, Message
from enchannel._rx.per_item import Operator, make_operator

if TYPE_CHECKING:
    from enchannel import contents as c

__all__ = ["of_message_type"]


@overload
def of_message_type(
    msg_type: Literal["clear_output"], /
) -> Operator[AnyMessage, Message[c.ClearOutput]]: ...
@overload
def of_message_type(
    msg_type: Literal["comm_close"], /
) -> Operator[AnyMessage, Message[c.CommClose]]: ...
@overload
def of_message_type(
    msg_type: Literal["comm_info_reply"], /
) -> Operator[AnyMessage, Message[c.CommInfoReply]]: ...
@overload
def of_message_type(
    msg_type: Literal["comm_info_request"], /
) -> Operator[AnyMessage, Message[c.CommInfoRequest]]: ...
@overload
def of_message_type(
    msg_type: Literal["comm_msg"], /
) -> Operator[AnyMessage, Message[c.CommMsg]]: ...
@overload
def of_message_type(
    msg_type: Literal["comm_open"], /
) -> Operator[AnyMessage, Message[c.CommOpen]]: ...
@overload
def of_message_type(
    msg_type: Literal["complete_reply"], /
) -> Operator[AnyMessage, Message[c.CompleteReply]]: ...
@overload
def of_message_type(
    msg_type: Literal["complete_request"], /
) -> Operator[AnyMessage, Message[c.CompleteRequest]]: ...
@overload
def of_message_type(
    msg_type: Literal["connect_reply"], /
) -> Operator[AnyMessage, Message[c.ConnectReply]]: ...
@overload
def of_message_type(
    msg_type: Literal["connect_request"], /
) -> Operator[AnyMessage, Message[c.ConnectRequest]]: ...
@overload
def of_message_type(
    msg_type: Literal["create_subshell_reply"], /
) -> Operator[AnyMessage, Message[c.CreateSubshellReply]]: ...
@overload
def of_message_type(
    msg_type: Literal["create_subshell_request"], /
) -> Operator[AnyMessage, Message[c.CreateSubshellRequest]]: ...
@overload
def of_message_type(
    msg_type: Literal["debug_event"], /
) -> Operator[AnyMessage, Message[c.DebugEvent]]: ...
@overload
def of_message_type(
    msg_type: Literal["debug_reply"], /
) -> Operator[AnyMessage, Message[c.DebugReply]]: ...
@overload
def of_message_type(
    msg_type: Literal["debug_request"], /
) -> Operator[AnyMessage, Message[c.DebugRequest]]: ...
@overload
def of_message_type(
    msg_type: Literal["delete_subshell_reply"], /
) -> Operator[AnyMessage, Message[c.DeleteSubshellReply]]: ...
@overload
def of_message_type(
    msg_type: Literal["delete_subshell_request"], /
) -> Operator[AnyMessage, Message[c.DeleteSubshellRequest]]: ...
@overload
def of_message_type(
    msg_type: Literal["display_data"], /
) -> Operator[AnyMessage, Message[c.DisplayData]]: ...
@overload
def of_message_type(msg_type: Literal["error"], /) -> Operator[AnyMessage, Message[c.Error]]: ...
@overload
def of_message_type(
    msg_type: Literal["execute_input"], /
) -> Operator[AnyMessage, Message[c.ExecuteInput]]: ...
@overload
def of_message_type(
    msg_type: Literal["execute_reply"], /
) -> Operator[AnyMessage, Message[c.ExecuteReply]]: ...
@overload
def of_message_type(
    msg_type: Literal["execute_request"], /
) -> Operator[AnyMessage, Message[c.ExecuteRequest]]: ...
@overload
def of_message_type(
    msg_type: Literal["execute_result"], /
) -> Operator[AnyMessage, Message[c.ExecuteResult]]: ...
@overload
def of_message_type(
    msg_type: Literal["history_reply"], /
) -> Operator[AnyMessage, Message[c.HistoryReply]]: ...
@overload
def of_message_type(
    msg_type: Literal["history_request"], /
) -> Operator[AnyMessage, Message[c.HistoryRequest]]: ...
@overload
def of_message_type(
    msg_type: Literal["input_reply"], /
) -> Operator[AnyMessage, Message[c.InputReply]]: ...
@overload
def of_message_type(
    msg_type: Literal["input_request"], /
) -> Operator[AnyMessage, Message[c.InputRequest]]: ...
@overload
def of_message_type(
    msg_type: Literal["inspect_reply"], /
) -> Operator[AnyMessage, Message[c.InspectReply]]: ...
@overload
def of_message_type(
    msg_type: Literal["inspect_request"], /
) -> Operator[AnyMessage, Message[c.InspectRequest]]: ...
@overload
def of_message_type(
    msg_type: Literal["interrupt_reply"], /
) -> Operator[AnyMessage, Message[c.InterruptReply]]: ...
@overload
def of_message_type(
    msg_type: Literal["interrupt_request"], /
) -> Operator[AnyMessage, Message[c.InterruptRequest]]: ...
@overload
def of_message_type(
    msg_type: Literal["iopub_welcome"], /
) -> Operator[AnyMessage, Message[c.IopubWelcome]]: ...
@overload
def of_message_type(
    msg_type: Literal["is_complete_reply"], /
) -> Operator[AnyMessage, Message[c.IsCompleteReply]]: ...
@overload
def of_message_type(
    msg_type: Literal["is_complete_request"], /
) -> Operator[AnyMessage, Message[c.IsCompleteRequest]]: ...
@overload
def of_message_type(
    msg_type: Literal["kernel_info_reply"], /
) -> Operator[AnyMessage, Message[c.KernelInfoReply]]: ...
@overload
def of_message_type(
    msg_type: Literal["kernel_info_request"], /
) -> Operator[AnyMessage, Message[c.KernelInfoRequest]]: ...
@overload
def of_message_type(
    msg_type: Literal["list_subshell_reply"], /
) -> Operator[AnyMessage, Message[c.ListSubshellReply]]: ...
@overload
def of_message_type(
    msg_type: Literal["list_subshell_request"], /
) -> Operator[AnyMessage, Message[c.ListSubshellRequest]]: ...
@overload
def of_message_type(
    msg_type: Literal["shutdown_reply"], /
) -> Operator[AnyMessage, Message[c.ShutdownReply]]: ...
@overload
def of_message_type(
    msg_type: Literal["shutdown_request"], /
) -> Operator[AnyMessage, Message[c.ShutdownRequest]]: ...
@overload
def of_message_type(msg_type: Literal["status"], /) -> Operator[AnyMessage, Message[c.Status]]: ...
@overload
def of_message_type(msg_type: Literal["stream"], /) -> Operator[AnyMessage, Message[c.Stream]]: ...
@overload
def of_message_type(
    msg_type: Literal["update_display_data"], /
) -> Operator[AnyMessage, Message[c.UpdateDisplayData]]: ...
@overload
def of_message_type(*msg_types: str) -> Operator[AnyMessage, Message[Any]]: ...
def of_message_type(*msg_types: str) -> Operator[AnyMessage, Message[Any]]:
    """Emit only the messages of the given types.

    For a single message type of the protocol, the content is typed: an editor completes
    ``message.content["text"]``. Before operators of reactivex, end the pipe and begin another
    (``.pipe(ec.of_message_type("stream")).pipe(ops.first())``): mypy cannot infer their types in one pipe.

    Args:
        msg_types: For example ``"stream"``.

    Example:
        >>> streams = kernel.iopub.pipe(ec.of_message_type("stream"))
        >>> streams.subscribe(lambda m: print(m.content["text"], end=""))
    """
    wanted = frozenset(msg_types)

    def start(observer: abc.ObserverBase[AnyMessage]) -> Callable[[AnyMessage], None]:
        def on_next(message: AnyMessage) -> None:
            if isinstance(message, Message) and message.header.msg_type in wanted:
                observer.on_next(message)

        return on_next

    return make_operator(start)
