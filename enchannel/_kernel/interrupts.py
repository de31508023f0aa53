"""Interrupts that the library makes itself, and the wait until an interrupt has taken effect."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from reactivex import Observable, abc
from reactivex.disposable import SerialDisposable

from enchannel._kernel.activity import KernelActivity
from enchannel._kernel.connection import Connection
from enchannel._kernel.in_flight import DEFAULT_TIMEOUT
from enchannel._kernel.request_registry import RequestRegistry
from enchannel._kernel.subjects import KernelSubjects
from enchannel._protocol.channel_name import ChannelName
from enchannel._protocol.message import AnyMessage, Message
from enchannel._rx.sink import CallbackSink, attach
from enchannel.abc import LinkState
from enchannel.errors import EnchannelError

__all__ = ["InterruptBarrier", "Interrupter"]

# For the answer to a probe, by a kernel that works on nothing.
IDLE_GRACE = 10.0


class Interrupter:
    """Interrupts the kernel and reports a failure, since no caller holds the action.

    There is one interrupt at a time: an interrupted kernel may send an input request where it should
    report that it was interrupted. Thread-safe.

    Args:
        interrupt: Starts an interrupt and returns its outcome.
        connection: The connection to the kernel.
        activity: The requests that the kernel works on.
        subjects: The observables of the kernel.
        hold: Lets code wait until the result is called.
    """

    def __init__(
        self,
        interrupt: Callable[[], Observable[None]],
        *,
        connection: Connection,
        activity: KernelActivity,
        subjects: KernelSubjects,
        hold: Callable[[], Callable[[], None]],
    ) -> None:
        self._hold = hold
        self._interrupt = interrupt
        self._connection = connection
        self._activity = activity
        self._subjects = subjects
        self._lock = threading.Lock()
        self._current: str | None = None
        # The request to interrupt once the interrupt of another one has been made.
        self._next: _Next | None = None
        # The request to interrupt when the link is back.
        self._failed: str | None = None

    def interrupt(self, request_id: str) -> None:
        """Interrupt the kernel, which works on a request, unless that interrupt is under way."""
        with self._lock:
            if self._current is not None:
                if request_id != self._current:
                    release_code = self._hold() if self._next is None else self._next.release_code
                    self._next = _Next(request_id, release_code)
                return
            self._current = request_id
        try:
            # Not on the delivery thread, which a subscriber may block.
            sink = CallbackSink[None](on_error=self._on_end, on_completed=self._on_end)
            attach(self._interrupt(), sink)
        except EnchannelError as error:
            self._on_end(error)

    def on_reconnect(self) -> None:
        """Repeat an interrupt that failed because the link was lost, if the kernel is still busy."""
        failed, self._failed = self._failed, None
        if failed is not None and self._activity.is_busy:
            self.interrupt(failed)

    def _on_end(self, error: Exception | None = None) -> None:
        with self._lock:
            ended, self._current = self._current, None
            following, self._next = self._next, None
        if error is not None:
            if self._subjects.link_state.value is LinkState.LOST:
                self._failed = ended if following is None else following.request_id
            if not self._connection.is_closing:
                self._subjects.report(error)
        if following is not None:
            if self._failed is None and self._activity.is_running(following.request_id):
                self.interrupt(following.request_id)
            following.release_code()


@dataclass(frozen=True, slots=True)
class _Next:
    """A request to interrupt later; code is held back until then."""

    request_id: str
    release_code: Callable[[], None]


class InterruptBarrier:
    """Holds code back while an interrupt takes effect, so that it is neither hit nor aborted.

    Code is sent again when a small request behind the interrupt has been answered. That request also wakes
    an event loop that runs in the kernel: ipykernel notices the interrupt of ``await asyncio.sleep(…)``
    only then. If a kernel that is idle does not answer it, code is sent all the same. Thread-safe.

    Args:
        requests: The requests of the kernel.
        scheduler: The scheduler of the timeout of an interrupt.
    """

    def __init__(self, requests: RequestRegistry, scheduler: abc.SchedulerBase) -> None:
        self._requests = requests
        self._scheduler = scheduler

    def begin(self) -> Callable[[], None]:
        """Hold code back from now on.

        Returns:
            A function to call when the interrupt was made or has failed; after a while, it is called
            anyway.
        """
        release = self._requests.gate.hold()
        is_first = threading.Lock()

        def on_made() -> None:
            if is_first.acquire(blocking=False):
                timer.dispose()
                self._probe(release)

        timer = self._scheduler.schedule_relative(DEFAULT_TIMEOUT, lambda *_: on_made())
        return on_made

    def _probe(self, release: Callable[[], None]) -> None:
        timer, tap = SerialDisposable(), SerialDisposable()

        def on_passed(_: object = None) -> None:
            timer.dispose()
            tap.dispose()
            release()

        def on_time(*_: object) -> None:
            if not self._requests.host.is_busy:
                on_passed()

        def wait_while_idle() -> None:
            timer.disposable = self._scheduler.schedule_relative(IDLE_GRACE, on_time)

        def on_item(item: object) -> None:
            if isinstance(item, Message) and item.header.msg_type == "status":
                wait_while_idle()

        wait_while_idle()
        tap.disposable = self._requests.host.tap(CallbackSink(on_item))
        sink: CallbackSink[AnyMessage] = CallbackSink(on_error=on_passed, on_completed=on_passed)
        self._requests.probe_reply((ChannelName.SHELL, None), sink)
