"""What happens is in the file, and what is in the file is what happened."""

import json
import os
import resource
import shutil
import signal
import stat
import struct
import subprocess
import sys
import threading
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reactivex import abc

import enchannel as ec
from enchannel import (
    AnyMessage,
    ChannelClosed,
    Direction,
    KernelState,
    LinkState,
    Recorded,
    RecordingFailed,
)
from enchannel._recordings.format import End, Kind, head_of, record_of
from enchannel.backends import encode_event
from enchannel.errors import ConnectionLost, EnchannelError, KernelDied, MessagesMayBeMissing
from enchannel.testing.strategies import messages
from enchannel.wire import websocket
from tests.rigs import DEADLINE, eventually
from tests.rigs.memory import Collector, MemoryKernel, Thread, answered, in_thread, printed, texts

RECEIVED, SENT = Direction.RECEIVED, Direction.SENT


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "session.enchannel"


def said_and_heard(path: Path) -> list[tuple[Direction, AnyMessage]]:
    return [(r.direction, r.message) for r in ec.Recording(path) if r.message is not None]


def statuses(path: Path) -> list[object]:
    return [recorded.status for recorded in ec.Recording(path) if recorded.status is not None]


# What is in it.


def test_both_directions_of_all_channels_in_order(path: Path) -> None:
    remote = MemoryKernel()
    request, question = ec.execute_request("6 * 7"), ec.interrupt_request()
    woo = printed("woo", request)
    with remote.kernel() as kernel, ec.record(kernel, path):
        kernel.shell.on_next(request)
        remote.send(*(said := answered(request, woo)))
        kernel.control.on_next(question)
    sent = [remote.received[name][0] for name in (ec.ChannelName.SHELL, ec.ChannelName.CONTROL)]
    expected = [(SENT, sent[0]), *((RECEIVED, message) for message in said), (SENT, sent[1])]
    assert said_and_heard(path) == expected


@given(st.lists(messages(), max_size=5))
@settings(max_examples=20)
def test_messages_come_out_as_they_went_in(tmp_path_factory: Any, said: list[AnyMessage]) -> None:
    path = tmp_path_factory.mktemp("recordings") / "any"
    remote = MemoryKernel()
    with remote.kernel() as kernel, ec.record(kernel, path):
        remote.send(*said)
    assert [message for _, message in said_and_heard(path)] == said
    assert ec.Recording(path).is_whole


def test_bytes_that_came_are_kept_as_they_are(path: Path) -> None:
    remote, message = MemoryKernel(), printed("woo")
    raw = (b'{ "msg_id":"1", "msg_type":"stream" }', b"{}", b"{}", b'{"text": "\\u0077", "n":1.50}')
    odd = message.replace(raw=type(websocket.decode(websocket.encode(message)).raw)(*raw))  # type: ignore[misc]
    with remote.kernel() as kernel, ec.record(kernel, path):
        remote.send(odd)
    assert [message.raw for _, message in said_and_heard(path)] == [raw]


def test_times_are_seconds_since_the_beginning(path: Path) -> None:
    remote = MemoryKernel()
    with remote.kernel() as kernel:
        remote.clock.advance_by(100)
        with ec.record(kernel, path):
            remote.clock.advance_by(0.5)
            remote.send(printed("one"))
            remote.clock.advance_by(2.25)
            kernel.shell.on_next(ec.kernel_info_request())
    assert [r.time for r in ec.Recording(path) if r.message is not None] == [0.5, 2.75]


def test_what_it_is_of(path: Path) -> None:
    remote = MemoryKernel(id="ada")
    with remote.kernel(session=ec.Session(id="s1")) as kernel:
        ec.record(kernel, path).close()
    recording = ec.Recording(path)
    assert (recording.kernel_id, recording.session) == ("ada", "s1")
    assert recording.started.endswith("Z")
    assert recording.is_whole
    assert repr(recording) == f"<Recording {path} of kernel ada, {recording.started}>"
    first = json.loads(path.read_bytes().partition(b"\n")[0].split(b" ", 4)[-1])
    assert first["kernel_id"] == "ada"


