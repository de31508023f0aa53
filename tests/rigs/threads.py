"""Threads and event loops for tests, none of which waits longer than ``DEADLINE``."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Generic, TypeVar

from tests.rigs import DEADLINE

__all__ = ["Thread", "in_thread", "run_on_loop", "wait_until_blocked_in"]

T = TypeVar("T")


class Thread(threading.Thread, Generic[T]):
    """A started thread; ``result()`` returns its function's result, or raises its exception."""

    def __init__(self, function: Callable[[], T]) -> None:
        super().__init__(daemon=True)
        self._function = function
        self._outcome: Callable[[], T] | None = None
        self.start()

    def run(self) -> None:
        try:
            value = self._function()
        except BaseException as error:
            self._outcome = partial(_raise, error)
        else:
            self._outcome = lambda: value

    def result(self) -> T:
        self.join(DEADLINE)
        assert self._outcome is not None, f"{self.name} still runs after {DEADLINE:g} s"
        return self._outcome()


def in_thread(function: Callable[[], T]) -> T:
    """Call a function in another thread; return its result, or raise its exception."""
    return Thread(function).result()


def run_on_loop(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a coroutine function on a new event loop, until the deadline at most."""

    async def within_the_deadline() -> T:
        async with asyncio.timeout(DEADLINE):
            return await main()

    return asyncio.run(within_the_deadline())


def wait_until_blocked_in(thread: threading.Thread, function: Callable[..., object]) -> None:
    """Wait until a thread executes a function's own lines, which is where this function blocks."""
    pause = threading.Event()
    for _ in range(int(DEADLINE / 0.001)):
        frame = sys._current_frames().get(thread.ident or 0)
        if frame is not None and frame.f_code is function.__code__:
            return
        pause.wait(0.001)
    raise AssertionError(
        f"{thread.name} did not block in {function.__qualname__} within {DEADLINE:g} s"
    )


def _raise(error: BaseException) -> Any:
    raise error
