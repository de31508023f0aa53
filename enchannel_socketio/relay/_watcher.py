"""One who watches a kernel: reads its log by position, no faster than it acknowledges."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import msgspec

from enchannel_socketio._packet import BATCH, Event, Prepared, renumbered
from enchannel_socketio.relay._log import Entry, Log, Stretch

__all__ = ["Batches", "Emit", "Watcher", "Wish"]

TOGETHER = 64  # entries in a batch, at most
HEAVY = 256 << 10  # bytes in a batch, unless one entry alone has more
AHEAD = 4 << 20  # bytes that may be on their way
PATIENCE = 10.0  # seconds after which one that acknowledges nothing is told that it has to
CREDIT = 1_000
CREDIT_MOST = 10_000

Emit = Callable[[str, object], Awaitable[None]]
"""Say an event to the client: its name, and what it tells."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What a client wants to see, and how.

    Attributes:
        channels: Of the messages.
        statuses: Whether it is told what becomes of link and kernel, and what has fallen off the log.
        session: Whose answers; empty: everybody's.
        batch: Whether events may come many at a time.
        credit: How many messages may be on their way.
    """

    channels: frozenset[str]
    statuses: bool
    session: str = ""
    batch: bool = False
    credit: int = CREDIT

    def wants(self, entry: Entry) -> bool:
        """Whether an entry is for it."""
        if entry.event != "msg":
            return self.statuses
        if entry.channel not in self.channels:
            return False
        return not (self.session and entry.session and entry.session != self.session)


class Watcher:
    """Tells one client what is in a log.

    Args:
        log: Of the kernel.
        wish: What the client wants.
        position: After which it begins.
        emit: Says something to it.
        batches: Where batches are kept that others may want as well.
    """

    def __init__(self, log: Log, wish: Wish, position: int, emit: Emit, batches: Batches) -> None:
        self._log = log
        self._wish = wish
        self._position = self._told = position
        self._emit = emit
        self._batches = batches
        self._sent: deque[tuple[int, int, int]] = deque()  # position, messages, bytes
        self._messages = self._bytes = 0  # that are on their way
        self._acknowledged = asyncio.Event()
        self._moved = asyncio.Event()
        self._ever = False

    def acknowledge(self, position: int) -> None:
        """The client has handled all up to there."""
        self._ever = True
        while self._sent and self._sent[0][0] <= position:
            _, messages, size = self._sent.popleft()
            self._messages -= messages
            self._bytes -= size
        self._acknowledged.set()

    async def until(self, position: int) -> None:
        """Wait until all up to there was told."""
        while self._position < position:
            self._moved.clear()
            await self._moved.wait()

    async def run(self) -> None:
        """Tell it everything, for as long as it is there."""
        while True:
            await self._credit()
            # batches end where others' do, so that one serves all
            most = TOGETHER - self._position % TOGETHER
            if not self._wish.batch:
                most = min(most, max(1, self._wish.credit - self._messages))
            stretch = _light(await self._log.read(self._position, most))
            if (missed := stretch.first - 1 - self._position) > 0:
                await self._tell_gap(self._position + 1, self._position + missed)
            if self._wish.batch:
                await self._tell_together(stretch)
            else:
                await self._tell_singly(stretch)
            self._position = stretch.last
            self._moved.set()

    async def _credit(self) -> None:
        while self._messages >= self._wish.credit or self._bytes >= AHEAD:
            self._acknowledged.clear()
            try:
                async with asyncio.timeout(None if self._ever else PATIENCE):
                    await self._acknowledged.wait()
            except TimeoutError:
                self._ever = True
                await self._emit(
                    "refused",
                    {
                        "error": f"{self._messages} messages are on their way, and none was acknowledged: "
                        'emit("ack", position) for the others to come'
                    },
                )

    async def _tell_gap(self, first: int, last: int) -> None:
        if not self._wish.statuses:
            self._told = last
            return
        told = msgspec.json.encode({"from": first, "to": last})
        if self._wish.batch:
            batch = Prepared(_batch(self._told, last, [Event("gap", msgspec.Raw(told), last)]))
            await self._send(BATCH, batch, last, 1)
        else:
            await self._send("gap", (Prepared(told), last), last, 1)
        self._told = last

    async def _tell_singly(self, stretch: Stretch) -> None:
        for position, entry in enumerate(stretch.entries, stretch.first):
            if self._wish.wants(entry):
                told = Prepared(entry.json, entry.buffers)
                await self._send(entry.event, (told, position), position, 1)

    async def _tell_together(self, stretch: Stretch) -> None:
        count, batch = self._batches.of(self._told, stretch, self._wish)
        if count:
            await self._send(BATCH, batch, stretch.last, count)
            self._told = stretch.last

    async def _send(
        self, name: str, told: Prepared | tuple[Prepared, int], position: int, messages: int
    ) -> None:
        size = len(told if isinstance(told, Prepared) else told[0])
        self._sent.append((position, messages, size))
        self._messages += messages
        self._bytes += size
        await self._emit(name, told)


class Batches:
    """Batches that several watchers of one kernel are sent, made once."""

    def __init__(self, kept: int = 32) -> None:
        self._kept = kept
        self._made: OrderedDict[object, tuple[int, Prepared]] = OrderedDict()

    def of(self, after: int, stretch: Stretch, wish: Wish) -> tuple[int, Prepared]:
        """How many events of a stretch somebody wants to see, and those as a batch."""
        directed = any(entry.session for entry in stretch.entries)
        key = (
            after,
            stretch.first,
            stretch.last,
            wish.channels,
            wish.statuses,
            wish.session if directed else "",
        )
        made = self._made.get(key)
        if made is None:
            made = self._made[key] = _prepare(after, stretch, wish)
            if len(self._made) > self._kept:
                self._made.popitem(last=False)
        return made


def _light(stretch: Stretch) -> Stretch:
    """So much of it as one batch should have."""
    size = 0
    for count, entry in enumerate(stretch.entries):
        size += entry.size
        if size > HEAVY and count:
            return Stretch(stretch.first, stretch.entries[:count])
    return stretch


def _prepare(after: int, stretch: Stretch, wish: Wish) -> tuple[int, Prepared]:
    events: list[Event] = []
    attachments: list[bytes] = []
    for position, entry in enumerate(stretch.entries, stretch.first):
        if wish.wants(entry):
            told = entry.json
            if entry.buffers and attachments:
                told = renumbered(told, len(entry.buffers), len(attachments))
            events.append(Event(entry.event, msgspec.Raw(told), position))
            attachments += entry.buffers
    return len(events), Prepared(_batch(after, stretch.last, events), attachments)


def _batch(after: int, upto: int, events: Sequence[Event]) -> bytes:
    return msgspec.json.encode({"after": after, "upto": upto, "events": events})
