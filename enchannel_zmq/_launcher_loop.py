"""The one thread of the process on which provisioners run, and kernels' processes are watched.

It runs while there are kernels that were launched here, and ends with the last.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from reactivex import Observable
from reactivex.subject import AsyncSubject

from enchannel.backends import SharedResource
from enchannel.errors import ChannelClosed

__all__ = ["LauncherLoop", "shared"]

T = TypeVar("T")


class LauncherLoop:
    """An asyncio loop on a thread of its own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._run, name="enchannel-zmq launcher", daemon=True
        )
        self._started = False

    def start(self) -> None:
        """Begin, if it has not yet."""
        if not self._started:
            self._started = True
            self._thread.start()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run it there, and wait for it here."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    def spawn(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        """Run it there."""
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).add_done_callback(_complain)

    def outcome(self, coroutine: Coroutine[Any, Any, None]) -> Observable[None]:
        """Run it there, and tell how it ended, also to who comes late."""
        subject: AsyncSubject[None] = AsyncSubject()

        def done(future: concurrent.futures.Future[None]) -> None:
            if future.cancelled():
                subject.on_error(ChannelClosed("the kernel was closed before that was done"))
                return
            error = future.exception()
            if error is None:
                subject.on_next(None)
                subject.on_completed()
            elif isinstance(error, Exception):
                subject.on_error(error)

        asyncio.run_coroutine_threadsafe(coroutine, self._loop).add_done_callback(done)
        return subject

    async def in_thread(self, function: Callable[[], None]) -> None:
        """Call what would block the loop."""
        future: asyncio.Future[None] = self._loop.create_future()

        def run() -> None:
            error: BaseException | None = None
            try:
                function()
            except BaseException as raised:
                error = raised
            self._loop.call_soon_threadsafe(settle, error)

        def settle(error: BaseException | None) -> None:
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(None)

        threading.Thread(target=run, name="enchannel-zmq restart", daemon=True).start()
        await future

    def stop(self, wait: bool = True) -> None:
        """End the thread, when what it does now is done."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        if wait and threading.current_thread() is not self._thread:
            self._thread.join(5.0)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self._loop.close()


def _complain(future: concurrent.futures.Future[Any]) -> None:
    if not future.cancelled() and (error := future.exception()) is not None:
        logging.getLogger("enchannel.zmq").error("watching a kernel failed: %s", error)


shared = SharedResource(LauncherLoop)
"""The one of the process; who leases it has it run."""
