"""What both framings of a WebSocket have: channels by their names, and parts that offsets point at."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from enchannel._protocol.channel_name import ChannelName
from enchannel.errors import MalformedFrame

__all__ = ["channel_of", "cut"]

_CHANNELS = {name.value: name for name in ChannelName if name != ChannelName.HEARTBEAT}


def channel_of(name: str) -> ChannelName:
    """The channel that a frame names.

    Raises:
        MalformedFrame: it carries no messages, or there is none of that name.
    """
    try:
        return _CHANNELS[name]
    except KeyError:
        raise MalformedFrame(f"is for a channel {name[:40]!r} that there is not") from None


def cut(data: memoryview, start: int, offsets: Sequence[int]) -> list[memoryview]:
    """The parts of a frame.

    Args:
        data: The frame.
        start: Where its offsets end, and its parts begin.
        offsets: Where each part begins, and where the last one ends.

    Raises:
        MalformedFrame: the offsets do not say so.
    """
    if offsets[0] != start or offsets[-1] != len(data):
        raise MalformedFrame("has offsets that do not begin and end where its parts do")
    if any(begin > end for begin, end in pairwise(offsets)):
        raise MalformedFrame("has offsets that do not ascend")
    return [data[begin:end] for begin, end in pairwise(offsets)]
