"""A log in files, which outlives its relay."""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import Sequence
from pathlib import Path

from enchannel_socketio.relay._log import Bounds, Entry, Log, LogSlice
from enchannel_socketio.relay._segment import Segment

__all__ = ["LOG_PATTERN", "DiskLog"]

# A log is spread over about this many segments.
SEGMENT_COUNT = 16
# The newest entries are also in memory, for watchers that keep up.
MAX_TAIL_ENTRIES = 1_024
MAX_TAIL_BYTES = 8 << 20
LOG_PATTERN = "[0-9]" * 20 + ".log"


class DiskLog(Log):
    """A log in a directory; entries that the directory already contains are its beginning.

    If entries cannot be written, none of them is in the log, and the next append may succeed. The oldest
    segment is deleted as a whole. A damaged segment reads as a gap, and a damaged last segment ends there.
    Nothing is forced to the disk: entries survive if the relay is killed, but not always a power cut.

    Args:
        directory: The directory, used by this log only.
        bounds: The approximate maximum size: segments are deleted as a whole.

    Raises:
        OSError: The directory cannot be read or written; also raised by ``append`` and ``read``.
    """

    def __init__(self, directory: Path, bounds: Bounds) -> None:
        self._directory = directory
        self._bounds = bounds
        self._grown = asyncio.Event()
        self._writing = asyncio.Lock()
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._segments = _segments_in(directory)
        self._last = self._segments[-1].end - 1 if self._segments else 0
        self._tail: list[Entry] = []
        self._tail_bytes = 0

    async def append(self, entries: Sequence[Entry]) -> None:
        # A thread that writes cannot be stopped, so a cancelled append is completed all the same.
        await asyncio.shield(asyncio.ensure_future(self._append(entries)))

    async def _append(self, entries: Sequence[Entry]) -> None:
        async with self._writing:
            while entries:
                segment = self._writable_segment()
                max_entries, max_bytes = self._segment_bounds
                count, frames = Segment.fit(
                    entries, max_entries - segment.count, max_bytes - segment.size
                )
                await asyncio.to_thread(segment.append, frames)
                written, entries = entries[:count], entries[count:]
                self._last += count
                self._extend_tail(written)
                self._trim()
                self._grown.set()
                self._grown = asyncio.Event()

    async def positions(self) -> tuple[int, int]:
        return (self._segments[0].first if self._segments else self._last + 1), self._last

    async def read(self, after: int, limit: int) -> LogSlice:
        while self._last <= after:
            await self._grown.wait()
        tail = self._last - len(self._tail)
        if after >= tail:
            start = after - tail
            return LogSlice(after + 1, self._tail[start : start + limit])
        return await asyncio.to_thread(
            _read, tuple(self._segments), after + 1, limit, end=self._last + 1
        )

    async def close(self) -> None:
        async with self._writing:
            for segment in self._segments:
                segment.close()

    @property
    def _segment_bounds(self) -> tuple[int, int]:
        """The maximum number of entries and bytes of a segment."""
        return (
            max(1, self._bounds.messages // SEGMENT_COUNT),
            max(1, self._bounds.bytes // SEGMENT_COUNT),
        )

    def _writable_segment(self) -> Segment:
        """Return the last segment, or a new one if that is full."""
        max_entries, max_bytes = self._segment_bounds
        last = self._segments[-1] if self._segments else None
        if last is None or last.count >= max_entries or last.size >= max_bytes:
            if last is not None:
                last.close()
            last = Segment(self._directory / Segment.name(self._last + 1))
            self._segments.append(last)
        return last

    def _extend_tail(self, entries: Sequence[Entry]) -> None:
        self._tail += entries
        self._tail_bytes += sum(entry.size for entry in entries)
        while len(self._tail) > 2 * MAX_TAIL_ENTRIES or (
            self._tail_bytes > MAX_TAIL_BYTES and len(self._tail) > 1
        ):
            dropped = self._tail[: max(1, len(self._tail) // 2)]
            del self._tail[: len(dropped)]
            self._tail_bytes -= sum(entry.size for entry in dropped)

    def _trim(self) -> None:
        """Delete the oldest segments that exceed the bounds, but never the last segment."""
        kept = sum(segment.count for segment in self._segments)
        size = sum(segment.size for segment in self._segments)
        while len(self._segments) > 1:
            oldest = self._segments[0]
            enough = kept - oldest.count >= self._bounds.messages
            if not enough and size <= self._bounds.bytes:
                break
            kept -= oldest.count
            size -= oldest.size
            del self._segments[0]
            oldest.delete()


def _segments_in(directory: Path) -> list[Segment]:
    """Return the segments of a directory. Only the last file is read: the names tell the other counts."""
    paths = sorted(directory.glob(LOG_PATTERN))
    return [
        Segment(path, int(after.stem) - int(path.stem))
        for path, after in zip(paths, paths[1:], strict=False)
    ] + [Segment(path) for path in paths[-1:]]


def _read(segments: Sequence[Segment], position: int, limit: int, *, end: int) -> LogSlice:
    """Return entries from a position on, or from the next position that is neither damaged nor gone."""
    index = bisect_right([segment.first for segment in segments], position) - 1
    for segment in segments[max(0, index) :]:
        position = max(position, segment.first)
        if position < segment.end and (entries := segment.read(position, limit)):
            return LogSlice(position, entries)
    return LogSlice(end, [])
