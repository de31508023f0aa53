"""Parameters of a notebook, in the manner of papermill: a cell that is put behind those with defaults."""

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

DEFAULTS, INJECTED = "parameters", "injected-parameters"


def with_parameters(
    notebook: Notebook, parameters: Mapping[str, Any], *, language: str | None = None
) -> Notebook:
    """A notebook that runs with other parameters.

    Behind the cell with the tag ``parameters``, which has the defaults, comes one that sets them; before
    all others, where there is none with that tag. It has the tag ``injected-parameters``; one that is
    there already is replaced.

    Args:
        notebook: What is to be run.
        parameters: Values that JSON has a word for, by names of variables.
        language: Of the notebook's code; by default what it says itself. Python, R, Julia,
            JavaScript and TypeScript are known.

    Raises:
        InvalidNotebook: a value is none that JSON has a word for.
        NotSupported: nothing here knows how to set variables in that language.
        ValueError: a name is none of a variable.
    """
    values = frozen_dict(parameters, "parameters")
    if not values:
        return notebook
    spoken = (language or notebook.language or "python").lower()
    try:
        comment, assign = LANGUAGES[spoken]
    except KeyError:
        known = ", ".join(LANGUAGES)
        raise NotSupported(f"parameters cannot be set in {spoken}; they can in {known}") from None
    for name in values:
        if not name.isidentifier() or keyword.iskeyword(name):
            raise ValueError(f"{name!r} is no name of a variable, and so of no parameter")
    lines = [f"{comment} Parameters", *(assign(name, value) for name, value in values.items())]
    source = "\n".join(lines)
    defaults = None
    for place, cell in enumerate(notebook.cells):
        if isinstance(cell, CodeCell) and INJECTED in cell.tags:
            if cell.source == source:
                return notebook
            other = replace(cell, source=source, outputs=Outputs(), execution_count=None)
            return replaced(notebook, place, other)
        if defaults is None and isinstance(cell, CodeCell) and DEFAULTS in cell.tags:
            defaults = place
    cell = code_cell(source, metadata={"tags": [INJECTED]})
    return inserted(notebook, cell, 0 if defaults is None else defaults + 1)


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
    """A text in double quotes, as C, R and Julia read it."""
    return json.dumps(text, ensure_ascii=False)


Assignment = Callable[[str, Any], str]
LANGUAGES: Mapping[str, tuple[str, Assignment]] = {
    "python": ("#", lambda name, value: f"{name} = {_python(value)}"),
    "r": ("#", lambda name, value: f"{name} <- {_r(value)}"),
    "julia": ("#", lambda name, value: f"{name} = {_julia(value)}"),
    "javascript": ("//", lambda name, value: f"var {name} = {json.dumps(value)};"),
    "typescript": ("//", lambda name, value: f"var {name}: any = {json.dumps(value)};"),
}
