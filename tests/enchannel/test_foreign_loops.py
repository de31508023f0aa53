"""Delivery on real event loops: asyncio, Qt, Tk, Textual and reactivex's own."""

import asyncio
import gc
import os
import re
import shutil
import subprocess
import sys
import threading
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from reactivex import abc
from reactivex.disposable import CompositeDisposable, SerialDisposable
from reactivex.scheduler import EventLoopScheduler
from reactivex.scheduler.eventloop import AsyncIOScheduler
from reactivex.scheduler.mainloop import QtScheduler, TkinterScheduler
from reactivex.subject import Subject

import enchannel as ec
from enchannel import AnyMessage, SubscriberRaised
from enchannel.errors import EnchannelError
from enchannel.testing import Collector
from tests.rigs import DEADLINE, eventually
from tests.rigs.messages import printed, texts
from tests.rigs.scripted import ScriptedLink
from tests.rigs.threads import Thread, in_thread

Setup = Callable[[abc.SchedulerBase], None]
ROOTS: list[object] = []
"""Kept for ever: Tcl aborts the process when one is deleted on another thread than its own."""


def void(_: object) -> None: ...


class Loop(ABC):
    """A real event loop that a test runs."""

    def __init__(self) -> None:
        self._failure: BaseException | None = None
        self._closed = False

    def run(self, setup: Setup) -> None:
        """Run the loop until ``stop`` is called on its thread; ``setup`` is called there first."""

        def guarded(scheduler: abc.SchedulerBase) -> None:
            try:
                setup(scheduler)
            except BaseException as failure:  # most loops print and continue
                self._failure = failure
                self.stop()
            finally:
                is_set_up.set()

        is_set_up = threading.Event()
        self._run(guarded)
        assert is_set_up.wait(DEADLINE)
        if self._failure is not None:
            raise self._failure

    @abstractmethod
    def _run(self, setup: Setup) -> None: ...

    @abstractmethod
    def stop(self) -> None:
        """Make ``run`` return."""

    @abstractmethod
    def later(self, seconds: float, function: Callable[[], object]) -> None:
        """Start a timer of the loop; call it on the loop's thread."""

    def close(self) -> None:
        """Close the loop."""
        if not self._closed:
            self._closed = True
            self._close()

    def _close(self) -> None:
        """Release the resources; called once."""
        return

    def give_up(self) -> None:
        self._failure = AssertionError("the loop was not stopped")
        self.stop()


class AsyncIO(Loop):
    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()

    def _run(self, setup: Setup) -> None:
        self.loop.call_soon(setup, AsyncIOScheduler(self.loop))
        limit = self.loop.call_later(DEADLINE, self.give_up)
        self.loop.run_forever()
        limit.cancel()

    def stop(self) -> None:
        self.loop.stop()

    def later(self, seconds: float, function: Callable[[], object]) -> None:
        self.loop.call_later(seconds, function)

    def _close(self) -> None:
        self.loop.close()


class EventLoop(Loop):
    def __init__(self) -> None:
        super().__init__()
        self.scheduler = EventLoopScheduler()
        self.stopped = threading.Event()

    def _run(self, setup: Setup) -> None:
        self.stopped.clear()
        self.scheduler.schedule(lambda *_: setup(self.scheduler))
        if not self.stopped.wait(DEADLINE):
            self.give_up()

    def stop(self) -> None:
        self.stopped.set()

    def later(self, seconds: float, function: Callable[[], object]) -> None:
        self.scheduler.schedule_relative(seconds, lambda *_: void(function()))

    def _close(self) -> None:
        self.scheduler.dispose()
        del self.scheduler  # keeps pending calls


class Qt(Loop):
    def __init__(self) -> None:
        super().__init__()
        self.core = pytest.importorskip("PySide6.QtCore", exc_type=ImportError)
        self.app = self.core.QCoreApplication.instance() or self._new_app()

    def _new_app(self) -> Any:
        try:
            from PySide6.QtGui import QGuiApplication
        except ImportError:  # needs a system library
            return self.core.QCoreApplication([])
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("QT_QPA_PLATFORM", "offscreen")
            return QGuiApplication([])

    def _run(self, setup: Setup) -> None:
        limit = self.core.QTimer()
        limit.setSingleShot(True)
        limit.timeout.connect(self.give_up)
        limit.start(round(DEADLINE * 1000))
        self.later(0, lambda: setup(QtScheduler(self.core)))
        self.app.exec()
        limit.stop()

    def stop(self) -> None:
        self.app.quit()

    def later(self, seconds: float, function: Callable[[], object]) -> None:
        self.core.QTimer.singleShot(round(seconds * 1000), function)


