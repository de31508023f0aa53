"""The older WebSocket frames, exchanged with the code of Jupyter servers."""

import json
import logging
import re
import struct
import tracemalloc
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jupyter_client.session import Session
from jupyter_server.services.kernels.connection import base
from jupyter_server.services.kernels.connection.channels import ZMQChannelsWebsocketConnection

import enchannel as ec
from enchannel import AnyMessage, ChannelName, InvalidMessage, MalformedFrame
from enchannel import messages as build
from enchannel.errors import EnchannelError
from enchannel.testing.strategies import messages
from enchannel.testing.strategies import mutations as more_mutations
from enchannel.wire import websocket as v1
from enchannel.wire.legacy_websocket import decode, encode
from enchannel.wire.parts import RawParts
from tests.enchannel.wire.reader import Reader, agree_or_too_deep, outcome_of
from tests.enchannel.wire.test_hostile import (
    BOMB,
    HOSTILE,
    NAMES,
    NEAR_RECURSION_LIMIT,
    NESTED,
    mutations,
)
from tests.enchannel.wire.test_websocket import framed as v1_framed
from tests.rigs.frames import KEY, parts, signed

REFERENCE: Any = base
CONNECTION: Any = ZMQChannelsWebsocketConnection
CHANNELS = [c for c in ChannelName if c is not ChannelName.HEARTBEAT]


def framed(*pieces: bytes) -> bytes:
    """Return a binary frame, assembled by hand."""
    begin = 4 * (len(pieces) + 1)
    offsets = [begin + sum(map(len, pieces[:at])) for at in range(len(pieces))]
    return struct.pack(f">{len(pieces) + 1}I", len(pieces), *offsets) + b"".join(pieces)


def written(*json_parts: bytes, channel: bytes = b'"iopub"') -> bytes:
    """Return the object of a message, assembled by hand, with an unknown member."""
    header, parent, metadata, content = json_parts
    return (
        b'{"header":%b,\n "parent_header" : %b , "channel":%b,"metadata":%b,"content": %b,"new":{}}'
        % (header, parent, channel, metadata, content)
    )


def check_rejection(error: MalformedFrame) -> None:
    assert str(error).startswith("a frame ")
    assert str(error).endswith("; it was dropped")
    assert len(str(error)) < 250


def message_or_malformed(frame: str | bytes) -> AnyMessage | None:
    """Return the message after a check that it can be forwarded, or None if the frame is malformed."""
    try:
        message = decode(frame)
    except MalformedFrame as error:
        check_rejection(error)
        return None
    assert repr(message)
    assert message.raw is not None
    again = decode(encode(message))
    assert again.raw == tuple(part.decode(errors="replace").encode() for part in message.raw)
    assert (again.channel, again.buffers) == (message.channel, message.buffers)
    return message


def received_by_kernel(frame: str | bytes) -> AnyMessage:
    """Return the message that a kernel receives from a server that is sent this frame."""
    sent: list[tuple[str, Any]] = []
    connection = SimpleNamespace(
        channels={channel.value: channel.value for channel in CHANNELS},
        subprotocol=None,
        log=logging.getLogger("server"),
        multi_kernel_manager=SimpleNamespace(allowed_message_types=[]),
        session=SimpleNamespace(send=lambda stream, message: sent.append((stream, message))),
    )
    CONNECTION.handle_incoming_message(connection, frame)
    [(stream, message)] = sent
    session: Any = Session(key=KEY)
    return Reader(channel=stream)([*session.serialize(message), *message.get("buffers", [])])


def frame_from_server(message: dict[str, Any], channel: str) -> str | bytes:
    """Return the frame in which a server forwards a message of the kernel."""
    frame: str | bytes = CONNECTION._reserialize_reply(None, message, channel)
    return frame


def as_a_server_has_it(message: AnyMessage) -> dict[str, Any]:
    return {
        "channel": message.channel.value,
        "header": message.header.to_dict(),
        "parent_header": message.parent_header.to_dict(),
        "metadata": message.metadata,
        "content": message.content,
        "msg_id": message.header.msg_id,
        "msg_type": message.header.msg_type,
        "buffers": list(message.buffers),
    }


