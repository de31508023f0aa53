"""The cases that are measured, and the figures that compare them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import Enum

from benchmarks.measuring import Measured

__all__ = ["Case", "Figure", "Goal", "Kernels", "Script", "Side", "Unit", "case"]

Side = Callable[..., Measured]
"""A function that measures one side, called with connection files and the numbers of a case by name."""


class Unit(Enum):
    """A unit, with the factor from the base unit and the symbol."""

    MICROSECONDS = 1e6, "µs"
    MILLISECONDS = 1e3, "ms"
    MEGABYTES = 1e-6, "MB"
    PERCENT = 1e2, "%"
    MESSAGES = 1.0, "messages"

    def format(self, value: float) -> str:
        """Return a value as text for a table."""
        factor, name = self.value
        number = value * factor
        digits = 0 if self is Unit.MESSAGES or abs(number) >= 100 else 1 if abs(number) >= 10 else 2
        return f"{number:,.{digits}f} {name}"


class Goal(Enum):
    """The comparison of two numbers."""

    FASTER = "times faster"
    WITHIN = "times the peer's"
    AT_MOST = "the number itself"
    NONE = "not compared with a bound"

    def ratio(self, ours: float, theirs: float | None) -> float | None:
        """Return the number to compare with a bound, or None."""
        if self is Goal.AT_MOST:
            return ours
        if not theirs or not ours:
            return None
        return theirs / ours if self is Goal.FASTER else ours / theirs

    def is_met(self, ratio: float, bound: float) -> bool:
        """Return True if the number meets a bound."""
        return ratio >= bound if self is Goal.FASTER else ratio <= bound


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernels:
    """The kernels that a case needs.

    Attributes:
        fake: The number of processes with one fake kernel each.
        idle: The number of additional fake kernels, all in one process.
        sndhwm: The number of messages that a fake kernel queues for a slow client; 0 means no limit.
        real: If True, an ipykernel.
        served: If True, an ipykernel on a Jupyter server, whose file ``servers.read_served`` reads.
    """

    fake: int = 0
    idle: int = 0
    sndhwm: int = 0
    real: bool = False
    served: bool = False


@dataclass(frozen=True, slots=True)
class Case:
    """One measurement, which runs in a separate process.

    Attributes:
        side: The name of the function that measures, in ``Script.sides``.
        kernels: The kernels that it gets.
        numbers: Its other arguments.
    """

    side: str
    kernels: Kernels
    numbers: tuple[tuple[str, int | str], ...]

    @property
    def ours(self) -> bool:
        """True if the case measures enchannel."""
        return self.side.startswith("enchannel")

    def __str__(self) -> str:
        numbers = ", ".join(f"{name} {value}" for name, value in self.numbers)
        return f"{self.side} ({numbers})" if numbers else self.side


def case(side: str, kernels: Kernels | None = None, /, **numbers: int | str) -> Case:
    """Return a case with the given kernels, or with one fake kernel."""
    return Case(side, Kernels(fake=1) if kernels is None else kernels, tuple(numbers.items()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One row of the table.

    Attributes:
        title: The name of the measurement.
        peer: The name of the other side; may be empty.
        ours, theirs: The two cases; a figure may have no peer.
        unit: The unit of both numbers.
        value: The name of the compared number in ``Measured``.
        goal: How the two numbers are compared.
        required, target: The bound that is required, and a stricter one to aim for.
    """

    title: str
    peer: str = ""
    ours: Case
    theirs: Case | None = None
    unit: Unit = Unit.MICROSECONDS
    value: str = "wall"
    goal: Goal = Goal.NONE
    required: float | None = None
    target: float | None = None

    def bound(self, bound: float | None) -> str:
        """Return a bound as text for a table."""
        if bound is None:
            return ""
        match self.goal:
            case Goal.FASTER:
                return f"{bound:g}x faster"
            case Goal.WITHIN:
                return f"within {bound:g}x"
            case _:
                return f"at most {self.unit.format(bound)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """One script of this package.

    Attributes:
        name: The name of the module.
        method: A description of the measurement.
        sides: The functions that measure, by name.
        figures: The rows of the table.
    """

    name: str
    method: str
    sides: Mapping[str, Side]
    figures: tuple[Figure, ...]

    def cases(self) -> list[Case]:
        """Return the cases of all figures, without duplicates."""
        found: dict[Case, None] = {}
        for figure in self.figures:
            found[figure.ours] = None
            if figure.theirs is not None:
                found[figure.theirs] = None
        return list(found)

    def with_numbers(self, numbers: Mapping[str, int | str]) -> Script:
        """Return the script with some numbers of its cases replaced, for example for a shorter run."""
        return replace(self, figures=tuple(_changed(figure, numbers) for figure in self.figures))


def _changed(figure: Figure, numbers: Mapping[str, int | str]) -> Figure:
    def changed(case: Case) -> Case:
        known = tuple((name, numbers.get(name, value)) for name, value in case.numbers)
        return replace(case, numbers=known)

    theirs = None if figure.theirs is None else changed(figure.theirs)
    return replace(figure, ours=changed(figure.ours), theirs=theirs)
