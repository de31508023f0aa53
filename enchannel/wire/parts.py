"""The four JSON parts of a message, which every framing has: bytes in, a message out, and back."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

from enchannel._protocol.channel_name import ChannelName
from enchannel._protocol.message import AnyMessage, Header, Message, RawParts
from enchannel.errors import EnchannelError, InvalidMessage, MalformedFrame
from enchannel.frozen import EMPTY, FrozenDict
from enchannel.wire._json import dumps, loads

__all__ = ["RawParts", "ReadHeader", "Report", "header_of", "message_of", "parts_of"]

Report: TypeAlias = Callable[[EnchannelError], None]
"""Is told of a message that could be read, but not as it should."""

ReadHeader: TypeAlias = Callable[[ChannelName, bytes, str, Report], Header]
"""Reads a header as ``header_of`` does."""

_KNOWN = ("msg_id", "msg_type", "session", "username", "date", "version")


def parts_of(message: AnyMessage) -> RawParts:
    """The parts of a message; bytes that it came in are used again.

    Raises:
        InvalidMessage: a part that cannot be written as JSON.
    """
    return message.raw or RawParts(
        _dumps(message.header.to_dict(), "header"),
        _dumps(message.parent_header.to_dict(), "parent_header"),
        _dumps(message.metadata, "metadata"),
        _dumps(message.content, "content"),
    )


def message_of(
    channel: ChannelName,
    raw: RawParts,
    buffers: Iterable[memoryview],
    report: Report,
    read_header: ReadHeader | None = None,
) -> AnyMessage:
    """The message of these parts.

    Args:
        channel: What it is said to come from.
        raw: The parts.
        buffers: Views of what nobody can write to.
        report: Is told of a flaw.
        read_header: ``header_of``, or what says the same more quickly.

    Raises:
        MalformedFrame: what it has or has not; the sentence begins with whoever says what has it.
    """
    read_header = read_header or header_of
    parent = read_header(channel, raw.parent_header, "parent_header", report)
    header = read_header(channel, raw.header, "header", report)
    if not header.msg_id or not header.msg_type:
        raise MalformedFrame("has no msg_id or no msg_type in its header")
    return Message(
        channel,
        header,
        parent,
        _object(channel, raw.metadata, "metadata", report),
        _object(channel, raw.content, "content", report),
        tuple(buffers),
        raw,
    )


def _dumps(part: object, name: str) -> bytes:
    try:
        return dumps(part)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise InvalidMessage(f"{name} cannot be written as JSON: {error}") from None


def _object(channel: ChannelName, raw: bytes, name: str, report: Report) -> FrozenDict:
    """A JSON object; null, which some kernels write for an empty one, is one too."""
    try:
        value, flaw = loads(raw)
    except MalformedFrame as error:
        raise MalformedFrame(f"has a {name} that {error}") from None
    if flaw:
        report(MalformedFrame(f"a message on {channel.value}: its {name} {flaw}"))
    if type(value) is dict:
        return FrozenDict(value)
    if value is None:
        return EMPTY
    raise MalformedFrame(f"has a {name} that is a {type(value).__name__}, not an object")


def header_of(channel: ChannelName, raw: bytes, name: str, report: Report) -> Header:
    """A header, whatever a kernel put there: what is not text is left out.

    Args:
        channel: What it is said to come from.
        raw: Its bytes.
        name: Which of the two it is.
        report: Is told of a flaw.

    Raises:
        MalformedFrame: it is no JSON object.
    """
    fields: dict[str, Any] = _object(channel, raw, name, report)
    known = {name: value for name in _KNOWN if isinstance(value := fields.get(name), str)}
    subshell = fields.get("subshell_id")
    return Header(
        **known,
        subshell_id=subshell if isinstance(subshell, str) else None,
        extra=FrozenDict({k: v for k, v in fields.items() if k not in (*_KNOWN, "subshell_id")}),
    )
