"""Foreign event loops (asyncio, Qt, Tk, reactivex schedulers): calling functions there from any thread."""

from __future__ import annotations

import contextvars
import time
import weakref
from collections import deque
from collections.abc import Callable
from functools import cache
from typing import Any, Protocol, TypeAlias

from reactivex import abc
from reactivex.scheduler import EventLoopScheduler, VirtualTimeScheduler
from reactivex.scheduler.eventloop import AsyncIOScheduler

__all__ = ["ForeignLoop", "is_event_loop", "is_virtual_time", "to_foreign_loop"]

Callback: TypeAlias = Callable[[], None]

# For Tk, which cannot be woken from another thread.
POLL_INTERVAL_MS = 20


class ForeignLoop(Protocol):
    """An event loop that the application runs."""

    def call(self, function: Callback, seconds: float, /) -> None:
        """Call a function on the loop's thread after a delay. May be called from any thread.

        Args:
            function: Must not raise.
            seconds: 0 calls it as soon as possible.

        Raises:
            Exception: the loop is closed; the class depends on the loop.
        """

    def is_closed(self) -> bool:
        """Return True if the loop is known never to call anything again."""
        ...


def to_foreign_loop(scheduler: abc.SchedulerBase) -> ForeignLoop:
    """Return the event loop of a scheduler, with a thread-safe ``call``.

    reactivex's own ``schedule`` is not thread-safe for asyncio, Qt and Tk.

    Raises:
        RuntimeError: a Qt scheduler without a Qt application.
    """
    if isinstance(scheduler, AsyncIOScheduler):
        return _AsyncioLoop(scheduler._loop)
    if _is_named(scheduler, "QtScheduler"):
        return _qt_loop(scheduler)
    if _is_named(scheduler, "TkinterScheduler"):
        return _tk_loop(scheduler)
    return _SchedulerLoop(scheduler)


def is_event_loop(scheduler: abc.SchedulerBase) -> bool:
    """Return True if items must be delivered on the loop of this scheduler.

    Virtual time counts as a loop: its actions run on the thread that advances it.
    """
    known = isinstance(scheduler, (AsyncIOScheduler, EventLoopScheduler))
    return (
        known
        or is_virtual_time(scheduler)
        or _is_named(scheduler, "QtScheduler", "TkinterScheduler")
    )


def is_virtual_time(scheduler: abc.SchedulerBase) -> bool:
    """Return True if time stands still until someone advances it."""
    return isinstance(scheduler, VirtualTimeScheduler)


def _is_named(scheduler: abc.SchedulerBase, *names: str) -> bool:
    """Compare by class name, so that reactivex's Qt and Tk schedulers need not be imported."""
    return any(kind.__name__ in names for kind in type(scheduler).__mro__)


class _SchedulerLoop:
    """The loop of a scheduler whose ``schedule`` is thread-safe: EventLoopScheduler, virtual time."""

    def __init__(self, scheduler: abc.SchedulerBase) -> None:
        self._scheduler = scheduler
        # Kept here, since a scheduler may hold a reference to an action long after it has run.
        self._calls = deque[Callback]()

    def call(self, function: Callback, seconds: float) -> None:
        self._calls.append(function)
        if seconds:
            self._scheduler.schedule_relative(seconds, self._act)
        else:
            self._scheduler.schedule(self._act)

    def _act(self, _: abc.SchedulerBase, __: object = None) -> None:
        self._calls.popleft()()

    def is_closed(self) -> bool:
        pool = getattr(self._scheduler, "executor", None)
        return getattr(self._scheduler, "_is_disposed", False) or getattr(pool, "_shutdown", False)


class _AsyncioLoop:
    """An asyncio loop, with the contextvars of the subscriber: Textual finds its active app in them."""

    def __init__(self, loop: Any) -> None:
        self._loop = loop
        self._context = contextvars.copy_context()
        self.is_closed = loop.is_closed

    def call(self, function: Callback, seconds: float) -> None:
        if seconds:
            self._loop.call_soon_threadsafe(
                lambda: self._loop.call_later(seconds, function, context=self._context)
            )
        else:
            self._loop.call_soon_threadsafe(function, context=self._context)


# Qt: a thread that Qt did not start has no timers, but it can post an event to an object that lives on
# the thread of the application.

_qt_loops: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()


