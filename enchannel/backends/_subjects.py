"""The two halves of a ``ChannelPair``, for backends that do not have their own."""

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
    """Incoming items for one subscriber, the core; they are buffered until it subscribes.

    Its ``on_…`` methods may be called on any thread, one at a time. They call the subscriber on that
    thread.
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
        return Disposable(self._unsubscribe)

    def on_next(self, item: T) -> None:
        """Emit an item."""
        if self._observer is not None:
            self._observer.on_next(item)
        else:
            self._emit(lambda observer: observer.on_next(item))

    def on_error(self, error: Exception) -> None:
        """Fail, after the last item."""
        self._emit(lambda observer: observer.on_error(error))

    def on_completed(self) -> None:
        """Complete, after the last item."""
        self._emit(lambda observer: observer.on_completed())

    def _emit(self, event: Callable[[abc.ObserverBase[T]], None]) -> None:
        with self._emitting:
            if self._observer is None:
                self._early.append(event)
            else:
                event(self._observer)

    def _unsubscribe(self) -> None:
        self._observer = None


class CallbackObserver(abc.ObserverBase[T], Generic[T]):
    """An observer that passes items to a callback and ignores the end of its source.

    The core never ends the outgoing half of a channel.

    Args:
        send: Called with each item; its exceptions are raised to the caller of ``on_next``.
    """

    def __init__(self, send: Callable[[T], None]) -> None:
        self._send: Callable[[T], None] = send

    def on_next(self, value: T) -> None:
        self._send(value)

    def on_error(self, error: Exception) -> None:
        """Ignore the error."""

    def on_completed(self) -> None:
        """Ignore the completion."""