def test_what_became_of_link_and_kernel(path: Path) -> None:
    remote = MemoryKernel()
    died = KernelDied("died of SIGKILL", exit_code=-9, stderr="oh\udcff")
    told: list[Any] = [
        LinkState.LOST,
        died,
        KernelState.DEAD,
        ConnectionLost("gone"),
        MessagesMayBeMissing("one"),
        LinkState.CONNECTED,
        KernelState.RESTARTING,
        KernelState.STARTING,
        KernelState.IDLE,
    ]
    with remote.kernel() as kernel, ec.record(kernel, path):
        kernel.errors.subscribe()
        remote.emit_event(*told)
    first, second, *happened = statuses(path)
    assert (first, second) == (LinkState.CONNECTED, KernelState.IDLE)
    assert [(type(status), str(status)) for status in happened] == [
        (type(status), str(status)) for status in told
    ]
    again = happened[1]
    assert isinstance(again, KernelDied)
    assert (again.exit_code, again.stderr) == (-9, "oh?")


def test_a_kernel_that_falls_silent(path: Path) -> None:
    remote = MemoryKernel()
    with remote.kernel(silent_after=1) as kernel, ec.record(kernel, path):
        remote.clock.advance_by(0.1)
        remote.send_heartbeat(remote.heartbeats[-1])
        remote.clock.advance_by(3)
        assert kernel.state.value is KernelState.SILENT
        remote.send_heartbeat(remote.heartbeats[-1])
    assert statuses(path)[2:] == [KernelState.SILENT, KernelState.IDLE]


def test_a_link_that_is_given_up_ends_it_with_the_error(path: Path) -> None:
    remote = MemoryKernel()
    with remote.kernel() as kernel:
        kernel.errors.subscribe()
        with ec.record(kernel, path):
            remote.fail(ConnectionLost("it will not come back"))
    last = statuses(path)[-1]
    assert isinstance(last, ConnectionLost)
    assert str(last) == "it will not come back"
    assert ec.Recording(path).is_whole


@pytest.mark.parametrize(
    "error", [ZeroDivisionError("oh"), ec.KernelError("E", "v"), ec.LaunchFailed("x", exit_code=3)]
)
def test_any_error_is_recorded(path: Path, error: Exception) -> None:
    remote = MemoryKernel()
    with remote.kernel() as kernel, ec.record(kernel, path):
        kernel.errors.subscribe()
        remote.fail(error)
    last = statuses(path)[-1]
    assert isinstance(last, EnchannelError)
    assert str(error) in str(last)


# Secrets.


def test_input_is_redacted_also_in_the_bytes(path: Path) -> None:
    remote = MemoryKernel()
    reply = ec.input_reply("pässword", parent=ec.execute_request("1"))
    with_raw = websocket.decode(websocket.encode(reply))
    assert with_raw.raw is not None
    with remote.kernel() as kernel, ec.record(kernel, path):
        kernel.stdin.on_next(reply)
        kernel.stdin.on_next(with_raw)
        remote.send(with_raw)
    recorded = said_and_heard(path)
    assert [message.content["value"] for _, message in recorded] == ["<redacted>"] * 3
    assert [message.parent_header for _, message in recorded] == [reply.parent_header] * 3
    data = path.read_bytes()
    assert "pässword".encode() not in data
    assert b"ssword" not in data


def test_input_is_kept_if_asked_for(path: Path) -> None:
    remote = MemoryKernel()
    with remote.kernel() as kernel, ec.record(kernel, path, keep_input=True):
        kernel.stdin.on_next(ec.input_reply("Ada"))
    assert [message.content["value"] for _, message in said_and_heard(path)] == ["Ada"]


