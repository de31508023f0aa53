"""Constructors of the messages that kernels send."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from enchannel._protocol.channel_name import ChannelName
from enchannel._protocol.message import PROTOCOL_VERSION, AnyMessage, Buffer, Message
from enchannel.contents import (
    ClearOutput,
    CommInfo,
    CommInfoReply,
    CompleteReply,
    ConnectReply,
    CreateSubshellReply,
    DebugEvent,
    DebugReply,
    DeleteSubshellReply,
    DisplayData,
    Error,
    ExecuteInput,
    ExecuteReply,
    ExecuteResult,
    ExpressionResult,
    HelpLink,
    HistoryReply,
    InputRequest,
    InspectReply,
    InterruptReply,
    IopubWelcome,
    IsCompleteReply,
    KernelInfoReply,
    LanguageInfo,
    ListSubshellReply,
    Payload,
    ShutdownReply,
    Status,
    Stream,
    UpdateDisplayData,
)
from enchannel.messages._either import Parent, build

__all__ = [
    "clear_output",
    "comm_info_reply",
    "complete_reply",
    "connect_reply",
    "create_subshell_reply",
    "debug_event",
    "debug_reply",
    "delete_subshell_reply",
    "display_data",
    "error",
    "execute_input",
    "execute_reply",
    "execute_result",
    "history_reply",
    "input_request",
    "inspect_reply",
    "interrupt_reply",
    "iopub_welcome",
    "is_complete_reply",
    "kernel_info_reply",
    "list_subshell_reply",
    "shutdown_reply",
    "status",
    "stream",
    "update_display_data",
]

# Messages on iopub, most of them while a request runs.


def status(execution_state: str, *, parent: Parent | None) -> Message[Status]:
    """Publish the execution state.

    Args:
        execution_state: ``"busy"`` before and ``"idle"`` after each request; ``"starting"`` once.
        parent: The request; None for ``"starting"``.
    """
    content = {"execution_state": execution_state}
    return build("status", content, channel=ChannelName.IOPUB, parent=parent)


def stream(
    name: Literal["stdout", "stderr"], text: str, *, parent: Parent | None = None
) -> Message[Stream]:
    """Publish text written to stdout or stderr."""
    content = {"name": name, "text": text}
    return build("stream", content, channel=ChannelName.IOPUB, parent=parent)


def display_data(
    data: Mapping[str, Any],
    *,
    metadata: Mapping[str, Any] | None = None,
    transient: Mapping[str, Any] | None = None,
    parent: Parent | None = None,
    buffers: Iterable[Buffer] = (),
) -> Message[DisplayData]:
    """Publish a display.

    Args:
        data: The content by MIME type.
        metadata: Display options by MIME type.
        transient: ``{"display_id": …}`` makes the display updatable.
        parent: The request.
        buffers: Binary data.
    """
    content = _display(data, metadata, transient)
    return build("display_data", content, channel=ChannelName.IOPUB, parent=parent, buffers=buffers)


def update_display_data(
    data: Mapping[str, Any],
    display_id: str,
    *,
    metadata: Mapping[str, Any] | None = None,
    parent: Parent | None = None,
    buffers: Iterable[Buffer] = (),
) -> Message[UpdateDisplayData]:
    """Replace the content of all displays with a ``display_id``."""
    content = _display(data, metadata, {"display_id": display_id})
    return build(
        "update_display_data", content, channel=ChannelName.IOPUB, parent=parent, buffers=buffers
    )


def execute_input(code: str, execution_count: int, *, parent: Parent) -> Message[ExecuteInput]:
    """Publish the code that is about to run, for all clients."""
    content = {"code": code, "execution_count": execution_count}
    return build("execute_input", content, channel=ChannelName.IOPUB, parent=parent)


def execute_result(
    data: Mapping[str, Any],
    execution_count: int,
    *,
    metadata: Mapping[str, Any] | None = None,
    transient: Mapping[str, Any] | None = None,
    parent: Parent,
    buffers: Iterable[Buffer] = (),
) -> Message[ExecuteResult]:
    """Publish the value of the last expression, by MIME type."""
    content = {"execution_count": execution_count, **_display(data, metadata, transient)}
    return build(
        "execute_result", content, channel=ChannelName.IOPUB, parent=parent, buffers=buffers
    )


def error(ename: str, evalue: str, traceback: Sequence[str], *, parent: Parent) -> Message[Error]:
    """Publish the exception that the code raised; the ``execute_reply`` contains it too."""
    content = {"ename": ename, "evalue": evalue, "traceback": traceback}
    return build("error", content, channel=ChannelName.IOPUB, parent=parent)


def clear_output(wait: bool = False, *, parent: Parent | None = None) -> Message[ClearOutput]:
    """Clear the outputs, at once or, with ``wait``, when the next output arrives."""
    return build("clear_output", {"wait": wait}, channel=ChannelName.IOPUB, parent=parent)


def debug_event(
    event: str, body: Any = None, *, seq: int, parent: Parent | None = None
) -> Message[DebugEvent]:
    """Publish a Debug Adapter Protocol event."""
    content: dict[str, Any] = {"type": "event", "seq": seq, "event": event}
    if body is not None:
        content["body"] = body
    return build("debug_event", content, channel=ChannelName.IOPUB, parent=parent)


def iopub_welcome(subscription: str = "") -> Message[IopubWelcome]:
    """Confirm a subscription to a topic of iopub; ``""`` is all topics."""
    return build("iopub_welcome", {"subscription": subscription}, channel=ChannelName.IOPUB)


# Replies on shell.


def execute_reply(
    execution_count: int | None = None,
    *,
    parent: Parent,
    status: str = "ok",
    payload: Sequence[Payload] = (),
    user_expressions: Mapping[str, ExpressionResult] | None = None,
    ename: str = "",
    evalue: str = "",
    traceback: Sequence[str] = (),
) -> Message[ExecuteReply]:
    """Reply to ``execute_request``.

    Args:
        execution_count: The number of the execution, from 1; None omits it, for code that did not run.
        parent: The request.
        status: ``"ok"``, ``"error"`` or ``"aborted"``.
        payload: With ``"ok"``: actions for the front end, such as showing a page.
        user_expressions: With ``"ok"``: the results of the expressions, by name.
        ename: With ``"error"``: the name of the exception.
        evalue: With ``"error"``: the text of the exception.
        traceback: With ``"error"``: the lines of the traceback.
    """
    content: dict[str, Any] = {"status": status}
    if execution_count is not None:
        content["execution_count"] = execution_count
    if status == "ok":
        content |= {"payload": payload, "user_expressions": _or_empty(user_expressions)}
    elif status == "error":
        content |= {"ename": ename, "evalue": evalue, "traceback": traceback}
    return build("execute_reply", content, parent=parent)


def inspect_reply(
    data: Mapping[str, Any] | None = None,
    *,
    metadata: Mapping[str, Any] | None = None,
    parent: Parent,
) -> Message[InspectReply]:
    """Reply with documentation by MIME type; None means that the object was not found."""
    content = {
        "status": "ok",
        "found": data is not None,
        "data": _or_empty(data),
        "metadata": _or_empty(metadata),
    }
    return build("inspect_reply", content, parent=parent)


def complete_reply(
    matches: Sequence[str],
    cursor_start: int,
    cursor_end: int,
    *,
    metadata: Mapping[str, Any] | None = None,
    parent: Parent,
) -> Message[CompleteReply]:
    """Reply with completions.

    Args:
        matches: The completions.
        cursor_start: The start of the text that a completion replaces, in code points.
        cursor_end: The end of that text, in code points.
        metadata: Extra information.
        parent: The request.
    """
    content = {
        "status": "ok",
        "matches": matches,
        "cursor_start": cursor_start,
        "cursor_end": cursor_end,
        "metadata": _or_empty(metadata),
    }
    return build("complete_reply", content, parent=parent)


def history_reply(history: Sequence[Sequence[Any]], *, parent: Parent) -> Message[HistoryReply]:
    """Reply with past input.

    Args:
        history: Entries ``(session, line, input)`` or ``(session, line, (input, output))``.
        parent: The request.
    """
    return build("history_reply", {"status": "ok", "history": history}, parent=parent)


def is_complete_reply(
    status: Literal["complete", "incomplete", "invalid", "unknown"],
    *,
    indent: str = "",
    parent: Parent,
) -> Message[IsCompleteReply]:
    """Reply to ``is_complete_request``.

    Args:
        status: The verdict.
        indent: The indentation of the next line, for ``"incomplete"``.
        parent: The request.
    """
    content: dict[str, str] = {"status": status}
    if status == "incomplete":
        content["indent"] = indent
    return build("is_complete_reply", content, parent=parent)


def connect_reply(
    *,
    shell_port: int | None = None,
    iopub_port: int | None = None,
    stdin_port: int | None = None,
    hb_port: int | None = None,
    control_port: int | None = None,
    parent: Parent,
) -> Message[ConnectReply]:
    """Reply with the ports of the kernel; None omits the port of a channel that is not open."""
    ports = {
        "shell_port": shell_port,
        "iopub_port": iopub_port,
        "stdin_port": stdin_port,
        "hb_port": hb_port,
        "control_port": control_port,
    }
    open_ports = {name: port for name, port in ports.items() if port is not None}
    return build("connect_reply", {"status": "ok", **open_ports}, parent=parent)


def comm_info_reply(comms: Mapping[str, CommInfo], *, parent: Parent) -> Message[CommInfoReply]:
    """Reply with the open comms by id: ``{comm_id: {"target_name": …}}``."""
    return build("comm_info_reply", {"status": "ok", "comms": comms}, parent=parent)


def kernel_info_reply(
    *,
    implementation: str,
    implementation_version: str,
    language_info: LanguageInfo,
    banner: str = "",
    help_links: Sequence[HelpLink] = (),
    supported_features: Sequence[str] = (),
    protocol_version: str = PROTOCOL_VERSION,
    parent: Parent,
    channel: ChannelName | str | None = None,
) -> Message[KernelInfoReply]:
    """Reply with information about the kernel.

    Args:
        implementation: The name of the kernel, such as ``"ipython"``.
        implementation_version: Its version.
        language_info: The language that it runs.
        banner: Text for consoles.
        help_links: Entries for a help menu.
        supported_features: The protocol defines ``"debugger"`` and ``"kernel subshells"``.
        protocol_version: The version of the messaging protocol.
        parent: The request, or its header.
        channel: By default the channel of the request; shell if ``parent`` is a header.
    """
    content = {
        "status": "ok",
        "protocol_version": protocol_version,
        "implementation": implementation,
        "implementation_version": implementation_version,
        "language_info": language_info,
        "banner": banner,
        "help_links": help_links,
        "supported_features": supported_features,
    }
    channel = channel or _channel_of(parent, ChannelName.SHELL)
    return build("kernel_info_reply", content, channel=channel, parent=parent)


# Replies on control.


def shutdown_reply(
    restart: bool = False, *, parent: Parent, channel: ChannelName | str | None = None
) -> Message[ShutdownReply]:
    """Confirm that the kernel is about to exit.

    Args:
        restart: As in the request.
        parent: The request, or its header.
        channel: By default the channel of the request; control if ``parent`` is a header.
    """
    content = {"status": "ok", "restart": restart}
    channel = channel or _channel_of(parent, ChannelName.CONTROL)
    return build("shutdown_reply", content, channel=channel, parent=parent)


def interrupt_reply(*, parent: Parent) -> Message[InterruptReply]:
    """Confirm an interrupt request."""
    return _reply_on_control("interrupt_reply", parent)


def debug_reply(
    command: str,
    body: Any = None,
    *,
    seq: int,
    request_seq: int,
    success: bool = True,
    message: str | None = None,
    parent: Parent,
) -> Message[DebugReply]:
    """Reply with a Debug Adapter Protocol response.

    Args:
        command: The command of the request.
        body: The result.
        seq: The sequence number of the response.
        request_seq: The sequence number of the request.
        success: False for a failed command.
        message: The reason of a failure.
        parent: The request.
    """
    content: dict[str, Any] = {
        "type": "response",
        "seq": seq,
        "request_seq": request_seq,
        "success": success,
        "command": command,
    }
    if message is not None:
        content["message"] = message
    if body is not None:
        content["body"] = body
    return build("debug_reply", content, channel=ChannelName.CONTROL, parent=parent)


def create_subshell_reply(subshell_id: str, *, parent: Parent) -> Message[CreateSubshellReply]:
    """Reply with the id of the new subshell."""
    return _reply_on_control("create_subshell_reply", parent, subshell_id=subshell_id)


def delete_subshell_reply(*, parent: Parent) -> Message[DeleteSubshellReply]:
    """Confirm that a subshell was deleted."""
    return _reply_on_control("delete_subshell_reply", parent)


def list_subshell_reply(
    subshell_ids: Sequence[str], *, parent: Parent
) -> Message[ListSubshellReply]:
    """Reply with the ids of all subshells; the main shell has none."""
    return _reply_on_control("list_subshell_reply", parent, subshell_id=subshell_ids)


# Requests on stdin.


def input_request(
    prompt: str = "", *, password: bool = False, parent: Parent
) -> Message[InputRequest]:
    """Request a line of input from the client that sent a request.

    Args:
        prompt: Text to show before the input.
        password: Hide the input while it is typed.
        parent: The request of the client.
    """
    content = {"prompt": prompt, "password": password}
    return build("input_request", content, channel=ChannelName.STDIN, parent=parent)


def _display(
    data: Mapping[str, Any],
    metadata: Mapping[str, Any] | None,
    transient: Mapping[str, Any] | None,
) -> dict[str, Any]:
    return {"data": data, "metadata": _or_empty(metadata), "transient": _or_empty(transient)}


def _or_empty(mapping: Mapping[str, Any] | None) -> Mapping[str, Any]:
    return {} if mapping is None else mapping


def _channel_of(parent: Parent, default: ChannelName) -> ChannelName:
    return parent.channel if isinstance(parent, Message) else default


def _reply_on_control(msg_type: str, parent: Parent, **fields: Any) -> AnyMessage:
    content = {"status": "ok", **fields}
    return build(msg_type, content, channel=ChannelName.CONTROL, parent=parent)
