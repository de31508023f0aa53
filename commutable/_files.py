"""Load and save notebook files. Saving replaces a file atomically."""

from __future__ import annotations

import os
import stat
import uuid
from contextlib import suppress
from pathlib import Path

from commutable._document_errors import InvalidNotebook
from commutable._format import IncrementalWriter, parse_json, read_notebook, to_bytes
from commutable._notebook import Notebook

__all__ = ["Saver", "load", "save"]


def load(path: str | os.PathLike[str], *, validate: bool = True) -> Notebook:
    """Read a notebook from a file of nbformat 2 or later; see ``from_dict``.

    Args:
        path: The path of the file.
        validate: Validate the notebook against the nbformat schema.

    Raises:
        InvalidNotebook: the file is not a valid notebook; the text says where and why.
        OSError: the file cannot be read.
        MissingDependency: nbformat is not installed.
    """
    js = parse_json(Path(path).read_bytes(), str(path))
    try:
        return read_notebook(js, validate=validate)
    except InvalidNotebook as error:
        raise InvalidNotebook(f"{path}: {error}") from error


def save(notebook: Notebook, path: str | os.PathLike[str], *, validate: bool = True) -> None:
    """Write a notebook to a file, byte for byte as nbformat does; it is on disk when this returns.

    An existing file is replaced atomically and keeps its permissions; a symbolic link is followed. If
    anything fails, the existing file is unchanged.

    Args:
        notebook: The notebook. The ``status`` and ``deleting`` of cells are not saved.
        path: The path of the file.
        validate: Raise if ``load`` would reject the file.

    Raises:
        InvalidNotebook: the notebook is invalid.
        OSError: the file cannot be written.
        MissingDependency: nbformat is not installed.
    """
    _replace(Path(os.path.realpath(path)), to_bytes(notebook, validate=validate))


class Saver:
    """Saves successive states of a notebook to one file, and serializes only the changed cells.

    Each save is atomic, like ``save``. The serialized cells of the last state are kept in memory. Not
    thread-safe: use it on one thread at a time.

    Args:
        path: The path of the file.
        validate: Raise if ``load`` would reject the file.

    Attributes:
        path: The path of the file.

    Example:
        >>> saver = cm.Saver("done.ipynb")
        >>> states.subscribe(saver.save)
    """

    def __init__(self, path: str | os.PathLike[str], *, validate: bool = True) -> None:
        self.path: Path = Path(path)
        self._validate = validate
        self._writer = IncrementalWriter()

    def save(self, notebook: Notebook) -> None:
        """Write a state to the file.

        Raises:
            InvalidNotebook, OSError, MissingDependency: as for ``save``.
        """
        data = self._writer.to_bytes(notebook, validate=self._validate)
        _replace(Path(os.path.realpath(self.path)), data)


def _replace(path: Path, data: bytes) -> None:
    mode = None
    with suppress(FileNotFoundError):
        status = path.stat()
        mode = stat.S_IMODE(status.st_mode)
        if not stat.S_ISREG(status.st_mode):  # a pipe or a device
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
