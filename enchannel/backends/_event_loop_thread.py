"""An asyncio event loop on its own thread, for backends whose library needs one.

Use it with ``SharedResource``, which starts the thread for the first link and stops it after the last.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import threading
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, TypeVar

from reactivex import Observable
from reactivex.subject import AsyncSubject

from enchannel._rx.library_threads import mark_io_thread
from enchannel.errors import ChannelClosed, EnchannelError

__all__ = ["EventLoopThread"]

T = TypeVar("T")

# Iterations of the loop in which closing transports send their last frames and close.
CLOSE_ITERATIONS = 5
JOIN_TIMEOUT = 5.0


class EventLoopThread:
    """An asyncio event loop on its own daemon thread, shared by the links of a backend.

    All methods are thread-safe unless documented otherwise.

    Args:
        name: Name of the thread.
    """

    def __init__(self, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._started = False

    def start(self) -> None:
        """Start the thread; a no-op if it is running."""
        if not self._started:
            self._started = True
            self._thread.start()

    @property
    def is_current_thread(self) -> bool:
        """True in code that the event loop runs."""
        return threading.current_thread() is self._thread

    def spawn(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        """Run a coroutine in the event loop, without waiting for it.

        Raises:
            RuntimeError: The loop is closed.
        """
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    def spawn_logged(
        self, coroutine: Coroutine[Any, Any, object], log: logging.Logger, activity: str
    ) -> None:
        """Run a coroutine in the event loop; log the exception if it fails.

        Args:
            coroutine: The coroutine.
            log: Receives "<activity> failed: <error>".
            activity: Name of the coroutine's activity, for the log ("watching a kernel").

        Raises:
            RuntimeError: The loop is closed.
        """

        def log_failure(future: Future[object]) -> None:
            if not future.cancelled() and (error := future.exception()) is not None:
                log.error("%s failed: %s", activity, error)

        self.spawn(coroutine).add_done_callback(log_failure)

    def run(self, coroutine: Coroutine[Any, Any, T], *, shielded: bool = False) -> T:
        """Run a coroutine in the event loop and return its result; not from the loop's own thread.

        Args:
            coroutine: The coroutine.
            shielded: By default an exception in the waiting thread (Ctrl-C) cancels the coroutine and waits
                up to 5 s for its cleanup. With True the coroutine continues in the loop.

        Raises:
            RuntimeError: The loop is closed.
        """
        if shielded:
            return self.spawn(coroutine).result()
        task: asyncio.Task[T] | None = None
        cancelled = False
        done = threading.Event()

        async def run() -> T:
            nonlocal task
            task = asyncio.current_task()
            try:
                if cancelled:
                    coroutine.close()
                    raise asyncio.CancelledError
                return await coroutine
            finally:
                done.set()

        def cancel() -> None:
            if task is not None:
                task.cancel()
            else:
                done.set()

        # Ctrl-C may be raised anywhere below, also between starting the coroutine and waiting for it.
        try:
            return self.spawn(run()).result()
        except BaseException:
            cancelled = True
            with suppress(RuntimeError):  # raised if the loop is closed
                self.call(cancel)
                done.wait(JOIN_TIMEOUT)
            raise

    def call(self, function: Callable[[], object]) -> None:
        """Call a function in the event loop, without waiting for it.

        Raises:
            RuntimeError: The loop is closed.
        """
        self._loop.call_soon_threadsafe(function)

    def to_observable(self, coroutine: Coroutine[Any, Any, None]) -> Observable[None]:
        """Run a coroutine in the event loop at once, and return its outcome as an observable.

        The observable emits one None and completes, or fails with the coroutine's exception; with
        ``ChannelClosed`` if the coroutine is cancelled. It replays that to late subscribers. Subscribers
        are called on the event loop's thread.
        """
        subject: AsyncSubject[None] = AsyncSubject()

        def on_done(future: Future[None]) -> None:
            if future.cancelled():
                subject.on_error(
                    ChannelClosed("the operation was cancelled: the kernel was closed")
                )
            elif (error := future.exception()) is None:
                subject.on_next(None)
                subject.on_completed()
            elif isinstance(error, Exception):
                subject.on_error(error)
            else:
                subject.on_error(EnchannelError(f"the event loop was interrupted by {error!r}"))

        self.spawn(coroutine).add_done_callback(on_done)
        return subject

    async def run_in_thread(self, function: Callable[[], None], *, name: str) -> None:
        """Call a blocking function on a new daemon thread; await this in the event loop.

        Unlike ``asyncio.to_thread`` it needs no executor, which would refuse work during interpreter exit,
        when kernels are shut down.

        Args:
            function: The function. Its exception is raised here.
            name: Name of the thread.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()

        def run() -> None:
            error: BaseException | None = None
            try:
                function()
            except BaseException as raised:
                error = raised
            loop.call_soon_threadsafe(settle, error)

        def settle(error: BaseException | None) -> None:
            if future.cancelled():
                return
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(None)

        threading.Thread(target=run, name=name, daemon=True).start()
        await future

    def stop(self, wait: bool) -> None:
        """Cancel all tasks, close all connections and the loop, and end the thread.

        Args:
            wait: Wait up to 5 s for the thread to end; ignored on the thread itself.
        """
        self._stopping = True
        self._loop.call_soon_threadsafe(self._loop.stop)
        if wait:
            self.join()

    def join(self) -> None:
        """Wait up to 5 s for the thread to end after ``stop``; a no-op before, and on the thread itself."""
        if self._stopping and not self.is_current_thread:
            self._thread.join(JOIN_TIMEOUT)

    def _run(self) -> None:
        mark_io_thread()
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
        # A task that is cancelled before its first step never enters its coroutine, so neither that nor
        # the coroutine it was given to await would run its cleanup. Let new tasks take their first step.
        while any(map(_is_unstarted, tasks := asyncio.all_tasks(self._loop))):
            self._loop.run_until_complete(asyncio.sleep(0))
        for task in tasks:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._iterate()
        self._abort_transports()
        self._loop.close()

    def _abort_transports(self) -> None:
        """Close the sockets of transports that are still open.

        They are those of tasks that were cancelled while they connected, and of TLS connections, which wait
        for the peer to confirm their end.
        """
        # Selector event loops have this mapping. That of Windows closes the handles when it is collected.
        transports: Mapping[int, asyncio.WriteTransport] = getattr(self._loop, "_transports", {})
        for transport in list(transports.values()):
            transport.abort()
        self._iterate()

    def _iterate(self) -> None:
        for _ in range(CLOSE_ITERATIONS):
            self._loop.run_until_complete(asyncio.sleep(0))


def _is_unstarted(task: asyncio.Task[Any]) -> bool:
    coroutine = task.get_coro()
    return (
        inspect.iscoroutine(coroutine)
        and inspect.getcoroutinestate(coroutine) == inspect.CORO_CREATED
    )
