"""Whether a message may be sent. What kernels send us is not judged here."""

from __future__ import annotations

import re
from typing import Any, NamedTuple, get_args, get_type_hints

import msgspec

from enchannel._protocol.channel_name import ChannelName
from enchannel._protocol.message import AnyMessage
from enchannel.contents import CONTENT_TYPES
from enchannel.errors import InvalidMessage

__all__ = ["check"]

_COMMS = ("comm_open", "comm_msg", "comm_close")
_SAID_ON = {
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
        *_COMMS,
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
        "shutdown_reply",  # ipykernel's copy for all
        *_COMMS,
    ),
    ChannelName.STDIN: ("input_request", "input_reply"),
}  # fmt: skip


class _Rule(NamedTuple):
    channels: tuple[ChannelName, ...]
    content: Any


_RULES = {
    msg_type: _Rule(tuple(name for name, types in _SAID_ON.items() if msg_type in types), content)
    for msg_type, content in CONTENT_TYPES.items()
}
_MISSING = re.compile(r"Object missing required field `(.+)`")
_WRONG_TYPE = re.compile(r"Expected `(.+)`, got `(.+)`")
_IN_PYTHON = {"object": "dict", "array": "list", "null": "None"}


def check(message: AnyMessage) -> None:
    """Raise if the protocol would not have this said, or not on this channel.

    Message types and fields that the protocol does not know pass. Values are never shown: one may
    be a password.

    Raises:
        InvalidMessage: a field that is missing or of a wrong type, named by its path.
    """
    msg_type = message.header.msg_type
    rule = _RULES.get(msg_type)
    if rule is None:
        return
    if message.channel not in rule.channels:
        allowed = " and ".join(rule.channels)
        raise InvalidMessage(f"{msg_type} is for {allowed}, and not for {message.channel}")
    try:
        msgspec.convert(message.content, rule.content)
    except msgspec.ValidationError as error:
        problem = _in_our_words(str(error), rule.content)
    else:
        return
    raise InvalidMessage(f"{msg_type}: {problem}")  # out here msgspec's text is not its context


def _in_our_words(text: str, content_type: Any) -> str:
    what, at, path = text.rpartition(" - at `$")
    what, path = (what, path[:-1]) if at else (text, "")
    if missing := _MISSING.fullmatch(what):
        return f"content{path}.{missing[1]} is missing"
    if wrong := _WRONG_TYPE.fullmatch(what):
        expected = " or ".join(map(_one, wrong[1].split(" | ")))
        return f"content{path} is {_one(wrong[2])} and has to be {expected}"
    # What is left is a word that is none of the protocol's; msgspec's text would show it.
    words = get_args(get_type_hints(content_type)[path.removeprefix(".")])
    return f"content{path} has to be {' or '.join(map(repr, words))}"


def _one(type_name: str) -> str:
    name = _IN_PYTHON.get(type_name, type_name)
    return name if name == "None" else f"{'an' if name[0] in 'aeiou' else 'a'} {name}"