class Tcl(Loop):
    """Tk's loop without a display."""

    def __init__(self) -> None:
        super().__init__()
        self.root = self.make()
        ROOTS.append(self.root)

    def make(self) -> Any:
        return pytest.importorskip("tkinter", exc_type=ImportError).Tcl()

    def _run(self, setup: Setup) -> None:
        limit = self.root.after(round(DEADLINE * 1000), self.give_up)
        self.root.after(0, setup, TkinterScheduler(self.root))
        self.root.mainloop(-1)  # never ends
        self.root.after_cancel(limit)

    def stop(self) -> None:
        self.root.quit()

    def later(self, seconds: float, function: Callable[[], object]) -> None:
        self.root.after(round(seconds * 1000), function)

    def _close(self) -> None:
        import tkinter

        tkinter.Misc.destroy(self.root)  # Tk.destroy without windows


class Tk(Tcl):
    def make(self) -> Any:
        tkinter = pytest.importorskip("tkinter", exc_type=ImportError)
        try:
            return tkinter.Tk()
        except tkinter.TclError as error:
            pytest.skip(f"no display: {error}")

    def _close(self) -> None:
        self.root.destroy()


class Textual(Loop):
    def __init__(self) -> None:
        super().__init__()
        self.app = pytest.importorskip("textual.app", exc_type=ImportError).App()
        self.stopped = asyncio.Event()

    def _run(self, setup: Setup) -> None:
        async def main() -> None:
            async with self.app.run_test():
                self.app.call_later(setup, AsyncIOScheduler(asyncio.get_running_loop()))
                async with asyncio.timeout(DEADLINE):
                    await self.stopped.wait()

        asyncio.run(main())

    def stop(self) -> None:
        self.stopped.set()

    def later(self, seconds: float, function: Callable[[], object]) -> None:
        self.app.set_timer(seconds, function)


@pytest.fixture(scope="session", autouse=True)
def display() -> Iterator[None]:
    """Provide a display for Tk, from Xvfb if there is none."""
    xvfb = shutil.which("Xvfb")
    if "DISPLAY" in os.environ or xvfb is None:
        yield
        return
    command = [xvfb, "-displayfd", "1", "-nolisten", "tcp"]
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as server,
        pytest.MonkeyPatch.context() as patch,
    ):
        assert server.stdout is not None
        patch.setenv("DISPLAY", f":{server.stdout.readline().decode().strip()}")
        yield
        server.terminate()


@pytest.fixture(params=[AsyncIO, EventLoop, Qt, Tcl, Tk, Textual])
def loop(request: pytest.FixtureRequest) -> Iterator[Loop]:
    loop: Loop = request.param()
    yield loop
    loop.close()


class LoopCollector(Collector[Any]):
    """Collects notifications, and stops the loop on completion."""

    def __init__(self, loop: Loop) -> None:
        super().__init__()
        self._loop = loop

    def on_completed(self) -> None:
        super().on_completed()
        self._loop.stop()

    def on_error(self, error: Exception) -> None:
        super().on_error(error)
        self._loop.stop()


def test_items_arrive_in_order_on_loop_thread(loop: Loop) -> None:
    source, seen, threads = Subject[int](), LoopCollector(loop), list[threading.Thread]()

    def emit() -> None:
        for number in range(5000):
            source.on_next(number)
        source.on_completed()

    def setup(scheduler: abc.SchedulerBase) -> None:
        threads.append(threading.current_thread())
        source.pipe(ec.deliver_on(scheduler)).subscribe(seen)
        Thread(emit)

    loop.run(setup)
    assert seen.items == list(range(5000))
    assert seen.threads == set(threads)


def test_each_item_wakes_idle_loop(loop: Loop) -> None:
    """Each item is emitted from another thread only after the previous one was received."""
    source, seen = Subject[int](), LoopCollector(loop)

    def emit() -> None:
        for number in range(50):
            source.on_next(number)
            seen.wait_for_count(number + 1)
        source.on_error(ZeroDivisionError())

    def setup(scheduler: abc.SchedulerBase) -> None:
        source.pipe(ec.deliver_on(scheduler)).subscribe(seen)
        Thread(emit)

    loop.run(setup)
    assert seen.items == list(range(50))
    assert isinstance(seen.error, ZeroDivisionError)


