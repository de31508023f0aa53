"""A blocking function, for a coroutine that must not block."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import TypeVar

__all__ = ["call_in_thread", "join_calls"]

T = TypeVar("T")


_calls: set[threading.Thread] = set()


def join_calls(timeout: float) -> None:
    """Wait, at the interpreter's end, for calls that nobody waits for any more: they clean up."""
    deadline = time.monotonic() + timeout
    for thread in list(_calls):
        thread.join(max(0.0, deadline - time.monotonic()))


async def call_in_thread(
    function: Callable[[], T], *, undo: Callable[[T], object] | None = None
) -> T:
    """Call it in a thread of its own.

    Args:
        function: It is not stopped when the coroutine is cancelled.
        undo: Is given its result, in a thread, if nobody waits for it any more.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def drop(call: Callable[[], T]) -> None:
        if undo is not None:
            _start(partial(_undo, call, undo))

    def settle(call: Callable[[], T]) -> None:
        if not future.cancelled():
            try:
                future.set_result(call())
            except BaseException as error:
                future.set_exception(error)
        else:
            drop(call)

    def run() -> None:
        call = _done(function)
        try:
            loop.call_soon_threadsafe(settle, call)
        except RuntimeError:  # the loop is closed
            if undo is not None:
                _undo(call, undo)

    _start(run)
    try:
        return await future
    except asyncio.CancelledError:
        if future.done() and not future.cancelled():
            # cancelled between the result and the turn of the loop that would have brought it here
            drop(future.result)
        raise


def _done(function: Callable[[], T]) -> Callable[[], T]:
    """Call it now; what is returned says again how that ended."""
    try:
        result = function()
    except BaseException as error:
        raised = error

        def again() -> T:
            raise raised

        return again
    return lambda: result


def _undo(call: Callable[[], T], undo: Callable[[T], object]) -> None:
    try:
        result = call()
    except BaseException:  # it failed: there is nothing to undo, and nobody to tell
        return
    undo(result)


def _start(run: Callable[[], None]) -> None:
    def noted() -> None:
        try:
            run()
        finally:
            _calls.discard(threading.current_thread())

    thread = threading.Thread(target=noted, name="enchannel call", daemon=True)
    _calls.add(thread)
    thread.start()
