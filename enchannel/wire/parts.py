"""The four JSON parts of a message, which all framings share: decoding and encoding."""

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
"""Called with an error for a message that could be decoded only with replacements."""

ReadHeader: TypeAlias = Callable[[ChannelName, bytes, str, Report], Header]
"""Decodes a header, with the arguments and the result of ``header_of``."""

_TEXT_FIELDS = ("msg_id", "msg_type", "session", "username", "date", "version")


def parts_of(message: AnyMessage) -> RawParts:
    """Return the parts of a message; the bytes of a received message are reused.

    Raises:
        InvalidMessage: a part that JSON cannot represent.
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
    """Decode a message from its parts.

    Args:
        channel: The channel of the message.
        raw: The JSON parts.
        buffers: Views of immutable memory.
        report: Called with an error for a part that could be decoded only with replacements.
        read_header: ``header_of``, or a faster function with the same result.

    Raises:
        MalformedFrame: a part cannot be decoded; the text is a predicate ("has …") for the caller to
            complete.
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
    """Return a JSON object. Null, which some kernels write for an empty object, is empty."""
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
    """Decode a header. Protocol fields that are not text are left out.

    Args:
        channel: The channel of the message.
        raw: The bytes of the header.
        name: ``"header"`` or ``"parent_header"``.
        report: Called with an error for a header that could be decoded only with replacements.

    Raises:
        MalformedFrame: the bytes are not a JSON object.
    """
    fields: dict[str, Any] = _object(channel, raw, name, report)
    known = {name: value for name in _TEXT_FIELDS if isinstance(value := fields.get(name), str)}
    subshell = fields.get("subshell_id")
    return Header(
        **known,
        subshell_id=subshell if isinstance(subshell, str) else None,
        extra=FrozenDict(
            {k: v for k, v in fields.items() if k not in (*_TEXT_FIELDS, "subshell_id")}
        ),
    )
