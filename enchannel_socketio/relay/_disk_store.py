"""Logs in files, which outlive their relay.

Each kernel has a directory, for its owner alone: ``kernel.json`` says what it is, and segments have what
it said. The oldest segment goes as a whole, when the rest is all that is to be kept. One that is damaged is
a gap; the last one ends where it is. Nothing is forced to the disk: what a relay wrote that was killed is
there, and what a machine wrote that lost its power may not be.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
import uuid
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

import msgspec

from enchannel import AnyMessage
from enchannel.abc import KernelState
from enchannel.backends import EventRecord
from enchannel.errors import ConnectionFailed, KernelDied
from enchannel_socketio.relay._kernels import Kernel, LocalKernel
from enchannel_socketio.relay._log import Bounds, Entry, Log, Stretch
from enchannel_socketio.relay._segment import Segment
from enchannel_socketio.relay._store import Store

__all__ = ["DiskLog", "DiskStore"]

log = logging.getLogger("enchannel.socketio.relay")

SEGMENTS = 16  # in which what is to be kept comes, more or less
TAIL = 1_024  # entries at the end that are in memory as well, for who keeps up
TAIL_BYTES = 8 << 20
ENDED_MOST = 100  # kernels of relays that have ended; older ones are dropped
CARD = "kernel.json"
LOGS = "[0-9]" * 20 + ".log"


class DiskLog(Log):
    """A log in a directory; what is there already is its beginning.

    Where something cannot be written, nothing of it is in the log, and the next append may succeed.

    Args:
        directory: Its own.
        bounds: How much it keeps, more or less: segments go as a whole.

    Raises:
        OSError: the directory cannot be read or written; as ``append`` and ``read`` may.
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
        # To its end, also when who appends has gone: a thread that writes is not stopped.
        await asyncio.shield(asyncio.ensure_future(self._append(entries)))

    async def _append(self, entries: Sequence[Entry]) -> None:
        async with self._writing:
            while entries:
                segment = self._segment()
                messages, size = self._room
                count, frames = Segment.fit(entries, messages - segment.count, size - segment.size)
                await asyncio.to_thread(segment.append, frames)
                now, entries = entries[:count], entries[count:]
                self._last += count
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
        return await asyncio.to_thread(
            _read, tuple(self._segments), after + 1, most, otherwise=self._last + 1
        )

    async def close(self) -> None:
        async with self._writing:
            for segment in self._segments:
                segment.close()

    @property
    def _room(self) -> tuple[int, int]:
        """Entries and bytes that a segment has."""
        return max(1, self._bounds.messages // SEGMENTS), max(1, self._bounds.bytes // SEGMENTS)

    def _segment(self) -> Segment:
        """The one that is written to; a new one where that has enough."""
        messages, size = self._room
        last = self._segments[-1] if self._segments else None
        if last is None or last.count >= messages or last.size >= size:
            if last is not None:
                last.close()
            last = Segment(self._directory / Segment.name(self._last + 1))
            self._segments.append(last)
        return last

    def _remember(self, entries: Sequence[Entry]) -> None:
        self._tail += entries
        self._tail_bytes += sum(entry.size for entry in entries)
        while len(self._tail) > 2 * TAIL or (self._tail_bytes > TAIL_BYTES and len(self._tail) > 1):
            gone = self._tail[: max(1, len(self._tail) // 2)]
            del self._tail[: len(gone)]
            self._tail_bytes -= sum(entry.size for entry in gone)

    def _trim(self) -> None:
        """Drop what the rest makes up for; never the last segment."""
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
            oldest.drop()


def _segments_in(directory: Path) -> list[Segment]:
    """Only the last is looked at: where the others end, the next begins."""
    paths = sorted(directory.glob(LOGS))
    return [
        Segment(path, int(after.stem) - int(path.stem))
        for path, after in zip(paths, paths[1:], strict=False)
    ] + [Segment(path) for path in paths[-1:]]


def _read(segments: Sequence[Segment], position: int, most: int, *, otherwise: int) -> Stretch:
    """From the files; later where it is damaged, or has gone meanwhile."""
    index = bisect_right([segment.first for segment in segments], position) - 1
    for segment in segments[max(0, index) :]:
        position = max(position, segment.first)
        if position < segment.end and (entries := segment.read(position, most)):
            return Stretch(position, entries)
    return Stretch(otherwise, [])


class _Card(msgspec.Struct, frozen=True):
    """What is written of a kernel; when it was created, in seconds since 1970."""

    id: str
    name: str
    created: float = 0.0


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
            cards = sorted(_cards_in(self._directory), key=lambda card: -card.created)
            for card in cards[ENDED_MOST:]:
                await self.forget(card.id)
            for card in cards[:ENDED_MOST]:
                await self._find(card)
        except OSError as error:
            await self.close()
            raise self._failed(error) from None
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        for kernel_log in self._logs.values():
            await kernel_log.close()
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    async def log(self, kernel_id: str) -> Log:
        try:
            kernel_log = DiskLog(self._directory / kernel_id, self._bounds)
        except OSError as error:
            raise self._failed(error) from None
        self._logs[kernel_id] = kernel_log
        return kernel_log

    async def serve(self, kernel: LocalKernel) -> None:
        card = _Card(kernel.id, kernel.name, time.time())
        path = self._directory / kernel.id / CARD
        try:
            new = path.with_suffix(".new")
            with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT, 0o600), "wb") as file:
                file.write(msgspec.json.encode(card))
            new.replace(path)
        except OSError as error:
            raise self._failed(error) from None

    async def forget(self, kernel_id: str) -> None:
        self._ended.pop(kernel_id, None)
        kernel_log = self._logs.pop(kernel_id, None)
        if kernel_log is not None:
            await kernel_log.close()
        await asyncio.to_thread(_delete, self._directory / kernel_id)

    async def others(self) -> Mapping[str, Kernel]:
        return self._ended

    def _failed(self, error: OSError) -> ConnectionFailed:
        return ConnectionFailed(
            f"{self._directory} cannot keep what kernels say: {error.strerror or error}"
        )

    def _take_lock(self) -> None:
        """It is ours as long as the file is open; the system gives it back, however we end."""
        import fcntl

        handle = os.open(self._directory / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        lock = os.fdopen(handle, "r+b")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            raise ConnectionFailed(
                f"{self._directory} is that of another relay, which runs: give each its own"
            ) from None
        self._lock = lock

    async def _find(self, card: _Card) -> None:
        """A kernel of a relay that has ended."""
        kernel_log = await asyncio.to_thread(DiskLog, self._directory / card.id, self._bounds)
        _, last = await kernel_log.ends()
        gone = KernelDied(f"kernel {card.id} ended with its relay; what it said is kept")
        end = (await kernel_log.read(last - 1, 1)).entries if last else ()
        if not (end and end[0].is_end):
            await kernel_log.append([Entry.of_event(EventRecord.of_end(gone))])
            await kernel_log.close()
        self._logs[card.id] = kernel_log
        self._ended[card.id] = _Ended(card.id, card.name, kernel_log, gone)


def _cards_in(directory: Path) -> list[_Card]:
    """What is known of the kernels that are there. One whose writer was killed as it began is deleted."""
    cards: list[_Card] = []
    for path in directory.iterdir():
        try:
            card = msgspec.json.decode((path / CARD).read_bytes(), type=_Card)
        except (FileNotFoundError, NotADirectoryError):
            if _is_id(path.name):
                _delete(path)
        except msgspec.MsgspecError as error:  # it may be somebody else's
            log.warning("%s cannot be read, and is left alone: %s", path / CARD, error)
        else:
            if card.id == path.name:
                cards.append(card)
    return cards


def _is_id(name: str) -> bool:
    try:
        return str(uuid.UUID(name)) == name
    except ValueError:
        return False


def _delete(directory: Path) -> None:
    """The files of a kernel, and nothing else that may be there."""
    try:
        for path in (
            *directory.glob(LOGS),
            directory / CARD,
            (directory / CARD).with_suffix(".new"),
        ):
            path.unlink(missing_ok=True)
        directory.rmdir()
    except FileNotFoundError:
        pass  # it has none
    except OSError as error:
        log.warning("%s could not be deleted: %s", directory, error.strerror or error)


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
