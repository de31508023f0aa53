"""The hot path equals the plain decoder for any frames."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from enchannel import ChannelName
from enchannel._protocol.message import AnyMessage
from enchannel.errors import EnchannelError, MalformedFrame, RejectedFrame, ReplayedFrame
from enchannel.testing.strategies import messages
from enchannel.wire import parts as plain
from enchannel.wire import receiving
from enchannel.wire.parts import ReadHeader
from enchannel.wire.receiving import _MAX_BATCH_MESSAGES, _MAX_COPIED_BYTES, Receiver
from enchannel.wire.signing import Signer
from enchannel.wire.zmq import DELIMITER, Decoder, encode
from tests.rigs.frames import KEY, parts, signed

Frames = list[bytes]


class Empty(Exception):
    """Raised when no frame is available."""


class Frame:
    def __init__(self, data: bytes, more: bool) -> None:
        self.bytes = data
        self.more = more
        self.buffer = memoryview(bytearray(data))  # writable, as pyzmq's

    def __len__(self) -> int:
        return len(self.bytes)


class Wire:
    """A socket that returns the frames of multipart messages one by one."""

    def __init__(self, multiparts: Iterable[Sequence[bytes]], key: bytes = KEY) -> None:
        self.frames: Iterator[Frame] = iter(
            [
                Frame(frame, number < len(frames))
                for frames in multiparts
                for number, frame in enumerate(frames, 1)
            ]
        )
        self.more = False
        self.reports: list[EnchannelError] = []
        self.receiver = Receiver(
            ChannelName.IOPUB,
            Signer(key),
            self.receive,
            Empty,
            lambda: self.more,
            self.reports.append,
        )

    def receive(self, copy: bool) -> Any:
        frame = next(self.frames, None)
        if frame is None:
            raise Empty
        self.more = frame.more
        return frame.bytes if copy else frame

    def read(self) -> list[AnyMessage | RejectedFrame]:
        """Return all messages."""
        read, drained = self.receiver.messages()
        while not drained:
            more, drained = self.receiver.messages()
            read += more
        return read


def plainly(
    multiparts: Iterable[Sequence[bytes]], key: bytes = KEY
) -> tuple[list[AnyMessage | RejectedFrame], list[EnchannelError]]:
    reports: list[EnchannelError] = []
    decoder = Decoder(ChannelName.IOPUB, Signer(key), reports.append)
    read: list[AnyMessage | RejectedFrame] = []
    for frames in multiparts:
        try:
            read.append(decoder.decode(frames))
        except RejectedFrame as error:
            read.append(error)
    return read, reports


# -- messages -----------------------------------------------------------------------------------

odds = st.binary(max_size=5) | st.sampled_from([b"", b"{}", b"null", b'{"a": NaN}'])
junk = odds | st.just(DELIMITER)


@st.composite
def well_made(draw: st.DrawFn, key: bytes = KEY) -> Frames:
    made = draw(messages())
    prefix = draw(st.lists(st.binary(max_size=3), max_size=3) | st.just([b"stream.stdout"]))
    return [*prefix, *(bytes(frame) for frame in encode(made, Signer(key)))]


@st.composite
def odd(draw: st.DrawFn, key: bytes = KEY) -> Frames:
    """Return correctly signed messages with invalid parts: not objects, not UTF-8, without ids."""
    json = st.sampled_from([b"{}", b"null", b"[]", b"7", b'{"msg_id": 7}', b"\xff", b'{"a": NaN}'])
    four = draw(st.tuples(json, json, json, json) | st.just(parts("stream", {"a": float("nan")})))
    return [b"topic", *signed(key, *four, buffers=draw(st.lists(junk, max_size=3)))]


@st.composite
def damaged(draw: st.DrawFn) -> Frames:
    frames = draw(well_made())
    at = draw(st.integers(0, len(frames) - 1))
    how = draw(st.sampled_from(["end", "drop", "change", "put"]))
    if how == "end":
        return frames[: at + 1]
    if how == "drop":
        return frames[:at] + frames[at + 1 :] or [b""]
    return frames[:at] + [draw(odds)] + frames[at + (how == "change") :]


whatever = st.lists(junk, min_size=1, max_size=9)


@st.composite
def traffic(draw: st.DrawFn) -> list[Frames]:
    came = draw(st.lists(well_made() | damaged() | odd() | whatever, max_size=8))
    again = draw(st.lists(st.sampled_from(came), max_size=2)) if came else []
    return came + again


def texts(read: Iterable[object]) -> set[str]:
    """Return the rejection texts without frame counts, which are unknown for joined messages."""
    found = {str(item) for item in read if isinstance(item, Exception)}
    return {re.sub(r"has \d+ frames", "has frames", text) for text in found}


@given(traffic())
@example([[b"a", b"b", *signed(KEY, *parts())]])
@example([[b"topic", DELIMITER], signed(KEY, *parts())])
@example([[b"topic", DELIMITER, b"", b"{}", b"{}", b"{}"], [b"a", b"b", *signed(KEY, *parts())]])
@example([[DELIMITER, b"x"], [b"t", DELIMITER, b"x"], [b"t", *signed(KEY, *parts())]])
@example([[b"a", b"b"], [b"t", *signed(KEY, *parts(), buffers=[DELIMITER, b"x" * 9])]])
@example([[b"t", *signed(b"another", *parts(), buffers=[DELIMITER])], signed(KEY, *parts())])
def test_receiver_equals_plain_decoder(came: list[Frames]) -> None:
    wire, (expected, reports) = Wire(came), plainly(came)
    read = wire.read()
    messages, more = partition(read, expected)
    assert messages == [item for item in expected if not isinstance(item, Exception)]
    # Halves of a message that arrive in sequence are joined, since the signature is valid.
    signatures = {frame for frames in came for frame in frames}
    assert all(Signer(KEY).sign(message.raw or ()) in signatures for message in more)
    if not more:
        assert bool(texts(read)) == bool(texts(expected))
        assert texts(wire.reports) == texts(reports)


def partition(
    read: list[AnyMessage | RejectedFrame], expected: list[AnyMessage | RejectedFrame]
) -> tuple[list[AnyMessage], list[AnyMessage]]:
    """Return the expected messages in the order in which they were read, and all others."""
    left = [item for item in expected if not isinstance(item, Exception)]
    found: tuple[list[AnyMessage], list[AnyMessage]] = ([], [])
    for item in read:
        if not isinstance(item, Exception):
            is_expected = bool(left) and item == left[0]
            found[not is_expected].append(item)
            del left[:is_expected]
    return found


@given(st.lists(well_made(b"") | whatever | odd(b""), max_size=8))
def test_receiver_without_key_equals_plain_decoder(came: list[Frames]) -> None:
    wire, (expected, _) = Wire(came, b""), plainly(came, b"")
    read = wire.read()
    assert [m for m in read if not isinstance(m, Exception)] == [
        m for m in expected if not isinstance(m, Exception)
    ]
    assert texts(read) == texts(expected)


def test_split_signed_message_is_joined() -> None:
    """The only difference of the two, for input that sockets never produce: the message is authentic."""
    frames = [b"topic", *signed(KEY, *parts())]
    came = [frames[:4], frames[4:]]
    (message,) = Wire(came).read()
    assert not isinstance(message, Exception)
    assert all(isinstance(item, RejectedFrame) for item in plainly(came)[0])


# -- batches and rejections ---------------------------------------------------------------------------


def test_truncated_message_does_not_drop_next() -> None:
    good = [[b"topic", *signed(KEY, *parts())] for _ in range(3)]
    for end in range(1, 7):
        read = Wire([good[0], good[1][:end], good[2]]).read()
        assert [isinstance(item, Exception) for item in read] == [False, True, False]


def test_batch_size_is_limited() -> None:
    wire = Wire([[b"topic", *signed(KEY, *parts())] for _ in range(_MAX_BATCH_MESSAGES + 1)])
    assert [len(wire.receiver.messages()[0]) for _ in range(2)] == [_MAX_BATCH_MESSAGES, 1]


def test_replay_is_rejected_on_both_paths() -> None:
    made = [b"topic", *signed(KEY, *parts())]
    unusual = [b"topic", *signed(KEY, *parts("stream", {"x": float("nan")}))]
    for frames in (made, unusual):
        first, second = Wire([frames, frames]).read()
        assert not isinstance(first, Exception)
        assert isinstance(second, ReplayedFrame)


# -- buffers --------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, _MAX_COPIED_BYTES, _MAX_COPIED_BYTES + 1])
def test_buffers_are_read_only(size: int) -> None:
    buffers = [b"x" * size, b"y" * size]
    (read,) = Wire([[b"topic", *signed(KEY, *parts(), buffers=buffers)]]).read()
    assert not isinstance(read, Exception)
    assert [bytes(buffer) for buffer in read.buffers] == buffers
    assert all(buffer.readonly for buffer in read.buffers)
    changed = read.replace(content={"a": 1})
    assert changed.buffers is read.buffers


# -- parents --------------------------------------------------------------------------------------


def parents(*raws: bytes) -> list[Any]:
    read = Wire([[b"t", *signed(KEY, *parts(parent=raw))] for raw in raws]).read()
    return [item.parent_header for item in read if not isinstance(item, Exception)]


def test_parent_header_is_decoded_once() -> None:
    raw = parts("execute_request")[0]
    first, second = parents(raw, raw)
    assert first is second


def test_parent_header_cache_is_bounded() -> None:
    raw = parts("execute_request")[0]
    found = parents(raw, *(b'{"msg_id": "%d"}' % n for n in range(9_000)), raw)
    assert [parent.msg_id for parent in found[1:-1]] == [str(n) for n in range(9_000)]
    assert found[0] == found[-1]
    assert found[0] is not found[-1]


def test_huge_parent_header_is_not_cached() -> None:
    raw = parts("execute_request", username="x" * 100_000)[0]
    first, second = parents(raw, raw)
    assert first == second
    assert first is not second


HEADERS = st.one_of(
    messages().map(lambda message: json.dumps(message.header.to_dict()).encode()),
    st.dictionaries(
        st.sampled_from(["msg_id", "msg_type", "session", "username", "date", "version", "x"])
        | st.just("subshell_id"),
        st.none() | st.text(max_size=3) | st.integers(0, 3) | st.lists(st.booleans(), max_size=2),
    ).map(lambda fields: json.dumps(fields).encode()),
    st.sampled_from(
        [b"null", b"{}", b"[]", b"1", b"", b"{", b'{"msg_id": NaN}', b'{"a": "\\ud800"}']
    ),
    st.binary(max_size=10),
)


@given(HEADERS)
def test_header_of_equals_plain_decoder(raw: bytes) -> None:
    def read(header_of: ReadHeader) -> object:
        reported: list[str] = []
        try:
            header = header_of(ChannelName.SHELL, raw, "header", lambda e: reported.append(str(e)))
        except MalformedFrame as error:
            return str(error), reported
        return header, reported

    assert read(receiving.header_of) == read(plain.header_of)
