"""Recordings: the recorder, its file, and damaged files."""

import asyncio
import json
import os
import shutil
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
    RecordedEvent,
    RecordedMessage,
    RecordingFailed,
    WouldDeadlock,
)
from enchannel._kernel.kernel import parts_of
from enchannel._recordings.format import (
    End,
    RecordKind,
    encode_header,
    encode_record,
    read_entries,
)
from enchannel.backends import encode_event
from enchannel.errors import ConnectionLost, EnchannelError, KernelDied, MessagesMayBeMissing
from enchannel.testing import Collector
from enchannel.testing.strategies import messages
from enchannel.wire import websocket
from tests.rigs import DEADLINE, eventually
from tests.rigs.messages import answered, printed, texts
from tests.rigs.scripted import ScriptedLink
from tests.rigs.threads import Thread, in_thread, run_on_loop

RECEIVED, SENT = Direction.RECEIVED, Direction.SENT
Recorded = RecordedMessage | RecordedEvent


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "session.enchannel"


def recorded_messages(path: Path) -> list[tuple[Direction, AnyMessage]]:
    return [(r.direction, r.message) for r in ec.Recording(path) if isinstance(r, RecordedMessage)]


def events(path: Path) -> list[object]:
    return [
        recorded.event for recorded in ec.Recording(path) if isinstance(recorded, RecordedEvent)
    ]


# -- the content of a recording


def test_recording_has_both_directions_in_order(path: Path) -> None:
    remote = ScriptedLink()
    request, question = ec.execute_request("6 * 7"), ec.interrupt_request()
    woo = printed("woo", request)
    with remote.kernel() as kernel, ec.record(kernel, path):
        kernel.shell.on_next(request)
        remote.send(*(replies := answered(request, woo)))
        kernel.control.on_next(question)
    sent = [remote.received[name][0] for name in (ec.ChannelName.SHELL, ec.ChannelName.CONTROL)]
    expected = [(SENT, sent[0]), *((RECEIVED, message) for message in replies), (SENT, sent[1])]
    assert recorded_messages(path) == expected


@given(st.lists(messages(), max_size=5))
@settings(max_examples=20)
def test_recorded_messages_round_trip(tmp_path_factory: Any, sent: list[AnyMessage]) -> None:
    path = tmp_path_factory.mktemp("recordings") / "any"
    remote = ScriptedLink()
    with remote.kernel() as kernel, ec.record(kernel, path):
        remote.send(*sent)
    assert [message for _, message in recorded_messages(path)] == sent
    assert ec.Recording(path).verify()


def test_received_bytes_are_recorded_verbatim(path: Path) -> None:
    remote, message = ScriptedLink(), printed("woo")
    raw = (b'{ "msg_id":"1", "msg_type":"stream" }', b"{}", b"{}", b'{"text": "\\u0077", "n":1.50}')
    odd = message.replace(raw=type(websocket.decode(websocket.encode(message)).raw)(*raw))  # type: ignore[misc]
    with remote.kernel() as kernel, ec.record(kernel, path):
        remote.send(odd)
    assert [message.raw for _, message in recorded_messages(path)] == [raw]


def test_times_are_seconds_since_start(path: Path) -> None:
    remote = ScriptedLink()
    with remote.kernel() as kernel:
        remote.clock.advance_by(100)
        with ec.record(kernel, path):
            remote.clock.advance_by(0.5)
            remote.send(printed("one"))
            remote.clock.advance_by(2.25)
            kernel.shell.on_next(ec.kernel_info_request())
    assert [r.time for r in ec.Recording(path) if isinstance(r, RecordedMessage)] == [0.5, 2.75]


def test_header_names_kernel_and_session(path: Path) -> None:
    remote = ScriptedLink(id="ada")
    with remote.kernel(session=ec.Session(id="s1")) as kernel:
        ec.record(kernel, path).close()
    recording = ec.Recording(path)
    assert (recording.kernel_id, recording.session) == ("ada", "s1")
    assert recording.started.endswith("Z")
    assert recording.verify()
    assert repr(recording) == f"<Recording {path} of kernel ada, {recording.started}>"
    first = json.loads(path.read_bytes().partition(b"\n")[0].split(b" ", 4)[-1])
    assert first["kernel_id"] == "ada"