def _qt_loop(scheduler: Any) -> ForeignLoop:
    """Return the loop of the current Qt application, or a new one after that application has quit."""
    qtcore = scheduler._qtcore
    app = qtcore.QCoreApplication.instance()
    if app is None:
        raise RuntimeError("no Qt application is running; create one before subscribing")
    loop = _qt_loops.get(app)
    if loop is None or loop.is_closed():
        loop = _qt_loops[app] = _qt_class(qtcore)(app)
    return loop  # type: ignore[no-any-return]


@cache
def _qt_class(qtcore: Any) -> Any:
    """Return the loop class for the QtCore module of the scheduler: PySide's or PyQt's."""
    base: Any = qtcore.QObject
    wake = qtcore.QEvent.Type.User
    post, closing_down = qtcore.QCoreApplication.postEvent, qtcore.QCoreApplication.closingDown

    class QtLoop(base):  # type: ignore[misc]
        """A ForeignLoop that receives posted events on the application's thread."""

        def __init__(self, app: Any) -> None:
            super().__init__()
            self._calls = deque[tuple[Callback, float]]()
            self._closed = False
            self.moveToThread(app.thread())
            app.aboutToQuit.connect(self._close)

        def call(self, function: Callback, seconds: float) -> None:
            self._calls.append((function, seconds))
            post(self, qtcore.QEvent(wake))

        def is_closed(self) -> bool:
            return self._closed or closing_down()  # deleted without quit()

        def customEvent(self, event: object) -> None:  # Qt's name
            if not self._calls:
                return
            function, seconds = self._calls.popleft()
            if seconds:
                qtcore.QTimer.singleShot(round(seconds * 1000), function)
            else:
                function()

        def _close(self) -> None:
            self._closed = True
            self._calls.clear()

    return QtLoop


# Tk: a call from another thread blocks that thread until the main loop handles it, and raises if no
# main loop runs. No enchannel thread may wait for a user interface, so Tk polls for calls.

_tk_loops: weakref.WeakKeyDictionary[Any, weakref.ref[_TkLoop]] = weakref.WeakKeyDictionary()


def _tk_loop(scheduler: Any) -> ForeignLoop:
    """Return the loop of a Tk root, which polls as long as it has subscribers."""
    root = scheduler._root
    known = _tk_loops.get(root)
    loop = known() if known is not None else None
    if loop is None or loop.is_closed():
        loop = _TkLoop(root)
        _tk_loops[root] = weakref.ref(loop)
    return loop


class _TkLoop:
    """Calls that wait until Tk polls, each with the time at which it is due."""

    def __init__(self, root: Any) -> None:
        self.calls = deque[tuple[float, Callback]]()
        poller = _TkPoller(root, self)
        self._poller = weakref.ref(poller)
        poller.start()

    def call(self, function: Callback, seconds: float) -> None:
        self.calls.append((time.monotonic() + seconds if seconds else 0.0, function))

    def is_closed(self) -> bool:
        return self._poller() is None


class _TkPoller:
    """Makes due calls on Tk's thread, at an interval.

    Only the root holds a reference to this object, as a Tcl command. A destroyed root releases its
    commands, so a dead weak reference shows that the root is gone, without a call into Tk.
    """

    def __init__(self, root: Any, loop: _TkLoop) -> None:
        self._root = root
        self._loop = weakref.ref(loop)
        self._command = ""

    def start(self) -> None:
        self._command = self._root.register(self)
        self._poll_later(busy=True)

    def _poll_later(self, *, busy: bool) -> None:
        # `catch`, because Tcl reports pending commands when a root is destroyed.
        command = f"catch {self._command}"
        if busy:
            # When Tk is idle: it redraws then, which timers that are always due would prevent. With a
            # timer inside, because `update idletasks` runs until no idle task is left.
            self._root.tk.call("after", "idle", f"after 0 {{{command}}}")
        else:
            self._root.tk.call("after", POLL_INTERVAL_MS, command)

    def __call__(self) -> None:
        loop = self._loop()
        if loop is None:
            self._root.deletecommand(self._command)
            return
        now, due = time.monotonic(), deque[Callback]()
        for _ in range(len(loop.calls)):
            when, function = loop.calls.popleft()
            if when <= now:
                due.append(function)
            else:
                loop.calls.append((when, function))
        # Before the calls, one of which may destroy the root.
        self._poll_later(busy=bool(due))
        try:
            while due:
                due.popleft()()
        finally:
            # After a KeyboardInterrupt, which Tk prints before it continues.
            loop.calls.extend((now, function) for function in due)
