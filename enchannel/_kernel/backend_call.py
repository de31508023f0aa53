"""Calls of a backend's methods, whose options are checked before the call."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from functools import partial
from typing import Any, TypeVar, get_args, get_type_hints

__all__ = ["bind_options"]

_T = TypeVar("_T")

# The names of these options in jupyter_client and subprocess.
OTHER_NAMES = {"env": "extra_env", "kernel_name": "name"}


def bind_options(
    call: Callable[..., _T],
    backend: str,
    options: Mapping[str, Any],
    *arguments: object,
    own: Iterable[str] = (),
) -> Callable[..., _T]:
    """Return a backend's method with its positional arguments and the options that the user passed.

    Args:
        call: The method; its options are the keyword-only parameters.
        backend: The name of the backend.
        options: The options that the user passed.
        arguments: The positional arguments.
        own: The parameters of the public function, which an error suggests as well.

    Raises:
        TypeError: The method does not have one of the options, and the text lists those that it has; or an
            option that it requires is missing.
    """
    signature = inspect.signature(call)
    known = _options_of(call, signature)
    for name in options:
        if known is not None and name not in known:
            raise TypeError(
                f"unknown option {name!r} for the backend {backend!r}; "
                f"options: {', '.join(sorted(known)) or 'none'}{_suggestion(name, {*known, *own})}"
            )
    signature.bind(*arguments, **options)
    return partial(call, *arguments, **options)


def _suggestion(name: str, known: set[str]) -> str:
    other = OTHER_NAMES.get(name)
    close = [other] if other in known else get_close_matches(name, sorted(known), n=1)
    return f"; use {close[0]!r} instead" if close else ""


def _options_of(call: Callable[..., Any], signature: inspect.Signature) -> set[str] | None:
    """Return the names of a method's options; None if it accepts any."""
    names = set[str]()
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY:
            names.add(parameter.name)
        elif parameter.kind is parameter.VAR_KEYWORD:
            typed = _keys_of_typed_dict(call, parameter.name)
            if typed is None:
                return None
            names.update(typed)
    return names


def _keys_of_typed_dict(call: Callable[..., Any], parameter: str) -> Iterable[str] | None:
    """Return the keys of a parameter ``**options: Unpack[Keywords]``; None for another annotation."""
    try:
        hint = get_type_hints(call).get(parameter)
    except (NameError, TypeError):
        # The annotation names a type that is imported for type checkers only, or the method is an object.
        return None
    for typed in get_args(hint):
        if (keys := getattr(typed, "__optional_keys__", None)) is not None:
            return {*keys, *typed.__required_keys__}
    return None
