"""Any received data becomes a message or a RejectedFrame, and raises no other exception."""

import json
import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from enchannel._protocol.message import AnyMessage
from enchannel.errors import (
    InvalidSignature,
    MalformedFrame,
    RejectedFrame,
    ReplayedFrame,
)
from enchannel.testing.strategies import messages
from enchannel.wire.signing import Signer
from enchannel.wire.zmq import DELIMITER, encode
from tests.enchannel.wire.reader import Reader
from tests.rigs.frames import KEY, parts, signature, signed

BOMB = b'{"a":' * 100_000
NESTED = b"[" * 100_000 + b"]" * 100_000
HOSTILE = [
    b"",
    b" ",
    b"\0",
    b"null",
    b"true",
    b"0",
    b'"text"',
    b"[]",
    b"{",
    b"{}{}",
    b"{'a': 1}",
    b'{"a": 01}',
    b'{"a": 1,}',
    b'{1: "a"}',
    b"\xef\xbb\xbf{}",
    b"{}\0",
    '{"a": 1}'.encode("utf-16"),
    '{"a": 1}'.encode("utf-32-be"),
    b'{"\xff": "\xfe"}',
    b'{"a": "\xed\xa0\x80"}',
    b'{"a": "\\ud800", "\\udfff": 1}',
    b'{"a": "\\ud800\\ud800\\udc00\\udc00"}',
    b'{"a": "\\u12"}',
    b'{"a": "\n"}',
    b'{"a": NaN, "b": -Infinity}',
    b'{"a": 1e999}',
    b'{"a": ' + b"9" * 400 + b"}",
    b'{"a": ' + b"9" * 5_000 + b"}",
    b'{"a": ' + b"9" * 400 + b".0}",
    b'{"a": 1e' + b"9" * 5_000 + b"}",
    b'{"a": "' + b"x" * 100_000 + b'"}',
    BOMB,
    BOMB + b"1" + b"}" * 100_000,
    NESTED,
    b'{"a": ' + NESTED + b"}",
    b'{"msg_id": 5, "msg_type": []}',
    b'{"msg_id": "", "msg_type": ""}',
    b'{"msg_id": "\\ud800", "msg_type": "x"}',
    b'{"msg_id": "1", "msg_type": "x", "\\ud800": "\\udfff"}',
    b'{"msg_id": "1", "msg_type": "x", "date": NaN, "extra": {"a": NaN}}',
    b'{"msg_id": "1", "msg_type": "x", "extra": "not what you think", "raw": 1}',
    b'{"msg_id": "1", "msg_type": "x", "__class__": 1, "self": 2, "": 3}',
    b'{"msg_id": "1", "msg_type": "x", "subshell_id": {"a": 1}, "session": null}',
]
# Whether these can be read depends on the depth of the stack, which differs between the codecs.
NEAR_RECURSION_LIMIT = [
    *(b'{"a":' * depth + b"NaN" + b"}" * depth for depth in (900, 950, 980, 990, 995, 1000)),
    *(b'{"a":' * depth + b'"\\ud800"' + b"}" * depth for depth in (900, 950, 980, 990, 995)),
]
NAMES = ["header", "parent_header", "metadata", "content"]


def message_or_rejected(reader: Reader, frames: list[bytes]) -> AnyMessage | None:
    """Return the message after a check that it is usable, or None if it was rejected."""
    try:
        message = reader(frames)
    except RejectedFrame as error:
        check_rejection(error)
        return None
    assert message.header.msg_id
    assert message.header.msg_type
    for header in (message.header, message.parent_header):
        for name in ("msg_id", "msg_type", "session", "username", "date", "version"):
            getattr(header, name).encode()  # raises if not UTF-8
        assert isinstance(header.subshell_id, str | None)
    assert repr(message)
    assert encode(message, Signer(KEY))[2:6] == frames[-4 - len(message.buffers) :][:4]
    return message


