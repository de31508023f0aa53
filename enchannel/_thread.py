"""A blocking function, for a coroutine that must not block."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import TypeVar

__all__ = ["call_in_thread"]

T = TypeVar("T")


async def call_in_thread(
    function: Callable[[], T], *, undo: Callable[[T], object] | None = None
) -> T:
    """Call it in a thread of its own, which does not keep the interpreter from ending.

    Args:
        function: It is not stopped when the coroutine is cancelled.
        undo: Is given its result, in that thread, if nobody waits for it any more.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def drop(result: T) -> None:
        if undo is not None:
            threading.Thread(target=undo, args=(result,), daemon=True).start()

    def settle(result: T | None, error: BaseException | None) -> None:
        if future.cancelled():
            if error is None:
                drop(result)  # type: ignore[arg-type]
        elif error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]

    def run() -> None:
        result, error = None, None
        try:
            result = function()
        except BaseException as raised:
            error = raised
        try:
            loop.call_soon_threadsafe(settle, result, error)
        except RuntimeError:  # the loop is closed
            if error is None and undo is not None:
                undo(result)  # type: ignore[arg-type]

    threading.Thread(target=run, name="enchannel call", daemon=True).start()
    try:
        return await future
    except asyncio.CancelledError:
        if future.done() and not future.cancelled() and future.exception() is None:
            drop(future.result())  # it came in the very moment in which nobody wanted it any more
        raise
