"""``deliver_on``: delivery on an event loop in batches, with limits for slow consumers."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from reactivex import Observable, abc
from reactivex.disposable import CompositeDisposable, Disposable

from enchannel._protocol.message import AnyMessage, Message
from enchannel._rx.changes import Changes
from enchannel._rx.event_loop_sink import EventLoopSink
from enchannel._rx.overflow import Overflow, validate_overflow
from enchannel._rx.pipe_end import PipeEnd, end_of
from enchannel._rx.sink import attach
from enchannel._rx.sink_observable import Subscription, reporter_of
from enchannel.errors import MessagesMayBeMissing
from enchannel.frozen import FrozenDict

__all__ = ["deliver_on"]

T = TypeVar("T")

# Queued in place of an item that is chosen when it is delivered.
PLACEHOLDER = object()


class deliver_on:
    """Deliver items on the thread of an event loop, in batches.

    One scheduled action delivers all waiting items, where reactivex's ``observe_on`` schedules an action
    for each item; every few hundred items the loop runs its other tasks. ``on_input`` of a request
    before it is called there as well, also with operators
    between them, except reactivex's ``subscribe_on`` and ``on_error_resume_next``.

    After the loop has stopped (closed, application quit, root destroyed), the next item, or one that
    waits, ends the subscription, and ``kernel.errors`` reports the number of lost items.

    Args:
        scheduler: The scheduler of the loop: asyncio (Textual included), Qt, Tk, or an
            EventLoopScheduler. For Tk, subscribe on its thread.
        interval: The minimum number of seconds between two batches; ``1 / 60`` is a screen's frame rate.
        limit: The maximum number of waiting items, for ``"latest"`` and ``"error"`` only; None is
            unlimited.
        overflow: ``"buffer"`` keeps all items; ``"latest"`` keeps the newest ``limit`` items (default 1)
            and drops older ones; ``"coalesce"`` joins the text of consecutive waiting stream messages of
            one request and stream name, or of the outputs that ``outputs()`` makes of them, and keeps all
            other items; ``"error"`` ends the subscription with MessagesMayBeMissing when ``limit`` is
            exceeded.

    Raises:
        ValueError: an invalid interval, limit or overflow, or a limit that the overflow policy ignores.
        RuntimeError: on subscribing with a Qt scheduler before the Qt application exists.

    Example:
        >>> deliver = ec.deliver_on(QtScheduler(QtCore), interval=1 / 60)
        >>> kernel.iopub.pipe(deliver, ec.outputs()).subscribe(show)
        >>> deliver.backlog  # items that wait for the loop
        0
    """

    def __init__(
        self,
        scheduler: abc.SchedulerBase,
        *,
        interval: float = 0.0,
        limit: int | None = None,
        overflow: Overflow = "buffer",
    ) -> None:
        if not 0 <= interval < math.inf:
            raise ValueError(f"interval must be a finite number of seconds >= 0, not {interval!r}")
        validate_overflow(overflow, limit, _POLICIES)
        self._scheduler = scheduler
        self._interval = interval
        self._limit = limit
        self._policy = _POLICIES[overflow]
        self._sinks: frozenset[EventLoopSink[Any]] = frozenset()  # replaced, never mutated
        self._changes = Changes()

    def __call__(self, source: Observable[T]) -> Observable[T]:
        def subscribe(
            observer: abc.ObserverBase[T], scheduler: abc.SchedulerBase | None = None
        ) -> abc.DisposableBase:
            end = PipeEnd(reporter_of(source))
            subscription = Subscription(observer, end.report, "deliver_on")
            sink = self._policy(self._limit, subscription, self._scheduler, interval=self._interval)
            end.call = sink.call
            if (outer := end_of(scheduler)) is not None:
                # Of a second deliver_on, or of a thread that waits.
                sink.forward_calls(outer.call)
                outer.reporter = end.report
            with end.subscribing():
                upstream = attach(source, sink, end)
            self._changes.make(lambda: self._add(sink))
            forget = Disposable(lambda: self._changes.post(lambda: self._remove(sink)))
            subscription.upstream = CompositeDisposable(upstream, forget)
            return subscription

        return Observable(subscribe)

    @property
    def backlog(self) -> int:
        """The number of items that wait for the loop, over all subscriptions."""
        return sum(sink.backlog for sink in self._sinks)

    def _add(self, sink: EventLoopSink[Any]) -> None:
        self._sinks |= {sink}

    def _remove(self, sink: EventLoopSink[Any]) -> None:
        self._sinks -= {sink}


class _Latest(EventLoopSink[T]):
    """Keeps only the newest items."""

    def __init__(self, limit: int | None, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._kept: deque[T] = deque()
        self._limit = limit or 1

    def on_next(self, item: T) -> None:
        with self._lock:
            self._kept.append(item)
            if len(self._kept) > self._limit:
                # The new item takes the placeholder of the dropped one.
                self._kept.popleft()
                return
        self._put(PLACEHOLDER)

    def _deliver(self, _: object, /) -> None:
        with self._lock:
            item = self._kept.popleft()
        self._subscription.on_next(item)


class _Coalesce(EventLoopSink[Any]):
    """Joins the text of consecutive waiting stream messages, or stream outputs."""

    def __init__(self, limit: int | None, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._last: _Batch | None = None  # the newest, if a stream

    def on_next(self, item: Any) -> None:
        key = _stream_key(item)
        with self._lock:
            if key is not None and self._last is not None and self._last.key == key:
                self._last.messages.append(item)
                return
            batch = _Batch(key, [item])
            self._last = batch if key is not None else None
        self._put(batch)

    def _deliver(self, batch: _Batch, /) -> None:
        with self._lock:
            if self._last is batch:
                self._last = None
        self._subscription.on_next(batch.joined())

    def _count(self, batch: _Batch, /) -> int:
        return len(batch.messages)


class _Error(EventLoopSink[T]):
    """Ends the subscription when too many items wait."""

    def __init__(self, limit: int | None, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._limit = limit
        self._over = False

    def on_next(self, item: T) -> None:
        if self._over:
            return
        if self._limit is not None and self.backlog >= self._limit:
            self._over = True
            self.on_error(
                MessagesMayBeMissing(
                    f"more than {self._limit} items waited for the event loop (overflow='error')"
                )
            )
        else:
            self._put(item)


def _buffer(limit: int | None, *args: Any, **options: Any) -> EventLoopSink[Any]:
    return EventLoopSink(*args, **options)


_POLICIES: dict[Overflow, Callable[..., EventLoopSink[Any]]] = {
    "buffer": _buffer,
    "latest": _Latest,
    "coalesce": _Coalesce,
    "error": _Error,
}


@dataclass(slots=True)
class _Batch:
    """Stream messages or outputs with one key, or a single item of any kind."""

    key: tuple[object, object] | None
    messages: list[Any]

    def joined(self) -> Any:
        if len(self.messages) == 1:
            return self.messages[0]
        last = self.messages[-1]
        text = "".join(_fields(message)["text"] for message in self.messages)
        if isinstance(last, Message):
            return last.replace(content={**last.content, "text": text})
        return FrozenDict({**last, "text": text})


def _stream_key(item: object) -> tuple[object, object] | None:
    """Return a key that is equal for stream messages, or outputs, whose text can be joined."""
    if isinstance(item, Message):
        is_stream, request = item.header.msg_type == "stream", item.parent_header.msg_id
    elif isinstance(item, FrozenDict):
        is_stream, request = item.get("output_type") == "stream", None
    else:
        return None
    fields = _fields(item)
    if not is_stream or not isinstance(fields.get("text"), str):
        return None
    return request, fields.get("name")


def _fields(item: AnyMessage | FrozenDict) -> Mapping[str, Any]:
    return item.content if isinstance(item, Message) else item
