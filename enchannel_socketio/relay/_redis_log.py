"""A log as a Redis Stream: one relay appends to it, and any may read. A position is the id of an entry."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from enchannel.backends import EventRecord
from enchannel.errors import ConnectionFailed, EnchannelError, MalformedFrame
from enchannel_socketio.relay._log import Bounds, Entry, Log, MemoryLog, Stretch
from enchannel_socketio.relay._redis_calls import end_all, patiently, told

if TYPE_CHECKING:
    from redis.asyncio import Redis

__all__ = ["KEPT", "PREFIX", "RedisLog"]

T = TypeVar("T")

PREFIX = "enchannel:relay:"
KEPT = 7 * 86_400  # seconds for which what is known of a kernel whose relay has ended is there
BLOCK = 1_000  # milliseconds that a reader waits in Redis
AT_ONCE = 500  # entries that are read or written at once
HEAVY = 4 << 20  # bytes that are written at once, unless one entry alone has more
TAIL = Bounds(messages=4_096, bytes=16 << 20)  # of a log, in memory, for those who keep up
RETURNED = Entry.of_event(
    EventRecord.of(
        EnchannelError(
            "the relay stood still for so long that others took it for dead; the kernel goes on"
        )
    )
)
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Entry).decode


class RedisLog(Log):
    """A log in a Stream.

    While Redis is away, who appends and who reads waits. Those who keep up are served from memory: by one
    reader for all of them, or by what was appended here.

    Args:
        redis: Where.
        kernel_id: Whose.
        bounds: How much it keeps.
        is_ours: Whether it is new, and we append to it.

    Attributes:
        key: Of the Stream.
    """

    def __init__(
        self, redis: Redis, kernel_id: str, bounds: Bounds, *, is_ours: bool = False
    ) -> None:
        self.key = f"{PREFIX}{kernel_id}:log"
        self._redis = redis
        self._bounds = bounds
        self._is_ours = is_ours
        self._last = 0  # the position up to which all is known
        self._sizes: deque[int] = deque()  # of what we have appended, and is still there
        self._bytes = 0
        self._untrue: list[bytes] = []  # entries of others, who took us for dead
        self._appending = asyncio.Lock()
        # What comes last; None: nobody has asked for it yet.
        self._tail: MemoryLog | None = MemoryLog(TAIL) if is_ours else None
        self._tasks: set[asyncio.Future[None]] = set()
        self._is_closed = False

    # -- of the relay that has the kernel ---------------------------------------------------------

    async def append(self, entries: Sequence[Entry]) -> None:
        # To its end, also when who appends has gone: Redis may have it already.
        await asyncio.shield(self._do(self._append(entries)))

    async def take_back(self) -> None:
        """That another relay has told the end of the kernel, which goes on."""
        await self.append(())

    async def _append(self, entries: Sequence[Entry]) -> None:
        async with self._appending:
            waiting = deque(entries)
            while True:
                await self._patiently(lambda: self._add(waiting))
                if not waiting:
                    return

    async def _add(self, waiting: deque[Entry]) -> None:
        """Some of what waits, in order, and none of it twice.

        A Redis that was lost in the middle may have taken it; and others may have told the end of a
        kernel whose relay stood still.
        """
        some: list[Entry] = []
        gone = 0

        async def add(pipeline: Any) -> None:
            nonlocal some, gone
            for key, item in await pipeline.xrange(self.key, min=f"({self._last}-0"):
                await self._take_over(key, _entry_of(item), waiting)
            some = list(_light(waiting))
            gone = self._superfluous(some)
            pipeline.multi()
            for position, entry in enumerate(some, self._last + 1):
                pipeline.xadd(self.key, {"e": _encode(entry)}, id=f"{position}-0")
            pipeline.expire(self.key, KEPT)
            if self._untrue:
                pipeline.xdel(self.key, *self._untrue)
            if gone:
                first = self._last - len(self._sizes) + 1
                pipeline.xtrim(self.key, minid=f"{first + gone}-0", approximate=False)

        await self._redis.transaction(add, self.key)
        self._untrue.clear()
        await self._keep(some)
        for _ in some:
            waiting.popleft()
        for _ in range(gone):
            self._bytes -= self._sizes.popleft()

    async def _take_over(self, key: bytes, entry: Entry, waiting: deque[Entry]) -> None:
        """Something is there that we did not know of."""
        position = _position(key)
        while self._last + 1 < position:  # one of others, which we have taken back
            await self._keep([RETURNED])
        if waiting and entry == waiting[0]:
            await self._keep([waiting.popleft()])
        else:
            self._untrue.append(key)
            await self._keep([RETURNED])

    async def _keep(self, entries: Sequence[Entry]) -> None:
        assert self._tail is not None  # noqa: S101  # it is ours
        self._last += len(entries)
        for entry in entries:
            self._sizes.append(entry.size)
            self._bytes += entry.size
        await self._tail.append(entries)

    def _superfluous(self, more: Sequence[Entry]) -> int:
        """How many of the oldest are too much, when there are some more."""
        sizes = [entry.size for entry in more]
        count, size = len(self._sizes) + len(sizes), self._bytes + sum(sizes)
        gone = 0
        for oldest in chain(self._sizes, sizes):
            fits = count - gone <= self._bounds.messages and size <= self._bounds.bytes
            if fits or count - gone <= 1:
                break
            gone += 1
            size -= oldest
        return gone

    # -- of one that has not ----------------------------------------------------------------------

    async def end(self, error: EnchannelError) -> None:
        """Append the end, where the relay that had the kernel could not. Of several who do, one does.

        Raises:
            ConnectionFailed: Redis is away, or the kernel has just said something.
        """
        there: Any = await told(self._redis.xinfo_stream(self.key))
        newest = there["last-entry"]
        if newest and _entry_of(newest[1]).is_end:
            return
        entry = Entry.of_event(EventRecord.of_end(error))
        # Not after the last entry, but after the last that there ever was.
        position = _position(there["last-generated-id"]) + 1
        try:
            await told(self._redis.xadd(self.key, {"e": _encode(entry)}, id=f"{position}-0"))
        except ConnectionFailed:
            _, said = await self._newest()
            if said is None or not said.is_end:
                raise

    # -- of who watches ---------------------------------------------------------------------------

    async def ends(self) -> tuple[int, int]:
        if self._is_ours:
            return self._last - len(self._sizes) + 1, self._last
        first: Any = await told(self._redis.xrange(self.key, count=1))
        last, _ = await self._newest()
        return (_position(first[0][0]) if first else last + 1), last

    async def read(self, after: int, most: int) -> Stretch:
        tail = await self._followed()
        while True:
            first, _ = await tail.ends()
            if after + 1 < first:
                found: Any = await self._patiently(
                    lambda: self._redis.xrange(self.key, min=f"({after}-0", count=most)  # noqa: B023
                )
                if found:
                    return _stretch_of(found)
                after = first - 1  # it fell off between the two
            stretch = await tail.read(after, most)
            if stretch.first == after + 1:  # else so much came that it is not at hand
                return stretch

    async def close(self) -> None:
        self._is_closed = True
        await end_all(self._tasks)

    async def _followed(self) -> MemoryLog:
        """What comes last, and is followed from now on, if it is not by us."""
        if self._tail is None:
            last, _ = await self._patiently(self._newest)
            if self._tail is None:  # nobody was quicker
                self._last = last
                self._tail = MemoryLog(TAIL, after=last)
                self._do(self._read_on(self._tail))
        return self._tail

    async def _read_on(self, tail: MemoryLog) -> None:
        while True:
            found: Any = await self._patiently(
                lambda: self._redis.xread({self.key: f"{self._last}-0"}, count=AT_ONCE, block=BLOCK)
            )
            entries: list[Entry] = []
            for key, item in chain.from_iterable(items for _, items in found or ()):
                position = _position(key)
                if (
                    position != self._last + 1
                ):  # what was between has fallen off before we came to it
                    await tail.append(entries)
                    entries = []
                    tail.skip(position - 1)
                entries.append(_entry_of(item))
                self._last = position
            if entries:
                await tail.append(entries)

    async def _newest(self) -> tuple[int, Entry | None]:
        """The last entry that is there, and where."""
        found: Any = await told(self._redis.xrevrange(self.key, count=1))
        if not found:
            return self._last, None
        return _position(found[0][0]), _entry_of(found[0][1])

    def _do(self, doing: Awaitable[None]) -> asyncio.Future[None]:
        task = asyncio.ensure_future(doing)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _patiently(self, do: Callable[[], Awaitable[T]]) -> T:
        return await patiently(do, lambda: self._is_closed)


def _position(key: bytes) -> int:
    return int(key.partition(b"-")[0])


def _entry_of(item: dict[bytes, bytes]) -> Entry:
    try:
        return _decode(item[b"e"])
    except (msgspec.MsgspecError, KeyError, UnicodeError):
        flaw = MalformedFrame(
            "an entry of the log cannot be read: no relay of this version wrote it"
        )
        return Entry.of_event(EventRecord.of(flaw))


def _stretch_of(found: Sequence[tuple[bytes, dict[bytes, bytes]]]) -> Stretch:
    """What was read, as far as it is without a hole."""
    first = _position(found[0][0])
    return Stretch(
        first,
        [
            _entry_of(item)
            for position, (key, item) in enumerate(found, first)
            if _position(key) == position
        ],
    )


def _light(entries: Iterable[Entry]) -> Iterable[Entry]:
    """So many of the first as are written at once."""
    size = 0
    for count, entry in enumerate(entries):
        size += entry.size
        if count >= AT_ONCE or (size > HEAVY and count):
            return
        yield entry
