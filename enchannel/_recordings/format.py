"""The file format of recordings: all messages of a kernel session in both directions, with their times.

::

    enchannel recording 1 CHECKSUM {"kernel_id": …, "session": …, "started": …}
    record record record …

The first line is text. The records follow as a framed log (``enchannel.wire.framed_log``) with 64-bit
lengths that the checksum includes. The body of a record is the time since the start in microseconds (u64),
a kind (u8), and a payload: the WebSocket frame of a message, or the JSON of a link event. The last record
of a complete file has the kind END. The file of a writer that was killed is valid up to its last intact
record.
"""

from __future__ import annotations

import os
import re
import struct
import zlib
from collections.abc import Generator, Iterator
from enum import IntEnum, StrEnum
from pathlib import Path
from typing import BinaryIO, Final, Literal

import msgspec

from enchannel._protocol.link_event import LinkEvent, clean, decode_error, decode_event
from enchannel._protocol.message import AnyMessage
from enchannel.errors import EnchannelError, MalformedFrame, RecordingFailed
from enchannel.wire import websocket
from enchannel.wire.framed_log import FramedLog

__all__ = [
    "Direction",
    "End",
    "RecordKind",
    "RecordedEvent",
    "RecordedMessage",
    "Recording",
    "encode_header",
    "encode_record",
    "read_entries",
]

VERSION: Final = 1
MAGIC: Final = b"enchannel recording "
HEADER: Final = rb"enchannel recording (\d{1,9}) ([0-9a-f]{8}) (\{.*\})\n"
# A header takes about 200 bytes.
MAX_HEADER_BYTES: Final = 65_536
_BODY_PREFIX = struct.Struct("<QB")
_LOG = FramedLog(64, covers_length=True, min_length=_BODY_PREFIX.size)


class Direction(StrEnum):
    """The direction of a message, as seen from this client."""

    RECEIVED = "received"
    SENT = "sent"


class RecordedMessage(msgspec.Struct, frozen=True):
    """A message in a recording.

    Attributes:
        time: Seconds since the recording began.
        direction: The direction of the message.
        message: The message.
    """

    time: float
    direction: Direction
    message: AnyMessage


class RecordedEvent(msgspec.Struct, frozen=True):
    """An event of the link or the kernel in a recording.

    Attributes:
        time: Seconds since the recording began.
        event: The new state of the link or the kernel, or the error.
        direction: Always RECEIVED, so an item with the direction SENT is a message, also to a type checker.
    """

    time: float
    event: LinkEvent
    direction: Literal[Direction.RECEIVED] = Direction.RECEIVED


class End(msgspec.Struct, frozen=True):
    """The end of a complete recording.

    Attributes:
        time: Seconds since the recording began.
        error: The error with which the link ended, if it did.
    """

    time: float
    error: EnchannelError | None


class RecordKind(IntEnum):
    """The kind of a record, as stored."""

    RECEIVED = 0
    SENT = 1
    EVENT = 2
    END = 3


