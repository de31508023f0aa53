"""Floods that many clients watch through a relay, one of which may read nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from benchmarks.case import Figure, Goal, Kernels, Script, Unit, case
from benchmarks.command import main
from benchmarks.limits import raise_descriptor_limit
from benchmarks.measuring import SIDE_TIMEOUT, Measured
from benchmarks.peers.flood_server import Served, served
from benchmarks.peers.watchers import Watcher, watch

__all__ = ["SCRIPT"]

NONE = Kernels()  # the server process has its own
TEXT_SIZE = 200  # characters
MESSAGES = {1: 10_000, 10: 4_000, 50: 2_000, 200: 500}
"""The number of messages by the number of watchers."""
WARM_UP_MESSAGES = 500
MAX_KEPT_MESSAGES = 100_000  # the default
SLOW = {"watchers": 50, "messages": 250, "size": 10_000, "floods": 12}
# After these floods, a log with room for one has allocated all its memory.
FILLING_FLOODS = 3
MEMORY_POLL_INTERVAL = 0.005
PEER = "`emit` to a room, one event per message"


def enchannel_batches(kernels: Sequence[Path], watchers: int, messages: int, size: int) -> Measured:
    return asyncio.run(_flood("batches", watchers, messages, size))


def enchannel_single(kernels: Sequence[Path], watchers: int, messages: int, size: int) -> Measured:
    return asyncio.run(_flood("single", watchers, messages, size))


def emitting(kernels: Sequence[Path], watchers: int, messages: int, size: int) -> Measured:
    return asyncio.run(_flood("emitting", watchers, messages, size))


async def _flood(way: str, watchers: int, messages: int, size: int) -> Measured:
    async with _watched(way, size, MAX_KEPT_MESSAGES, watchers, 0) as (server, crowd):
        await _flood_watchers(server, crowd, WARM_UP_MESSAGES)
        before = server.cpu()
        async with _memory(server) as memory:
            await _flood_watchers(server, crowd, messages)
        cpu = server.cpu() - before
    wall = max(watcher.ended for watcher in crowd) - min(watcher.started for watcher in crowd)
    return {
        "rate": messages / wall,
        "cpu": cpu / messages / watchers,
        "growth": memory.growth,
    }


def enchannel_slow(
    kernels: Sequence[Path], watchers: int, messages: int, size: int, floods: int, slow: int
) -> Measured:
    return asyncio.run(_flood_slow("batches", watchers, messages, size, floods, slow))


def emitting_slow(
    kernels: Sequence[Path], watchers: int, messages: int, size: int, floods: int, slow: int
) -> Measured:
    return asyncio.run(_flood_slow("emitting", watchers, messages, size, floods, slow))


async def _flood_slow(
    way: str, watchers: int, messages: int, size: int, floods: int, slow: int
) -> Measured:
    """Measure the growth of the server beyond its log, which is full before."""
    async with _watched(way, size, messages, watchers, slow) as (server, crowd):
        for _ in range(FILLING_FLOODS):
            await _flood_watchers(server, crowd, messages)
        sleepers, others = crowd[:slow], crowd[slow:]
        for sleeper in sleepers:
            sleeper.sleep()
        async with _memory(server) as memory:
            for _ in range(floods):
                await _flood_watchers(server, others, messages)
    return {"growth": memory.growth}


@asynccontextmanager
async def _watched(
    way: str, size: int, kept: int, watchers: int, slow: int
) -> AsyncIterator[tuple[Served, list[Watcher]]]:
    """Run a server and the watchers of its kernel for the block."""
    raise_descriptor_limit(watchers + 200)
    with served(way, size, kept) as server:
        crowd = [await watch(server.endpoint, slow=number < slow) for number in range(watchers)]
        try:
            yield server, crowd
        finally:
            for watcher in crowd:
                watcher.leave()


async def _flood_watchers(server: Served, crowd: Sequence[Watcher], messages: int) -> None:
    """Send messages from the kernel, and wait until all watchers have received them."""
    received = [watcher.expect(messages) for watcher in crowd]
    server.flood(messages)
    async with asyncio.timeout(SIDE_TIMEOUT):
        await asyncio.gather(*received)


class _Memory:
    """Polls the resident memory of a server.

    Attributes:
        growth: The largest difference from the first value, in bytes.
    """

    def __init__(self, pid: int) -> None:
        import psutil

        self._process = psutil.Process(pid)
        self._before: int = self._process.memory_info().rss
        self.growth = 0.0

    def poll(self) -> None:
        self.growth = max(self.growth, self._process.memory_info().rss - self._before)

    async def poll_forever(self) -> None:
        while True:
            self.poll()
            await asyncio.sleep(MEMORY_POLL_INTERVAL)


@asynccontextmanager
async def _memory(server: Served) -> AsyncIterator[_Memory]:
    """Poll the memory of a server for the block."""
    memory = _Memory(server.pid)
    polling = asyncio.create_task(memory.poll_forever())
    try:
        yield memory
    finally:
        polling.cancel()
        memory.poll()


def _floods() -> Iterator[Figure]:
    batches, single, theirs = (
        {
            watchers: case(side, NONE, watchers=watchers, messages=messages, size=TEXT_SIZE)
            for watchers, messages in MESSAGES.items()
        }
        for side in ("enchannel_batches", "enchannel_single", "emitting")
    )
    for title, value, unit, goal in (
        ("messages per second", "rate", Unit.MESSAGES, Goal.NONE),
        ("CPU of the server, per message and watcher", "cpu", Unit.MICROSECONDS, Goal.FASTER),
        ("growth of the server", "growth", Unit.MEGABYTES, Goal.NONE),
    ):
        for way, ours in (("", batches), (", one event per message", single)):
            for watchers in MESSAGES if ours is batches else (50,):
                yield Figure(
                    title=f"{_title(watchers)}{way}, {title}",
                    peer=PEER,
                    ours=ours[watchers],
                    theirs=theirs[watchers],
                    unit=unit,
                    value=value,
                    goal=goal,
                )


def _title(watchers: int) -> str:
    return f"flood to {watchers} watcher{'s' if watchers > 1 else ''}"


def _slow() -> Iterator[Figure]:
    ours, theirs = (
        [case(side, NONE, **SLOW, slow=slow) for slow in (0, 1)]
        for side in ("enchannel_slow", "emitting_slow")
    )
    title = f"growth of the server, {SLOW['watchers']} watchers, one of which reads nothing"
    for suffix, peer, one, other in (
        ("", PEER, ours[1], theirs[1]),
        ("", "all watchers read", ours[1], ours[0]),
        (f", {PEER}", "all watchers read", theirs[1], theirs[0]),
    ):
        yield Figure(
            title=f"{title}{suffix}",
            peer=peer,
            ours=one,
            theirs=other,
            unit=Unit.MEGABYTES,
            value="growth",
        )


SCRIPT = Script(
    name="relay",
    method=(
        f"the server process contains an in-memory kernel that sends stream messages of {TEXT_SIZE} B as "
        f"fast as it can: {', '.join(f'{m:,} to {w}' for w, m in MESSAGES.items())} watchers. The watchers"
        " are in another process and count messages without decoding them; those of the relay receive "
        "batches unless noted, and acknowledge. The peer is a python-socketio `AsyncServer` on the same "
        "uvicorn, which serializes each message and emits it to a room. Messages per second are counted "
        "once for all watchers, from the first message at any watcher to the last at all. CPU is that of "
        "the whole server process, including the kernel, per message and watcher. Growth is the maximum "
        "of resident memory minus its first value; for the relay it is mostly the log. With the slow "
        f"watcher there are {SLOW['floods']} floods of {SLOW['messages']} messages of {SLOW['size']:,} B; "
        "the log has room for one flood, and is full at the start."
    ),
    sides={
        "enchannel_batches": enchannel_batches,
        "enchannel_single": enchannel_single,
        "emitting": emitting,
        "enchannel_slow": enchannel_slow,
        "emitting_slow": emitting_slow,
    },
    figures=(*_floods(), *_slow()),
)

if __name__ == "__main__":
    main(SCRIPT)
