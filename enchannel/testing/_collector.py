"""A subscriber that keeps what it is given, and can be waited for."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final, Generic, TypeVar

from reactivex import Observable, abc
from reactivex.disposable import Disposable

__all__ = ["DEADLINE", "Collector"]

T = TypeVar("T")

# Generous: only a failure waits as long as this.
DEADLINE: Final = 30.0
"""Seconds after which a test gives up on whatever it waits for."""


class Collector(abc.ObserverBase[T], Generic[T]):
    """A subscriber that keeps what it is given. What waits for something raises AssertionError at the
    deadline.

    Args:
        observable: What it subscribes to; without one, it is itself given to ``subscribe``.

    Attributes:
        items: The items, in order.
        threads: The threads that it was called on.
        error: What its observable ended with.
        completed: Whether it completed.
        subscription: Its own, to the observable.
    """

    def __init__(self, observable: Observable[T] | None = None) -> None:
        self.items: list[T] = []
        self.threads: set[threading.Thread] = set()
        self.error: Exception | None = None
        self.completed: bool = False
        self.subscription: abc.DisposableBase = Disposable()
        self._changed = threading.Condition()
        if observable is not None:
            self.subscription = observable.subscribe(self)

    def on_next(self, value: T) -> None:
        with self._changed:
            self.items.append(value)
            self._called()

    def on_error(self, error: Exception) -> None:
        with self._changed:
            self.error = error
            self._called()

    def on_completed(self) -> None:
        with self._changed:
            self.completed = True
            self._called()

    @property
    def ended(self) -> bool:
        """Whether it completed or failed."""
        return self.completed or self.error is not None

    def wait_for_count(self, count: int, *, within: float | None = None) -> list[T]:
        """Wait until there are so many items; they, and what has come since."""
        return self._wait(lambda: len(self.items) >= count, f"{count} items", within)

    def wait_until(self, condition: Callable[[list[T]], object]) -> list[T]:
        """Wait until the items are so."""
        return self._wait(lambda: condition(self.items), "such items")

    def wait_for(self, condition: Callable[[T], object]) -> T:
        """Wait for an item that is so."""
        self._wait(lambda: any(map(condition, self.items)), "such item")
        return next(item for item in self.items if condition(item))

    def wait_for_end(self) -> list[T]:
        """Wait for the end; all items."""
        return self._wait(lambda: self.ended, "end")

    def wait_for_error(self) -> Exception:
        """Wait for the end, which is an error."""
        self.wait_for_end()
        assert self.error is not None, f"it completed, after {self.items[-5:]}"
        return self.error

    def _called(self) -> None:
        self.threads.add(threading.current_thread())
        self._changed.notify_all()

    def _wait(
        self, condition: Callable[[], object], what: str, within: float | None = None
    ) -> list[T]:
        with self._changed:
            there = self._changed.wait_for(condition, DEADLINE if within is None else within)
            assert there, f"no {what}; there were {len(self.items)}, the last {self.items[-5:]}"
            return self.items