def test_link_and_kernel_events_are_recorded(path: Path) -> None:
    remote = ScriptedLink()
    died = KernelDied("died of SIGKILL", exit_code=-9, stderr="oh\udcff")
    reported: list[Any] = [
        LinkState.LOST,
        KernelState.DEAD,
        died,
        ConnectionLost("gone"),
        MessagesMayBeMissing("one"),
        LinkState.CONNECTED,
        KernelState.RESTARTING,
        KernelState.STARTING,
        KernelState.IDLE,
    ]
    with remote.kernel() as kernel, ec.record(kernel, path):
        kernel.errors.subscribe()
        remote.emit_event(*reported)
    first, second, *items = events(path)
    assert (first, second) == (LinkState.CONNECTED, KernelState.IDLE)
    assert [(type(status), str(status)) for status in items] == [
        (type(status), str(status)) for status in reported
    ]
    again = items[2]
    assert isinstance(again, KernelDied)
    assert (again.exit_code, again.stderr) == (-9, "oh?")


def test_silent_kernel_is_recorded(path: Path) -> None:
    remote = ScriptedLink()
    with remote.kernel(silent_after=1) as kernel, ec.record(kernel, path):
        remote.clock.advance_by(0.1)
        remote.send_heartbeat(remote.heartbeats[-1])
        remote.clock.advance_by(3)
        assert kernel.state.value is KernelState.SILENT
        remote.send_heartbeat(remote.heartbeats[-1])
    assert events(path)[2:] == [KernelState.SILENT, KernelState.IDLE]


def test_failed_link_ends_recording_with_error(path: Path) -> None:
    remote = ScriptedLink()
    with remote.kernel() as kernel:
        kernel.errors.subscribe()
        with ec.record(kernel, path):
            remote.fail(ConnectionLost("it will not come back"))
    last = events(path)[-1]
    assert isinstance(last, ConnectionLost)
    assert str(last) == "it will not come back"
    assert ec.Recording(path).verify()


@pytest.mark.parametrize(
    "error", [ZeroDivisionError("oh"), ec.KernelError("E", "v"), ec.LaunchFailed("x", exit_code=3)]
)
def test_errors_are_recorded(path: Path, error: Exception) -> None:
    remote = ScriptedLink()
    with remote.kernel() as kernel, ec.record(kernel, path):
        kernel.errors.subscribe()
        remote.fail(error)
    last = events(path)[-1]
    assert isinstance(last, EnchannelError)
    assert str(error) in str(last)


# -- secrets


def test_input_reply_is_redacted_in_file(path: Path) -> None:
    remote = ScriptedLink()
    reply = ec.input_reply("pässword", parent=ec.execute_request("1"))
    with_raw = websocket.decode(websocket.encode(reply))
    assert with_raw.raw is not None
    with remote.kernel() as kernel, ec.record(kernel, path):
        kernel.stdin.on_next(reply)
        kernel.stdin.on_next(with_raw)
        remote.send(with_raw)
    recorded = recorded_messages(path)
    assert [message.content["value"] for _, message in recorded] == ["<redacted>"] * 3
    assert [message.parent_header for _, message in recorded] == [reply.parent_header] * 3
    data = path.read_bytes()
    assert "pässword".encode() not in data
    assert b"ssword" not in data


def test_keep_input_records_answers(path: Path) -> None:
    remote = ScriptedLink()
    with remote.kernel() as kernel, ec.record(kernel, path, keep_input=True):
        kernel.stdin.on_next(ec.input_reply("Ada"))
    assert [message.content["value"] for _, message in recorded_messages(path)] == ["Ada"]


@pytest.mark.parametrize("overwrite", [False, True])
def test_file_is_readable_by_owner_only(path: Path, overwrite: bool) -> None:
    if overwrite:
        path.touch(mode=0o666)
    before = os.umask(0)
    try:
        with ScriptedLink().kernel() as kernel:
            ec.record(kernel, path, overwrite=overwrite).close()
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


# -- the beginning and the end


def test_existing_file_needs_overwrite(path: Path) -> None:
    path.write_text("a thesis")
    with ScriptedLink().kernel() as kernel:
        with pytest.raises(RecordingFailed, match="already exists.*overwrite=True"):
            ec.record(kernel, path)
        assert path.read_text() == "a thesis"
        ec.record(kernel, path, overwrite=True).close()
    assert ec.Recording(path).verify()


