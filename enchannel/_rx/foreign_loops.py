"""Other people's event loops: how to have something called there, from any thread."""

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

__all__ = ["ForeignLoop", "is_event_loop", "to_foreign_loop"]

Call: TypeAlias = Callable[[], None]

POLL = 20  # milliseconds from one look for calls to the next, where a loop cannot be woken


class ForeignLoop(Protocol):
    """An event loop that somebody else runs."""

    def call(self, function: Call, seconds: float, /) -> None:
        """Have a function called on the loop's thread, so much later. Any thread may say so.

        Raises:
            Exception: the loop's own way to say that it is closed.
        """

    def is_closed(self) -> bool:
        """Whether it is known never to call anything again."""
        ...


def to_foreign_loop(scheduler: abc.SchedulerBase) -> ForeignLoop:
    """The loop that a scheduler stands for.

    reactivex's own ``schedule`` is for the loop's thread alone with asyncio, Qt and Tk.
    """
    if isinstance(scheduler, AsyncIOScheduler):
        return _AsyncIO(scheduler._loop)
    if _is(scheduler, "QtScheduler"):
        return _qt_loop(scheduler)
    if _is(scheduler, "TkinterScheduler"):
        return _tk_loop(scheduler)
    return _Scheduled(scheduler)


def is_event_loop(scheduler: abc.SchedulerBase) -> bool:
    """Whether a scheduler stands for a loop that somebody else runs, to be delivered on.

    Virtual time is one: what happens in it happens on the thread that advances it.
    """
    known = isinstance(scheduler, (AsyncIOScheduler, EventLoopScheduler, VirtualTimeScheduler))
    return known or _is(scheduler, "QtScheduler", "TkinterScheduler")


def _is(scheduler: abc.SchedulerBase, *names: str) -> bool:
    """By name: who has no Qt and no Tk needs not import reactivex's schedulers for them."""
    return any(kind.__name__ in names for kind in type(scheduler).__mro__)


class _Scheduled:
    """The loop of a scheduler that takes actions from any thread: EventLoopScheduler, virtual time."""

    def __init__(self, scheduler: abc.SchedulerBase) -> None:
        self._scheduler = scheduler
        self._calls = deque[Call]()  # a scheduler may hold an action for long after it has run

    def call(self, function: Call, seconds: float) -> None:
        self._calls.append(function)
        if seconds:
            self._scheduler.schedule_relative(seconds, self._act)
        else:
            self._scheduler.schedule(self._act)

    def _act(self, _: abc.SchedulerBase, __: object = None) -> None:
        self._calls.popleft()()

    def is_closed(self) -> bool:
        return getattr(self._scheduler, "_is_disposed", False)


class _AsyncIO:
    """A loop of asyncio, and the context of whoever subscribed: Textual's knows which app it is."""

    def __init__(self, loop: Any) -> None:
        self._loop = loop
        self._context = contextvars.copy_context()
        self.is_closed = loop.is_closed

    def call(self, function: Call, seconds: float) -> None:
        if seconds:
            self._loop.call_soon_threadsafe(
                lambda: self._loop.call_later(seconds, function, context=self._context)
            )
        else:
            self._loop.call_soon_threadsafe(function, context=self._context)


# Qt. A thread that is not Qt's has no timers, but it may post an event to an object that lives on the
# thread of the application.

_qt_loops: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()


def _qt_loop(scheduler: Any) -> ForeignLoop:
    """The one of the application; it ends with it, and may be subscribed to again if it runs again."""
    qtcore = scheduler._qtcore
    app = qtcore.QCoreApplication.instance()
    if app is None:
        raise RuntimeError("there is no Qt application to deliver on; make it before subscribing")
    loop = _qt_loops.get(app)
    if loop is None or loop.is_closed():
        loop = _qt_loops[app] = _qt_class(qtcore)(app)
    return loop  # type: ignore[no-any-return]


@cache
def _qt_class(qtcore: Any) -> Any:
    """For a QtCore of PySide or PyQt, whichever the scheduler was made with."""
    base: Any = qtcore.QObject
    wake = qtcore.QEvent.Type.User
    post, closing_down = qtcore.QCoreApplication.postEvent, qtcore.QCoreApplication.closingDown

    class Qt(base):  # type: ignore[misc]
        """A Loop: Qt brings it what was posted to it."""

        def __init__(self, app: Any) -> None:
            super().__init__()
            self._calls = deque[tuple[Call, float]]()
            self._closed = False
            self.moveToThread(app.thread())
            app.aboutToQuit.connect(self._close)

        def call(self, function: Call, seconds: float) -> None:
            self._calls.append((function, seconds))
            post(self, qtcore.QEvent(wake))

        def is_closed(self) -> bool:
            return self._closed or closing_down()  # deleted, without having been told to quit

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

    return Qt


# Tk. Whatever another thread asks of it blocks that thread until the main loop comes round, and raises
# where none runs; so that nothing of ours waits for a user interface, Tk comes and looks.

_tk_loops: weakref.WeakKeyDictionary[Any, weakref.ref[_Tk]] = weakref.WeakKeyDictionary()


def _tk_loop(scheduler: Any) -> ForeignLoop:
    """The one of a root: looked after on its thread, as long as somebody is delivered to on it."""
    root = scheduler._root
    known = _tk_loops.get(root)
    loop = known() if known is not None else None
    if loop is None or loop.is_closed():
        loop = _Tk(root)
        _tk_loops[root] = weakref.ref(loop)
    return loop


class _Tk:
    """Calls that wait for Tk's next look, with the time from which on they may be made."""

    def __init__(self, root: Any) -> None:
        self.calls = deque[tuple[float, Call]]()
        look = _Look(root, self)
        self._look = weakref.ref(look)
        look.begin()

    def call(self, function: Call, seconds: float) -> None:
        self.calls.append((time.monotonic() + seconds if seconds else 0.0, function))

    def is_closed(self) -> bool:
        return self._look() is None


class _Look:
    """Makes the calls that wait, on Tk's thread, again and again.

    Only the root holds it, as a command of Tcl's. One that is destroyed lets go of its commands, and
    this is how anybody can tell, without asking Tk.
    """

    def __init__(self, root: Any, loop: _Tk) -> None:
        self._root = root
        self._loop = weakref.ref(loop)
        self._command = ""

    def begin(self) -> None:
        self._command = self._root.register(self)
        self._again(busy=True)

    def _again(self, *, busy: bool) -> None:
        # Quietly: of what waits when a root is destroyed Tcl would complain.
        look = f"catch {self._command}"
        if busy:
            # When Tk is idle, as it redraws then, which timers that are always due would prevent. By a
            # timer all the same, as `update idletasks` goes on for as long as there is something to do.
            self._root.tk.call("after", "idle", f"after 0 {{{look}}}")
        else:
            self._root.tk.call("after", POLL, look)

    def __call__(self) -> None:
        loop = self._loop()
        if loop is None:
            self._root.deletecommand(self._command)
            return
        now, due = time.monotonic(), deque[Call]()
        for _ in range(len(loop.calls)):
            when, function = loop.calls.popleft()
            if when <= now:
                due.append(function)
            else:
                loop.calls.append((when, function))
        self._again(busy=bool(due))  # before the calls, one of which may destroy the root
        try:
            while due:
                due.popleft()()
        finally:  # Ctrl-C, which Tk prints, and goes on
            loop.calls.extend((now, function) for function in due)
