"""How messages are read back, for the codec's tests."""

from collections.abc import Sequence

from enchannel import AnyMessage, ChannelName
from enchannel.errors import EnchannelError
from enchannel.wire.signing import Part, Signer
from enchannel.wire.zmq import Decoder
from tests.rigs.frames import KEY


class Reader:
    """A decoder, and what it reported."""

    def __init__(
        self, key: bytes = KEY, scheme: str = "hmac-sha256", channel: str = "iopub"
    ) -> None:
        self.reports: list[EnchannelError] = []
        self.decoder = Decoder(ChannelName(channel), Signer(key, scheme), self.reports.append)

    def __call__(self, frames: Sequence[Part]) -> AnyMessage:
        return self.decoder.decode(frames)
