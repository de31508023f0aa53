"""Append-only logs of records with length and checksum: bodies in, bytes out, and back. No files here.

Each record is a length (little endian), a CRC-32 (u32) and a body. Records follow each other until the end
of the log. A reader yields intact records only, and stops at the first one that is truncated or damaged:
the log is valid up to that point, and the rest is ignored.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator
from typing import Literal

__all__ = ["FramedLog"]


class FramedLog:
    """The format of one kind of log.

    Args:
        length_bits: The size of the length field.
        covers_length: Include the length field in the checksum, before the body.
        min_length: The smallest valid length of a body, in bytes.

    Attributes:
        overhead: Bytes of a record besides its body.

    Example:
        >>> log = FramedLog(32)
        >>> data = b"".join(log.frame(b"one") + log.frame(b"two"))
        >>> file = io.BytesIO(data)
        >>> list(log.records(file.read, lambda: len(data) - file.tell()))
        [b'one', b'two']
    """

    def __init__(
        self,
        length_bits: Literal[32, 64],
        *,
        covers_length: bool = False,
        min_length: int = 0,
    ) -> None:
        code = "I" if length_bits == 32 else "Q"
        self._prefix = struct.Struct(f"<{code}I")
        self._length = struct.Struct(f"<{code}")
        self._covers_length = covers_length
        self._min_length = min_length
        self.overhead: int = self._prefix.size

    def frame(self, *body: bytes) -> tuple[bytes, ...]:
        """Return the prefix of a record, followed by the parts of its body, to be written in this order."""
        length = 0
        for part in body:
            length += len(part)
        checksum = zlib.crc32(self._length.pack(length)) if self._covers_length else 0
        for part in body:
            checksum = zlib.crc32(part, checksum)
        return self._prefix.pack(length, checksum), *body

    def records(
        self, read: Callable[[int], bytes], available: Callable[[], int]
    ) -> Iterator[bytes]:
        """Yield the bodies of the records, up to the end or the first truncated or damaged record.

        The log may grow meanwhile. Memory is allocated for a body only after ``available`` has confirmed
        that enough bytes exist, so a damaged length costs nothing.

        Args:
            read: Returns the next bytes of the log: as many as requested, fewer at its end.
            available: Returns the number of bytes that follow the current position.
        """
        remaining = 0
        while len(prefix := read(self.overhead)) == self.overhead:
            length, checksum = self._prefix.unpack(prefix)
            remaining -= self.overhead
            if length > remaining:
                remaining = available()
            if not self._min_length <= length <= remaining:
                return
            body = read(length)
            remaining -= length
            if len(body) < length or zlib.crc32(body, self._initial_checksum(length)) != checksum:
                return
            yield body

    def _initial_checksum(self, length: int) -> int:
        return zlib.crc32(self._length.pack(length)) if self._covers_length else 0
