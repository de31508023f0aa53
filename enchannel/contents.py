"""The content of every message type of protocol 5.5, field by field.

Fields that the protocol requires and all known kernels send are required; fields that a kernel was
observed to omit, and fields that error replies omit, are ``NotRequired``. Messages may have additional
fields. ``CONTENT_TYPES`` maps each ``msg_type`` to the type of its content.
"""

# No `from __future__ import annotations` here: Python 3.11 would not see NotRequired in strings.
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal, NotRequired, TypeAlias, TypedDict

__all__ = [
    "CONTENT_TYPES",
    "ClearOutput",
    "CommClose",
    "CommInfo",
    "CommInfoReply",
    "CommInfoRequest",
    "CommMsg",
    "CommOpen",
    "CompleteReply",
    "CompleteRequest",
    "ConnectReply",
    "ConnectRequest",
    "CreateSubshellReply",
    "CreateSubshellRequest",
    "DebugEvent",
    "DebugReply",
    "DebugRequest",
    "DeleteSubshellReply",
    "DeleteSubshellRequest",
    "DisplayData",
    "DisplayId",
    "Error",
    "ErrorFields",
    "ExecuteInput",
    "ExecuteReply",
    "ExecuteRequest",
    "ExecuteResult",
    "ExpressionResult",
    "HelpLink",
    "HistoryReply",
    "HistoryRequest",
    "InputReply",
    "InputRequest",
    "InspectReply",
    "InspectRequest",
    "InterruptReply",
    "InterruptRequest",
    "IopubWelcome",
    "IsCompleteReply",
    "IsCompleteRequest",
    "KernelInfoReply",
    "KernelInfoRequest",
    "LanguageInfo",
    "ListSubshellReply",
    "ListSubshellRequest",
    "MimeBundle",
    "Payload",
    "ShutdownReply",
    "ShutdownRequest",
    "Status",
    "Stream",
    "Transient",
    "UpdateDisplayData",
]

MimeBundle: TypeAlias = dict[str, Any]
"""One object in several formats, by MIME type: text, base64 text for binary types, JSON for JSON types."""


class ErrorFields(TypedDict):
    """The error fields of a reply with the status ``"error"``. Some kernels omit them.

    Attributes:
        ename: The name of the exception.
        evalue: The text of the exception.
        traceback: The lines of the traceback, with ANSI escape sequences.
    """

    ename: NotRequired[str]
    evalue: NotRequired[str]
    traceback: NotRequired[list[str]]


# Shell: execution.


class ExecuteRequest(TypedDict):
    """Execution of code.

    Attributes:
        code: One or more lines of code.
        silent: If true, the execution is not counted, stored or published. Default: false.
        store_history: Adds the code to the history. Default: true, unless silent.
        user_expressions: Expressions to evaluate afterwards, by name.
        allow_stdin: Allows the code to request input. Default: true.
        stop_on_error: Aborts queued requests if the code raises. Default: true.
    """

    code: str
    silent: NotRequired[bool]
    store_history: NotRequired[bool]
    user_expressions: NotRequired[dict[str, str]]
    allow_stdin: NotRequired[bool]
    stop_on_error: NotRequired[bool]


class Payload(TypedDict):
    """An action for the front end (deprecated, but in use: IPython's ``?`` is one).

    Attributes:
        source: The action: ``"page"``, ``"set_next_input"``, ``"edit_magic"``, ``"ask_exit"``.
        data: The page, by MIME type.
        start: The line at which the page starts.
        text: The next input.
        replace: Replaces the current input, in place of adding one.
        filename: The file to edit.
        line_number: The line to edit.
        keepkernel: Keeps the kernel alive on exit.
    """

    source: str
    data: NotRequired[MimeBundle]
    start: NotRequired[int]
    text: NotRequired[str]
    replace: NotRequired[bool]
    filename: NotRequired[str]
    line_number: NotRequired[int]
    keepkernel: NotRequired[bool]


class ExpressionResult(ErrorFields):
    """The value of a user expression, or its error.

    Attributes:
        status: ``"ok"`` or ``"error"``.
        data: The value by MIME type.
        metadata: Display options by MIME type.
    """

    status: str
    data: NotRequired[MimeBundle]
    metadata: NotRequired[dict[str, Any]]


class ExecuteReply(ErrorFields):
    """The outcome of an execution.

    Attributes:
        status: ``"ok"``, ``"error"``, or ``"aborted"`` (some kernels: ``"abort"``) if the code was not run.
        execution_count: The number of the execution, from 1.
        payload: Actions for the front end.
        user_expressions: The results of the user expressions, by name.
    """

    status: str
    execution_count: NotRequired[int]
    payload: NotRequired[list[Payload]]
    user_expressions: NotRequired[dict[str, ExpressionResult]]


# Shell: introspection of code.


