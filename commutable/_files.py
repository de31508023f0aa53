"""Notebooks in files. A file is replaced in one step: it is the old one or the new one, never half."""

from __future__ import annotations

import os
import stat
import uuid
from contextlib import suppress
from pathlib import Path

from commutable._document_errors import InvalidNotebook
from commutable._format import Writer, parsed, read, written
from commutable._notebook import Notebook

__all__ = ["Saver", "load", "save"]


def load(path: str | os.PathLike[str], *, validate: bool = True) -> Notebook:
    """A notebook from a file, of any version since nbformat 2; see ``from_dict``.

    Args:
        path: Of the file.
        validate: Hold it against nbformat's schema.

    Raises:
        InvalidNotebook: it is no notebook; the text says where in it, and why.
        OSError: the file cannot be read.
        NotSupported: nbformat is not installed.
    """
    js = parsed(Path(path).read_bytes(), str(path))
    try:
        return read(js, validate=validate)
    except InvalidNotebook as error:
        raise InvalidNotebook(f"{path}: {error}") from error


def save(notebook: Notebook, path: str | os.PathLike[str], *, validate: bool = True) -> None:
    """Write a notebook into a file, just as nbformat does; it is on the disk when this returns.

    A file that is there is replaced in one step and keeps its permissions; of a link, the file that it
    leads to. Where anything goes wrong, it is as it was.

    Args:
        notebook: What to write; what a user interface notes of cells (``status``, ``deleting``) is not.
        path: Of the file.
        validate: Write nothing that ``load`` would refuse.

    Raises:
        InvalidNotebook: it would be refused.
        OSError: it cannot be written.
        NotSupported: nbformat is not installed.
    """
    _replace(Path(os.path.realpath(path)), written(notebook, validate=validate))


class Saver:
    """Saves states of a notebook into a file, one after the other, at the cost of what has changed.

    Each save is as ``save`` does it. What is kept for that is the text of each cell in the last state. Use
    it on one thread at a time.

    Args:
        path: Of the file.
        validate: Write nothing that ``load`` would refuse.

    Attributes:
        path: Of the file.

    Example:
        >>> saver = cm.Saver("done.ipynb")
        >>> states.subscribe(saver.save)
    """

    def __init__(self, path: str | os.PathLike[str], *, validate: bool = True) -> None:
        self.path: Path = Path(path)
        self._validate = validate
        self._writer = Writer()

    def save(self, notebook: Notebook) -> None:
        """Write a state.

        Raises:
            InvalidNotebook, OSError, NotSupported: As ``save`` does.
        """
        data = self._writer.written(notebook, validate=self._validate)
        _replace(Path(os.path.realpath(self.path)), data)


def _replace(path: Path, data: bytes) -> None:
    mode = None
    with suppress(FileNotFoundError):
        status = path.stat()
        mode = stat.S_IMODE(status.st_mode)
        if not stat.S_ISREG(status.st_mode):  # a pipe or a device: there is nothing to replace
            path.write_bytes(data)
            return
    new = path.with_name(f".{path.name[:50]}.{uuid.uuid4().hex[:12]}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    try:
        with os.fdopen(os.open(new, flags, 0o666 if mode is None else mode & 0o700), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if mode is not None:
            new.chmod(mode)
        new.replace(path)
    except BaseException:
        with suppress(OSError):
            new.unlink()
        raise
