"""Sends the log of a kernel to one client, no faster than the client acknowledges."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import msgspec

from enchannel_socketio._packet import BATCH, MSG, EncodedJson, Event, renumber_attachments
from enchannel_socketio.relay._log import Entry, Log, LogSlice

__all__ = ["DEFAULT_CREDIT", "MAX_CREDIT", "BatchCache", "Emit", "WatchOptions", "Watcher"]

MAX_BATCH_ENTRIES = 64
# A batch has at most this many bytes, or a single entry.
MAX_BATCH_BYTES = 256 << 10
MAX_UNACKNOWLEDGED_BYTES = 4 << 20
# Seconds after which a client that has used up its credit and never acknowledged is reminded.
ACK_TIMEOUT = 10.0
DEFAULT_CREDIT = 1_000
MAX_CREDIT = 10_000

Emit = Callable[[str, object], Awaitable[None]]
"""Sends an event to the client: its name and its argument."""


@dataclass(frozen=True, slots=True)
class WatchOptions:
    """The entries that a client receives, and their format.

    Attributes:
        channels: The channels whose messages are sent.
        statuses: Also send link events, and gaps of entries that the log has dropped.
        session: Send only replies to this session; empty: to all sessions.
        batch: Send several events at a time, as batches.
        credit: The maximum number of unacknowledged messages.
    """

    channels: frozenset[str]
    statuses: bool
    session: str = ""
    batch: bool = False
    credit: int = DEFAULT_CREDIT

    def selects(self, entry: Entry) -> bool:
        """Return True if the client receives an entry."""
        if entry.event != MSG:
            return self.statuses
        if entry.channel not in self.channels:
            return False
        return not (self.session and entry.session and entry.session != self.session)


class Watcher:
    """Sends the entries of a log to one client.

    Args:
        log: The log of the kernel.
        options: The entries to send.
        position: The position before the first entry to send.
        emit: Sends an event to the client.
        batches: The batches that the watchers of the kernel share.
    """

    def __init__(
        self, log: Log, options: WatchOptions, position: int, emit: Emit, batches: BatchCache
    ) -> None:
        self._log = log
        self._options = options
        # The position that has been read, and the position that the client has been sent.
        self._position = self._sent_position = position
        self._emit = emit
        self._batches = batches
        # Position, messages and bytes of each unacknowledged event.
        self._unacknowledged: deque[tuple[int, int, int]] = deque()
        self._messages = self._bytes = 0
        self._acknowledged = asyncio.Event()
        self._moved = asyncio.Event()
        self._has_acknowledged = False

    def acknowledge(self, position: int) -> None:
        """Note that the client has handled everything up to a position."""
        self._has_acknowledged = True
        while self._unacknowledged and self._unacknowledged[0][0] <= position:
            _, messages, size = self._unacknowledged.popleft()
            self._messages -= messages
            self._bytes -= size
        self._acknowledged.set()

    async def wait_until(self, position: int) -> None:
        """Wait until everything up to a position has been sent."""
        while self._position < position:
            self._moved.clear()
            await self._moved.wait()

    async def run(self) -> None:
        """Send entries until cancelled."""
        while True:
            await self._wait_for_credit()
            # Batches of all watchers end at the same positions, so that they can share them.
            limit = MAX_BATCH_ENTRIES - self._position % MAX_BATCH_ENTRIES
            if not self._options.batch:
                limit = min(limit, max(1, self._options.credit - self._messages))
            entries = _limit_bytes(await self._log.read(self._position, limit))
            if (missed := entries.first - 1 - self._position) > 0:
                await self._send_gap(self._position + 1, self._position + missed)
            if self._options.batch:
                await self._send_batch(entries)
            else:
                await self._send_each(entries)
            self._position = entries.last
            self._moved.set()

    async def _wait_for_credit(self) -> None:
        while self._messages >= self._options.credit or self._bytes >= MAX_UNACKNOWLEDGED_BYTES:
            self._acknowledged.clear()
            try:
                async with asyncio.timeout(None if self._has_acknowledged else ACK_TIMEOUT):
                    await self._acknowledged.wait()
            except TimeoutError:
                self._has_acknowledged = True
                await self._emit(
                    "refused",
                    {
                        "error": f"{self._messages} messages were sent and none was acknowledged; "
                        'emit("ack", position) to receive more'
                    },
                )

    async def _send_gap(self, first: int, last: int) -> None:
        if not self._options.statuses:
            self._sent_position = last
            return
        gap = msgspec.json.encode({"from": first, "to": last})
        if self._options.batch:
            events = [Event("gap", msgspec.Raw(gap), last)]
            batch = EncodedJson(_encode_batch(self._sent_position, last, events))
            await self._send(BATCH, batch, last, 1)
        else:
            await self._send("gap", (EncodedJson(gap), last), last, 1)
        self._sent_position = last

    async def _send_each(self, entries: LogSlice) -> None:
        for position, entry in enumerate(entries.entries, entries.first):
            if self._options.selects(entry):
                item = EncodedJson(entry.json, entry.buffers)
                await self._send(entry.event, (item, position), position, 1)

    async def _send_batch(self, entries: LogSlice) -> None:
        count, batch = self._batches.get(self._sent_position, entries, self._options)
        if count:
            await self._send(BATCH, batch, entries.last, count)
            self._sent_position = entries.last

    async def _send(
        self,
        name: str,
        argument: EncodedJson | tuple[EncodedJson, int],
        position: int,
        messages: int,
    ) -> None:
        size = len(argument if isinstance(argument, EncodedJson) else argument[0])
        self._unacknowledged.append((position, messages, size))
        self._messages += messages
        self._bytes += size
        await self._emit(name, argument)


class BatchCache:
    """The latest batches of one kernel, so that watchers with the same options share them."""

    def __init__(self, max_batches: int = 32) -> None:
        self._max_batches = max_batches
        self._batches: OrderedDict[object, tuple[int, EncodedJson]] = OrderedDict()

    def get(self, after: int, entries: LogSlice, options: WatchOptions) -> tuple[int, EncodedJson]:
        """Return the number of selected entries, and the batch with them."""
        has_replies = any(entry.session for entry in entries.entries)
        key = (
            after,
            entries.first,
            entries.last,
            options.channels,
            options.statuses,
            options.session if has_replies else "",
        )
        batch = self._batches.get(key)
        if batch is None:
            batch = self._batches[key] = _prepare_batch(after, entries, options)
            if len(self._batches) > self._max_batches:
                self._batches.popitem(last=False)
        return batch


def _limit_bytes(entries: LogSlice) -> LogSlice:
    """Return the first entries, as many as one batch should have."""
    size = 0
    for count, entry in enumerate(entries.entries):
        size += entry.size
        if size > MAX_BATCH_BYTES and count:
            return LogSlice(entries.first, entries.entries[:count])
    return entries


def _prepare_batch(after: int, entries: LogSlice, options: WatchOptions) -> tuple[int, EncodedJson]:
    events: list[Event] = []
    attachments: list[bytes] = []
    for position, entry in enumerate(entries.entries, entries.first):
        if options.selects(entry):
            json = entry.json
            if entry.buffers and attachments:
                json = renumber_attachments(json, len(entry.buffers), len(attachments))
            events.append(Event(entry.event, msgspec.Raw(json), position))
            attachments += entry.buffers
    return len(events), EncodedJson(_encode_batch(after, entries.last, events), attachments)


def _encode_batch(after: int, upto: int, events: Sequence[Event]) -> bytes:
    return msgspec.json.encode({"after": after, "upto": upto, "events": events})
