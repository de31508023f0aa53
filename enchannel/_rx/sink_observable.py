"""Observables that call each subscriber on its thread and guard the others from its exceptions."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeVar

from reactivex import Observable, abc

from enchannel._rx.delivery_thread import DeliveryThread
from enchannel._rx.event_loop_sink import EventLoopSink
from enchannel._rx.foreign_loops import is_event_loop
from enchannel._rx.pipe_end import PipeEnd, end_of
from enchannel._rx.sink import Reporter, Sink, SinkSource, describe, log_error
from enchannel._rx.waiting import last_value, wait
from enchannel.errors import MessagesMayBeMissing, SubscriberRaised

__all__ = ["SinkObservable", "Subscription", "reporter_of"]

T = TypeVar("T")
T_out = TypeVar("T_out", covariant=True)


class SinkObservable(Observable[T_out], SinkSource[T_out]):
    """An observable whose subscribers are called on the kernel's delivery thread.

    A subscriber that passes the scheduler of an event loop to ``subscribe`` is called on that loop instead.
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
        elif (end := end_of(scheduler)) is not None:
            end.reporter = self._reporter
            sink = _PipedSink(subscription, self._delivery, end, urgent=self._urgent)
        else:
            sink = _DeliveryThreadSink(subscription, self._delivery, urgent=self._urgent)
        subscription.upstream = self._attach(sink)
        return subscription

    if not TYPE_CHECKING:  # type checkers report `async for` themselves

        def __aiter__(self) -> NoReturn:
            """Refuse ``async for``, which needs an iterator that is closed at its end."""
            raise TypeError(f"write `async for … in enchannel.aiter(…)` to iterate over {self}")

    def run(self, scheduler: abc.SchedulerBase | None = None) -> T_out:
        """Block until the observable completes, and return its last item, as ``enchannel.wait`` does.

        Args:
            scheduler: Ignored; the items do not change the thread.

        Raises:
            WouldDeadlock: called on a delivery thread or a running event loop.
            Exception: as of ``enchannel.wait``.
        """
        return wait(self)

    def __await__(self) -> Generator[Any, None, T_out]:
        return last_value(self).__await__()


def reporter_of(observable: Observable[Any]) -> Reporter:
    """Return the function to which an observable reports subscribers that raise; the default logs."""
    return observable._reporter if isinstance(observable, SinkObservable) else log_error


class Subscription(abc.DisposableBase, Generic[T]):
    """A guarded subscriber: if it raises, its subscription ends and the exception is reported.

    Args:
        observer: The subscriber.
        reporter: Receives a SubscriberRaised, or an error that the subscriber does not handle.
        source: The name of the observable, for error messages.

    Attributes:
        stopped: True once the subscription has ended; the subscriber is not called any more.
        guards: The class of the exceptions that are caught.
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
        """The subscription to the source, which is disposed of with this one."""
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
        except self.guards as error:
            self._raised(error, item)

    def on_error(self, error: Exception) -> None:
        if self.stopped:
            return
        self.stopped = True
        try:
            self._observer.on_error(error)
        except self.guards as raised:
            # A default observer of reactivex raises the error itself: it is unhandled, not a fault.
            if raised is error:
                self._reporter(error)
            else:
                self._report(raised, error)

    def on_completed(self) -> None:
        if self.stopped:
            return
        self.stopped = True
        try:
            self._observer.on_completed()
        except self.guards as raised:
            self._report(raised, None)

    def run(self, function: Callable[[], None]) -> None:
        """Call a function of the subscriber under the same guard."""
        try:
            function()
        except self.guards as error:
            self._raised(error, None)

    def on_loop_stopped(self, undelivered: int, error: Exception | None) -> None:
        """End because the event loop of the subscriber has stopped, and report the loss.

        Args:
            undelivered: The number of items that the subscriber does not get.
            error: The error that it does not get, or None.
        """
        self.dispose()
        if undelivered:
            items = "1 item was" if undelivered == 1 else f"{undelivered} items were"
            self._reporter(
                MessagesMayBeMissing(
                    f"the event loop of a subscriber of {self._source} has stopped, so {items} not "
                    "delivered and its subscription has ended; dispose of it before the loop stops"
                )
            )
        if error is not None:
            self._reporter(error)

    def dispose(self) -> None:
        self.stopped = True
        if self._upstream is not None:
            self._upstream.dispose()

    def _raised(self, error: BaseException, item: T | None) -> None:
        self.dispose()
        reported = self._report(error, item)
        # An operator or a waiting thread further down the chain has to learn of the end. Most subscribers
        # have no on_error and raise here; the error has been reported already.
        with suppress(self.guards):
            self._observer.on_error(reported)

    def _report(self, error: BaseException, item: object) -> SubscriberRaised:
        reported = SubscriberRaised(
            f"a subscriber of {self._source} raised {describe(error)}; its subscription has ended",
            item=item,
        )
        reported.__cause__ = error
        self._reporter(reported)
        return reported


class _DeliveryThreadSink(Generic[T]):
    """Queues calls of a subscriber on the delivery thread."""

    __slots__ = ("_next", "_put", "_subscription")

    def __init__(
        self, subscription: Subscription[T], delivery: DeliveryThread, *, urgent: bool
    ) -> None:
        # A SystemExit of one subscriber would end the thread for all.
        subscription.guards = BaseException
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


class _PipedSink(_DeliveryThreadSink[T]):
    """Calls a pipe on the delivery thread, and functions where the subscriber of the pipe is called."""

    __slots__ = ("_call_at_end",)

    def __init__(
        self,
        subscription: Subscription[T],
        delivery: DeliveryThread,
        end: PipeEnd,
        *,
        urgent: bool,
    ) -> None:
        super().__init__(subscription, delivery, urgent=urgent)
        self._call_at_end = end.call

    def call(self, function: Callable[[], None]) -> None:
        # After the items before it, which take the same way.
        self._put(self._call_at_end, function)