@pytest.mark.parametrize("overwrite", [False, True])
def test_the_file_is_its_owners_alone(path: Path, overwrite: bool) -> None:
    if overwrite:
        path.touch(mode=0o666)
    before = os.umask(0)
    try:
        with MemoryKernel().kernel() as kernel:
            ec.record(kernel, path, overwrite=overwrite).close()
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


# How it begins and ends.


def test_a_file_that_is_there_is_replaced_only_if_asked_for(path: Path) -> None:
    path.write_text("a thesis")
    with MemoryKernel().kernel() as kernel:
        with pytest.raises(RecordingFailed, match="exists already.*overwrite=True"):
            ec.record(kernel, path)
        assert path.read_text() == "a thesis"
        ec.record(kernel, path, overwrite=True).close()
    assert ec.Recording(path).is_whole


def test_what_replaces_a_recording_that_goes_on_is_another_file(path: Path) -> None:
    remote = MemoryKernel()
    with remote.kernel() as kernel:
        with ec.record(kernel, path), ec.record(kernel, path, overwrite=True):
            remote.send(printed("woo"))
    assert texts(message for _, message in said_and_heard(path)) == ["woo"]


@pytest.mark.parametrize("where", ["", "nowhere/file", "a\0b"])
def test_a_file_that_cannot_be_made(tmp_path: Path, where: str) -> None:
    remote = MemoryKernel()
    with remote.kernel() as kernel:
        with pytest.raises(RecordingFailed, match="cannot be written|exists already"):
            ec.record(kernel, tmp_path / where)
        assert kernel._witnesses.sinks == kernel.sent.fanout.sinks == ()


def test_a_kernel_that_is_closed_is_not_recorded(path: Path) -> None:
    with MemoryKernel().kernel() as kernel:
        pass
    with pytest.raises(ChannelClosed):
        ec.record(kernel, path)
    assert not path.exists()


def test_it_ends_with_the_kernel(path: Path) -> None:
    remote = MemoryKernel()
    with remote.kernel() as kernel:
        recorder = ec.record(kernel, path)
        remote.send(printed("woo"))
    recorder.dispose()
    assert ec.Recording(path).is_whole
    assert recorder.messages == 1
    assert repr(recorder) == f"<Recorder {path}, 1 messages (ended)>"


def test_disposing_ends_it_and_waits_and_may_be_said_again(path: Path) -> None:
    remote = MemoryKernel()
    with remote.kernel() as kernel:
        recorder: abc.DisposableBase = ec.record(kernel, path)
        remote.send(*(printed(str(n)) for n in range(1000)))
        for dispose in (recorder.dispose, recorder.dispose, lambda: in_thread(recorder.dispose)):
            dispose()
            assert ec.Recording(path).is_whole
        remote.send(printed("more"))
        assert kernel._witnesses.sinks == kernel.sent.fanout.sinks == ()
    assert texts(m for _, m in said_and_heard(path)) == [str(n) for n in range(1000)]


def test_it_can_be_read_while_it_is_written(path: Path) -> None:
    remote = MemoryKernel()
    with remote.kernel() as kernel, ec.record(kernel, path) as recorder:
        remote.send(printed("woo"))
        assert eventually(lambda: recorder.messages == 1)
        assert texts(message for _, message in said_and_heard(path)) == ["woo"]
        assert not ec.Recording(path).is_whole


def test_two_recordings_of_one_kernel(tmp_path: Path) -> None:
    remote = MemoryKernel()
    with (
        remote.kernel() as kernel,
        ec.record(kernel, tmp_path / "1"),
        ec.record(kernel, tmp_path / "2"),
    ):
        remote.send(printed("woo"))
    assert said_and_heard(tmp_path / "1") == said_and_heard(tmp_path / "2")


