"""What is measured, beside what, and what was hoped for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import Enum

from benchmarks.measuring import Measured

__all__ = ["Case", "Figure", "Goal", "Kernels", "Script", "Side", "Unit", "case"]

Side = Callable[..., Measured]
"""Measures in a process of its own: called with the connection files, and a case's numbers by name."""


class Unit(Enum):
    """How a number is written: its factor, digits and sign."""

    MICROSECONDS = 1e6, "µs"
    MILLISECONDS = 1e3, "ms"
    MEGABYTES = 1e-6, "MB"
    PERCENT = 1e2, "%"
    MESSAGES = 1.0, "messages"

    def written(self, value: float) -> str:
        """The value as a table has it."""
        factor, name = self.value
        number = value * factor
        digits = 0 if self is Unit.MESSAGES or abs(number) >= 100 else 1 if abs(number) >= 10 else 2
        return f"{number:,.{digits}f} {name}"


class Goal(Enum):
    """What two numbers are compared by."""

    FASTER = "times faster"
    WITHIN = "times the peer's"
    AT_MOST = "the number itself"
    NONE = "nothing was aimed at"

    def ratio(self, ours: float, theirs: float | None) -> float | None:
        """What there is to reach a bound with."""
        if self is Goal.AT_MOST:
            return ours
        if not theirs or not ours:
            return None
        return theirs / ours if self is Goal.FASTER else ours / theirs

    def reached(self, ratio: float, bound: float) -> bool:
        """Whether a bound is kept."""
        return ratio >= bound if self is Goal.FASTER else ratio <= bound


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernels:
    """Which kernels a case needs.

    Attributes:
        fake: How many processes with one fake kernel.
        quiet: How many fake kernels more, in one process.
        sndhwm: Messages that a fake kernel keeps for who is slow; 0 is all of them.
        real: An ipykernel.
        served: An ipykernel on a Jupyter server; its file is `servers.read_served`'s.
    """

    fake: int = 0
    quiet: int = 0
    sndhwm: int = 0
    real: bool = False
    served: bool = False


@dataclass(frozen=True, slots=True)
class Case:
    """One thing that is measured, in a process of its own.

    Attributes:
        side: Who is measured; the name of a function in the script.
        numbers: What it is called with.
        kernels: Those it is called with.
    """

    side: str
    kernels: Kernels
    numbers: tuple[tuple[str, int | str], ...]

    @property
    def ours(self) -> bool:
        """Whether it measures enchannel."""
        return self.side.startswith("enchannel")

    def __str__(self) -> str:
        numbers = ", ".join(f"{name} {value}" for name, value in self.numbers)
        return f"{self.side} ({numbers})" if numbers else self.side


def case(side: str, kernels: Kernels | None = None, /, **numbers: int | str) -> Case:
    """A case with one fake kernel, or those given."""
    return Case(side, Kernels(fake=1) if kernels is None else kernels, tuple(numbers.items()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A row of the table.

    Attributes:
        title: What is measured.
        peer: Beside what.
        ours, theirs: The two cases; a figure may have no peer.
        unit: Of both.
        value: The name of the number that is compared, among those that a side tells.
        goal: How they are compared.
        reach, aim: What was promised, and what was hoped for.
    """

    title: str
    peer: str = ""
    ours: Case
    theirs: Case | None = None
    unit: Unit = Unit.MICROSECONDS
    value: str = "wall"
    goal: Goal = Goal.NONE
    reach: float | None = None
    aim: float | None = None

    def bound(self, bound: float | None) -> str:
        """A bound as a table has it."""
        if bound is None:
            return ""
        match self.goal:
            case Goal.FASTER:
                return f"{bound:g}x faster"
            case Goal.WITHIN:
                return f"within {bound:g}x"
            case _:
                return f"at most {self.unit.written(bound)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """A file of this package: what it measures, and how.

    Attributes:
        name: The file's.
        method: How it is measured, in a sentence or two.
        sides: Who can be measured, by name.
        figures: The rows that it makes.
    """

    name: str
    method: str
    sides: Mapping[str, Side]
    figures: tuple[Figure, ...]

    def cases(self) -> list[Case]:
        """What has to be measured for the figures, each once."""
        found: dict[Case, None] = {}
        for figure in self.figures:
            found[figure.ours] = None
            if figure.theirs is not None:
                found[figure.theirs] = None
        return list(found)

    def with_numbers(self, numbers: Mapping[str, int | str]) -> Script:
        """The same with other numbers, where a case has them: a shorter run, above all."""
        return replace(self, figures=tuple(_changed(figure, numbers) for figure in self.figures))


def _changed(figure: Figure, numbers: Mapping[str, int | str]) -> Figure:
    def changed(case: Case) -> Case:
        known = tuple((name, numbers.get(name, value)) for name, value in case.numbers)
        return replace(case, numbers=known)

    theirs = None if figure.theirs is None else changed(figure.theirs)
    return replace(figure, ours=changed(figure.ours), theirs=theirs)