def test_subscribe_with_loop_scheduler(loop: Loop) -> None:
    remote, seen, threads = ScriptedLink(), LoopCollector(loop), list[threading.Thread]()
    with remote.kernel() as kernel:

        def emit() -> None:
            remote.send(*(printed(str(number)) for number in range(500)))
            remote.end_channel(ec.ChannelName.IOPUB)

        def setup(scheduler: abc.SchedulerBase) -> None:
            threads.append(threading.current_thread())
            kernel.iopub.subscribe(seen, scheduler=scheduler)
            Thread(emit)

        loop.run(setup)
    assert texts(seen.items) == [str(number) for number in range(500)]
    assert seen.threads == set(threads)


def test_batch_waits_for_interval(loop: Loop) -> None:
    source, delivered = Subject[object](), list[object]()
    subscription = SerialDisposable()

    def stop() -> None:
        subscription.dispose()
        loop.stop()

    def setup(scheduler: abc.SchedulerBase) -> None:
        deliver = ec.deliver_on(scheduler, interval=10 * DEADLINE)
        subscription.disposable = source.pipe(deliver).subscribe(delivered.append)
        in_thread(lambda: source.on_next("item"))
        in_thread(source.on_completed)
        loop.later(0.01, stop)
        assert deliver.backlog == 2

    loop.run(setup)
    assert delivered == []


def test_batch_is_delivered_after_interval(loop: Loop) -> None:
    source, delivered = Subject[object](), list[object]()

    def setup(scheduler: abc.SchedulerBase) -> None:
        deliver = ec.deliver_on(scheduler, interval=0.01)
        source.pipe(deliver).subscribe(delivered.append, None, loop.stop)
        in_thread(lambda: source.on_next("item"))
        in_thread(source.on_completed)

    loop.run(setup)
    assert delivered == ["item"]


def test_flood_does_not_starve_loop_timers(loop: Loop) -> None:
    """Each received item causes another, until the timer of the loop has fired."""
    source, subscription = Subject[int](), SerialDisposable()
    fired, overdue = threading.Event(), threading.Event()

    def on_next(item: int) -> None:
        if fired.is_set() or overdue.is_set():
            subscription.dispose()
            loop.stop()
        else:
            source.on_next(item + 1)

    def setup(scheduler: abc.SchedulerBase) -> None:
        subscription.disposable = source.pipe(ec.deliver_on(scheduler)).subscribe(on_next)
        for _ in range(1000):
            source.on_next(0)
        loop.later(0.02, fired.set)
        loop.later(DEADLINE / 2, overdue.set)

    loop.run(setup)
    assert fired.is_set()


def test_raising_subscriber_ends_only_its_own(loop: Loop) -> None:
    remote, seen, errors = ScriptedLink(), LoopCollector(loop), Collector[EnchannelError]()

    def broken(_: object) -> None:
        raise ZeroDivisionError("oh")

    with remote.kernel() as kernel:
        kernel.errors.subscribe(errors)

        def emit() -> None:
            remote.send(printed("1"), printed("2"))
            remote.end_channel(ec.ChannelName.IOPUB)

        def setup(scheduler: abc.SchedulerBase) -> None:
            kernel.iopub.subscribe(broken, scheduler=scheduler)
            kernel.iopub.subscribe(seen, scheduler=scheduler)
            Thread(emit)

        loop.run(setup)
    assert texts(seen.items) == ["1", "2"]
    (error,) = errors.wait_for_end()
    assert isinstance(error, SubscriberRaised)
    assert isinstance(error.__cause__, ZeroDivisionError)


@pytest.mark.parametrize("interval", [0.0, 0.1])
@pytest.mark.parametrize("waits", [False, True])
def test_closed_loop_ends_and_frees_subscription(loop: Loop, interval: float, waits: bool) -> None:
    class Widget:
        def show(self, message: AnyMessage) -> None: ...

    remote, known = ScriptedLink(), list[weakref.ref[Widget]]()
    with remote.kernel() as kernel:

        def setup(scheduler: abc.SchedulerBase) -> None:
            widget = Widget()
            known.append(weakref.ref(widget))
            deliver = ec.deliver_on(scheduler, interval=interval)
            kernel.iopub.pipe(deliver).subscribe(widget.show)
            kernel.iopub.subscribe(widget.show, scheduler=scheduler)
            loop.stop()
            if waits:  # for a closed loop
                in_thread(lambda: remote.send(printed("1")))

        loop.run(setup)
        loop.close()
        in_thread(lambda: remote.send(printed("2"), printed("3")))
        assert kernel.iopub.observer_count == 0
        assert eventually(lambda: (gc.collect(), known[0]() is None)[1])


