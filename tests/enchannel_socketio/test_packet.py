"""Messages in Socket.IO packets: unchanged, in their original bytes."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from socketio.packet import EVENT
from socketio.packet import Packet as PlainPacket

from enchannel import AnyMessage, ChannelName
from enchannel.errors import MalformedFrame
from enchannel.testing.strategies import messages
from enchannel.wire.parts import RawParts, message_of
from enchannel_socketio._packet import MSG, Packet, decode_message, encode_message
from enchannel_socketio.relay._log import Entry, LogSlice
from enchannel_socketio.relay._watcher import BatchCache, WatchOptions

ALL = WatchOptions(
    channels=frozenset(name.value for name in ChannelName), statuses=True, batch=True
)


def round_trip(event: str, *arguments: object, kind: type = Packet) -> list[object]:
    """Encode an event as packets, decode them, and return the arguments."""
    pieces = Packet(EVENT, namespace="/main/x", data=[event, *arguments]).encode()
    first, *attachments = pieces if isinstance(pieces, list) else [pieces]
    packet = kind(encoded_packet=first)
    for attachment in attachments:
        packet.add_attachment(attachment)
    data: list[object] = packet.data
    return data


def fail(error: Exception) -> None:
    raise error


def no_constant(name: str) -> None:
    raise ValueError(name)


@given(messages())
def test_message_round_trips_by_socketio(message: AnyMessage) -> None:
    name, parts = round_trip(MSG, encode_message(message))
    assert name == MSG
    assert decode_message(parts, None, fail) == message


@given(messages())
def test_packet_is_object_with_attachments(message: AnyMessage) -> None:
    name, data, position = round_trip(MSG, encode_message(message), 7, kind=PlainPacket)
    assert (name, position) == (MSG, 7)
    assert isinstance(data, dict)
    assert data["channel"] == message.channel
    assert data["header"]["msg_id"] == message.header.msg_id
    assert data["content"] == json.loads(json.dumps(message.content))
    assert data["buffers"] == [bytes(buffer) for buffer in message.buffers]


@given(st.lists(messages(), min_size=3, max_size=3))
def test_batched_messages_keep_their_buffers(those: list[AnyMessage]) -> None:
    entries = []
    for message in those:
        ready = encode_message(message)
        entries.append(Entry(MSG, message.channel, "", ready.json, tuple(ready.attachments)))
    count, batch = BatchCache().get(3, LogSlice(4, entries), ALL)
    assert count == 3
    _, received = round_trip("batch", batch)
    assert (received.after, received.upto) == (3, 6)  # type: ignore[attr-defined]
    assert [event.position for event in received.events] == [4, 5, 6]  # type: ignore[attr-defined]
    assert [decode_message(parts, None, fail) for parts in received.messages] == those  # type: ignore[attr-defined]


def raw(content: bytes, metadata: bytes = b"{}") -> AnyMessage:
    header = b'{"msg_id": "1", "msg_type": "stream", "odd":  1e5}'
    parts = RawParts(header, b"{}", metadata, content)
    return message_of(ChannelName.IOPUB, parts, (), lambda flaw: None)


def test_kernel_bytes_are_not_reencoded() -> None:
    ready = encode_message(raw(b'{"text":  "\\u00e9", "number": 1.50}'))
    assert b'"odd":  1e5' in ready.json
    assert b'{"text":  "\\u00e9", "number": 1.50}' in ready.json


@pytest.mark.parametrize(
    ("content", "read"),
    [
        (b'{"a": NaN, "b": [-Infinity]}', {"a": None, "b": [None]}),
        (b'{"a": "\\ud800"}', {"a": "\N{REPLACEMENT CHARACTER}"}),
        (b'{"a": "\xff"}', {"a": "\N{REPLACEMENT CHARACTER}"}),
        (
            b'{"\xff": {"\\udfff": 1}}',
            {"\N{REPLACEMENT CHARACTER}": {"\N{REPLACEMENT CHARACTER}": 1}},
        ),
    ],
)
def test_invalid_json_is_made_valid_for_browsers(content: bytes, read: object) -> None:
    encoded = json.loads(encode_message(raw(content)).json, parse_constant=no_constant)
    assert encoded["content"] == read


def test_tolerated_json_of_clients_is_read() -> None:
    packet = r'2["msg",{"header":{"msg_id":"1","msg_type":"x"},"channel":"shell",'
    packet += r'"content":{"a":NaN,"b":"\ud800"}}]'
    data: Any = Packet(encoded_packet=packet).data
    message = decode_message(data[1], None, fail)
    assert message.content == {"a": None, "b": "\N{REPLACEMENT CHARACTER}"}


@pytest.mark.parametrize(
    "packet",
    [
        '2["msg"]',
        '2["msg",null]',
        '2["msg",{}]',
        '2["msg",{"header":7}]',
        '2["msg",{"header":{}}]',
        '2["msg",{"header":{"msg_id":"1","msg_type":"x"},"channel":"heartbeat"}]',
        '2["msg",{"header":{"msg_id":"1","msg_type":"x"},"channel":"shell","content":[]}]',
        '2["msg",{"header":{"msg_id":"1","msg_type":"x"},"channel":"shell","buffers":["x"]}]',
        '2["msg",{"header":{"msg_id":"1","msg_type":"x"},"channel":"shell","buffers":'
        '[{"_placeholder":true,"num":9}]}]',
    ],
)
def test_packet_without_message_raises(packet: str) -> None:
    data: Any = Packet(encoded_packet=packet).data
    with pytest.raises(MalformedFrame):
        decode_message(data[1] if len(data) > 1 else None, None, fail)


@pytest.mark.parametrize(
    "packet", ["2[", '2["msg",', '2["batch",7]', '2["batch",{"after":"x"}]', "2" + "[" * 100_000]
)
def test_invalid_json_raises_value_error(packet: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        Packet(encoded_packet=packet)
