"""Refusing the event loops and patched threads with which the library cannot work."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from enchannel.errors import NotSupported

__all__ = ["is_on_event_loop", "require_supported_concurrency"]


def is_on_event_loop() -> bool:
    """Return True on the thread of a running asyncio loop."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def require_supported_concurrency(what: str) -> None:
    """Raise NotSupported where threads or the event loop are not those of the standard library.

    Call it before anything is opened or started. Only libraries that the program has imported are examined.

    Args:
        what: The call, as the error names it.

    Raises:
        NotSupported: in a trio task, or in a process that gevent or eventlet has patched.
    """
    if patcher := _monkey_patcher():
        raise NotSupported(
            f"{what} does not support a process in which {patcher} has patched threads or selectors; "
            "use a process without that patch"
        )
    if _is_in_trio_task() and not is_on_event_loop():
        raise NotSupported(
            f"{what} does not support trio's event loop; use asyncio (also through anyio), or call it in a "
            "thread with `await trio.to_thread.run_sync(…)`"
        )


def _monkey_patcher() -> str | None:
    gevent: Any = sys.modules.get("gevent.monkey")
    if gevent is not None and any(
        map(gevent.is_module_patched, ("threading", "select", "selectors"))
    ):
        return "gevent"
    eventlet: Any = sys.modules.get("eventlet.patcher")
    if eventlet is not None and eventlet.is_monkey_patched("thread"):
        return "eventlet"
    return None


def _is_in_trio_task() -> bool:
    trio: Any = sys.modules.get("trio.lowlevel")
    if trio is None:
        return False
    try:
        trio.current_task()
    except RuntimeError:
        return False
    return True
