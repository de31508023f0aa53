"""Waiting for an observable: in a thread, in a coroutine, in an ``async for``."""

from __future__ import annotations

import asyncio
import inspect
import threading
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable
from queue import Empty, SimpleQueue
from typing import Any, Generic, Literal, TypeVar

from reactivex import Observable, abc
from reactivex.disposable import SingleAssignmentDisposable
from reactivex.internal.exceptions import SequenceContainsNoElementsError
from reactivex.scheduler.eventloop import AsyncIOThreadSafeScheduler

from enchannel._rx.library_threads import ThreadRole, is_shared_thread, role_of_thread
from enchannel._rx.overflow import validate_overflow
from enchannel._rx.pipe_end import PipeEnd
from enchannel._rx.sink import attach, log_error
from enchannel.errors import MessagesMayBeMissing, RequestTimeout, WouldDeadlock

__all__ = [
    "AsyncWaiter",
    "Waiter",
    "aiter",
    "last_value",
    "refuse_on_event_loop",
    "require_user_thread",
    "refuse_to_block",
    "wait",
]

T = TypeVar("T")
NOTHING: Any = object()
NO_ITEM = (
    "the observable completed without an item; for a value in that case, add "
    "ops.default_if_empty(…) of reactivex to the pipe"
)


def refuse_to_block(what: str, remedy: str, in_subscriber: str) -> None:
    """Raise WouldDeadlock on a thread that must not block.

    Args:
        what: The blocking call, as the error names it.
        remedy: The call to make instead on an event loop.
        in_subscriber: The remedy on a delivery thread.

    Raises:
        WouldDeadlock: on a thread of the library, or on the thread of a running asyncio loop.
    """
    if role_of_thread() is ThreadRole.DELIVERY:
        raise WouldDeadlock(
            f"{what} on a thread that delivers messages would wait for itself; {in_subscriber}, or "
            f"{remedy} on an event loop"
        )
    refuse_on_event_loop(what, remedy)


def refuse_on_event_loop(what: str, remedy: str) -> None:
    """Raise WouldDeadlock on the thread of a running asyncio loop, and on threads that serve all kernels.

    Args:
        what: The blocking call, as the error names it.
        remedy: The call to make instead on an event loop.

    Raises:
        WouldDeadlock: on the thread of a running asyncio loop, or a shared thread of the library, where
            the garbage collector may run a finalizer of the user.
    """
    require_user_thread(what)
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise WouldDeadlock(f"{what} would block the running event loop; {remedy}")


def require_user_thread(what: str) -> None:
    """Raise WouldDeadlock on a thread of the library that serves all kernels."""
    if is_shared_thread():
        raise WouldDeadlock(
            f"{what} on the thread {threading.current_thread().name!r} would stop all kernels, for "
            "example in a finalizer that the garbage collector runs there; use a thread of your own"
        )


def wait(observable: Observable[T], *, timeout: float | None = None) -> T:
    """Block until an observable completes, and return its last item.

    The timeout and Ctrl-C dispose of the subscription.

    Args:
        observable: Any observable; those of enchannel bypass the delivery thread.
        timeout: Seconds; None waits as long as the observable takes.

    Raises:
        TypeError: observable is not an observable, or timeout is not a number.
        RequestTimeout: the observable did not complete in time.
        SequenceContainsNoElementsError: the observable completed without an item (reactivex's error);
            ``ops.default_if_empty`` gives a value for that case.
        WouldDeadlock: called on a delivery thread or a running event loop.
        Exception: the error of the observable.

    Example:
        >>> reply = ec.wait(kernel.kernel_info(), timeout=5)
    """
    _raise_unless_observable(observable)
    _validate_timeout(timeout)
    refuse_to_block(
        "wait()", "use `await enchannel.last_value(…)`", "subscribe to the observable instead"
    )
    waiter: Waiter[T] = Waiter()
    with waiter.subscribe_to(observable):
        if not waiter.wait(timeout):
            raise RequestTimeout(f"the observable did not complete within {timeout:g} s")
    return waiter.last()