def test_overwrite_leaves_active_recording_intact(path: Path) -> None:
    remote = ScriptedLink()
    with remote.kernel() as kernel:
        with ec.record(kernel, path), ec.record(kernel, path, overwrite=True):
            remote.send(printed("woo"))
    assert texts(message for _, message in recorded_messages(path)) == ["woo"]


@pytest.mark.parametrize("where", ["", "nowhere/file", "a\0b"])
def test_record_to_invalid_path_raises(tmp_path: Path, where: str) -> None:
    remote = ScriptedLink()
    with remote.kernel() as kernel:
        with pytest.raises(RecordingFailed, match="cannot be written|already exists"):
            ec.record(kernel, tmp_path / where)
        assert parts_of(kernel).subjects.taps.sinks == kernel.sent._fanout.sinks == ()


def test_record_of_closed_kernel_raises(path: Path) -> None:
    with ScriptedLink().kernel() as kernel:
        pass
    with pytest.raises(ChannelClosed):
        ec.record(kernel, path)
    assert not path.exists()


def test_recording_ends_with_kernel(path: Path) -> None:
    remote = ScriptedLink()
    with remote.kernel() as kernel:
        recorder = ec.record(kernel, path)
        remote.send(printed("woo"))
    recorder.close()
    assert ec.Recording(path).verify()
    assert recorder.messages == 1
    assert repr(recorder) == f"<Recorder {path}, 1 messages (ended)>"


def test_close_waits_and_is_idempotent(path: Path) -> None:
    remote = ScriptedLink()
    with remote.kernel() as kernel:
        recorder = ec.record(kernel, path)
        remote.send(*(printed(str(n)) for n in range(1000)))
        for close in (recorder.close, recorder.close, lambda: in_thread(recorder.close)):
            close()
            assert ec.Recording(path).verify()
        remote.send(printed("more"))
        assert parts_of(kernel).subjects.taps.sinks == kernel.sent._fanout.sinks == ()
    assert texts(m for _, m in recorded_messages(path)) == [str(n) for n in range(1000)]


def test_dispose_ends_recording(path: Path) -> None:
    remote = ScriptedLink()
    with remote.kernel() as kernel:
        recorder: abc.DisposableBase = ec.record(kernel, path)
        remote.send(*(printed(str(n)) for n in range(1000)))
        recorder.dispose()
        recorder.dispose()
        remote.send(printed("more"))
        assert parts_of(kernel).subjects.taps.sinks == kernel.sent._fanout.sinks == ()
        assert eventually(ec.Recording(path).verify)
    assert texts(m for _, m in recorded_messages(path)) == [str(n) for n in range(1000)]


# -- on a running event loop


@contextmanager
def slow_disk(tmp_path: Path) -> Iterator[tuple[Path, Callable[[], None]]]:
    """Yield a pipe that is as slow as a disk can be, and a function that reads it into a file."""
    if sys.platform == "win32":
        pytest.skip("Windows has no named pipes in directories")
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reading = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)

    def read() -> None:
        os.set_blocking(reading, True)
        with open(reading, "rb", closefd=False) as file, open(tmp_path / "copy", "wb") as copy:
            shutil.copyfileobj(file, copy)

    try:
        yield pipe, read
    finally:
        os.close(reading)


def test_async_with_waits_for_file(tmp_path: Path) -> None:
    remote = ScriptedLink()
    with slow_disk(tmp_path) as (pipe, read):

        async def main() -> None:
            async with remote.kernel() as kernel:
                async with ec.record(kernel, pipe, overwrite=True) as recorder:
                    assert isinstance(recorder, ec.Recorder)
                    remote.send(*(printed(str(n)) for n in range(2000)))
                    reading = Thread(read)
                assert recorder.messages == 2000
                reading.result()

        run_on_loop(main)
    assert ec.Recording(tmp_path / "copy").verify()
    assert len(recorded_messages(tmp_path / "copy")) == 2000