def check_rejection(error: RejectedFrame) -> None:
    assert str(error).startswith("a message on iopub ")
    assert str(error).endswith("; it was dropped")
    assert type(error) in {InvalidSignature, ReplayedFrame, MalformedFrame}


def equal_but(one: AnyMessage, other: AnyMessage, name: str) -> bool:
    """Return True if two messages are equal except for one part."""
    names = [*NAMES, "channel", "buffers"]
    return all(getattr(one, n) == getattr(other, n) for n in names if n != name)


@pytest.mark.parametrize("data", [*HOSTILE, *NEAR_RECURSION_LIMIT], ids=lambda data: str(data[:24]))
@pytest.mark.parametrize("at", range(4), ids=NAMES)
def test_hostile_json_in_a_part(at: int, data: bytes) -> None:
    good = parts("stream", {"text": "a"}, metadata={"b": 1})
    bad = [*good[:at], data, *good[at + 1 :]]
    message = message_or_rejected(Reader(), signed(KEY, *bad, buffers=[b"x"]))
    whole = Reader()(signed(KEY, *good, buffers=[b"x"]))
    assert message is None or equal_but(message, whole, NAMES[at])


@given(st.binary(max_size=200), st.sampled_from(range(4)))
def test_any_bytes_in_a_part(data: bytes, at: int) -> None:
    good = parts("stream", {"text": "a"})
    message_or_rejected(Reader(), signed(KEY, *good[:at], data, *good[at + 1 :]))


@given(st.lists(st.binary(max_size=20) | st.just(DELIMITER) | st.just(b"{}"), max_size=12))
def test_any_frames(frames: list[bytes]) -> None:
    message_or_rejected(Reader(), frames)
    message_or_rejected(Reader(b""), frames)


def mutations(frame: bytes) -> st.SearchStrategy[bytes]:
    """Return a strategy of frames with bytes replaced, inserted and removed."""
    return st.tuples(
        st.integers(0, max(0, len(frame) - 1)), st.binary(max_size=3), st.integers(0, 4)
    ).map(lambda m: frame[: m[0]] + m[1] + frame[m[0] + m[2] :])


@given(messages(), st.data())
@settings(max_examples=50)
def test_unsigned_mutation_is_rejected(message: AnyMessage, data: st.DataObject) -> None:
    frames = [bytes(frame) for frame in encode(message, Signer(KEY))]
    at = data.draw(st.integers(1, 5))
    mutated = data.draw(mutations(frames[at]).filter(lambda frame: frame != frames[at]))
    with pytest.raises(InvalidSignature):
        Reader()([*frames[:at], mutated, *frames[at + 1 :]])


@given(messages(), st.data())
@settings(max_examples=60)
def test_signed_mutation_changes_one_part_only(message: AnyMessage, data: st.DataObject) -> None:
    message = message.replace(channel="iopub")
    frames = [bytes(frame) for frame in encode(message, Signer(KEY))]
    at = data.draw(st.integers(2, 5))
    frames[at] = data.draw(mutations(frames[at]))
    frames[1] = signature(KEY, frames[2:6])
    again = message_or_rejected(Reader(), frames)
    assert again is None or equal_but(again, message, NAMES[at - 2])


@given(messages(), st.data())
@settings(max_examples=50)
def test_missing_doubled_or_reordered_frames(message: AnyMessage, data: st.DataObject) -> None:
    message = message.replace(channel="iopub", buffers=())
    frames = [b"topic", *map(bytes, encode(message, Signer(KEY)))]
    chosen = data.draw(st.lists(st.sampled_from(range(len(frames))), max_size=10))
    again = message_or_rejected(Reader(), [frames[i] for i in chosen])
    assert again is None or equal_but(again, message, "buffers")


@given(st.lists(st.binary(max_size=9), max_size=4))
def test_signature_does_not_cover_buffers(buffers: list[bytes]) -> None:
    """The signature does not cover prefix frames either, by the protocol."""
    again = Reader()([b"whatever", *signed(KEY, *parts()), *buffers])
    assert [bytes(buffer) for buffer in again.buffers] == buffers