@pytest.mark.parametrize("operator", [None, ec.outputs()], ids=["channel", "outputs"])
def test_items_waiting_for_stopped_loop_are_reported(loop: Loop, operator: Any) -> None:
    """No later item shows that the loop is gone."""
    remote, errors = ScriptedLink(), Collector[EnchannelError]()
    with remote.kernel() as kernel:
        kernel.errors.subscribe(errors)
        source = kernel.iopub if operator is None else kernel.iopub.pipe(operator)

        def setup(scheduler: abc.SchedulerBase) -> None:
            deliver = ec.deliver_on(scheduler, interval=DEADLINE)
            source.pipe(deliver).subscribe()
            in_thread(lambda: remote.send(printed("1"), printed("2")))
            assert eventually(lambda: deliver.backlog == 2)
            loop.stop()

        loop.run(setup)
        loop.close()
        (error,) = errors.wait_for_count(1)
        assert isinstance(error, ec.MessagesMayBeMissing)
        assert "has stopped, so 2 items were not delivered" in str(error)
        assert eventually(lambda: kernel.iopub.observer_count == 0)


# Qt.


def test_qt_subscription_from_another_thread() -> None:
    loop, source = Qt(), Subject[int]()
    seen = LoopCollector(loop)

    def setup(scheduler: abc.SchedulerBase) -> None:
        in_thread(lambda: source.pipe(ec.deliver_on(scheduler, interval=0.01)).subscribe(seen))
        source.on_next(1)
        source.on_completed()

    loop.run(setup)
    assert (seen.items, seen.threads) == ([1], {threading.current_thread()})


def test_qt_application_may_run_again() -> None:
    loop = Qt()
    for _ in range(2):
        source, seen = Subject[int](), LoopCollector(loop)

        def setup(
            scheduler: abc.SchedulerBase,
            source: Subject[int] = source,
            seen: LoopCollector = seen,
        ) -> None:
            source.pipe(ec.deliver_on(scheduler)).subscribe(seen)
            source.on_next(1)
            source.on_completed()

        loop.run(setup)
        assert seen.items == [1]


def script(code: str, log: str = "") -> str:
    """Run code in a process and return its output; ``log`` matches its log."""
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, encoding="utf-8", timeout=DEADLINE
    )
    assert run.returncode == 0, run.stderr
    assert re.fullmatch(log, run.stderr), run.stderr
    return run.stdout


def test_qt_without_application_raises() -> None:
    pytest.importorskip("PySide6.QtCore", exc_type=ImportError)
    output = script("""if True:
        import enchannel as ec
        import reactivex
        from PySide6 import QtCore
        from reactivex.scheduler.mainloop import QtScheduler

        try:
            reactivex.of(1).pipe(ec.deliver_on(QtScheduler(QtCore))).subscribe()
        except RuntimeError as error:
            print(error)
    """)
    assert output == "no Qt application is running; create one before subscribing\n"


@pytest.mark.parametrize("end", ["app.shutdown()", "shiboken6.delete(app)"])
def test_qt_deleted_application_ends_subscription(end: str) -> None:
    """An application that never ran does not emit aboutToQuit."""
    pytest.importorskip("PySide6.QtCore", exc_type=ImportError)
    output = script(
        f"""if True:
        import enchannel as ec
        import shiboken6
        from PySide6 import QtCore
        from reactivex.scheduler.mainloop import QtScheduler
        from reactivex.subject import Subject

        app, source = QtCore.QCoreApplication([]), Subject()
        source.pipe(ec.deliver_on(QtScheduler(QtCore))).subscribe(print)
        source.on_next("to be seen")
        app.processEvents()
        source.on_next("too late")
        {end}
        source.on_next("even later")
        print(len(source.observers))
    """,
        log=r"the event loop .* has stopped, so (2 items were|1 item was) not delivered and .*\n",
    )
    assert output == "to be seen\n0\n"


def test_import_does_not_load_user_interfaces() -> None:
    output = script("""if True:
        import sys
        import enchannel

        print(sorted({"PySide6", "PyQt6", "tkinter", "textual"} & set(sys.modules)))
    """)
    assert output == "[]\n"


