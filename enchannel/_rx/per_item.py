"""Operators that are one handler of items: errors and completion pass through unchanged."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias, TypeVar

from reactivex import Observable, abc

__all__ = ["Operator", "make_operator"]

A = TypeVar("A")
B = TypeVar("B")

Operator: TypeAlias = Callable[[Observable[A]], Observable[B]]
"""A function from an observable to an observable, for ``pipe``."""


def make_operator(
    start: Callable[[abc.ObserverBase[B]], Callable[[A], None]],
) -> Operator[A, B]:
    """Return an operator that passes each item to a handler.

    Args:
        start: Called with the observer of each subscription; returns the handler.
    """

    def operator(source: Observable[A]) -> Observable[B]:
        def subscribe(
            observer: abc.ObserverBase[B], scheduler: abc.SchedulerBase | None = None
        ) -> abc.DisposableBase:
            return source.subscribe(
                start(observer), observer.on_error, observer.on_completed, scheduler=scheduler
            )

        return Observable(subscribe)

    return operator
