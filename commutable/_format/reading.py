"""Notebooks from JSON, and from the bytes of a file."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Callable, Mapping
from typing import Any

from commutable._cell import CELL_ID, Cell, CodeCell, MarkdownCell, RawCell, create_cell_id
from commutable._document_errors import InvalidNotebook
from commutable._format.library import (
    library,
    raise_if_invalid,
    raising_if_too_deep,
    translating_errors,
)
from commutable._format.repairing import OnRepair, repair, validate_or_strip_metadata
from commutable._notebook import FIRST_MINOR_WITH_IDS, Notebook
from enchannel import Outputs
from enchannel.frozen import FrozenDict, thaw

log = logging.getLogger(__name__)

__all__ = ["from_dict", "parse_json", "read_notebook"]

OLDEST_MAJOR, NEWEST_MAJOR = 2, Notebook.nbformat
NOTEBOOK_FIELDS = {"cells", "metadata", "nbformat", "nbformat_minor"}
CELL_FIELDS = {"id", "cell_type", "source", "metadata"}
TRANSIENT_METADATA = ("orig_nbformat", "orig_nbformat_minor", "signature")


def from_dict(
    js: Mapping[str, Any],
    *,
    validate: bool = True,
    strict: bool = False,
    on_repair: Callable[[str], None] | None = None,
) -> Notebook:
    """Return a notebook from its JSON form, of nbformat 2 or later.

    Notebooks of earlier versions are upgraded to 4.5; unknown fields are kept. A cell without an id, or
    with the id of an earlier cell, gets a new id.

    A notebook that deviates from the nbformat schema is repaired where it has one right reading: missing
    fields get their defaults, an execution count that is a text becomes a number, and so on. Invalid
    metadata is removed.

    Args:
        js: The JSON object; it is not modified.
        validate: Repair the notebook, and validate it against the nbformat schema. If False, it is left
            as it is, and minor deviations are accepted.
        strict: Reject each deviation from the schema, also unknown fields, instead of repairing it.
        on_repair: Called with a description of each repair; by default repairs are logged as warnings.

    Raises:
        InvalidNotebook: ``js`` is not a valid notebook; the text says where and why.
        MissingDependency: nbformat is not installed.
    """
    with raising_if_too_deep():
        return read_notebook(
            thaw(_validated_dict(js, "a notebook")),
            validate=validate,
            strict=strict,
            on_repair=on_repair,
        )


def parse_json(data: bytes, name: str) -> dict[str, Any]:
    """Return the JSON object in a file called ``name``.

    Raises:
        InvalidNotebook: the data is not a JSON object in UTF-8.
    """
    try:
        js = json.loads(data.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise InvalidNotebook(f"{name} is not a notebook: it is not UTF-8") from None
    except (ValueError, RecursionError) as error:
        raise InvalidNotebook(f"{name} is not a notebook: it is not JSON ({error})") from None
    return _validated_dict(js, name)


def read_notebook(
    js: dict[str, Any],
    *,
    validate: bool,
    strict: bool = False,
    on_repair: OnRepair | None = None,
) -> Notebook:
    """Return a notebook from its JSON form, like ``from_dict``, but modify ``js``."""
    is_repaired = validate and not strict
    on_repair = on_repair or _log_repair
    if is_repaired:
        with translating_errors():
            repair(js, on_repair)
    js = _upgraded(js)
    if is_repaired:
        # A notebook converted from an earlier version may deviate in the same ways.
        with translating_errors():
            repair(js, on_repair)
    for name in TRANSIENT_METADATA:
        _validated_dict(js.get("metadata"), "notebook metadata").pop(name, None)
    cells = js.get("cells")
    if not isinstance(cells, list):
        raise InvalidNotebook(f"cells must be a list, not {type(cells).__name__}")
    _fill_in_ids(cells)
    if is_repaired:
        validate_or_strip_metadata(js, on_repair)
    elif validate:
        raise_if_invalid(js, allow_unknown_fields=False)
    return Notebook(
        [_read_cell(cell, f"cell {number}") for number, cell in enumerate(cells, 1)],
        FrozenDict(js["metadata"]),
        nbformat_minor=js["nbformat_minor"],
        extra=_other_fields(js, NOTEBOOK_FIELDS),
    )


def _log_repair(text: str) -> None:
    log.warning("a notebook was repaired: %s", text)


def _upgraded(js: dict[str, Any]) -> dict[str, Any]:
    """Return the notebook in nbformat 4.5 or later, with multi-line strings joined."""
    nbformat = library()
    major, minor = _version(js)
    with translating_errors(), warnings.catch_warnings():
        # Reading reports or repairs everything that nbformat would warn about.
        warnings.simplefilter("ignore")
        node = nbformat.versions[major].to_notebook_json(js)
        if major < NEWEST_MAJOR:
            # Converted notebooks are read again, since only version 4 joins the lines of all fields.
            node = nbformat.convert(node, NEWEST_MAJOR)
            node = nbformat.versions[NEWEST_MAJOR].to_notebook_json(node)
        elif minor < FIRST_MINOR_WITH_IDS:
            node = nbformat.versions[NEWEST_MAJOR].upgrade(node)
        upgraded: dict[str, Any] = thaw(node)
        return upgraded


def _version(js: Mapping[str, Any]) -> tuple[int, int]:
    major = js.get("nbformat")
    if type(major) is not int:
        raise InvalidNotebook(f"nbformat must be an integer, not {major!r}")
    if not OLDEST_MAJOR <= major <= NEWEST_MAJOR:
        raise InvalidNotebook(
            f"nbformat {major} is not supported; versions {OLDEST_MAJOR} to {NEWEST_MAJOR} are"
        )
    minor = js.get("nbformat_minor", None if major == NEWEST_MAJOR else 0)
    if type(minor) is not int or minor < 0:
        raise InvalidNotebook(f"nbformat_minor must be a non-negative integer, not {minor!r}")
    return major, minor


def _fill_in_ids(cells: list[Any]) -> None:
    """Give a new id to each cell that has none, or that of an earlier cell."""
    taken: set[str] = set()
    for number, cell in enumerate(cells, 1):
        id = _validated_dict(cell, f"cell {number}").get("id")
        if not (id is None or (isinstance(id, str) and CELL_ID.fullmatch(id))):
            raise InvalidNotebook(
                f"id of cell {number} must be 1 to 64 letters, digits, '-' or '_', not {id!r}"
            )
        if id is None or id in taken:
            cell["id"] = id = create_cell_id()
        taken.add(id)


def _read_cell(js: dict[str, Any], where: str) -> Cell:
    id, source = js["id"], js.get("source", "")
    metadata = FrozenDict(_validated_dict(js.get("metadata", {}), f"the metadata of {where}"))
    match js.get("cell_type"):
        case "code":
            return CodeCell(
                id=id,
                source=source,
                metadata=metadata,
                outputs=_read_outputs(js.get("outputs", []), where),
                execution_count=js.get("execution_count"),
                extra=_other_fields(js, CELL_FIELDS | {"outputs", "execution_count"}),
            )
        case "markdown" | "raw" as cell_type:
            attachments = js.get("attachments")
            if attachments is not None:
                attachments = _validated_dict(attachments, f"the attachments of {where}")
                attachments = FrozenDict(attachments)
            make = MarkdownCell if cell_type == "markdown" else RawCell
            return make(
                id=id,
                source=source,
                metadata=metadata,
                attachments=attachments,
                extra=_other_fields(js, CELL_FIELDS | {"attachments"}),
            )
        case other:
            raise InvalidNotebook(
                f"cell_type of {where} must be code, markdown or raw, not {other!r}"
            )


def _read_outputs(outputs: object, where: str) -> Outputs:
    if not isinstance(outputs, list):
        raise InvalidNotebook(f"outputs of {where} must be a list, not {type(outputs).__name__}")
    return Outputs.from_nbformat(_read_output(output, where) for output in outputs)


def _read_output(js: object, where: str) -> FrozenDict:
    output = FrozenDict(_validated_dict(js, f"an output of {where}"))
    output_type = output.get("output_type")
    if not isinstance(output_type, str):
        raise InvalidNotebook(
            f"output_type of an output of {where} must be a string, not {output_type!r}"
        )
    return output


def _other_fields(js: Mapping[str, Any], known: set[str]) -> FrozenDict:
    return FrozenDict({name: value for name, value in js.items() if name not in known})


def _validated_dict(value: Any, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InvalidNotebook(f"{name} must be a JSON object, not {type(value).__name__}")
    return value