def test_aclose_does_not_block_loop(tmp_path: Path) -> None:
    remote = ScriptedLink()
    with slow_disk(tmp_path) as (pipe, read):

        async def main() -> None:
            async with remote.kernel() as kernel:
                recorder = ec.record(kernel, pipe, overwrite=True)
                remote.send(*(printed(str(n)) for n in range(2000)))
                closing = asyncio.create_task(recorder.aclose())
                await asyncio.sleep(0.05)
                assert not closing.done()
                reading = Thread(read)
                await closing
                await recorder.aclose()
                reading.result()

        run_on_loop(main)
    assert ec.Recording(tmp_path / "copy").verify()


def test_cancelled_aclose_ends_recording(tmp_path: Path) -> None:
    remote = ScriptedLink()
    with slow_disk(tmp_path) as (pipe, read):

        async def main() -> None:
            async with remote.kernel() as kernel:
                recorder = ec.record(kernel, pipe, overwrite=True)
                remote.send(*(printed(str(n)) for n in range(2000)))
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.05):
                        await recorder.aclose()
                remote.send(printed("more"))
                reading = Thread(read)
                await recorder.aclose()
                reading.result()

        run_on_loop(main)
    assert len(recorded_messages(tmp_path / "copy")) == 2000
    assert ec.Recording(tmp_path / "copy").verify()


def test_dispose_on_loop_does_not_block(tmp_path: Path) -> None:
    remote = ScriptedLink()
    with slow_disk(tmp_path) as (pipe, read):

        async def main() -> None:
            async with remote.kernel() as kernel:
                recorder = ec.record(kernel, pipe, overwrite=True)
                remote.send(*(printed(str(n)) for n in range(2000)))
                recorder.dispose()
                assert recorder.messages < 2000
                reading = Thread(read)
                await recorder.aclose()
                reading.result()

        run_on_loop(main)
    assert ec.Recording(tmp_path / "copy").verify()


def test_close_on_loop_raises(path: Path) -> None:
    remote = ScriptedLink()

    async def main() -> None:
        async with remote.kernel() as kernel:
            recorder = ec.record(kernel, path)
            with pytest.raises(
                WouldDeadlock, match=r"event loop; use `await recorder\.aclose\(\)`"
            ):
                recorder.close()
            # The refused call changed nothing: the recording goes on.
            remote.send(printed("woo"))
            await recorder.aclose()

    run_on_loop(main)
    assert texts(m for _, m in recorded_messages(path)) == ["woo"]
    assert ec.Recording(path).verify()


def test_with_on_loop_raises_and_ends(path: Path) -> None:
    remote = ScriptedLink()

    async def main() -> None:
        async with remote.kernel() as kernel:
            with pytest.raises(
                WouldDeadlock, match=r"event loop; write `async with ec\.record\(…\)`"
            ):
                with ec.record(kernel, path):
                    raise AssertionError
            assert parts_of(kernel).subjects.taps.sinks == kernel.sent._fanout.sinks == ()

    run_on_loop(main)
    assert eventually(ec.Recording(path).verify)


def test_close_in_subscriber_waits_for_file(path: Path) -> None:
    """The thread of subscribers is another than the one that writes."""
    remote, verified = ScriptedLink(), list[bool]()
    with remote.kernel() as kernel:
        recorder = ec.record(kernel, path)

        def on_next(_: AnyMessage) -> None:
            recorder.close()
            verified.append(ec.Recording(path).verify())

        kernel.iopub.subscribe(on_next)
        remote.send(printed("woo"))
        assert eventually(lambda: len(verified) == 1)
    assert verified == [True]


def test_active_recording_can_be_read(path: Path) -> None:
    remote = ScriptedLink()
    with remote.kernel() as kernel, ec.record(kernel, path) as recorder:
        remote.send(printed("woo"))
        assert eventually(lambda: recorder.messages == 1)
        assert texts(message for _, message in recorded_messages(path)) == ["woo"]
        assert not ec.Recording(path).verify()


def test_two_recorders_of_one_kernel(tmp_path: Path) -> None:
    remote = ScriptedLink()
    with (
        remote.kernel() as kernel,
        ec.record(kernel, tmp_path / "1"),
        ec.record(kernel, tmp_path / "2"),
    ):
        remote.send(printed("woo"))
    assert recorded_messages(tmp_path / "1") == recorded_messages(tmp_path / "2")


