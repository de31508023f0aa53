"""The hot path: a socket's frames, verified, read, and made into messages. No sockets here either.
WebSockets have their headers read here as well.

This is the one module that is written for speed; ``enchannel.wire.zmq`` says the same in plain words,
and a test holds the two against each other. What is unusual in any way is left to the plain one. The
tricks, and what each saves of the 10 microseconds that a small message costs:

- Asking a socket whether a message goes on (``RCVMORE``) costs as much as receiving three frames. So
  nobody asks: a Frame, unlike bytes, knows it for nothing, and only the first frame and the last that
  is expected are received as Frames. What lies between is received blindly, because the delimiter
  says how many frames have to follow. A message that ends too soon is noticed by what its frames say,
  and then the messages that were run together are told apart again by their delimiters (7 µs).
- An HMAC is two hashes, of which the beginnings are the same for each message (0.7 µs).
- The thousands of messages that answer one request have the same bytes for a parent (0.6 µs).
- Headers are decoded straight into what they become; a FrozenDict and a tuple are filled without
  the Python code that their constructors are (0.8 µs).
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from typing import Any, Protocol, TypeAlias

import msgspec

from enchannel._protocol.channel_name import ChannelName
from enchannel._protocol.message import AnyMessage, FrozenBuffers, Header, Message, RawParts
from enchannel.errors import EnchannelError, RejectedFrame
from enchannel.frozen import EMPTY, FrozenDict
from enchannel.wire import parts
from enchannel.wire.parts import Report
from enchannel.wire.signing import ReplayGuard, Signer
from enchannel.wire.zmq import DELIMITER, Decoder

__all__ = ["Frame", "Receiver", "header_of"]

_BATCH = 128  # messages that are received before another socket has its turn
_PARENTS_KEPT = 8_192  # requests whose header is kept decoded; each is some 1,000 bytes
_PARENT_MOST = 4_096  # bytes; one that is longer is decoded each time
_SMALL = 65_536  # bytes; a buffer up to that is copied, so that it keeps no more alive than itself
_NOTHING = b"{}"

_new_dict, _fill_dict = dict.__new__, dict.update
_new_tuple = tuple.__new__


class Frame(Protocol):
    """A received frame that knows whether its message goes on; pyzmq's."""

    @property
    def more(self) -> bool: ...
    @property
    def bytes(self) -> bytes: ...
    @property
    def buffer(self) -> memoryview: ...
    def __len__(self) -> int: ...


_Receive: TypeAlias = Callable[[bool], Any]
"""The next frame as bytes (True), or as a Frame (False)."""