def test_the_interpreters_end_is_an_end(path: Path) -> None:
    script = """if True:
        import sys
        import enchannel as ec
        from tests.rigs.memory import MemoryKernel, printed
        remote = MemoryKernel()
        kernel = remote.kernel()
        kernel._open()
        ec.record(kernel, sys.argv[1])
        remote.send(*(printed(str(n)) for n in range(3000)))
    """
    subprocess.run([sys.executable, "-c", script, path], check=True, timeout=DEADLINE)
    assert len(said_and_heard(path)) == 3000
    assert ec.Recording(path).is_whole


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_forked_child_writes_nothing(path: Path) -> None:
    script = """if True:
        import os, sys
        import enchannel as ec
        from tests.rigs.memory import MemoryKernel, printed
        remote = MemoryKernel()
        with remote.kernel() as kernel, ec.record(kernel, sys.argv[1]):
            remote.send(*(printed(str(n)) for n in range(300)))
            child = os.fork()
            if not child:
                sys.exit()
            assert os.waitpid(child, 0)[1] == 0
            remote.send(printed("after"))
    """
    subprocess.run([sys.executable, "-c", script, path], check=True, timeout=DEADLINE)
    assert len(said_and_heard(path)) == 301
    assert ec.Recording(path).is_whole


# What goes wrong while it is made.


@contextmanager
def room_for(size: int) -> Iterator[None]:
    """A disk that is full when a file has so many bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_ends_the_recording_and_nothing_else(path: Path) -> None:
    remote, errors, seen = MemoryKernel(), Collector[EnchannelError](), Collector[AnyMessage]()
    with remote.kernel() as kernel:
        kernel.errors.subscribe(errors)
        kernel.iopub.subscribe(seen)
        with room_for(20_000):
            recorder = ec.record(kernel, path)
            remote.send(*(printed(str(n)) for n in range(200)))
            (error,) = errors.wait_for_count(1)
        assert isinstance(error, RecordingFailed)
        assert "has ended, and can be read up to there" in str(error)
        assert recorder.error is error
        remote.send(printed("goes on"))
        assert texts(seen.wait_for_count(201))[-1] == "goes on"
        recorder.dispose()
    assert errors.items == [error]
    recorded = texts(message for _, message in said_and_heard(path))
    assert 0 < len(recorded) < 200
    assert recorded == [str(n) for n in range(len(recorded))]
    assert not ec.Recording(path).is_whole


def test_a_disk_that_is_full_soon_ends_it_too(tmp_path: Path) -> None:
    for room in range(100, 500, 8):
        with MemoryKernel().kernel() as kernel, room_for(room):
            try:
                recorder = ec.record(kernel, tmp_path / str(room))
            except RecordingFailed:
                assert not (tmp_path / str(room)).exists()
                continue
            (error,) = Collector(kernel.errors).wait_for_count(1)
            recorder.dispose()
            assert recorder.error is error
            if isinstance(error, RecordingFailed):
                return  # the first that has room for the first line, and none for what comes next
    raise AssertionError("there was always room, or never")


def test_a_recording_that_cannot_be_replaced_stays(path: Path, tmp_path: Path) -> None:
    path.write_text("a thesis")
    with MemoryKernel().kernel() as kernel, room_for(10):
        with pytest.raises(RecordingFailed):
            ec.record(kernel, path, overwrite=True)
    assert path.read_text() == "a thesis"
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_that_leads_nowhere_is_left_as_it_was(tmp_path: Path) -> None:
    link, circle = tmp_path / "link", tmp_path / "circle"
    link.symlink_to("nowhere")
    circle.symlink_to(circle)
    with MemoryKernel().kernel() as kernel, room_for(10):
        for path in (link, circle):
            with pytest.raises(RecordingFailed):
                ec.record(kernel, path)
    assert sorted(tmp_path.iterdir()) == [circle, link]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_disk_that_is_full_at_once() -> None:
    with MemoryKernel().kernel() as kernel:
        with pytest.raises(RecordingFailed, match="/dev/full cannot be written: No space left"):
            ec.record(kernel, "/dev/full", overwrite=True)
        assert kernel._witnesses.sinks == ()
    assert stat.S_ISCHR(os.stat("/dev/full").st_mode)


def test_who_speaks_does_not_wait_for_the_disk(tmp_path: Path) -> None:
    """A pipe whose reader has not come yet is as slow as a disk can be."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reading = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    remote, count = MemoryKernel(), 2000
    with remote.kernel() as kernel:
        recorder = ec.record(kernel, pipe, overwrite=True)
        remote.send(*(printed(str(n)) for n in range(count)))  # more than a pipe holds
        closing = Thread(recorder.dispose)
        os.set_blocking(reading, True)
        with open(reading, "rb") as file, open(tmp_path / "copy", "wb") as copy:
            shutil.copyfileobj(file, copy)
        closing.result()
    assert len(said_and_heard(tmp_path / "copy")) == count


