"""Checks of the types of arguments, which raise errors that name the argument."""

from __future__ import annotations

import numbers
from collections.abc import Callable, Mapping, Sequence
from types import NoneType, UnionType
from typing import Any, Final, Union, get_args, get_origin

__all__ = ["validate_flags", "validate_type"]

WORDS: Final[Mapping[object, str]] = {
    bool: "a bool",
    int: "an int",
    float: "a number",
    str: "a string",
    NoneType: "None",
    Mapping: "a mapping",
    Sequence: "a sequence",
    Callable: "a function",
}

NUMBERS: Final[Mapping[object, type]] = {int: numbers.Integral, float: numbers.Real}


def validate_type(name: str, value: object, hint: object) -> None:
    """Raise TypeError unless a value is of the type of an annotation.

    The error does not show the value, which may be a secret. A part of an annotation that is not a class,
    such as a Literal or the type of the items of a list, accepts every value.

    Args:
        name: The name of the argument.
        value: The value.
        hint: The evaluated annotation.
    """
    alternatives = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    if any(_is_of(value, alternative) for alternative in alternatives):
        return
    words = " or ".join(_word(alternative) for alternative in alternatives)
    raise TypeError(f"{name} must be {words}, not {type(value).__name__}")


def validate_flags(**flags: object) -> None:
    """Raise TypeError unless all values are bools."""
    for name, value in flags.items():
        validate_type(name, value, bool)


def _is_of(value: object, hint: object) -> bool:
    kind: Any = _class_of(hint)
    if kind in NUMBERS:
        return isinstance(value, NUMBERS[kind]) and not isinstance(value, bool)
    try:
        return kind is None or isinstance(value, kind)
    except TypeError:  # of a Protocol or a TypedDict
        return True


def _class_of(hint: object) -> object:
    """Return the class of an annotation; None if it has none, as Any and Literal."""
    kind = get_origin(hint) or hint
    return kind if isinstance(kind, type) and kind is not Any else None


def _word(hint: object) -> str:
    kind = _class_of(hint)
    return WORDS.get(kind) or f"of type {getattr(kind, '__name__', kind)}"
