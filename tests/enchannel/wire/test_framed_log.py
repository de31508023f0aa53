"""The framing of append-only logs: intact records are read, and nothing after the first damaged one."""

import io
import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enchannel.wire.framed_log import FramedLog

FORMATS = {
    "recordings": FramedLog(64, covers_length=True, min_length=9),
    "relay logs": FramedLog(32, min_length=1),
}
BODIES = [b"the first record", b"the second one", b"and the third"]


@pytest.fixture(params=FORMATS.values(), ids=list(FORMATS))
def log(request: pytest.FixtureRequest) -> FramedLog:
    framed: FramedLog = request.param
    return framed


def written(log: FramedLog, bodies: list[bytes]) -> bytes:
    return b"".join(part for body in bodies for part in log.frame(body))


def read(log: FramedLog, data: bytes) -> list[bytes]:
    file = io.BytesIO(data)
    return list(log.records(file.read, lambda: len(data) - file.tell()))


@given(st.sampled_from(list(FORMATS.values())), st.lists(st.binary(min_size=9)))
def test_records_come_back_as_written(log: FramedLog, bodies: list[bytes]) -> None:
    data = written(log, bodies)
    assert read(log, data) == bodies
    assert len(data) == sum(log.overhead + len(body) for body in bodies)


def test_framed_body_may_have_parts(log: FramedLog) -> None:
    whole = b"".join(log.frame(b"one part, and another"))
    assert b"".join(log.frame(b"one part, ", b"", b"and another")) == whole


def test_recording_format_is_stable() -> None:
    body = b"nine bytes"
    length = struct.pack("<Q", len(body))
    expected = length + struct.pack("<I", zlib.crc32(length + body)) + body
    assert b"".join(FORMATS["recordings"].frame(body)) == expected


def test_relay_log_format_is_stable() -> None:
    body = b"an entry"
    expected = struct.pack("<II", len(body), zlib.crc32(body)) + body
    assert b"".join(FORMATS["relay logs"].frame(body)) == expected


def test_truncated_log_yields_whole_records(log: FramedLog) -> None:
    data = written(log, BODIES)
    for length in range(len(data)):
        whole = sum(len(written(log, BODIES[: count + 1])) <= length for count in range(3))
        assert read(log, data[:length]) == BODIES[:whole]


def test_damaged_byte_ends_the_log(log: FramedLog) -> None:
    data = written(log, BODIES)
    ends = [len(written(log, BODIES[: count + 1])) for count in range(3)]
    for place in range(len(data)):
        damaged = data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
        assert read(log, damaged) == BODIES[: sum(end <= place for end in ends)]


def test_claimed_length_is_checked_before_reading(log: FramedLog) -> None:
    data = bytearray(written(log, BODIES[:1]))
    data[3] = 0x7F  # about 2 GB
    file, requested = io.BytesIO(data), []

    def recorded(size: int) -> bytes:
        requested.append(size)
        return file.read(size)

    assert list(log.records(recorded, lambda: len(data) - file.tell())) == []
    assert requested == [log.overhead]


def test_growing_log_is_read_to_its_end(log: FramedLog) -> None:
    data = bytearray(written(log, BODIES[:1]))
    position = 0

    def take(size: int) -> bytes:
        nonlocal position
        taken = bytes(data[position : position + size])
        position += len(taken)
        return taken

    records = log.records(take, lambda: len(data) - position)
    assert next(records) == BODIES[0]
    data += written(log, BODIES[1:])
    assert list(records) == BODIES[1:]