def test_interpreter_exit_ends_recording(path: Path) -> None:
    script = """if True:
        import sys
        import enchannel as ec
        from enchannel._kernel.kernel import open_kernel
        from tests.rigs.scripted import ScriptedLink
        from tests.rigs.messages import printed
        remote = ScriptedLink()
        kernel = open_kernel(remote.kernel())
        ec.record(kernel, sys.argv[1])
        remote.send(*(printed(str(n)) for n in range(3000)))
    """
    subprocess.run([sys.executable, "-c", script, path], check=True, timeout=DEADLINE)
    assert len(recorded_messages(path)) == 3000
    assert ec.Recording(path).verify()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_forked_child_does_not_record(path: Path) -> None:
    script = """if True:
        import os, sys
        import enchannel as ec
        from tests.rigs.scripted import ScriptedLink
        from tests.rigs.messages import printed
        remote = ScriptedLink()
        with remote.kernel() as kernel, ec.record(kernel, sys.argv[1]):
            remote.send(*(printed(str(n)) for n in range(300)))
            child = os.fork()
            if not child:
                sys.exit()
            assert os.waitpid(child, 0)[1] == 0
            remote.send(printed("after"))
    """
    subprocess.run([sys.executable, "-c", script, path], check=True, timeout=DEADLINE)
    assert len(recorded_messages(path)) == 301
    assert ec.Recording(path).verify()


# -- write errors


@contextmanager
def room_for(size: int) -> Iterator[None]:
    """Limit the size of files, as a full disk would."""
    if sys.platform == "win32":
        pytest.skip("Windows cannot limit the size of files")
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_full_disk_ends_only_the_recording(path: Path) -> None:
    remote, errors, seen = ScriptedLink(), Collector[EnchannelError](), Collector[AnyMessage]()
    with remote.kernel() as kernel:
        kernel.errors.subscribe(errors)
        kernel.iopub.subscribe(seen)
        with room_for(20_000):
            recorder = ec.record(kernel, path)
            remote.send(*(printed(str(n)) for n in range(200)))
            (error,) = errors.wait_for_count(1)
        assert isinstance(error, RecordingFailed)
        assert "it ended, and can be read up to this point" in str(error)
        assert recorder.error is error
        remote.send(printed("goes on"))
        assert texts(seen.wait_for_count(201))[-1] == "goes on"
        recorder.dispose()
    assert errors.items == [error]
    recorded = texts(message for _, message in recorded_messages(path))
    assert 0 < len(recorded) < 200
    assert recorded == [str(n) for n in range(len(recorded))]
    assert not ec.Recording(path).verify()


def test_disk_full_at_any_size_ends_recording(tmp_path: Path) -> None:
    for room in range(100, 500, 8):
        with ScriptedLink().kernel() as kernel, room_for(room):
            try:
                recorder = ec.record(kernel, tmp_path / str(room))
            except RecordingFailed:
                assert not (tmp_path / str(room)).exists()
                continue
            (error,) = Collector(kernel.errors).wait_for_count(1)
            recorder.dispose()
            assert recorder.error is error
            if isinstance(error, RecordingFailed):
                # The first size with room for the header, but not for the records.
                return
    raise AssertionError("there was always room, or never")


def test_failed_overwrite_keeps_old_recording(path: Path, tmp_path: Path) -> None:
    path.write_text("a thesis")
    with ScriptedLink().kernel() as kernel, room_for(10):
        with pytest.raises(RecordingFailed):
            ec.record(kernel, path, overwrite=True)
    assert path.read_text() == "a thesis"
    assert list(tmp_path.iterdir()) == [path]


def test_dangling_symlink_is_kept_on_failure(tmp_path: Path) -> None:
    link, circle = tmp_path / "link", tmp_path / "circle"
    link.symlink_to("nowhere")
    circle.symlink_to(circle)
    with ScriptedLink().kernel() as kernel, room_for(10):
        for path in (link, circle):
            with pytest.raises(RecordingFailed):
                ec.record(kernel, path)
    assert sorted(tmp_path.iterdir()) == [circle, link]


