"""A log as a Redis Stream: one relay appends to it, and any relay reads it. Positions are entry ids."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from itertools import chain, takewhile
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from enchannel.backends import EventRecord
from enchannel.errors import (
    ConnectionFailed,
    EnchannelError,
    MalformedFrame,
    MessagesMayBeMissing,
)
from enchannel_socketio._packet import MSG
from enchannel_socketio.relay._log import STATUS, Bounds, Entry, Log, LogSlice, MemoryLog
from enchannel_socketio.relay._redis_calls import (
    RETRY_INTERVAL,
    call,
    call_until_closed,
    cancel_all,
    is_wrong_type,
)

if TYPE_CHECKING:
    from redis.asyncio import Redis

__all__ = ["BLOCK_MS", "LOG_LIFETIME", "PREFIX", "RedisLog"]

T = TypeVar("T")

PREFIX = "enchannel:relay:"
# Seconds after the end of its relay at which the data of a kernel expires.
LOG_LIFETIME = 7 * 86_400
# The timeout of a blocking read.
BLOCK_MS = 1_000
# Of one read or write.
MAX_BATCH_ENTRIES = 500
# Of one write, unless a single entry is larger.
MAX_BATCH_BYTES = 4 << 20
# The newest entries are also in memory, for watchers that keep up.
TAIL_BOUNDS = Bounds(messages=4_096, bytes=16 << 20)
RETURNED_ENTRY = Entry.of_event(
    EventRecord.of(
        EnchannelError(
            "another relay reported the kernel as dead because this relay did not respond; the kernel "
            "still runs"
        )
    )
)
FOREIGN_ENTRY = Entry.of_event(
    EventRecord.of(
        MessagesMayBeMissing(
            "an entry that no relay wrote was removed from the log; check which other programs use this "
            "Redis, and give the relays a database of their own"
        )
    )
)
# A log with a higher position cannot be continued: JavaScript could not represent it, or Redis refuses it.
MAX_POSITION = 1 << 52
# A gap that is no longer is filled with placeholders; a foreign entry may leave one of any length.
MAX_FILLED_GAP = 1_000
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Entry).decode


class RedisLog(Log):
    """A log in a Redis Stream.

    While Redis cannot be reached, ``append`` and ``read`` wait. Watchers that keep up are served from
    memory: one task reads the Stream for all of them, unless this relay appends to it.

    Args:
        redis: The Redis.
        kernel_id: The id of the kernel.
        bounds: The maximum size.
        is_writer: True if the log is new, and this relay appends to it.

    Attributes:
        key: The key of the Stream.
    """

    def __init__(
        self, redis: Redis, kernel_id: str, bounds: Bounds, *, is_writer: bool = False
    ) -> None:
        self.key = f"{PREFIX}{kernel_id}:log"
        self._redis = redis
        self._bounds = bounds
        self._is_writer = is_writer
        # The last known position.
        self._last = 0
        # The positions and sizes of the entries in the Stream, if this relay appends to it.
        self._stored: deque[tuple[int, int]] = deque()
        self._bytes = 0
        # The ids of entries of others: the ends with which they reported this relay as dead, or garbage.
        self._foreign: list[bytes] = []
        self._appending = asyncio.Lock()
        # The newest entries; None until the first read.
        self._tail: MemoryLog | None = MemoryLog(TAIL_BOUNDS) if is_writer else None
        self._tasks: set[asyncio.Future[None]] = set()
        self._is_closed = False

    # -- at the relay of the kernel ---------------------------------------------------------------

    async def append(self, entries: Sequence[Entry]) -> None:
        # Completed also if the caller is cancelled: Redis may have the entries already.
        await asyncio.shield(self._start(self._append(entries)))

    async def take_back(self) -> None:
        """Remove the end of the kernel that another relay has appended; the kernel still runs."""
        await self.append(())

    async def _append(self, entries: Sequence[Entry]) -> None:
        async with self._appending:
            waiting = deque(entries)
            while True:
                await self._call_until_closed(lambda: self._add(waiting))
                if not waiting:
                    return

    async def _add(self, waiting: deque[Entry]) -> None:
        """Append the first waiting entries, in order, and none of them twice.

        If the connection was lost during an earlier attempt, Redis may have them already. Another relay may
        have appended the end of the kernel while this relay did not respond.
        """
        batch: list[Entry] = []
        excess = 0

        async def add(pipeline: Any) -> None:
            nonlocal batch, excess
            unknown = await pipeline.xrange(
                self.key, min=f"({self._last}-0", count=MAX_BATCH_ENTRIES
            )
            can_continue = True
            for key, item in unknown:
                can_continue = can_continue and _position(key) < MAX_POSITION
                if can_continue:
                    await self._on_unknown_entry(key, item, waiting)
            # More of them may follow, which have to be handled first.
            is_last = len(unknown) < MAX_BATCH_ENTRIES or not can_continue
            batch = list(_first_batch(waiting)) if is_last else []
            excess = self._excess_with(batch)
            pipeline.multi()
            if not can_continue:
                pipeline.delete(self.key)
                self._forget_stored()
                excess = 0
            elif self._foreign:
                pipeline.xdel(self.key, *self._foreign)
            for position, entry in enumerate(batch, self._last + 1):
                pipeline.xadd(self.key, {"e": _encode(entry)}, id=f"{position}-0")
            pipeline.expire(self.key, LOG_LIFETIME)
            if excess:
                first = self._first_after(excess, batch)
                pipeline.xtrim(self.key, minid=f"{first}-0", approximate=False)

        try:
            await self._redis.transaction(add, self.key)
        except Exception as error:
            if not is_wrong_type(error):
                raise
            # The key of this log, which has a random name, holds something else than a Stream.
            await self._redis.delete(self.key)
            self._forget_stored()
            return
        self._foreign.clear()
        await self._remember(batch)
        for _ in batch:
            waiting.popleft()
        for _ in range(excess):
            self._bytes -= self._stored.popleft()[1]

    async def _on_unknown_entry(
        self, key: bytes, item: dict[bytes, bytes], waiting: deque[Entry]
    ) -> None:
        """Handle an entry in the Stream that this relay has not remembered."""
        position, entry = _position(key), _entry_of(item)
        if _is_own_id(key) and position <= self._last + 1 + MAX_FILLED_GAP:
            # The positions between had false ends, which were removed.
            while self._last + 1 < position:
                await self._remember([RETURNED_ENTRY])
            if waiting and entry == waiting[0]:
                await self._remember([waiting.popleft()])
                return
        self._foreign.append(key)
        if position > self._last + 1:
            assert self._tail is not None  # noqa: S101  # is_writer
            self._tail.skip(position - 1)
            self._last = position - 1
        # The next entry needs a higher position.
        await self._remember([RETURNED_ENTRY if entry.is_end else FOREIGN_ENTRY])

    async def _remember(self, entries: Sequence[Entry]) -> None:
        assert self._tail is not None  # noqa: S101  # is_writer
        for entry in entries:
            self._last += 1
            self._stored.append((self._last, entry.size))
            self._bytes += entry.size
        await self._tail.append(entries)

    def _forget_stored(self) -> None:
        self._stored.clear()
        self._bytes = 0
        self._foreign.clear()

    def _first_after(self, excess: int, added: Sequence[Entry]) -> int:
        """Return the first position that is kept if the oldest entries are removed."""
        if excess < len(self._stored):
            return self._stored[excess][0]
        return self._last + 1 + excess - len(self._stored)

    def _excess_with(self, added: Sequence[Entry]) -> int:
        """Return how many of the oldest entries exceed the bounds once entries are added."""
        sizes = [entry.size for entry in added]
        count, size = len(self._stored) + len(sizes), self._bytes + sum(sizes)
        excess = 0
        for oldest in chain((stored for _, stored in self._stored), sizes):
            fits = count - excess <= self._bounds.messages and size <= self._bounds.bytes
            if fits or count - excess <= 1:
                break
            excess += 1
            size -= oldest
        return excess

    # -- at other relays --------------------------------------------------------------------------

    async def end(self, error: EnchannelError) -> None:
        """Append the end of a kernel whose relay is dead. If several relays try, one succeeds.

        Raises:
            ConnectionFailed: Redis cannot be reached, or an entry was appended at the same moment.
        """
        info: Any = await call(self._redis.xinfo_stream(self.key))
        last, newest = await self._newest()
        if newest is not None and newest.is_end:
            return
        entry = Entry.of_event(EventRecord.of_end(error))
        # The last entry may have been deleted, so its position is taken from the Stream.
        position = _position(info["last-generated-id"]) + 1
        if position > MAX_POSITION:
            # Watchers must receive the end, even if the log cannot be continued.
            await call(self._redis.delete(self.key))
            position = last + 1
        try:
            await call(self._redis.xadd(self.key, {"e": _encode(entry)}, id=f"{position}-0"))
        except ConnectionFailed:
            _, entry_there = await self._newest()
            if entry_there is None or not entry_there.is_end:
                raise

    # -- for watchers -----------------------------------------------------------------------------

    async def positions(self) -> tuple[int, int]:
        if self._is_writer:
            return self._stored[0][0] if self._stored else self._last + 1, self._last
        first: Any = await call(self._redis.xrange(self.key, count=1))
        last, _ = await self._newest()
        return (_position(first[0][0]) if first else last + 1), last

    async def read(self, after: int, limit: int) -> LogSlice:
        tail = await self._follow()
        while True:
            first, _ = await tail.positions()
            if after + 1 < first:
                found: Any = await self._call_until_closed(
                    lambda: self._redis.xrange(
                        self.key,
                        min=f"({after}-0",  # noqa: B023
                        max=f"{MAX_POSITION}-0",
                        count=limit,
                    )
                )
                if entries := _slice_of(found):
                    return entries
                # Dropped since the positions were read.
                after = first - 1
            entries = await tail.read(after, limit)
            # Otherwise the tail has dropped entries meanwhile, and they are read from Redis.
            if entries.first == after + 1:
                return entries

    async def close(self) -> None:
        self._is_closed = True
        await cancel_all(self._tasks)

    async def _follow(self) -> MemoryLog:
        """Return the newest entries; start to read them from Redis if another relay appends them."""
        if self._tail is None:
            last, _ = await self._call_until_closed(self._newest)
            if self._tail is None:  # still
                self._last = last
                self._tail = MemoryLog(TAIL_BOUNDS, after=last)
                self._start(self._read_new_entries(self._tail))
        return self._tail

    async def _read_new_entries(self, tail: MemoryLog) -> None:
        after = f"{self._last}-0"
        while True:
            found: Any = await self._call_until_closed(
                lambda: self._redis.xread(
                    {self.key: after},  # noqa: B023
                    count=MAX_BATCH_ENTRIES,
                    block=BLOCK_MS,
                )
            )
            entries: list[Entry] = []
            for key, item in chain.from_iterable(items for _, items in found or ()):
                position = _position(key)
                if position > MAX_POSITION:
                    # The relay of the kernel removes it with its next entry.
                    await asyncio.sleep(RETRY_INTERVAL)
                    break
                after = key.decode()
                if position <= self._last:  # not an id that a relay uses
                    continue
                # The entries between were dropped before they were read.
                if position != self._last + 1:
                    await tail.append(entries)
                    entries = []
                    tail.skip(position - 1)
                entries.append(_entry_of(item))
                self._last = position
            if entries:
                await tail.append(entries)

    async def _newest(self) -> tuple[int, Entry | None]:
        """Return the position of the last entry, and the entry."""
        found: Any = await call(
            self._redis.xrevrange(self.key, max=f"{MAX_POSITION}-0", min="-", count=1)
        )
        if not found:
            return self._last, None
        return _position(found[0][0]), _entry_of(found[0][1])

    def _start(self, coroutine: Awaitable[None]) -> asyncio.Future[None]:
        task = asyncio.ensure_future(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _call_until_closed(self, make_call: Callable[[], Awaitable[T]]) -> T:
        return await call_until_closed(make_call, lambda: self._is_closed)


def _position(key: bytes) -> int:
    return int(key.partition(b"-")[0])


def _is_own_id(key: bytes) -> bool:
    return key.endswith(b"-0")


def _entry_of(item: dict[bytes, bytes]) -> Entry:
    try:
        entry = _decode(item[b"e"])
        # An entry that is not JSON would make its whole batch unreadable for clients.
        msgspec.json.decode(entry.json, type=msgspec.Raw)
        entry.json.decode()
        if entry.event in (MSG, STATUS):
            return entry
    except (msgspec.MsgspecError, KeyError, UnicodeError):
        pass
    flaw = MalformedFrame(
        "an entry of the log cannot be read; it was not written by a relay of this version"
    )
    return Entry.of_event(EventRecord.of(flaw))


def _slice_of(found: Sequence[tuple[bytes, dict[bytes, bytes]]]) -> LogSlice | None:
    """Return the entries up to the first gap; None if there are none."""
    own = [(_position(key), item) for key, item in found if _is_own_id(key)]
    if not own:
        return None
    first = own[0][0]
    upto_gap = takewhile(lambda found: found[0] == found[1][0], enumerate(own, first))
    return LogSlice(first, [_entry_of(item) for _, (_, item) in upto_gap])


def _first_batch(entries: Iterable[Entry]) -> Iterable[Entry]:
    """Yield the first entries, as many as are written at once."""
    size = 0
    for count, entry in enumerate(entries):
        size += entry.size
        if count >= MAX_BATCH_ENTRIES or (size > MAX_BATCH_BYTES and count):
            return
        yield entry
