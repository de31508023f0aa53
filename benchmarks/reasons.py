"""Why a figure is not reached, by its title and its peer; the table says it beside the figure."""

from collections.abc import Mapping
from typing import Final

__all__ = ["REASONS"]

REASONS: Final[Mapping[tuple[str, str], str]] = {}