@pytest.mark.parametrize("target", ["nowhere", "mine", "link"])
def test_symlink_is_not_followed(tmp_path: Path, target: str) -> None:
    mine, link = tmp_path / "mine", tmp_path / "link"
    mine.write_text("my data")
    link.symlink_to(target)
    with ScriptedLink().kernel() as kernel:
        with pytest.raises(RecordingFailed, match="already exists.*overwrite=True"):
            ec.record(kernel, link)
        assert link.is_symlink()
        ec.record(kernel, link, overwrite=True).close()
    assert not link.is_symlink()
    assert ec.Recording(link).verify()
    assert mine.read_text() == "my data"
    assert sorted(tmp_path.iterdir()) == [link, mine]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_record_to_full_device_raises() -> None:
    with ScriptedLink().kernel() as kernel:
        with pytest.raises(RecordingFailed, match="/dev/full cannot be written: No space left"):
            ec.record(kernel, "/dev/full", overwrite=True)
        assert parts_of(kernel).subjects.taps.sinks == ()
    assert stat.S_ISCHR(os.stat("/dev/full").st_mode)


def test_slow_disk_does_not_delay_kernel(tmp_path: Path) -> None:
    remote, count = ScriptedLink(), 2000
    with slow_disk(tmp_path) as (pipe, read), remote.kernel() as kernel:
        recorder = ec.record(kernel, pipe, overwrite=True)
        remote.send(*(printed(str(n)) for n in range(count)))  # more than the buffer of a pipe
        closing = Thread(recorder.close)
        read()
        closing.result()
    assert len(recorded_messages(tmp_path / "copy")) == count