def test_frames_after_a_second_delimiter_are_buffers() -> None:
    one, other = signed(KEY, *parts("stream")), signed(KEY, *parts("error"))
    message = Reader()([*one, *other])
    assert message.header.msg_type == "stream"
    assert [bytes(buffer) for buffer in message.buffers] == other


@pytest.mark.parametrize("prefix", [[], [b"topic"], [b""], [b"a", b"b", b"c"], [b"x"] * 20])
def test_any_number_of_prefix_frames(prefix: list[bytes]) -> None:
    message = Reader()([*prefix, *signed(KEY, *parts("stream", {"text": "a"}), buffers=[b"b"])])
    assert message.content == {"text": "a"}
    assert message.buffers == (memoryview(b"b"),)


@pytest.mark.parametrize("prefix", [[], [b"topic"], [b"a", b"b", b"c"]])
@pytest.mark.parametrize("count", range(5))
def test_fewer_than_five_frames_after_the_delimiter(prefix: list[bytes], count: int) -> None:
    frames = [*prefix, *signed(KEY, *parts())[: 1 + count]]
    with pytest.raises(MalformedFrame, match=f"has {count} frames after its delimiter, not 5"):
        Reader()(frames)


@pytest.mark.parametrize("frames", [[], [b""], [b"a"], signed(KEY, *parts())[1:], [b"x"] * 100])
def test_no_delimiter(frames: list[bytes]) -> None:
    with pytest.raises(MalformedFrame, match="delimiter"):
        Reader()(frames)


@pytest.mark.parametrize("name", ["msg_id", "msg_type"])
@pytest.mark.parametrize("value", ["", None, 5, []])
def test_header_without_required_fields(name: str, value: Any) -> None:
    with pytest.raises(MalformedFrame, match="msg_id or no msg_type"):
        Reader()(signed(KEY, *parts(**{name: value})))


@pytest.mark.parametrize("value", [None, 5, 1.5, True, [], {"a": 1}])
@pytest.mark.parametrize("name", ["session", "username", "date", "version", "subshell_id"])
def test_header_with_fields_of_other_types(name: str, value: Any) -> None:
    reader = Reader()
    header = reader(signed(KEY, *parts("stream", **{name: value}))).header
    assert getattr(header, name) == (None if name == "subshell_id" else "")
    assert header.msg_type == "stream"
    assert reader.reports == []


def test_header_with_required_fields_only() -> None:
    header = b'{"msg_id": "1", "msg_type": "x"}'
    message = Reader()(signed(KEY, header, b"{}", b"{}", b"{}"))
    assert message.header.session == message.header.date == message.header.version == ""


@pytest.mark.parametrize("parent", [b"{}", b"null", b" null ", b"{ }", b'{"date": "2024"}'])
def test_message_without_parent(parent: bytes) -> None:
    message = Reader()(signed(KEY, *parts(parent=parent)))
    assert not message.parent_header
    assert message.parent_header.msg_id == ""


@pytest.mark.parametrize("parent", [b"[]", b'"1"', b"1", b"false", b"[{}]"])
def test_parent_header_that_is_not_an_object(parent: bytes) -> None:
    with pytest.raises(MalformedFrame, match="parent_header that is a .*, not an object"):
        Reader()(signed(KEY, *parts(parent=parent)))


@pytest.mark.parametrize("part", [2, 3], ids=["metadata", "content"])
def test_null_is_an_empty_object(part: int) -> None:
    frames = list(parts("stream"))
    frames[part] = b"null"
    message = Reader()(signed(KEY, *frames))
    assert message.content == {}
    assert message.metadata == {}


