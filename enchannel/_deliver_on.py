"""Handing over to a UI's or a coroutine's loop, at its pace."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Generic, Literal, TypeVar

from reactivex import Observable, abc

from enchannel._batches import Batches
from enchannel._message import AnyMessage, Message
from enchannel._source import Source, Subscription
from enchannel.errors import MessagesMayBeMissing

__all__ = ["deliver_on"]

T = TypeVar("T")

Overflow = Literal["buffer", "latest", "coalesce", "error"]
"""What becomes of items that a consumer has not taken yet."""


def deliver_on(
    scheduler: abc.SchedulerBase,
    *,
    interval: float = 0.0,
    limit: int | None = None,
    overflow: Overflow = "buffer",
) -> Callable[[Observable[T]], Observable[T]]:
    """Call what follows on a loop's thread, in batches.

    One scheduled action hands over all that has arrived, where reactivex's ``observe_on`` schedules one
    for each item; every few hundred items the loop gets a turn.

    Args:
        scheduler: Of the loop: asyncio's, Qt's, Tk's, an EventLoopScheduler.
        interval: Seconds at least between two batches: ``1 / 60`` is the screen's pace.
        limit: How many items may wait before ``overflow`` applies; None: any number.
        overflow: ``"buffer"`` keeps all of them, whatever the limit; ``"latest"`` keeps the newest
            ``limit`` (1 by default) and drops older ones; ``"coalesce"`` joins the text of
            consecutive stream messages of one request and name that wait, and keeps all else;
            ``"error"`` ends with MessagesMayBeMissing when the limit is passed.
    """

    def deliver(source: Observable[T]) -> Observable[T]:
        def subscribe(
            observer: abc.ObserverBase[T], _: abc.SchedulerBase | None = None
        ) -> abc.DisposableBase:
            report = source._reporter if isinstance(source, Source) else _log
            subscription = Subscription(observer, report, "deliver_on")
            sink = _POLICIES[overflow](subscription, scheduler, interval, limit)
            if isinstance(source, Source):
                subscription.upstream = source.attach(sink)
            else:
                subscription.upstream = source.subscribe(
                    sink.on_next, sink.on_error, sink.on_completed
                )
            return subscription

        return Observable(subscribe)

    return deliver


def _log(error: Exception) -> None:
    import logging

    logging.getLogger("enchannel").warning("%s", error, exc_info=error.__cause__)


class _Buffer(Batches[T]):
    def __init__(
        self,
        subscription: Subscription[T],
        scheduler: abc.SchedulerBase,
        interval: float,
        limit: int | None,
    ) -> None:
        super().__init__(subscription, scheduler, interval=interval)
        self._limit = limit


class _Pending(_Buffer[T], Generic[T]):
    """Keeps items of its own, so that what waits can be changed; a batch takes them one by one."""

    def __init__(
        self,
        subscription: Subscription[T],
        scheduler: abc.SchedulerBase,
        interval: float,
        limit: int | None,
    ) -> None:
        super().__init__(subscription, scheduler, interval, limit)
        self._pending: deque[T] = deque()
        self._deliver = subscription.on_next

    def _take(self) -> None:
        with self._lock:
            item = self._pending.popleft()
        self._deliver(item)


class _Latest(_Pending[T]):
    def on_next(self, item: T) -> None:
        with self._lock:
            self._pending.append(item)
            if len(self._pending) > (self._limit or 1):
                self._pending.popleft()
                return
        self._put(self._take)


class _Coalesce(_Pending[Any]):
    def on_next(self, item: Any) -> None:
        with self._lock:
            if self._pending and (joined := _joined(self._pending[-1], item)) is not None:
                self._pending[-1] = joined
                return
            self._pending.append(item)
        self._put(self._take)


class _Error(_Buffer[T]):
    def on_next(self, item: T) -> None:
        if self._limit is not None and self.backlog >= self._limit:
            self.on_error(
                MessagesMayBeMissing(
                    f"more than {self._limit} items waited for their loop, and overflow='error'"
                )
            )
        else:
            super().on_next(item)


_POLICIES: dict[Overflow, Callable[..., Batches[Any]]] = {
    "buffer": _Buffer,
    "latest": _Latest,
    "coalesce": _Coalesce,
    "error": _Error,
}


def _joined(last: object, item: object) -> AnyMessage | None:
    """One stream message for two, if they are of one request and one name."""
    if not (isinstance(last, Message) and isinstance(item, Message)):
        return None
    if not last.header.msg_type == item.header.msg_type == "stream":
        return None
    if last.parent_header.msg_id != item.parent_header.msg_id:
        return None
    one, other = last.content, item.content
    if one.get("name") != other.get("name"):
        return None
    text, more = one.get("text"), other.get("text")
    if not (isinstance(text, str) and isinstance(more, str)):
        return None
    return item.replace(content={"name": one["name"], "text": text + more})
