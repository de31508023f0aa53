"""A file of entries that follow each other. It knows of no other file, and of no loop.

::

    u32 length of the entry · u32 CRC-32 of it · the entry (msgpack)        then entries, little endian

It is only ever appended to. What comes after the last entry that is as it was written does not count: one
whose writer was killed is good up to there.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import msgspec

from enchannel.wire.framed_log import FramedLog
from enchannel_socketio.relay._log import Entry

__all__ = ["Segment"]

READ = 1 << 20  # bytes that are read at once, but for an entry that has more by itself
# An entry is never empty, but 8 zero bytes, as a power cut may leave, have the checksum of an empty one.
_LOG = FramedLog(32, min_length=1)
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Entry).decode


class Segment:
    """A file of entries, named for the position of the first.

    Args:
        path: Of the file, which need not be there.
        count: How many entries it has, where that is known: then it is not looked at before it is read.

    Attributes:
        path: Of the file.
        first: The position of the first entry.
        count: How many there are.
        size: Bytes that they take.

    Raises:
        OSError: it is there, and cannot be read.
    """

    def __init__(self, path: Path, count: int | None = None) -> None:
        self.path = path
        self.first = int(path.stem)
        self._offsets: array[int] | None = None
        self._file: BinaryIO | None = None
        if count is None:
            self._offsets, self.size = _index(path)
            self.count = len(self._offsets)
        else:
            self.size = path.stat().st_size
            self.count = count

    @staticmethod
    def name(first: int) -> str:
        """That of the file whose first entry has a position; they sort as their positions do."""
        return f"{first:020d}.log"

    @property
    def end(self) -> int:
        """The position after its last entry."""
        return self.first + self.count

    @staticmethod
    def fit(entries: Sequence[Entry], messages: int, size: int) -> tuple[int, list[bytes]]:
        """How many of some entries go into so much room, one at least, and their frames."""
        frames: list[bytes] = []
        count = 0
        for count, entry in enumerate(entries[: max(1, messages)], 1):  # noqa: B007  # the last
            frame = _LOG.frame(_encode(entry))
            frames += frame
            size -= sum(map(len, frame))
            if size <= 0:
                break
        return count, frames

    def append(self, frames: Sequence[bytes]) -> None:
        """Write what ``fit`` has made.

        Raises:
            OSError: it cannot be written; what of it was does not count.
        """
        if self._offsets is None:
            self._offsets, self.size = _index(self.path)
        if self._file is None:
            handle = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
            self._file = os.fdopen(handle, "r+b", buffering=0)
        # What is damaged there, or was written before the disk was full, might be taken for whole later.
        if self._file.seek(0, os.SEEK_END) != self.size:
            self._file.truncate(self.size)
            self._file.seek(self.size)
        self._write(self._file, b"".join(frames))
        for body in frames[1::2]:
            self._offsets.append(self.size)
            self.size += _LOG.overhead + len(body)
        self.count = len(self._offsets)

    @staticmethod
    def _write(file: BinaryIO, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[file.write(view) or 0 :]

    def read(self, position: int, most: int) -> list[Entry]:
        """Some entries; none where it is damaged, or has gone.

        Args:
            position: Of the first; not before the segment's.
            most: As many, at most; fewer where they are large.

        Raises:
            OSError: it cannot be read.
        """
        try:
            with self.path.open("rb") as file:
                if self._offsets is None:
                    self._offsets, _ = _index(self.path)
                index = position - self.first
                offsets = self._offsets[index : index + most]
                if not offsets:
                    return []
                file.seek(offsets[0])
                light = sum(offset - offsets[0] < READ for offset in offsets)
                return [_decode(body) for body in islice(_bodies(file), light)]
        except FileNotFoundError:
            return []

    def close(self) -> None:
        """Let go of the file; it may still be read, and appended to."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def drop(self) -> None:
        """Delete it."""
        self.close()
        self.path.unlink(missing_ok=True)


def _index(path: Path) -> tuple[array[int], int]:
    """Where the entries of a file begin, and where the last that counts ends."""
    offsets, size = array("Q"), 0
    try:
        with path.open("rb") as file:
            for body in _bodies(file):
                offsets.append(size)
                size += _LOG.overhead + len(body)
    except FileNotFoundError:
        pass
    return offsets, size


def _bodies(file: BinaryIO) -> Iterator[bytes]:
    """The entries from where it is, up to the first that is damaged."""
    yield from _LOG.records(file.read, lambda: os.fstat(file.fileno()).st_size - file.tell())
