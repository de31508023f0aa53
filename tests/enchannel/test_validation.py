"""Validation of outgoing messages: accepted messages, and the errors of rejected ones."""

import traceback
from typing import Any, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enchannel._protocol.channel_name import ChannelName
from enchannel._protocol.message import AnyMessage, create_message
from enchannel._protocol.validation import validate_message
from enchannel.contents import CONTENT_TYPES
from enchannel.errors import InvalidMessage
from tests.enchannel.examples import EXAMPLES, IDS
from tests.enchannel.fitting import fits

REQUESTS_AND_REPLIES = {
    "shell": "execute inspect complete history is_complete connect comm_info kernel_info shutdown",
    "control": "shutdown interrupt kernel_info debug create_subshell delete_subshell list_subshell",
    "stdin": "input",
}
OTHERS = {
    "shell": "comm_open comm_msg comm_close",
    "iopub": "comm_open comm_msg comm_close iopub_welcome status stream display_data"
    " update_display_data execute_input execute_result error clear_output debug_event"
    " shutdown_reply",
}
VALID_CHANNELS = {
    (f"{about}_{way}", channel)
    for channel, row in REQUESTS_AND_REPLIES.items()
    for about in row.split()
    for way in ("request", "reply")
} | {(msg_type, channel) for channel, row in OTHERS.items() for msg_type in row.split()}

FULLEST: dict[str, AnyMessage] = {
    message.header.msg_type: message for message in sorted(EXAMPLES, key=lambda m: len(m.content))
}
FIELDS = [
    (msg_type, field) for msg_type, kind in CONTENT_TYPES.items() for field in get_type_hints(kind)
]
ODD_VALUES: list[Any] = [None, True, 7, 7.0, "odd", [], ["odd"], [7], [[]], {}, {"odd": 7}]

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8"), max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner),
    max_leaves=5,
)  # fmt: skip


def message_with(msg_type: str, content: dict[str, Any]) -> AnyMessage:
    return create_message(msg_type, content, channel=FULLEST[msg_type].channel)


def error_text(message: AnyMessage) -> str:
    with pytest.raises(InvalidMessage) as raised:
        validate_message(message)
    return str(raised.value)


@pytest.mark.parametrize("message", EXAMPLES, ids=IDS)
def test_constructed_messages_are_valid(message: AnyMessage) -> None:
    validate_message(message)


@pytest.mark.parametrize("message", EXAMPLES, ids=IDS)
def test_message_is_valid_on_its_channels_only(message: AnyMessage) -> None:
    msg_type = message.header.msg_type
    for channel in ChannelName:
        moved = message.replace(channel=channel)
        if (msg_type, channel.value) in VALID_CHANNELS:
            validate_message(moved)
        else:
            assert error_text(moved).startswith(f"{msg_type} must be sent on ")
            assert error_text(moved).endswith(f"not on {channel.value}")


def test_every_message_type_has_channels() -> None:
    assert {msg_type for msg_type, _ in VALID_CHANNELS} == CONTENT_TYPES.keys()


@pytest.mark.parametrize(("msg_type", "field"), FIELDS)
def test_missing_required_field_is_named(msg_type: str, field: str) -> None:
    content = {k: v for k, v in FULLEST[msg_type].content.items() if k != field}
    if field in CONTENT_TYPES[msg_type].__required_keys__:  # type: ignore[attr-defined]
        expected = error_text(message_with(msg_type, content))
        assert expected == f"{msg_type}: content.{field} is missing"
    else:
        validate_message(message_with(msg_type, content))


@pytest.mark.parametrize(("msg_type", "field"), FIELDS)
def test_field_of_wrong_type_is_named(msg_type: str, field: str) -> None:
    hint = get_type_hints(CONTENT_TYPES[msg_type])[field]
    for value in ODD_VALUES:
        message = message_with(msg_type, {**FULLEST[msg_type].content, field: value})
        if fits(value, hint):
            validate_message(message)
        else:
            assert error_text(message).startswith(f"{msg_type}: content.{field}")


