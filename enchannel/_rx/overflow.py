"""Overflow policies: how items that wait for a slow consumer are stored and limited."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, TypeAlias

__all__ = ["Overflow", "validate_overflow"]

Overflow: TypeAlias = Literal["buffer", "latest", "coalesce", "error"]
"""The overflow policy of ``deliver_on``; ``aiter`` has all but ``"coalesce"``."""


def validate_overflow(overflow: str, limit: int | None, policies: Iterable[str]) -> None:
    """Raise an error for an unknown policy, an invalid limit, or a limit that the policy ignores.

    Args:
        overflow: The policy.
        limit: The maximum number of waiting items, or None.
        policies: The known policies.

    Raises:
        TypeError: the limit is not an int.
        ValueError: any other invalid value.
    """
    if limit is not None and not isinstance(limit, int):
        raise TypeError(f"limit must be an int or None, not {limit!r}")
    if limit is not None and limit < 1:
        raise ValueError(f"limit must be a positive number of items or None, not {limit!r}")
    if overflow not in policies:
        raise ValueError(f"overflow must be one of {', '.join(policies)}, not {overflow!r}")
    if limit is not None and overflow in ("buffer", "coalesce"):
        raise ValueError(
            f'limit must be None with overflow="{overflow}", which keeps all items, not {limit}; '
            'pass overflow="latest" or "error" to limit them'
        )