@given(messages())
def test_server_reads_encoded_frame(message: AnyMessage) -> None:
    again = received_by_kernel(encode(message))
    assert again == message
    assert again.header.extra == message.header.extra


@given(messages())
def test_server_frame_is_decoded(message: AnyMessage) -> None:
    reports: list[EnchannelError] = []
    again = decode(frame_from_server(as_a_server_has_it(message), message.channel), reports.append)
    assert again == message
    assert again.header.extra == message.header.extra
    assert reports == []


@given(messages())
def test_frame_equals_server_frame(message: AnyMessage) -> None:
    message = message.replace(header=build.status("busy", parent=None).header)
    theirs = as_a_server_has_it(message)
    raw = RawParts(*(json.dumps(theirs[name]).encode() for name in NAMES))
    frame = frame_from_server(theirs, message.channel)
    assert encode(message.replace(raw=raw)) == frame
    assert decode(frame).raw == raw


@given(messages())
def test_frame_object_has_protocol_members(message: AnyMessage) -> None:
    frame = encode(message)
    if message.buffers:
        assert isinstance(frame, bytes)
        theirs = REFERENCE.deserialize_binary_message(frame)
    else:
        assert isinstance(frame, str)
        theirs = json.loads(frame)
    assert theirs == as_a_server_has_it(message)


def test_dates_pass_through_server() -> None:
    reference: Any = Session(session="reference")
    message = reference.msg("stream", {"text": "a"}, parent=reference.msg("execute_request"))
    for buffers in ([], [b"x"]):
        ours = decode(frame_from_server(message | {"buffers": buffers}, "iopub"))
        assert ours.channel is ChannelName.IOPUB
        assert ours.header.date == message["header"]["date"].isoformat().replace("+00:00", "Z")
        assert ours.parent_header.msg_id == message["parent_header"]["msg_id"]
        request = ec.Session().fill_headers(ec.execute_request("1").replace(buffers=buffers))
        assert received_by_kernel(encode(request)).header.date == request.header.date


@given(messages())
def test_message_round_trips(message: AnyMessage) -> None:
    reports: list[EnchannelError] = []
    frame = encode(message)
    again = decode(frame, reports.append)
    assert again == message
    assert again.header.extra == message.header.extra
    assert again.channel is message.channel
    assert encode(again) == frame
    if isinstance(frame, bytes):
        assert decode(memoryview(frame)) == decode(bytearray(frame)) == message
    assert reports == []


@pytest.mark.parametrize("buffers", [[], [b"x", b"", b"yz"]], ids=["text", "binary"])
def test_received_bytes_are_reused(buffers: list[bytes]) -> None:
    odd = (b'{ "msg_id":"1",\n"msg_type":"\\u0078" }', b" {} ", b'{"a":1e2}', b'{"b" : 1.50}')
    message = Reader()(signed(KEY, *odd, buffers=buffers))
    written = (
        b'{"channel": "iopub", "header": %b, "parent_header": %b, "metadata": %b, "content": %b, '
        b'"msg_id": "1", "msg_type": "x"' % odd
    )
    if buffers:
        assert encode(message) == framed(written + b"}", *buffers)
    else:
        assert encode(message) == written.decode() + ', "buffers": []}'


@pytest.mark.parametrize("flaw", [b"1", b"NaN", b'"\\ud800"', b'"\xff"'])
def test_parts_keep_bytes_despite_whitespace(flaw: bytes) -> None:
    odd = (
        b'{ "msg_id":"1",\r\n"msg_type":"\\u0078", "new": 1.0E+2}',
        b"null",
        b'{"\xc3\xa9":1e2,"a":1,"a":2}',
        b'{"}" : [%b, {",": -0.0}]}' % flaw,
    )
    frame = framed(
        b'\n{ "msg_type" :%b ,\t"other": [%b] , ' % (flaw, flaw) + written(*odd)[1:] + b" "
    )
    message = decode(frame)
    assert message.raw == odd
    assert message.header.msg_type == "x"
    assert message.channel is ChannelName.IOPUB