def test_whatever_goes_wrong_ends_the_recording_only(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(message: AnyMessage) -> bytes:
        raise MemoryError

    remote, errors = MemoryKernel(), Collector[EnchannelError]()
    monkeypatch.setattr(websocket, "encode", full)
    with remote.kernel() as kernel, ec.record(kernel, path) as recorder:
        kernel.errors.subscribe(errors)
        remote.send(printed("woo"))
        assert errors.wait_for_count(1) == [recorder.error]
        assert kernel._witnesses.sinks == ()


def test_what_cannot_be_sent_is_not_recorded(path: Path) -> None:
    remote = MemoryKernel()
    with remote.kernel() as kernel, ec.record(kernel, path) as recorder:
        kernel.shell.on_next(ec.create_message("\ud800"))
        kernel.shell.on_next(ec.create_message(""))
        kernel.shell.on_next(ec.kernel_info_request())
    assert [message.header.msg_type for _, message in said_and_heard(path)] == [
        "kernel_info_request"
    ]
    assert recorder.messages == 1


def test_memory_does_not_grow_with_the_recording(path: Path) -> None:
    remote, pause = MemoryKernel(), threading.Event()
    big = printed("x" * 100_000)
    with remote.kernel() as kernel, ec.record(kernel, path) as recorder:
        tracemalloc.start()
        try:
            for _ in range(40):
                remote.send(*[big] * 10)
                while recorder._delivery.backlog > 10:
                    pause.wait(0.001)
            assert tracemalloc.get_traced_memory()[1] < 10_000_000
        finally:
            tracemalloc.stop()
    assert path.stat().st_size > 40_000_000


def test_memory_does_not_grow_with_what_is_read(path: Path) -> None:
    write(path, *[(0.0, Kind.RECEIVED, websocket.encode(printed("x" * 100_000)))] * 60)
    tracemalloc.start()
    try:
        assert sum(1 for _ in ec.Recording(path)) == 60
        assert ec.Recording(path).is_whole
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()


# What goes wrong with the file.


def write(path: Path, *records: tuple[float, Kind, bytes], end: bool = True) -> bytes:
    """A recording by hand."""
    data = head_of("ada", "s1", "2024-02-29T12:30:00Z")
    for record in (*records, *([(9.0, Kind.END, b"")] if end else [])):
        data += b"".join(record_of(*record))
    path.write_bytes(data)
    return data


def short(path: Path) -> tuple[bytes, list[Recorded], list[int]]:
    """One with a few records: its bytes, what is in it, and where each of its records ends."""
    records = [
        (0.0, Kind.STATUS, encode_event(LinkState.CONNECTED)),
        (0.5, Kind.SENT, websocket.encode(ec.execute_request("1"))),
        (1.0, Kind.RECEIVED, websocket.encode(printed("a").replace(buffers=(memoryview(b"b"),)))),
        (1.5, Kind.STATUS, encode_event(KernelDied("oh", exit_code=1))),
    ]
    head = len(write(path, end=False))
    ends = [head + sum(17 + 4 + len(r[2]) for r in records[:n]) for n in range(1, 5)]
    data = write(path, *records)
    return data, list(ec.Recording(path)), ends


def same(one: list[Recorded], other: list[Recorded]) -> bool:
    def key(r: Recorded) -> tuple[object, ...]:
        return r.time, r.direction, r.message, type(r.status), str(r.status)

    return list(map(key, one)) == list(map(key, other))


def test_first_release_format_is_read() -> None:
    """The file was written by the first version of this format; it must stay readable."""
    recording = ec.Recording(Path(__file__).parent / "data" / "version-1.enchannel")
    request, printed = said_and_heard(recording.path)
    *_, end = recording.entries()
    assert (recording.kernel_id, recording.session) == ("a-kernel", "a-session")
    assert (request[0], request[1].content["code"]) == (SENT, "6 * 7")
    assert (printed[0], printed[1].content["text"]) == (RECEIVED, "hello\n")
    assert [bytes(buffer) for buffer in printed[1].buffers] == [b"\0\1"]
    assert [r.time for r in recording] == [0.0, 0.25, 1.5, 2.0, 3.0]
    assert statuses(recording.path)[:2] == [LinkState.CONNECTED, KernelState.DEAD]
    assert isinstance(end, End)
    assert isinstance(end.error, KernelDied)
    assert (end.error.exit_code, end.error.stderr) == (-9, "oops")


def test_a_file_that_ends_anywhere_is_whole_up_to_there(path: Path) -> None:
    data, happened, ends = short(path)
    head = data.index(b"\n") + 1
    for size in range(len(data)):
        path.write_bytes(data[:size])
        if size < head:
            with pytest.raises(RecordingFailed):
                ec.Recording(path)
            continue
        whole = sum(end <= size for end in ends)
        assert same(list(ec.Recording(path)), happened[:whole])
        assert not ec.Recording(path).is_whole


def test_a_bit_that_flips_anywhere_ends_it_there(path: Path) -> None:
    data, happened, ends = short(path)
    head = data.index(b"\n") + 1
    for at in range(len(data)):
        for bit in range(8):
            flipped = data[:at] + bytes([data[at] ^ (1 << bit)]) + data[at + 1 :]
            path.write_bytes(flipped)
            if at < head:
                with pytest.raises(RecordingFailed):
                    ec.Recording(path)
                continue
            whole = sum(end <= at for end in ends)
            assert same(list(ec.Recording(path)), happened[:whole])
            assert not ec.Recording(path).is_whole


@given(st.data())
@settings(max_examples=200)
def test_bytes_that_are_changed_anyhow(tmp_path_factory: Any, data: st.DataObject) -> None:
    path = tmp_path_factory.mktemp("recordings") / "any"
    whole, happened, _ = short(path)
    head = whole.index(b"\n") + 1
    at = data.draw(st.integers(head, len(whole) - 1))
    inserted, cut = data.draw(st.binary(max_size=40)), data.draw(st.integers(0, 400))
    path.write_bytes(whole[:at] + inserted + whole[at + cut :])
    read = list(ec.Recording(path))
    assert same(read, happened[: len(read)])


@pytest.mark.parametrize(
    "tail", [b"\0" * 100, b"\xff" * 100, struct.pack("<QI", 2**63, 0) + b"x" * 99]
)
def test_what_a_crash_may_leave_at_the_end(path: Path, tail: bytes) -> None:
    data, happened, ends = short(path)
    path.write_bytes(data[: ends[-1]] + tail)
    assert same(list(ec.Recording(path)), happened)
    assert not ec.Recording(path).is_whole


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"{}",
        b"null",
        b'{"link": "lost"',
        b'{"link": "tied"}',
        b'{"error": 5}',
        b"[" * 10_000,
        b"\xff",
    ],
)
@pytest.mark.parametrize("kind", [*Kind, 4, 255])
def test_a_record_that_nobody_has_written(path: Path, kind: Any, payload: bytes) -> None:
    write(path, (0.0, kind, payload))
    for entry in ec.Recording(path).entries():
        assert isinstance(entry, End) or isinstance(entry.status, EnchannelError)


