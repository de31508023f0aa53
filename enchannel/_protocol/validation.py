"""Validation of outgoing messages. Messages from kernels are not validated."""

from __future__ import annotations

import re
from typing import Any, NamedTuple, get_args, get_type_hints

import msgspec

from enchannel._protocol.channel_name import ChannelName
from enchannel._protocol.errors import InvalidMessage
from enchannel._protocol.message import AnyMessage
from enchannel.contents import CONTENT_TYPES

__all__ = ["validate_message"]

_COMM_TYPES = ("comm_open", "comm_msg", "comm_close")
_TYPES_BY_CHANNEL = {
    ChannelName.SHELL: (
        "execute_request", "execute_reply",
        "inspect_request", "inspect_reply",
        "complete_request", "complete_reply",
        "history_request", "history_reply",
        "is_complete_request", "is_complete_reply",
        "connect_request", "connect_reply",
        "comm_info_request", "comm_info_reply",
        "kernel_info_request", "kernel_info_reply",
        "shutdown_request", "shutdown_reply",  # until 5.4
        *_COMM_TYPES,
    ),
    ChannelName.CONTROL: (
        "shutdown_request", "shutdown_reply",
        "interrupt_request", "interrupt_reply",
        "kernel_info_request", "kernel_info_reply",
        "debug_request", "debug_reply",
        "create_subshell_request", "create_subshell_reply",
        "delete_subshell_request", "delete_subshell_reply",
        "list_subshell_request", "list_subshell_reply",
    ),
    ChannelName.IOPUB: (
        "iopub_welcome", "status", "stream",
        "display_data", "update_display_data", "execute_input", "execute_result",
        "error", "clear_output", "debug_event",
        "shutdown_reply",  # ipykernel's copy
        *_COMM_TYPES,
    ),
    ChannelName.STDIN: ("input_request", "input_reply"),
}  # fmt: skip


class _Rule(NamedTuple):
    channels: tuple[ChannelName, ...]
    content: Any


_RULES = {
    msg_type: _Rule(
        tuple(name for name, types in _TYPES_BY_CHANNEL.items() if msg_type in types), content
    )
    for msg_type, content in CONTENT_TYPES.items()
}
_MISSING = re.compile(r"Object missing required field `(.+)`")
_WRONG_TYPE = re.compile(r"Expected `(.+)`, got `(.+)`")
_PYTHON_NAMES = {"object": "dict", "array": "list", "null": "None"}


def validate_message(message: AnyMessage) -> None:
    """Raise if the content or the channel of a message violates the protocol.

    Unknown message types and fields are accepted. Error texts contain no values, since a value may be a
    password.

    Raises:
        InvalidMessage: the wrong channel, or a field that is missing or of the wrong type; the text
            names its path.
    """
    msg_type = message.header.msg_type
    rule = _RULES.get(msg_type)
    if rule is None:
        return
    if message.channel not in rule.channels:
        allowed = " or ".join(rule.channels)
        raise InvalidMessage(f"{msg_type} must be sent on {allowed}, not on {message.channel}")
    try:
        msgspec.convert(message.content, rule.content)
    except msgspec.ValidationError as error:
        problem = _problem_in(str(error), rule.content)
    else:
        return
    # Outside the except block, so that msgspec's error, which may contain values, is not its context.
    raise InvalidMessage(f"{msg_type}: {problem}")


def _problem_in(text: str, content_type: Any) -> str:
    what, at, path = text.rpartition(" - at `$")
    what, path = (what, path[:-1]) if at else (text, "")
    if missing := _MISSING.fullmatch(what):
        return f"content{path}.{missing[1]} is missing"
    if wrong := _WRONG_TYPE.fullmatch(what):
        expected = " or ".join(map(_with_article, wrong[1].split(" | ")))
        return f"content{path} must be {expected}, not {_with_article(wrong[2])}"
    # The remaining case is an unknown literal; msgspec's text contains it.
    words = get_args(get_type_hints(content_type)[path.removeprefix(".")])
    return f"content{path} must be {' or '.join(map(repr, words))}"


def _with_article(type_name: str) -> str:
    name = _PYTHON_NAMES.get(type_name, type_name)
    return name if name == "None" else f"{'an' if name[0] in 'aeiou' else 'a'} {name}"