def test_last_of_duplicate_members_counts() -> None:
    """As for other JSON decoders."""
    twice = written(*parts("one"))[:-1] + b"," + written(*parts("other"), channel=b'"shell"')[1:]
    for flaw in (b"", b'"flaw":NaN,'):
        message = decode(framed(b"{" + flaw + twice[1:]))
        assert (message.header.msg_type, message.channel) == ("other", "shell")


def test_buffers_are_read_only_views_of_frame() -> None:
    frame = bytearray(framed(written(*parts()), b"buffer"))
    message = decode(frame)
    frame[-1:] = b"X"
    assert message.buffers == (memoryview(b"buffer"),)
    assert message.buffers[0].readonly
    whole = bytes(frame)
    assert decode(whole).buffers[0].obj is whole
    assert decode(memoryview(whole[::-1])[::-1]) == decode(whole)


@pytest.mark.parametrize("frame_type", ["text", "binary"])
@pytest.mark.parametrize("data", HOSTILE, ids=[str(data[:24]) for data in HOSTILE])
@pytest.mark.parametrize("at", range(4), ids=NAMES)
def test_hostile_json_equals_other_framing(at: int, data: bytes, frame_type: str) -> None:
    if frame_type == "text":  # WebSocket text is UTF-8
        data = data.decode(errors="replace").encode()
    good = parts("stream", {"text": "a"}, metadata={"b": 1})
    bad = [*good[:at], data, *good[at + 1 :]]
    frame = written(*bad).decode() if frame_type == "text" else framed(written(*bad))
    theirs, ours = list[EnchannelError](), list[EnchannelError]()
    try:
        expected = v1.decode(v1_framed(*bad), theirs.append)
    except MalformedFrame as error:
        # A part that is not JSON makes the whole frame invalid JSON.
        whole = "a frame is (not JSON|nested too deeply)"
        with pytest.raises(MalformedFrame, match=f"^({re.escape(str(error))}$|{whole})") as raised:
            decode(frame, ours.append)
        check_rejection(raised.value)
    else:
        assert decode(frame, ours.append) == expected
        assert list(map(str, ours)) == list(map(str, theirs))


@pytest.mark.parametrize("frame_type", ["text", "binary"])
@pytest.mark.parametrize("data", NEAR_RECURSION_LIMIT, ids=lambda data: str(len(data)))
@pytest.mark.parametrize("at", range(4), ids=NAMES)
def test_deep_json_equals_other_framing_or_fails(at: int, data: bytes, frame_type: str) -> None:
    good = parts("stream", {"text": "a"}, metadata={"b": 1})
    bad = [*good[:at], data, *good[at + 1 :]]
    frame = written(*bad).decode() if frame_type == "text" else framed(written(*bad))
    theirs = outcome_of(lambda: v1.decode(v1_framed(*bad)))
    assert agree_or_too_deep(outcome_of(lambda: decode(frame)), theirs)


@pytest.mark.parametrize("data", [*HOSTILE, *NEAR_RECURSION_LIMIT], ids=lambda data: str(data[:24]))
def test_hostile_json_around_parts(data: bytes) -> None:
    good = written(*parts())
    message_or_malformed(framed(data))
    message_or_malformed(data.decode(errors="replace"))
    message_or_malformed(framed(written(*parts(), channel=data)))
    message_or_malformed(written(*parts(), channel=data).decode(errors="surrogateescape"))
    message_or_malformed(framed(b'{"buffers": %b, ' % data + good[1:]))
    message_or_malformed((b'{"buffers": %b, ' % data + good[1:]).decode(errors="replace"))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "is not JSON"),
        ("{", "is not JSON"),
        ("{}{}", "is not JSON"),
        ("\x00\x00\x00\x01", "is not JSON"),
        ("[]", "is a list, not an object"),
        ("null", "is a NoneType, not an object"),
        ("NaN", "is a float, not an object"),
        ('"shell"', "is a str, not an object"),
        ("{}", "has no msg_id or no msg_type in its header"),
        (' { "x" : NaN } ', "has no msg_id or no msg_type in its header"),
    ],
)
def test_frame_without_object_is_malformed(text: str, why: str) -> None:
    for frame in (text, framed(text.encode()), framed(text.encode(), b"x")):
        with pytest.raises(MalformedFrame, match=f"^a frame {why}.*; it was dropped$"):
            decode(frame)


