"""One file of a log on disk: consecutive entries. It uses no other files and no event loop.

The file is a framed log (``enchannel.wire.framed_log``) of entries in msgpack, with 32-bit lengths. It is
valid up to the first damaged entry, such as the one that a killed relay was writing.
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
from enchannel_socketio.relay._files import open_regular
from enchannel_socketio.relay._log import Entry

__all__ = ["Segment"]

# A read returns at most this many bytes, and one entry more.
MAX_READ_BYTES = 1 << 20
# An entry is never empty, but 8 zero bytes, as a power cut may leave, have the checksum of an empty one.
_LOG = FramedLog(32, min_length=1)
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Entry).decode


class Segment:
    """A file of entries, named for the position of its first entry.

    Args:
        path: The path of the file, which need not exist.
        count: The number of its entries, if known: then the file is not read here.

    Attributes:
        path: The path of the file.
        first: The position of the first entry.
        count: The number of entries.
        size: The size of the entries in the file, in bytes.

    Raises:
        OSError: The file exists and cannot be read.
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
            self.size = path.lstat().st_size
            self.count = count

    @staticmethod
    def name(first: int) -> str:
        """Return the file name of a segment; names sort like the positions of their first entries."""
        return f"{first:020d}.log"

    @property
    def end(self) -> int:
        """The position after the last entry."""
        return self.first + self.count

    @staticmethod
    def fit(entries: Sequence[Entry], max_entries: int, max_bytes: int) -> tuple[int, list[bytes]]:
        """Encode as many of the entries as fit, but at least one.

        Returns:
            The number of entries, and their frames for ``append``.
        """
        frames: list[bytes] = []
        count = 0
        for count, entry in enumerate(entries[: max(1, max_entries)], 1):  # noqa: B007  # the last
            body = _encode(entry)
            frames += _LOG.frame(body)
            max_bytes -= _LOG.overhead + len(body)
            if max_bytes <= 0:
                break
        return count, frames

    def append(self, frames: Sequence[bytes]) -> None:
        """Write the frames that ``fit`` has returned.

        Raises:
            OSError: Writing failed; the frames are not in the log, even if some of them are in the file.
        """
        if self._offsets is None:
            self._offsets, self.size = _index(self.path)
        if self._file is None:
            handle = open_regular(self.path, os.O_RDWR | os.O_CREAT)
            self._file = os.fdopen(handle, "r+b", buffering=0)
        # Remove a damaged or half-written tail, which might be read as valid entries later.
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

    def read(self, position: int, limit: int) -> list[Entry]:
        """Return entries from a position on; none if they are damaged or the file is gone.

        Args:
            position: The position of the first entry; not before the segment's first.
            limit: The maximum number of entries; fewer are returned if they are large.

        Raises:
            OSError: The file cannot be read.
        """
        try:
            with os.fdopen(open_regular(self.path, os.O_RDONLY), "rb") as file:
                if self._offsets is None:
                    self._offsets, _ = _index(self.path)
                index = position - self.first
                offsets = self._offsets[index : index + limit]
                if not offsets:
                    return []
                file.seek(offsets[0])
                count = sum(offset - offsets[0] < MAX_READ_BYTES for offset in offsets)
                return [_decode(body) for body in islice(_bodies(file), count)]
        except FileNotFoundError:
            return []

    def close(self) -> None:
        """Close the file. The segment may still be read, and appended to."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def delete(self) -> None:
        """Delete the file."""
        self.close()
        self.path.unlink(missing_ok=True)


def _index(path: Path) -> tuple[array[int], int]:
    """Return the offsets of the valid entries of a file, and the offset after the last one."""
    offsets, size = array("Q"), 0
    try:
        with os.fdopen(open_regular(path, os.O_RDONLY), "rb") as file:
            for body in _bodies(file):
                offsets.append(size)
                size += _LOG.overhead + len(body)
    except FileNotFoundError:
        pass
    return offsets, size


def _bodies(file: BinaryIO) -> Iterator[bytes]:
    yield from _LOG.records(file.read, lambda: os.fstat(file.fileno()).st_size - file.tell())