class Receiver:
    """Receives the messages of one channel's socket.

    Args:
        channel: What the messages are said to come from.
        signer: Verifies them.
        receive: Gives the next frame that is there: as bytes, if called with True, else as a Frame.
        nothing: What ``receive`` raises when there is none.
        goes_on: Says whether the message of the frame received last goes on.
        report: Is told of a message that could be read, but not as it should.
    """

    def __init__(
        self,
        channel: ChannelName,
        signer: Signer,
        receive: _Receive,
        nothing: type[Exception],
        goes_on: Callable[[], bool],
        report: Callable[[EnchannelError], None] = lambda error: None,
    ) -> None:
        self._channel = channel
        self._receive = receive
        self._nothing = nothing
        self._goes_on = goes_on
        self._guard = ReplayGuard()
        self._plain = Decoder(channel, signer, report, guard=self._guard)
        self._states = signer.states
        # without signatures nothing would say whether the frames are of one message
        self._next = self._next_blindly if signer.signs else self._next_exactly
        self._parents: dict[bytes, Header] = {}

    def messages(self) -> tuple[list[AnyMessage | RejectedFrame], bool]:
        """What is there, up to 128 messages; and whether there is no more.

        Each is a message, or the reason why what came was none.
        """
        # All is received before any is read: each receive gives the GIL to whoever waits for it, and
        # waits for it in turn; the subscribers' thread, which waits for messages, is the usual one.
        batch: list[list[Any]] = []
        drained = False
        try:
            while len(batch) < _BATCH:
                self._next(batch)
        except self._nothing:
            drained = True
        messages: list[AnyMessage | RejectedFrame] = []
        for frames in batch:
            message = self._read(frames)
            if message is not None:
                messages.append(message)
            else:
                messages.extend(self._read_plainly(frames))
        return messages, drained

    # -- frames -----------------------------------------------------------------------------------

    def _next_exactly(self, batch: list[list[Any]]) -> None:
        """Receive a message."""
        frame = self._receive(False)
        frames = [frame]
        while frame.more:
            frame = self._receive(False)
            frames.append(frame)
        batch.append(frames)

    def _next_blindly(self, batch: list[list[Any]]) -> None:
        """Receive a message, or, where some are too short, several of them run together."""
        receive = self._receive
        first = receive(False)
        frames = [first.bytes]
        batch.append(frames)  # at once: what follows may raise
        if not first.more:
            return
        frames.append(receive(True))
        if frames[1] == DELIMITER:
            frames += (receive(True), receive(True), receive(True), receive(True))
        elif frames[0] == DELIMITER:
            frames += (receive(True), receive(True), receive(True))
        elif not self._goes_on():
            return
        last = receive(False)
        frames.append(last.bytes)
        while last.more:
            last = receive(False)
            frames.append(last)

    # -- messages ---------------------------------------------------------------------------------

    def _read(self, frames: list[Any]) -> AnyMessage | None:
        """The message, if there is nothing unusual in it."""
        at = 1 if len(frames) > 1 and frames[1] == DELIMITER else 0
        if frames[at] != DELIMITER or not self._is_signed(frames, at):
            return None
        signature = frames[at + 1]
        raw: RawParts = _new_tuple(RawParts, frames[at + 2 : at + 6])
        header_bytes, parent_bytes, metadata_bytes, content_bytes = raw
        try:
            header = _decode_header(header_bytes)
            parent = self._parents.get(parent_bytes) or self._parent(parent_bytes)
            content = _decode(content_bytes)
            metadata = EMPTY if metadata_bytes == _NOTHING else _decode(metadata_bytes)
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
        if self._states is not None and not self._guard.is_new(signature):
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
        """Whether what follows the delimiter at this place is signed as it should be."""
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

    def _parent(self, raw: bytes) -> Header:
        parent = _decode_header(raw)
        if len(raw) <= _PARENT_MOST:
            if len(self._parents) >= _PARENTS_KEPT:
                self._parents.clear()
            self._parents[raw] = parent
        return parent

    def _read_plainly(self, frames: list[Any]) -> list[AnyMessage | RejectedFrame]:
        """What the plain words say of it; each of the messages, if several were run together."""
        read: list[AnyMessage | RejectedFrame] = []
        plain = [frame if isinstance(frame, bytes) else frame.bytes for frame in frames]
        for message in self._apart(plain):
            try:
                read.append(self._plain.decode(message))
            except RejectedFrame as error:
                read.append(error)
        return read

    def _apart(self, frames: list[bytes]) -> list[list[bytes]]:
        """The messages that were run together: only the last of them can be a whole one.

        Those before it ended within the frames that were received blindly: they are too short.
        """
        starts = [at for at, frame in enumerate(frames) if frame == DELIMITER]
        for at in starts if self._states is not None else ():
            if self._is_signed(frames, at):
                return [frames] if at == starts[0] else [frames[:at], frames[at:]]
        return [frames]


_NO_BUFFERS = FrozenBuffers()


def _view_of(frame: Frame) -> memoryview:
    """A buffer that nobody can change: a big one is not copied, and lives as long as it is looked at."""
    if len(frame) <= _SMALL:
        return memoryview(frame.bytes)
    return frame.buffer.toreadonly()


def header_of(channel: ChannelName, raw: bytes, name: str, report: Report) -> Header:
    """What ``parts.header_of`` says, and four times as quickly of a header as headers are."""
    try:
        return _decode_header(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, NotImplementedError):
        return parts.header_of(channel, raw, name, report)


def _refuse(kind: type, value: object) -> object:
    raise NotImplementedError  # what is not text is for the plain words


_decode = msgspec.json.Decoder().decode
_decode_header = msgspec.json.Decoder(Header, dec_hook=_refuse).decode
