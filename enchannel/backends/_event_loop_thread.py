"""An asyncio loop on a thread of its own, for backends whose library wants one.

It runs while there are links, and ends with the last: see ``SharedResource``.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

from reactivex import Observable
from reactivex.subject import AsyncSubject

from enchannel.errors import ChannelClosed

__all__ = ["EventLoopThread"]

T = TypeVar("T")

TURNS = 5
JOIN = 5.0  # seconds that the thread is given to end


class EventLoopThread:
    """An asyncio loop on a thread of its own, which a backend shares among its links.

    Args:
        name: The thread's.
    """

    def __init__(self, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._ending = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._started = False

    def start(self) -> None:
        """Begin, if it has not yet."""
        if not self._started:
            self._started = True
            self._thread.start()

    @property
    def is_here(self) -> bool:
        """Whether this is its thread."""
        return threading.current_thread() is self._thread

    def spawn(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        """Run it there."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run it there, and wait for it here; who is interrupted while waiting cancels it."""
        done = threading.Event()

        async def run() -> T:
            try:
                return await coroutine
            finally:
                done.set()

        future = self.spawn(run())
        try:
            return future.result()
        except BaseException:
            future.cancel()
            done.wait(JOIN)  # what it has to put away
            raise

    def call(self, function: Callable[[], object]) -> None:
        """Call it there, from any thread.

        Raises:
            RuntimeError: the loop has ended.
        """
        self._loop.call_soon_threadsafe(function)

    def outcome(self, coroutine: Coroutine[Any, Any, None]) -> Observable[None]:
        """Run it there, and tell how it ended, also to who comes late."""
        subject: AsyncSubject[None] = AsyncSubject()

        def done(future: Future[None]) -> None:
            if future.cancelled():
                subject.on_error(ChannelClosed("the kernel was closed before that was done"))
            elif isinstance(error := future.exception(), Exception):
                subject.on_error(error)
            else:
                subject.on_next(None)
                subject.on_completed()

        self.spawn(coroutine).add_done_callback(done)
        return subject

    def end(self, wait: bool) -> None:
        """End the thread, when what it does now is done; and wait for that, or not."""
        self._ending = True
        self._loop.call_soon_threadsafe(self._loop.stop)
        if wait:
            self.join()

    def join(self) -> None:
        """Wait for the thread if it ends, and if this is another."""
        if self._ending and not self.is_here:
            self._thread.join(JOIN)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
        while any(map(_is_new, tasks := asyncio.all_tasks(self._loop))):
            # Who is cancelled before its first step never sees it, nor what it was given to await.
            self._loop.run_until_complete(asyncio.sleep(0))
        for task in tasks:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        for _ in range(TURNS):  # what was told to close says goodbye, and then closes
            self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()


def _is_new(task: asyncio.Task[Any]) -> bool:
    coroutine = task.get_coro()
    return (
        inspect.iscoroutine(coroutine)
        and inspect.getcoroutinestate(coroutine) == inspect.CORO_CREATED
    )
