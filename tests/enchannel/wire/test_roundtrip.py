"""Encoded messages decode to equal messages."""

from hypothesis import given
from hypothesis import strategies as st

import enchannel as ec
from enchannel import messages as build
from enchannel._protocol.message import AnyMessage, RawParts
from enchannel.testing.strategies import messages
from enchannel.wire.signing import Signer
from enchannel.wire.zmq import DELIMITER, encode
from tests.enchannel.wire.reader import Reader
from tests.rigs.frames import KEY, parts, signed

keys = st.sampled_from([KEY, b""])
prefixes = st.lists(st.binary().filter(lambda frame: frame != DELIMITER), max_size=3)


@given(messages(), keys, prefixes)
def test_message_round_trips(message: AnyMessage, key: bytes, prefix: list[bytes]) -> None:
    """From bytes and from views; a forwarded message has the same bytes."""
    reader = Reader(key, channel=message.channel)
    frames = encode(message, Signer(key))
    again = reader([*prefix, *frames])
    assert again == message
    assert again.header.extra == message.header.extra
    assert again.channel is message.channel
    assert encode(again, Signer(key)) == frames
    assert Reader(key, channel=message.channel)([memoryview(frame) for frame in frames]) == message
    assert reader.reports == []


# Valid JSON that enchannel's encoder would format differently.
ODD = RawParts(
    b'{ "msg_id":"1",\n"msg_type":"\\u0078", "date":null, "version":5, "new":{"a":[1.50]} }',
    b' {"msg_id": "0", "other": 1e2} ',
    b'{"twice": 1, "twice": 2}',
    b'{"number": 1.0E+2, "text": "\\u00e9", "inf": 1e999, "nan": NaN}',
)


def test_received_bytes_are_reused() -> None:
    message = Reader()([b"topic", *signed(KEY, *ODD, buffers=[b"x"])])
    assert message.raw == ODD
    assert encode(message, Signer(KEY)) == signed(KEY, *ODD, buffers=[b"x"])


def test_received_bytes_are_signed_with_new_key() -> None:
    message = Reader()(signed(KEY, *ODD))
    assert encode(message, Signer(b"another")) == signed(b"another", *ODD)
    assert encode(message, Signer(b"")) == signed(b"", *ODD)


def test_unknown_header_fields_are_kept() -> None:
    message = Reader()(signed(KEY, *ODD))
    assert message.header.msg_type == "x"
    assert message.header.extra == {"new": {"a": [1.5]}}
    assert message.parent_header.extra == {"other": 100.0}
    # also in copies and replies
    changed = Reader()(encode(message.replace(content={}), Signer(KEY)))
    assert changed.header.extra == {"new": {"a": [1.5]}}
    reply = Reader()(encode(build.execute_reply(1, parent=message), Signer(KEY)))
    assert reply.parent_header.extra == {"new": {"a": [1.5]}}


def test_replaced_message_is_encoded_again() -> None:
    message = Reader()(signed(KEY, *parts("stream", {"text": "a"})))
    changed = message.replace(content={"text": "b"})
    assert changed.raw is None
    again = Reader()(encode(changed, Signer(KEY)))
    assert again.content == {"text": "b"}
    assert again.header == message.header


def test_many_and_large_buffers_round_trip() -> None:
    buffers = [b"", *(b"%d" % n for n in range(1_000)), bytes(1 << 20), b""]
    message = Reader()(encode(ec.comm_msg("c1", buffers=buffers), Signer(KEY)))
    assert [bytes(buffer) for buffer in message.buffers] == buffers
