"""Set notebook parameters, as papermill does: with a cell inserted after the one with the defaults."""

from __future__ import annotations

import json
import keyword
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from commutable._cell import CodeCell, code_cell, frozen_dict
from commutable._notebook import Notebook, inserted, replaced
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
        parameters: JSON values by variable name.
        language: The language of the code: Python, R, Julia, JavaScript or TypeScript. By default the
            language in the metadata of the notebook.

    Raises:
        InvalidNotebook: a value is not JSON.
        NotSupported: the language is not supported.
        ValueError: a name is not a valid variable name.
    """
    values = frozen_dict(parameters, "parameters")
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


def _assignments(values: Mapping[str, Any], language: str) -> str:
    try:
        comment, assign = LANGUAGES[language]
    except KeyError:
        supported = ", ".join(LANGUAGES)
        raise NotSupported(
            f"cannot set parameters in language {language!r}; supported: {supported}"
        ) from None
    for name in values:
        if not name.isidentifier() or keyword.iskeyword(name):
            raise ValueError(f"parameter name must be a valid variable name, not {name!r}")
    lines = [f"{comment} Parameters", *(assign(name, value) for name, value in values.items())]
    return "\n".join(lines)


def _python(value: Any) -> str:
    match value:
        case dict():
            return f"{{{', '.join(f'{key!r}: {_python(item)}' for key, item in value.items())}}}"
        case list():
            return f"[{', '.join(map(_python, value))}]"
        case _:
            return repr(value)


def _r(value: Any) -> str:
    match value:
        case None:
            return "NULL"
        case bool():
            return "TRUE" if value else "FALSE"
        case str():
            return _quoted(value)
        case dict():
            return (
                f"list({', '.join(f'{_quoted(key)} = {_r(item)}' for key, item in value.items())})"
            )
        case list():
            return f"list({', '.join(map(_r, value))})"
        case _:
            return repr(value)


def _julia(value: Any) -> str:
    match value:
        case None:
            return "nothing"
        case bool():
            return "true" if value else "false"
        case str():
            return _quoted(value).replace("$", "\\$")
        case dict():
            pairs = (f"{_julia(key)} => {_julia(item)}" for key, item in value.items())
            return f"Dict({', '.join(pairs)})"
        case list():
            return f"[{', '.join(map(_julia, value))}]"
        case _:
            return repr(value)


def _quoted(text: str) -> str:
    """Return a string literal in double quotes, with the escapes of C, R and Julia."""
    return json.dumps(text, ensure_ascii=False)


Assignment = Callable[[str, Any], str]
LANGUAGES: Mapping[str, tuple[str, Assignment]] = {
    "python": ("#", lambda name, value: f"{name} = {_python(value)}"),
    "r": ("#", lambda name, value: f"{name} <- {_r(value)}"),
    "julia": ("#", lambda name, value: f"{name} = {_julia(value)}"),
    "javascript": ("//", lambda name, value: f"var {name} = {json.dumps(value)};"),
    "typescript": ("//", lambda name, value: f"var {name}: any = {json.dumps(value)};"),
}
