"""The hot path: receiving, verifying and decoding the frames of a ZeroMQ socket.

WebSocket headers are decoded here too. No sockets here: a function receives the frames.

This is the one module written for speed. ``enchannel.wire.zmq`` is its plain equivalent: a test compares
the two, and everything unusual is decoded there. The tricks, and the saving of each out of the
10 microseconds that a small message costs:

- Asking a socket whether a message has more frames (``RCVMORE``) costs as much as receiving three
  frames. A Frame, unlike bytes, has this flag at no cost, so the first and the last expected frame are
  received as Frames. The frames between are received blindly, because the delimiter implies how many
  follow. A message that ends too early is detected by the contents of its frames, and the messages that
  were joined by mistake are split at their delimiters (7 µs).
- An HMAC is two hashes, and the first block of each is the same for all messages (0.7 µs).
- Thousands of messages have the same parent header, so decoded parent headers are cached (0.6 µs).
- Headers are decoded directly into their class, and a FrozenDict and a tuple are filled without the
  Python code of their constructors (0.8 µs).
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from typing import Any, Protocol

import msgspec

from enchannel._protocol.channel_name import ChannelName
from enchannel._protocol.message import AnyMessage, FrozenBuffers, Header, Message, RawParts
from enchannel.errors import EnchannelError, RejectedFrame
from enchannel.frozen import EMPTY, FrozenDict
from enchannel.wire import parts
from enchannel.wire.nesting import MAX_DEPTH, is_too_deep
from enchannel.wire.parts import Report
from enchannel.wire.signing import ReplayGuard, Signer
from enchannel.wire.zmq import DELIMITER, Decoder

__all__ = ["Frame", "Receiver", "header_of"]

# Messages that are received before the next socket has its turn.
_MAX_BATCH_MESSAGES = 128
# Requests whose header is cached, at about 1,000 bytes each.
_MAX_CACHED_PARENTS = 8_192
_MAX_CACHED_PARENT_BYTES = 4_096
# A buffer up to this size is copied, so that it does not keep its whole frame alive.
_MAX_COPIED_BYTES = 65_536
_EMPTY_OBJECT = b"{}"

_new_dict, _fill_dict = dict.__new__, dict.update
_new_tuple = tuple.__new__


class Frame(Protocol):
    """A received frame with a flag for further frames of its message, as in pyzmq."""

    @property
    def more(self) -> bool: ...
    @property
    def bytes(self) -> bytes: ...
    @property
    def buffer(self) -> memoryview: ...
    def __len__(self) -> int: ...


class Receiver:
    """Receives the messages of one socket.

    Args:
        channel: The channel of the messages.
        signer: Verifies signatures.
        receive: Returns the next available frame: bytes if called with True, a Frame if called with
            False.
        no_frame: The exception of ``receive`` when no frame is available.
        has_more: Returns True if the message of the last received frame has more frames.
        report: Called with an error for a message that could be decoded only with replacements.
    """

    def __init__(
        self,
        channel: ChannelName,
        signer: Signer,
        receive: Callable[[bool], Any],
        no_frame: type[Exception],
        has_more: Callable[[], bool],
        report: Callable[[EnchannelError], None] = lambda error: None,
    ) -> None:
        self._channel = channel
        self._receive = receive
        self._no_frame = no_frame
        self._has_more = has_more
        self._guard = ReplayGuard()
        self._plain = Decoder(channel, signer, report, guard=self._guard)
        self._states = signer.states
        # Without signatures it is not detectable whether the frames belong to one message.
        self._receive_next = self._receive_blindly if signer.signs else self._receive_exactly
        self._parents: dict[bytes, Header] = {}

    def messages(self) -> tuple[list[AnyMessage | RejectedFrame], bool]:
        """Return the available messages, up to 128, and True if no more are available.

        An invalid message is in the list as the reason of its rejection.
        """
        # All frames are received before any is decoded: each receive releases the GIL and waits for it
        # again, usually behind the delivery thread, which waits for messages.
        batch: list[list[Any]] = []
        drained = False
        try:
            while len(batch) < _MAX_BATCH_MESSAGES:
                self._receive_next(batch)
        except self._no_frame:
            drained = True
        messages: list[AnyMessage | RejectedFrame] = []
        for frames in batch:
            message = self._decode_frames(frames)
            if message is not None:
                messages.append(message)
            else:
                messages.extend(self._decode_plainly(frames))
        return messages, drained

    # -- frames -----------------------------------------------------------------------------------

    def _receive_exactly(self, batch: list[list[Any]]) -> None:
        """Receive one message."""
        frame = self._receive(False)
        frames = [frame]
        while frame.more:
            frame = self._receive(False)
            frames.append(frame)
        batch.append(frames)

    def _receive_blindly(self, batch: list[list[Any]]) -> None:
        """Receive one message, or several joined by mistake, if the first ones are too short."""
        receive = self._receive
        first = receive(False)
        frames = [first.bytes]
        # Appended at once, because the following calls may raise.
        batch.append(frames)
        if not first.more:
            return
        frames.append(receive(True))
        if frames[1] == DELIMITER:
            frames += (receive(True), receive(True), receive(True), receive(True))
        elif frames[0] == DELIMITER:
            frames += (receive(True), receive(True), receive(True))
        elif not self._has_more():
            return
        last = receive(False)
        frames.append(last.bytes)
        while last.more:
            last = receive(False)
            frames.append(last)

    # -- messages ---------------------------------------------------------------------------------

    def _decode_frames(self, frames: list[Any]) -> AnyMessage | None:
        """Return the message, or None if anything about it is unusual."""
        at = 1 if len(frames) > 1 and frames[1] == DELIMITER else 0
        if frames[at] != DELIMITER or not self._is_signed(frames, at):
            return None
        signature = frames[at + 1]
        raw: RawParts = _new_tuple(RawParts, frames[at + 2 : at + 6])
        if max(map(len, raw)) > MAX_DEPTH and any(map(is_too_deep, raw)):
            return None
        header_bytes, parent_bytes, metadata_bytes, content_bytes = raw
        try:
            header = _decode_header(header_bytes)
            parent = self._parents.get(parent_bytes) or self._decode_parent(parent_bytes)
            content = _decode(content_bytes)
            metadata = EMPTY if metadata_bytes == _EMPTY_OBJECT else _decode(metadata_bytes)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, NotImplementedError):
            return None
        if not header.msg_id or not header.msg_type or type(content) is not dict:
            return None
        if metadata is not EMPTY:
            if type(metadata) is not dict:
                return None
            metadata = FrozenDict(metadata)
        frozen: FrozenDict = _new_dict(FrozenDict)
        _fill_dict(frozen, content)
        buffers = frames[at + 6 :]
        if self._states is not None and not self._guard.remember(signature):
            return None
        return Message(
            self._channel,
            header,
            parent,
            metadata,
            frozen,
            FrozenBuffers(map(_view_of, buffers)) if buffers else _NO_BUFFERS,
            raw,
        )

    def _is_signed(self, frames: list[Any], at: int) -> bool:
        """Return True if the signature after the delimiter at this index is valid."""
        if len(frames) < at + 6:
            return False
        if self._states is None:
            return True
        inner, outer = self._states
        state = inner.copy()
        state.update(b"".join(frames[at + 2 : at + 6]))
        keyed = outer.copy()
        keyed.update(state.digest())
        return hmac.compare_digest(keyed.hexdigest().encode(), frames[at + 1])

    def _decode_parent(self, raw: bytes) -> Header:
        parent = _decode_header(raw)
        if len(raw) <= _MAX_CACHED_PARENT_BYTES:
            if len(self._parents) >= _MAX_CACHED_PARENTS:
                self._parents.clear()
            self._parents[raw] = parent
        return parent

    def _decode_plainly(self, frames: list[Any]) -> list[AnyMessage | RejectedFrame]:
        """Return the results of the plain decoder, for each message if several were joined."""
        read: list[AnyMessage | RejectedFrame] = []
        plain = [frame if isinstance(frame, bytes) else frame.bytes for frame in frames]
        for message in self._split(plain):
            try:
                read.append(self._plain.decode(message))
            except RejectedFrame as error:
                read.append(error)
        return read

    def _split(self, frames: list[bytes]) -> list[list[bytes]]:
        """Return the frames of each joined message: only the last one can be complete.

        The others ended within the frames that were received blindly, so they are too short.
        """
        starts = [at for at, frame in enumerate(frames) if frame == DELIMITER]
        for at in starts if self._states is not None else ():
            if self._is_signed(frames, at):
                return [frames] if at == starts[0] else [frames[:at], frames[at:]]
        return [frames]


_NO_BUFFERS = FrozenBuffers()


def _view_of(frame: Frame) -> memoryview:
    """Return a read-only view of a buffer; a large one is not copied, and stays alive with the view."""
    if len(frame) <= _MAX_COPIED_BYTES:
        return memoryview(frame.bytes)
    return frame.buffer.toreadonly()


def header_of(channel: ChannelName, raw: bytes, name: str, report: Report) -> Header:
    """Decode a header as ``parts.header_of`` does, four times as fast for a usual one."""
    if is_too_deep(raw):
        return parts.header_of(channel, raw, name, report)
    try:
        return _decode_header(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, NotImplementedError):
        return parts.header_of(channel, raw, name, report)


def _reject_value(kind: type, value: object) -> object:
    # Fields that are not text are left to the plain decoder.
    raise NotImplementedError


_decode = msgspec.json.Decoder().decode
_decode_header = msgspec.json.Decoder(Header, dec_hook=_reject_value).decode
