"""Observables of ours: where a subscriber is called, and what guards the others from it."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, Generic, TypeVar

from reactivex import Observable, abc

from enchannel._rx.delivery_thread import DeliveryThread
from enchannel._rx.event_loop_sink import EventLoopSink
from enchannel._rx.foreign_loops import is_event_loop
from enchannel._rx.sink import Reporter, Sink, SinkSource, log_error
from enchannel._rx.waiting import last_value
from enchannel.errors import SubscriberRaised

__all__ = ["Fanout", "SinkObservable", "Subscription", "reporter_of"]

T = TypeVar("T")
T_out = TypeVar("T_out", covariant=True)


class SinkObservable(Observable[T_out], SinkSource[T_out]):
    """An observable that hands its items over to where its subscribers want them.

    A subscriber is called on the kernel's delivery thread, or straight on the event loop whose scheduler
    it subscribed with.
    """

    _delivery: DeliveryThread
    _reporter: Reporter
    _urgent = False

    def _subscribe_core(
        self,
        observer: abc.ObserverBase[T_out],
        scheduler: abc.SchedulerBase | None = None,
    ) -> abc.DisposableBase:
        subscription = Subscription(observer, self._reporter, str(self))
        sink: Sink[T_out]
        if scheduler is not None and is_event_loop(scheduler):
            sink = EventLoopSink(subscription, scheduler)
        else:
            sink = _Delivered(subscription, self._delivery, urgent=self._urgent)
        subscription.upstream = self.attach(sink)
        return subscription

    def __await__(self) -> Generator[Any, None, T_out]:
        return last_value(self).__await__()


def reporter_of(observable: Observable[Any]) -> Reporter:
    """Return the function to which an observable reports subscribers that raise; the default logs."""
    return observable._reporter if isinstance(observable, SinkObservable) else log_error


class Subscription(abc.DisposableBase, Generic[T]):
    """A subscriber, guarded: if it raises, its subscription ends and the reporter hears of it.

    Attributes:
        stopped: It is called no more.
        guards: Against which exceptions.
    """

    __slots__ = ("_observer", "_reporter", "_source", "_upstream", "guards", "stopped")

    def __init__(self, observer: abc.ObserverBase[T], reporter: Reporter, source: str) -> None:
        self._observer = observer
        self._reporter = reporter
        self._source = source
        self._upstream: abc.DisposableBase | None = None
        self.guards: type[BaseException] = Exception
        self.stopped = False

    @property
    def upstream(self) -> abc.DisposableBase | None:
        """What ends when this ends."""
        return self._upstream

    @upstream.setter
    def upstream(self, upstream: abc.DisposableBase) -> None:
        self._upstream = upstream
        if self.stopped:
            upstream.dispose()

    def on_next(self, item: T) -> None:
        if self.stopped:
            return
        try:
            self._observer.on_next(item)
        except self.guards as error:  # a subscriber's own code: any exception
            self._raised(error, item)

    def on_error(self, error: Exception) -> None:
        if self.stopped:
            return
        self.stopped = True
        try:
            self._observer.on_error(error)
        except self.guards as raised:
            if raised is not error:  # reactivex raises what nobody handles: that is no fault
                self._report(raised, error)
            else:
                self._reporter(error)

    def on_completed(self) -> None:
        if self.stopped:
            return
        self.stopped = True
        try:
            self._observer.on_completed()
        except self.guards as raised:
            self._report(raised, None)

    def run(self, function: Callable[[], None]) -> None:
        """Call a function as guarded as the subscriber."""
        try:
            function()
        except self.guards as error:
            self._raised(error, None)

    def dispose(self) -> None:
        self.stopped = True
        if self._upstream is not None:
            self._upstream.dispose()

    def _raised(self, error: BaseException, item: T | None) -> None:
        self.dispose()
        told = self._report(error, item)
        try:
            # whoever waits further down the chain must not wait for ever
            self._observer.on_error(told)
        except Exception:  # noqa: S110  # it has been reported; most subscribers have no on_error
            pass

    def _report(self, error: BaseException, item: object) -> SubscriberRaised:
        told = SubscriberRaised(
            f"a subscriber of {self._source} raised {type(error).__name__}: {error}; "
            "its subscription has ended",
            item=item,
        )
        told.__cause__ = error
        self._reporter(told)
        return told


class _Delivered(Generic[T]):
    """The sink of a subscriber that is called on the delivery thread."""

    __slots__ = ("_next", "_put", "_subscription")

    def __init__(
        self, subscription: Subscription[T], delivery: DeliveryThread, *, urgent: bool
    ) -> None:
        subscription.guards = BaseException  # sys.exit would end the thread for all
        self._subscription = subscription
        self._next = subscription.on_next
        self._put = delivery.put_urgent if urgent else delivery.put

    def on_next(self, item: T) -> None:
        self._put(self._next, item)

    def on_error(self, error: Exception) -> None:
        self._put(self._subscription.on_error, error)

    def on_completed(self) -> None:
        self._put(Subscription.on_completed, self._subscription)

    def call(self, function: Callable[[], None]) -> None:
        self._put(self._subscription.run, function)


class Fanout(Generic[T]):
    """The sinks of one source. Read without a lock: a change makes a new tuple."""

    __slots__ = ("all",)

    def __init__(self) -> None:
        self.all: tuple[Sink[T], ...] = ()

    def add(self, sink: Sink[T]) -> None:
        self.all = (*self.all, sink)

    def remove(self, sink: Sink[T]) -> None:
        self.all = tuple(other for other in self.all if other is not sink)
