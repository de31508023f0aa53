"""Calls of blocking functions from coroutines."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import TypeVar

__all__ = ["call_in_thread", "hand_over", "join_calls"]

T = TypeVar("T")

log = logging.getLogger("enchannel")

_calls: set[threading.Thread] = set()


def join_calls(timeout: float) -> None:
    """Wait at interpreter exit for calls whose coroutine was cancelled: they still clean up.

    Args:
        timeout: Seconds for all of them together.
    """
    deadline = time.monotonic() + timeout
    for thread in list(_calls):
        thread.join(max(0.0, deadline - time.monotonic()))


def hand_over(function: Callable[[], object], activity: str) -> None:
    """Call a blocking function in a new thread, from a thread that must not wait for it.

    Args:
        function: Its exception is logged.
        activity: The name of the call, for the log.
    """

    def run() -> None:
        try:
            function()
        except Exception:
            log.exception("%s failed in the background", activity)

    _start(run)


async def call_in_thread(
    function: Callable[[], T], *, undo: Callable[[T], object] | None = None
) -> T:
    """Call a blocking function in a new thread and return its result.

    Args:
        function: Keeps running if the coroutine is cancelled.
        undo: Called in a thread with the result if the coroutine was cancelled or its loop closed.

    Raises:
        BaseException: the exception that ``function`` raised.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def undo_result(call: Callable[[], T]) -> None:
        if undo is not None:
            _start(partial(_undo, call, undo))

    def resolve(call: Callable[[], T]) -> None:
        if not future.cancelled():
            try:
                future.set_result(call())
            except BaseException as error:
                future.set_exception(error)
        else:
            undo_result(call)

    def run() -> None:
        call = _outcome_of(function)
        try:
            loop.call_soon_threadsafe(resolve, call)
        except RuntimeError:
            # The loop is closed.
            if undo is not None:
                _undo(call, undo)

    _start(run)
    try:
        return await future
    except asyncio.CancelledError:
        if future.done() and not future.cancelled():
            # Cancelled after the result was set, but before this coroutine was resumed with it.
            undo_result(future.result)
        raise


def _outcome_of(function: Callable[[], T]) -> Callable[[], T]:
    """Call a function now, and return a function that repeats its result or exception."""
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
    except BaseException:
        # A failed call has nothing to undo.
        return
    undo(result)


def _start(run: Callable[[], None]) -> None:
    def tracked() -> None:
        try:
            run()
        finally:
            _calls.discard(threading.current_thread())

    thread = threading.Thread(target=tracked, name="enchannel call", daemon=True)
    _calls.add(thread)
    try:
        thread.start()
    except RuntimeError:  # the limit of threads is reached, or the interpreter exits
        _calls.discard(thread)
        raise
