"""What is told beside the messages: the state of link and kernel, errors, and how an action ended."""

from __future__ import annotations

import threading
from collections import deque
from typing import Generic, TypeVar

from reactivex import abc
from reactivex.disposable import Disposable
from reactivex.subject import BehaviorSubject

from enchannel._rx.delivery_thread import DeliveryThread
from enchannel._rx.sink import Reporter, Sink, log_error
from enchannel._rx.sink_observable import Fanout, SinkObservable
from enchannel.errors import ChannelReadOnly, EnchannelError

__all__ = ["Action", "Errors", "State"]

T = TypeVar("T")


class State(SinkObservable[T], BehaviorSubject[T], Generic[T]):
    """A value that changes: subscribers get the present one first, then each new one, and never wait
    behind the kernel's output for it.

    Attributes:
        value: The present one; up to date also while subscribers are still busy with older news.
    """

    value: T
    _urgent = True

    def __init__(self, name: str, value: T, delivery: DeliveryThread, reporter: Reporter) -> None:
        super().__init__(value)
        self._name = name
        self._delivery = delivery
        self._reporter = reporter
        self._changing = threading.RLock()
        self._sinks: Fanout[T] = Fanout()
        self._ended = False

    def attach(self, sink: Sink[T]) -> abc.DisposableBase:
        with self._changing:
            sink.on_next(self.value)
            if self._ended:
                sink.on_completed()
                return Disposable()
            self._sinks.add(sink)
        return Disposable(lambda: self._detach(sink))

    def become(self, value: T) -> None:
        """The new value; nothing happens if it is the present one."""
        with self._changing:
            if value == self.value or self._ended:
                return
            self.value = value
            for sink in self._sinks.all:
                sink.on_next(value)

    def disown(self) -> None:
        """End a copy in a forked process, where a lock may never be let go of."""
        self._changing = threading.RLock()
        self._ended, self._sinks = True, Fanout()

    def end(self) -> None:
        """No more changes."""
        with self._changing:
            self._ended = True
            sinks, self._sinks = self._sinks, Fanout()
            for sink in sinks.all:
                sink.on_completed()

    def on_next(self, value: T) -> None:
        """Refused: what the state is, is not for subscribers to say.

        Raises:
            ChannelReadOnly: always.
        """
        raise ChannelReadOnly(f"{self} can be watched, and not set")

    def on_error(self, error: Exception) -> None:
        """The end of a source that was piped in: it is reported, and ends nothing here."""
        self._reporter(error)

    def on_completed(self) -> None:
        """The end of a source that was piped in: it ends nothing here."""

    def dispose(self) -> None:
        """End all subscriptions."""
        with self._changing:
            self._sinks = Fanout()

    def __str__(self) -> str:
        return self._name

    def __repr__(self) -> str:
        return f"<{self._name}: {self.value}>"

    def _detach(self, sink: Sink[T]) -> None:
        with self._changing:
            self._sinks.remove(sink)


class Errors(SinkObservable[EnchannelError]):
    """What went wrong without ending anything: rejected frames, subscribers that raised, lost output.

    It keeps the last 100 for who comes late. What nobody hears is logged under ``enchannel``.
    """

    _urgent = True

    def __init__(self, delivery: DeliveryThread) -> None:
        super().__init__()
        self._delivery = delivery
        self._reporter = log_error
        self._changing = threading.RLock()
        self._sinks: Fanout[EnchannelError] = Fanout()
        self._kept: deque[EnchannelError] = deque(maxlen=100)
        self._ended = False

    def attach(self, sink: Sink[EnchannelError]) -> abc.DisposableBase:
        with self._changing:
            for error in self._kept:
                sink.on_next(error)
            if self._ended:
                sink.on_completed()
                return Disposable()
            self._sinks.add(sink)
        return Disposable(lambda: self._detach(sink))

    def report(self, error: Exception) -> None:
        """Tell of an error, once; one that is not ours is wrapped."""
        if not isinstance(error, EnchannelError):
            wrapped = EnchannelError(f"{type(error).__name__}: {error}")
            wrapped.__cause__ = error
            error = wrapped
        with self._changing:
            if any(kept is error for kept in self._kept):
                return  # one error may end many subscriptions
            self._kept.append(error)
            for sink in self._sinks.all:
                sink.on_next(error)
            heard = bool(self._sinks.all)
        if not heard:
            log_error(error)

    def disown(self) -> None:
        """End a copy in a forked process, where a lock may never be let go of."""
        self._changing = threading.RLock()
        self._ended, self._sinks = True, Fanout()

    def end(self) -> None:
        """No more errors."""
        with self._changing:
            self._ended = True
            sinks, self._sinks = self._sinks, Fanout()
            for sink in sinks.all:
                sink.on_completed()

    def __str__(self) -> str:
        return "kernel.errors"

    def _detach(self, sink: Sink[EnchannelError]) -> None:
        with self._changing:
            self._sinks.remove(sink)


class Action(SinkObservable[T], Generic[T]):
    """How an action ends that has begun already: one item and completion, or an error. Who comes late
    is told as well; who never comes has missed nothing."""

    def __init__(self, name: str, delivery: DeliveryThread, reporter: Reporter) -> None:
        super().__init__()
        self._name = name
        self._delivery = delivery
        self._reporter = reporter
        self._changing = threading.Lock()
        self._sinks: Fanout[T] = Fanout()
        self._settled: tuple[T | None, Exception | None] | None = None

    def attach(self, sink: Sink[T]) -> abc.DisposableBase:
        with self._changing:
            if self._settled is None:
                self._sinks.add(sink)
                return Disposable(lambda: self._detach(sink))
        self._tell(sink)
        return Disposable()

    def on_next(self, value: T) -> None:
        """It ended well; only the first end counts."""
        self._settle((value, None))

    def on_error(self, error: Exception) -> None:
        """It failed; only the first end counts."""
        self._settle((None, error))

    def on_completed(self) -> None:
        """Nothing: the value was the end."""

    def __str__(self) -> str:
        return self._name

    def _settle(self, settled: tuple[T | None, Exception | None]) -> None:
        with self._changing:
            if self._settled is not None:
                return
            self._settled = settled
            sinks, self._sinks = self._sinks, Fanout()
        for sink in sinks.all:
            self._tell(sink)

    def _tell(self, sink: Sink[T]) -> None:
        assert self._settled is not None  # noqa: S101  # for the type checkers
        value, error = self._settled
        if error is not None:
            sink.on_error(error)
        else:
            sink.on_next(value)  # type: ignore[arg-type]  # it is set where there is no error
            sink.on_completed()

    def _detach(self, sink: Sink[T]) -> None:
        with self._changing:
            self._sinks.remove(sink)
