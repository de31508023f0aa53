"""The heartbeat: bytes out, bytes back, and what it means when they stay away."""

from __future__ import annotations

import math
from collections.abc import Callable

from reactivex import abc
from reactivex.disposable import SerialDisposable

from enchannel._kernel.channel import BaseChannel
from enchannel._protocol.channel_name import ChannelName
from enchannel._rx.delivery_thread import DeliveryThread
from enchannel._rx.sink import Reporter
from enchannel.abc import ChannelPair
from enchannel.errors import EnchannelError, InvalidMessage

__all__ = ["Heartbeat"]

PING = b"ping"
MOMENTS = 4  # between two beats, to which those of all kernels keep
BEATS = 3  # that are asked for in the time after which a kernel is called silent
UNANSWERED = 20  # after which most are left out: a kernel that was stopped has them all to read


class Heartbeat(BaseChannel[bytes]):
    """The heartbeat channel: bytes sent on it come back from a kernel that lives.

    It asks by itself, three times in ``silent_after`` seconds. A kernel that does not beat is silent,
    not dead, and only if it has beaten before: some kernels never do.

    Attributes:
        silent_after: Seconds without a beat after which a kernel is called silent.
        is_beating: Whether the kernel beats; None until it did once.
    """

    def __init__(
        self,
        pair: ChannelPair[bytes],
        delivery: DeliveryThread,
        reporter: Reporter,
        silent_after: float,
        scheduler: abc.SchedulerBase,
        says: Callable[[bool], None],
    ) -> None:
        self.silent_after = silent_after
        self.is_beating: bool | None = None
        self._scheduler = scheduler
        self._says = says
        self._asked = 0
        self._paused = True
        self._next = SerialDisposable()
        super().__init__(ChannelName.HEARTBEAT, pair, delivery, reporter)

    def pause(self) -> None:
        """Ask no more; while paused, a kernel is never called silent."""
        with self._changing:
            self._paused = True
            self._next.disposable = None

    def unpause(self) -> None:
        """Ask again."""
        with self._changing:
            if not self._paused or self._end is not None:
                return
            self._paused, self._asked = False, 0
        self._ask()

    def end(self, error: Exception | None = None) -> None:
        self.pause()
        super().end(error)

    def _arrive(self, item: bytes) -> None:
        self._asked = 0
        if not self.is_beating:
            self.is_beating = True
            self._says(True)
        super()._arrive(item)

    def _ask(self, *_: object) -> None:
        if self._asked >= BEATS and self.is_beating:
            self.is_beating = False
            self._says(False)
        self._asked += 1  # first: the beat may be faster than this line's return
        try:
            if self._asked <= UNANSWERED or self._asked % UNANSWERED == 0:
                self._outgoing.on_next(PING)
        except EnchannelError:  # the link is lost, and says so itself
            self._asked = 0
        with self._changing:
            if not self._paused:
                self._next.disposable = self._scheduler.schedule_relative(
                    self._until_next(), self._ask
                )

    def _until_next(self) -> float:
        """Seconds until the next one. Kernels ask at the same few moments: what costs is the waking up."""
        every = self.silent_after / BEATS
        now, grid = self._scheduler.to_seconds(self._scheduler.now), every / MOMENTS
        return math.floor((now + every) / grid + 1e-6) * grid - now

    def _prepare(self, value: bytes) -> bytes:
        if not isinstance(value, (bytes, bytearray, memoryview)):
            raise InvalidMessage(f"a {type(value).__name__} was sent on {self}, which takes bytes")
        return bytes(value)
