"""The frames of Jupyter servers where no subprotocol was agreed on: one JSON object, and buffers behind it.

A message without buffers is a text frame, and nothing but the object::

    {"channel": …, "header": …, "parent_header": …, "metadata": …, "content": …,
     "msg_id": …, "msg_type": …, "buffers": []}

One with buffers is a binary frame::

    u32                     how many parts follow the offsets
    u32, u32, …             where each part begins, from the frame's first byte, to where the next does
    object buffers…

Big endian. Frames in, messages out, and back. No sockets here, and no signatures: servers sign.
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
from enchannel.wire._websocket import channel_of, cut
from enchannel.wire.parts import Report, message_of, parts_of
from enchannel.wire.receiving import header_of

__all__ = ["decode", "encode"]

_NUMBER = 4  # bytes
_members_of = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_value_at = json.JSONDecoder().raw_decode
_space = re.compile(r"[ \t\n\r]*").match


def encode(message: AnyMessage) -> str | bytes:
    """The frame of a message, text or binary; bytes that it came in are used again.

    Raises:
        InvalidMessage: a part that cannot be written as JSON, or buffers of more than 4 GiB.
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
    """The message of a frame. Its buffers are views of the frame, if that is ``bytes``; else of a copy.

    Without a channel it is taken for shell's, as servers take it; a part that is not there is empty.

    Args:
        frame: What came: text, or bytes.
        report: Is told of a message that could be read, but not as it should.

    Raises:
        MalformedFrame: it cannot be read; and why.
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
    """Spaced as servers space it. What came as no UTF-8 is replaced, as it was when it was read."""
    written = b", ".join(b'"%b": %b' % (name.encode(), value) for name, value in members.items())
    return f"{{{written.decode(errors='replace')}}}"


def _with_buffers(written: bytes, buffers: tuple[memoryview, ...]) -> bytes:
    parts: tuple[Buffer, ...] = (written, *buffers)
    count = len(parts)
    offsets = accumulate(map(len, parts[:-1]), initial=_NUMBER * (count + 1))
    try:
        head = struct.pack(f">{count + 1}I", count, *offsets)
    except struct.error:
        raise InvalidMessage("buffers are longer than this framing can say (4 GiB)") from None
    return b"".join((head, *parts))


def _parts(data: memoryview) -> list[memoryview]:
    if len(data) < _NUMBER:
        raise MalformedFrame(f"has {len(data)} bytes, and not even a number of parts")
    (count,) = struct.unpack_from(">I", data)
    start = _NUMBER * (count + 1)
    if count < 1 or start > len(data):
        raise MalformedFrame(f"has {len(data)} bytes, and claims {count} parts")
    offsets = struct.unpack_from(f">{count}I", data, _NUMBER)
    return cut(data, start, [*offsets, len(data)])


def _members(written: bytes | memoryview) -> dict[str, bytes]:
    """The members of an object, each value as it is written."""
    try:
        return {name: bytes(value) for name, value in _members_of(written).items()}
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return _members_tolerantly(bytes(written))


def _members_tolerantly(written: bytes) -> dict[str, bytes]:
    """Where there is what only Python's own packers let through; what that is, its part will say."""
    text = written.decode(errors="surrogateescape")  # gives the same bytes back
    members: dict[str, bytes] = {}
    try:
        kind = type(json.loads(text))
        if kind is not dict:
            raise MalformedFrame(f"is a {kind.__name__}, not an object")
        at = text.index("{")
        while text[at] != "}":  # but a comma, or the brace that opens; what has a flaw is not empty
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
    """What a text can have of them; some clients write ``{}``."""
    if loads(members.get("buffers", b"[]"))[0]:
        raise MalformedFrame("has buffers in its text, where there can be none")
    return []