class InspectRequest(TypedDict):
    """A request for documentation of the object at the cursor.

    Attributes:
        code: The code around the cursor.
        cursor_pos: The cursor, in Unicode code points.
        detail_level: 1 for more details, such as the source code.
    """

    code: str
    cursor_pos: int
    detail_level: Literal[0, 1]


class InspectReply(ErrorFields):
    """Documentation of an object.

    Attributes:
        status: ``"ok"`` or ``"error"``.
        found: True if the object was found.
        data: The documentation by MIME type; empty or None if the object was not found.
        metadata: Display options by MIME type.
    """

    status: str
    found: NotRequired[bool]
    data: NotRequired[MimeBundle | None]
    metadata: NotRequired[dict[str, Any]]


class CompleteRequest(TypedDict):
    """A request for completions at the cursor.

    Attributes:
        code: The code around the cursor.
        cursor_pos: The cursor, in Unicode code points.
    """

    code: str
    cursor_pos: int


class CompleteReply(ErrorFields):
    """Completions.

    Attributes:
        status: ``"ok"`` or ``"error"``.
        matches: The completions.
        cursor_start: The start of the text that a completion replaces, in Unicode code points.
        cursor_end: The end of that text, in Unicode code points.
        metadata: Extra information, such as the types of the matches.
    """

    status: str
    matches: NotRequired[list[str]]
    cursor_start: NotRequired[int]
    cursor_end: NotRequired[int]
    metadata: NotRequired[dict[str, Any]]


class HistoryRequest(TypedDict):
    """A request for past input.

    Attributes:
        output: Includes results.
        raw: Returns the code as typed, not as the kernel transformed it.
        hist_access_type: A range of one session, the last entries, or entries that match a pattern.
        session: For a range: 0 is the current session, -1 the previous one.
        start: For a range: its first line.
        stop: For a range: the line after its last line.
        n: For a tail or a search: the maximum number of entries.
        pattern: For a search: a glob.
        unique: For a search: omits duplicates.
    """

    output: bool
    raw: bool
    hist_access_type: Literal["range", "tail", "search"]
    session: NotRequired[int]
    start: NotRequired[int]
    stop: NotRequired[int]
    n: NotRequired[int]
    pattern: NotRequired[str]
    unique: NotRequired[bool]


class HistoryReply(ErrorFields):
    """Past input.

    Attributes:
        status: ``"ok"`` or ``"error"``.
        history: Entries ``[session, line, input]`` or ``[session, line, [input, output]]``.
    """

    status: NotRequired[str]
    history: NotRequired[list[list[Any]]]


class IsCompleteRequest(TypedDict):
    """A request to check whether code is complete or needs another line.

    Attributes:
        code: The code.
    """

    code: str


class IsCompleteReply(ErrorFields):
    """The completeness of code.

    Attributes:
        status: ``"complete"``, ``"incomplete"``, ``"invalid"`` or ``"unknown"``.
        indent: The indentation of the next line of incomplete code.
    """

    status: str
    indent: NotRequired[str]


# Shell: information about the kernel.


class ConnectRequest(TypedDict):
    """A request for the ports of the kernel (deprecated; few kernels answer)."""


class ConnectReply(ErrorFields):
    """The ports of the kernel; the port of a channel that is not open is missing."""

    status: NotRequired[str]
    shell_port: NotRequired[int]
    iopub_port: NotRequired[int]
    stdin_port: NotRequired[int]
    hb_port: NotRequired[int]
    control_port: NotRequired[int]


class CommInfoRequest(TypedDict):
    """A request for the open comms.

    Attributes:
        target_name: The target of the comms; missing for all targets.
    """

    target_name: NotRequired[str]


class CommInfo(TypedDict):
    """An open comm.

    Attributes:
        target_name: The target of the comm.
    """

    target_name: str


class CommInfoReply(ErrorFields):
    """The open comms.

    Attributes:
        status: ``"ok"`` or ``"error"``.
        comms: The comms by ``comm_id``.
    """

    status: str
    comms: NotRequired[dict[str, CommInfo]]


class KernelInfoRequest(TypedDict):
    """A request for information about the kernel."""


class LanguageInfo(TypedDict):
    """The language of a kernel.

    Attributes:
        name: The name, such as ``"python"``.
        version: The version of the language.
        file_extension: With the dot, such as ``".py"``.
        mimetype: The MIME type of source files.
        pygments_lexer: The lexer for highlighting, if not ``name``.
        codemirror_mode: The CodeMirror mode for highlighting, if not ``name``.
        nbconvert_exporter: The nbconvert exporter for scripts, if not the default.
    """

    name: str
    version: str
    file_extension: str
    mimetype: NotRequired[str]
    pygments_lexer: NotRequired[str]
    codemirror_mode: NotRequired[str | dict[str, Any]]
    nbconvert_exporter: NotRequired[str]


