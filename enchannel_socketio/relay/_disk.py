"""Logs in files, which outlive their relay.

Each kernel has a directory, for its owner alone: ``kernel.json`` says what it is, and segments, each named
for the position of its first entry, have what it said::

    u32 length of the entry · u32 CRC-32 of it · the entry (msgpack)        then entries, little endian

They are only ever appended to. What comes after the last entry that is as it was written does not count: a
segment whose writer was killed is good up to there. The oldest segment goes as a whole, when the rest is
all that is to be kept.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import struct
import zlib
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import msgspec

from enchannel import AnyMessage
from enchannel.abc import KernelState
from enchannel.errors import ConnectionFailed, KernelDied
from enchannel_socketio.relay._kernels import STATUS, Kernel, LocalKernel, ended_of
from enchannel_socketio.relay._log import Bounds, Entry, Log, Stretch
from enchannel_socketio.relay._store import Store

__all__ = ["DiskLog", "DiskStore"]

SEGMENTS = 16  # in which what is to be kept comes, more or less
TAIL = 1_024  # entries at the end that are in memory as well, for who keeps up
TAIL_BYTES = 8 << 20
ENDED_MOST = 100  # kernels of relays that have ended; older ones are dropped
_FRAME = struct.Struct("<II")
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Entry).decode


@dataclass(slots=True)
class _Segment:
    """A file of entries that follow each other."""

    path: Path
    first: int
    offsets: list[int]  # where each begins
    size: int = 0


class DiskLog(Log):
    """A log in a directory; what is there already is its beginning.

    Args:
        directory: Its own.
        bounds: How much it keeps, more or less: segments go as a whole.

    Raises:
        OSError: the directory cannot be read or written.
    """

    def __init__(self, directory: Path, bounds: Bounds) -> None:
        self._directory = directory
        self._bounds = bounds
        self._grown = asyncio.Event()
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._segments = [_read_segment(path) for path in sorted(directory.glob("*.log"))]
        self._drop_torn()
        self._last = self._end_of(self._segments[-1]) - 1 if self._segments else 0
        self._tail: list[Entry] = []
        self._tail_bytes = 0
        self._file: BinaryIO | None = None

    async def append(self, entries: Sequence[Entry]) -> None:
        while entries:
            segment = self._open_segment()
            room = max(1, self._bounds.messages // SEGMENTS) - len(segment.offsets)
            now, entries = entries[: max(1, room)], entries[max(1, room) :]
            frames: list[bytes] = []
            offsets = []
            size = segment.size
            for entry in now:
                body = _encode(entry)
                offsets.append(size)
                frames += (_FRAME.pack(len(body), zlib.crc32(body)), body)
                size += _FRAME.size + len(body)
            await asyncio.to_thread(self._write, segment, b"".join(frames))
            segment.offsets += offsets
            segment.size = size
            self._last += len(now)
            self._remember(now)
            self._trim()
            self._grown.set()
            self._grown = asyncio.Event()

    async def ends(self) -> tuple[int, int]:
        return (self._segments[0].first if self._segments else self._last + 1), self._last

    async def read(self, after: int, most: int) -> Stretch:
        while self._last <= after:
            await self._grown.wait()
        tail = self._last - len(self._tail)
        if after >= tail:
            start = after - tail
            return Stretch(after + 1, self._tail[start : start + most])
        return await asyncio.to_thread(self._read, after + 1, most)

    async def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _open_segment(self) -> _Segment:
        """The one that is written to; a new one where that has enough."""
        last = self._segments[-1] if self._segments else None
        full = last is not None and (
            len(last.offsets) >= max(1, self._bounds.messages // SEGMENTS)
            or last.size >= max(1, self._bounds.bytes // SEGMENTS)
        )
        if last is None or full:
            if self._file is not None:
                self._file.close()
                self._file = None
            first = self._last + 1
            last = _Segment(self._directory / f"{first:020d}.log", first, [])
            self._segments.append(last)
        return last

    def _write(self, segment: _Segment, data: bytes) -> None:
        """Append; all of it, or nothing that counts."""
        try:
            if self._file is None:
                handle = os.open(segment.path, os.O_RDWR | os.O_CREAT, 0o600)
                self._file = os.fdopen(handle, "r+b", buffering=0)
            self._file.seek(segment.size)
            view = memoryview(data)
            while view:
                view = view[self._file.write(view) or 0 :]
        except OSError:
            if self._file is not None:
                self._file.truncate(segment.size)
            raise

    def _remember(self, entries: Sequence[Entry]) -> None:
        self._tail += entries
        self._tail_bytes += sum(entry.size for entry in entries)
        while len(self._tail) > 2 * TAIL or (self._tail_bytes > TAIL_BYTES and len(self._tail) > 1):
            gone = self._tail[: max(1, len(self._tail) // 2)]
            del self._tail[: len(gone)]
            self._tail_bytes -= sum(entry.size for entry in gone)

    def _trim(self) -> None:
        """Drop what the rest makes up for; never the last segment."""
        kept = sum(len(segment.offsets) for segment in self._segments)
        size = sum(segment.size for segment in self._segments)
        while len(self._segments) > 1:
            oldest = self._segments[0]
            enough = kept - len(oldest.offsets) >= self._bounds.messages
            if not enough and size <= self._bounds.bytes:
                break
            kept -= len(oldest.offsets)
            size -= oldest.size
            del self._segments[0]
            oldest.path.unlink(missing_ok=True)

    def _read(self, position: int, most: int) -> Stretch:
        """From the files. One that has gone meanwhile is as one that had gone before."""
        segments = list(self._segments)
        index = max(0, bisect_right([segment.first for segment in segments], position) - 1)
        for segment in segments[index:]:
            start = max(0, position - segment.first)
            offsets = segment.offsets[start : start + most]
            if not offsets:
                continue
            try:
                with segment.path.open("rb") as file:
                    file.seek(offsets[0])
                    entries = [entry for _, entry in zip(offsets, _entries(file), strict=False)]
            except FileNotFoundError:
                continue
            if entries:  # else it was damaged there
                return Stretch(segment.first + start, entries)
        return Stretch(self._last + 1, [])

    def _drop_torn(self) -> None:
        """What a writer that was killed has left counts up to its last whole entry, and nothing after."""
        for number, segment in enumerate(self._segments):
            follows = number == 0 or self._end_of(self._segments[number - 1]) == segment.first
            if not follows or not segment.offsets:
                for lost in self._segments[number:]:
                    lost.path.unlink(missing_ok=True)
                del self._segments[number:]
                return

    @staticmethod
    def _end_of(segment: _Segment) -> int:
        """The position after its last entry."""
        return segment.first + len(segment.offsets)


def _read_segment(path: Path) -> _Segment:
    segment = _Segment(path, int(path.stem), [])
    with path.open("rb") as file:
        for _, size in _frames(file):
            segment.offsets.append(segment.size)
            segment.size += size
    return segment


def _frames(file: BinaryIO) -> Iterator[tuple[bytes, int]]:
    """The bodies of entries, and the sizes of their frames, up to the first that is damaged."""
    while len(head := file.read(_FRAME.size)) == _FRAME.size:
        length, checksum = _FRAME.unpack(head)
        body = file.read(length)
        if len(body) < length or zlib.crc32(body) != checksum:
            return
        yield body, _FRAME.size + length


def _entries(file: BinaryIO) -> Iterator[Entry]:
    return (_decode(body) for body, _ in _frames(file))


def _age(path: Path) -> float:
    """The younger, the less."""
    return -path.stat().st_mtime


class _Card(msgspec.Struct, frozen=True):
    """What is written of a kernel."""

    id: str
    name: str


class DiskStore(Store):
    """Logs in a directory. The kernels of a relay that has ended are still there, dead, to be read.

    Args:
        directory: Where; made if it is not there. It is one relay's at a time.
        bounds: How much of each kernel.
    """

    def __init__(self, directory: Path, bounds: Bounds) -> None:
        self._directory = directory
        self._bounds = bounds
        self._lock: BinaryIO | None = None
        self._ended: dict[str, Kernel] = {}
        self._logs: dict[str, DiskLog] = {}

    async def open(self) -> None:
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._take_lock()
            cards = sorted(self._directory.glob("*/kernel.json"), key=_age)
            for path in cards[ENDED_MOST:]:
                shutil.rmtree(path.parent, ignore_errors=True)
            for path in cards[:ENDED_MOST]:
                await self._find(path)
        except OSError as error:
            raise ConnectionFailed(
                f"{self._directory} cannot keep what kernels say: {error.strerror or error}"
            ) from None

    async def close(self) -> None:
        for log in self._logs.values():
            await log.close()
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    async def log(self, kernel_id: str) -> Log:
        log = DiskLog(self._directory / kernel_id, self._bounds)
        self._logs[kernel_id] = log
        return log

    async def serve(self, kernel: LocalKernel) -> None:
        path = self._directory / kernel.id / "kernel.json"
        path.write_bytes(msgspec.json.encode(_Card(kernel.id, kernel.name)))
        path.chmod(0o600)

    async def forget(self, kernel_id: str) -> None:
        self._ended.pop(kernel_id, None)
        log = self._logs.pop(kernel_id, None)
        if log is not None:
            await log.close()
        await asyncio.to_thread(shutil.rmtree, self._directory / kernel_id, ignore_errors=True)

    async def others(self) -> Mapping[str, Kernel]:
        return self._ended

    def _take_lock(self) -> None:
        """It is ours as long as the file is open; the system gives it back, however we end."""
        import fcntl

        lock = (self._directory / "lock").open("ab")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
            raise ConnectionFailed(
                f"{self._directory} is that of another relay, which runs: give each its own"
            ) from None
        self._lock = lock

    async def _find(self, path: Path) -> None:
        """A kernel of a relay that has ended."""
        try:
            card = msgspec.json.decode(path.read_bytes(), type=_Card)
        except msgspec.MsgspecError:
            return  # its writer was killed as it began
        log = DiskLog(path.parent, self._bounds)
        _, last = await log.ends()
        gone = KernelDied(f"kernel {card.id} ended with its relay; what it said is kept")
        end = (await log.read(last - 1, 1)).entries if last else ()
        if not (end and end[0].event == STATUS and end[0].json.startswith(b'{"ended"')):
            await log.append([Entry(STATUS, "", "", ended_of(gone))])
        self._logs[card.id] = log
        self._ended[card.id] = _Ended(card.id, card.name, log, gone)


class _Ended(Kernel):
    """A kernel that is no more, and of which there is a log."""

    def __init__(self, id: str, name: str, log: Log, gone: KernelDied) -> None:
        super().__init__(id, name, log)
        self.state = KernelState.DEAD
        self._gone = gone

    async def say(self, message: AnyMessage) -> None:
        raise self._gone

    async def interrupt(self) -> None:
        raise self._gone

    async def restart(self) -> None:
        raise self._gone

    async def shut_down(self) -> None:
        """Nothing: it is."""
