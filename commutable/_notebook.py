"""The immutable notebook, and the functions that derive one notebook from another."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from operator import is_
from typing import Any, ClassVar, NoReturn, final

from commutable._cell import Cell, CodeCell, MarkdownCell, RawCell, code_cell, frozen_dict
from commutable._document_errors import CellNotFound, DuplicateCell, InvalidNotebook
from commutable._index import CellIndex
from enchannel.frozen import EMPTY, FrozenDict

__all__ = [
    "Notebook",
    "annotated",
    "empty_notebook",
    "inserted",
    "mapped",
    "monocell_notebook",
    "replaced",
    "without",
]

FIRST_MINOR_WITH_IDS = 5  # nbformat 4.5


@final
class Notebook:
    """An immutable notebook.

    Operations return new notebooks, which share all unchanged objects with the old one. Notebooks are
    compared by value.

    Args:
        cells: The cells; their ids must be unique.
        metadata: The metadata of the notebook, such as its kernel and language; copied and frozen.
        nbformat_minor: The minor version of nbformat 4 to write to files.
        extra: Unknown fields from a later version of nbformat.

    Raises:
        DuplicateCell: two cells have the same id.
        InvalidNotebook: another argument is invalid.

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
    metadata: Mapping[str, Any]
    nbformat_minor: int
    extra: Mapping[str, Any]
    _index: CellIndex

    def __init__(
        self,
        cells: Iterable[Cell] = (),
        metadata: Mapping[str, Any] = EMPTY,
        *,
        nbformat_minor: int = FIRST_MINOR_WITH_IDS,
        extra: Mapping[str, Any] = EMPTY,
    ) -> None:
        cells = tuple(cells)
        for cell in cells:
            _validate_cell(cell)
        index = CellIndex(cells)
        for position, cell in enumerate(cells):
            if index.find(cells, cell.id) != position:
                raise DuplicateCell(f"two cells have the id {cell.id}")
        if type(nbformat_minor) is not int or nbformat_minor < FIRST_MINOR_WITH_IDS:
            raise InvalidNotebook(
                f"nbformat_minor must be an int of at least {FIRST_MINOR_WITH_IDS}, the first version"
                f" with cell ids, not {nbformat_minor!r}"
            )
        _fill(
            self,
            cells,
            frozen_dict(metadata, "notebook metadata"),
            nbformat_minor,
            frozen_dict(extra, "extra notebook fields"),
            index,
        )

    def cell(self, cell_id: str) -> Cell:
        """Return the cell with the given id.

        Raises:
            CellNotFound: the notebook has no such cell.
        """
        return self.cells[self.index(cell_id)]

    def index(self, cell_id: str) -> int:
        """Return the index of the cell with the given id.

        Raises:
            CellNotFound: the notebook has no such cell.
        """
        index = self._index.find(self.cells, cell_id)
        if index is None:
            count = len(self.cells)
            raise CellNotFound(
                f"the notebook has no cell with the id {cell_id!r}; it has "
                f"{count} cell{'' if count == 1 else 's'}"
            )
        return index

    def __contains__(self, cell_id: object) -> bool:
        return isinstance(cell_id, str) and self._index.find(self.cells, cell_id) is not None

    @property
    def kernel_name(self) -> str | None:
        """The name of the kernelspec in the metadata, if any."""
        return _text(self.metadata.get("kernelspec"), "name")

    @property
    def language(self) -> str | None:
        """The programming language in the metadata, if any."""
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
        raise AttributeError("a Notebook is immutable; operations return a changed one")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError("a Notebook is immutable; operations return a changed one")


def monocell_notebook(cell: Cell | None = None) -> Notebook:
    """Create a notebook of one cell.

    Args:
        cell: The cell; by default an empty code cell.

    Raises:
        InvalidNotebook: ``cell`` is not a cell.

    Example:
        >>> [cell.source for cell in cm.monocell_notebook(cm.code_cell("6 * 7")).cells]
        ['6 * 7']
    """
    return Notebook((code_cell() if cell is None else cell,))


def inserted(notebook: Notebook, cell: Cell, index: int) -> Notebook:
    """Return the notebook with a cell inserted at an index.

    Raises:
        DuplicateCell: the notebook already has a cell with this id.
        InvalidNotebook: ``cell`` is not a cell.
    """
    _validate_cell(cell)
    if cell.id in notebook:
        raise DuplicateCell(f"the notebook already has a cell with the id {cell.id}")
    cells = (*notebook.cells[:index], cell, *notebook.cells[index:])
    return _with_cells(notebook, cells, notebook._index.with_cell_at(cells, index))


def replaced(notebook: Notebook, index: int, cell: Cell) -> Notebook:
    """Return the notebook with a new state of the cell at an index, or itself if it is the same object."""
    if notebook.cells[index] is cell:
        return notebook
    cells = (*notebook.cells[:index], cell, *notebook.cells[index + 1 :])
    return _with_cells(notebook, cells, notebook._index)


def mapped(notebook: Notebook, change: Callable[[Cell], Cell]) -> Notebook:
    """Return the notebook with ``change`` applied to each cell, or itself if no cell changed.

    ``change`` must keep the id of the cell.
    """
    cells = tuple(map(change, notebook.cells))
    if all(map(is_, cells, notebook.cells)):
        return notebook
    return _with_cells(notebook, cells, notebook._index)


def without(notebook: Notebook, index: int) -> Notebook:
    """Return the notebook without the cell at an index."""
    cells = notebook.cells[:index] + notebook.cells[index + 1 :]
    return _with_cells(notebook, cells, notebook._index)


def annotated(notebook: Notebook, metadata: Mapping[str, Any]) -> Notebook:
    """Return the notebook with its metadata replaced."""
    return _notebook(
        notebook.cells, metadata, notebook.nbformat_minor, notebook.extra, notebook._index
    )


def _with_cells(notebook: Notebook, cells: tuple[Cell, ...], index: CellIndex) -> Notebook:
    return _notebook(cells, notebook.metadata, notebook.nbformat_minor, notebook.extra, index)


def _notebook(
    cells: tuple[Cell, ...],
    metadata: Mapping[str, Any],
    minor: int,
    extra: Mapping[str, Any],
    index: CellIndex,
) -> Notebook:
    notebook = Notebook.__new__(Notebook)
    _fill(notebook, cells, metadata, minor, extra, index)
    return notebook


def _fill(
    notebook: Notebook,
    cells: tuple[Cell, ...],
    metadata: Mapping[str, Any],
    minor: int,
    extra: Mapping[str, Any],
    index: CellIndex,
) -> None:
    fill = object.__setattr__
    fill(notebook, "cells", cells)
    fill(notebook, "metadata", metadata)
    fill(notebook, "nbformat_minor", minor)
    fill(notebook, "extra", extra)
    fill(notebook, "_index", index)


def _unpickled(
    cells: tuple[Cell, ...], metadata: Mapping[str, Any], minor: int, extra: Mapping[str, Any]
) -> Notebook:
    return Notebook(cells, metadata, nbformat_minor=minor, extra=extra)


def _validate_cell(cell: object) -> None:
    if not isinstance(cell, (CodeCell, MarkdownCell, RawCell)):
        raise InvalidNotebook(
            f"a cell must be a CodeCell, MarkdownCell or RawCell, not {cell!r}; cm.code_cell(…) creates one"
        )


def _text(mapping: object, key: str) -> str | None:
    value = mapping.get(key) if isinstance(mapping, FrozenDict) else None
    return value if value and isinstance(value, str) else None


empty_notebook: Notebook = Notebook()
"""A notebook without cells and metadata."""
