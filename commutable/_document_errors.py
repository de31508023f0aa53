"""The errors of notebooks as documents. They refer to no other module of this package."""

from __future__ import annotations

from enchannel.errors import EnchannelError

__all__ = ["CellNotFound", "DuplicateCell", "InvalidNotebook", "NotebookError"]


class NotebookError(EnchannelError):
    """The base class of all notebook errors."""


class InvalidNotebook(NotebookError, ValueError):
    """The value is not a valid notebook, or not a valid part of one; the text says where and why."""


class CellNotFound(NotebookError, LookupError):
    """The notebook has no cell with this id."""


class DuplicateCell(NotebookError, ValueError):
    """The notebook already has a cell with this id."""
