"""The nbformat library: imported when it is used, with its errors translated to ``InvalidNotebook``."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from commutable._document_errors import InvalidNotebook
from enchannel import MissingDependency

__all__ = ["library", "raise_if_invalid", "raising_if_too_deep", "translating_errors"]

MAX_REASON_LENGTH = 200  # characters


def library() -> Any:
    """Return the nbformat module, which has no type annotations.

    Raises:
        MissingDependency: nbformat is not installed.
    """
    try:
        import nbformat
    except ImportError as error:
        raise MissingDependency(
            f"reading and writing notebooks requires {error.name};"
            ' pip install "enchannel[notebook]"'
        ) from error
    return nbformat


def raise_if_invalid(js: dict[str, Any], *, allow_unknown_fields: bool) -> None:
    """Validate a notebook against the nbformat schema.

    Args:
        js: The notebook.
        allow_unknown_fields: Accept fields that the schema does not have.

    Raises:
        InvalidNotebook: the notebook does not match the schema; the text says where and why.
    """
    nbformat = library()
    try:
        # The schema of a later version is unknown, so additional fields are allowed there.
        is_later_version = js["nbformat_minor"] > nbformat.current_nbformat_minor
        nbformat.validate(js, relax_add_props=allow_unknown_fields or is_later_version)
    except nbformat.ValidationError as error:
        path: deque[Any] = getattr(error, "relative_path", deque())
        where = "".join(f"[{key!r}]" if isinstance(key, int) else f".{key}" for key in path)
        why = str(getattr(error, "message", error)).partition("\n")[0]
        why = why if len(why) < MAX_REASON_LENGTH else f"{why[:MAX_REASON_LENGTH]}…"
        raise InvalidNotebook(
            f"invalid notebook at {where.lstrip('.') or 'the top level'}: {why}"
        ) from error
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        # nbformat can fail while it composes its own error.
        raise InvalidNotebook(
            f"invalid notebook, and nbformat could not report why ({type(error).__name__}: {error})"
        ) from error


@contextmanager
def raising_if_too_deep() -> Iterator[None]:
    """Translate a ``RecursionError`` to ``InvalidNotebook``."""
    try:
        yield
    except RecursionError:
        raise InvalidNotebook("the notebook is nested too deeply") from None


@contextmanager
def translating_errors() -> Iterator[None]:
    """Translate the errors of nbformat, which are of many types, to ``InvalidNotebook``."""
    nbformat = library()
    try:
        yield
    except nbformat.ValidationError as error:
        raise InvalidNotebook(f"invalid notebook: {error}") from error
    except (AttributeError, KeyError, LookupError, TypeError, ValueError) as error:
        if isinstance(error, InvalidNotebook):
            raise
        raise InvalidNotebook(f"invalid notebook ({type(error).__name__}: {error})") from error
