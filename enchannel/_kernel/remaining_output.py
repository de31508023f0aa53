"""Waiting for output that a request has not received yet, although the kernel has answered it.

A kernel answers the requests of one queue in order. So the end of a small later request, a probe, shows
that the output of an earlier one has arrived, or is lost.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Protocol, TypeAlias

from reactivex import abc
from reactivex.disposable import SerialDisposable

from enchannel._protocol.channel_name import ChannelName
from enchannel._protocol.message import AnyMessage
from enchannel._rx.sink import CallbackSink, Sink
from enchannel.errors import EnchannelError, RequestTimeout

__all__ = ["IdleOrder", "LateOutputWait", "MissingIdleWait", "ProbeHost", "Queue"]

Queue: TypeAlias = tuple[ChannelName, str | None]
"""A channel and subshell, whose requests a kernel answers in order."""

# For the answer to a probe, which other code may delay; renewed by every message of the kernel.
PROBE_GRACE = 30.0
# Deno sends output up to some 10 ms after the idle status.
LATE_OUTPUT_TIMEOUT = 1.0
# Measured: these send idle after all output of a request.
IDLE_IS_LAST_IN = frozenset({"ipython", "xeus-python"})


class ProbeHost(Protocol):
    """The interface to a kernel that the waits use."""

    @property
    def scheduler(self) -> abc.SchedulerBase:
        """The scheduler of timeouts."""
        ...

    @property
    def is_link_lost(self) -> bool:
        """True while the connection is lost, so that no message can arrive."""
        ...

    @property
    def idle_order(self) -> IdleOrder:
        """The order of the idle status and the output of this kernel."""
        ...

    def probe(
        self, queue: Queue, sink: Sink[AnyMessage], timeout: float | None, /
    ) -> abc.DisposableBase:
        """Send a ``kernel_info_request`` to a queue, and pass its messages to a sink.

        Disposing of the result takes no lock, since the sink may be called with the lock of the probe.
        """
        ...

    def tap(self, sink: Sink[Any], /) -> abc.DisposableBase:
        """Pass all incoming messages to a sink."""
        ...


class IdleOrder:
    """Knows if a kernel sends idle after all output of a request. Thread-safe.

    Attributes:
        is_last: True if it does, or if nothing is known of it yet.
        was_seen: True once a request has received its idle status.
    """

    def __init__(self) -> None:
        self.is_last = True
        self.was_seen = False
        self._is_asked = threading.Lock()

    def ask_once(self, host: ProbeHost, queue: Queue) -> None:
        """Request the name of the implementation; the first call only."""
        if self._is_asked.acquire(blocking=False):
            host.probe(queue, CallbackSink(self._on_info, self._on_not_answered), None)

    def _on_not_answered(self, _: Exception) -> None:
        self._is_asked.release()

    def _on_info(self, message: AnyMessage) -> None:
        if message.header.msg_type == "kernel_info_reply":
            self.is_last = message.content.get("implementation") in IDLE_IS_LAST_IN


class LateOutputWait(SerialDisposable):
    """Waits for output that a kernel sends after the idle status of a request, for at most one second.

    Args:
        host: The kernel.
        queue: The queue of the request.
        then: Called once, when the output has arrived.
    """

    def __init__(self, host: ProbeHost, queue: Queue, then: Callable[[], None]) -> None:
        super().__init__()
        self._host = host
        self._queue = queue
        self._then = then
        self._is_started = threading.Lock()

    def start_once(self) -> None:
        """Start to wait, in the first call only; called without a lock."""
        if not self._is_started.acquire(blocking=False):
            return
        sink: CallbackSink[AnyMessage] = CallbackSink(
            on_error=lambda _: self._then(), on_completed=self._then
        )
        try:
            self.disposable = self._host.probe(self._queue, sink, LATE_OUTPUT_TIMEOUT)
        except EnchannelError:
            self._then()


class MissingIdleWait(abc.DisposableBase):
    """Waits for the idle status of a request that was answered, and probes the kernel if none arrives.

    Args:
        host: The kernel.
        queue: The queue of the request.
        grace: Seconds without a message of the request before the kernel is probed.
        received: Returns the number of messages of the request.
        on_missing: Called once if the idle status was lost: the probe has ended, or no message of the
            kernel has arrived for a long time.
    """

    def __init__(
        self,
        host: ProbeHost,
        queue: Queue,
        *,
        grace: float,
        received: Callable[[], int],
        on_missing: Callable[[], None],
    ) -> None:
        self._host = host
        self._queue = queue
        self._grace = grace
        self._on_missing = on_missing
        self._received = received
        self._timer = SerialDisposable()
        self._probe = SerialDisposable()
        self._tap = SerialDisposable()
        self._await(grace, self._on_silence)

    def dispose(self) -> None:
        """Stop waiting."""
        self._timer.dispose()
        self._probe.dispose()
        self._tap.dispose()

    def _await(self, seconds: float, action: Callable[[], None]) -> None:
        """Call a function after this time without a message on a connection that is up."""
        received = self._received()

        def on_time(*_: object) -> None:
            if self._received() > received or self._host.is_link_lost:
                self._await(seconds, action)
            else:
                action()

        self._timer.disposable = self._host.scheduler.schedule_relative(seconds, on_time)

    def _on_silence(self) -> None:
        sink: CallbackSink[AnyMessage] = CallbackSink(
            on_error=self._on_probe_error, on_completed=self._on_missing
        )
        received: list[object] = []
        self._received = received.__len__
        self._tap.disposable = self._host.tap(CallbackSink(lambda _: received.append(None)))
        # A kernel that has never sent idle does not send it for the probe either.
        was_seen = self._host.idle_order.was_seen
        self._await(PROBE_GRACE if was_seen else self._grace, self._on_missing)
        self._probe.disposable = self._host.probe(self._queue, sink, None)

    def _on_probe_error(self, error: Exception) -> None:
        # The idle status of the probe has arrived. Other errors fail the request as well.
        if isinstance(error, RequestTimeout):
            self._on_missing()
