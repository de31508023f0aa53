"""What each message says: the content of every message type of protocol 5.5, field by field.

A field that the protocol asks for and real kernels give is required. What a real kernel was seen
to leave out is ``NotRequired``, and so is what an error reply leaves out. More fields than these
may be there. ``CONTENT_TYPES`` finds the type by its ``msg_type``.
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
"""The same thing in several formats, by MIME type: a str, base64 text, or JSON for JSON types."""


class ErrorFields(TypedDict):
    """What a reply adds when its status is ``"error"``; some kernels leave them out even then."""

    ename: NotRequired[str]
    evalue: NotRequired[str]
    traceback: NotRequired[list[str]]


# shell: running code


class ExecuteRequest(TypedDict):
    """Run code; without ``silent`` the execution is counted, stored and shown to every client."""

    code: str
    silent: NotRequired[bool]
    store_history: NotRequired[bool]
    user_expressions: NotRequired[dict[str, str]]
    allow_stdin: NotRequired[bool]
    stop_on_error: NotRequired[bool]


class Payload(TypedDict):
    """What a kernel asks of the front end (deprecated, and alive: IPython's ``?`` is one)."""

    source: str
    data: NotRequired[MimeBundle]
    start: NotRequired[int]
    text: NotRequired[str]
    replace: NotRequired[bool]
    filename: NotRequired[str]
    line_number: NotRequired[int]
    keepkernel: NotRequired[bool]


class ExpressionResult(ErrorFields):
    """The value of one user expression, or the error that it raised."""

    status: str
    data: NotRequired[MimeBundle]
    metadata: NotRequired[dict[str, Any]]


class ExecuteReply(ErrorFields):
    """How it went: ``"ok"``, ``"error"``, or ``"aborted"`` (some say ``"abort"``): not run."""

    status: str
    execution_count: NotRequired[int]
    payload: NotRequired[list[Payload]]
    user_expressions: NotRequired[dict[str, ExpressionResult]]


# shell: asking about code


class InspectRequest(TypedDict):
    """What is known of the thing at ``cursor_pos`` (unicode code points); level 1 tells more."""

    code: str
    cursor_pos: int
    detail_level: Literal[0, 1]


class InspectReply(ErrorFields):
    """What the kernel knows; ``data`` is empty or None where nothing was found."""

    status: str
    found: NotRequired[bool]
    data: NotRequired[MimeBundle | None]
    metadata: NotRequired[dict[str, Any]]


class CompleteRequest(TypedDict):
    """How the code could go on at ``cursor_pos`` (unicode code points)."""

    code: str
    cursor_pos: int


class CompleteReply(ErrorFields):
    """The texts that could stand from ``cursor_start`` to ``cursor_end`` (unicode code points)."""

    status: str
    matches: NotRequired[list[str]]
    cursor_start: NotRequired[int]
    cursor_end: NotRequired[int]
    metadata: NotRequired[dict[str, Any]]


class HistoryRequest(TypedDict):
    """Past input: a range of lines of one session, the last ``n``, or what matches a glob."""

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
    """Entries of ``[session, line, input]``, or ``[session, line, [input, output]]``."""

    status: NotRequired[str]
    history: NotRequired[list[list[Any]]]


class IsCompleteRequest(TypedDict):
    """Whether the code could be run as it is, or wants another line."""

    code: str


class IsCompleteReply(ErrorFields):
    """``"complete"``, ``"incomplete"`` (and the next indent), ``"invalid"`` or ``"unknown"``."""

    status: str
    indent: NotRequired[str]


# shell: asking about the kernel


class ConnectRequest(TypedDict):
    """Which ports the kernel listens on (deprecated: few kernels answer)."""


class ConnectReply(ErrorFields):
    """The kernel's ports; one that is left out is not open."""

    status: NotRequired[str]
    shell_port: NotRequired[int]
    iopub_port: NotRequired[int]
    stdin_port: NotRequired[int]
    hb_port: NotRequired[int]
    control_port: NotRequired[int]


class CommInfoRequest(TypedDict):
    """Which comms are open, of all targets or of one."""

    target_name: NotRequired[str]


class CommInfo(TypedDict):
    """An open comm."""

    target_name: str


class CommInfoReply(ErrorFields):
    """The open comms, by ``comm_id``."""

    status: str
    comms: NotRequired[dict[str, CommInfo]]


class KernelInfoRequest(TypedDict):
    """What the kernel is and what it speaks."""


class LanguageInfo(TypedDict):
    """The language that a kernel runs."""

    name: str
    version: str
    file_extension: str
    mimetype: NotRequired[str]
    pygments_lexer: NotRequired[str]
    codemirror_mode: NotRequired[str | dict[str, Any]]
    nbconvert_exporter: NotRequired[str]


class HelpLink(TypedDict):
    """An entry for a help menu."""

    text: str
    url: str


class KernelInfoReply(ErrorFields):
    """What the kernel is; what it can is in ``supported_features``, not in the version."""

    status: NotRequired[str]
    protocol_version: str
    implementation: str
    implementation_version: str
    language_info: LanguageInfo
    banner: str
    debugger: NotRequired[bool]
    help_links: NotRequired[list[HelpLink]]
    supported_features: NotRequired[list[str]]


# shell from the client, iopub from the kernel


class CommOpen(TypedDict):
    """A comm is opened, under an id that the sender made up."""

    comm_id: str
    target_name: str
    data: dict[str, Any]
    target_module: NotRequired[str | None]


class CommMsg(TypedDict):
    """Something said on an open comm."""

    comm_id: str
    data: dict[str, Any]


class CommClose(TypedDict):
    """A comm is closed, or was opened for a target that the receiver does not know."""

    comm_id: str
    data: dict[str, Any]


# control


class ShutdownRequest(TypedDict):
    """End, for good or to be started anew."""

    restart: bool


class ShutdownReply(ErrorFields):
    """The kernel is about to end; ipykernel says so on iopub too."""

    status: NotRequired[str]
    restart: bool


class InterruptRequest(TypedDict):
    """Stop what is running."""


class InterruptReply(ErrorFields):
    """The request was understood; that something was stopped it does not prove."""

    status: str


class DebugRequest(TypedDict):
    """A request of the Debug Adapter Protocol, as it is."""

    type: Literal["request"]
    seq: int
    command: str
    arguments: NotRequired[dict[str, Any]]


class DebugReply(TypedDict, total=False):
    """A response of the Debug Adapter Protocol; ipykernel's may lack any field, and be empty."""

    type: Literal["response"]
    seq: int
    request_seq: int
    success: bool
    command: str
    message: str
    body: Any


class CreateSubshellRequest(TypedDict):
    """A new subshell, please."""


class CreateSubshellReply(ErrorFields):
    """The new subshell's id."""

    status: str
    subshell_id: NotRequired[str]


class DeleteSubshellRequest(TypedDict):
    """A subshell is no longer needed."""

    subshell_id: str


class DeleteSubshellReply(ErrorFields):
    """Whether it is gone."""

    status: str


class ListSubshellRequest(TypedDict):
    """Which subshells there are."""


class ListSubshellReply(ErrorFields):
    """The ids of the subshells; the main shell is not among them."""

    status: str
    subshell_id: NotRequired[list[str]]


# iopub


class IopubWelcome(TypedDict):
    """A subscription to iopub has reached the kernel; ``subscription`` is its topic."""

    subscription: str


class Status(TypedDict):
    """``"busy"`` or ``"idle"`` with the parent request, ``"starting"`` once; servers say more."""

    execution_state: str


class Stream(TypedDict):
    """Text that was written to standard output or standard error."""

    name: Literal["stdout", "stderr"]
    text: str


class Transient(TypedDict):
    """What a notebook file does not keep: the id by which a display is updated."""

    display_id: NotRequired[str]


class DisplayId(TypedDict):
    """The display that is updated."""

    display_id: str


class DisplayData(TypedDict):
    """Something to show."""

    data: MimeBundle
    metadata: dict[str, Any]
    transient: NotRequired[Transient]


class UpdateDisplayData(TypedDict):
    """Something to show in place of what was shown under the same ``display_id``."""

    data: MimeBundle
    metadata: dict[str, Any]
    transient: DisplayId


class ExecuteInput(TypedDict):
    """The code that is being run, for every client to see."""

    code: str
    execution_count: int


class ExecuteResult(TypedDict):
    """The value of the executed code."""

    execution_count: int
    data: MimeBundle
    metadata: dict[str, Any]
    transient: NotRequired[Transient]


class Error(TypedDict):
    """The code raised; the traceback's lines have colours (ANSI escapes) in them."""

    ename: str
    evalue: str
    traceback: list[str]


class ClearOutput(TypedDict):
    """Clear what was shown, at once or (``wait``) when the next output comes."""

    wait: bool


class DebugEvent(TypedDict):
    """An event of the Debug Adapter Protocol, as it is."""

    type: Literal["event"]
    event: str
    seq: NotRequired[int]
    body: NotRequired[Any]


# stdin


class InputRequest(TypedDict):
    """The kernel waits for a line of input; a ``password`` is not to be shown while it is typed."""

    prompt: str
    password: bool


class InputReply(TypedDict):
    """The line, without its newline; ``"\\x04"`` means end of file to ipykernel."""

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
"""The content's type by ``msg_type``."""
