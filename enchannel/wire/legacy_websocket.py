"""The WebSocket frames of Jupyter servers without a subprotocol: one JSON object, followed by buffers.

A message without buffers is a text frame with only the object::

    {"channel": …, "header": …, "parent_header": …, "metadata": …, "content": …,
     "msg_id": …, "msg_type": …, "buffers": []}

A message with buffers is a binary frame::

    u32                     number of parts after the offsets
    u32, u32, …             start of each part in bytes from the start of the frame; a part ends at the next
    object buffers…

Integers are big endian. There are no signatures: the server signs. No sockets here.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Mapping
from itertools import accumulate

import msgspec

from enchannel._protocol.channel_name import ChannelName
from enchannel._protocol.message import AnyMessage, Buffer, RawParts
from enchannel.errors import InvalidMessage, MalformedFrame
from enchannel.wire._json import dumps, loads
from enchannel.wire._websocket_parts import channel_of, split
from enchannel.wire.nesting import MAX_DEPTH, is_too_deep
from enchannel.wire.parts import Report, message_of, parts_of
from enchannel.wire.receiving import header_of

__all__ = ["decode", "encode"]

_OFFSET_BYTES = 4
_members_of = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_value_at = json.JSONDecoder().raw_decode
_space = re.compile(r"[ \t\n\r]*").match


def encode(message: AnyMessage) -> str | bytes:
    """Return the text or binary frame of a message; the bytes of a received message are reused.

    Raises:
        InvalidMessage: a part that JSON cannot represent, or buffers of more than 4 GiB.
    """
    members = {
        "channel": dumps(message.channel.value),
        **parts_of(message)._asdict(),
        "msg_id": dumps(message.header.msg_id),
        "msg_type": dumps(message.header.msg_type),
    }
    if message.buffers:
        return _with_buffers(_object(members).encode(), message.buffers)
    return _object(members | {"buffers": b"[]"})


def decode(frame: str | Buffer, report: Report = lambda error: None) -> AnyMessage:
    """Decode a frame. The buffers of the message are views of the frame if it is ``bytes``, else of a copy.

    A frame without a channel is for shell, as servers assume too; a missing part is empty.

    Args:
        frame: Text or bytes.
        report: Called with an error for a message that could be decoded only with replacements.

    Raises:
        MalformedFrame: the frame cannot be decoded; the text has the reason.
    """
    try:
        if isinstance(frame, str):
            members = _members(frame.encode(errors="surrogatepass"))
            buffers = _no_buffers(members)
        else:
            data = memoryview(frame if isinstance(frame, bytes) else bytes(frame))
            written, *buffers = _parts(data)
            members = _members(written)
        raw = RawParts(*(members.get(name, b"{}") for name in RawParts._fields))
        return message_of(_channel(members, report), raw, buffers, report, header_of)
    except MalformedFrame as error:
        raise MalformedFrame(f"a frame {error}; it was dropped") from None


def _object(members: Mapping[str, bytes]) -> str:
    """Return a JSON object with the spacing of servers. Invalid UTF-8 is replaced, as in decoding."""
    written = b", ".join(b'"%b": %b' % (name.encode(), value) for name, value in members.items())
    return f"{{{written.decode(errors='replace')}}}"


def _with_buffers(written: bytes, buffers: tuple[memoryview, ...]) -> bytes:
    parts: tuple[Buffer, ...] = (written, *buffers)
    count = len(parts)
    offsets = accumulate(map(len, parts[:-1]), initial=_OFFSET_BYTES * (count + 1))
    try:
        head = struct.pack(f">{count + 1}I", count, *offsets)
    except struct.error:
        raise InvalidMessage("buffers exceed the limit of this framing (4 GiB)") from None
    return b"".join((head, *parts))


def _parts(data: memoryview) -> list[memoryview]:
    if len(data) < _OFFSET_BYTES:
        raise MalformedFrame(f"has {len(data)} bytes, too few for the number of parts")
    (count,) = struct.unpack_from(">I", data)
    start = _OFFSET_BYTES * (count + 1)
    if count < 1 or start > len(data):
        raise MalformedFrame(f"claims {count} parts in {len(data)} bytes")
    offsets = struct.unpack_from(f">{count}I", data, _OFFSET_BYTES)
    return split(data, start, [*offsets, len(data)])


def _members(written: bytes | memoryview) -> dict[str, bytes]:
    """Return the members of an object, with each value as it is written."""
    if len(written) > MAX_DEPTH and is_too_deep(bytes(written)):
        raise MalformedFrame("is nested too deeply")
    try:
        return {name: bytes(value) for name, value in _members_of(written).items()}
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return _members_tolerantly(bytes(written))


def _members_tolerantly(written: bytes) -> dict[str, bytes]:
    """Return the members of an object that is not strict JSON; decoding its parts reports the flaws."""
    # `surrogateescape` encodes to the same bytes again.
    text = written.decode(errors="surrogateescape")
    members: dict[str, bytes] = {}
    try:
        kind = type(json.loads(text))
        if kind is not dict:
            raise MalformedFrame(f"is a {kind.__name__}, not an object")
        at = text.index("{")
        # text[at] is a comma or the opening brace: strict JSON is decoded elsewhere, so there are members.
        while text[at] != "}":
            name, at = _value_at(text, _after_space(text, at + 1))
            begin = _after_space(text, text.index(":", at) + 1)
            _, end = _value_at(text, begin)
            members[name] = text[begin:end].encode(errors="surrogateescape")
            at = _after_space(text, end)
    except RecursionError:
        raise MalformedFrame("is nested too deeply") from None
    except ValueError as error:
        raise MalformedFrame(f"is not JSON ({error})") from None
    return members


def _after_space(text: str, at: int) -> int:
    space = _space(text, at)
    return space.end() if space else at


def _channel(members: Mapping[str, bytes], report: Report) -> ChannelName:
    name, _ = loads(members.get("channel", b"null"))
    if name is None:
        report(MalformedFrame("a message on shell: its frame names no channel"))
        return ChannelName.SHELL
    if not isinstance(name, str):
        raise MalformedFrame(f"has a channel that is a {type(name).__name__}, not a name")
    return channel_of(name)


def _no_buffers(members: Mapping[str, bytes]) -> list[memoryview]:
    """Return no buffers, after a check that a text frame has none; some clients write ``{}``."""
    if loads(members.get("buffers", b"[]"))[0]:
        raise MalformedFrame("is text with buffers, which only a binary frame can carry")
    return []
