"""What a client says: a builder for each request, named as its message type is."""

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
        code: One or more lines.
        silent: Do not count, store or show the execution.
        store_history: Remember the code; a kernel does not when ``silent``.
        user_expressions: Expressions to evaluate afterwards, by names of one's own.
        allow_stdin: The code may ask for input, and somebody will answer.
        stop_on_error: An error aborts the requests that are queued behind this one.
        subshell_id: The subshell to run it in; None is the main one.
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
    """Ask what is known of the thing at ``cursor_pos``, in code points (None: the code's end).

    Level 1 also asks for what costs more, such as its source.
    """
    content = {
        "code": code,
        "cursor_pos": len(code) if cursor_pos is None else cursor_pos,
        "detail_level": detail_level,
    }
    return build("inspect_request", content, subshell_id=subshell_id)


def complete_request(
    code: str, cursor_pos: int | None = None, *, subshell_id: str | None = None
) -> Message[CompleteRequest]:
    """Ask how the code could go on at ``cursor_pos``, in code points (None: the code's end)."""
    content = {"code": code, "cursor_pos": len(code) if cursor_pos is None else cursor_pos}
    return build("complete_request", content, subshell_id=subshell_id)


@overload
def history_request(
    hist_access_type: Literal["tail"],
    *,
    n: int,
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
    """Ask for past input: the last lines, a range of a session's lines, or those like a pattern.

    Args:
        hist_access_type: ``"tail"``, ``"range"`` or ``"search"``.
        output: Ask for the results too.
        raw: Ask for the code as it was typed, rather than as the kernel transformed it.
        subshell_id: The subshell to ask; None is the main one.
        session: Of a range: 0 is the current session, -1 the one before.
        start: Of a range: its first line.
        stop: Of a range: the line behind its last (None: to the end).
        n: Of a tail or a search: how many of the last lines (None: all).
        pattern: Of a search: a glob, with ``*`` and ``?``.
        unique: Of a search: leave out repetitions.
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
    """Ask whether the code could be run as it is, or wants another line."""
    return build("is_complete_request", {"code": code}, subshell_id=subshell_id)


def comm_info_request(
    target_name: str | None = None, *, subshell_id: str | None = None
) -> Message[CommInfoRequest]:
    """Ask which comms are open: those of one target, or (None) all."""
    content = {} if target_name is None else {"target_name": target_name}
    return build("comm_info_request", content, subshell_id=subshell_id)


def kernel_info_request(
    *, channel: ChannelName | str = ChannelName.SHELL
) -> Message[KernelInfoRequest]:
    """Ask what the kernel is; on control newer kernels answer while code runs."""
    return build("kernel_info_request", {}, channel=channel)


def connect_request() -> Message[ConnectRequest]:
    """Ask for the kernel's ports (deprecated: few kernels answer)."""
    return build("connect_request", {})


def shutdown_request(restart: bool = False) -> Message[ShutdownRequest]:
    """Ask the kernel to end, for good or to be started anew by whoever started it."""
    return build("shutdown_request", {"restart": restart}, channel=ChannelName.CONTROL)


def interrupt_request() -> Message[InterruptRequest]:
    """Ask the kernel to stop what it runs; some answer and do not stop."""
    return build("interrupt_request", {}, channel=ChannelName.CONTROL)


def debug_request(
    command: str, arguments: Mapping[str, Any] | None = None, *, seq: int
) -> Message[DebugRequest]:
    """Say something to the kernel's debugger; ``seq`` counts a session's requests from 1."""
    content: dict[str, Any] = {"type": "request", "seq": seq, "command": command}
    if arguments is not None:
        content["arguments"] = arguments
    return build("debug_request", content, channel=ChannelName.CONTROL)


def create_subshell_request() -> Message[CreateSubshellRequest]:
    """Ask for a new subshell, which runs code while the main shell is busy."""
    return build("create_subshell_request", {}, channel=ChannelName.CONTROL)


def delete_subshell_request(subshell_id: str) -> Message[DeleteSubshellRequest]:
    """Give a subshell back."""
    content = {"subshell_id": subshell_id}
    return build("delete_subshell_request", content, channel=ChannelName.CONTROL)


def list_subshell_request() -> Message[ListSubshellRequest]:
    """Ask for the ids of the subshells."""
    return build("list_subshell_request", {}, channel=ChannelName.CONTROL)


def input_reply(value: str, *, parent: Parent | None = None) -> Message[InputReply]:
    """Answer the kernel's ``input_request`` with a line, without its newline."""
    return build("input_reply", {"value": value}, channel=ChannelName.STDIN, parent=parent)
