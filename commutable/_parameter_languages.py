"""The assignment of a value to a variable in each language: its names, reserved words and literals."""

from __future__ import annotations

import json
import keyword
import math
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["LANGUAGES", "Language"]

PYTHON_RESERVED = frozenset({*keyword.kwlist, "__debug__"})
# In R, ``..1`` and so on are reserved as well.
R_RESERVED = frozenset(
    """if else repeat while function for next break in TRUE FALSE NULL Inf NaN NA NA_integer_ NA_real_
    NA_character_ NA_complex_ ...""".split()
)
JULIA_RESERVED = frozenset(
    """baremodule begin break catch ccall const continue do else elseif end export false finally for
    function global if import in isa let local macro module quote return struct true try using where
    while""".split()
)
# Those of strict mode and of modules, and the globals that cannot be assigned.
JAVASCRIPT_RESERVED = frozenset(
    """arguments await break case catch class const continue debugger default delete do else enum eval
    export extends false finally for function if implements import in instanceof interface let new null
    package private protected public return static super switch this throw true try typeof var void while
    with yield undefined NaN Infinity""".split()
)


@dataclass(frozen=True, slots=True)
class Language:
    """A language in which parameters can be set.

    Attributes:
        comment: Begins a comment.
        name_rule: Describes valid names, in errors.
        reserved: The valid names that cannot be assigned.
        has_name_syntax: Returns True if a name has the syntax of a variable.
        assign: Returns the assignment of a valid value to a valid name. Raises ValueError for a value that
            the language cannot represent.
    """

    comment: str
    name_rule: str
    reserved: Collection[str]
    has_name_syntax: Callable[[str], bool]
    assign: Callable[[str, Any], str]


# -- names ----------------------------------------------------------------------------------------------


def _is_r_name(name: str) -> bool:
    plain = name.replace(".", "")
    if not name or (plain and not f"_{plain}".isidentifier()) or re.fullmatch(r"\.\.\d+", name):
        return False
    return name[0].isalpha() or re.match(r"\.(?!\d)", name) is not None


def _is_julia_name(name: str) -> bool:
    # A name of underscores only can be assigned, but not read.
    return bool(name.strip("_")) and name[0] != "!" and name.replace("!", "").isidentifier()


def _is_javascript_name(name: str) -> bool:
    return name.replace("$", "_").isidentifier()


# -- values ---------------------------------------------------------------------------------------------


def _python(value: Any) -> str:
    match value:
        case dict():
            return f"{{{', '.join(f'{key!r}: {_python(item)}' for key, item in value.items())}}}"
        case list():
            return f"[{', '.join(map(_python, value))}]"
        case float() if not math.isfinite(value):
            return f"float('{value}')"
        case _:
            return repr(value)


def _r(value: Any) -> str:
    match value:
        case None:
            return "NULL"
        case bool():
            return "TRUE" if value else "FALSE"
        case str():
            if "\0" in value:
                raise ValueError("a string in R cannot contain a null character")
            return _quoted(value)
        case dict():
            if "" in value:
                raise ValueError("a name in a list of R cannot be empty")
            return f"list({', '.join(f'{_r(key)} = {_r(item)}' for key, item in value.items())})"
        case list():
            return f"list({', '.join(map(_r, value))})"
        case float() if not math.isfinite(value):
            return _non_finite(value, "NaN", "Inf")
        case _:
            return _double(value, "R")


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
        case float() if not math.isfinite(value):
            return _non_finite(value, "NaN", "Inf")
        case _:
            return repr(value)


def _javascript(value: Any) -> str:
    match value:
        case dict():
            fields = (f"{_field(key)}: {_javascript(item)}" for key, item in value.items())
            return f"{{{', '.join(fields)}}}"
        case list():
            return f"[{', '.join(map(_javascript, value))}]"
        case float() if not math.isfinite(value):
            return _non_finite(value, "NaN", "Infinity")
        case int() if not isinstance(value, bool):
            return _double(value, "JavaScript")
        case _:
            return json.dumps(value)


def _field(key: str) -> str:
    # As a plain key it would set the prototype.
    return '["__proto__"]' if key == "__proto__" else json.dumps(key)


def _double(value: float, language: str) -> str:
    """Return a number, which the language stores as a double."""
    try:
        is_exact = int(float(value)) == value if isinstance(value, int) else True
    except OverflowError:
        is_exact = False
    if not is_exact:
        raise ValueError(
            f"{language} cannot represent this integer exactly (its numbers are doubles); pass it as text"
        )
    return repr(value)


def _non_finite(value: float, nan: str, infinity: str) -> str:
    if math.isnan(value):
        return nan
    return infinity if value > 0 else f"-{infinity}"


def _quoted(text: str) -> str:
    """Return a string literal in double quotes, with the escapes of C, R and Julia."""
    return json.dumps(text, ensure_ascii=False)


LANGUAGES: Mapping[str, Language] = {
    "python": Language(
        "#",
        "letters, digits and underscores, and not a keyword",
        PYTHON_RESERVED,
        str.isidentifier,
        lambda name, value: f"{name} = {_python(value)}",
    ),
    "r": Language(
        "#",
        "letters, digits, dots and underscores, beginning with a letter or dot, and not a reserved word",
        R_RESERVED,
        _is_r_name,
        lambda name, value: f"{name} <- {_r(value)}",
    ),
    "julia": Language(
        "#",
        "letters, digits, underscores and exclamation marks, and not a reserved word",
        JULIA_RESERVED,
        _is_julia_name,
        lambda name, value: f"{name} = {_julia(value)}",
    ),
    "javascript": Language(
        "//",
        "letters, digits, underscores and dollar signs, and not a reserved word",
        JAVASCRIPT_RESERVED,
        _is_javascript_name,
        lambda name, value: f"var {name} = {_javascript(value)};",
    ),
    "typescript": Language(
        "//",
        "letters, digits, underscores and dollar signs, and not a reserved word",
        JAVASCRIPT_RESERVED,
        _is_javascript_name,
        lambda name, value: f"var {name}: any = {_javascript(value)};",
    ),
}
