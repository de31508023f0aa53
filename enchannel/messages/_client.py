"""Constructors of the messages that clients send."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, overload

from enchannel._protocol.channel_name import ChannelName
from enchannel._protocol.message import Message
from enchannel.contents import (
    CommInfoRequest,
    CompleteRequest,
    ConnectRequest,
    CreateSubshellRequest,
    DebugRequest,
    DeleteSubshellRequest,
    ExecuteRequest,
    HistoryRequest,
    InputReply,
    InspectRequest,
    InterruptRequest,
    IsCompleteRequest,
    KernelInfoRequest,
    ListSubshellRequest,
    ShutdownRequest,
)
from enchannel.messages._either import Parent, build

__all__ = [
    "comm_info_request",
    "complete_request",
    "connect_request",
    "create_subshell_request",
    "debug_request",
    "delete_subshell_request",
    "execute_request",
    "history_request",
    "input_reply",
    "inspect_request",
    "interrupt_request",
    "is_complete_request",
    "kernel_info_request",
    "list_subshell_request",
    "shutdown_request",
]


def execute_request(
    code: str,
    *,
    silent: bool = False,
    store_history: bool = True,
    user_expressions: Mapping[str, str] | None = None,
    allow_stdin: bool = False,
    stop_on_error: bool = True,
    subshell_id: str | None = None,
) -> Message[ExecuteRequest]:
    """Run code.

    Args:
        code: One or more lines of code.
        silent: Do not count, store or publish the execution.
        store_history: Add the code to the history; ignored if ``silent``.
        user_expressions: Expressions to evaluate afterwards, by arbitrary names.
        allow_stdin: Allow the code to request input; the client answers ``input_request``.
        stop_on_error: Abort the requests that are queued behind this one if it fails.
        subshell_id: The subshell that runs it; None for the main shell.

    Example:
        >>> ec.execute_request("6 * 7").content["code"]
        '6 * 7'
    """
    content = {
        "code": code,
        "silent": silent,
        "store_history": store_history,
        "user_expressions": {} if user_expressions is None else user_expressions,
        "allow_stdin": allow_stdin,
        "stop_on_error": stop_on_error,
    }
    return build("execute_request", content, subshell_id=subshell_id)


def inspect_request(
    code: str,
    cursor_pos: int | None = None,
    detail_level: Literal[0, 1] = 0,
    *,
    subshell_id: str | None = None,
) -> Message[InspectRequest]:
    """Request documentation of the object at the cursor.

    Args:
        code: The code around the cursor.
        cursor_pos: The cursor in code points; None is the end of the code.
        detail_level: 1 also requests expensive details, such as the source code.
        subshell_id: The subshell that answers; None for the main shell.

    Raises:
        TypeError, ValueError: ``cursor_pos`` is outside the code, or an argument is of another type.
    """
    content = {**_code_at(code, cursor_pos), "detail_level": detail_level}
    return build("inspect_request", content, subshell_id=subshell_id)


def complete_request(
    code: str, cursor_pos: int | None = None, *, subshell_id: str | None = None
) -> Message[CompleteRequest]:
    """Request completions at the cursor.

    Args:
        code: The code around the cursor.
        cursor_pos: The cursor in code points; None is the end of the code.
        subshell_id: The subshell that answers; None for the main shell.

    Raises:
        TypeError, ValueError: ``cursor_pos`` is outside the code, or an argument is of another type.
    """
    content = _code_at(code, cursor_pos)
    return build("complete_request", content, subshell_id=subshell_id)


@overload
def history_request(
    hist_access_type: Literal["tail"],
    *,
    n: int | None = None,
    output: bool = False,
    raw: bool = True,
    subshell_id: str | None = None,
) -> Message[HistoryRequest]: ...
@overload
def history_request(
    hist_access_type: Literal["range"],
    *,
    session: int = 0,
    start: int = 0,
    stop: int | None = None,
    output: bool = False,
    raw: bool = True,
    subshell_id: str | None = None,
) -> Message[HistoryRequest]: ...
@overload
def history_request(
    hist_access_type: Literal["search"],
    *,
    pattern: str,
    n: int | None = None,
    unique: bool = False,
    output: bool = False,
    raw: bool = True,
    subshell_id: str | None = None,
) -> Message[HistoryRequest]: ...
def history_request(
    hist_access_type: Literal["tail", "range", "search"],
    *,
    output: bool = False,
    raw: bool = True,
    subshell_id: str | None = None,
    session: int | None = None,
    start: int | None = None,
    stop: int | None = None,
    n: int | None = None,
    pattern: str | None = None,
    unique: bool | None = None,
) -> Message[HistoryRequest]:
    """Request past input: the last entries, a range of one session, or entries that match a pattern.

    Args:
        hist_access_type: ``"tail"``, ``"range"`` or ``"search"``.
        output: Include results.
        raw: Return the code as it was typed, not as the kernel transformed it.
        subshell_id: The subshell that answers; None for the main shell.
        session: For a range: 0 is the current session, -1 the previous one.
        start: For a range: its first line.
        stop: For a range: the line after its last line; None for all.
        n: For a tail or a search: the maximum number of entries. None: all that match a search; for a tail,
            the default of the kernel (10 in ipykernel).
        pattern: For a search: a glob with ``*`` and ``?``.
        unique: For a search: omit duplicates.
    """
    if hist_access_type == "range":
        session, start = session or 0, start or 0
    content = {
        "output": output,
        "raw": raw,
        "hist_access_type": hist_access_type,
        "session": session,
        "start": start,
        "stop": stop,
        "n": n,
        "pattern": pattern,
        "unique": unique,
    }
    given = {name: value for name, value in content.items() if value is not None}
    return build("history_request", given, subshell_id=subshell_id)


def is_complete_request(code: str, *, subshell_id: str | None = None) -> Message[IsCompleteRequest]:
    """Request a check of whether code is complete or needs another line."""
    return build("is_complete_request", {"code": code}, subshell_id=subshell_id)


def comm_info_request(
    target_name: str | None = None, *, subshell_id: str | None = None
) -> Message[CommInfoRequest]:
    """Request the open comms of one target, or of all (None)."""
    content = {} if target_name is None else {"target_name": target_name}
    return build("comm_info_request", content, subshell_id=subshell_id)


def kernel_info_request(
    *, channel: ChannelName | str = ChannelName.SHELL
) -> Message[KernelInfoRequest]:
    """Request information about the kernel. On control, newer kernels answer while code runs."""
    return build("kernel_info_request", {}, channel=channel)


def connect_request() -> Message[ConnectRequest]:
    """Request the ports of the kernel (deprecated; few kernels answer)."""
    return build("connect_request", {})


def shutdown_request(restart: bool = False) -> Message[ShutdownRequest]:
    """Request that the kernel exits; with ``restart``, the process that launched it starts it again."""
    return build("shutdown_request", {"restart": restart}, channel=ChannelName.CONTROL)


def interrupt_request() -> Message[InterruptRequest]:
    """Request that the kernel interrupts running code. Some kernels answer without interrupting it."""
    return build("interrupt_request", {}, channel=ChannelName.CONTROL)


def debug_request(
    command: str, arguments: Mapping[str, Any] | None = None, *, seq: int
) -> Message[DebugRequest]:
    """Send a Debug Adapter Protocol request to the debugger of the kernel.

    Args:
        command: The command, such as ``"debugInfo"``.
        arguments: Its arguments.
        seq: The sequence number of the request in the session, from 1.
    """
    content: dict[str, Any] = {"type": "request", "seq": seq, "command": command}
    if arguments is not None:
        content["arguments"] = arguments
    return build("debug_request", content, channel=ChannelName.CONTROL)


def create_subshell_request() -> Message[CreateSubshellRequest]:
    """Request a new subshell, which runs code while the main shell is busy."""
    return build("create_subshell_request", {}, channel=ChannelName.CONTROL)


def delete_subshell_request(subshell_id: str) -> Message[DeleteSubshellRequest]:
    """Delete a subshell."""
    content = {"subshell_id": subshell_id}
    return build("delete_subshell_request", content, channel=ChannelName.CONTROL)


def list_subshell_request() -> Message[ListSubshellRequest]:
    """Request the ids of the subshells."""
    return build("list_subshell_request", {}, channel=ChannelName.CONTROL)


def input_reply(value: str, *, parent: Parent | None = None) -> Message[InputReply]:
    """Answer an ``input_request`` of the kernel.

    Args:
        value: The line, without its newline.
        parent: The ``input_request``.
    """
    return build("input_reply", {"value": value}, channel=ChannelName.STDIN, parent=parent)


def _code_at(code: str, cursor_pos: int | None) -> dict[str, Any]:
    # Checked here, because some kernels do not answer a request whose cursor is outside the code.
    if not isinstance(code, str):
        raise TypeError(f"code must be a string, not {type(code).__name__}")
    if cursor_pos is not None and type(cursor_pos) is not int:
        raise TypeError(f"cursor_pos must be an int or None, not {type(cursor_pos).__name__}")
    if cursor_pos is not None and not 0 <= cursor_pos <= len(code):
        raise ValueError(
            f"cursor_pos must be 0 to {len(code)}, the length of the code, not {cursor_pos}"
        )
    return {"code": code, "cursor_pos": len(code) if cursor_pos is None else cursor_pos}
