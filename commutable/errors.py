"""The errors of this package.

::

    EnchannelError
    └── NotebookError
        ├── InvalidNotebook    not a valid notebook, when reading, editing or writing
        ├── CellNotFound       the notebook has no cell with this id
        ├── DuplicateCell      the notebook already has a cell with this id
        └── CellFailed         a run stopped at a cell
"""

from __future__ import annotations

from typing import Any

from commutable._document_errors import (
    CellNotFound,
    DuplicateCell,
    InvalidNotebook,
    NotebookError,
)
from commutable._notebook import Notebook

__all__ = ["CellFailed", "CellNotFound", "DuplicateCell", "InvalidNotebook", "NotebookError"]


class CellFailed(NotebookError):
    """A notebook run stopped at a cell.

    Attributes:
        cell_id: The id of the cell.
        notebook: The last state, with the outputs of this cell up to the failure.
        reason: The cause: ``KernelError`` if the code raised, ``RequestTimeout``, ``KernelDied``,
            ``ConnectionLost``, ``RequestAborted``, ``ChannelClosed``, ``InvalidMessage``, or any other
            exception that was raised during the run. Also set as ``__cause__``.
    """

    __cause__: BaseException | None

    def __init__(self, text: str, *, cell_id: str, notebook: Notebook, reason: Exception) -> None:
        super().__init__(text)
        self.cell_id = cell_id
        self.notebook = notebook
        self.reason = reason
        self.__cause__ = reason

    def __reduce__(self) -> tuple[Any, ...]:
        fields = (self.problem, self.cell_id, self.notebook, self.reason)
        return _cell_failed, fields, self.__dict__


def _cell_failed(text: str, cell_id: str, notebook: Notebook, reason: Exception) -> CellFailed:
    return CellFailed(text, cell_id=cell_id, notebook=notebook, reason=reason)


# Tracebacks and pickles name the public module.
for _error in (NotebookError, InvalidNotebook, CellNotFound, DuplicateCell):
    _error.__module__ = __name__
