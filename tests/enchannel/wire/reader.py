"""Decoding for the codec tests: with reports collected, and with an error as a value."""

from collections.abc import Callable, Sequence

from enchannel import AnyMessage, ChannelName
from enchannel.errors import EnchannelError, MalformedFrame
from enchannel.wire.signing import Part, Signer
from enchannel.wire.zmq import Decoder
from tests.rigs.frames import KEY


class Reader:
    """A decoder that collects its reports."""

    def __init__(
        self, key: bytes = KEY, scheme: str = "hmac-sha256", channel: str = "iopub"
    ) -> None:
        self.reports: list[EnchannelError] = []
        self.decoder = Decoder(ChannelName(channel), Signer(key, scheme), self.reports.append)

    def __call__(self, frames: Sequence[Part]) -> AnyMessage:
        return self.decoder.decode(frames)


def outcome_of(decode: Callable[[], AnyMessage]) -> AnyMessage | str:
    """Return the decoded message, or the reason why the frame was dropped."""
    try:
        return decode()
    except MalformedFrame as error:
        return str(error).removeprefix("a message on iopub ").removeprefix("a frame ")


def agree_or_too_deep(one: AnyMessage | str, other: AnyMessage | str) -> bool:
    """Return True if both outcomes are the same, or the stack was too deep for one of them."""
    too_deep = [o for o in (one, other) if isinstance(o, str) and "nested too deeply" in o]
    return bool(too_deep) or one == other
