"""Notebook files, with errors as messages for the user."""

from __future__ import annotations

import errno
import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import commutable as cm

__all__ = [
    "NotebookWriter",
    "UnusableNotebook",
    "is_stdout",
    "is_stream",
    "load_notebook",
    "require_writable_stream",
    "save_notebook",
    "write_notebook",
]

STDOUT_NAMES = ("-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1")


class UnusableNotebook(Exception):
    """A notebook cannot be run or written; the text is a message for the user."""


def load_notebook(
    path: Path, *, strict: bool = False, on_repair: Callable[[str], None] | None = None
) -> cm.Notebook:
    """Read a notebook.

    Args:
        path: The path of the file.
        strict, on_repair: As for ``commutable.load``.

    Raises:
        UnusableNotebook: the file cannot be read.
        InvalidNotebook: the file is not a notebook.
    """
    try:
        return cm.load(path, strict=strict, on_repair=on_repair)
    except OSError as error:
        raise UnusableNotebook(f"{path} cannot be read: {error.strerror or error}") from error


def save_notebook(notebook: cm.Notebook, saver: cm.Saver) -> None:
    """Write a notebook.

    Raises:
        UnusableNotebook: the file cannot be written.
    """
    try:
        saver.save(notebook)
    except (OSError, cm.InvalidNotebook) as error:
        reason = error.strerror or error if isinstance(error, OSError) else error
        raise UnusableNotebook(f"{saver.path} cannot be written: {reason}") from error


def is_stdout(path: str) -> bool:
    """Return True if an output file is stdout."""
    return path in STDOUT_NAMES


def is_stream(path: str) -> bool:
    """Return True if an output file is stdout, a pipe or a device, which can be written only once."""
    return is_stdout(path) or (os.path.exists(path) and not os.path.isfile(path))


def require_writable_stream(path: str) -> None:
    """Check that a stream can be written, without opening it: opening a pipe waits for its reader.

    Raises:
        UnusableNotebook: the path is a directory or a socket, or writing to it is not permitted.
    """
    if is_stdout(path):
        return
    mode = os.stat(path).st_mode
    if stat.S_ISDIR(mode):
        number = errno.EISDIR
    elif stat.S_ISSOCK(mode):
        number = errno.ENXIO
    elif not os.access(path, os.W_OK):
        number = errno.EACCES
    else:
        return
    raise UnusableNotebook(f"{path} cannot be written: {os.strerror(number)}")


def write_notebook(notebook: cm.Notebook, path: str) -> None:
    """Write a notebook to a stream.

    Raises:
        UnusableNotebook: the notebook is invalid, or the stream cannot be opened.
        OSError: stdout cannot be written.
    """
    try:
        if not is_stdout(path):
            cm.save(notebook, path)
        elif sys.stdout is not None:
            cm.save(notebook, sys.stdout.buffer)
            sys.stdout.buffer.flush()
    except (OSError, cm.InvalidNotebook) as error:
        if is_stdout(path) and isinstance(error, OSError):
            raise
        reason = error.strerror or error if isinstance(error, OSError) else error
        raise UnusableNotebook(f"{path} cannot be written: {reason}") from error


class NotebookWriter:
    """Saves the states of a notebook while it runs.

    Args:
        save: Writes the file.
        saved: The notebook that the file holds already, if any.
        once: Write only the last state.

    Attributes:
        language_info: The kernel's own description of its language, once it is known. It is added to the
            notebook's metadata, as other tools do.
    """

    def __init__(
        self,
        save: Callable[[cm.Notebook], None],
        saved: cm.Notebook | None = None,
        *,
        once: bool = False,
    ) -> None:
        self.language_info: dict[str, Any] | None = None
        self._save = save
        self._saved = saved
        self._once = once

    def write(self, notebook: cm.Notebook) -> None:
        """Save a state, unless it was saved last or only the last state is written.

        Raises:
            UnusableNotebook: the file cannot be written.
        """
        if not self._once:
            self._write(notebook)

    def finish(self, notebook: cm.Notebook) -> None:
        """Save the last state, if it is the only one that is written.

        Raises:
            UnusableNotebook, OSError: the file cannot be written.
        """
        if self._once:
            self._write(notebook)

    def _write(self, notebook: cm.Notebook) -> None:
        if notebook is self._saved:
            return
        self._saved = notebook
        if self.language_info is not None:
            metadata = {**notebook.metadata, "language_info": self.language_info}
            notebook = cm.set_metadata(notebook, metadata)
        self._save(notebook)
