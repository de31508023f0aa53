"""The multipart frames of ZeroMQ: ``prefix… <IDS|MSG> signature header parent metadata content buffers…``.

Frames in, messages out, and back. No sockets here.
"""

from __future__ import annotations

from collections.abc import Sequence

from enchannel._protocol.channel_name import ChannelName
from enchannel._protocol.message import AnyMessage, RawParts
from enchannel.errors import MalformedFrame, RejectedFrame
from enchannel.wire.parts import Report, message_of, parts_of
from enchannel.wire.signing import Part, ReplayGuard, Signer

__all__ = ["DELIMITER", "Decoder", "encode"]

DELIMITER = b"<IDS|MSG>"


def encode(message: AnyMessage, signer: Signer) -> list[bytes | memoryview]:
    """The frames of a message, from the delimiter on; bytes that it came in are used again.

    Raises:
        InvalidMessage: a part that cannot be written as JSON.
    """
    parts = parts_of(message)
    return [DELIMITER, signer.sign(parts), *parts, *message.buffers]


class Decoder:
    """Reads the messages of one channel's socket.

    Args:
        channel: What the messages are said to come from.
        signer: Verifies them.
        report: Is told of a message that could be read, but not as it should.
        guard: Knows what the socket has seen; by default one of its own.
    """

    def __init__(
        self,
        channel: ChannelName,
        signer: Signer,
        report: Report = lambda error: None,
        *,
        guard: ReplayGuard | None = None,
    ) -> None:
        self.channel = channel
        self._signer = signer
        self._report = report
        self._guard = (guard or ReplayGuard()) if signer.signs else None

    def decode(self, frames: Sequence[Part]) -> AnyMessage:
        """One multipart message.

        Raises:
            RejectedFrame: it cannot be trusted, or read; which of them, and why.
        """
        try:
            return self._decode([bytes(frame) for frame in frames[:8]], frames)
        except RejectedFrame as error:
            raise type(error)(
                f"a message on {self.channel.value} {error}; it was dropped"
            ) from None

    def _decode(self, head: list[bytes], frames: Sequence[Part]) -> AnyMessage:
        # one prefix frame or none is the rule; more is looked for only where those are not there
        if len(head) > 1 and head[1] == DELIMITER:
            at = 1
        elif head and head[0] == DELIMITER:
            at = 0
        else:
            head = [bytes(frame) for frame in frames]
            if DELIMITER not in head:
                raise MalformedFrame("has no <IDS|MSG> delimiter")
            at = head.index(DELIMITER)
        if len(frames) - at < 6:
            raise MalformedFrame(f"has {len(frames) - at - 1} frames after its delimiter, not 5")
        signature = head[at + 1]
        raw = RawParts(*head[at + 2 : at + 6])
        self._signer.verify(signature, raw)
        if self._guard is not None:
            self._guard.check(signature)
        buffers = tuple(memoryview(frame) for frame in frames[at + 6 :])
        return message_of(self.channel, raw, buffers, self._report)