class Waiter(Generic[T]):
    """A sink for a blocked thread: it keeps the last item, and runs functions on that thread.

    Args:
        on_next: Called with each item, on the thread on which it arrives.
    """

    def __init__(self, on_next: Callable[[T], None] | None = None) -> None:
        self._item: T = NOTHING
        self._error: Exception | None = None
        self._calls: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._on_next = on_next

    def subscribe_to(self, observable: Observable[T]) -> abc.DisposableBase:
        """Subscribe to an observable; use the result in a ``with`` statement."""
        end = PipeEnd(log_error)
        end.call = self.call
        with end.subscribing():
            return attach(observable, self, end)

    def wait(self, timeout: float | None) -> bool:
        """Block until the observable completes or fails; return False if it does not do so in time.

        Args:
            timeout: Seconds, or None.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            try:
                call = self._calls.get(timeout=_seconds_until(deadline))
            except Empty:
                return False
            if call is None:
                return True
            # Outside the try statement, since user code may raise Empty.
            call()

    def last(self) -> T:
        """Return the last item.

        Raises:
            SequenceContainsNoElementsError: the observable completed without an item.
            Exception: the error of the observable.
        """
        if self._error is not None:
            raise self._error
        if self._item is NOTHING:
            raise SequenceContainsNoElementsError(NO_ITEM)
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


def _raise_unless_observable(observable: object) -> None:
    if isinstance(observable, Observable):
        return
    # Results of run() and coroutines of arun() are passed by mistake.
    if inspect.iscoroutine(observable):
        observable.close()
    raise TypeError(
        "observable must be an observable, as kernel.execute(…) and kernel.restart() return, "
        f"not {type(observable).__name__}; run(…) waits by itself, and arun(…) is awaited"
    )


def _validate_timeout(timeout: object) -> None:
    if timeout is not None and (type(timeout) is bool or not isinstance(timeout, (int, float))):
        raise TypeError(f"timeout must be a number of seconds or None, not {timeout!r}")


def _seconds_until(deadline: float | None) -> float | None:
    if deadline is None:
        return None
    return min(max(0.0, deadline - time.monotonic()), threading.TIMEOUT_MAX)


class _AsyncioSink(Generic[T]):
    """A sink for a coroutine: it queues items on the thread on which they arrive, and wakes the loop.

    After the loop has been closed, the next item ends the subscription.

    Args:
        loop: The loop of the coroutine.
        limit: The maximum number of waiting items, of which the newest are kept; None is unlimited.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, limit: int | None = None) -> None:
        self._loop = loop
        self._subscription = SingleAssignmentDisposable()
        self.items: deque[T] = deque(maxlen=limit)
        self.error: Exception | None = None
        self.ended = False
        self.woken = asyncio.Event()
        self._waking = False

    def subscribe_to(self, observable: Observable[T]) -> None:
        self._subscription.disposable = attach(
            observable, self, AsyncIOThreadSafeScheduler(self._loop)
        )

    def dispose(self) -> None:
        self._subscription.dispose()

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
            except Exception as error:  # from user code
                self.on_error(error)

        self._post(guarded)

    def _wake(self) -> None:
        # A closed loop does not run the call that clears the flag.
        if not self._waking or self._loop.is_closed():
            self._waking = True
            self._post(self._set_woken)

    def _set_woken(self) -> None:
        self._waking = False
        self.woken.set()

    def _post(self, function: Callable[[], None]) -> None:
        try:
            self._loop.call_soon_threadsafe(function)
        except RuntimeError:
            # The loop is closed, so no coroutine waits any more.
            self.items.clear()
            self.dispose()


class _LastValueSink(_AsyncioSink[T]):
    """A sink that keeps only the last item, and wakes the loop only on completion."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop, limit=1)

    def on_next(self, item: T) -> None:
        self.items.append(item)


class AsyncWaiter(_LastValueSink[T]):
    """A ``Waiter`` for a coroutine: it keeps the last item, and runs functions on the loop.

    Args:
        loop: The loop of the coroutine.
        on_next: Called with each item, on the thread on which it arrives.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, on_next: Callable[[T], None]) -> None:
        super().__init__(loop)
        self._on_next = on_next
        self._raised: Exception | None = None

    async def wait(self, timeout: float | None) -> bool:
        """Wait until the observable completes or fails; return False if it does not do so in time.

        Args:
            timeout: Seconds, or None.

        Raises:
            Exception: a function passed to ``call`` raised it.
        """
        is_late = False

        def on_timeout() -> None:
            nonlocal is_late
            is_late = True
            self.woken.set()

        # Not asyncio.timeout, which a cancelled task would confuse with its cancellation.
        timer = None if timeout is None else self._loop.call_later(timeout, on_timeout)
        try:
            while not (self.ended or is_late):
                await self.woken.wait()
                self.woken.clear()
                self._raise()
        finally:
            if timer is not None:
                timer.cancel()
        return self.ended

    def last(self) -> T:
        """Return the last item, or raise the error of the observable."""
        if self.error is not None:
            raise self.error
        return self.items[-1]

    def on_next(self, item: T) -> None:
        super().on_next(item)
        self._on_next(item)

    def call(self, function: Callable[[], None]) -> None:
        def guarded() -> None:
            try:
                function()
            except Exception as error:  # from user code
                self._raised = error
                self.woken.set()

        self._post(guarded)

    def _raise(self) -> None:
        raised, self._raised = self._raised, None
        if raised is not None:
            raise raised


