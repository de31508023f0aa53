"""Sinks: receivers of items on the thread on which they arrive, and the observables that feed them."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Generic, Protocol, TypeAlias, TypeVar, cast

from reactivex import Observable, abc

__all__ = ["CallbackSink", "Reporter", "Sink", "SinkSource", "attach", "describe", "log_error"]

T = TypeVar("T")
T_in = TypeVar("T_in", contravariant=True)
T_out = TypeVar("T_out", covariant=True)

log = logging.getLogger("enchannel")

Reporter: TypeAlias = Callable[[Exception], None]


class Sink(Protocol[T_in]):
    """Receives items on the backend's thread; its methods are short and never raise.

    ``call`` runs a function on the thread on which the subscriber of this sink is called.
    """

    def on_next(self, item: T_in, /) -> None: ...
    def on_error(self, error: Exception, /) -> None: ...
    def on_completed(self) -> None: ...
    def call(self, function: Callable[[], None], /) -> None: ...


class CallbackSink(Generic[T]):
    """A sink that calls the given functions and ignores the other events."""

    def __init__(
        self,
        on_next: Callable[[T], None] | None = None,
        on_error: Callable[[Exception], None] | None = None,
        on_completed: Callable[[], None] | None = None,
    ) -> None:
        self.on_next: Callable[[T], None] = on_next or _ignore
        self.on_error: Callable[[Exception], None] = on_error or _ignore
        self.on_completed: Callable[[], None] = on_completed or _ignore

    def call(self, function: Callable[[], None], /) -> None:
        """Ignore a call: this sink has no subscriber."""


class SinkSource(Generic[T_out], ABC):
    """An observable that can feed a sink directly, without a change of thread."""

    @abstractmethod
    def _attach(self, sink: Sink[T_out], /) -> abc.DisposableBase:
        """Pass the items from now on to a sink, on the thread on which they arrive."""


def attach(
    observable: Observable[T], sink: Sink[T], scheduler: abc.SchedulerBase | None = None
) -> abc.DisposableBase:
    """Subscribe a sink to any observable.

    Args:
        observable: A SinkSource feeds the sink directly.
        sink: Receives the items.
        scheduler: Passed to ``subscribe`` of an observable that is not a SinkSource.
    """
    if isinstance(observable, SinkSource):
        return cast("SinkSource[T]", observable)._attach(sink)
    return observable.subscribe(sink.on_next, sink.on_error, sink.on_completed, scheduler=scheduler)


def describe(error: BaseException) -> str:
    """Return the class and the text of an exception of user code, whose ``__str__`` may raise."""
    try:
        return f"{type(error).__name__}: {error}"
    except BaseException:  # also a SystemExit must not end a thread of the library
        return f"{type(error).__name__} (its text cannot be read)"


def log_error(error: Exception) -> None:
    """Log an error that has no subscriber to report it to."""
    log.warning("%s", error, exc_info=error.__cause__)


def _ignore(*_: object) -> None: ...
