"""Repairs of notebooks that deviate from the nbformat schema and can be read in one way only."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from commutable._cell import CELL_ID, create_cell_id
from commutable._document_errors import InvalidNotebook
from commutable._format.library import library, raise_if_invalid
from commutable._notebook import FIRST_MINOR_WITH_IDS

__all__ = ["OnRepair", "repair", "validate_or_strip_metadata"]

OnRepair: TypeAlias = Callable[[str], None]
"""Called with a description of each repair."""

JSON_TYPE = re.compile(r"application/(.*\+)?json")
OLD_OUTPUT_TYPES = {"pyout": "execute_result", "pyerr": "error"}
MAX_HEADING_LEVEL = 6


def repair(js: dict[str, Any], on_repair: OnRepair) -> None:
    """Repair a notebook of a known nbformat 4 in place; leave a deviation with several readings.

    Args:
        js: The notebook, as in its file.
        on_repair: Receives a description of each repair.
    """
    _repair_version(js, on_repair)
    if js.get("nbformat") != 4 or _is_later_minor(js.get("nbformat_minor")):
        return
    _fill(js, "metadata", dict, "the notebook", on_repair)
    if isinstance(js["metadata"], dict):
        _repair_kernelspec(js["metadata"], on_repair)
    cells = js.get("cells")
    if isinstance(cells, list):
        for number, cell in enumerate(cells, 1):
            if isinstance(cell, dict):
                _repair_cell(cell, f"cell {number}", on_repair)


def validate_or_strip_metadata(js: dict[str, Any], on_repair: OnRepair) -> None:
    """Validate a notebook against the nbformat schema, and remove invalid metadata.

    Raises:
        InvalidNotebook: Anything else is invalid.
    """
    while True:
        try:
            raise_if_invalid(js, allow_unknown_fields=True)
            return
        except InvalidNotebook as error:
            path: list[Any] = list(getattr(error.__cause__, "relative_path", ()))
            if "metadata" not in path[:-1]:
                raise
            position = path.index("metadata") + 1
            owner: Any = js
            for key in path[:position]:
                owner = owner[key]
            del owner[path[position]]
            on_repair(f"removed metadata: {str(error).removeprefix('invalid notebook at ')}")


# -- the notebook ---------------------------------------------------------------------------------------


def _repair_version(js: dict[str, Any], on_repair: OnRepair) -> None:
    for name in ("nbformat", "nbformat_minor"):
        number = _to_count(js.get(name))
        if number is not None and type(js[name]) is not int:
            js[name] = number
            on_repair(f"{name} is the integer {number}")
    has_cells = isinstance(js.get("cells"), list) and isinstance(js.get("metadata"), dict)
    if js.get("nbformat") is None and has_cells:
        js["nbformat"] = 4
        on_repair("nbformat was missing, and is 4 for a notebook with cells")
    if js.get("nbformat") == 4 and js.get("nbformat_minor") is None:
        cells = js.get("cells")
        has_ids = isinstance(cells, list) and any(isinstance(c, dict) and "id" in c for c in cells)
        js["nbformat_minor"] = FIRST_MINOR_WITH_IDS if has_ids else 0
        on_repair("nbformat_minor was missing")


def _is_later_minor(minor: object) -> bool:
    """Return True for a version whose schema is unknown, so that nothing is known to deviate from it."""
    return isinstance(minor, int) and minor > library().current_nbformat_minor


def _repair_kernelspec(metadata: dict[str, Any], on_repair: OnRepair) -> None:
    for name in ("kernelspec", "language_info"):
        if name in metadata and not isinstance(metadata[name], dict):
            del metadata[name]
            on_repair(f"removed metadata.{name}, which was not an object")
    spec = metadata.get("kernelspec", {})
    info = metadata.get("language_info", {})
    if "kernelspec" in metadata:
        for name, default in (("name", ""), ("display_name", spec.get("name") or "")):
            if not isinstance(spec.get(name), str):
                spec[name] = default if isinstance(default, str) else ""
                on_repair(f"metadata.kernelspec had no {name}")
    if "language_info" in metadata and not isinstance(info.get("name"), str):
        language = spec.get("language")
        info["name"] = language if isinstance(language, str) else ""
        on_repair("metadata.language_info had no name")


# -- cells ----------------------------------------------------------------------------------------------


def _repair_cell(cell: dict[str, Any], where: str, on_repair: OnRepair) -> None:
    _repair_cell_type(cell, where, on_repair)
    _rename(cell, "input", "source", where, on_repair)
    if cell.get("id", "") is not None and "id" in cell:
        _repair_id(cell, where, on_repair)
    _fill(cell, "metadata", dict, where, on_repair)
    _fill(cell, "source", str, where, on_repair)
    if cell.get("attachments", {}) is None:
        del cell["attachments"]
        on_repair(f"removed the attachments of {where}, which were null")
    if isinstance(cell["metadata"], dict):
        _repair_tags(cell["metadata"], where, on_repair)
    if cell.get("cell_type") == "code":
        _rename(cell, "prompt_number", "execution_count", where, on_repair)
        _repair_count(cell, where, on_repair)
        _fill(cell, "outputs", list, where, on_repair)
        if isinstance(cell["outputs"], list):
            for index, output in enumerate(cell["outputs"]):
                if isinstance(output, dict):
                    cell["outputs"][index] = _repaired_output(output, where, on_repair)
        return
    for name in ("outputs", "execution_count"):
        if name in cell and not cell[name]:
            del cell[name]
            on_repair(f"removed the empty {name} of {where}, which is not a code cell")


def _repair_cell_type(cell: dict[str, Any], where: str, on_repair: OnRepair) -> None:
    kind = cell.get("cell_type")
    if kind is None and ("outputs" in cell or "execution_count" in cell):
        cell["cell_type"] = "code"
    elif kind == "heading":
        level = _to_count(cell.pop("level", 1)) or 1
        source = cell.get("source")
        text = "".join(map(str, source)) if isinstance(source, list) else str(source or "")
        cell["cell_type"] = "markdown"
        cell["source"] = f"{'#' * min(level, MAX_HEADING_LEVEL)} {text}"
    elif isinstance(kind, str) and kind.lower() in ("code", "markdown", "raw"):
        cell["cell_type"] = kind.lower()
    if cell.get("cell_type") != kind:
        on_repair(f"the type of {where} is {cell['cell_type']}, not {kind!r}")


def _repair_id(cell: dict[str, Any], where: str, on_repair: OnRepair) -> None:
    id = cell["id"]
    if not (isinstance(id, str) and CELL_ID.fullmatch(id)):
        cell["id"] = str(id) if type(id) is int and id >= 0 else create_cell_id()
        on_repair(f"{where} got the id {cell['id']} instead of the invalid {id!r}")


def _repair_tags(metadata: dict[str, Any], where: str, on_repair: OnRepair) -> None:
    tags = metadata.get("tags")
    listed = [tags] if isinstance(tags, str) else tags
    if not isinstance(listed, list) or not all(isinstance(tag, str) for tag in listed):
        return
    # A tag in nbformat has no comma.
    names = (name for tag in listed for name in (tag.split(",") if "," in tag else [tag]))
    repaired = list(dict.fromkeys(names))
    if repaired != tags:
        metadata["tags"] = repaired
        on_repair(f"the tags of {where} are {repaired}")


def _repair_count(js: dict[str, Any], where: str, on_repair: OnRepair) -> None:
    count = js.get("execution_count")
    if "execution_count" not in js:
        js["execution_count"] = None
        on_repair(f"the execution_count of {where} was missing")
    elif not (count is None or (type(count) is int and count >= 0)):
        js["execution_count"] = _to_count(count)
        on_repair(f"the execution_count of {where} is {js['execution_count']}, not {count!r}")


# -- outputs --------------------------------------------------------------------------------------------


def _repaired_output(output: dict[str, Any], where: str, on_repair: OnRepair) -> dict[str, Any]:
    where = f"an output of {where}"
    kind = output.get("output_type")
    if kind in OLD_OUTPUT_TYPES:
        if "data" not in output:
            output = dict(library().v4.convert.upgrade_output(library().from_dict(output)))
        output["output_type"] = OLD_OUTPUT_TYPES[kind]
    elif kind is None and (inferred := _inferred_type(output)):
        output["output_type"] = inferred
    if output.get("output_type") != kind:
        on_repair(f"the type of {where} is {output['output_type']}, not {kind!r}")
    match output.get("output_type"):
        case "stream":
            _rename(output, "stream", "name", where, on_repair)
            _fill(output, "name", lambda: "stdout", where, on_repair)
            _fill(output, "text", str, where, on_repair)
        case "display_data" | "execute_result" as displayed:
            _fill(output, "data", dict, where, on_repair)
            _fill(output, "metadata", dict, where, on_repair)
            if displayed == "execute_result":
                _repair_count(output, where, on_repair)
            if isinstance(output["data"], dict):
                _repair_data(output["data"], where, on_repair)
        case "error":
            _repair_error(output, where, on_repair)
        case _:
            pass
    return output


def _inferred_type(output: Mapping[str, Any]) -> str | None:
    if "ename" in output:
        return "error"
    if "data" in output:
        return "execute_result" if "execution_count" in output else "display_data"
    return "stream" if "text" in output and "name" in output else None


def _repair_data(data: dict[str, Any], where: str, on_repair: OnRepair) -> None:
    for mime_type, content in tuple(data.items()):
        if JSON_TYPE.fullmatch(mime_type):
            continue
        if content is None:
            del data[mime_type]
            on_repair(f"removed the null {mime_type} of {where}")
        elif isinstance(content, (bool, int, float)):
            data[mime_type] = json.dumps(content)
            on_repair(f"the {mime_type} of {where} is text")


def _repair_error(output: dict[str, Any], where: str, on_repair: OnRepair) -> None:
    for name in ("ename", "evalue"):
        _fill(output, name, str, where, on_repair)
        if isinstance(output[name], (bool, int, float)):
            output[name] = str(output[name])
            on_repair(f"the {name} of {where} is text")
    _fill(output, "traceback", list, where, on_repair)
    if isinstance(output["traceback"], str):
        output["traceback"] = output["traceback"].split("\n")
        on_repair(f"the traceback of {where} is a list of lines")


# -- values ---------------------------------------------------------------------------------------------


def _fill(
    js: dict[str, Any], name: str, default: Callable[[], Any], where: str, on_repair: OnRepair
) -> None:
    if js.get(name) is None:
        js[name] = default()
        on_repair(f"the {name} of {where} was missing")


def _rename(js: dict[str, Any], old: str, new: str, where: str, on_repair: OnRepair) -> None:
    if old in js and new not in js:
        js[new] = js.pop(old)
        on_repair(f"the {new} of {where} was called {old}")


def _to_count(value: object) -> int | None:
    """Return the non-negative integer that a value is or spells, or None."""
    if isinstance(value, bool):
        return None
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) < 10:
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, int) and value >= 0 else None