def test_any_write_error_ends_only_the_recording(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(message: AnyMessage) -> bytes:
        raise MemoryError

    remote, errors = ScriptedLink(), Collector[EnchannelError]()
    monkeypatch.setattr(websocket, "encode", full)
    with remote.kernel() as kernel, ec.record(kernel, path) as recorder:
        kernel.errors.subscribe(errors)
        remote.send(printed("woo"))
        assert errors.wait_for_count(1) == [recorder.error]
        assert parts_of(kernel).subjects.taps.sinks == ()


def test_unsendable_message_is_not_recorded(path: Path) -> None:
    remote = ScriptedLink()
    with remote.kernel() as kernel, ec.record(kernel, path) as recorder:
        kernel.shell.on_next(ec.create_message("\ud800"))
        kernel.shell.on_next(ec.create_message(""))
        kernel.shell.on_next(ec.kernel_info_request())
    assert [message.header.msg_type for _, message in recorded_messages(path)] == [
        "kernel_info_request"
    ]
    assert recorder.messages == 1


def test_recorder_memory_is_constant(path: Path) -> None:
    remote, pause = ScriptedLink(), threading.Event()
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


def test_reader_memory_is_constant(path: Path) -> None:
    write(path, *[(0.0, RecordKind.RECEIVED, websocket.encode(printed("x" * 100_000)))] * 60)
    tracemalloc.start()
    try:
        assert sum(1 for _ in ec.Recording(path)) == 60
        assert ec.Recording(path).verify()
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()


# -- damaged files


def write(path: Path, *records: tuple[float, RecordKind, bytes], end: bool = True) -> bytes:
    """Write a recording with the given records."""
    data = encode_header("ada", "s1", "2024-02-29T12:30:00Z")
    for record in (*records, *([(9.0, RecordKind.END, b"")] if end else [])):
        data += b"".join(encode_record(*record))
    path.write_bytes(data)
    return data


def short(path: Path) -> tuple[bytes, list[Recorded], list[int]]:
    """Write a short recording; return its bytes, its items, and the offset after each record."""
    records = [
        (0.0, RecordKind.EVENT, encode_event(LinkState.CONNECTED)),
        (0.5, RecordKind.SENT, websocket.encode(ec.execute_request("1"))),
        (
            1.0,
            RecordKind.RECEIVED,
            websocket.encode(printed("a").replace(buffers=(memoryview(b"b"),))),
        ),
        (1.5, RecordKind.EVENT, encode_event(KernelDied("oh", exit_code=1))),
    ]
    head = len(write(path, end=False))
    ends = [head + sum(17 + 4 + len(r[2]) for r in records[:n]) for n in range(1, 5)]
    data = write(path, *records)
    return data, list(ec.Recording(path)), ends


def same(one: list[Recorded], other: list[Recorded]) -> bool:
    def key(r: Recorded) -> tuple[object, ...]:
        if isinstance(r, RecordedMessage):
            return r.time, r.direction, r.message
        return r.time, r.direction, type(r.event), str(r.event)

    return list(map(key, one)) == list(map(key, other))


def test_first_release_format_is_read() -> None:
    """The file was written by the first version of this format; it must stay readable."""
    recording = ec.Recording(Path(__file__).parent / "data" / "version-1.enchannel")
    request, printed = recorded_messages(recording.path)
    *_, end = read_entries(recording)
    assert (recording.kernel_id, recording.session) == ("a-kernel", "a-session")
    assert (request[0], request[1].content["code"]) == (SENT, "6 * 7")
    assert (printed[0], printed[1].content["text"]) == (RECEIVED, "hello\n")
    assert [bytes(buffer) for buffer in printed[1].buffers] == [b"\0\1"]
    assert [r.time for r in recording] == [0.0, 0.25, 1.5, 2.0, 3.0]
    assert events(recording.path)[:2] == [LinkState.CONNECTED, KernelState.DEAD]
    assert isinstance(end, End)
    assert isinstance(end.error, KernelDied)
    assert (end.error.exit_code, end.error.stderr) == (-9, "oops")


def test_truncated_file_yields_whole_records(path: Path) -> None:
    data, items, ends = short(path)
    head = data.index(b"\n") + 1
    for size in range(len(data)):
        path.write_bytes(data[:size])
        if size < head:
            with pytest.raises(RecordingFailed):
                ec.Recording(path)
            continue
        whole = sum(end <= size for end in ends)
        assert same(list(ec.Recording(path)), items[:whole])
        assert not ec.Recording(path).verify()


def test_flipped_bit_ends_recording(path: Path) -> None:
    data, items, ends = short(path)
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
            assert same(list(ec.Recording(path)), items[:whole])
            assert not ec.Recording(path).verify()


@given(st.data())
@settings(max_examples=200)
def test_changed_bytes_never_yield_wrong_items(tmp_path_factory: Any, data: st.DataObject) -> None:
    path = tmp_path_factory.mktemp("recordings") / "any"
    whole, items, _ = short(path)
    head = whole.index(b"\n") + 1
    at = data.draw(st.integers(head, len(whole) - 1))
    inserted, cut = data.draw(st.binary(max_size=40)), data.draw(st.integers(0, 400))
    path.write_bytes(whole[:at] + inserted + whole[at + cut :])
    read = list(ec.Recording(path))
    assert same(read, items[: len(read)])


@pytest.mark.parametrize(
    "tail",
    [b"\0" * 100, b"\xff" * 100, struct.pack("<QI", 2**63, 0) + b"x" * 99],
    ids=["zeros", "ones", "huge length"],
)
def test_garbage_tail_is_ignored(path: Path, tail: bytes) -> None:
    data, items, ends = short(path)
    path.write_bytes(data[: ends[-1]] + tail)
    assert same(list(ec.Recording(path)), items)
    assert not ec.Recording(path).verify()


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
@pytest.mark.parametrize("kind", [*RecordKind, 4, 255])
def test_invalid_record_is_not_an_item(path: Path, kind: Any, payload: bytes) -> None:
    write(path, (0.0, kind, payload))
    for entry in read_entries(ec.Recording(path)):
        assert isinstance(entry, End) or isinstance(entry, RecordedEvent)
        assert isinstance(entry, End) or isinstance(entry.event, EnchannelError)


def test_recorded_error_names_map_to_classes(path: Path) -> None:
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
    records = [
        (0.0, RecordKind.EVENT, json.dumps({"error": name, "text": "t"}).encode()) for name in names
    ]
    write(path, *records)
    found = [type(status) for status in events(path)]
    assert found == [EnchannelError, KernelDied, *[EnchannelError] * 6]


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "not a recording"),
        (b"\n", "not a recording"),
        (b'{"cells": []}', "not a recording"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 100, "not a recording"),
        (b"x" * 1_000_000, "not a recording"),
        (b"enchannel recording 1 00000000 {}\n", "damaged"),
        (b"enchannel recording 0 %08x {}\n" % zlib.crc32(b"{}"), "damaged"),
        (b"enchannel recording one\n", "not a recording"),
        (b"enchannel record", "ends within its first line"),
        (
            b"enchannel recording 2 00000000 {}\n",
            "newer enchannel .*; pip install --upgrade enchannel",
        ),
        (b"enchannel recording 1 %08x {}\n" % zlib.crc32(b"{}"), "damaged"),
        (b'enchannel recording 1 %08x {"a":\xff}\n' % zlib.crc32(b'{"a":\xff}'), "damaged"),
    ],
)
def test_invalid_file_raises_with_reason(path: Path, data: bytes, why: str) -> None:
    path.write_bytes(data)
    with pytest.raises(RecordingFailed, match=why):
        ec.Recording(path)


