"""Notebooks as JSON, in the words of nbformat: the library upgrades, validates and writes."""

from __future__ import annotations

import json
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from commutable._cell import ID, Cell, CodeCell, MarkdownCell, RawCell, new_id
from commutable._document_errors import InvalidNotebook
from commutable._notebook import Notebook
from enchannel import NotSupported, Outputs
from enchannel.frozen import FrozenDict, thaw

__all__ = ["Writer", "from_dict", "parsed", "read", "to_dict", "written"]

Plain = dict[str, Any]

NEWEST = 4
IDS = 5  # the minor version of nbformat 4 in which cells have ids
OF_CELL = {"id", "cell_type", "source", "metadata"}
OF_NOTEBOOK = {"cells", "metadata", "nbformat", "nbformat_minor"}
TRANSIENT = ("orig_nbformat", "orig_nbformat_minor", "signature")


def from_dict(js: Mapping[str, Any], *, validate: bool = True) -> Notebook:
    """A notebook from what JSON has of it, of any version since nbformat 2.

    Older ones are upgraded to 4.5. A cell without an id, or with one that another has, gets a new one.
    Fields of later versions 4.x are kept.

    Args:
        js: Is left as it is.
        validate: Hold it against nbformat's schema. Without, what is not quite right may pass.

    Raises:
        InvalidNotebook: it is no notebook; the text says where, and why.
        NotSupported: nbformat is not installed.
    """
    with _not_too_deep():
        return read(thaw(_demand_dict(js, "a notebook")), validate=validate)


def to_dict(notebook: Notebook) -> Plain:
    """A notebook as JSON has it, in nbformat 4: plain dicts and lists, which may be changed.

    Texts are whole, as nbformat has them in memory; in files it has lists of lines.
    """
    return {
        **thaw(notebook.extra),
        "cells": [_cell_js(cell) for cell in notebook.cells],
        "metadata": thaw(notebook.metadata),
        "nbformat": notebook.nbformat,
        "nbformat_minor": notebook.nbformat_minor,
    }


def written(notebook: Notebook, *, validate: bool = True) -> bytes:
    """A notebook as nbformat writes it into a file.

    Raises:
        InvalidNotebook: nobody could read it again, at least not as a valid one.
    """
    try:
        return _text(notebook, validate=validate).encode()
    except UnicodeEncodeError:  # there is half a character in it, which only JSON can say
        return _text(notebook, validate=validate, ensure_ascii=True).encode()


class Writer:
    """Writes states of a notebook, one after the other. A cell that is still the same object is not
    written out again: nbformat writes each cell once, as if it were alone."""

    def __init__(self) -> None:
        self._texts: dict[str, tuple[Cell, str]] = {}

    def written(self, notebook: Notebook, *, validate: bool) -> bytes:
        """As the function has it, byte for byte."""
        if notebook.extra or not notebook.cells:
            return written(notebook, validate=validate)
        texts: dict[str, tuple[Cell, str]] = {}
        for cell in notebook.cells:
            known = self._texts.get(cell.id)
            if known is None or known[0] is not cell:
                try:
                    known = cell, _alone(cell, notebook.nbformat_minor, validate=validate)
                except InvalidNotebook:  # alone, it does not know which of the cells it is
                    return written(notebook, validate=validate)
            texts[cell.id] = known
        self._texts = texts
        bare = Notebook((), notebook.metadata, nbformat_minor=notebook.nbformat_minor)
        before, _, after = _text(bare, validate=validate).partition('"cells": []')
        cells = ",\n".join(text for _, text in texts.values())
        try:
            return "".join((before, '"cells": [\n', cells, "\n ]", after)).encode()
        except UnicodeEncodeError:
            return written(notebook, validate=validate)


def _alone(cell: Cell, minor: int, *, validate: bool) -> str:
    """What a cell is in a file."""
    text = _text(Notebook((cell,), nbformat_minor=minor), validate=validate)
    return text[text.index("[") + 2 : text.rindex("\n ],")]


def _text(notebook: Notebook, *, validate: bool, ensure_ascii: bool = False) -> str:
    nbformat = _library()
    with _not_too_deep(), _stumbling():
        js = to_dict(notebook)
        if validate:
            _demand_valid(js)
        node = nbformat.from_dict(js)
        write: Callable[..., str] = nbformat.versions[NEWEST].writes_json
        return f"{write(node, ensure_ascii=ensure_ascii)}\n"