def test_text_and_binary_frames_differ() -> None:
    text, binary = written(*parts()).decode(), framed(written(*parts()), b"x")
    with pytest.raises(MalformedFrame):
        decode(text.encode())
    with pytest.raises(MalformedFrame):
        decode(binary.decode("latin-1"))


def test_lone_surrogates_are_replaced_and_reported() -> None:
    """A WebSocket cannot carry them, but a str can."""
    reports: list[EnchannelError] = []
    frame = written(*parts("stream", {"text": "a!"})).decode().replace("!", "\ud83d")
    message = decode(frame, reports.append)
    assert message.content == {"text": "a���"}
    assert list(map(str, reports)) == [
        "a message on iopub: its content is not UTF-8 (decoded with replacement)"
    ]


@pytest.mark.parametrize("buffers", [[], [b"x"]], ids=["text", "binary"])
def test_invalid_utf8_is_encoded_with_replacement(buffers: list[bytes]) -> None:
    """Text frames cannot contain them, and servers cannot decode them."""
    message = Reader()(signed(KEY, *parts()[:3], b'{"text": "caf\xe9 \xff"}', buffers=buffers))
    again = received_by_kernel(encode(message))
    assert again.content == message.content == {"text": "caf� �"}
    assert again.buffers == message.buffers


@given(
    st.binary(max_size=200)
    | st.binary(max_size=80).map(lambda b: struct.pack(">II", 1, 8) + b)
    | st.text(st.characters(), max_size=80)
)
def test_any_frame_is_message_or_malformed(frame: bytes | str) -> None:
    with pytest.raises(MalformedFrame, match=r"^a frame .*; it was dropped$"):
        decode(frame)


@given(messages(), st.data())
@settings(max_examples=200)
def test_mutated_frame_is_message_or_malformed(message: AnyMessage, data: st.DataObject) -> None:
    frame = encode(message)
    kind = data.draw(st.sampled_from([mutations, more_mutations]))
    if isinstance(frame, bytes):
        message_or_malformed(data.draw(kind(frame)))
    else:
        mutated = data.draw(kind(frame.encode()))
        message_or_malformed(mutated.decode(errors="surrogateescape"))


def test_truncated_frame_is_malformed() -> None:
    message = ec.execute_request("6 * 7").replace(buffers=(memoryview(b"a"), memoryview(b"bc")))
    frame = encode(message)
    assert isinstance(frame, bytes)
    for end in range(len(frame) - 2):
        with pytest.raises(MalformedFrame):
            decode(frame[:end])
    for end in (2, 1, 0):  # not detectable
        assert bytes(decode(frame[: len(frame) - end]).buffers[-1]) == b"bc"[: 2 - end]
    text = encode(message.replace(buffers=()))
    assert isinstance(text, str)
    for end in range(len(text)):
        with pytest.raises(MalformedFrame, match="not JSON"):
            decode(text[:end])


@pytest.mark.parametrize(
    ("numbers", "why"),
    [
        ((), "has 0 bytes"),
        ((0,), "claims 0 parts"),
        ((1,), "claims 1 parts"),
        ((1, 7), "do not match its length"),  # inside the offsets
        ((1, 9), "do not match its length"),  # after the end
        ((2, 12, 13), "do not ascend"),  # after the end
        ((3, 16, 17, 16), "do not ascend"),  # descends
        ((2, 12, 0), "do not ascend"),
        ((2**31, 8), "claims 2147483648 parts"),
        ((2**32 - 1, *[2**32 - 1] * 6), "claims 4294967295 parts"),
        ((1, 2**32 - 1), "do not match its length"),
        ((1, 0), "do not match its length"),
    ],
)
def test_claimed_offsets_are_checked(numbers: tuple[int, ...], why: str) -> None:
    frame = struct.pack(f">{len(numbers)}I", *numbers)
    tracemalloc.start()
    try:
        with pytest.raises(MalformedFrame, match=why):
            decode(frame)
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


def test_frame_shorter_than_its_count() -> None:
    for size in range(4):
        with pytest.raises(MalformedFrame, match=f"has {size} bytes, too few for the number"):
            decode(b"\0" * size)


