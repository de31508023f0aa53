"""The common part of both WebSocket framings: channel names, and parts at offsets."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from enchannel._protocol.channel_name import ChannelName
from enchannel.errors import MalformedFrame

__all__ = ["channel_of", "split"]

_CHANNELS = {name.value: name for name in ChannelName if name != ChannelName.HEARTBEAT}


def channel_of(name: str) -> ChannelName:
    """Return the channel with a name.

    Raises:
        MalformedFrame: the name is unknown, or the channel does not carry messages.
    """
    try:
        return _CHANNELS[name]
    except KeyError:
        raise MalformedFrame(f"names an unknown channel {name[:40]!r}") from None


def split(data: memoryview, start: int, offsets: Sequence[int]) -> list[memoryview]:
    """Return the parts of a frame.

    Args:
        data: The frame.
        start: The end of the offsets, which is the start of the first part.
        offsets: The start of each part, and the end of the last one.

    Raises:
        MalformedFrame: the offsets are inconsistent.
    """
    if offsets[0] != start or offsets[-1] != len(data):
        raise MalformedFrame("has offsets that do not match its length")
    if any(begin > end for begin, end in pairwise(offsets)):
        raise MalformedFrame("has offsets that do not ascend")
    return [data[begin:end] for begin, end in pairwise(offsets)]
