"""The binary frames of ``v1.kernel.websocket.jupyter.org``: a message in one piece of bytes.

::

    u64                     how many offsets follow
    u64, u64, …             where each part begins, from the frame's first byte, and where the last ends
    channel header parent metadata content buffers…

Little endian. Frames in, messages out, and back. No sockets here, and no signatures: servers sign.
"""

from __future__ import annotations

import struct
from itertools import accumulate

from enchannel._protocol.message import AnyMessage, Buffer, RawParts
from enchannel.errors import MalformedFrame
from enchannel.wire._websocket import channel_of, cut
from enchannel.wire.parts import Report, message_of, parts_of
from enchannel.wire.receiving import header_of

__all__ = ["SUBPROTOCOL", "decode", "encode"]

SUBPROTOCOL = "v1.kernel.websocket.jupyter.org"
"""What it is called when a WebSocket is opened."""

_FEWEST = 6  # offsets: of the channel, four JSON parts, and the end
_NUMBER = 8  # bytes


def encode(message: AnyMessage) -> bytes:
    """The frame of a message; bytes that it came in are used again.

    Raises:
        InvalidMessage: a part that cannot be written as JSON.
    """
    parts: tuple[Buffer, ...] = (
        message.channel.value.encode(),
        *parts_of(message),
        *message.buffers,
    )
    count = len(parts) + 1
    offsets = accumulate(map(len, parts), initial=_NUMBER * (count + 1))
    return b"".join((struct.pack(f"<{count + 1}Q", count, *offsets), *parts))


def decode(frame: Buffer, report: Report = lambda error: None) -> AnyMessage:
    """The message of a frame. Its buffers are views of the frame, if that is ``bytes``; else of a copy.

    Args:
        frame: What came.
        report: Is told of a message that could be read, but not as it should.

    Raises:
        MalformedFrame: it cannot be read; and why.
    """
    data = memoryview(frame if isinstance(frame, bytes) else bytes(frame))
    try:
        name, header, parent, metadata, content, *buffers = _parts(data)
        raw = RawParts(bytes(header), bytes(parent), bytes(metadata), bytes(content))
        channel = channel_of(bytes(name).decode(errors="replace"))
        return message_of(channel, raw, buffers, report, header_of)
    except MalformedFrame as error:
        raise MalformedFrame(f"a frame {error}; it was dropped") from None


def _parts(data: memoryview) -> list[memoryview]:
    if len(data) < _NUMBER:
        raise MalformedFrame(f"has {len(data)} bytes, and not even a number of offsets")
    (count,) = struct.unpack_from("<Q", data)
    start = _NUMBER * (count + 1)
    if count < _FEWEST or start > len(data):
        raise MalformedFrame(f"has {len(data)} bytes, and claims {count} offsets")
    return cut(data, start, struct.unpack_from(f"<{count}Q", data, _NUMBER))
