"""The content types have the message types and fields of the protocol."""

from typing import Any, get_type_hints

import pytest

from enchannel import contents
from enchannel.contents import CONTENT_TYPES, ErrorFields
from tests.enchannel.examples import EXAMPLES, IDS
from tests.enchannel.fitting import fits

# The tables of protocol 5.5. A question mark: the field has a default, is optional, or is omitted by
# some kernels or in error replies.
SPEC = {
    "execute_request": "code silent? store_history? user_expressions? allow_stdin? stop_on_error?",
    "execute_reply": "status execution_count? payload? user_expressions?",
    "inspect_request": "code cursor_pos detail_level",
    "inspect_reply": "status found? data? metadata?",
    "complete_request": "code cursor_pos",
    "complete_reply": "status matches? cursor_start? cursor_end? metadata?",
    "history_request": "output raw hist_access_type session? start? stop? n? pattern? unique?",
    "history_reply": "status? history?",
    "is_complete_request": "code",
    "is_complete_reply": "status indent?",
    "connect_request": "",
    "connect_reply": "status? shell_port? iopub_port? stdin_port? hb_port? control_port?",
    "comm_info_request": "target_name?",
    "comm_info_reply": "status comms?",
    "kernel_info_request": "",
    "kernel_info_reply": "status? protocol_version implementation implementation_version"
    " language_info banner debugger? help_links? supported_features?",
    "comm_open": "comm_id target_name data target_module?",
    "comm_msg": "comm_id data",
    "comm_close": "comm_id data",
    "shutdown_request": "restart",
    "shutdown_reply": "status? restart",
    "interrupt_request": "",
    "interrupt_reply": "status",
    "debug_request": "type seq command arguments?",
    "debug_reply": "type? seq? request_seq? success? command? message? body?",
    "create_subshell_request": "",
    "create_subshell_reply": "status subshell_id?",
    "delete_subshell_request": "subshell_id",
    "delete_subshell_reply": "status",
    "list_subshell_request": "",
    "list_subshell_reply": "status subshell_id?",
    "iopub_welcome": "subscription",
    "status": "execution_state",
    "stream": "name text",
    "display_data": "data metadata transient?",
    "update_display_data": "data metadata transient",
    "execute_input": "code execution_count",
    "execute_result": "execution_count data metadata transient?",
    "error": "ename evalue traceback",
    "clear_output": "wait",
    "debug_event": "type event seq? body?",
    "input_request": "prompt password",
    "input_reply": "value",
}


def fields_of(content_type: Any, *, but: frozenset[str] = frozenset()) -> set[str]:
    required = {str(name) for name in content_type.__required_keys__}
    return required | {f"{name}?" for name in content_type.__optional_keys__ - but}


def test_every_message_type_has_a_content_type() -> None:
    assert CONTENT_TYPES.keys() == SPEC.keys()


@pytest.mark.parametrize("msg_type", SPEC)
def test_content_type_has_the_protocol_fields(msg_type: str) -> None:
    errors = ErrorFields.__optional_keys__ if msg_type.endswith("_reply") else frozenset[str]()
    assert fields_of(CONTENT_TYPES[msg_type], but=errors) == set(SPEC[msg_type].split())


@pytest.mark.parametrize("msg_type", [name for name in SPEC if name.endswith("_reply")])
def test_every_kernel_reply_may_be_an_error(msg_type: str) -> None:
    if msg_type not in {"debug_reply", "input_reply"}:  # debugger and user differ
        assert fields_of(ErrorFields) <= fields_of(CONTENT_TYPES[msg_type])


def test_content_type_is_named_after_msg_type() -> None:
    camel = {name: "".join(part.title() for part in name.split("_")) for name in CONTENT_TYPES}
    assert {name: kind.__name__ for name, kind in CONTENT_TYPES.items()} == camel


def test_content_types_table_is_immutable() -> None:
    with pytest.raises(TypeError):
        CONTENT_TYPES["stream"] = dict  # type: ignore[index]


def test_content_types_are_listed_and_documented() -> None:
    kinds = {name: kind for name, kind in vars(contents).items() if hasattr(kind, "__total__")}
    assert kinds.keys() <= set(contents.__all__)
    assert [name for name, kind in kinds.items() if not kind.__doc__] == []


def test_content_types_in_table_are_listed() -> None:
    assert {kind.__name__ for kind in CONTENT_TYPES.values()} <= set(contents.__all__)


def test_not_required_is_available_at_run_time() -> None:
    hints = get_type_hints(contents.Stream)
    assert set(hints) == {"name", "text"}
    assert contents.ExecuteRequest.__required_keys__ == {"code"}


@pytest.mark.parametrize("message", EXAMPLES, ids=IDS)
def test_examples_match_content_types(message: Any) -> None:
    assert fits(message.content, CONTENT_TYPES[message.header.msg_type])
