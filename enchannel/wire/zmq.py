"""The multipart frames of ZeroMQ: ``prefix… <IDS|MSG> signature header parent metadata content buffers…``.

Frames in, messages out, and back. No sockets here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from enchannel._channel_name import ChannelName
from enchannel._frozen import EMPTY, FrozenDict
from enchannel._message import AnyMessage, Header, Message, RawParts
from enchannel.errors import EnchannelError, InvalidMessage, MalformedFrame, RejectedFrame
from enchannel.wire._json import dumps, loads
from enchannel.wire.signing import Part, ReplayGuard, Signer

__all__ = ["DELIMITER", "Decoder", "encode"]

DELIMITER = b"<IDS|MSG>"

_KNOWN = ("msg_id", "msg_type", "session", "username", "date", "version")


def encode(message: AnyMessage, signer: Signer) -> list[bytes | memoryview]:
    """The frames of a message, from the delimiter on; bytes that it came in are used again.

    Raises:
        InvalidMessage: a part that cannot be written as JSON.
    """
    parts = message.raw or RawParts(
        _dumps(message.header.to_dict(), "header"),
        _dumps(message.parent_header.to_dict(), "parent_header"),
        _dumps(message.metadata, "metadata"),
        _dumps(message.content, "content"),
    )
    return [DELIMITER, signer.sign(parts), *parts, *message.buffers]


def _dumps(part: object, name: str) -> bytes:
    try:
        return dumps(part)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise InvalidMessage(f"{name} cannot be written as JSON: {error}") from None


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
        report: Callable[[EnchannelError], None] = lambda error: None,
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
        parent = self._header(raw.parent_header, "parent_header")
        header = self._header(raw.header, "header")
        if not header.msg_id or not header.msg_type:
            raise MalformedFrame("has no msg_id or no msg_type in its header")
        return Message(
            self.channel,
            header,
            parent,
            self._object(raw.metadata, "metadata"),
            self._object(raw.content, "content"),
            tuple(memoryview(frame) for frame in frames[at + 6 :]),
            raw,
        )

    def _header(self, raw: bytes, name: str) -> Header:
        return _read_header(self._object(raw, name))

    def _object(self, raw: bytes, name: str) -> FrozenDict:
        """A JSON object; null, which some kernels write for an empty one, is one too."""
        try:
            value, flaw = loads(raw)
        except MalformedFrame as error:
            raise MalformedFrame(f"has a {name} that {error}") from None
        if flaw:
            self._report(MalformedFrame(f"a message on {self.channel.value}: its {name} {flaw}"))
        if type(value) is dict:
            return FrozenDict(value)
        if value is None:
            return EMPTY
        raise MalformedFrame(f"has a {name} that is a {type(value).__name__}, not an object")


def _read_header(fields: dict[str, Any]) -> Header:
    """A header from JSON, whatever a kernel put there: what is not text is left out."""
    known = {name: value for name in _KNOWN if isinstance(value := fields.get(name), str)}
    subshell = fields.get("subshell_id")
    return Header(
        **known,
        subshell_id=subshell if isinstance(subshell, str) else None,
        extra=FrozenDict({k: v for k, v in fields.items() if k not in (*_KNOWN, "subshell_id")}),
    )
