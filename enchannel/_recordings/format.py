"""A session with a kernel in a file: what was heard and said, and when.

::

    enchannel recording 1 CHECKSUM {"kernel_id": …, "session": …, "started": …}
    record record record …

The first line is text. Of a record: the length of its body (u64, little endian), the CRC-32 of that length
and the body (u32), and the body: microseconds since the start (u64), a kind (u8), and a payload. That of
a message is its WebSocket frame, that of a status is JSON. The last record of a whole file is of the
kind END. Whatever comes after the last record that is as it was written does not count: a file whose
writer was killed is good up to there.
"""

from __future__ import annotations

import os
import re
import struct
import zlib
from collections.abc import Generator, Iterator
from enum import IntEnum, StrEnum
from pathlib import Path
from typing import BinaryIO, Final

import msgspec

from enchannel._protocol.link_event import LinkEvent, clean, decode_error, decode_event
from enchannel._protocol.message import AnyMessage
from enchannel.errors import EnchannelError, MalformedFrame, RecordingFailed
from enchannel.wire import websocket
from enchannel.wire.framed_log import FramedLog

__all__ = ["Direction", "End", "Kind", "Recorded", "Recording", "head_of", "record_of"]

VERSION: Final = 1
MAGIC: Final = b"enchannel recording "
LONGEST_HEAD: Final = 65_536  # bytes; one is some 200
HEAD: Final = rb"enchannel recording (\d{1,9}) ([0-9a-f]{8}) (\{.*\})\n"
_BODY = struct.Struct("<QB")
_LOG = FramedLog(64, covers_length=True, min_length=_BODY.size)


class Direction(StrEnum):
    """Who said it: the kernel, or we."""

    RECEIVED = "received"
    SENT = "sent"


class Recorded(msgspec.Struct, frozen=True):
    """One thing that happened: a message, or something with link or kernel.

    Attributes:
        time: Seconds since the recording began.
        direction: Whether it was heard, or said by us; a status is heard.
        message: The message; None for a status.
        status: What became of link or kernel: a LinkState, a KernelState or an error; None for a message.
    """

    time: float
    direction: Direction
    message: AnyMessage | None = None
    status: LinkEvent | None = None


class End(msgspec.Struct, frozen=True):
    """The end of what happened.

    Attributes:
        time: Seconds since the recording began.
        error: Why the link was given up, if it was.
    """

    time: float
    error: EnchannelError | None


class Kind(IntEnum):
    """What a record has."""

    RECEIVED = 0
    SENT = 1
    STATUS = 2
    END = 3


