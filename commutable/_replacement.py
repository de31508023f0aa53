"""Replace the content of a file: atomically where that is possible, otherwise in place."""

from __future__ import annotations

import errno
import os
import stat
import sys
import uuid
from contextlib import suppress
from pathlib import Path

__all__ = ["replace_file"]

# A file in this directory cannot be created or replaced, but the file itself may be writable: the directory
# belongs to somebody else or is read-only, or the file is a mount point (EBUSY, as in a container).
NOT_REPLACEABLE = frozenset(
    {errno.EACCES, errno.EBUSY, errno.EPERM, errno.EROFS, errno.EXDEV, errno.ETXTBSY}
)


def replace_file(path: Path, data: bytes) -> None:
    """Write a file; it is on disk when this returns.

    A regular file is replaced atomically, and keeps its owner, permissions and extended attributes. It is
    overwritten in place if it cannot be replaced, or if the new file could not belong to the same owner. A
    pipe or a device is written to. A symbolic link is followed.

    Raises:
        PermissionError: the file may not be written.
        OSError: the file cannot be written; its content is unchanged, unless restoring it failed as well.
    """
    try:
        status = path.stat()
    except FileNotFoundError:
        _create(Path(os.path.realpath(path)), data, None)
        return
    if not stat.S_ISREG(status.st_mode):
        path.write_bytes(data)
        return
    path = Path(os.path.realpath(path))
    if not os.access(path, os.W_OK, effective_ids=os.access in os.supports_effective_ids):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
    try:
        _create(path, data, status)
    except OSError as error:
        if error.errno not in NOT_REPLACEABLE:
            raise
        _overwrite(path, data)


def _create(path: Path, data: bytes, old: os.stat_result | None) -> None:
    """Write a new file, and move it to the path once it is complete."""
    new = path.with_name(f".{path.name[:50]}.{uuid.uuid4().hex[:12]}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    # A private file stays private while it is written.
    mode = 0o666 if old is None else old.st_mode & 0o700
    try:
        with os.fdopen(os.open(new, flags, mode), "wb") as file:
            if old is not None:
                _copy_owner(old, file.fileno())
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if old is not None:
            _copy_attributes(path, new)
            new.chmod(stat.S_IMODE(old.st_mode))
        new.replace(path)
    except BaseException:
        with suppress(OSError):
            new.unlink()
        raise


def _copy_owner(old: os.stat_result, new: int) -> None:
    if sys.platform != "win32":
        status = os.fstat(new)
        if (status.st_uid, status.st_gid) != (old.st_uid, old.st_gid):
            os.fchown(new, old.st_uid, old.st_gid)


def _copy_attributes(old: Path, new: Path) -> None:
    """Copy the extended attributes, which include access control lists, as far as that is allowed."""
    if sys.platform == "linux":
        with suppress(OSError):
            for name in os.listxattr(old):
                with suppress(OSError):
                    os.setxattr(new, name, os.getxattr(old, name))


def _overwrite(path: Path, data: bytes) -> None:
    """Write into the existing file; if that fails, restore its content."""
    before = None
    with suppress(OSError):
        before = path.read_bytes()
    try:
        _write_into(path, data)
    except BaseException:
        if before is not None:
            with suppress(OSError):
                _write_into(path, before)
        raise


def _write_into(path: Path, data: bytes) -> None:
    # Not truncated first: a process that is killed in between leaves more of a file than nothing.
    with os.fdopen(os.open(path, os.O_WRONLY | getattr(os, "O_BINARY", 0)), "wb") as file:
        file.write(data)
        file.flush()
        file.truncate()
        os.fsync(file.fileno())
