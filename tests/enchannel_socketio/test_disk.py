"""Logs on disk: damaged files, logs of earlier relays, and failures of the disk."""

import asyncio
import errno
import os
import shutil
import stat
import subprocess
import sys
import uuid
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import pytest
from reactivex import operators as ops

import enchannel as ec
from enchannel.errors import ConnectionFailed, KernelDied
from enchannel.testing import Collector
from enchannel_socketio import connect, disconnect, list_kernels, shutdown, spawn
from enchannel_socketio.relay import Bounds, _disk_store, make_store
from enchannel_socketio.relay._disk_log import DiskLog
from enchannel_socketio.relay._disk_store import DiskStore
from enchannel_socketio.relay._log import Entry
from enchannel_socketio.relay._segment import Segment
from tests.enchannel_socketio.conftest import running
from tests.enchannel_socketio.test_log import all_of, entries
from tests.rigs import DEADLINE
from tests.rigs.relay import TOKEN

T = TypeVar("T")


def run(doing: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(doing)


async def written(directory: Path, *numbers: int, bounds: Bounds = Bounds()) -> None:  # noqa: B008
    log = DiskLog(directory, bounds)
    await log.append(entries(*numbers))
    await log.close()


def test_reopened_log_continues(tmp_path: Path) -> None:
    async def main() -> None:
        await written(tmp_path, 1, 2, 3)
        await written(tmp_path, 4, 5)
        log = DiskLog(tmp_path, Bounds())
        assert await log.positions() == (1, 5)
        assert await all_of(log, 0, 5) == [1, 2, 3, 4, 5]
        await log.close()

    run(main())


def test_torn_entry_is_dropped(tmp_path: Path) -> None:
    async def main() -> None:
        await written(tmp_path, 1, 2)
        (file,) = tmp_path.glob("*.log")
        whole = file.read_bytes()
        await written(tmp_path, 3)
        torn = file.read_bytes()
        for length in range(len(whole), len(torn)):
            file.write_bytes(torn[:length])
            log = DiskLog(tmp_path, Bounds())
            assert await log.positions() == (1, 2)
            await log.append(entries(3, 4))
            assert await all_of(log, 0, 4) == [1, 2, 3, 4]
            await log.close()

    run(main())


def test_damaged_byte_ends_the_log(tmp_path: Path) -> None:
    async def main() -> None:
        await written(tmp_path, 1, 2, 3)
        (file,) = tmp_path.glob("*.log")
        whole = file.read_bytes()
        for place in range(len(whole)):
            file.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
            log = DiskLog(tmp_path, Bounds())
            _, last = await log.positions()
            assert last == place * 3 // len(whole)
            await log.close()

    run(main())


def test_log_with_zero_filled_tail_ends_before_it(tmp_path: Path) -> None:
    """File systems leave such a tail after a power cut."""

    async def main() -> None:
        await written(tmp_path, 1, 2)
        (file,) = tmp_path.glob("*.log")
        file.write_bytes(file.read_bytes() + b"\0" * 4_096)
        log = DiskLog(tmp_path, Bounds())
        assert await log.positions() == (1, 2)
        await log.append(entries(3))
        assert await all_of(log, 0, 3) == [1, 2, 3]
        await log.close()

    run(main())


def test_append_overwrites_damaged_tail(tmp_path: Path) -> None:
    async def main() -> None:
        await written(tmp_path, 1, 2, 3, 4, 5)
        (file,) = tmp_path.glob("*.log")
        whole = bytearray(file.read_bytes())
        whole[len(whole) * 3 // 10] ^= 1  # in the second entry
        file.write_bytes(whole)
        await written(tmp_path, 6)  # as long as the damaged entry
        log = DiskLog(tmp_path, Bounds())
        assert await log.positions() == (1, 2)
        assert await all_of(log, 0, 2) == [1, 6]
        await log.close()

    run(main())


def test_damaged_first_segment_reads_as_gap(tmp_path: Path) -> None:
    async def main() -> None:
        bounds = Bounds(messages=160)  # 10 in a segment
        await written(tmp_path, *range(1, 101), bounds=bounds)
        oldest, *_ = files = sorted(tmp_path.glob("*.log"))
        oldest.write_bytes(b"x" * oldest.stat().st_size)
        log = DiskLog(tmp_path, bounds)
        assert await log.positions() == (1, 100)
        assert (await log.read(0, 5)).first == 11
        assert await all_of(log, 10, 100) == list(range(11, 101))
        assert sorted(tmp_path.glob("*.log")) == files
        await log.close()

    run(main())


def test_emptied_segment_keeps_positions(
    tmp_path: Path,
) -> None:
    async def main() -> None:
        bounds = Bounds(messages=32)  # 2 in a segment
        await written(tmp_path, *range(1, 102), bounds=bounds)
        *older, newest = sorted(tmp_path.glob("*.log"))
        for file in older:
            file.unlink()
        newest.write_bytes(newest.read_bytes()[:-1])
        log = DiskLog(tmp_path, bounds)
        assert await log.positions() == (101, 100)
        await log.append(entries(102))
        assert await log.positions() == (101, 101)
        await log.close()

    run(main())


def test_large_append_respects_bounds(tmp_path: Path) -> None:
    async def main() -> None:
        log = DiskLog(tmp_path, Bounds(bytes=100_000))
        await log.append(entries(*range(1, 1_001), size=1_000))
        assert sum(file.stat().st_size for file in tmp_path.glob("*.log")) <= 100_000
        first, last = await log.positions()
        assert (last, last - first > 80) == (1_000, True)
        await log.close()

    run(main())


def test_partly_written_append_is_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        log = DiskLog(tmp_path, Bounds())
        await log.append(entries(1))
        monkeypatch.setattr(Segment, "_write", staticmethod(_most))
        with pytest.raises(OSError, match="No space"):
            await log.append(entries(2, 3, 4))  # the first two fit
        monkeypatch.undo()
        await log.append(entries(5))
        await log.close()
        again = DiskLog(tmp_path, Bounds())
        assert await again.positions() == (1, 2)
        assert await all_of(again, 0, 2) == [1, 5]
        await again.close()

    run(main())


def test_cancelled_append_is_consistent(tmp_path: Path) -> None:
    async def main() -> None:
        log = DiskLog(tmp_path, Bounds())
        given_up = asyncio.create_task(log.append(entries(1, 2, size=3_000_000)))
        await asyncio.sleep(0)
        given_up.cancel()
        await asyncio.gather(given_up, return_exceptions=True)
        await log.append(entries(3))
        await log.append(entries(4))
        ends = await log.positions()
        result = await all_of(log, 0, ends[1])
        await log.close()
        again = DiskLog(tmp_path, Bounds())
        assert await again.positions() == ends
        assert await all_of(again, 0, ends[1]) == result
        assert result in ([3, 4], [1, 2, 3, 4])
        await again.close()

    run(main())


def _most(file: Any, data: bytes) -> None:
    file.write(data[:-1])
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_entries_survive_sigkill_of_writer(tmp_path: Path) -> None:
    script = """if True:
        import asyncio, sys
        from pathlib import Path
        from enchannel_socketio.relay._disk_log import DiskLog
        from enchannel_socketio.relay._log import Bounds, Entry

        async def main():
            log = DiskLog(Path(sys.argv[1]), Bounds())
            for number in range(1, 1_000_000):
                await log.append([Entry("msg", "iopub", "", b"%d" % number)])
                print(number, flush=True)

        asyncio.run(main())
    """
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, encoding="utf-8"
    ) as process:
        assert process.stdout is not None
        while int(process.stdout.readline()) < 200:
            pass
        process.kill()
        written = int(([200, *map(int, process.stdout.read().split("\n")[:-1])])[-1])

    async def main() -> None:
        log = DiskLog(tmp_path, Bounds())
        _, last = await log.positions()
        assert last in (written, written + 1)
        assert await all_of(log, 0, last) == list(range(1, last + 1))
        await log.close()

    run(main())


def test_damage_while_reading_reads_as_gap(tmp_path: Path) -> None:
    async def main() -> None:
        log = DiskLog(tmp_path, Bounds(messages=16_000))  # 1,000 in a segment
        await log.append(entries(*range(1, 5_001)))
        first, second, *_ = sorted(tmp_path.glob("*.log"))
        first.write_bytes(b"x" * 100)
        second.unlink()
        stretch = await log.read(0, 10)
        assert stretch.first == 2_001
        assert await all_of(log, 2_000, 5_000) == list(range(2_001, 5_001))
        await log.close()

    run(main())


def test_log_is_readable_by_owner_only(tmp_path: Path) -> None:
    with running(store=make_store(str(tmp_path / "logs"))) as relay:
        kernel_id = spawn(relay.url, token=TOKEN)
        there = [tmp_path / "logs" / kernel_id, *(tmp_path / "logs" / kernel_id).iterdir()]
        there.append(tmp_path / "logs" / "lock")
        modes = {stat.S_IMODE(path.stat().st_mode) for path in there}
        assert modes <= {0o700, 0o600}
        assert len(there) == 4
        shutdown(relay.url, kernel_id, token=TOKEN)
        assert not (tmp_path / "logs" / kernel_id).exists()


def test_log_outlives_relay(tmp_path: Path) -> None:
    with running(store=make_store(str(tmp_path))) as relay:
        kernel_id = spawn(relay.url, token=TOKEN)
        with connect(relay.url, kernel_id, token=TOKEN) as kernel:
            position = disconnect(kernel)
        with connect(relay.url, kernel_id, token=TOKEN) as kernel:
            kernel.run("6 * 7")
    with running(store=make_store(str(tmp_path))) as relay:
        (model,) = list_kernels(relay.url, token=TOKEN)
        assert (model.id, model.name, model.state) == (kernel_id, "python3", "dead")
        with connect(relay.url, kernel_id, token=TOKEN, since=position) as kernel:
            results = kernel.iopub.pipe(ec.of_message_type("execute_result"))
            received: list[ec.AnyMessage] = []
            watching = results.pipe(ops.do_action(received.append))
            with pytest.raises(KernelDied):
                ec.wait(watching, timeout=DEADLINE)
        assert [message.content["data"]["text/plain"] for message in received] == ["42"]
        shutdown(relay.url, kernel_id, token=TOKEN)
        assert list_kernels(relay.url, token=TOKEN) == ()
        assert not (tmp_path / kernel_id).exists()


def test_next_relay_ends_logs_of_killed_relay(
    tmp_path: Path,
) -> None:
    run(written(tmp_path / "a-kernel", 1, 2))
    (tmp_path / "a-kernel" / "kernel.json").write_text('{"id": "a-kernel", "name": "python3"}')
    for _ in range(2):
        with running(store=make_store(str(tmp_path))) as relay:
            (model,) = list_kernels(relay.url, token=TOKEN)
            assert (model.state, model.first, model.last) == ("dead", 1, 3)


def test_directory_in_use_raises(tmp_path: Path) -> None:
    with running(store=make_store(str(tmp_path))):
        with pytest.raises(ConnectionFailed, match=r"start: \S+ is in use by another relay"):
            with running(store=make_store(str(tmp_path))):
                pass
    with running(store=make_store(str(tmp_path))):
        pass


def test_ended_kernel_refuses_commands(
    tmp_path: Path,
) -> None:
    _kernel_at(tmp_path, "a-kernel")

    async def main() -> None:
        store = DiskStore(tmp_path, Bounds())
        await store.open()
        kernel = (await store.other_kernels())["a-kernel"]
        for wanted in (kernel.send(ec.kernel_info_request()), kernel.interrupt(), kernel.restart()):
            with pytest.raises(KernelDied, match="ended when its relay stopped"):
                await wanted
        await kernel.shut_down()
        await store.forget("a-kernel")
        assert not (tmp_path / "a-kernel").exists()
        await store.close()

    run(main())


def _kernel_at(directory: Path, kernel_id: str, created: float = 0.0) -> Path:
    run(written(directory / kernel_id, 1, 2))
    card = directory / kernel_id / "kernel.json"
    card.write_text(f'{{"id": "{kernel_id}", "name": "python3", "created": {created}}}')
    return card


def test_store_deletes_only_incomplete_kernels(
    tmp_path: Path,
) -> None:
    begun = tmp_path / str(uuid.uuid4())
    run(written(begun, 1))
    spec = tmp_path / "python3"
    spec.mkdir()
    (spec / "kernel.json").write_text('{"argv": [], "display_name": "Python"}')
    elsewhere = _kernel_at(tmp_path, "a-kernel")
    elsewhere.write_text('{"id": "../another", "name": "python3"}')
    # Not named like a kernel, so another program may have written it.
    run(written(tmp_path / "data", 1))
    (tmp_path / "notes.log").write_text("mine")
    (spec / "notes.log").write_text("mine")
    with running(store=make_store(str(tmp_path))) as relay:
        assert list_kernels(relay.url, token=TOKEN) == ()
    assert {path.name for path in tmp_path.iterdir()} == {
        "a-kernel",
        "data",
        "lock",
        "notes.log",
        "python3",
    }
    assert len(list(spec.iterdir())) == 2
    assert len(list((tmp_path / "data").iterdir())) == 1


def test_oldest_ended_kernels_are_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_disk_store, "MAX_ENDED_KERNELS", 2)
    for number in range(4):
        _kernel_at(tmp_path, f"kernel-{number}", created=float(number))
    (tmp_path / "kernel-0" / "notes.txt").write_text("mine")
    with running(store=make_store(str(tmp_path))) as relay:
        ids = {model.id for model in list_kernels(relay.url, token=TOKEN)}
    assert ids == {"kernel-2", "kernel-3"}
    assert not (tmp_path / "kernel-1").exists()
    assert [path.name for path in (tmp_path / "kernel-0").iterdir()] == ["notes.txt"]


