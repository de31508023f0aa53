"""The multipart messages of ZeroMQ, as frames.

::

    prefix… <IDS|MSG> signature header parent metadata content buffers…

No sockets here.
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
    """Return the frames of a message, from the delimiter on; the bytes of a received message are reused.

    Args:
        message: The message.
        signer: Signs it.

    Raises:
        InvalidMessage: a part that JSON cannot represent.
    """
    parts = parts_of(message)
    return [DELIMITER, signer.sign(parts), *parts, *message.buffers]


class Decoder:
    """Decodes the messages of one socket.

    Args:
        channel: The channel of the messages.
        signer: Verifies signatures.
        report: Called with an error for a message that could be decoded only with replacements.
        guard: Detects replayed signatures; by default a new one.
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
        """Decode one multipart message.

        Raises:
            InvalidSignature: the message is unsigned, or signed with another key.
            ReplayedFrame: its signature was already received.
            MalformedFrame: it cannot be decoded; the text has the reason.
        """
        try:
            return self._decode([bytes(frame) for frame in frames[:8]], frames)
        except RejectedFrame as error:
            raise type(error)(
                f"a message on {self.channel.value} {error}; it was dropped"
            ) from None

    def _decode(self, head: list[bytes], frames: Sequence[Part]) -> AnyMessage:
        # Usually there are no prefix frames or one; others are searched for only if neither fits.
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
            self._guard.raise_if_replayed(signature)
        buffers = tuple(memoryview(frame) for frame in frames[at + 6 :])
        return message_of(self.channel, raw, buffers, self._report)
