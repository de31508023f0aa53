"""Set notebook parameters, as papermill does: with a cell inserted after the one with the defaults."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from commutable._cell import CodeCell, code_cell, frozen_dict
from commutable._document_errors import InvalidNotebook
from commutable._notebook import Notebook, inserted, replaced
from commutable._parameter_languages import LANGUAGES
from enchannel import NotSupported, Outputs

__all__ = ["with_parameters"]

DEFAULTS_TAG = "parameters"
INJECTED_TAG = "injected-parameters"


def with_parameters(
    notebook: Notebook, parameters: Mapping[str, Any], *, language: str | None = None
) -> Notebook:
    """Return the notebook with a cell that sets the given parameters.

    The cell has the tag ``injected-parameters`` and is inserted after the first code cell with the tag
    ``parameters``, which sets the defaults; without one, at the beginning. A cell injected earlier is
    replaced.

    Args:
        notebook: The notebook.
        parameters: JSON values by variable name; also NaN and infinity.
        language: The language of the code: Python, R, Julia, JavaScript or TypeScript. By default the
            language in the metadata of the notebook.

    Raises:
        InvalidNotebook: a value is not JSON.
        NotSupported: the language is not supported.
        ValueError: a name is not a valid variable name in that language, or the language cannot represent a
            value, such as an integer that is too large for the numbers of R or JavaScript.
    """
    try:
        frozen_dict(_thawed(parameters, numbers=False), "parameters")
        values = _thawed(parameters, numbers=True)
    except RecursionError:
        raise InvalidNotebook("parameters are nested too deeply") from None
    if not values:
        return notebook
    source = _assignments(values, (language or notebook.language or "python").lower())
    defaults_index = None
    for index, cell in enumerate(notebook.cells):
        if isinstance(cell, CodeCell) and INJECTED_TAG in cell.tags:
            if cell.source == source:
                return notebook
            other = replace(cell, source=source, outputs=Outputs(), execution_count=None)
            return replaced(notebook, index, other)
        if defaults_index is None and isinstance(cell, CodeCell) and DEFAULTS_TAG in cell.tags:
            defaults_index = index
    cell = code_cell(source, metadata={"tags": [INJECTED_TAG]})
    return inserted(notebook, cell, 0 if defaults_index is None else defaults_index + 1)


def _assignments(parameters: Mapping[str, Any], language: str) -> str:
    try:
        rules = LANGUAGES[language]
    except KeyError:
        supported = ", ".join(LANGUAGES)
        raise NotSupported(
            f"cannot set parameters in language {language!r}; supported: {supported}; "
            "write a cell that sets them instead"
        ) from None
    lines = [f"{rules.comment} Parameters"]
    for name, value in parameters.items():
        if not rules.has_name_syntax(name) or name in rules.reserved:
            raise ValueError(
                f"parameter name must be a valid variable name in {language}, not {name!r}: "
                f"{rules.name_rule}"
            )
        try:
            lines.append(rules.assign(name, value))
        # An integer of more than 4300 digits, among other values, has no literal.
        except ValueError as error:
            raise ValueError(f"parameter {name!r} cannot be set: {error}") from error
    return "\n".join(lines)


def _thawed(value: Any, *, numbers: bool) -> Any:
    """Return a value with plain dicts and lists; without ``numbers``, replace those that JSON lacks."""
    match value:
        case Mapping():
            return {key: _thawed(item, numbers=numbers) for key, item in value.items()}
        case list() | tuple():
            return [_thawed(item, numbers=numbers) for item in value]
        case float() if not (numbers or math.isfinite(value)):
            return 0.0
        case _:
            return value
