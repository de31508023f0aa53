"""What a kernel has said, by position, for all who watch it. No sockets here, and no kernels.

The log is the fan-out: who watches reads from it at its own pace, so a slow one slows nobody. It is
bounded; who was away for too long finds that the beginning is gone, and is told how much.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from enchannel.backends import EventRecord

__all__ = ["STATUS", "Bounds", "Entry", "Log", "MemoryLog", "Stretch"]

STATUS = "status"
ROUND = 256  # entries that are thrown away at once, or more


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """One thing that happened.

    Attributes:
        event: What it is to a client: ``msg`` or ``status``.
        channel: Where a message was said; empty for a status.
        session: Whose request a message answers; empty: it is for all.
        json: What is told, as JSON.
        buffers: What is attached to it.
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
        """Return True if this is the last entry of a log: the end of the kernel."""
        if self.event != STATUS:
            return False
        try:
            return EventRecord.decode(self.json).ended is not None
        except (msgspec.MsgspecError, UnicodeError):
            return False

    @property
    def size(self) -> int:
        """Bytes."""
        return len(self.json) + sum(map(len, self.buffers))


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much a log keeps.

    Attributes:
        messages: As many, at most.
        bytes: Of messages and buffers, at most; but the last entry is always there.
    """

    messages: int = 100_000
    bytes: int = 256 << 20


@dataclass(frozen=True, slots=True)
class Stretch:
    """Entries that follow each other.

    Attributes:
        first: The position of the first.
        entries: Themselves; none where all that was wanted has fallen off.
    """

    first: int
    entries: Sequence[Entry]

    @property
    def last(self) -> int:
        """The position of the last."""
        return self.first + len(self.entries) - 1


class Log(ABC):
    """The log of one kernel. Positions begin with 1, and no two entries have the same.

    What is async may be cancelled; nothing is lost by it. All of it runs on one event loop.
    """

    @abstractmethod
    async def append(self, entries: Sequence[Entry]) -> None:
        """Something happened."""

    @abstractmethod
    async def ends(self) -> tuple[int, int]:
        """The positions of the first and the last entry that it has; of an empty one, the first is
        the greater: where the next entry will be."""

    @abstractmethod
    async def read(self, after: int, most: int) -> Stretch:
        """What comes after a position, as soon as there is anything; it begins later where the log does.

        Args:
            after: The position.
            most: Entries, at most.
        """

    @abstractmethod
    async def close(self) -> None:
        """Let go of files and connections; nobody reads any more."""


class MemoryLog(Log):
    """In the memory of this process.

    Args:
        bounds: How much it keeps.
        after: The position before the first entry that it will have.
    """

    def __init__(self, bounds: Bounds, after: int = 0) -> None:
        self._bounds = bounds
        self._entries: list[Entry] = []
        self._first = after + 1  # the position of the first in the list
        self._gone = 0  # entries at its beginning that have fallen off, and are still there
        self._bytes = 0
        self._grown = asyncio.Event()

    async def append(self, entries: Sequence[Entry]) -> None:
        self._entries += entries
        self._bytes += sum(entry.size for entry in entries)
        kept, bounds = len(self._entries) - self._gone, self._bounds
        while kept > bounds.messages or (self._bytes > bounds.bytes and kept > 1):
            self._bytes -= self._entries[self._gone].size
            self._gone += 1
            kept -= 1
        if self._gone >= ROUND and self._gone * 2 >= len(self._entries):
            del self._entries[: self._gone]
            self._first += self._gone
            self._gone = 0
        self._grown.set()
        self._grown = asyncio.Event()

    async def ends(self) -> tuple[int, int]:
        return self._first + self._gone, self._last

    async def read(self, after: int, most: int) -> Stretch:
        while self._last <= after:
            await self._grown.wait()
        start = max(after + 1 - self._first, self._gone)
        return Stretch(self._first + start, self._entries[start : start + most])

    def skip(self, upto: int) -> None:
        """Go on after a position that is ahead. What was before it is gone."""
        self._entries.clear()
        self._first = upto + 1
        self._gone = self._bytes = 0

    async def close(self) -> None:
        """Nothing: who still holds it may read on."""

    @property
    def _last(self) -> int:
        return self._first + len(self._entries) - 1