def test_failed_open_releases_the_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(directory: Path) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(_disk_store, "_kernels_in", fail)

    async def main() -> None:
        store = DiskStore(tmp_path, Bounds())
        with pytest.raises(ConnectionFailed, match="cannot be stored"):
            await store.open()
        monkeypatch.undo()
        other = DiskStore(tmp_path, Bounds())
        await other.open()
        await other.close()

    run(main())


@pytest.mark.skipif(os.name == "nt", reason="symbolic links need a privilege")
@pytest.mark.parametrize("name", ["a-kernel", str(uuid.UUID(int=5))])
def test_linked_directory_is_not_followed(tmp_path: Path, name: str) -> None:
    store, elsewhere = tmp_path / "store", tmp_path / "elsewhere"
    store.mkdir()
    card = _kernel_at(elsewhere, name)
    if name != "a-kernel":  # a kernel whose creation was not completed
        card.unlink()
    before = sorted((elsewhere / name).iterdir())
    (store / name).symlink_to(elsewhere / name)
    with running(store=make_store(str(store))) as relay:
        assert list_kernels(relay.url, token=TOKEN) == ()
        disk = relay.relay._store
        assert isinstance(disk, DiskStore)
        relay.server.call(disk.forget(name))
    assert sorted((elsewhere / name).iterdir()) == before


