"""The two halves of a pair, for backends that do not have their own."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

from reactivex import Observable, abc
from reactivex.disposable import Disposable

__all__ = ["CallbackObserver", "IncomingSubject"]

T = TypeVar("T")


class IncomingSubject(Observable[T], Generic[T]):
    """What arrives, for the one subscriber that the core is; kept until it is there.

    One thread at a time tells it something.
    """

    def __init__(self) -> None:
        super().__init__()
        self._early: deque[Callable[[abc.ObserverBase[T]], None]] = deque()
        self._observer: abc.ObserverBase[T] | None = None
        self._emitting: threading.RLock = threading.RLock()

    def _subscribe_core(
        self, observer: abc.ObserverBase[T], scheduler: abc.SchedulerBase | None = None
    ) -> abc.DisposableBase:
        with self._emitting:
            while self._early:
                self._early.popleft()(observer)
            self._observer = observer
        return Disposable(self._forget)

    def on_next(self, item: T) -> None:
        """Something arrived."""
        if self._observer is not None:
            self._observer.on_next(item)
        else:
            self._tell(lambda observer: observer.on_next(item))

    def on_error(self, error: Exception) -> None:
        """Nothing will arrive any more, and why."""
        self._tell(lambda observer: observer.on_error(error))

    def on_completed(self) -> None:
        """Nothing will arrive any more."""
        self._tell(lambda observer: observer.on_completed())

    def _tell(self, event: Callable[[abc.ObserverBase[T]], None]) -> None:
        with self._emitting:
            if self._observer is None:
                self._early.append(event)
            else:
                event(self._observer)

    def _forget(self) -> None:
        self._observer = None


class CallbackObserver(abc.ObserverBase[T], Generic[T]):
    """Where the core says something; what a source ends with is the core's business.

    Args:
        say: Is given each item; what it raises, the caller is raised.
    """

    def __init__(self, say: Callable[[T], None]) -> None:
        self._say: Callable[[T], None] = say

    def on_next(self, value: T) -> None:
        self._say(value)

    def on_error(self, error: Exception) -> None:
        """Nothing: the core does not end what a backend sends."""

    def on_completed(self) -> None:
        """Nothing: the core does not end what a backend sends."""