class Recording:
    """A recorded session; iterating reads it from the file, as far as it is whole.

    May be iterated more than once, also while it is still being written. How much memory that takes does
    not depend on its length.

    Args:
        path: What ``enchannel.record`` has written.

    Attributes:
        path: Where it is.
        kernel_id: Which kernel it is of.
        session: The id of the session that recorded it.
        started: When, in ISO 8601.

    Raises:
        RecordingFailed: it is no recording, was made by a newer version, or cannot be read.

    Example:
        >>> for happened in ec.Recording("session.enchannel"):
        ...     print(happened.time, happened.direction, happened.message or happened.status)
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path: Path = Path(path)
        with self._opened() as file:
            head = self._head(file)
        self.kernel_id: str = head.kernel_id
        self.session: str = head.session
        self.started: str = head.started

    @property
    def is_whole(self) -> bool:
        """Whether it was ended, and is as it was written. Looks at all of it.

        Raises:
            RecordingFailed: it cannot be read any more.
        """
        entry: Recorded | End | None = None
        for entry in self.entries():  # noqa: B007  # the last one
            pass
        return isinstance(entry, End)

    def __iter__(self) -> Iterator[Recorded]:
        """What happened, in order.

        Raises:
            RecordingFailed: it cannot be read any more.
        """
        for entry in self.entries():
            if isinstance(entry, Recorded):
                yield entry
            elif entry.error is not None:
                yield Recorded(entry.time, Direction.RECEIVED, status=entry.error)

    def entries(self) -> Generator[Recorded | End, None, None]:
        """What happened, and an End, if it was ended and all before it can be read.

        Raises:
            RecordingFailed: it cannot be read any more.
        """
        with self._opened() as file:
            self._head(file)
            try:
                for microseconds, kind, payload in _records(file):
                    entry = _entry(microseconds / 1e6, kind, payload)
                    if entry is None:
                        return
                    yield entry
                    if isinstance(entry, End):
                        return
            except OSError as error:
                raise self._unreadable(error) from error

    def __repr__(self) -> str:
        return f"<Recording {self.path} of kernel {self.kernel_id}, {self.started}>"

    def _opened(self) -> BinaryIO:
        try:
            return open(self.path, "rb")
        except (OSError, ValueError) as error:  # ValueError: a name with a null in it
            raise self._unreadable(error) from error

    def _head(self, file: BinaryIO) -> _Head:
        try:
            line = file.readline(LONGEST_HEAD)
        except OSError as error:
            raise self._unreadable(error) from error
        match = re.fullmatch(HEAD, line)
        if match is None:
            if line and MAGIC.startswith(line[: len(MAGIC)]) and not line.endswith(b"\n"):
                raise RecordingFailed(
                    f"the recording {self.path} ends before it began: its writer was stopped"
                )
            raise RecordingFailed(
                f"{self.path} is no recording; `enchannel record` and ec.record make them"
            )
        version, checksum, fields = int(match[1]), int(match[2], 16), match[3]
        if version > VERSION:
            raise RecordingFailed(
                f"the recording {self.path} was made by a newer enchannel (its format is {version}, "
                f"and this one knows {VERSION}): pip install --upgrade enchannel"
            )
        try:
            if version == VERSION and zlib.crc32(fields) == checksum:
                return msgspec.json.decode(fields, type=_Head)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            pass
        raise RecordingFailed(f"the first line of the recording {self.path} is damaged")

    def _unreadable(self, error: Exception) -> RecordingFailed:
        why = getattr(error, "strerror", None) or str(error)
        return RecordingFailed(f"the recording {self.path} cannot be read: {why}")


class _Head(msgspec.Struct, frozen=True):
    kernel_id: str
    session: str
    started: str


def head_of(kernel_id: str, session: str, started: str) -> bytes:
    """The first line."""
    fields = msgspec.json.encode(_Head(clean(kernel_id), clean(session), clean(started)))
    return b"%s%d %08x %s\n" % (MAGIC, VERSION, zlib.crc32(fields), fields)


def record_of(seconds: float, kind: Kind, payload: bytes) -> tuple[bytes, ...]:
    """A record, in pieces to be written one after the other."""
    begin = _BODY.pack(max(0, round(seconds * 1e6)), kind)
    return _LOG.frame(begin, payload)


def _records(file: BinaryIO) -> Iterator[tuple[int, int, bytes]]:
    """Time, kind and payload of each, up to the first that is not as it was written."""
    for body in _LOG.records(file.read, lambda: os.fstat(file.fileno()).st_size - file.tell()):
        microseconds, kind = _BODY.unpack_from(body)
        yield microseconds, kind, body[_BODY.size :]


def _entry(time: float, kind: int, payload: bytes) -> Recorded | End | None:
    """What a record has; None for one that no writer has written, whatever its checksum says."""
    try:
        match kind:
            case Kind.RECEIVED:
                return Recorded(time, Direction.RECEIVED, websocket.decode(payload))
            case Kind.SENT:
                return Recorded(time, Direction.SENT, websocket.decode(payload))
            case Kind.STATUS:
                return Recorded(time, Direction.RECEIVED, status=decode_event(payload))
            case Kind.END:
                return End(time, decode_error(payload) if payload else None)
            case _:
                return None
    except (MalformedFrame, msgspec.MsgspecError, UnicodeDecodeError):
        return None