def read(js: Plain, *, validate: bool) -> Notebook:
    """``from_dict``, of what is nobody else's: it is changed."""
    nbformat = _library()
    version = js.get("nbformat")
    if type(version) is not int:
        raise InvalidNotebook(f"a notebook says its version in nbformat; here that is {version!r}")
    if not 2 <= version <= NEWEST:
        raise InvalidNotebook(
            f"this is a notebook of nbformat {version}, and 2 to {NEWEST} can be read"
        )
    minor = js.get("nbformat_minor", None if version == NEWEST else 0)
    if type(minor) is not int or minor < 0:
        raise InvalidNotebook(
            f"a notebook of nbformat {version} says which in nbformat_minor; here that is {minor!r}"
        )
    with _stumbling(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what it would warn of is told, or mended, below
        node = nbformat.versions[version].to_notebook_json(js)
        if version < NEWEST:
            # Once more, as it would be read from a file: of some things only this one joins the lines.
            node = nbformat.versions[NEWEST].to_notebook_json(nbformat.convert(node, NEWEST))
        elif node["nbformat_minor"] < IDS:
            node = nbformat.versions[NEWEST].upgrade(node)
        js = thaw(node)
    for name in TRANSIENT:
        _demand_dict(js.get("metadata"), "the metadata of a notebook").pop(name, None)
    cells = js.get("cells")
    if not isinstance(cells, list):
        raise InvalidNotebook("a notebook has a list of cells, and this one has none")
    _name(cells)
    if validate:
        _demand_valid(js)
    return Notebook(
        [_cell(cell, f"cell {number}") for number, cell in enumerate(cells, 1)],
        FrozenDict(js["metadata"]),
        nbformat_minor=js["nbformat_minor"],
        extra=_others(js, OF_NOTEBOOK),
    )


def _cell_js(cell: Cell) -> Plain:
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


def _cell(js: Plain, where: str) -> Cell:
    id, source = js["id"], js.get("source", "")
    metadata = FrozenDict(_demand_dict(js.get("metadata", {}), f"the metadata of {where}"))
    match js.get("cell_type"):
        case "code":
            outputs = js.get("outputs", [])
            if not isinstance(outputs, list):
                raise InvalidNotebook(f"the outputs of {where} are no list")
            return CodeCell(
                id=id,
                source=source,
                metadata=metadata,
                outputs=Outputs.from_nbformat(_output(output, where) for output in outputs),
                execution_count=js.get("execution_count"),
                extra=_others(js, OF_CELL | {"outputs", "execution_count"}),
            )
        case "markdown" | "raw" as cell_type:
            attachments = js.get("attachments")
            if attachments is not None:
                attachments = FrozenDict(_demand_dict(attachments, f"the attachments of {where}"))
            make = MarkdownCell if cell_type == "markdown" else RawCell
            return make(
                id=id,
                source=source,
                metadata=metadata,
                attachments=attachments,
                extra=_others(js, OF_CELL | {"attachments"}),
            )
        case other:
            raise InvalidNotebook(f"{where} is of the type {other!r}, which nothing here knows")


def _output(js: object, where: str) -> FrozenDict:
    output = FrozenDict(_demand_dict(js, f"an output of {where}"))
    if not isinstance(output.get("output_type"), str):
        raise InvalidNotebook(f"an output of {where} does not say its output_type")
    return output


def _others(js: Plain, known: set[str]) -> FrozenDict:
    return FrozenDict({name: value for name, value in js.items() if name not in known})


def _name(cells: list[Any]) -> None:
    """Give each cell an id of its own, where it has none."""
    taken: set[str] = set()
    for number, cell in enumerate(cells, 1):
        id = _demand_dict(cell, f"cell {number}").get("id")
        if not (id is None or (isinstance(id, str) and ID.fullmatch(id))):
            raise InvalidNotebook(
                f"cell {number} has the id {id!r}: those are up to 64 letters, digits, - and _"
            )
        if id is None or id in taken:
            cell["id"] = id = new_id()
        taken.add(id)


def _demand_dict(value: Any, what: str) -> Any:
    if not isinstance(value, dict):
        raise InvalidNotebook(f"{what} is a JSON object, and this is a {type(value).__name__}")
    return value


def _demand_valid(js: Plain) -> None:
    nbformat = _library()
    try:
        # Of a later version it is not known what else may be there.
        nbformat.validate(js, relax_add_props=js["nbformat_minor"] > _newest_minor())
    except nbformat.ValidationError as error:
        path: deque[Any] = getattr(error, "relative_path", deque())
        where = "".join(f"[{key!r}]" if isinstance(key, int) else f".{key}" for key in path)
        why = str(getattr(error, "message", error)).partition("\n")[0]
        why = why if len(why) < 200 else f"{why[:200]}…"
        raise InvalidNotebook(
            f"it is no valid notebook: at {where.lstrip('.') or 'its top'}, {why}"
        ) from error
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise InvalidNotebook(  # it stumbles over what it wants to say as well
            f"it is no valid notebook, and nbformat cannot say why ({type(error).__name__}: {error})"
        ) from error


def _newest_minor() -> int:
    minor: int = _library().current_nbformat_minor
    return minor


@contextmanager
def _not_too_deep() -> Iterator[None]:
    try:
        yield
    except RecursionError:
        raise InvalidNotebook("it is nested too deeply") from None


@contextmanager
def _stumbling() -> Iterator[None]:
    """What nbformat stumbles over in what is no notebook is of any class."""
    nbformat = _library()
    try:
        yield
    except nbformat.ValidationError as error:
        raise InvalidNotebook(f"it is no valid notebook: {error}") from error
    except (AttributeError, KeyError, LookupError, TypeError, ValueError) as error:
        if isinstance(error, InvalidNotebook):
            raise
        why = f"{type(error).__name__}: {error}"
        raise InvalidNotebook(f"it is no notebook, or a broken one ({why})") from error


def _library() -> Any:
    try:
        import nbformat
    except ImportError as error:
        raise NotSupported(
            f'reading and writing notebooks takes pip install "enchannel[notebook]" ({error})'
        ) from error
    return nbformat


def parsed(data: bytes, what: str) -> Plain:
    """JSON, of a file.

    Raises:
        InvalidNotebook: it is none.
    """
    try:
        js = json.loads(data.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise InvalidNotebook(f"{what} is no notebook: it is not UTF-8") from None
    except (ValueError, RecursionError) as error:
        raise InvalidNotebook(f"{what} is no notebook: it is not JSON ({error})") from None
    plain: Plain = _demand_dict(js, what)
    return plain
