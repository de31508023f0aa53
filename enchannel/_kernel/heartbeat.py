"""The heartbeat channel: it sends pings and checks that they are echoed."""

from __future__ import annotations

import math
from collections.abc import Callable

from reactivex import abc
from reactivex.disposable import SerialDisposable

from enchannel._kernel.channel import BaseChannel
from enchannel._protocol.channel_name import ChannelName
from enchannel._rx.delivery_thread import DeliveryThread
from enchannel._rx.fanout import Fanout
from enchannel._rx.foreign_loops import is_virtual_time
from enchannel._rx.sink import Reporter
from enchannel.abc import ChannelPair
from enchannel.errors import EnchannelError, InvalidMessage

__all__ = ["Heartbeat", "pause", "unpause", "validate_silent_after"]

DEFAULT_SILENT_AFTER = 5.0
PING = b"ping"
MAX_MISSED_PINGS = 3  # in a row, within silent_after
GRID_STEPS = 4  # between two pings
# A stopped kernel reads all of its pings when it continues, so most are left out after this number.
MAX_UNANSWERED_PINGS = 20


class Heartbeat(BaseChannel[bytes]):
    """The heartbeat channel: a kernel that is alive echoes the bytes that are sent on it.

    It sends three pings in ``silent_after`` seconds. A kernel that stops answering is reported as silent,
    not as dead. A kernel that has never answered is not reported, because some kernels have no heartbeat.

    By default, it sends no pings in virtual time: they would never end, and so would ``start`` of the
    scheduler.

    Made by the library only.

    Attributes:
        name: The name of the channel.
        silent_after: Seconds without an echo after which a kernel is reported as silent; infinity if no
            pings are sent.
        is_beating: True while the kernel answers, False while it does not; None before its first echo.
        unsent: The number of pings that the transport does not accept yet.
        observer_count: The number of subscriptions.
    """

    def __init__(
        self,
        pair: ChannelPair[bytes],
        delivery: DeliveryThread,
        reporter: Reporter,
        silent_after: float | None,
        scheduler: abc.SchedulerBase,
        on_change: Callable[[bool], None],
    ) -> None:
        self.silent_after: float = (
            _default_silent_after(scheduler) if silent_after is None else float(silent_after)
        )
        self.is_beating: bool | None = None
        self._scheduler = scheduler
        self._on_change = on_change
        self._unanswered = 0
        self._is_paused = True
        self._next_ping = SerialDisposable()
        super().__init__(ChannelName.HEARTBEAT, pair, Fanout(delivery), delivery, reporter)

    def _pause(self) -> None:
        with self._fanout.lock:
            self._is_paused = True
            self._next_ping.disposable = None

    def _unpause(self) -> None:
        if math.isinf(self.silent_after):
            return
        with self._fanout.lock:
            if not self._is_paused or self._fanout.terminal is not None:
                return
            self._is_paused, self._unanswered = False, 0
        self._ping()

    def _terminate(self, error: Exception | None = None) -> None:
        self._pause()
        super()._terminate(error)

    def _dispatch(self, item: bytes) -> None:
        self._unanswered = 0
        if not self.is_beating:
            self.is_beating = True
            self._on_change(True)
        super()._dispatch(item)

    def _ping(self, *_: object) -> None:
        if self._unanswered >= MAX_MISSED_PINGS and self.is_beating:
            self.is_beating = False
            self._on_change(False)
        # Counted before it is sent, because the echo may arrive before on_next returns.
        self._unanswered += 1
        try:
            if (
                self._unanswered <= MAX_UNANSWERED_PINGS
                or self._unanswered % MAX_UNANSWERED_PINGS == 0
            ):
                self._outgoing.on_next(PING)
        # The connection is lost, which the link reports itself.
        except EnchannelError:
            self._unanswered = 0
        with self._fanout.lock:
            if not self._is_paused:
                self._next_ping.disposable = self._scheduler.schedule_relative(
                    self._seconds_to_next(), self._ping
                )

    def _seconds_to_next(self) -> float:
        """Return the seconds to the next ping.

        The heartbeats of all kernels share a grid of time, because waking up costs more than sending.
        """
        interval = self.silent_after / MAX_MISSED_PINGS
        now, grid = self._scheduler.to_seconds(self._scheduler.now), interval / GRID_STEPS
        return math.floor((now + interval) / grid + 1e-6) * grid - now

    def _prepare(self, value: bytes) -> bytes:
        if not isinstance(value, (bytes, bytearray, memoryview)):
            raise InvalidMessage(
                f"an item sent on {self} must be bytes, not {type(value).__name__}"
            )
        return bytes(value)


def validate_silent_after(seconds: object) -> None:
    """Raise TypeError or ValueError unless this is a positive number of seconds, infinity, or None."""
    if seconds is None:
        return
    if type(seconds) is bool or not isinstance(seconds, (int, float)):
        raise TypeError(f"silent_after must be a number of seconds or None, not {seconds!r}")
    if not seconds > 0:
        raise ValueError(
            f"silent_after must be a positive number of seconds or None, not {seconds!r}"
        )


def _default_silent_after(scheduler: abc.SchedulerBase) -> float:
    return math.inf if is_virtual_time(scheduler) else DEFAULT_SILENT_AFTER


def pause(heartbeat: Heartbeat) -> None:
    """Stop sending pings; a kernel is not reported as silent while its heartbeat is paused."""
    heartbeat._pause()


def unpause(heartbeat: Heartbeat) -> None:
    """Send pings again."""
    heartbeat._unpause()
