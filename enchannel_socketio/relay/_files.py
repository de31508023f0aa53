"""Opening and deleting files of a store without following symbolic links out of its directory."""

from __future__ import annotations

import errno
import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path

__all__ = ["NotARegularFile", "delete_files", "open_regular"]

# Not on all platforms. A pipe would block without O_NONBLOCK.
_FLAGS = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
_NOT_REGULAR = (errno.ELOOP, errno.EISDIR, errno.ENXIO)


class NotARegularFile(OSError):
    """Raised for a symbolic link, a directory, a pipe or a device in the place of a file."""

    def __init__(self, path: Path) -> None:
        super().__init__(errno.EINVAL, "not a regular file", str(path))


def open_regular(path: Path, flags: int) -> int:
    """Open a regular file, created for its owner only, and return its descriptor.

    Raises:
        NotARegularFile: It is something else.
        OSError: It cannot be opened.
    """
    if not hasattr(os, "O_NOFOLLOW") and path.is_symlink():
        raise NotARegularFile(path)
    try:
        descriptor = os.open(path, flags | _FLAGS, 0o600)
    except OSError as error:
        if error.errno in _NOT_REGULAR:
            raise NotARegularFile(path) from None
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise NotARegularFile(path)
    return descriptor


def delete_files(directory: Path, is_ours: Callable[[str], bool]) -> None:
    """Delete files of a directory, and the directory if no other files are in it.

    Args:
        directory: The directory; nothing is deleted if it is a symbolic link.
        is_ours: Returns True for the name of a file to be deleted.

    Raises:
        OSError: Something could not be deleted.
    """
    if directory.is_symlink():
        raise NotADirectoryError(errno.ENOTDIR, "a symbolic link", str(directory))
    if sys.platform == "win32":
        for path in directory.iterdir():
            if is_ours(path.name):
                path.unlink(missing_ok=True)
    else:
        # By descriptor: the directory may be replaced by a link meanwhile.
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | _FLAGS)
        try:
            for name in filter(is_ours, os.listdir(descriptor)):
                os.unlink(name, dir_fd=descriptor)
        finally:
            os.close(descriptor)
    directory.rmdir()
