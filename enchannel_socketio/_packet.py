"""Socket.IO packets whose messages stay the JSON that they came as. Both ends use them.

A message is an object with the four parts, its channel, and its buffers as binary attachments. The parts
are put in as they are, and taken out as they are: what a kernel wrote is not written again.
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
from enchannel.wire.parts import RawParts, message_of, parts_of
from enchannel.wire.receiving import header_of

__all__ = [
    "BATCH",
    "MSG",
    "Batch",
    "Event",
    "Packet",
    "Parts",
    "Prepared",
    "message_from",
    "prepared",
    "renumbered",
]

MSG: Final = "msg"
BATCH: Final = "batch"
_OBJECT_END: Final = b"]}"
_EMPTY = msgspec.Raw(b"{}")
_CHANNELS = {name.value: name for name in ChannelName if name is not ChannelName.HEARTBEAT}


class Prepared(msgspec.Struct, frozen=True):
    """JSON that is written already, and what is attached to it.

    Attributes:
        json: With a placeholder for each attachment.
        attachments: In their order.
    """

    json: bytes
    attachments: Sequence[bytes] = ()

    def __len__(self) -> int:
        return len(self.json) + sum(map(len, self.attachments))


class Parts(msgspec.Struct):
    """A message as it travels."""

    header: msgspec.Raw
    parent_header: msgspec.Raw = _EMPTY
    metadata: msgspec.Raw = _EMPTY
    content: msgspec.Raw = _EMPTY
    channel: str = ""
    buffers: list[Any] = []


class Event(msgspec.Struct, array_like=True):
    """One of a batch: its name, what it tells, and where it is in the log."""

    name: str
    told: msgspec.Raw
    position: int


class Batch(msgspec.Struct):
    """Events that travel together.

    Attributes:
        after: The position that the receiver is at, if it missed nothing.
        upto: That which it is at then; what is between and not here is not for it.
        events: In their order.
        messages: Of the events that are messages, what they tell.
    """

    after: int
    upto: int
    events: list[Event]
    messages: list[Parts] = []


class _Json:
    """What Socket.IO calls for JSON."""

    @staticmethod
    def dumps(data: Any, **_: Any) -> str:
        if isinstance(data, list):
            data = [msgspec.Raw(item.json) if isinstance(item, Prepared) else item for item in data]
        return msgspec.json.encode(data).decode()

    @staticmethod
    def loads(text: str) -> Any:
        try:
            if text.startswith('["msg",'):
                name, message, *rest = msgspec.json.decode(text, type=list[msgspec.Raw])
                return [MSG, _parts(message), *map(msgspec.json.decode, rest)]
            if text.startswith('["batch",'):
                _, batch = msgspec.json.decode(text, type=tuple[str, Batch])
                batch.messages = [_parts(event.told) for event in batch.events if event.name == MSG]
                return [BATCH, batch]
            return msgspec.json.decode(text)
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
            return _loads_tolerantly(text, str(error))


def _loads_tolerantly(text: str, why: str) -> Any:
    """NaN and half a character, which not all parsers take, and some clients write.

    Raises:
        ValueError: it is no JSON all the same.
    """
    try:
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
    """A packet of Socket.IO."""

    json = _Json
    most = sys.maxsize
    """Bytes that the attachments of one may have together."""

    def add_attachment(self, attachment: bytes) -> bool:
        if sum(map(len, self.attachments)) + len(attachment) > self.most:
            raise ValueError(f"its attachments have more than {self.most} bytes")
        there: bool = super().add_attachment(attachment)
        return there

    @classmethod
    def data_is_binary(cls, data: Any) -> bool:
        if isinstance(data, list):
            return any(isinstance(item, Prepared) and bool(item.attachments) for item in data)
        return False

    @classmethod
    def deconstruct_binary(cls, data: list[Any]) -> tuple[list[Any], list[bytes]]:
        (prepared,) = (item for item in data if isinstance(item, Prepared))
        return data, list(prepared.attachments)

    @classmethod
    def reconstruct_binary(cls, data: Any, attachments: list[Any]) -> Any:
        for parts in _messages_in(data):
            parts.buffers = [_attached(buffer, attachments) for buffer in parts.buffers]
        return data


def _parts(raw: msgspec.Raw) -> Any:
    """A message in its parts; or whatever it is that is none."""
    try:
        return msgspec.json.decode(raw, type=Parts)
    except msgspec.ValidationError:
        return msgspec.json.decode(raw)


def _messages_in(data: Any) -> Iterable[Parts]:
    match data:
        case [_, Parts() as parts, *_]:
            return (parts,)
        case [_, Batch() as batch]:
            return (parts for parts in batch.messages if isinstance(parts, Parts))
        case _:
            return ()


def _attached(buffer: Any, attachments: list[Any]) -> Any:
    match buffer:
        case {"_placeholder": True, "num": int(number)} if 0 <= number < len(attachments):
            return attachments[number]
        case _:
            return buffer


def prepared(message: AnyMessage, first: int = 0) -> Prepared:
    """A message as it travels; bytes that it came in are used again, where they are JSON as all read it.

    Args:
        message: The message.
        first: The number of its first attachment.

    Raises:
        InvalidMessage: a part that cannot be written as JSON.
    """
    places = _placeholders(first, len(message.buffers))
    attachments = tuple(map(bytes, message.buffers))
    json = _object(message.channel, parts_of(message), places)
    try:
        json.decode()
        msgspec.json.decode(json, type=msgspec.Raw)
    except (UnicodeDecodeError, msgspec.MsgspecError):  # NaN, or half a character: not for browsers
        values = (message.header.to_dict(), message.parent_header.to_dict(), message.metadata)
        parts = map(_strict, (*values, message.content))
        json = _object(message.channel, RawParts(*parts), places)
    return Prepared(json, attachments)


def renumbered(json: bytes, count: int, first: int) -> bytes:
    """Return the JSON of a prepared message with its attachments numbered from another number.

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
    """JSON in which NaN is null, and half a character is a replacement."""
    return msgspec.json.encode(_whole(value))


def _whole(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, dict):
        return {_whole(key): _whole(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return list(map(_whole, value))
    return value


def message_from(
    parts: object, channel: ChannelName | None, report: Callable[[EnchannelError], None]
) -> AnyMessage:
    """The message of what travelled.

    Args:
        parts: What came in its place.
        channel: Which it is for; None: it says so itself.
        report: Is told of a flaw.

    Raises:
        MalformedFrame: it is none; and why.
    """
    if not isinstance(parts, Parts):
        raise MalformedFrame(
            "what came is no message: an object with header, parent_header, metadata, content"
        )
    channel = channel or _CHANNELS.get(parts.channel)
    if channel is None:
        raise MalformedFrame(f"a message is for a channel {parts.channel[:40]!r} that there is not")
    raw = RawParts(*map(bytes, (parts.header, parts.parent_header, parts.metadata, parts.content)))
    try:
        return message_of(channel, raw, _views(parts.buffers), report, header_of)
    except MalformedFrame as error:
        raise MalformedFrame(f"a message on {channel.value} {error}; it was dropped") from None


def _views(buffers: Iterable[object]) -> Iterator[memoryview]:
    for buffer in buffers:
        if not isinstance(buffer, bytes | bytearray):
            raise MalformedFrame("has a buffer that is no attachment")
        yield memoryview(bytes(buffer))