class OwnQtScheduler(QtScheduler):
    """A subclass of reactivex's scheduler, as an application may have."""


def test_qt_scheduler_subclass_is_recognized() -> None:
    remote, loop = ScriptedLink(), Qt()
    seen = LoopCollector(loop)
    with remote.kernel() as kernel:

        def setup(_: abc.SchedulerBase) -> None:
            kernel.iopub.subscribe(seen, scheduler=OwnQtScheduler(loop.core))
            in_thread(lambda: remote.send(printed("1")))
            in_thread(lambda: remote.end_channel(ec.ChannelName.IOPUB))

        loop.run(setup)
    assert (texts(seen.items), seen.threads) == (["1"], {threading.current_thread()})


# Tk.


class Noted:
    """A Tcl loop that records the threads of its calls."""

    def __init__(self, tk: Any) -> None:
        self._tk = tk
        self.threads: set[threading.Thread] = set()

    def __getattr__(self, name: str) -> Any:
        self.threads.add(threading.current_thread())
        return getattr(self._tk, name)


def test_tk_is_not_called_from_other_threads() -> None:
    """A call would block until the main loop handles it, or raise if none runs."""
    loop, source = Tcl(), Subject[int]()
    seen = LoopCollector(loop)

    def setup(scheduler: abc.SchedulerBase) -> None:
        source.pipe(ec.deliver_on(scheduler)).subscribe(seen)
        in_thread(lambda: source.on_next(1))
        in_thread(source.on_completed)

    noted = loop.root.tk = Noted(loop.root.tk)
    loop.run(setup)
    assert seen.items == [1]
    assert noted.threads == {threading.current_thread()}
    loop.close()


def test_tk_polls_once_for_all_subscriptions() -> None:
    loop, source = Tcl(), Subject[int]()

    def setup(scheduler: abc.SchedulerBase) -> None:
        deliver = ec.deliver_on(scheduler)
        with CompositeDisposable([source.pipe(deliver).subscribe() for _ in range(10)]):
            assert len(looks()) == 1
        gc.collect()
        until_none()

    def looks() -> list[str]:
        tk = loop.root.tk
        return [id for id in waiting() if "catch" in str(tk.call("after", "info", id))]

    def waiting() -> list[str]:
        tk = loop.root.tk
        return list(tk.splitlist(tk.call("after", "info")))

    def until_none() -> None:
        if looks():
            loop.root.after(1, until_none)
        else:
            loop.stop()

    loop.run(setup)
    loop.close()


def test_tk_root_destroyed_by_subscriber() -> None:
    loop, source = Tcl(), Subject[int]()

    def on_next(_: int) -> None:
        loop.close()
        loop.stop()

    def setup(scheduler: abc.SchedulerBase) -> None:
        source.pipe(ec.deliver_on(scheduler)).subscribe(on_next)
        source.on_next(1)

    loop.run(setup)
    in_thread(lambda: source.on_next(2))
    assert not source.observers


def test_tk_redraws_during_flood() -> None:
    """Tk redraws when idle: after all events and due timers."""
    loop, source, subscription = Tcl(), Subject[int](), SerialDisposable()
    drawn, overdue = threading.Event(), threading.Event()

    def on_next(item: int) -> None:
        if drawn.is_set() or overdue.is_set():
            subscription.dispose()
            loop.stop()
        else:
            source.on_next(item + 1)

    def setup(scheduler: abc.SchedulerBase) -> None:
        subscription.disposable = source.pipe(ec.deliver_on(scheduler)).subscribe(on_next)
        source.on_next(0)
        loop.later(0.02, lambda: loop.root.after_idle(drawn.set))
        loop.later(DEADLINE / 2, overdue.set)

    loop.run(setup)
    loop.close()
    assert drawn.is_set()


# Textual.


def test_textual_widget_finds_its_app() -> None:
    """The app is in a context variable that is not set on the delivery thread."""
    loop, source, apps = Textual(), Subject[int](), list[object]()
    active_app = pytest.importorskip("textual._context").active_app

    def on_next(_: int) -> None:
        apps.append(active_app.get())
        if len(apps) == 2:
            loop.stop()

    def setup(scheduler: abc.SchedulerBase) -> None:
        for interval in (0.0, 0.01):
            source.pipe(ec.deliver_on(scheduler, interval=interval)).subscribe(on_next)
        in_thread(lambda: source.on_next(1))

    loop.run(setup)
    assert apps == [loop.app, loop.app]
