"""The register of operations."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeAlias

from tests.soak.languages import Feature, Language
from tests.soak.operation import Operation

__all__ = ["COROUTINES", "FUNCTIONS", "Entry", "Group", "coroutine", "function", "matching"]


class Group(StrEnum):
    """The effect of an operation on others."""

    CALM = "calm"
    """No effect."""
    FAIL = "fail"
    """Code raises, and the kernel aborts requests that are queued behind it."""
    STOP = "stop"
    """Code is interrupted."""
    END = "end"
    """The process or a client ends."""


Function: TypeAlias = Callable[[Operation], None]
CoroutineFunction: TypeAlias = Callable[[Operation], Coroutine[Any, Any, None]]


@dataclass(frozen=True)
class Entry:
    """A registered operation; exactly one of ``function`` and ``coroutine`` is set."""

    name: str
    group: Group
    needs: frozenset[Feature]
    function: Function | None = None
    coroutine: CoroutineFunction | None = None


FUNCTIONS: list[Entry] = []
"""The operations of threads."""
COROUTINES: list[Entry] = []
"""The operations of tasks."""


def function(group: Group, *needs: Feature) -> Callable[[Function], Function]:
    """Register an operation that blocks."""

    def register(body: Function) -> Function:
        FUNCTIONS.append(Entry(body.__name__, group, _needs(group, needs), function=body))
        return body

    return register


def coroutine(group: Group, *needs: Feature) -> Callable[[CoroutineFunction], CoroutineFunction]:
    """Register an operation that runs on an event loop."""

    def register(body: CoroutineFunction) -> CoroutineFunction:
        COROUTINES.append(Entry(body.__name__, group, _needs(group, needs), coroutine=body))
        return body

    return register


def matching(
    entries: Iterable[Entry], groups: frozenset[Group], language: Language, only: frozenset[str]
) -> list[Entry]:
    """Return the operations of some groups that a kernel supports; with ``only``, those names."""
    return [
        entry
        for entry in entries
        if entry.group in groups
        and entry.needs <= language.features
        and (not only or entry.name in only)
    ]


def _needs(group: Group, needs: tuple[Feature, ...]) -> frozenset[Feature]:
    of_group = {Group.FAIL: {Feature.FAILURE}, Group.STOP: {Feature.INTERRUPT}}
    return frozenset(needs) | of_group.get(group, set())