def test_deep_nesting_anywhere() -> None:
    good = written(*parts("stream"))
    for deep in (BOMB, NESTED, b"[" * 100_000):
        for frame in (
            deep,
            written(*parts()[:3], deep),
            written(*parts(), channel=deep),
            b'{"deep": %b, ' % deep + good[1:],
        ):
            for one in (frame.decode(), framed(frame)):
                with pytest.raises(MalformedFrame):
                    decode(one)
    assert decode(good.decode()).header.msg_type == "stream"


@pytest.mark.parametrize(
    "channel",
    [
        b'""',
        b'"hb"',
        b'"heartbeat"',
        b'"SHELL"',
        b'"shell "',
        b'"\\ud800"',
        b'"%b"' % (b"x" * 10_000),
    ],
)
def test_unknown_channel_is_malformed(channel: bytes) -> None:
    with pytest.raises(MalformedFrame, match="names an unknown channel") as raised:
        decode(written(*parts(), channel=channel).decode())
    assert len(str(raised.value)) < 200


@pytest.mark.parametrize("channel", [b"0", b"false", b"[]", b"{}", b'["shell"]', b"NaN"])
def test_non_text_channel_is_malformed(channel: bytes) -> None:
    with pytest.raises(MalformedFrame, match="has a channel that is a .*, not a name"):
        decode(written(*parts(), channel=channel).decode())


@pytest.mark.parametrize("channel", CHANNELS)
def test_every_message_channel_round_trips(channel: ChannelName) -> None:
    name = json.dumps(channel).encode()
    assert decode(written(*parts(), channel=name).decode()).channel is channel
    assert decode(framed(written(*parts(), channel=name))).channel is channel


@pytest.mark.parametrize("channel", [b"", b'"channel":null,'], ids=["none", "null"])
@pytest.mark.parametrize("buffers", [[], [b"x"]], ids=["text", "binary"])
def test_missing_channel_means_shell(channel: bytes, buffers: list[bytes]) -> None:
    reports: list[EnchannelError] = []
    whole = written(*parts()).replace(b'"channel":"iopub",', channel)
    frame = framed(whole, *buffers) if buffers else whole.decode()
    message = decode(frame, reports.append)
    assert message == received_by_kernel(frame)
    assert message.channel is ChannelName.SHELL
    assert list(map(str, reports)) == ["a message on shell: its frame names no channel"]


@pytest.mark.parametrize("name", NAMES[1:])
def test_missing_part_is_empty(name: str) -> None:
    whole = {n: json.loads(part) for n, part in zip(NAMES, parts("x", {"a": 1}), strict=True)}
    reports: list[EnchannelError] = []
    message = decode(json.dumps({"channel": "shell"} | whole | {name: {}}), reports.append)
    del whole[name]
    assert decode(json.dumps({"channel": "shell"} | whole), reports.append) == message
    assert reports == []


@pytest.mark.parametrize("buffers", [b"[]", b"{}", b"null", b" [ ] "])
def test_text_frame_may_have_empty_buffers(buffers: bytes) -> None:
    frame = b'{"buffers":%b,' % buffers + written(*parts())[1:]
    assert decode(frame.decode()).buffers == ()


def test_text_frame_with_buffers_is_malformed() -> None:
    frame = b'{"buffers":["AAA="],' + written(*parts())[1:]
    with pytest.raises(MalformedFrame, match="is text with buffers"):
        decode(frame.decode())
    assert decode(framed(frame, b"x")).buffers == (memoryview(b"x"),)  # like servers


@pytest.mark.parametrize("buffers", [(), (memoryview(b"x"),)], ids=["text", "binary"])
def test_non_json_content_raises(buffers: tuple[memoryview, ...]) -> None:
    message = build.status("busy", parent=None).replace(buffers=buffers)
    with pytest.raises(InvalidMessage, match="header cannot be written"):
        encode(message.replace(header=ec.Header(msg_id="\ud800", msg_type="x")))


def test_buffers_over_4_gib_raise() -> None:
    one = memoryview(bytes(1 << 26))
    message = build.status("busy", parent=None).replace(buffers=(one,) * 65)
    with pytest.raises(InvalidMessage, match="4 GiB"):
        encode(message)
