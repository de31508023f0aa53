"""Link events as data: their JSON, and the way back."""

from copy import copy

import msgspec
import pytest

from enchannel.abc import KernelState, LinkEvent, LinkState
from enchannel.backends import EventRecord, decode_error, decode_event, encode_event
from enchannel.errors import (
    ConnectionLost,
    EnchannelError,
    KernelDied,
    KernelError,
    MessageNotForwarded,
)

DIED = KernelDied("kernel 5 died", exit_code=-9, stderr="oops")


@pytest.mark.parametrize(
    ("event", "json"),
    [
        (LinkState.LOST, b'{"link":"lost"}'),
        (KernelState.DEAD, b'{"kernel":"dead"}'),
        (ConnectionLost("gone"), b'{"error":"ConnectionLost","text":"gone"}'),
        (
            DIED,
            b'{"error":"KernelDied","text":"kernel 5 died","exit_code":-9,"stderr":"oops"}',
        ),
    ],
)
def test_event_json_is_stable(event: LinkEvent, json: bytes) -> None:
    assert encode_event(event) == json
    read = decode_event(json)
    assert (type(read), str(read)) == (type(event), str(event))


def test_decoded_error_keeps_exit_code_and_stderr() -> None:
    error = decode_error(encode_event(DIED))
    assert isinstance(error, KernelDied)
    assert (str(error), error.exit_code, error.stderr) == ("kernel 5 died", -9, "oops")


def test_record_of_message_keeps_id_and_reason() -> None:
    event = MessageNotForwarded("the-id", DIED)
    assert encode_event(event) == encode_event(DIED).replace(b"}", b',"msg_id":"the-id"}')
    for same in (decode_event(encode_event(event)), copy(event)):
        assert isinstance(same, MessageNotForwarded)
        assert str(same) == str(event)
        assert (same.msg_id, type(same.reason), str(same.reason)) == (
            "the-id",
            KernelDied,
            str(DIED),
        )


def test_end_record_is_not_an_error_record() -> None:
    end = EventRecord.of_end(DIED)
    assert end.encode() == b'{"ended":"KernelDied","text":"kernel 5 died"}'
    assert EventRecord.decode(end.encode()) == end
    assert isinstance(end.to_error(), KernelDied)
    assert EventRecord.of(DIED).ended is None


@pytest.mark.parametrize(
    "name", ["Nothing", "KernelState", "KernelError", "MessageNotForwarded", "__all__"]
)
def test_unknown_error_class_is_named(name: str) -> None:
    error = decode_error(msgspec.json.encode({"error": name, "text": "oh"}))
    assert (type(error), str(error)) == (EnchannelError, f"{name}: oh")
    assert not isinstance(error, KernelError)


@pytest.mark.parametrize("old", ['"5"', "kernel", "died", "(.*", "\\1"])
def test_with_kernel_id_changes_name_only(old: str) -> None:
    record = EventRecord.of(
        KernelDied(f"kernel {old} died; kernel {old}-2", stderr=f"kernel {old}")
    )
    renamed = record.with_kernel_id(old, "\\g<0>")
    assert renamed.text == f"kernel \\g<0> died; kernel {old}-2"
    assert (renamed.error, renamed.stderr) == ("KernelDied", f"kernel {old}")
    assert EventRecord.of(KernelState.DEAD).with_kernel_id("dead", "ada").kernel is KernelState.DEAD
    assert record.with_kernel_id("", "ada") == record


@pytest.mark.parametrize("data", [b"", b"null", b"[]", b'{"link":"tied"}', b'{"error":5}'])
def test_invalid_event_json_raises(data: bytes) -> None:
    with pytest.raises(msgspec.MsgspecError):
        decode_event(data)
