"""The subscribers of one hot source: attaching, dispatching, the terminal event, and a fork."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from enum import Enum
from functools import partial
from typing import Any, Final, Generic, Literal, TypeAlias, TypeVar

from reactivex import abc
from reactivex.disposable import Disposable
from reactivex.subject import Subject

from enchannel._rx.changes import Changes
from enchannel._rx.delivery_thread import DeliveryThread
from enchannel._rx.sink import Sink
from enchannel._rx.sink_observable import SinkObservable

__all__ = ["COMPLETED", "Fanout", "FanoutObservable", "FanoutSubject", "KeyedFanout", "terminate"]

T = TypeVar("T")


class _Completed(Enum):
    COMPLETED = "completed"


COMPLETED: Final = _Completed.COMPLETED
Terminal: TypeAlias = "Exception | Literal[_Completed.COMPLETED]"


class Fanout(Generic[T]):
    """The sinks of one source, and the terminal event that each of them gets once.

    ``sinks`` is replaced by every change and never mutated, so the dispatch loop of a source reads it
    without a lock and without a call.

    In a forked child, the fanouts of a kernel start over with no sinks and a terminal event, because
    the threads of the parent that feed them, and that may hold their locks, do not exist there.

    Args:
        delivery: The thread on which the subscribers are called; it resets this fanout after a fork.
        fails_after_fork: False: complete in a forked child, instead of failing.

    Attributes:
        sinks: The attached sinks.
        lock: Re-entrant; hold it to change the state of the source and dispatch the change in one step.
        terminal: None while the source is live; then the error it failed with, or ``COMPLETED``.
    """

    __slots__ = ("__weakref__", "_changes", "_fails_after_fork", "lock", "sinks", "terminal")

    def __init__(self, delivery: DeliveryThread, *, fails_after_fork: bool = True) -> None:
        self.sinks: tuple[Sink[T], ...] = ()
        self.lock: threading.RLock = threading.RLock()
        self.terminal: Terminal | None = None
        # Not the lock above: a finalizer that detaches a sink must not wait.
        self._changes = Changes()
        self._fails_after_fork = fails_after_fork
        delivery.add_source(self)

    def attach(
        self, sink: Sink[T], replay: Callable[[], Iterable[T]] | None = None
    ) -> abc.DisposableBase:
        """Add a sink, or emit the terminal event to it if the source has terminated.

        Args:
            sink: Receives the replayed items first.
            replay: Returns the items to replay; called with the lock held.
        """
        with self.lock:
            if replay is not None:
                for item in replay():
                    sink.on_next(item)
            terminal = self.terminal
            if terminal is None:
                self._changes.make(partial(self._add, sink))
                return Disposable(partial(self._detach, sink))
        _emit_terminal(sink, terminal)
        return Disposable()

    def dispatch(self, item: T) -> None:
        """Emit an item to every sink."""
        for sink in self.sinks:
            sink.on_next(item)

    def terminate(self, error: Exception | None = None) -> None:
        """Fail, or complete, every sink and those that attach later; only the first call counts."""
        with self.lock:
            if self.terminal is not None:
                return
            self.terminal = terminal = COMPLETED if error is None else error
            sinks = self._remove_all()
        for sink in sinks:
            _emit_terminal(sink, terminal)

    def clear(self) -> None:
        """Detach every sink without a terminal event."""
        with self.lock:
            self._remove_all()

    def reset_after_fork(self, error: Exception) -> None:
        """Terminate the copy in a forked child; a sink that attaches there gets the error."""
        self.lock, self._changes = threading.RLock(), Changes()
        self._remove_all()
        if self.terminal is None:
            self.terminal = error if self._fails_after_fork else COMPLETED

    def _remove_all(self) -> tuple[Sink[T], ...]:
        removed: list[Sink[T]] = []
        self._changes.make(partial(self._move_all_to, removed))
        return tuple(removed)

    def _move_all_to(self, removed: list[Sink[T]]) -> None:
        removed.extend(self.sinks)
        self.sinks = ()

    def _add(self, sink: Sink[T]) -> None:
        self.sinks = (*self.sinks, sink)

    def _detach(self, sink: Sink[T]) -> None:
        self._changes.post(partial(self._remove, sink))

    def _remove(self, sink: Sink[T]) -> None:
        self.sinks = _without(self.sinks, sink)


class KeyedFanout(Fanout[T]):
    """A fanout with an index of sinks that receive only the items of one key.

    Attributes:
        by_key: The sinks of each key. A tuple is replaced by every change, as ``sinks`` is.
    """

    __slots__ = ("by_key",)

    def __init__(self, delivery: DeliveryThread) -> None:
        self.by_key: dict[str, tuple[Sink[T], ...]] = {}
        super().__init__(delivery)

    def attach_to_key(self, key: str, sink: Sink[T]) -> abc.DisposableBase:
        """Add a sink for one key, or emit the terminal event to it if the source has terminated."""
        with self.lock:
            terminal = self.terminal
            if terminal is None:
                self._changes.make(partial(self._add_to_key, key, sink))
                return Disposable(partial(self._detach_from_key, key, sink))
        _emit_terminal(sink, terminal)
        return Disposable()

    @property
    def count(self) -> int:
        """The number of sinks, those of a key included."""
        return len(self.sinks) + sum(map(len, list(self.by_key.values())))

    def _move_all_to(self, removed: list[Sink[T]]) -> None:
        super()._move_all_to(removed)
        for sinks in self.by_key.values():
            removed.extend(sinks)
        self.by_key = {}

    def _add_to_key(self, key: str, sink: Sink[T]) -> None:
        self.by_key[key] = (*self.by_key.get(key, ()), sink)

    def _detach_from_key(self, key: str, sink: Sink[T]) -> None:
        self._changes.post(partial(self._remove_from_key, key, sink))

    def _remove_from_key(self, key: str, sink: Sink[T]) -> None:
        if (sinks := self.by_key.get(key)) is None:
            return
        if remaining := _without(sinks, sink):
            self.by_key[key] = remaining
        else:
            del self.by_key[key]


class FanoutObservable(SinkObservable[T]):
    """A hot observable that emits to the sinks of a fanout."""

    _fanout: Fanout[T]

    def _attach(self, sink: Sink[T]) -> abc.DisposableBase:
        return self._fanout.attach(sink, self._replay)

    def _terminate(self, error: Exception | None = None) -> None:
        self._fanout.terminate(error)

    def _replay(self) -> Iterable[T]:
        """Return the items that a new subscriber gets first; called with the fanout's lock held."""
        return ()


def terminate(observable: FanoutObservable[Any], error: Exception | None = None) -> None:
    """Complete an observable, or fail it, once: for current and for late subscribers."""
    observable._terminate(error)


class FanoutSubject(FanoutObservable[T], Subject[T]):
    """A hot observable that is also an observer. A source that is piped into it does not terminate it."""

    def on_error(self, error: Exception) -> None:
        """Report the error of a source that was piped in; this subject stays open."""
        self._reporter(error)

    def on_completed(self) -> None:
        """Ignore the completion of a source that was piped in; this subject stays open."""

    def dispose(self) -> None:
        """Dispose of all subscriptions."""
        self._fanout.clear()


def _emit_terminal(sink: Sink[Any], terminal: Terminal) -> None:
    if isinstance(terminal, Exception):
        sink.on_error(terminal)
    else:
        sink.on_completed()


def _without(sinks: tuple[Sink[T], ...], sink: Sink[T]) -> tuple[Sink[T], ...]:
    return tuple(other for other in sinks if other is not sink)
