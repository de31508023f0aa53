"""Calls of a backend's methods, whose options are checked before the call."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from functools import partial
from typing import Any, TypeVar, get_args, get_type_hints

from enchannel._protocol.argument_types import validate_type

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
            option that it requires is missing; or an option is of another type than its annotation.
    """
    signature = inspect.signature(call)
    known = _options_of(call, signature)
    for name, value in options.items():
        if known is not None and name not in known:
            raise TypeError(
                f"unknown option {name!r} for the backend {backend!r}; "
                f"options: {', '.join(sorted(known)) or 'none'}{_suggestion(name, {*known, *own})}"
            )
        validate_type(name, value, Any if known is None else known[name])
    signature.bind(*arguments, **options)
    return partial(call, *arguments, **options)


def _suggestion(name: str, known: set[str]) -> str:
    other = OTHER_NAMES.get(name)
    close = [other] if other in known else get_close_matches(name, sorted(known), n=1)
    return f"; use {close[0]!r} instead" if close else ""


def _options_of(call: Callable[..., Any], signature: inspect.Signature) -> dict[str, Any] | None:
    """Return the names of a method's options, with their annotations; None if it accepts any.

    The annotation is Any where it cannot be evaluated.
    """
    hints = _hints_of(call)
    options = dict[str, Any]()
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY:
            options[parameter.name] = hints.get(parameter.name, Any)
        elif parameter.kind is parameter.VAR_KEYWORD:
            typed = _keys_of_typed_dict(hints.get(parameter.name))
            if typed is None:
                return None
            options.update(typed)
    return options


def _keys_of_typed_dict(hint: object) -> Mapping[str, Any] | None:
    """Return the keys of ``**options: Unpack[Keywords]``; None for another annotation."""
    for typed in get_args(hint):
        if hasattr(typed, "__optional_keys__"):
            return dict.fromkeys(typed.__annotations__, Any) | _hints_of(typed)
    return None


def _hints_of(annotated: Any) -> dict[str, Any]:
    """Return the annotations of a function or class; none if they cannot be evaluated."""
    try:
        return get_type_hints(annotated)
    except (NameError, TypeError):
        # One names a type that is imported for type checkers only, or the function is an object.
        return {}
