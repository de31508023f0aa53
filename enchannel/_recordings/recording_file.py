"""The file of a recording in progress: created for its owner only, written in large parts."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any, Final, NamedTuple

from enchannel.errors import RecordingFailed, Remedy

__all__ = ["RecordingFile", "write_failure"]

# A write has at most this many bytes, and one message more.
MAX_WRITE_BYTES: Final = 1 << 20


class RecordingFile:
    """A new file, with its header. Its content is buffered until ``flush``.

    Args:
        path: The path of the file.
        header: The first bytes, written at once.
        overwrite: Replace an existing file.

    Attributes:
        messages: The number of messages in the file.
        is_closed: True after ``close``.

    Raises:
        RecordingFailed: The file exists, or cannot be written; it is not left behind.
    """

    def __init__(self, path: Path, header: bytes, *, overwrite: bool) -> None:
        self.messages = 0
        self.is_closed = False
        self._parts: list[bytes] = [header]
        self._size = len(header)
        self._unwritten = 0
        created = _create(path, overwrite)
        self._file = created.file
        try:
            self.flush()
            if created.replaces is not None:
                os.replace(created.path, created.replaces)
        except OSError as error:
            self.close()
            if not created.is_device:
                created.path.unlink(missing_ok=True)
            raise write_failure(path, error) from error

    @property
    def is_flush_due(self) -> bool:
        """True if the buffer has as many bytes as one write should have."""
        return self._size >= MAX_WRITE_BYTES

    def append(self, *parts: bytes, messages: int = 0) -> None:
        """Add bytes that contain a number of messages to the buffer."""
        self._parts += parts
        self._size += sum(map(len, parts))
        self._unwritten += messages

    def flush(self) -> None:
        """Write the buffer.

        Raises:
            OSError: The file cannot be written.
        """
        # The file itself is unbuffered: a forked child would write its buffer a second time.
        data = memoryview(b"".join(self._parts))
        self._parts, self._size = [], 0
        while data:
            data = data[self._file.write(data) :]
        self.messages += self._unwritten
        self._unwritten = 0

    def close(self) -> None:
        """Close the file without writing the buffer."""
        self.is_closed = True
        self._file.close()


class _CreatedFile(NamedTuple):
    """A file that was created for a recording.

    Attributes:
        file: The open file.
        path: Its path.
        replaces: An existing file that it replaces after the first successful write.
        is_device: True if it is an existing device or pipe, which must not be deleted.
    """

    file: Any
    path: Path
    replaces: Path | None = None
    is_device: bool = False


def _create(path: Path, overwrite: bool) -> _CreatedFile:
    """Create the file, readable by its owner only."""
    try:
        # A symbolic link to a file is not followed: the link is replaced, or exists already.
        path = path.parent.resolve() / path.name
        if overwrite and (path.is_file() or (path.is_symlink() and not path.exists())):
            # An existing file or link is replaced, not truncated: another process may be reading it.
            beside = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}")
            return _CreatedFile(_open(beside, "xb"), beside, replaces=path)
        if overwrite and path.exists():
            return _CreatedFile(_open(path, "wb"), path, is_device=True)
        return _CreatedFile(_open(path, "xb"), path)
    except FileExistsError:
        raise RecordingFailed(f"{path} already exists", remedy=Remedy.OVERWRITE) from None
    except (OSError, ValueError, RuntimeError) as error:  # RuntimeError: a loop of symlinks
        raise write_failure(path, error) from error


def _open(path: Path, mode: str) -> Any:
    return open(path, mode, buffering=0, opener=_open_for_owner)


def _open_for_owner(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_APPEND, 0o600)


def write_failure(path: Path, error: Exception, outcome: str = "") -> RecordingFailed:
    """Return the error for a recording that cannot be written; ``outcome`` is added to its text."""
    why = getattr(error, "strerror", None) or str(error)
    return RecordingFailed(f"the recording {path} cannot be written: {why}{outcome}")
