"""What can go wrong with a notebook, by name.

::

    EnchannelError
    └── NotebookError
        ├── InvalidNotebook    what was read, or is to be written, is no notebook
        ├── CellNotFound       the notebook has no cell of that id
        ├── DuplicateCell      it has one of that id already
        └── CellFailed         a notebook that ran has stopped at a cell
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from enchannel.errors import EnchannelError

if TYPE_CHECKING:
    from commutable._notebook import Notebook

__all__ = ["CellFailed", "CellNotFound", "DuplicateCell", "InvalidNotebook", "NotebookError"]


class NotebookError(EnchannelError):
    """The root of what is about notebooks."""


class InvalidNotebook(NotebookError, ValueError):
    """Something is no notebook, or no part of one; the text says where in it, and why."""


class CellNotFound(NotebookError, LookupError):
    """A notebook has no cell of that id."""


class DuplicateCell(NotebookError, ValueError):
    """A notebook has a cell of that id already."""


class CellFailed(NotebookError):
    """A notebook that ran has stopped at a cell.

    Attributes:
        cell_id: Which.
        notebook: How far it came: the outputs of this cell, up to then, are in it.
        reason: What stopped it: ``KernelError`` if the code raised, ``RequestTimeout``, ``KernelDied``,
            ``ConnectionLost``, ``RequestAborted``, ``ChannelClosed``, ``InvalidMessage``. It is the
            ``__cause__`` as well.
    """

    __cause__: BaseException | None

    def __init__(self, text: str, *, cell_id: str, notebook: Notebook, reason: Exception) -> None:
        super().__init__(text)
        self.cell_id = cell_id
        self.notebook = notebook
        self.reason = reason
        self.__cause__ = reason

    def __reduce__(self) -> tuple[Any, ...]:
        return _cell_failed, (str(self), self.cell_id, self.notebook, self.reason)


def _cell_failed(text: str, cell_id: str, notebook: Notebook, reason: Exception) -> CellFailed:
    return CellFailed(text, cell_id=cell_id, notebook=notebook, reason=reason)