@given(st.sampled_from(FIELDS), json_values)
def test_value_is_valid_if_it_matches_the_type(at: tuple[str, str], value: Any) -> None:
    msg_type, field = at
    message = message_with(msg_type, {**FULLEST[msg_type].content, field: value})
    try:
        validate_message(message)
        passed = True
    except InvalidMessage:
        passed = False
    assert passed == fits(value, get_type_hints(CONTENT_TYPES[msg_type])[field])


@given(st.dictionaries(st.text("abc", min_size=1).map("x_".__add__), json_values, max_size=3))
def test_unknown_fields_are_valid(extra: dict[str, Any]) -> None:
    for msg_type, message in FULLEST.items():
        validate_message(message_with(msg_type, {**extra, **message.content}))


@pytest.mark.parametrize("channel", ChannelName)
def test_unknown_message_type_is_valid(channel: ChannelName) -> None:
    validate_message(create_message("usage_request", {"anything": [1]}, channel=channel))


@pytest.mark.parametrize(
    ("msg_type", "content", "expected"),
    [
        ("execute_request", {}, "execute_request: content.code is missing"),
        (
            "execute_request",
            {"code": "", "silent": "no"},
            "execute_request: content.silent must be a bool, not a str",
        ),
        (
            "execute_request",
            {"code": None},
            "execute_request: content.code must be a str, not None",
        ),
        (
            "execute_request",
            {"code": "", "user_expressions": {"a": ["b"]}},
            "execute_request: content.user_expressions[...] must be a str, not a list",
        ),
        (
            "inspect_request",
            {"code": "", "cursor_pos": True, "detail_level": 0},
            "inspect_request: content.cursor_pos must be an int, not a bool",
        ),
        (
            "inspect_request",
            {"code": "", "cursor_pos": 0, "detail_level": 2},
            "inspect_request: content.detail_level must be 0 or 1",
        ),
        (
            "stream",
            {"name": "sidecar - at `$.text`", "text": ""},
            "stream: content.name must be 'stdout' or 'stderr'",
        ),
        (
            "comm_open",
            {"comm_id": "c", "target_name": "t", "data": {}, "target_module": 1},
            "comm_open: content.target_module must be a str or None, not an int",
        ),
        (
            "update_display_data",
            {"data": {}, "metadata": {}, "transient": {}},
            "update_display_data: content.transient.display_id is missing",
        ),
        (
            "execute_reply",
            {"status": "ok", "payload": [{"source": "page"}, {}]},
            "execute_reply: content.payload[1].source is missing",
        ),
        (
            "comm_info_reply",
            {"status": "ok", "comms": {"c1": {}}},
            "comm_info_reply: content.comms[...].target_name is missing",
        ),
        (
            "error",
            {"ename": "E", "evalue": "e", "traceback": "line 1"},
            "error: content.traceback must be a list, not a str",
        ),
    ],
)
def test_error_names_path_and_expected_type(
    msg_type: str, content: dict[str, Any], expected: str
) -> None:
    assert error_text(message_with(msg_type, content)) == expected


def test_wrong_channel_error_lists_valid_ones() -> None:
    message = create_message("execute_request", {"code": ""}, channel="stdin")
    assert error_text(message) == "execute_request must be sent on shell, not on stdin"
    message = create_message("kernel_info_request", channel="iopub")
    assert (
        error_text(message) == "kernel_info_request must be sent on shell or control, not on iopub"
    )


@pytest.mark.parametrize(
    ("msg_type", "content"),
    [
        ("input_reply", {"value": ["hunter2"]}),
        ("input_reply", {"value": {"hunter2": "hunter2"}}),
        ("stream", {"name": "hunter2", "text": ""}),
        ("execute_request", {"code": "", "user_expressions": {"hunter2": ["hunter2"]}}),
    ],
)
def test_error_does_not_contain_values(msg_type: str, content: dict[str, Any]) -> None:
    with pytest.raises(InvalidMessage) as raised:
        validate_message(message_with(msg_type, content))
    assert raised.value.__context__ is None
    assert "hunter2" not in "".join(traceback.format_exception(raised.value))


def test_received_message_is_validated_alike() -> None:
    received = FULLEST["execute_reply"].replace(content={"status": "ok", "payload": [{}]})
    assert "payload[0].source is missing" in error_text(received)
