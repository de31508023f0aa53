"""Logs on disk: what a killed writer leaves, what a new relay finds, and a disk that is none."""

import asyncio
import os
import stat
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import pytest
from reactivex import operators as ops

import enchannel as ec
from enchannel.errors import ConnectionFailed, KernelDied
from enchannel_socketio import connect, disconnect, list_kernels, shutdown, spawn
from enchannel_socketio.relay import Bounds, store_of
from enchannel_socketio.relay._disk import DiskLog
from enchannel_socketio.relay._log import Entry
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


def test_a_log_goes_on_where_it_was(tmp_path: Path) -> None:
    async def main() -> None:
        await written(tmp_path, 1, 2, 3)
        await written(tmp_path, 4, 5)
        log = DiskLog(tmp_path, Bounds())
        assert await log.ends() == (1, 5)
        assert await all_of(log, 0, 5) == [1, 2, 3, 4, 5]
        await log.close()

    run(main())


def test_a_writer_that_was_killed_loses_the_entry_that_it_was_writing(tmp_path: Path) -> None:
    async def main() -> None:
        await written(tmp_path, 1, 2)
        (file,) = tmp_path.glob("*.log")
        whole = file.read_bytes()
        await written(tmp_path, 3)
        torn = file.read_bytes()
        for length in range(len(whole), len(torn)):
            file.write_bytes(torn[:length])
            log = DiskLog(tmp_path, Bounds())
            assert await log.ends() == (1, 2)
            await log.append(entries(3, 4))
            assert await all_of(log, 0, 4) == [1, 2, 3, 4]
            await log.close()

    run(main())


def test_a_damaged_byte_ends_the_log_before_it(tmp_path: Path) -> None:
    async def main() -> None:
        await written(tmp_path, 1, 2, 3)
        (file,) = tmp_path.glob("*.log")
        whole = file.read_bytes()
        for place in range(len(whole)):
            file.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
            log = DiskLog(tmp_path, Bounds())
            _, last = await log.ends()
            assert last == place * 3 // len(whole)
            await log.close()

    run(main())


def test_what_is_damaged_while_it_is_read_is_a_gap_and_no_end(tmp_path: Path) -> None:
    async def main() -> None:
        log = DiskLog(tmp_path, Bounds(messages=16_000))  # a thousand in a segment
        await log.append(entries(*range(1, 5_001)))
        first, second, *_ = sorted(tmp_path.glob("*.log"))
        first.write_bytes(b"x" * 100)
        second.unlink()
        stretch = await log.read(0, 10)
        assert stretch.first == 2_001
        assert await all_of(log, 2_000, 5_000) == list(range(2_001, 5_001))
        await log.close()

    run(main())


def test_it_is_for_its_owner_alone(tmp_path: Path) -> None:
    with running(store=store_of(str(tmp_path / "logs"))) as relay:
        kernel_id = spawn(relay.url, token=TOKEN)
        there = [tmp_path / "logs" / kernel_id, *(tmp_path / "logs" / kernel_id).iterdir()]
        modes = {stat.S_IMODE(path.stat().st_mode) for path in there}
        assert modes <= {0o700, 0o600}
        assert len(there) == 3
        shutdown(relay.url, kernel_id, token=TOKEN)
        assert not (tmp_path / "logs" / kernel_id).exists()


def test_what_a_kernel_said_outlives_its_relay(tmp_path: Path) -> None:
    with running(store=store_of(str(tmp_path))) as relay:
        kernel_id = spawn(relay.url, token=TOKEN)
        kernel = connect(relay.url, kernel_id, token=TOKEN)
        position = disconnect(kernel)
        with connect(relay.url, kernel_id, token=TOKEN) as kernel:
            kernel.run("6 * 7")
    with running(store=store_of(str(tmp_path))) as relay:
        (model,) = list_kernels(relay.url, token=TOKEN)
        assert (model.id, model.name, model.state) == (kernel_id, "python3", "dead")
        with connect(relay.url, kernel_id, token=TOKEN, since=position) as kernel:
            results = kernel.iopub.pipe(ec.of_message_type("execute_result"))
            heard: list[ec.AnyMessage] = []
            watching = results.pipe(ops.do_action(heard.append))
            with pytest.raises(KernelDied):
                ec.wait(watching, timeout=DEADLINE)
        assert [message.content["data"]["text/plain"] for message in heard] == ["42"]
        shutdown(relay.url, kernel_id, token=TOKEN)
        assert list_kernels(relay.url, token=TOKEN) == ()
        assert not (tmp_path / kernel_id).exists()


def test_a_relay_that_was_killed_has_no_end_in_its_log_until_the_next_finds_it(
    tmp_path: Path,
) -> None:
    run(written(tmp_path / "a-kernel", 1, 2))
    (tmp_path / "a-kernel" / "kernel.json").write_text('{"id": "a-kernel", "name": "python3"}')
    for _ in range(2):
        with running(store=store_of(str(tmp_path))) as relay:
            (model,) = list_kernels(relay.url, token=TOKEN)
            assert (model.state, model.first, model.last) == ("dead", 1, 3)


def test_two_relays_have_not_one_directory(tmp_path: Path) -> None:
    with running(store=store_of(str(tmp_path))):
        with pytest.raises(ConnectionFailed, match="another relay"):
            with running(store=store_of(str(tmp_path))):
                pass
    with running(store=store_of(str(tmp_path))):
        pass


@pytest.mark.parametrize("where", ["/proc/nothing", "/dev/null/logs"])
def test_a_place_that_is_none(where: str) -> None:
    with pytest.raises(ConnectionFailed, match="cannot keep"), running(store=store_of(where)):
        pass


def test_a_disk_that_is_full_is_told_and_the_rest_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = DiskLog._write
    full = False

    def maybe(self: DiskLog, segment: Any, data: bytes) -> None:
        if full:
            raise OSError(28, os.strerror(28))
        write(self, segment, data)

    monkeypatch.setattr(DiskLog, "_write", maybe)
    with running(store=store_of(str(tmp_path))) as relay:
        kernel_id = spawn(relay.url, token=TOKEN)
        with connect(relay.url, kernel_id, token=TOKEN) as kernel:
            missing = kernel.errors.pipe(ops.take(1))
            told: list[Exception] = []
            missing.subscribe(told.append)
            full = True
            kernel.shell.on_next(ec.execute_request("'lost'"))
            with pytest.raises(ec.RequestTimeout):
                ec.wait(kernel.kernel_info(timeout=1.0), timeout=DEADLINE)
            full = False
            assert kernel.run("6 * 7").text == "42"
            assert "could not be kept" in str(told[0])
        shutdown(relay.url, kernel_id, token=TOKEN)


def test_an_entry_is_what_it_was(tmp_path: Path) -> None:
    entry = Entry("status", "", "", b"{}", (b"\x00",))

    async def main() -> None:
        log = DiskLog(tmp_path, Bounds())
        await log.append([entry])
        await log.close()
        again = DiskLog(tmp_path, Bounds())
        assert (await again.read(0, 1)).entries == [entry]
        await again.close()

    run(main())
