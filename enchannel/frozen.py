"""Immutable JSON: a dict and a list whose mutating methods raise.

They are subclasses of ``dict`` and ``list``, so ``json.dumps``, msgspec and nbformat accept them. Nested
values are frozen on access, so that freezing a large output costs nothing until it is read; therefore
every method that returns a value is overridden. ``dict(x)``, ``{**x}`` and ``list(x)`` use these methods
too: CPython skips its fast path for a subclass that overrides ``__iter__``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, ItemsView, Iterable, Iterator, Mapping, Sequence, ValuesView
from typing import Any, NoReturn, SupportsIndex, overload

from enchannel._protocol.errors import InvalidMessage

__all__ = ["EMPTY", "FrozenDict", "FrozenList", "freeze", "thaw"]


def _refuse(self: object, *args: object, **kwargs: object) -> NoReturn:
    raise TypeError("this object is immutable; use copy.deepcopy() for a mutable copy")


class FrozenDict(dict[str, Any]):
    """A mapping of JSON values that is immutable at any depth; ``thaw`` returns a mutable copy.

    It is a mapping that ``json.dumps``, msgspec and nbformat accept. Do not rely on its base class
    ``dict``, which may change.
    """

    __slots__ = ()

    def __new__(cls, items: Mapping[str, Any] | Iterable[tuple[str, Any]] = ()) -> FrozenDict:
        self = dict.__new__(cls)
        dict.update(self, items)
        return self

    def __init__(self, items: Mapping[str, Any] | Iterable[tuple[str, Any]] = ()) -> None:
        pass  # dict.__init__ would change it

    def __getitem__(self, key: str) -> Any:
        value = dict.__getitem__(self, key)
        kind = type(value)
        if kind is dict:
            value = FrozenDict(value)
        elif kind is list:
            value = FrozenList(value)
        else:
            return value
        dict.__setitem__(self, key, value)
        return value

    def get(self, key: str, default: Any = None) -> Any:
        return self[key] if key in self else default

    def __iter__(self) -> Iterator[str]:
        return dict.__iter__(self)

    def values(self) -> ValuesView[Any]:  # type: ignore[override]  # still a view
        return ValuesView(self)

    def items(self) -> ItemsView[str, Any]:  # type: ignore[override]  # still a view
        return ItemsView(self)

    def copy(self) -> dict[str, Any]:
        return dict(self)

    def __or__(self, other: Any) -> Any:
        return dict(self) | other if isinstance(other, dict) else NotImplemented

    def __ror__(self, other: Any) -> Any:
        return dict(other) | dict(self) if isinstance(other, dict) else NotImplemented

    def __copy__(self) -> FrozenDict:
        return self

    def __deepcopy__(self, memo: object) -> dict[str, Any]:
        plain: dict[str, Any] = thaw(self)
        return plain

    def __reduce__(self) -> tuple[type[FrozenDict], tuple[dict[str, Any]]]:
        return FrozenDict, (thaw(self),)

    __setitem__: Callable[..., NoReturn] = _refuse
    __delitem__: Callable[..., NoReturn] = _refuse
    __ior__: Callable[..., NoReturn] = _refuse
    update: Callable[..., NoReturn] = _refuse
    setdefault: Callable[..., NoReturn] = _refuse
    pop: Callable[..., NoReturn] = _refuse
    popitem: Callable[..., NoReturn] = _refuse
    clear: Callable[..., NoReturn] = _refuse


class FrozenList(list[Any]):
    """A sequence of JSON values that is immutable at any depth; ``thaw`` returns a mutable copy."""

    __slots__ = ()

    def __new__(cls, items: Iterable[Any] = ()) -> FrozenList:
        self = list.__new__(cls)
        list.extend(self, items)
        return self

    def __init__(self, items: Iterable[Any] = ()) -> None:
        pass  # list.__init__ would change it

    @overload
    def __getitem__(self, index: SupportsIndex) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> FrozenList: ...
    def __getitem__(self, index: SupportsIndex | slice) -> Any:
        value = list.__getitem__(self, index)
        if isinstance(index, slice):
            return FrozenList(value)
        kind = type(value)
        if kind is dict:
            value = FrozenDict(value)
        elif kind is list:
            value = FrozenList(value)
        else:
            return value
        list.__setitem__(self, index, value)
        return value

    def __iter__(self) -> Iterator[Any]:
        return (self[i] for i in range(len(self)))

    def __reversed__(self) -> Iterator[Any]:
        return (self[i] for i in range(len(self) - 1, -1, -1))

    def copy(self) -> list[Any]:
        return list(self)

    def __add__(self, other: Any) -> Any:
        return [*self, *other] if isinstance(other, list) else NotImplemented

    def __radd__(self, other: Any) -> Any:
        return [*other, *self] if isinstance(other, list) else NotImplemented

    def __mul__(self, times: SupportsIndex) -> Any:
        return list(self) * times

    def __rmul__(self, times: SupportsIndex) -> Any:
        return list(self) * times

    def __copy__(self) -> FrozenList:
        return self

    def __deepcopy__(self, memo: object) -> list[Any]:
        plain: list[Any] = thaw(self)
        return plain

    def __reduce__(self) -> tuple[type[FrozenList], tuple[list[Any]]]:
        return FrozenList, (thaw(self),)

    __setitem__: Callable[..., NoReturn] = _refuse
    __delitem__: Callable[..., NoReturn] = _refuse
    __iadd__: Callable[..., NoReturn] = _refuse
    __imul__: Callable[..., NoReturn] = _refuse
    append: Callable[..., NoReturn] = _refuse
    extend: Callable[..., NoReturn] = _refuse
    insert: Callable[..., NoReturn] = _refuse
    pop: Callable[..., NoReturn] = _refuse
    remove: Callable[..., NoReturn] = _refuse
    clear: Callable[..., NoReturn] = _refuse
    sort: Callable[..., NoReturn] = _refuse
    reverse: Callable[..., NoReturn] = _refuse


EMPTY = FrozenDict()


def freeze(value: Any, path: str = "content") -> Any:
    """Return an immutable copy of a JSON value.

    Args:
        value: A JSON value; mappings and sequences of any class are accepted.
        path: The name of the value in errors.

    Raises:
        InvalidMessage: a value that JSON cannot represent (a number that is not finite, a key that is
            not a string, an object of another class); the text names its path.
    """
    kind = type(value)
    if value is None or kind is int or kind is bool:
        return value
    # Subclasses (an IntEnum, numpy's float64) become plain values: msgspec encodes exact types only.
    if isinstance(value, str):
        if not value.isascii():
            _refuse_surrogates(value, path)
        return value if kind is str else str.__str__(value)
    if isinstance(value, int):
        return int.__int__(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise InvalidMessage(f"{path} must be a finite number, not {value}")
        return value if kind is float else float.__float__(value)
    try:
        if isinstance(value, Mapping):
            return FrozenDict([(_key(k, path), freeze(v, f"{path}.{k}")) for k, v in value.items()])
        if isinstance(value, Sequence) and not isinstance(value, (bytes, bytearray, memoryview)):
            return FrozenList([freeze(v, f"{path}[{i}]") for i, v in enumerate(value)])
    except RecursionError:
        raise InvalidMessage(f"{path.split('.')[0]} is nested too deeply") from None
    raise InvalidMessage(f"{path} must be a JSON value, not {type(value).__name__}")


def _key(key: object, path: str) -> str:
    if not isinstance(key, str):
        raise InvalidMessage(f"a key of {path} must be a string, not {key!r}")
    if not key.isascii():
        _refuse_surrogates(key, f"a key of {path}")
    return key


def _refuse_surrogates(text: str, path: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidMessage(
            f"{path} contains a lone surrogate, which UTF-8 cannot encode"
        ) from None


def thaw(value: Any) -> Any:
    """Return a plain, mutable copy at every depth."""
    if isinstance(value, dict):
        return {k: thaw(dict.__getitem__(value, k)) for k in dict.__iter__(value)}
    if isinstance(value, list):
        return [thaw(v) for v in list.__iter__(value)]
    return value