@pytest.mark.skipif(os.name == "nt", reason="symbolic links need a privilege")
@pytest.mark.parametrize("kind", ["link", "pipe", "directory"])
@pytest.mark.parametrize("name", ["kernel.json", "00000000000000000001.log"])
def test_kernel_with_irregular_file_is_skipped(tmp_path: Path, name: str, kind: str) -> None:
    mine, store = tmp_path / "mine", tmp_path / "store"
    path = _kernel_at(store, "a-kernel").with_name(name)
    _kernel_at(store, "another")
    content = path.read_bytes() if name == "kernel.json" else b"my data"
    mine.write_bytes(content)
    path.unlink()
    if kind == "link":
        path.symlink_to(mine)
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.mkdir()
    with running(store=make_store(str(store))) as relay:
        assert [model.id for model in list_kernels(relay.url, token=TOKEN)] == ["another"]
    assert mine.read_bytes() == content


@pytest.mark.skipif(os.name == "nt", reason="symbolic links need a privilege")
def test_deleting_kernel_keeps_targets_of_links(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.write_text("my data")
    card = _kernel_at(tmp_path / "store", "a-kernel")
    card.with_name("kernel.new").symlink_to(mine)
    run(_forget(tmp_path / "store", "a-kernel"))
    assert not card.parent.exists()
    assert mine.read_text() == "my data"


@pytest.mark.skipif(os.name == "nt", reason="symbolic links need a privilege")
def test_linked_lock_is_refused(tmp_path: Path) -> None:
    (tmp_path / "lock").symlink_to(tmp_path / "created")
    with (
        pytest.raises(ConnectionFailed, match="cannot be stored in .*: not a regular file"),
        running(store=make_store(str(tmp_path))),
    ):
        pass
    assert not (tmp_path / "created").exists()


async def _forget(directory: Path, kernel_id: str) -> None:
    store = DiskStore(directory, Bounds())
    await store.open()
    await store.forget(kernel_id)
    await store.close()


def test_kernel_without_log_is_not_launched(tmp_path: Path) -> None:
    directory = tmp_path / "logs"
    with running(store=make_store(str(directory))) as relay:
        shutil.rmtree(directory)
        directory.write_text("no directory")
        with pytest.raises(ConnectionFailed, match="cannot be stored"):
            spawn(relay.url, token=TOKEN)
        assert list_kernels(relay.url, token=TOKEN) == ()


@pytest.mark.parametrize("where", ["/proc/nothing", "/dev/null/logs"])
def test_invalid_directory_raises(where: str) -> None:
    with (
        pytest.raises(ConnectionFailed, match="cannot be stored"),
        running(store=make_store(where)),
    ):
        pass


def test_full_disk_is_reported_as_missing_messages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = Segment.append
    full = False

    def maybe(self: Segment, frames: Sequence[bytes]) -> None:
        if full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(self, frames)

    monkeypatch.setattr(Segment, "append", maybe)
    with running(store=make_store(str(tmp_path))) as relay:
        kernel_id = spawn(relay.url, token=TOKEN)
        with connect(relay.url, kernel_id, token=TOKEN) as kernel:
            reported = Collector(kernel.errors)
            full = True
            kernel.shell.on_next(ec.execute_request("'lost'"))
            with pytest.raises(ec.RequestTimeout):
                ec.wait(kernel.kernel_info(timeout=1.0), timeout=DEADLINE)
            full = False
            assert kernel.run("6 * 7").text == "42"
            (error,) = reported.wait_for_count(1)
            assert "could not be stored" in str(error)
        shutdown(relay.url, kernel_id, token=TOKEN)


def test_entry_round_trips(tmp_path: Path) -> None:
    entry = Entry("status", "", "", b"{}", (b"\x00",))

    async def main() -> None:
        log = DiskLog(tmp_path, Bounds())
        await log.append([entry])
        await log.close()
        again = DiskLog(tmp_path, Bounds())
        assert (await again.read(0, 1)).entries == [entry]
        await again.close()

    run(main())


def test_first_release_log_format_is_stable(tmp_path: Path) -> None:
    """The file was written by the first version of this format; it must stay readable."""
    first_release = Path(__file__).parent / "data" / "00000000000000000001.log"
    shutil.copy(first_release, tmp_path)

    async def main() -> None:
        log = DiskLog(tmp_path, Bounds())
        message, busy, reply, end = (await log.read(0, 10)).entries
        await log.close()
        assert (message.event, message.channel, message.buffers) == ("msg", "iopub", (b"\0\1",))
        assert busy == Entry("status", "", "", b'{"kernel":"busy"}')
        assert reply == Entry("msg", "shell", "a-session", b"{}")
        assert msgspec.json.decode(end.json) == {"ended": "KernelDied", "text": "kernel 1 is gone"}
        again = DiskLog(tmp_path / "again", Bounds())
        await again.append([message, busy, reply, end])
        await again.close()

    run(main())
    assert (tmp_path / "again" / first_release.name).read_bytes() == first_release.read_bytes()