class HelpLink(TypedDict):
    """An entry of a help menu.

    Attributes:
        text: The label.
        url: The address.
    """

    text: str
    url: str


class KernelInfoReply(ErrorFields):
    """Information about the kernel.

    Attributes:
        status: ``"ok"`` or ``"error"``.
        protocol_version: The version of the messaging protocol.
        implementation: The name of the kernel, such as ``"ipython"``.
        implementation_version: The version of the kernel.
        language_info: The language of the kernel.
        banner: Text for consoles.
        debugger: True if the kernel has a debugger (since 5.5 in ``supported_features``).
        help_links: Entries for a help menu.
        supported_features: Optional features, such as ``"debugger"``; independent of the version.
    """

    status: NotRequired[str]
    protocol_version: str
    implementation: str
    implementation_version: str
    language_info: LanguageInfo
    banner: str
    debugger: NotRequired[bool]
    help_links: NotRequired[list[HelpLink]]
    supported_features: NotRequired[list[str]]


# Comms: shell from the client, iopub from the kernel.


class CommOpen(TypedDict):
    """The opening of a comm.

    Attributes:
        comm_id: A new id, chosen by the sender.
        target_name: The name under which the receiver registered a handler.
        data: The first data of the comm.
        target_module: A module that provides the handler.
    """

    comm_id: str
    target_name: str
    data: dict[str, Any]
    target_module: NotRequired[str | None]


class CommMsg(TypedDict):
    """Data on an open comm.

    Attributes:
        comm_id: The id of the comm.
        data: The data.
    """

    comm_id: str
    data: dict[str, Any]


class CommClose(TypedDict):
    """The closing of a comm, or the rejection of one with an unknown target.

    Attributes:
        comm_id: The id of the comm.
        data: The last data of the comm.
    """

    comm_id: str
    data: dict[str, Any]


# Control.


class ShutdownRequest(TypedDict):
    """A request that the kernel exits.

    Attributes:
        restart: True if the kernel will be started again.
    """

    restart: bool


class ShutdownReply(ErrorFields):
    """The confirmation that the kernel is about to exit. ipykernel sends it on iopub too.

    Attributes:
        status: ``"ok"`` or ``"error"``.
        restart: As in the request.
    """

    status: NotRequired[str]
    restart: bool


class InterruptRequest(TypedDict):
    """A request to interrupt running code."""


class InterruptReply(ErrorFields):
    """The receipt of an interrupt request; running code may continue nevertheless.

    Attributes:
        status: ``"ok"`` or ``"error"``.
    """

    status: str


class DebugRequest(TypedDict):
    """A request of the Debug Adapter Protocol, unchanged.

    Attributes:
        type: ``"request"``.
        seq: The sequence number of the request.
        command: The command, such as ``"debugInfo"``.
        arguments: The arguments of the command.
    """

    type: Literal["request"]
    seq: int
    command: str
    arguments: NotRequired[dict[str, Any]]


class DebugReply(TypedDict, total=False):
    """A response of the Debug Adapter Protocol. ipykernel's may lack any field, and may be empty.

    Attributes:
        type: ``"response"``.
        seq: The sequence number of the response.
        request_seq: The sequence number of the request.
        success: False for a failed command.
        command: The command of the request.
        message: The reason of a failure.
        body: The result.
    """

    type: Literal["response"]
    seq: int
    request_seq: int
    success: bool
    command: str
    message: str
    body: Any


class CreateSubshellRequest(TypedDict):
    """A request for a new subshell."""


class CreateSubshellReply(ErrorFields):
    """A new subshell.

    Attributes:
        status: ``"ok"`` or ``"error"``.
        subshell_id: The id of the subshell.
    """

    status: str
    subshell_id: NotRequired[str]


class DeleteSubshellRequest(TypedDict):
    """A request to delete a subshell.

    Attributes:
        subshell_id: The id of the subshell.
    """

    subshell_id: str


class DeleteSubshellReply(ErrorFields):
    """The outcome of a deletion.

    Attributes:
        status: ``"ok"`` or ``"error"``.
    """

    status: str


class ListSubshellRequest(TypedDict):
    """A request for the ids of the subshells."""


class ListSubshellReply(ErrorFields):
    """The subshells.

    Attributes:
        status: ``"ok"`` or ``"error"``.
        subshell_id: The ids of the subshells; the main shell has none.
    """

    status: str
    subshell_id: NotRequired[list[str]]


# Iopub.


class IopubWelcome(TypedDict):
    """The confirmation of a subscription to iopub.

    Attributes:
        subscription: The topic; empty for all.
    """

    subscription: str


class Status(TypedDict):
    """The execution state of the kernel.

    Attributes:
        execution_state: ``"busy"`` and ``"idle"`` for each request, ``"starting"`` once; servers add more.
    """

    execution_state: str