def test_what_looks_like_an_error_of_ours_is_one(path: Path) -> None:
    names = [
        "EnchannelError",
        "KernelDied",
        "TYPE_CHECKING",
        "annotations",
        "__name__",
        "Any",
        "x",
        "",
    ]
    told = [(0.0, Kind.STATUS, json.dumps({"error": name, "text": "t"}).encode()) for name in names]
    write(path, *told)
    found = [type(status) for status in statuses(path)]
    assert found == [EnchannelError, KernelDied, *[EnchannelError] * 6]


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "no recording"),
        (b"\n", "no recording"),
        (b'{"cells": []}', "no recording"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 100, "no recording"),
        (b"x" * 1_000_000, "no recording"),
        (b"enchannel recording 1 00000000 {}\n", "damaged"),
        (b"enchannel recording 0 %08x {}\n" % zlib.crc32(b"{}"), "damaged"),
        (b"enchannel recording one\n", "no recording"),
        (b"enchannel record", "ends before it began"),
        (
            b"enchannel recording 2 00000000 {}\n",
            "newer enchannel .*: pip install --upgrade enchannel",
        ),
        (b"enchannel recording 1 %08x {}\n" % zlib.crc32(b"{}"), "damaged"),
        (b'enchannel recording 1 %08x {"a":\xff}\n' % zlib.crc32(b'{"a":\xff}'), "damaged"),
    ],
)
def test_what_is_no_recording_says_so(path: Path, data: bytes, why: str) -> None:
    path.write_bytes(data)
    with pytest.raises(RecordingFailed, match=why):
        ec.Recording(path)


