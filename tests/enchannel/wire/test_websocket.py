"""The binary WebSocket frames, compared with the specification and with Jupyter servers."""

import struct
import tracemalloc
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jupyter_client.session import json_packer
from jupyter_server.services.kernels.connection import base

import enchannel as ec
from enchannel import AnyMessage, ChannelName, MalformedFrame
from enchannel.errors import EnchannelError
from enchannel.testing.strategies import messages
from enchannel.wire.parts import parts_of
from enchannel.wire.websocket import decode, encode
from tests.enchannel.wire.reader import Reader, agree_or_too_deep, outcome_of
from tests.enchannel.wire.test_hostile import HOSTILE, NAMES, NEAR_RECURSION_LIMIT, mutations
from tests.rigs.frames import KEY, parts, signed

REFERENCE: Any = base


def framed(*parts: bytes, channel: bytes = b"iopub") -> bytes:
    """Return a frame, assembled by hand from the specification."""
    pieces = [channel, *parts]
    begin = 8 * (len(pieces) + 2)
    offsets = [begin + sum(map(len, pieces[:at])) for at in range(len(pieces) + 1)]
    return struct.pack(f"<{len(offsets) + 1}Q", len(offsets), *offsets) + b"".join(pieces)


@given(messages())
def test_message_round_trips(message: AnyMessage) -> None:
    reports: list[EnchannelError] = []
    frame = encode(message)
    again = decode(frame, reports.append)
    assert again == message
    assert again.header.extra == message.header.extra
    assert again.channel is message.channel
    assert encode(again) == frame
    assert decode(memoryview(frame)) == decode(bytearray(frame)) == message
    assert reports == []


@given(messages())
def test_frame_follows_specification(message: AnyMessage) -> None:
    frame = encode(message)
    again = decode(frame)
    assert again.raw is not None
    buffers = map(bytes, again.buffers)
    assert framed(*again.raw, *buffers, channel=message.channel.encode()) == frame


@given(messages())
def test_frame_equals_server_frame(message: AnyMessage) -> None:
    frame = encode(message)
    pieces = [*parts_of(message), *message.buffers]
    assert REFERENCE.serialize_msg_to_ws_v1(pieces, message.channel.value) == frame
    assert REFERENCE.deserialize_msg_from_ws_v1(frame) == (message.channel.value, pieces)


@given(messages())
def test_server_generated_message_is_decoded(message: AnyMessage) -> None:
    """Servers send messages of their own: a kernel died, too much output."""
    theirs = {
        "header": message.header.to_dict(),
        "parent_header": message.parent_header.to_dict(),
        "metadata": message.metadata,
        "content": message.content,
    }
    frame = REFERENCE.serialize_msg_to_ws_v1(theirs, message.channel.value, json_packer)
    assert decode(frame) == message.replace(buffers=())


def test_received_bytes_are_reused() -> None:
    odd = (b'{ "msg_id":"1",\n"msg_type":"\\u0078" }', b" {} ", b'{"a":1e2}', b'{"b" : 1.50}')
    message = Reader()(signed(KEY, *odd, buffers=[b"x"]))
    assert encode(message) == framed(*odd, b"x")


def test_buffers_are_read_only_views_of_frame() -> None:
    frame = bytearray(framed(*parts(), b"buffer"))
    message = decode(frame)
    frame[-1:] = b"X"
    assert message.buffers == (memoryview(b"buffer"),)
    assert message.buffers[0].readonly
    whole = bytes(frame)
    assert decode(whole).buffers[0].obj is whole


@pytest.mark.parametrize("data", HOSTILE, ids=[str(data[:24]) for data in HOSTILE])
@pytest.mark.parametrize("at", range(4), ids=NAMES)
def test_hostile_json_equals_zmq(at: int, data: bytes) -> None:
    good = parts("stream", {"text": "a"}, metadata={"b": 1})
    bad = [*good[:at], data, *good[at + 1 :]]
    reader, reports = Reader(), list[EnchannelError]()
    try:
        expected = reader(signed(KEY, *bad, buffers=[b"x"]))
    except MalformedFrame as error:
        why = str(error).removeprefix("a message on iopub ")
        with pytest.raises(MalformedFrame) as raised:
            decode(framed(*bad, b"x"), reports.append)
        assert str(raised.value) == f"a frame {why}"
    else:
        assert decode(framed(*bad, b"x"), reports.append) == expected
        assert list(map(str, reports)) == list(map(str, reader.reports))


@pytest.mark.parametrize("data", NEAR_RECURSION_LIMIT, ids=lambda data: str(len(data)))
@pytest.mark.parametrize("at", range(4), ids=NAMES)
def test_deep_json_equals_zmq_or_fails(at: int, data: bytes) -> None:
    good = parts("stream", {"text": "a"}, metadata={"b": 1})
    bad = [*good[:at], data, *good[at + 1 :]]
    theirs = outcome_of(lambda: Reader()(signed(KEY, *bad, buffers=[b"x"])))
    assert agree_or_too_deep(outcome_of(lambda: decode(framed(*bad, b"x"))), theirs)


@given(st.binary(max_size=200) | st.binary(max_size=80).map(lambda b: struct.pack("<Q", 6) + b))
def test_any_bytes_are_malformed(frame: bytes) -> None:
    with pytest.raises(MalformedFrame, match=r"^a frame .*; it was dropped$"):
        decode(frame)


@given(messages(), st.data())
@settings(max_examples=200)
def test_mutated_frame_is_message_or_malformed(message: AnyMessage, data: st.DataObject) -> None:
    frame = data.draw(mutations(encode(message)))
    try:
        again = decode(frame)
    except MalformedFrame:
        return
    assert encode(again) == frame


def test_truncated_frame_is_malformed() -> None:
    frame = encode(ec.execute_request("6 * 7").replace(buffers=(memoryview(b"b"),)))
    for end in range(len(frame)):
        with pytest.raises(MalformedFrame):
            decode(frame[:end])


@pytest.mark.parametrize(
    "numbers",
    [
        (0,),
        (5, *[48] * 5),
        (6, 56, 56, 56, 56, 56, 57),  # ends after the end
        (6, 56, 57, 56, 56, 56, 56),  # descends
        (6, 55, 56, 56, 56, 56, 56),  # starts inside the offsets
        (6, 0, 0, 0, 0, 0, 56),
        (7, 56, 56, 56, 56, 56, 56),
        (2**63, 56),
        (2**64 - 1, *[2**64 - 1] * 6),
        (2**61, *[2**61] * 6),
        (6, *[2**64 - 1] * 6),
    ],
)
def test_claimed_offsets_are_checked(numbers: tuple[int, ...]) -> None:
    frame = struct.pack(f"<{len(numbers)}Q", *numbers)
    tracemalloc.start()
    try:
        with pytest.raises(MalformedFrame):
            decode(frame)
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("channel", [b"", b"hb", b"SHELL", b"shell ", b"\xff", b"x" * 10_000])
def test_unknown_channel_is_malformed(channel: bytes) -> None:
    with pytest.raises(MalformedFrame, match="names an unknown channel") as raised:
        decode(framed(*parts(), channel=channel))
    assert len(str(raised.value)) < 200


@pytest.mark.parametrize("channel", [c for c in ChannelName if c is not ChannelName.HEARTBEAT])
def test_every_message_channel_round_trips(channel: ChannelName) -> None:
    assert decode(framed(*parts(), channel=channel.value.encode())).channel is channel
