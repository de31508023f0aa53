"""The messages and events of one kernel, by position. No sockets here, and no kernels.

Every watcher reads from the log at its own pace, so a slow watcher does not delay the others. The log is
bounded: a watcher that was away for too long learns how many entries it has missed.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from enchannel.backends import EventRecord

__all__ = ["STATUS", "Bounds", "Entry", "Log", "LogSlice", "MemoryLog"]

# The value of Entry.event for a link event, and its name in the protocol.
STATUS = "status"
# Dropped entries stay in the list of a MemoryLog until there are this many.
MIN_DISCARDED_ENTRIES = 256


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """A message or a link event.

    Attributes:
        event: The name of the Socket.IO event: ``msg`` or ``status``.
        channel: The channel of a message; empty for a link event.
        session: The session whose request the message answers; empty: the entry is for everyone.
        json: The message or the event record, as JSON.
        buffers: The binary attachments.
    """

    event: str
    channel: str
    session: str
    json: bytes
    buffers: tuple[bytes, ...] = ()

    @classmethod
    def of_event(cls, record: EventRecord) -> Entry:
        """Return the entry of a link event."""
        return cls(STATUS, "", "", record.encode())

    @property
    def is_end(self) -> bool:
        """True for the end of the kernel, which is the last entry of a log."""
        if self.event != STATUS:
            return False
        try:
            return EventRecord.decode(self.json).ended is not None
        except (msgspec.MsgspecError, UnicodeError):
            return False

    @property
    def size(self) -> int:
        """The size of JSON and attachments, in bytes."""
        return len(self.json) + sum(map(len, self.buffers))


@dataclass(frozen=True, slots=True)
class Bounds:
    """The maximum size of a log.

    Attributes:
        messages: The maximum number of entries.
        bytes: The maximum size of all entries together; the newest entry is kept even if it is larger.
    """

    messages: int = 100_000
    bytes: int = 256 << 20


@dataclass(frozen=True, slots=True)
class LogSlice:
    """Consecutive entries of a log.

    Attributes:
        first: The position of the first entry.
        entries: The entries; empty if all requested entries have been dropped.
    """

    first: int
    entries: Sequence[Entry]

    @property
    def last(self) -> int:
        """The position of the last entry."""
        return self.first + len(self.entries) - 1


class Log(ABC):
    """The log of one kernel. Positions begin at 1, and are never used twice.

    All methods run on one event loop. They may be cancelled without loss of entries.
    """

    @abstractmethod
    async def append(self, entries: Sequence[Entry]) -> None:
        """Add entries at the end."""

    @abstractmethod
    async def positions(self) -> tuple[int, int]:
        """Return the positions of the first and the last entry.

        For an empty log, the first position is that of the next entry, and the last is one less.
        """

    @abstractmethod
    async def read(self, after: int, limit: int) -> LogSlice:
        """Wait for entries after a position, and return them.

        The result begins at a later position if the entries in between have been dropped.

        Args:
            after: The position before the first requested entry.
            limit: The maximum number of entries.
        """

    @abstractmethod
    async def close(self) -> None:
        """Release files and connections. The log must not be read afterwards."""


class MemoryLog(Log):
    """A log in the memory of this process.

    Args:
        bounds: The maximum size.
        after: The position before the first entry to be appended.
    """

    def __init__(self, bounds: Bounds, after: int = 0) -> None:
        self._bounds = bounds
        self._entries: list[Entry] = []
        # The position of the first entry of the list, which may have been dropped.
        self._first = after + 1
        # The number of dropped entries that are still in the list.
        self._dropped = 0
        self._bytes = 0
        self._grown = asyncio.Event()

    async def append(self, entries: Sequence[Entry]) -> None:
        self._entries += entries
        self._bytes += sum(entry.size for entry in entries)
        kept, bounds = len(self._entries) - self._dropped, self._bounds
        while kept > bounds.messages or (self._bytes > bounds.bytes and kept > 1):
            self._bytes -= self._entries[self._dropped].size
            self._dropped += 1
            kept -= 1
        if self._dropped >= MIN_DISCARDED_ENTRIES and self._dropped * 2 >= len(self._entries):
            del self._entries[: self._dropped]
            self._first += self._dropped
            self._dropped = 0
        self._grown.set()
        self._grown = asyncio.Event()

    async def positions(self) -> tuple[int, int]:
        return self._first + self._dropped, self._last

    async def read(self, after: int, limit: int) -> LogSlice:
        while self._last <= after:
            await self._grown.wait()
        start = max(after + 1 - self._first, self._dropped)
        return LogSlice(self._first + start, self._entries[start : start + limit])

    def skip(self, upto: int) -> None:
        """Drop all entries, and continue after a later position."""
        self._entries.clear()
        self._first = upto + 1
        self._dropped = self._bytes = 0

    async def close(self) -> None:
        """Do nothing: readers may continue."""

    @property
    def _last(self) -> int:
        return self._first + len(self._entries) - 1
