"""Records the locks of the library: the order in which they are taken, and calls that are made under them.

``python -m pytest -p tests.rigs.locks tests/enchannel`` runs tests with it and fails at the end.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import count
from typing import Any, Self
from unittest.mock import patch

import pytest

from enchannel._kernel.channel import BaseChannel
from enchannel._rx.sink_observable import Subscription

__all__ = ["LockRecorder"]

PACKAGES = ("enchannel", "enchannel_zmq", "enchannel_websocket", "enchannel_socketio", "commutable")
MAX_FRAMES = 12


class LockRecorder:
    """In its block, locks that the library makes are recorded; there is at most one at a time.

    A deadlock needs two threads that take the same locks in different orders. So a cycle in the recorded
    order is a fault, even if the threads did not meet in this run. A lock that is only tried never makes
    anyone wait, and is ignored.
    """

    def __init__(self) -> None:
        self._patches = ExitStack()
        self._numbers = count()
        self._this_thread = threading.local()
        self._orders: dict[tuple[WatchedLock, WatchedLock], str] = {}
        self._calls: dict[tuple[str, WatchedLock], str] = {}

    def __enter__(self) -> Self:
        for name in ("Lock", "RLock"):
            make = getattr(threading, name)
            self._patches.enter_context(patch.object(threading, name, self._maker(make)))
        for method in ("on_next", "on_error", "on_completed", "run"):
            self._watch(Subscription, method, "a subscriber was called")
        self._watch(BaseChannel, "__init__", "", self._watch_sending)
        return self

    def __exit__(self, *_: object) -> None:
        self._patches.close()

    def faults(self) -> list[str]:
        """Describe the cycles, and the calls with a lock held; empty if there are none."""
        cycles = [" -> ".join(map(str, cycle)) for cycle in self._cycles()]
        calls = [
            f"{what} while holding {lock}\n{stack}"
            for (what, lock), stack in self._calls.items()
            if lock.is_waited_for
        ]
        return [f"locks taken in different orders: {cycle}" for cycle in cycles] + calls

    def on_acquire(self, lock: WatchedLock) -> None:
        """Record that the current thread may wait for a lock."""
        for held in self.held:
            if held is not lock and (held, lock) not in self._orders:
                self._orders[held, lock] = _stack()

    @property
    def held(self) -> list[WatchedLock]:
        """The locks that the current thread holds, once for each time that it took them."""
        if not hasattr(self._this_thread, "held"):
            self._this_thread.held = []
        held: list[WatchedLock] = self._this_thread.held
        return held

    def _maker(self, make: Callable[[], Any]) -> Callable[[], Any]:
        def maker() -> Any:
            frame = sys._getframe(1)
            module: str = frame.f_globals.get("__name__", "")
            if module.partition(".")[0] not in PACKAGES:
                return make()
            site = f"{module}:{frame.f_lineno} #{next(self._numbers)}"
            return WatchedLock(self, make(), site)

        return maker

    def _watch(
        self, owner: Any, name: str, what: str, then: Callable[[Any], None] | None = None
    ) -> None:
        original = getattr(owner, name)

        def watched(this: Any, *arguments: Any, **options: Any) -> Any:
            if what:
                self._on_call(what)
            result = original(this, *arguments, **options)
            if then is not None:
                then(this)
            return result

        self._patches.enter_context(patch.object(owner, name, watched))

    def _watch_sending(self, channel: Any) -> None:
        send = channel._outgoing.on_next

        def on_next(item: object) -> None:
            self._on_call("a message was sent")
            send(item)

        channel._outgoing = type("Watched", (), {"on_next": staticmethod(on_next)})

    def _on_call(self, what: str) -> None:
        for lock in self.held:
            self._calls.setdefault((what, lock), _stack())

    def _cycles(self) -> Iterator[list[WatchedLock]]:
        following: dict[WatchedLock, list[WatchedLock]] = {}
        for first, second in list(self._orders):
            following.setdefault(first, []).append(second)
        done: set[WatchedLock] = set()

        def walk(path: list[WatchedLock]) -> Iterator[list[WatchedLock]]:
            for lock in following.get(path[-1], ()):
                if lock in path:
                    yield [*path[path.index(lock) :], lock]
                elif lock not in done:
                    yield from walk([*path, lock])
            done.add(path[-1])

        for lock in list(following):
            if lock not in done:
                yield from walk([lock])


class WatchedLock:
    """A Lock or RLock that reports to a recorder."""

    def __init__(self, recorder: LockRecorder, lock: Any, site: str) -> None:
        self.is_waited_for = False
        self._recorder = recorder
        self._lock = lock
        self._site = site
        # Those of the thread that holds it; a Lock may be released by another one.
        self._held: list[WatchedLock] = []

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        if blocking:
            self.is_waited_for = True
            self._recorder.on_acquire(self)
        if not self._lock.acquire(blocking, timeout):
            return False
        self._held = self._recorder.held
        self._held.append(self)
        return True

    def release(self) -> None:
        if self in self._held:
            self._held.remove(self)
        self._lock.release()

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()

    def locked(self) -> bool:
        return bool(self._lock.locked())

    def __str__(self) -> str:
        return self._site


def _stack() -> str:
    lines: list[str] = []
    frame = sys._getframe(2)
    while frame.f_back is not None and len(lines) < MAX_FRAMES:
        frame = frame.f_back
        lines.append(f"    {frame.f_code.co_filename}:{frame.f_lineno} {frame.f_code.co_qualname}")
    return "\n".join(lines)


_recorder = LockRecorder()


def pytest_configure() -> None:
    _recorder.__enter__()


def pytest_terminal_summary(terminalreporter: Any) -> None:
    for fault in _recorder.faults():
        terminalreporter.write_line(fault, red=True)


def pytest_sessionfinish(session: pytest.Session) -> None:
    _recorder.__exit__()
    if _recorder.faults():
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
