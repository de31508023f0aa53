"""A subscriber that records items, and waits for them without hanging."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final, Generic, TypeVar

from reactivex import Observable, abc
from reactivex.disposable import Disposable

__all__ = ["DEADLINE", "Collector"]

T = TypeVar("T")

# Generous: only a failure waits as long as this.
DEADLINE: Final = 30.0
"""Seconds without progress after which a test gives up waiting."""


class Collector(abc.ObserverBase[T], Generic[T]):
    """Records the items, the threads and the end of an observable.

    Its methods may be called from any thread. Those that wait raise AssertionError if no new item arrives
    for ``DEADLINE`` seconds; the whole stream may take longer.

    Args:
        observable: The observable to subscribe to; by default pass the collector to ``subscribe``.
        name: A name for the observable in error messages, such as that of a channel.

    Attributes:
        items: The items, in order.
        threads: The threads that it was called on.
        error: The error that the observable failed with.
        completed: True once the observable has completed.
        subscription: The collector's subscription to ``observable``.
    """

    def __init__(
        self, observable: Observable[T] | None = None, *, name: str = "the observable"
    ) -> None:
        self.items: list[T] = []
        self.threads: set[threading.Thread] = set()
        self.error: Exception | None = None
        self.completed: bool = False
        self.subscription: abc.DisposableBase = Disposable()
        self._name = name
        self._changed = threading.Condition()
        if observable is not None:
            self.subscription = observable.subscribe(self)

    def on_next(self, value: T) -> None:
        with self._changed:
            self.items.append(value)
            self._notify()

    def on_error(self, error: Exception) -> None:
        with self._changed:
            self.error = error
            self._notify()

    def on_completed(self) -> None:
        with self._changed:
            self.completed = True
            self._notify()

    @property
    def ended(self) -> bool:
        """True once the observable has completed or failed."""
        return self.completed or self.error is not None

    def wait_for_count(self, count: int, *, within: float | None = None) -> list[T]:
        """Wait for a number of items.

        Args:
            count: The number of items.
            within: Seconds for all of them; by default ``DEADLINE``, renewed with each item.

        Returns:
            All items received so far.
        """
        return self._wait(lambda: len(self.items) >= count, f"{count} items", within)

    def wait_until(self, condition: Callable[[list[T]], object]) -> list[T]:
        """Wait until a condition on the list of items is true; return all items received so far."""
        return self._wait(lambda: condition(self.items), "items that meet the condition")

    def wait_for(self, condition: Callable[[T], object]) -> T:
        """Wait for an item that meets a condition, and return it."""
        self._wait(lambda: any(map(condition, self.items)), "an item that meets the condition")
        return next(item for item in self.items if condition(item))

    def wait_for_end(self) -> list[T]:
        """Wait until the observable has completed or failed; return all items."""
        return self._wait(lambda: self.ended, "its end")

    def wait_for_error(self) -> Exception:
        """Wait until the observable has failed; return the error."""
        self.wait_for_end()
        assert self.error is not None, (
            f"{self._name} completed instead of failing; {self._description}"
        )
        return self.error

    @property
    def _description(self) -> str:
        return f"received {len(self.items)} items, the last are {self.items[-5:]}"

    def _notify(self) -> None:
        self.threads.add(threading.current_thread())
        self._changed.notify_all()

    def _wait(
        self, condition: Callable[[], object], expected: str, within: float | None = None
    ) -> list[T]:
        seconds = DEADLINE if within is None else within
        deadline = time.monotonic() + seconds
        with self._changed:
            while not condition():
                count = len(self.items)
                if not self._changed.wait(deadline - time.monotonic()) and not condition():
                    raise AssertionError(
                        f"{self._name} did not produce {expected} within {seconds:g} s; "
                        f"{self._description}"
                    )
                if within is None and len(self.items) > count:
                    deadline = time.monotonic() + seconds
            return self.items
