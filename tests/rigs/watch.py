"""Waiting for something to be seen, without sleeping."""

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from reactivex import Observable, abc

from tests.rigs import DEADLINE

__all__ = ["Seen"]

T = TypeVar("T")


class Seen(Generic[T]):
    """All that an observable says, from now on."""

    def __init__(self, observable: Observable[T]) -> None:
        self.items: list[T] = []
        self.error: Exception | None = None
        self.completed = False
        self._changed = threading.Condition()
        self.subscription: abc.DisposableBase = observable.subscribe(
            self._on_next, self._on_error, self._on_completed
        )

    def until(self, condition: Callable[[list[T]], object]) -> list[T]:
        """Wait until the items are so."""
        return self._wait(lambda: condition(self.items))

    def until_any(self, condition: Callable[[T], object]) -> T:
        """Wait for an item."""
        self.until(lambda items: any(map(condition, items)))
        return next(item for item in self.items if condition(item))

    def until_end(self) -> list[T]:
        """Wait for the terminal event."""
        return self._wait(lambda: self.completed or self.error is not None)

    def _wait(self, condition: Callable[[], object]) -> list[T]:
        with self._changed:
            there = self._changed.wait_for(condition, DEADLINE)
            assert there, f"it was not seen; there were {self.items[-5:]}, {self.error!r}"
            return list(self.items)

    def _on_next(self, item: T) -> None:
        with self._changed:
            self.items.append(item)
            self._changed.notify_all()

    def _on_error(self, error: Exception) -> None:
        with self._changed:
            self.error = error
            self._changed.notify_all()

    def _on_completed(self) -> None:
        with self._changed:
            self.completed = True
            self._changed.notify_all()