class Recording:
    """A recorded session; iterating reads its items from the file, up to the first damaged record.

    You can iterate more than once, and while the file is still being written. Memory use does not depend on
    the length of the recording.

    Args:
        path: A file written by ``enchannel.record``.

    Attributes:
        path: The path of the file.
        kernel_id: The id of the recorded kernel.
        session: The id of the session that recorded it.
        started: The time at which the recording began, in ISO 8601.

    Raises:
        RecordingFailed: The file is not a recording, was made by a newer version, or cannot be read.

    Example:
        >>> for recorded in ec.Recording("session.enchannel"):
        ...     if isinstance(recorded, ec.RecordedMessage):
        ...         print(recorded.time, recorded.direction, recorded.message.header.msg_type)
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path: Path = Path(path)
        with self._open() as file:
            header = self._read_header(file)
        self.kernel_id: str = header.kernel_id
        self.session: str = header.session
        self.started: str = header.started

    def verify(self) -> bool:
        """Read the whole file, and return True if the recording was ended and is not damaged.

        Raises:
            RecordingFailed: The file can no longer be read.
        """
        entry: RecordedMessage | RecordedEvent | End | None = None
        for entry in self._entries():  # noqa: B007  # the last one
            pass
        return isinstance(entry, End)

    def __iter__(self) -> Iterator[RecordedMessage | RecordedEvent]:
        """Yield the items in order.

        Raises:
            RecordingFailed: The file can no longer be read.
        """
        for entry in self._entries():
            if not isinstance(entry, End):
                yield entry
            elif entry.error is not None:
                yield RecordedEvent(entry.time, entry.error)

    def _entries(self) -> Generator[RecordedMessage | RecordedEvent | End, None, None]:
        with self._open() as file:
            self._read_header(file)
            try:
                for microseconds, kind, payload in _records(file):
                    entry = _decode_entry(microseconds / 1e6, kind, payload)
                    if entry is None:
                        return
                    yield entry
                    if isinstance(entry, End):
                        return
            except OSError as error:
                raise self._read_failure(error) from error

    def __repr__(self) -> str:
        return f"<Recording {self.path} of kernel {self.kernel_id}, {self.started}>"

    def _open(self) -> BinaryIO:
        try:
            return open(self.path, "rb")
        except (OSError, ValueError) as error:  # ValueError: a null byte in the name
            raise self._read_failure(error) from error

    def _read_header(self, file: BinaryIO) -> _Header:
        try:
            line = file.readline(MAX_HEADER_BYTES)
        except OSError as error:
            raise self._read_failure(error) from error
        match = re.fullmatch(HEADER, line)
        if match is None:
            if line and MAGIC.startswith(line[: len(MAGIC)]) and not line.endswith(b"\n"):
                raise RecordingFailed(
                    f"the recording {self.path} ends within its first line; record again"
                )
            raise RecordingFailed(
                f"{self.path} is not a recording; `enchannel record` and ec.record create recordings"
            )
        version, checksum, fields = int(match[1]), int(match[2], 16), match[3]
        if version > VERSION:
            raise RecordingFailed(
                f"the recording {self.path} was made by a newer enchannel (format {version}; this "
                f"version reads format {VERSION}); pip install --upgrade enchannel"
            )
        try:
            if version == VERSION and zlib.crc32(fields) == checksum:
                return msgspec.json.decode(fields, type=_Header)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            pass
        raise RecordingFailed(f"the first line of the recording {self.path} is damaged")

    def _read_failure(self, error: Exception) -> RecordingFailed:
        why = getattr(error, "strerror", None) or str(error)
        return RecordingFailed(f"the recording {self.path} cannot be read: {why}")


class _Header(msgspec.Struct, frozen=True):
    kernel_id: str
    session: str
    started: str


def read_entries(
    recording: Recording,
) -> Generator[RecordedMessage | RecordedEvent | End, None, None]:
    """Yield the items in order, followed by an End if the recording is complete and undamaged.

    Raises:
        RecordingFailed: The file can no longer be read.
    """
    return recording._entries()


def encode_header(kernel_id: str, session: str, started: str) -> bytes:
    """Return the first line of a recording."""
    fields = msgspec.json.encode(_Header(clean(kernel_id), clean(session), clean(started)))
    return b"%s%d %08x %s\n" % (MAGIC, VERSION, zlib.crc32(fields), fields)


def encode_record(seconds: float, kind: RecordKind, payload: bytes) -> tuple[bytes, ...]:
    """Return a record in parts, to be written one after another."""
    return _LOG.frame(_BODY_PREFIX.pack(max(0, round(seconds * 1e6)), kind), payload)


def _records(file: BinaryIO) -> Iterator[tuple[int, int, bytes]]:
    """Yield time, kind and payload of the records, up to the first damaged one."""
    for body in _LOG.records(file.read, lambda: os.fstat(file.fileno()).st_size - file.tell()):
        microseconds, kind = _BODY_PREFIX.unpack_from(body)
        yield microseconds, kind, body[_BODY_PREFIX.size :]


def _decode_entry(
    time: float, kind: int, payload: bytes
) -> RecordedMessage | RecordedEvent | End | None:
    """Return the content of a record; None if no writer can have written it, even with a valid checksum."""
    try:
        match kind:
            case RecordKind.RECEIVED:
                return RecordedMessage(time, Direction.RECEIVED, websocket.decode(payload))
            case RecordKind.SENT:
                return RecordedMessage(time, Direction.SENT, websocket.decode(payload))
            case RecordKind.EVENT:
                return RecordedEvent(time, decode_event(payload))
            case RecordKind.END:
                return End(time, decode_error(payload) if payload else None)
            case _:
                return None
    except (MalformedFrame, msgspec.MsgspecError, UnicodeDecodeError):
        return None