class Stream(TypedDict):
    """Text written to stdout or stderr.

    Attributes:
        name: The stream.
        text: The text.
    """

    name: Literal["stdout", "stderr"]
    text: str


class Transient(TypedDict):
    """Display data that notebook files do not store.

    Attributes:
        display_id: The id by which the display can be updated.
    """

    display_id: NotRequired[str]


class DisplayId(TypedDict):
    """The display to update.

    Attributes:
        display_id: The id of the display.
    """

    display_id: str


class DisplayData(TypedDict):
    """A display.

    Attributes:
        data: The content by MIME type.
        metadata: Display options by MIME type.
        transient: The id of an updatable display.
    """

    data: MimeBundle
    metadata: dict[str, Any]
    transient: NotRequired[Transient]


class UpdateDisplayData(TypedDict):
    """New content for all displays with a ``display_id``.

    Attributes:
        data: The content by MIME type.
        metadata: Display options by MIME type.
        transient: The id of the displays.
    """

    data: MimeBundle
    metadata: dict[str, Any]
    transient: DisplayId


class ExecuteInput(TypedDict):
    """The code that is about to run, for all clients.

    Attributes:
        code: The code.
        execution_count: The number of the execution, from 1.
    """

    code: str
    execution_count: int


class ExecuteResult(TypedDict):
    """The value of the last expression.

    Attributes:
        execution_count: The number of the execution, from 1.
        data: The value by MIME type.
        metadata: Display options by MIME type.
        transient: The id of an updatable result.
    """

    execution_count: int
    data: MimeBundle
    metadata: dict[str, Any]
    transient: NotRequired[Transient]


class Error(TypedDict):
    """An exception of the code.

    Attributes:
        ename: The name of the exception.
        evalue: The text of the exception.
        traceback: The lines of the traceback, with ANSI escape sequences.
    """

    ename: str
    evalue: str
    traceback: list[str]


class ClearOutput(TypedDict):
    """The removal of the outputs so far.

    Attributes:
        wait: Waits until the next output arrives.
    """

    wait: bool


class DebugEvent(TypedDict):
    """An event of the Debug Adapter Protocol, unchanged.

    Attributes:
        type: ``"event"``.
        event: The name of the event.
        seq: The sequence number of the event.
        body: The data of the event.
    """

    type: Literal["event"]
    event: str
    seq: NotRequired[int]
    body: NotRequired[Any]


# Stdin.


class InputRequest(TypedDict):
    """A request for a line of input from the user.

    Attributes:
        prompt: Text to show before the input.
        password: True to hide the input while it is typed.
    """

    prompt: str
    password: bool


class InputReply(TypedDict):
    """The input of the user.

    Attributes:
        value: The line, without its newline; ipykernel takes ``"\\x04"`` as end of file.
    """

    value: str


CONTENT_TYPES: Mapping[str, type] = MappingProxyType(
    {
        "clear_output": ClearOutput,
        "comm_close": CommClose,
        "comm_info_reply": CommInfoReply,
        "comm_info_request": CommInfoRequest,
        "comm_msg": CommMsg,
        "comm_open": CommOpen,
        "complete_reply": CompleteReply,
        "complete_request": CompleteRequest,
        "connect_reply": ConnectReply,
        "connect_request": ConnectRequest,
        "create_subshell_reply": CreateSubshellReply,
        "create_subshell_request": CreateSubshellRequest,
        "debug_event": DebugEvent,
        "debug_reply": DebugReply,
        "debug_request": DebugRequest,
        "delete_subshell_reply": DeleteSubshellReply,
        "delete_subshell_request": DeleteSubshellRequest,
        "display_data": DisplayData,
        "error": Error,
        "execute_input": ExecuteInput,
        "execute_reply": ExecuteReply,
        "execute_request": ExecuteRequest,
        "execute_result": ExecuteResult,
        "history_reply": HistoryReply,
        "history_request": HistoryRequest,
        "input_reply": InputReply,
        "input_request": InputRequest,
        "inspect_reply": InspectReply,
        "inspect_request": InspectRequest,
        "interrupt_reply": InterruptReply,
        "interrupt_request": InterruptRequest,
        "iopub_welcome": IopubWelcome,
        "is_complete_reply": IsCompleteReply,
        "is_complete_request": IsCompleteRequest,
        "kernel_info_reply": KernelInfoReply,
        "kernel_info_request": KernelInfoRequest,
        "list_subshell_reply": ListSubshellReply,
        "list_subshell_request": ListSubshellRequest,
        "shutdown_reply": ShutdownReply,
        "shutdown_request": ShutdownRequest,
        "status": Status,
        "stream": Stream,
        "update_display_data": UpdateDisplayData,
    }
)
"""The type of the content by ``msg_type``."""