class _ErrorSink(_AsyncioSink[T]):
    """A sink that fails when too many items wait; those that wait already are kept."""

    def __init__(self, loop: asyncio.AbstractEventLoop, limit: int | None) -> None:
        super().__init__(loop)
        self._limit = limit

    def on_next(self, item: T) -> None:
        if self.ended:
            return
        if self._limit is not None and len(self.items) >= self._limit:
            self.on_error(
                MessagesMayBeMissing(
                    f"more than {self._limit} items waited for the async iterator (overflow='error')"
                )
            )
        else:
            super().on_next(item)


async def last_value(observable: Observable[T], *, timeout: float | None = None) -> T:
    """Wait in a coroutine until an observable completes, and return its last item.

    Unlike ``await observable`` with reactivex's own observables, this is safe for items from any thread,
    also behind ``share()`` or a Subject. Cancelling disposes of the subscription.

    Args:
        observable: Any observable.
        timeout: Seconds; None waits as long as the observable takes.

    Raises:
        TypeError: observable is not an observable, or timeout is not a number.
        RequestTimeout: the observable did not complete in time.
        SequenceContainsNoElementsError: the observable completed without an item (reactivex's error);
            ``ops.default_if_empty`` gives a value for that case.
        Exception: the error of the observable.

    Example:
        >>> reply = await ec.last_value(kernel.kernel_info(), timeout=5)
    """
    _raise_unless_observable(observable)
    _validate_timeout(timeout)
    sink: _LastValueSink[T] = _LastValueSink(asyncio.get_running_loop())
    deadline = asyncio.timeout(timeout)
    try:
        async with deadline:
            sink.subscribe_to(observable)
            while not sink.ended:
                await sink.woken.wait()
                sink.woken.clear()
    except TimeoutError:
        if not deadline.expired():  # subscribing failed with that error, such as a RequestTimeout
            raise
        raise RequestTimeout(f"the observable did not complete within {timeout:g} s") from None
    finally:
        sink.dispose()
    if sink.error is not None:
        raise sink.error
    if not sink.items:
        raise SequenceContainsNoElementsError(NO_ITEM)
    return sink.items[0]


def aiter(
    observable: Observable[T],
    *,
    limit: int | None = None,
    overflow: Literal["buffer", "latest", "error"] = "buffer",
) -> AsyncGenerator[T, None]:
    """Return an asynchronous iterator over the items of an observable, for ``async for``.

    The first step subscribes. The subscription ends when the iterator is closed (``aclose``,
    ``contextlib.aclosing``) or dropped, as on leaving ``async for``; a loop that has been closed ends it
    with the next item.

    Args:
        observable: Any observable.
        limit: The maximum number of waiting items, for ``"latest"`` and ``"error"`` only; None is
            unlimited.
        overflow: ``"buffer"`` keeps all items; ``"latest"`` keeps the newest ``limit`` items (default 1)
            and drops older ones; ``"error"`` raises MessagesMayBeMissing, after the items that wait, when
            ``limit`` is exceeded.

    Raises:
        TypeError: observable is not an observable, or limit is not an int.
        ValueError: an invalid limit or overflow, or a limit that the overflow policy ignores.
        MessagesMayBeMissing: in the iteration, with ``overflow="error"``.
        Exception: in the iteration, the error of the observable, after the items before it.

    Example:
        >>> async for message in ec.aiter(kernel.execute("train()")):
        ...     ...
    """
    _raise_unless_observable(observable)
    validate_overflow(overflow, limit, _ITERATION_SINKS)
    return _iterate(observable, _ITERATION_SINKS[overflow], limit)


async def _iterate(
    observable: Observable[T],
    make_sink: Callable[[asyncio.AbstractEventLoop, int | None], _AsyncioSink[T]],
    limit: int | None,
) -> AsyncGenerator[T, None]:
    sink = make_sink(asyncio.get_running_loop(), limit)
    try:
        sink.subscribe_to(observable)
        while True:
            while sink.items:
                yield sink.items.popleft()
            if sink.ended and not sink.items:
                break
            await sink.woken.wait()
            sink.woken.clear()
    finally:
        sink.dispose()
    if sink.error is not None:
        raise sink.error


def _latest(loop: asyncio.AbstractEventLoop, limit: int | None) -> _AsyncioSink[Any]:
    return _AsyncioSink(loop, limit or 1)


_ITERATION_SINKS: dict[
    str, Callable[[asyncio.AbstractEventLoop, int | None], _AsyncioSink[Any]]
] = {
    "buffer": _AsyncioSink,
    "latest": _latest,
    "error": _ErrorSink,
}
