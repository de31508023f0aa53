"""Waiting for an observable: in a coroutine, in an ``async for``, in a plain thread."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from queue import Empty, SimpleQueue
from typing import Any, Generic, TypeVar

from reactivex import Observable, abc
from reactivex.disposable import SingleAssignmentDisposable
from reactivex.internal.exceptions import SequenceContainsNoElementsError
from reactivex.scheduler.eventloop import AsyncIOThreadSafeScheduler

from enchannel._rx.delivery_thread import is_delivering
from enchannel._rx.sink import attach
from enchannel.errors import RequestTimeout, WouldDeadlock

__all__ = ["aiter", "last_value", "refuse_to_block", "wait"]

T = TypeVar("T")
NOTHING: Any = object()


def refuse_to_block(what: str) -> None:
    """Raise WouldDeadlock on a thread that must not block."""
    if is_delivering():
        raise WouldDeadlock(
            f"{what} on a thread that delivers messages would wait for itself; subscribe instead"
        )
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise WouldDeadlock(f"{what} would block the running event loop; await it instead")


def wait(observable: Observable[T], *, timeout: float | None = None) -> T:
    """Block until an observable ends; its last item. Ctrl-C and the timeout end the subscription.

    Args:
        observable: Any; one of ours is waited for without a detour over its delivery thread.
        timeout: Seconds; None waits until the connection ends, if need be.

    Raises:
        RequestTimeout: it did not end in time.
        SequenceContainsNoElementsError: reactivex's, for one that ends without an item.
        WouldDeadlock: here, on this thread, it would wait for itself.
        Exception: what the observable ended with.

    Example:
        >>> reply = ec.wait(kernel.kernel_info(), timeout=5)
    """
    refuse_to_block("wait")
    waiter: Waiter[T] = Waiter()
    with waiter.attached(observable):
        waiter.wait(timeout)
    return waiter.last()


class Waiter(Generic[T]):
    """A sink for a blocked thread: it keeps the last item, and runs what it is asked to there."""

    def __init__(self, on_next: Callable[[T], None] | None = None) -> None:
        self._item: T = NOTHING
        self._error: Exception | None = None
        self._calls: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._on_next = on_next

    def attached(self, observable: Observable[T]) -> abc.DisposableBase:
        """Subscribe; leaving the ``with`` block of what is returned ends it."""
        return attach(observable, self)

    def wait(self, timeout: float | None) -> None:
        """Until the end.

        Raises:
            RequestTimeout: it did not come in time.
        """
        end = None if timeout is None else time.monotonic() + timeout
        try:
            while call := self._calls.get(timeout=_until(end)):
                call()
        except Empty:
            raise RequestTimeout(f"there was no end within {timeout:g} s") from None

    def last(self) -> T:
        """The last item, or the error that it ended with."""
        if self._error is not None:
            raise self._error
        if self._item is NOTHING:
            raise SequenceContainsNoElementsError()
        return self._item

    def on_next(self, item: T) -> None:
        self._item = item
        if self._on_next is not None:
            self._on_next(item)

    def on_error(self, error: Exception) -> None:
        self._error = error
        self._calls.put(None)

    def on_completed(self) -> None:
        self._calls.put(None)

    def call(self, function: Callable[[], None]) -> None:
        self._calls.put(function)


def _until(end: float | None) -> float | None:
    return None if end is None else max(0.0, end - time.monotonic())


class _LoopSink(Generic[T]):
    """A sink for a coroutine: everything is noted where it arrives; the loop is woken when it matters."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.items: deque[T] = deque()
        self.error: Exception | None = None
        self.ended = False
        self.woken = asyncio.Event()
        self._waking = False

    def attached(self, observable: Observable[T]) -> abc.DisposableBase:
        return attach(observable, self, AsyncIOThreadSafeScheduler(self._loop))

    def on_next(self, item: T) -> None:
        self.items.append(item)
        self._wake()

    def on_error(self, error: Exception) -> None:
        self.error = error
        self.on_completed()

    def on_completed(self) -> None:
        self.ended = True
        self._wake()

    def call(self, function: Callable[[], None]) -> None:
        def guarded() -> None:
            try:
                function()
            except Exception as error:  # a user's own code: any exception
                self.on_error(error)

        self._post(guarded)

    def _wake(self) -> None:
        if not self._waking:
            self._waking = True
            self._post(self._woken)

    def _woken(self) -> None:
        self._waking = False
        self.woken.set()

    def _post(self, function: Callable[[], None]) -> None:
        try:
            self._loop.call_soon_threadsafe(function)
        except RuntimeError:  # the loop is closed, and nobody waits any more
            pass


class _Last(_LoopSink[T]):
    """Keeps the last item only, and wakes the loop at the end only."""

    def on_next(self, item: T) -> None:
        self.items.append(item)
        if len(self.items) > 1:
            self.items.popleft()


async def last_value(observable: Observable[T], *, timeout: float | None = None) -> T:
    """The last item of an observable, for a coroutine. Cancelling ends the subscription.

    It is what ``await observable`` should be: safe whatever thread the items come from, also through a
    ``share()`` or a Subject.

    Args:
        observable: Any.
        timeout: Seconds; None waits until the connection ends, if need be.

    Raises:
        RequestTimeout: it did not end in time.
        SequenceContainsNoElementsError: reactivex's, for one that ends without an item.
        Exception: what the observable ended with.
    """
    sink: _Last[T] = _Last(asyncio.get_running_loop())
    subscription = SingleAssignmentDisposable()
    try:
        async with asyncio.timeout(timeout):
            subscription.disposable = sink.attached(observable)
            while not sink.ended:
                await sink.woken.wait()
                sink.woken.clear()
    except TimeoutError:
        raise RequestTimeout(f"there was no end within {timeout:g} s") from None
    finally:
        subscription.dispose()
    if sink.error is not None:
        raise sink.error
    if not sink.items:
        raise SequenceContainsNoElementsError()
    return sink.items[0]


async def aiter(observable: Observable[T]) -> AsyncIterator[T]:
    """The items of an observable, for ``async for``. Leaving the loop ends the subscription.

    Items that arrive faster than they are taken are kept.

    Raises:
        Exception: what the observable ended with, after the items before it.

    Example:
        >>> async for message in ec.aiter(kernel.execute("train()")):
        ...     ...
    """
    sink: _LoopSink[T] = _LoopSink(asyncio.get_running_loop())
    subscription = sink.attached(observable)
    try:
        while True:
            while sink.items:
                yield sink.items.popleft()
            if sink.ended and not sink.items:
                break
            await sink.woken.wait()
            sink.woken.clear()
    finally:
        subscription.dispose()
    if sink.error is not None:
        raise sink.error