@pytest.mark.parametrize("where", ["", "nowhere", "a\0b"])
def test_unreadable_path_raises(tmp_path: Path, where: str) -> None:
    with pytest.raises(RecordingFailed, match="cannot be read"):
        ec.Recording(tmp_path / where)


def test_deleted_recording_raises(path: Path) -> None:
    write(path)
    recording = ec.Recording(path)
    path.unlink()
    with pytest.raises(RecordingFailed, match="cannot be read: No such file"):
        list(recording)


def test_iteration_is_lazy_and_repeatable(path: Path) -> None:
    _, items, _ = short(path)
    recording = ec.Recording(path)
    first: Callable[[], Recorded] = lambda: next(iter(recording))  # noqa: E731
    assert first() == first() == items[0]
    assert same(list(recording), list(recording))


def test_recorded_items_are_immutable(path: Path) -> None:
    _, items, _ = short(path)
    for item in items:
        with pytest.raises(AttributeError):
            item.time = 1.0  # type: ignore[misc]


def test_recorded_items_are_messages_or_events(path: Path) -> None:
    _, items, _ = short(path)
    first, second, third, fourth = items
    assert first == RecordedEvent(0.0, LinkState.CONNECTED)
    assert first.direction is RECEIVED
    assert isinstance(second, RecordedMessage)
    assert second == RecordedMessage(0.5, SENT, second.message)
    assert isinstance(third, RecordedMessage)
    assert (third.time, third.direction) == (1.0, RECEIVED)
    assert isinstance(fourth, RecordedEvent)
    assert isinstance(fourth.event, KernelDied)
    assert not hasattr(first, "message")
    assert not hasattr(second, "event")


def test_recorded_items_match_patterns(path: Path) -> None:
    _, items, _ = short(path)
    seen: list[object] = []
    for item in items:
        match item:
            case RecordedMessage(time, direction, message):
                seen.append((time, direction, message.header.msg_type))
            case RecordedEvent(time, event):
                seen.append((time, type(event)))
    assert seen == [
        (0.0, LinkState),
        (0.5, SENT, "execute_request"),
        (1.0, RECEIVED, "stream"),
        (1.5, KernelDied),
    ]


def test_error_at_end_is_an_item(path: Path) -> None:
    error = encode_event(ConnectionLost("it did not come back"))
    write(path, (2.5, RecordKind.END, error), end=False)
    (item,) = ec.Recording(path)
    assert isinstance(item, RecordedEvent)
    assert item.time == 2.5
    assert isinstance(item.event, ConnectionLost)


def test_verify_reads_the_file_each_time(path: Path) -> None:
    data = write(path, end=False)
    recording = ec.Recording(path)
    assert recording.verify() is False
    write(path)
    assert recording.verify() is True
    path.write_bytes(data)
    assert recording.verify() is False
    path.unlink()
    with pytest.raises(RecordingFailed, match="cannot be read: No such file"):
        recording.verify()


# -- a killed writer


def test_sigkill_in_flood_leaves_valid_prefix(path: Path) -> None:
    script = """if True:
        import itertools, sys
        import enchannel as ec
        from enchannel._kernel.kernel import open_kernel
        from tests.rigs.scripted import ScriptedLink
        from tests.rigs.messages import printed
        remote = ScriptedLink()
        kernel = open_kernel(remote.kernel())
        recorder = ec.record(kernel, sys.argv[1])
        for n in itertools.count():
            remote.send(printed(str(n) + "x" * 500))
            if recorder.messages > 2000:
                print(flush=True)
    """
    with subprocess.Popen([sys.executable, "-c", script, path], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline()
        process.kill()
    recorded = texts(message for _, message in recorded_messages(path))
    assert len(recorded) > 2000
    assert recorded == [str(n) + "x" * 500 for n in range(len(recorded))]
    assert not ec.Recording(path).verify()
