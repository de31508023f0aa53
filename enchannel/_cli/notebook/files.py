"""Notebook files, with errors as messages for the user."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import commutable as cm

__all__ = ["NotebookWriter", "UnusableNotebook", "load_notebook", "save_notebook"]


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


class NotebookWriter:
    """Saves the states of a notebook while it runs.

    Args:
        saver: Writes the file.
        saved: The notebook that the file holds already.

    Attributes:
        language_info: The kernel's own description of its language, once it is known. It is added to the
            notebook's metadata, as other tools do.
    """

    def __init__(self, saver: cm.Saver, saved: cm.Notebook) -> None:
        self.language_info: dict[str, Any] | None = None
        self._saver = saver
        self._saved = saved

    def write(self, notebook: cm.Notebook) -> None:
        """Save a notebook, unless it was saved last.

        Raises:
            UnusableNotebook: the file cannot be written.
        """
        if notebook is self._saved:
            return
        self._saved = notebook
        if self.language_info is not None:
            metadata = {**notebook.metadata, "language_info": self.language_info}
            notebook = cm.set_metadata(notebook, metadata)
        save_notebook(notebook, self._saver)