@pytest.mark.parametrize(
    ("raw", "text", "flaw"),
    [
        (b'{"text": "caf\xe9 \xff"}', "caf� �", "is not UTF-8"),
        (b'{"text": "\xed\xa0\xbdx"}', "���x", "is not UTF-8"),
        (b'{"text": "a\\ud83dx"}', "a�x", "lone surrogates"),
        (b'{"text": "\\udc00"}', "�", "lone surrogates"),
        (b'{"text": "\xff\\ud83d"}', "��", "lone surrogates"),
    ],
)
def test_invalid_text_is_replaced_and_reported(raw: bytes, text: str, flaw: str) -> None:
    reader = Reader()
    message = reader(signed(KEY, *parts()[:3], raw))
    assert message.content == {"text": text}
    text.encode()
    [report] = reader.reports
    assert isinstance(report, MalformedFrame)
    assert "iopub" in str(report)
    assert "content" in str(report)
    assert flaw in str(report)
    assert encode(message, Signer(KEY))[5] == raw


@pytest.mark.parametrize("at", range(4), ids=NAMES)
def test_invalid_text_report_names_part(at: int) -> None:
    broken = list(parts("stream"))
    broken[at] = b'{"msg_id": "1", "msg_type": "x", "username": "\xff"}'
    reader = Reader()
    reader(signed(KEY, *broken))
    assert f"its {NAMES[at]} is not UTF-8" in str(reader.reports[0])


def test_unsigned_invalid_text_is_rejected() -> None:
    reader = Reader()
    with pytest.raises(InvalidSignature):
        reader(signed(b"another", *parts()[:3], b'{"text": "\xff"}'))
    assert reader.reports == []


def test_nan_and_infinity_are_read() -> None:
    content = Reader()(signed(KEY, *parts()[:3], b'{"a": [NaN, Infinity, -Infinity, 1e999]}'))
    assert str(content.content["a"]) == "[nan, inf, -inf, inf]"


def test_integers_of_any_size_are_read() -> None:
    digits = "1234567890" * 40
    message = Reader()(signed(KEY, *parts()[:3], f'{{"a": {digits}, "b": -{digits}}}'.encode()))
    assert message.content == {"a": int(digits), "b": -int(digits)}


def test_deep_nesting_within_limit_is_read() -> None:
    depth = sys.getrecursionlimit() // 4
    message = Reader()(signed(KEY, *parts()[:3], b'{"a":' * depth + b"1" + b"}" * depth))
    value: Any = message.content
    for _ in range(depth):
        value = value["a"]
    assert value == 1


@pytest.mark.parametrize("frames_below", range(4))
def test_deep_nesting_error_at_any_stack_depth(frames_below: int) -> None:
    """The text of the interpreter's RecursionError depends on where the limit is reached."""

    def read(frames: int) -> None:
        if frames:
            read(frames - 1)
        else:
            Reader()(signed(KEY, *parts()[:3], BOMB))

    with pytest.raises(MalformedFrame, match="has a content that is nested too deeply"):
        read(frames_below)


def test_decoder_survives_json_bomb() -> None:
    reader = Reader()
    for _ in range(3):
        with pytest.raises(MalformedFrame):
            reader(signed(KEY, *parts()[:3], BOMB))
        with pytest.raises(MalformedFrame):
            reader(signed(KEY, *parts(parent=NESTED)))
        assert reader(signed(KEY, *parts("stream"))).header.msg_type == "stream"


def test_rejection_does_not_contain_message() -> None:
    """Data from an unknown sender could flood a log or control a terminal."""
    broken = b'{"text": "a\x1b[2Jsecret"'
    with pytest.raises(MalformedFrame) as raised:
        Reader()(signed(KEY, *parts()[:3], broken))
    assert "secret" not in str(raised.value)
    assert len(str(raised.value)) < 200


def test_content_equals_json_loads() -> None:
    content = {"a": [1, 2.5, None, True, {"b": "ü"}]}
    raw = json.dumps(content, ensure_ascii=False, indent=1).encode()
    assert Reader()(signed(KEY, *parts()[:3], raw)).content == content
