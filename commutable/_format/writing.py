"""Notebooks to JSON and to the bytes of a file."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from commutable._cell import Cell, CodeCell
from commutable._document_errors import InvalidNotebook
from commutable._format.library import (
    library,
    raise_if_invalid,
    raising_if_too_deep,
    translating_errors,
)
from commutable._notebook import Notebook
from enchannel import Output
from enchannel.frozen import thaw

__all__ = ["IncrementalWriter", "cell_to_dict", "output_to_dict", "to_bytes", "to_dict"]


def to_dict(notebook: Notebook) -> dict[str, Any]:
    """Return a notebook as JSON of nbformat 4, in mutable dicts and lists.

    Multi-line strings are single strings, as in nbformat's in-memory form; files have lists of lines.

    Args:
        notebook: The notebook.
    """
    return {
        **thaw(notebook.extra),
        "cells": [cell_to_dict(cell) for cell in notebook.cells],
        "metadata": thaw(notebook.metadata),
        "nbformat": notebook.nbformat,
        "nbformat_minor": notebook.nbformat_minor,
    }


def cell_to_dict(cell: Cell) -> dict[str, Any]:
    """Return a cell as JSON of nbformat 4.5, in mutable dicts and lists; it is one of ``to_dict``'s cells.

    Args:
        cell: The cell.
    """
    js = {
        **thaw(cell.extra),
        "id": cell.id,
        "cell_type": cell.cell_type,
        "source": cell.source,
        "metadata": thaw(cell.metadata),
    }
    if isinstance(cell, CodeCell):
        js["execution_count"] = cell.execution_count
        js["outputs"] = [thaw(output) for output in cell.outputs]
    elif cell.attachments is not None:
        js["attachments"] = thaw(cell.attachments)
    return js


def output_to_dict(output: Output) -> dict[str, Any]:
    """Return an output as JSON of nbformat 4, in mutable dicts and lists.

    The ``transient`` of ``ec.updated_outputs`` is omitted, since nbformat does not have it.

    Args:
        output: The output.
    """
    js: dict[str, Any] = thaw(output)
    js.pop("transient", None)
    return js


def to_bytes(notebook: Notebook, *, validate: bool = True) -> bytes:
    """Return the content of a notebook file, byte for byte as nbformat writes it.

    Raises:
        InvalidNotebook: the notebook could not be read again, or is invalid and ``validate`` is set.
    """
    try:
        return _to_text(notebook, validate=validate).encode()
    except UnicodeEncodeError:
        # UTF-8 cannot encode a lone surrogate, but an escape sequence in JSON can.
        return _to_text(notebook, validate=validate, ensure_ascii=True).encode()


class IncrementalWriter:
    """Serializes successive states of a notebook, and skips the cells that are still the same objects.

    nbformat writes each cell independently of the others, so the text of a cell can be reused.
    """

    def __init__(self) -> None:
        self._texts: dict[str, tuple[Cell, str]] = {}

    def to_bytes(self, notebook: Notebook, *, validate: bool) -> bytes:
        """Return the same bytes as the function ``to_bytes``."""
        if notebook.extra or not notebook.cells:
            return to_bytes(notebook, validate=validate)
        try:
            self._texts = self._cell_texts(notebook, validate=validate)
        except InvalidNotebook:
            # The error of a single cell lacks its position in the notebook.
            return to_bytes(notebook, validate=validate)
        bare = Notebook((), notebook.metadata, nbformat_minor=notebook.nbformat_minor)
        before, _, after = _to_text(bare, validate=validate).partition('"cells": []')
        cells = ",\n".join(text for _, text in self._texts.values())
        try:
            return "".join((before, '"cells": [\n', cells, "\n ]", after)).encode()
        except UnicodeEncodeError:
            return to_bytes(notebook, validate=validate)

    def _cell_texts(self, notebook: Notebook, *, validate: bool) -> dict[str, tuple[Cell, str]]:
        texts: dict[str, tuple[Cell, str]] = {}
        for cell in notebook.cells:
            known = self._texts.get(cell.id)
            if known is None or known[0] is not cell:
                known = cell, cell_to_text(cell, notebook.nbformat_minor, validate=validate)
            texts[cell.id] = known
        return texts


def cell_to_text(cell: Cell, minor: int, *, validate: bool) -> str:
    """Return the lines that nbformat writes for a cell into a notebook file."""
    text = _to_text(Notebook((cell,), nbformat_minor=minor), validate=validate)
    return text[text.index("[") + 2 : text.rindex("\n ],")]


def _to_text(notebook: Notebook, *, validate: bool, ensure_ascii: bool = False) -> str:
    nbformat = library()
    with raising_if_too_deep(), translating_errors():
        js = to_dict(notebook)
        if validate:
            # Unknown fields are kept, as in reading.
            raise_if_invalid(js, allow_unknown_fields=True)
        node = nbformat.from_dict(js)
        write: Callable[..., str] = nbformat.versions[notebook.nbformat].writes_json
        return f"{write(node, ensure_ascii=ensure_ascii)}\n"