@pytest.mark.parametrize("where", ["", "nowhere", "a\0b"])
def test_what_cannot_be_read_says_so(tmp_path: Path, where: str) -> None:
    with pytest.raises(RecordingFailed, match="cannot be read"):
        ec.Recording(tmp_path / where)


def test_a_recording_that_is_gone_says_so(path: Path) -> None:
    write(path)
    recording = ec.Recording(path)
    path.unlink()
    with pytest.raises(RecordingFailed, match="cannot be read: No such file"):
        list(recording)


def test_a_recording_is_iterated_lazily_and_again(path: Path) -> None:
    _, happened, _ = short(path)
    recording = ec.Recording(path)
    first: Callable[[], Recorded] = lambda: next(iter(recording))  # noqa: E731
    assert first() == first() == happened[0]
    assert same(list(recording), list(recording))


def test_what_is_recorded_is_frozen(path: Path) -> None:
    _, happened, _ = short(path)
    with pytest.raises(AttributeError):
        happened[0].time = 1.0  # type: ignore[misc]


# A writer that is killed.


def test_sigkill_in_a_flood_leaves_a_file_that_is_whole_up_to_there(path: Path) -> None:
    script = """if True:
        import itertools, sys
        import enchannel as ec
        from tests.rigs.memory import MemoryKernel, printed
        remote = MemoryKernel()
        kernel = remote.kernel()
        kernel._open()
        recorder = ec.record(kernel, sys.argv[1])
        for n in itertools.count():
            remote.send(printed(str(n) + "x" * 500))
            if recorder.messages > 2000:
                print(flush=True)
    """
    with subprocess.Popen([sys.executable, "-c", script, path], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline()
        process.send_signal(signal.SIGKILL)
    recorded = texts(message for _, message in said_and_heard(path))
    assert len(recorded) > 2000
    assert recorded == [str(n) + "x" * 500 for n in range(len(recorded))]
    assert not ec.Recording(path).is_whole
