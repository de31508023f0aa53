"""The binary frames of the subprotocol ``v1.kernel.websocket.jupyter.org``.

::

    u64                     number of offsets
    u64, u64, …             start of each part in bytes from the start of the frame; end of the last part
    channel header parent metadata content buffers…

Integers are little endian. There are no signatures: the server signs. No sockets here.
"""

from __future__ import annotations

import struct
from itertools import accumulate

from enchannel._protocol.message import AnyMessage, Buffer, RawParts
from enchannel.errors import MalformedFrame
from enchannel.wire._websocket_parts import channel_of, split
from enchannel.wire.parts import Report, message_of, parts_of
from enchannel.wire.receiving import header_of

__all__ = ["SUBPROTOCOL", "decode", "encode"]

SUBPROTOCOL = "v1.kernel.websocket.jupyter.org"
"""The name of the subprotocol in the WebSocket handshake."""

# Of the channel, the four JSON parts, and the end.
_MIN_OFFSETS = 6
_OFFSET_BYTES = 8


def encode(message: AnyMessage) -> bytes:
    """Return the frame of a message; the bytes of a received message are reused.

    Raises:
        InvalidMessage: a part that JSON cannot represent.
    """
    parts: tuple[Buffer, ...] = (
        message.channel.value.encode(),
        *parts_of(message),
        *message.buffers,
    )
    count = len(parts) + 1
    offsets = accumulate(map(len, parts), initial=_OFFSET_BYTES * (count + 1))
    return b"".join((struct.pack(f"<{count + 1}Q", count, *offsets), *parts))


def decode(frame: Buffer, report: Report = lambda error: None) -> AnyMessage:
    """Decode a frame. The buffers of the message are views of the frame if it is ``bytes``, else of a copy.

    Args:
        frame: The frame.
        report: Called with an error for a message that could be decoded only with replacements.

    Raises:
        MalformedFrame: the frame cannot be decoded; the text has the reason.
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
    if len(data) < _OFFSET_BYTES:
        raise MalformedFrame(f"has {len(data)} bytes, too few for the number of offsets")
    (count,) = struct.unpack_from("<Q", data)
    start = _OFFSET_BYTES * (count + 1)
    if count < _MIN_OFFSETS or start > len(data):
        raise MalformedFrame(f"claims {count} offsets in {len(data)} bytes")
    return split(data, start, struct.unpack_from(f"<{count}Q", data, _OFFSET_BYTES))
