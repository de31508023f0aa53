"""Socket.IO packets for messages and batches of events, used by relay and client.

A message is an object with the four parts, its channel, and its buffers as binary attachments. The JSON of
the parts is copied as it is: neither end decodes and encodes it again.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final

import msgspec
from socketio.packet import Packet as SocketioPacket

from enchannel import AnyMessage, ChannelName
from enchannel.errors import EnchannelError, MalformedFrame
from enchannel.wire.nesting import is_too_deep
from enchannel.wire.parts import RawParts, message_of, parts_of
from enchannel.wire.receiving import header_of

__all__ = [
    "BATCH",
    "MSG",
    "PROTOCOL_VERSION",
    "Batch",
    "EncodedJson",
    "Event",
    "MessageParts",
    "Packet",
    "decode_message",
    "encode_message",
    "renumber_attachments",
]

MSG: Final = "msg"
BATCH: Final = "batch"
PROTOCOL_VERSION: Final = 1
"""Version of the protocol between relays and clients; raised when older clients would misread a relay."""
_OBJECT_END: Final = b"]}"
_EMPTY = msgspec.Raw(b"{}")
_CHANNELS = {name.value: name for name in ChannelName if name is not ChannelName.HEARTBEAT}


class EncodedJson(msgspec.Struct, frozen=True):
    """Encoded JSON with its attachments; its length is that of both in bytes.

    Attributes:
        json: The JSON, with a placeholder for each attachment.
        attachments: The attachments in order.
    """

    json: bytes
    attachments: Sequence[bytes] = ()

    def __len__(self) -> int:
        return len(self.json) + sum(map(len, self.attachments))


class MessageParts(msgspec.Struct):
    """A message in a packet; see ``decode_message``."""

    header: msgspec.Raw
    parent_header: msgspec.Raw = _EMPTY
    metadata: msgspec.Raw = _EMPTY
    content: msgspec.Raw = _EMPTY
    channel: str = ""
    buffers: list[Any] = []


class Event(msgspec.Struct, array_like=True):
    """One event of a batch.

    Attributes:
        name: Name of the event, such as ``"msg"``.
        data: Its JSON.
        position: Its position in the kernel's log.
    """

    name: str
    data: msgspec.Raw
    position: int


class Batch(msgspec.Struct):
    """Events that are sent together.

    Attributes:
        after: Position of the receiver before this batch, if it has missed nothing.
        upto: Position of the receiver after this batch. Positions in between that have no event here are
            not for this receiver.
        events: The events in order.
        messages: The messages of those events that are messages.
    """

    after: int
    upto: int
    events: list[Event]
    messages: list[MessageParts] = []


class _Json:
    """The JSON module for python-socketio."""

    @staticmethod
    def dumps(data: Any, **_: Any) -> str:
        if isinstance(data, list):
            data = [
                msgspec.Raw(item.json) if isinstance(item, EncodedJson) else item for item in data
            ]
        return msgspec.json.encode(data).decode()

    @staticmethod
    def loads(text: str) -> Any:
        try:
            if text.startswith('["msg",'):
                name, message, *rest = msgspec.json.decode(text, type=list[msgspec.Raw])
                return [MSG, _parts(message), *map(_decode, rest)]
            if text.startswith('["batch",'):
                _, batch = msgspec.json.decode(text, type=tuple[str, Batch])
                batch.messages = [_parts(event.data) for event in batch.events if event.name == MSG]
                return [BATCH, batch]
            return _decode(text.encode())
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
            return _loads_tolerantly(text, str(error))


def _decode(data: bytes | msgspec.Raw) -> Any:
    _raise_if_too_deep(bytes(data))
    return msgspec.json.decode(data)


def _raise_if_too_deep(data: bytes) -> None:
    if is_too_deep(data):
        raise RecursionError("it is nested too deeply")


def _loads_tolerantly(text: str, why: str) -> Any:
    """Decode JSON with NaN or lone surrogates, which some clients send and msgspec rejects.

    Args:
        text: The JSON.
        why: Why msgspec rejected it.

    Raises:
        ValueError: It is not JSON either.
    """
    try:
        _raise_if_too_deep(text.encode(errors="surrogatepass"))
        data = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError(why) from None
    match data:
        case ["msg", part, *rest]:
            return [MSG, _parts(msgspec.Raw(_strict(part))), *rest]
        case ["batch", *_]:
            raise ValueError(why)
        case _:
            return data


class Packet(SocketioPacket):  # type: ignore[misc]
    """A Socket.IO packet with messages and batches as this module encodes them."""

    json = _Json
    max_attachment_bytes = sys.maxsize
    """Maximum size of all attachments of one packet."""

    def add_attachment(self, attachment: bytes) -> bool:
        if sum(map(len, self.attachments)) + len(attachment) > self.max_attachment_bytes:
            raise ValueError(f"its attachments exceed {self.max_attachment_bytes} bytes")
        is_complete: bool = super().add_attachment(attachment)
        return is_complete

    @classmethod
    def data_is_binary(cls, data: Any) -> bool:
        if isinstance(data, list):
            return any(isinstance(item, EncodedJson) and bool(item.attachments) for item in data)
        return False

    @classmethod
    def deconstruct_binary(cls, data: list[Any]) -> tuple[list[Any], list[bytes]]:
        (encoded,) = (item for item in data if isinstance(item, EncodedJson))
        return data, list(encoded.attachments)

    @classmethod
    def reconstruct_binary(cls, data: Any, attachments: list[Any]) -> Any:
        for parts in _messages_in(data):
            parts.buffers = [_attached(buffer, attachments) for buffer in parts.buffers]
        return data


def _parts(raw: msgspec.Raw) -> Any:
    """Decode a message into its parts, or other JSON into values."""
    try:
        return msgspec.json.decode(raw, type=MessageParts)
    except msgspec.ValidationError:
        return msgspec.json.decode(raw)


def _messages_in(data: Any) -> Iterable[MessageParts]:
    match data:
        case [_, MessageParts() as parts, *_]:
            return (parts,)
        case [_, Batch() as batch]:
            return (parts for parts in batch.messages if isinstance(parts, MessageParts))
        case _:
            return ()


def _attached(buffer: Any, attachments: list[Any]) -> Any:
    match buffer:
        case {"_placeholder": True, "num": int(number)} if 0 <= number < len(attachments):
            return attachments[number]
        case _:
            return buffer


def encode_message(message: AnyMessage, first: int = 0) -> EncodedJson:
    """Encode a message; parts that were received as strict JSON are copied.

    Args:
        message: The message.
        first: Number of its first attachment.

    Raises:
        InvalidMessage: A part cannot be encoded as JSON.
    """
    places = _placeholders(first, len(message.buffers))
    attachments = tuple(map(bytes, message.buffers))
    json = _object(message.channel, parts_of(message), places)
    try:
        json.decode()
        msgspec.json.decode(json, type=msgspec.Raw)
    except (UnicodeDecodeError, msgspec.MsgspecError):
        # NaN or a lone surrogate, which browsers reject.
        values = (message.header.to_dict(), message.parent_header.to_dict(), message.metadata)
        parts = map(_strict, (*values, message.content))
        json = _object(message.channel, RawParts(*parts), places)
    return EncodedJson(json, attachments)


def renumber_attachments(json: bytes, count: int, first: int) -> bytes:
    """Return the JSON of an encoded message with its attachments numbered from another number.

    Args:
        json: The JSON, with its attachments numbered from 0.
        count: The number of its attachments.
        first: The new number of the first.
    """
    # The placeholders are written last, so their length tells where they begin.
    before = len(json) - len(_placeholders(0, count)) - len(_OBJECT_END)
    return json[:before] + _placeholders(first, count) + _OBJECT_END


def _placeholders(first: int, count: int) -> bytes:
    return b",".join(
        b'{"_placeholder":true,"num":%d}' % number for number in range(first, first + count)
    )


def _object(channel: ChannelName, parts: RawParts, places: bytes) -> bytes:
    fields = (
        b'{"channel":"%b","header":%b,"parent_header":%b,"metadata":%b,"content":%b,"buffers":['
    )
    return fields % (channel.value.encode(), *parts) + places + _OBJECT_END


def _strict(value: Any) -> bytes:
    """Encode as strict JSON: NaN becomes null, a lone surrogate the replacement character."""
    return msgspec.json.encode(_without_surrogates(value))


def _without_surrogates(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, dict):
        return {_without_surrogates(key): _without_surrogates(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return list(map(_without_surrogates, value))
    return value


def decode_message(
    parts: object, channel: ChannelName | None, report: Callable[[EnchannelError], None]
) -> AnyMessage:
    """Return the message of a packet.

    Args:
        parts: The decoded argument of a ``msg`` event.
        channel: The message's channel; None for the one that it names itself.
        report: Called with an error for a flaw of a message that can be used all the same.

    Raises:
        MalformedFrame: The argument is not a valid message.
    """
    if not isinstance(parts, MessageParts):
        raise MalformedFrame(
            "a message must be an object with header, parent_header, metadata and content"
        )
    channel = channel or _CHANNELS.get(parts.channel)
    if channel is None:
        raise MalformedFrame(f"a message names an unknown channel: {parts.channel[:40]!r}")
    raw = RawParts(*map(bytes, (parts.header, parts.parent_header, parts.metadata, parts.content)))
    try:
        return message_of(channel, raw, _views(parts.buffers), report, header_of)
    except MalformedFrame as error:
        raise MalformedFrame(f"a message on {channel.value} {error}; it was dropped") from None


def _views(buffers: Iterable[object]) -> Iterator[memoryview]:
    for buffer in buffers:
        if not isinstance(buffer, bytes | bytearray):
            raise MalformedFrame("has a buffer that is not an attachment")
        yield memoryview(bytes(buffer))
