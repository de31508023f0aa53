"""A kernel that floods before many who watch it through a relay, and before one who reads nothing of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from benchmarks.case import Figure, Goal, Kernels, Script, Unit, case
from benchmarks.command import main
from benchmarks.limits import raise_descriptors
from benchmarks.measuring import DEADLINE, Measured
from benchmarks.peers.flooding import Served, served
from benchmarks.peers.watching import Watcher, watch

__all__ = ["SCRIPT"]

NONE = Kernels()  # it is in the process that serves
SIZE = 200
MESSAGES = {1: 10_000, 10: 4_000, 50: 2_000, 200: 500}
"""By the number of watchers."""
WARM = 500
KEPT = 100_000  # messages, as by default
SLOW = {"watchers": 50, "messages": 250, "size": 10_000, "floods": 12}
FULL = 3  # floods after which a log with room for one has all the memory that it takes
OFTEN = 0.005  # seconds between two looks at the server's memory
PEER = "`emit` to a room, an event a message"


def enchannel_batches(kernels: Sequence[Path], watchers: int, messages: int, size: int) -> Measured:
    return asyncio.run(_flood("batches", watchers, messages, size))


def enchannel_singly(kernels: Sequence[Path], watchers: int, messages: int, size: int) -> Measured:
    return asyncio.run(_flood("singly", watchers, messages, size))


def emitting(kernels: Sequence[Path], watchers: int, messages: int, size: int) -> Measured:
    return asyncio.run(_flood("emitting", watchers, messages, size))


async def _flood(way: str, watchers: int, messages: int, size: int) -> Measured:
    async with _watched(way, size, KEPT, watchers, 0) as (server, crowd):
        await _say(server, crowd, WARM)
        before = server.cpu()
        async with _memory(server) as memory:
            await _say(server, crowd, messages)
        cpu = server.cpu() - before
    wall = max(watcher.ended for watcher in crowd) - min(watcher.began for watcher in crowd)
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
    """With a log that is full before, so that what grows is not the log."""
    async with _watched(way, size, messages, watchers, slow) as (server, crowd):
        for _ in range(FULL):
            await _say(server, crowd, messages)
        sleepers, others = crowd[:slow], crowd[slow:]
        for sleeper in sleepers:
            sleeper.sleep()
        async with _memory(server) as memory:
            for _ in range(floods):
                await _say(server, others, messages)
    return {"growth": memory.growth}


@asynccontextmanager
async def _watched(
    way: str, size: int, kept: int, watchers: int, slow: int
) -> AsyncIterator[tuple[Served, list[Watcher]]]:
    """A server, and those who watch its kernel, until the end of the block."""
    raise_descriptors(watchers + 200)
    with served(way, size, kept) as server:
        crowd = [await watch(server.place, slow=number < slow) for number in range(watchers)]
        try:
            yield server, crowd
        finally:
            for watcher in crowd:
                watcher.leave()


async def _say(server: Served, crowd: Sequence[Watcher], messages: int) -> None:
    """Let the kernel say so much, until all have heard it."""
    heard = [watcher.expect(messages) for watcher in crowd]
    server.flood(messages)
    async with asyncio.timeout(DEADLINE):
        await asyncio.gather(*heard)


class _Memory:
    """Looks at the resident memory of a server.

    Attributes:
        growth: By how much it was more, at most, than at the beginning.
    """

    def __init__(self, pid: int) -> None:
        import psutil

        self._process = psutil.Process(pid)
        self._before: int = self._process.memory_info().rss
        self.growth = 0.0

    def look(self) -> None:
        self.growth = max(self.growth, self._process.memory_info().rss - self._before)

    async def watch(self) -> None:
        while True:
            self.look()
            await asyncio.sleep(OFTEN)


@asynccontextmanager
async def _memory(server: Served) -> AsyncIterator[_Memory]:
    """Looked at until the end of the block."""
    memory = _Memory(server.pid)
    looking = asyncio.create_task(memory.watch())
    try:
        yield memory
    finally:
        looking.cancel()
        memory.look()


def _floods() -> Iterator[Figure]:
    batches, singly, theirs = (
        {
            watchers: case(side, NONE, watchers=watchers, messages=messages, size=SIZE)
            for watchers, messages in MESSAGES.items()
        }
        for side in ("enchannel_batches", "enchannel_singly", "emitting")
    )
    for title, value, unit, goal in (
        ("messages a second", "rate", Unit.MESSAGES, Goal.NONE),
        ("CPU of the server, a message to one of them", "cpu", Unit.MICROSECONDS, Goal.FASTER),
        ("growth of the server", "growth", Unit.MEGABYTES, Goal.NONE),
    ):
        for way, ours in (("", batches), (", an event a message", singly)):
            for watchers in MESSAGES if ours is batches else (50,):
                yield Figure(
                    title=f"{_watched_by(watchers)}{way}, {title}",
                    peer=PEER,
                    ours=ours[watchers],
                    theirs=theirs[watchers],
                    unit=unit,
                    value=value,
                    goal=goal,
                )


def _watched_by(watchers: int) -> str:
    return f"flood before {watchers} watcher{'s' if watchers > 1 else ''}"


def _slow() -> Iterator[Figure]:
    ours, theirs = (
        [case(side, NONE, **SLOW, slow=slow) for slow in (0, 1)]
        for side in ("enchannel_slow", "emitting_slow")
    )
    title = f"growth of the server, {SLOW['watchers']} watchers of whom one reads nothing"
    for who, peer, one, other in (
        ("", PEER, ours[1], theirs[1]),
        ("", "all of them read", ours[1], ours[0]),
        (f", {PEER}", "all of them read", theirs[1], theirs[0]),
    ):
        yield Figure(
            title=f"{title}{who}",
            peer=peer,
            ours=one,
            theirs=other,
            unit=Unit.MEGABYTES,
            value="growth",
        )


SCRIPT = Script(
    name="relay",
    method=(
        "the server, and in its process a kernel in memory that says stream messages of "
        f"{SIZE} B as fast as it can: {', '.join(f'{m:,} before {w}' for w, m in MESSAGES.items())}. "
        "The watchers are in another process, and count what comes without reading it; those of the "
        "relay ask for batches where nothing else is said, and acknowledge. The peer is a python-socketio "
        "`AsyncServer` on the same uvicorn, which makes JSON of each message and emits it to the room "
        "that they are in. Messages a second are the kernel's, from the first that any watcher has until "
        "all have the last; CPU is that of the whole process, the kernel in it, for a message to one "
        "watcher; growth is the resident memory at its most, less that before: for the relay that is what "
        f"its log keeps, above all. Of the slow one, {SLOW['floods']} floods of {SLOW['messages']} "
        f"messages of {SLOW['size']:,} B; the log has room for one of them, and is full before."
    ),
    sides={
        "enchannel_batches": enchannel_batches,
        "enchannel_singly": enchannel_singly,
        "emitting": emitting,
        "enchannel_slow": enchannel_slow,
        "emitting_slow": emitting_slow,
    },
    figures=(*_floods(), *_slow()),
)

if __name__ == "__main__":
    main(SCRIPT)
