"""Handing over to a UI's or a coroutine's loop, at its pace."""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from reactivex import Observable, abc
from reactivex.disposable import CompositeDisposable, Disposable

from enchannel._protocol.message import AnyMessage, Message
from enchannel._rx.event_loop_sink import EventLoopSink
from enchannel._rx.sink import attach
from enchannel._rx.sink_observable import Subscription, reporter_of
from enchannel.errors import MessagesMayBeMissing

__all__ = ["deliver_on"]

T = TypeVar("T")

Overflow = Literal["buffer", "latest", "coalesce", "error"]
"""What becomes of items that a consumer has not taken yet."""

TURN = object()  # what waits in the place of an item, when it is not yet known which


class deliver_on:
    """Call what follows on a loop's thread, in batches.

    One scheduled action hands over all that has arrived, where reactivex's ``observe_on`` schedules one
    for each item; every few hundred items the loop gets a turn. When the loop is gone (closed, its
    application has quit, its root is destroyed), the next item ends the subscription.

    Args:
        scheduler: Of the loop: asyncio's (Textual's is one), Qt's, Tk's, an EventLoopScheduler. For Tk,
            subscribe on its thread.
        interval: Seconds at least between two batches: ``1 / 60`` is the screen's pace.
        limit: How many items may wait, for ``"latest"`` and ``"error"``; None: any number.
        overflow: ``"buffer"`` keeps all of them; ``"latest"`` keeps the newest ``limit`` (1 by default)
            and drops older ones; ``"coalesce"`` joins the text of consecutive stream messages of one
            request and name that wait, and keeps all else; ``"error"`` ends with
            MessagesMayBeMissing when the limit is passed.

    Raises:
        ValueError: an interval, a limit or an overflow that makes no sense.
        RuntimeError: when subscribed to for Qt, and there is no application yet.

    Example:
        >>> deliver = ec.deliver_on(QtScheduler(QtCore), interval=1 / 60)
        >>> kernel.iopub.pipe(deliver, ec.outputs()).subscribe(show)
        >>> deliver.backlog  # how many items wait for the loop
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
            raise ValueError(f"the interval is {interval!r}, and has to be seconds, or 0")
        if limit is not None and limit < 1:
            raise ValueError(f"the limit is {limit!r}, and has to be a number of items, or None")
        if overflow not in _POLICIES:
            raise ValueError(f"there is no overflow {overflow!r}; there are {', '.join(_POLICIES)}")
        self._scheduler = scheduler
        self._interval = interval
        self._limit = limit
        self._policy = _POLICIES[overflow]
        self._sinks: frozenset[EventLoopSink[Any]] = frozenset()  # a change makes a new one
        self._lock = threading.Lock()

    def __call__(self, source: Observable[T]) -> Observable[T]:
        def subscribe(
            observer: abc.ObserverBase[T], _: abc.SchedulerBase | None = None
        ) -> abc.DisposableBase:
            subscription = Subscription(observer, reporter_of(source), "deliver_on")
            sink = self._policy(self._limit, subscription, self._scheduler, interval=self._interval)
            upstream = attach(source, sink)
            with self._lock:
                self._sinks |= {sink}
            forget = Disposable(lambda: self._forget(sink))
            subscription.upstream = CompositeDisposable(upstream, forget)
            return subscription

        return Observable(subscribe)

    @property
    def backlog(self) -> int:
        """How many items wait for the loop, of all that are subscribed."""
        return sum(sink.backlog for sink in self._sinks)

    def _forget(self, sink: EventLoopSink[Any]) -> None:
        with self._lock:
            self._sinks -= {sink}


class _Latest(EventLoopSink[T]):
    """Keeps the newest items only."""

    def __init__(self, limit: int | None, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._kept: deque[T] = deque()
        self._limit = limit or 1

    def on_next(self, item: T) -> None:
        with self._lock:
            self._kept.append(item)
            if len(self._kept) > self._limit:
                self._kept.popleft()  # its turn is taken by the new one
                return
        self._put(TURN)

    def _deliver(self, _: object, /) -> None:
        with self._lock:
            item = self._kept.popleft()
        self._subscription.on_next(item)


class _Coalesce(EventLoopSink[Any]):
    """Joins the text of stream messages that wait next to each other."""

    def __init__(self, limit: int | None, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._last: _Run | None = None  # the newest that waits, if it is of stream messages

    def on_next(self, item: Any) -> None:
        key = _stream_key(item)
        with self._lock:
            if key is not None and self._last is not None and self._last.key == key:
                self._last.messages.append(item)
                return
            run = _Run(key, [item])
            self._last = run if key is not None else None
        self._put(run)

    def _deliver(self, run: _Run, /) -> None:
        with self._lock:
            if self._last is run:
                self._last = None
        self._subscription.on_next(run.joined())


class _Error(EventLoopSink[T]):
    """Ends when too many items wait."""

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
                    f"more than {self._limit} items waited for their loop, and overflow='error'"
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
class _Run:
    """Stream messages of one request and name, or a single item of any kind."""

    key: tuple[str, object] | None
    messages: list[Any]

    def joined(self) -> Any:
        if len(self.messages) == 1:
            return self.messages[0]
        last: AnyMessage = self.messages[-1]
        text = "".join(message.content["text"] for message in self.messages)
        return last.replace(content={**last.content, "text": text})


def _stream_key(item: object) -> tuple[str, object] | None:
    """What stream messages have in common whose text can be joined."""
    if not isinstance(item, Message) or item.header.msg_type != "stream":
        return None
    if not isinstance(item.content.get("text"), str):
        return None
    return item.parent_header.msg_id, item.content.get("name")
