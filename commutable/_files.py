"""Load and save notebook files."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from commutable._document_errors import InvalidNotebook
from commutable._format import IncrementalWriter, parse_json, read_notebook, to_bytes
from commutable._notebook import Notebook
from commutable._replacement import replace_file

__all__ = ["Saver", "load", "save"]

log = logging.getLogger(__name__)


def load(
    path: str | os.PathLike[str],
    *,
    validate: bool = True,
    strict: bool = False,
    on_repair: Callable[[str], None] | None = None,
) -> Notebook:
    """Read a notebook from a file of nbformat 2 or later; see ``from_dict``.

    Args:
        path: The path of the file.
        validate, strict, on_repair: As for ``from_dict``.

    Raises:
        InvalidNotebook: the file is not a valid notebook; the text says where and why.
        OSError: the file cannot be read.
        MissingDependency: nbformat is not installed.
    """
    js = parse_json(Path(path).read_bytes(), str(path))
    try:
        return read_notebook(
            js,
            validate=validate,
            strict=strict,
            on_repair=on_repair or (lambda text: log.warning("%s was repaired: %s", path, text)),
        )
    except InvalidNotebook as error:
        raise InvalidNotebook(f"{path}: {error}") from error


def save(
    notebook: Notebook, path: str | os.PathLike[str] | BinaryIO, *, validate: bool = True
) -> None:
    """Write a notebook to a file, byte for byte as nbformat does; it is on disk when this returns.

    An existing file is replaced atomically, and keeps its owner and permissions. It is overwritten in place
    if it is writable and cannot be replaced, as in a directory of somebody else or on a mount point. A
    symbolic link is followed. If anything fails, the existing file is unchanged.

    Args:
        notebook: The notebook. The ``status`` and ``deleting`` of cells are not saved.
        path: The path of the file, or a binary file that is open for writing.
        validate: Raise if ``load`` would reject the file.

    Raises:
        InvalidNotebook: the notebook is invalid.
        OSError: the file cannot be written; PermissionError if it is write-protected.
        MissingDependency: nbformat is not installed.
    """
    data = to_bytes(notebook, validate=validate)
    if isinstance(path, (str, os.PathLike)):
        replace_file(Path(path), data)
    else:
        path.write(data)


class Saver:
    """Saves successive states of a notebook to one file, and serializes only the changed cells.

    Each save is like ``save``. The serialized cells of the last state are kept in memory. Not
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
        replace_file(self.path, data)
