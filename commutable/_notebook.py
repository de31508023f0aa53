"""A notebook: its cells in their order, and what is noted about it. It never changes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from operator import is_
from typing import Any, ClassVar, NoReturn, final

from commutable._cell import Cell, CodeCell, MarkdownCell, RawCell, frozen_dict
from commutable._document_errors import CellNotFound, DuplicateCell, InvalidNotebook
from commutable._index import Index
from enchannel.frozen import EMPTY, FrozenDict

__all__ = ["Notebook", "annotated", "empty_notebook", "inserted", "mapped", "replaced", "without"]

MINOR = 5  # of nbformat 4: the one with ids


@final
class Notebook:
    """One state of a notebook. What an operation does not touch is the same object in the next state.

    Equal by value: also two that came from different files.

    Args:
        cells: Each has an id of its own.
        metadata: Of the notebook: its kernel, its language, and whatever tools have noted. Frozen; what
            is given is copied.
        nbformat_minor: The version 4.x of nbformat that a file of it has.
        extra: Other fields, of a later nbformat.

    Raises:
        DuplicateCell: two cells have one id.
        InvalidNotebook: no notebook can be like that.

    Example:
        >>> notebook = cm.append_cell(cm.empty_notebook, cm.code_cell("6 * 7", id="a"))
        >>> notebook.cell("a").source
        '6 * 7'
        >>> "b" in notebook
        False
    """

    __slots__ = ("_index", "cells", "extra", "metadata", "nbformat_minor")

    nbformat: ClassVar[int] = 4
    cells: tuple[Cell, ...]
    metadata: dict[str, Any]
    nbformat_minor: int
    extra: dict[str, Any]
    _index: Index

    def __init__(
        self,
        cells: Iterable[Cell] = (),
        metadata: Mapping[str, Any] = EMPTY,
        *,
        nbformat_minor: int = MINOR,
        extra: Mapping[str, Any] = EMPTY,
    ) -> None:
        cells = tuple(cells)
        for cell in cells:
            _demand_cell(cell)
        index = Index(cells)
        for place, cell in enumerate(cells):
            if index.find(cells, cell.id) != place:
                raise DuplicateCell(f"two cells have the id {cell.id}")
        if type(nbformat_minor) is not int or nbformat_minor < MINOR:
            raise InvalidNotebook(
                f"nbformat 4.{nbformat_minor} has no ids of cells: {MINOR} is the first that has"
            )
        _fill(
            self,
            cells,
            frozen_dict(metadata, "the metadata of a notebook"),
            nbformat_minor,
            frozen_dict(extra, "what else a notebook has"),
            index,
        )

    def cell(self, cell_id: str) -> Cell:
        """A cell by its id.

        Raises:
            CellNotFound: there is none.
        """
        return self.cells[self.index(cell_id)]

    def index(self, cell_id: str) -> int:
        """Where a cell is; the first is 0.

        Raises:
            CellNotFound: there is no such cell.
        """
        place = self._index.find(self.cells, cell_id)
        if place is None:
            count = len(self.cells)
            raise CellNotFound(
                f"no cell of this notebook has the id {cell_id!r}; it has "
                f"{count} cell{'' if count == 1 else 's'}"
            )
        return place

    def __contains__(self, cell_id: object) -> bool:
        return isinstance(cell_id, str) and self._index.find(self.cells, cell_id) is not None

    @property
    def kernel_name(self) -> str | None:
        """The kernelspec that it is for, if it says so."""
        return _text(self.metadata.get("kernelspec"), "name")

    @property
    def language(self) -> str | None:
        """The language of its code, if it says so."""
        of_kernel = _text(self.metadata.get("kernelspec"), "language")
        return of_kernel or _text(self.metadata.get("language_info"), "name")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Notebook):
            return NotImplemented
        return self is other or (
            self.cells == other.cells
            and self.metadata == other.metadata
            and self.nbformat_minor == other.nbformat_minor
            and self.extra == other.extra
        )

    def __hash__(self) -> int:
        return hash(self.cells)

    def __repr__(self) -> str:
        count = len(self.cells)
        return f"<Notebook of {count} cell{'' if count == 1 else 's'}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpickled, (self.cells, self.metadata, self.nbformat_minor, self.extra)

    def __copy__(self) -> Notebook:
        return self

    def __deepcopy__(self, memo: object) -> Notebook:
        return self

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError("a notebook never changes; an operation gives another")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError("a notebook never changes; an operation gives another")


def inserted(notebook: Notebook, cell: Cell, place: int) -> Notebook:
    """With another cell at a place.

    Raises:
        DuplicateCell: the notebook has one of that id.
    """
    _demand_cell(cell)
    if cell.id in notebook:
        raise DuplicateCell(f"the notebook already has a cell of the id {cell.id}")
    cells = (*notebook.cells[:place], cell, *notebook.cells[place:])
    return _with_cells(notebook, cells, notebook._index.with_place(cells, place))


def replaced(notebook: Notebook, place: int, cell: Cell) -> Notebook:
    """With another state of the cell at a place; this same notebook, if it is no other."""
    if notebook.cells[place] is cell:
        return notebook
    cells = (*notebook.cells[:place], cell, *notebook.cells[place + 1 :])
    return _with_cells(notebook, cells, notebook._index)


def mapped(notebook: Notebook, change: Callable[[Cell], Cell]) -> Notebook:
    """With another state of some cells; this same notebook, if there is none."""
    cells = tuple(map(change, notebook.cells))
    if all(map(is_, cells, notebook.cells)):
        return notebook
    return _with_cells(notebook, cells, notebook._index)


def without(notebook: Notebook, place: int) -> Notebook:
    """Without the cell at a place."""
    cells = notebook.cells[:place] + notebook.cells[place + 1 :]
    return _with_cells(notebook, cells, notebook._index)


def annotated(notebook: Notebook, metadata: dict[str, Any]) -> Notebook:
    """With other metadata."""
    return _notebook(
        notebook.cells, metadata, notebook.nbformat_minor, notebook.extra, notebook._index
    )


def _with_cells(notebook: Notebook, cells: tuple[Cell, ...], index: Index) -> Notebook:
    return _notebook(cells, notebook.metadata, notebook.nbformat_minor, notebook.extra, index)


def _notebook(
    cells: tuple[Cell, ...],
    metadata: dict[str, Any],
    minor: int,
    extra: dict[str, Any],
    index: Index,
) -> Notebook:
    notebook = Notebook.__new__(Notebook)
    _fill(notebook, cells, metadata, minor, extra, index)
    return notebook


def _fill(
    notebook: Notebook,
    cells: tuple[Cell, ...],
    metadata: dict[str, Any],
    minor: int,
    extra: dict[str, Any],
    index: Index,
) -> None:
    fill = object.__setattr__
    fill(notebook, "cells", cells)
    fill(notebook, "metadata", metadata)
    fill(notebook, "nbformat_minor", minor)
    fill(notebook, "extra", extra)
    fill(notebook, "_index", index)


def _unpickled(
    cells: tuple[Cell, ...], metadata: dict[str, Any], minor: int, extra: dict[str, Any]
) -> Notebook:
    return Notebook(cells, metadata, nbformat_minor=minor, extra=extra)


def _demand_cell(cell: object) -> None:
    if not isinstance(cell, (CodeCell, MarkdownCell, RawCell)):
        raise InvalidNotebook(f"this is no cell: {cell!r}; cm.code_cell(…) makes one")


def _text(mapping: object, key: str) -> str | None:
    value = mapping.get(key) if isinstance(mapping, FrozenDict) else None
    return value if value and isinstance(value, str) else None


empty_notebook: Notebook = Notebook()
"""No cells, and nothing noted."""
