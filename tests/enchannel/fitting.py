"""A plain, slow type check of JSON values, independent of the code under test."""

from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints


def fits(value: Any, hint: Any) -> bool:
    origin = get_origin(hint)
    if hint is Any:
        return True
    if origin in (Union, UnionType):
        return any(fits(value, one) for one in get_args(hint))
    if origin is Literal:
        return any(type(value) is type(word) and value == word for word in get_args(hint))
    if origin is list:
        return isinstance(value, list) and all(fits(v, *get_args(hint)) for v in value)
    if origin is dict:
        return isinstance(value, dict) and all(fits(v, get_args(hint)[1]) for v in value.values())
    if hasattr(hint, "__required_keys__"):
        return (
            isinstance(value, dict)
            and hint.__required_keys__ <= value.keys()
            and all(fits(value[k], one) for k, one in get_type_hints(hint).items() if k in value)
        )
    return type(value) is hint
