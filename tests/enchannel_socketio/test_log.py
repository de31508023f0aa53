"""The contract of logs in memory, on disk and in Redis: positions, bounds, waiting readers."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from enchannel_socketio.relay import Bounds
from enchannel_socketio.relay._disk_log import DiskLog
from enchannel_socketio.relay._log import Entry, Log, MemoryLog
from enchannel_socketio.relay._redis_log import RedisLog
from tests.rigs import DEADLINE
from tests.rigs.redis import RedisServer

Opening = Callable[[Bounds], AbstractAsyncContextManager[Log]]


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as redis:
        yield redis


@pytest.fixture(params=["memory", "disk", "redis", "redis, of another relay"])
def opening(request: pytest.FixtureRequest, redis: RedisServer) -> Opening:
    """Return a function that opens an empty log."""

    @asynccontextmanager
    async def opened(bounds: Bounds) -> AsyncIterator[Log]:
        if request.param == "memory":
            yield MemoryLog(bounds)
        elif request.param == "disk":
            with tempfile.TemporaryDirectory() as directory:
                log = DiskLog(Path(directory), bounds)
                yield log
                await log.close()
        else:
            async with Redis.from_url(redis.url) as client:
                await client.flushall()
                ours = RedisLog(client, "a-kernel", bounds, is_writer=True)
                theirs = _Elsewhere(ours, RedisLog(client, "a-kernel", bounds))
                yield ours if request.param == "redis" else theirs
                await theirs.close()
                await ours.close()

    return opened


class _Elsewhere(Log):
    """A log that one relay appends to and another one reads."""

    def __init__(self, ours: Log, theirs: Log) -> None:
        self.append = ours.append  # type: ignore[method-assign]
        self._theirs = theirs

    async def append(self, entries: Any) -> None: ...

    async def positions(self) -> tuple[int, int]:
        return await self._theirs.positions()

    async def read(self, after: int, limit: int) -> Any:
        return await self._theirs.read(after, limit)

    async def close(self) -> None:
        await self._theirs.close()


def entries(*numbers: int, size: int = 0) -> list[Entry]:
    return [Entry("msg", "iopub", "", f"{number}".encode().ljust(size)) for number in numbers]


def numbers(some: Any) -> list[int]:
    return [int(entry.json) for entry in some]


def run(doing: Coroutine[Any, Any, None]) -> None:
    async def in_time() -> None:
        async with asyncio.timeout(DEADLINE):
            await doing

    asyncio.run(in_time())


async def all_of(log: Log, after: int, upto: int) -> list[int]:
    """Return the numbers between two positions, in as many reads as it takes."""
    found: list[int] = []
    while after < upto:
        part = await log.read(after, 100)
        assert part.first == after + 1
        found += numbers(part.entries)
        after = part.last
    return found


def test_positions_are_consecutive_from_one(opening: Opening) -> None:
    async def main() -> None:
        async with opening(Bounds()) as log:
            assert await log.positions() == (1, 0)
            await log.append(entries(1, 2, 3))
            await log.append(entries(4))
            assert await log.positions() == (1, 4)
            assert await all_of(log, 0, 4) == [1, 2, 3, 4]
            assert numbers((await log.read(1, 2)).entries) == [2, 3]
            assert numbers((await log.read(3, 100)).entries) == [4]

    run(main())


def test_log_returns_entries_unchanged(opening: Opening) -> None:
    entry = Entry(
        "msg", "stdin", "a-session", b'{"a": "\xc3\xa9"}', (b"", b"\x00\xff", b"x" * 100_000)
    )

    async def main() -> None:
        async with opening(Bounds()) as log:
            await log.append([entry])
            assert (await log.read(0, 1)).entries[0] == entry

    run(main())


def test_read_waits_and_can_be_cancelled(opening: Opening) -> None:
    async def main() -> None:
        async with opening(Bounds()) as log:
            await log.append(entries(1))
            waiting = [asyncio.create_task(log.read(1, 10)) for _ in range(10)]
            given_up = asyncio.create_task(log.read(1, 10))
            await asyncio.sleep(0)
            given_up.cancel()
            await log.append(entries(2, 3))
            for part in await asyncio.gather(*waiting):
                assert part.first == 2
                assert await all_of(log, 1, 3) == [2, 3]
            assert await all_of(log, 0, 3) == [1, 2, 3]

    run(main())


def test_large_append_is_read_completely(opening: Opening) -> None:
    async def main() -> None:
        async with opening(Bounds()) as log:
            await log.append(entries(1))
            waiting = asyncio.create_task(all_of(log, 1, 10_001))
            await asyncio.sleep(0)
            await log.append(entries(*range(2, 10_002)))
            assert await waiting == list(range(2, 10_002))
            assert await all_of(log, 0, 10_001) == list(range(1, 10_002))

    run(main())


@pytest.mark.parametrize("bounds", [Bounds(messages=64), Bounds(bytes=64_000)])
def test_oldest_entries_are_dropped(opening: Opening, bounds: Bounds) -> None:
    async def main() -> None:
        async with opening(bounds) as log:
            for number in range(1, 1_001):
                await log.append(entries(number, size=1_000))
            first, last = await log.positions()
            assert last == 1_000
            assert 60 <= last - first + 1 <= 90  # on disk, whole segments are deleted
            part = await log.read(0, 1)
            assert 1 <= part.first <= first  # the tail may still have some
            assert numbers(part.entries) == [part.first]

    run(main())


def test_oversized_newest_entry_is_kept(opening: Opening) -> None:
    async def main() -> None:
        async with opening(Bounds(bytes=1_000)) as log:
            await log.append(entries(1, size=10_000))
            await log.append(entries(2, size=10_000))
            part = await log.read(1, 1)
            assert (part.first, numbers(part.entries)) == (2, [2])

    run(main())


@pytest.mark.parametrize("moments", range(4))
def test_cancelled_append_is_atomic(opening: Opening, moments: int) -> None:
    async def main() -> None:
        async with opening(Bounds()) as log:
            await log.append(entries(1))
            given_up = asyncio.create_task(log.append(entries(2, 3, size=100_000)))
            for _ in range(moments):
                await asyncio.sleep(0)
            given_up.cancel()
            await asyncio.gather(given_up, return_exceptions=True)
            await log.append(entries(4))
            _, last = await log.positions()
            assert await all_of(log, 0, last) in ([1, 4], [1, 2, 3, 4])

    run(main())


def test_read_far_ahead_waits_for_its_position(opening: Opening) -> None:
    async def main() -> None:
        async with opening(Bounds()) as log:
            waiting = asyncio.create_task(log.read(2, 10))
            await log.append(entries(1))
            await log.append(entries(2))
            await log.append(entries(3))
            part = await waiting
            assert (part.first, numbers(part.entries)) == (3, [3])

    run(main())


@settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],  # each example opens its own log
)
@given(
    batches=st.lists(st.integers(1, 60), min_size=1, max_size=8),
    messages=st.integers(1, 100),
    size=st.integers(0, 40),
    most=st.integers(1, 80),
)
def test_readers_find_entries_at_their_positions(
    opening: Opening, batches: list[int], messages: int, size: int, most: int
) -> None:
    async def main() -> None:
        async with opening(Bounds(messages=messages, bytes=1_000)) as log:
            appended, first, last = 0, 1, 0
            for count in batches:
                await log.append(entries(*range(appended + 1, appended + count + 1), size=size))
                appended += count
                first, last = await log.positions()
                assert (last, first <= last) == (appended, True)
            for start in {0, first - 1, last // 2, last - 1}:
                after = start
                while after < last:
                    part = await log.read(after, most)
                    assert part.first > after
                    assert len(part.entries) <= most
                    found = numbers(part.entries)
                    assert found == list(range(part.first, part.last + 1))
                    after = part.last
                assert after == last

    run(main())
