"""A recording, played: a backend at whose other end there is nobody any more."""

from __future__ import annotations

import os
import threading
from typing import Any, Final, NoReturn

from reactivex import Observable, abc
from reactivex.disposable import SerialDisposable

from enchannel._protocol.channel_name import ChannelName
from enchannel._protocol.message import AnyMessage
from enchannel._protocol.session import Session
from enchannel._recordings.format import Direction, End, Recorded, Recording
from enchannel._rx.timer import TimerScheduler, clock_of
from enchannel.abc import Backend, Capabilities, ChannelPair, Link, LinkEvent
from enchannel.backends._subjects import CallbackObserver, IncomingSubject
from enchannel.errors import ChannelClosed, ConnectionFailed, NotSupported, RecordingFailed

__all__ = ["backend"]

SCHEME: Final = "replay:"
CHANNELS: Final = (ChannelName.SHELL, ChannelName.CONTROL, ChannelName.STDIN, ChannelName.IOPUB)
TICK: Final = 1e-6  # seconds; recordings are no finer
LONGEST: Final = (
    1e6  # seconds until it looks again; what waits for longer a platform may not be able to
)


class Replay(Backend):
    """Plays what was heard through the same Subjects, at the pace at which it came."""

    def open(
        self,
        target: str | os.PathLike[str],
        *,
        session: Session,
        timeout: float,
        speed: float = 1.0,
        start: Observable[Any] | None = None,
        scheduler: abc.SchedulerBase | None = None,
    ) -> Link:
        """Open a recording, for ``connect("replay:…")``.

        It begins when the first subscriber of a channel is there; who subscribes next may have missed
        something by then. At its end every channel completes. Like a kernel it does not wait for a slow
        subscriber: what that has not taken is kept.

        Args:
            target: Its path, after ``replay:``.
            session: Who we are; nobody is told.
            timeout: Not needed: a file is there or not.
            speed: How many times as fast as it was; ``math.inf``: as fast as it goes.
            start: Begins it, instead of the first subscriber, when it emits or completes.
            scheduler: Where time comes from: with a virtual one, and subscribers on the same, nothing
                happens but when it is advanced.

        Raises:
            ConnectionFailed: it is no recording, or cannot be read.
            ValueError: a speed that is not above 0.
        """
        if not speed > 0:
            raise ValueError(f"speed is {speed}, and has to be above 0")
        path = target.removeprefix(SCHEME) if isinstance(target, str) else target
        try:
            recording = Recording(path)
        except RecordingFailed as error:
            raise ConnectionFailed(str(error)) from error
        player = Player(recording, speed, scheduler or TimerScheduler())
        if start is not None:
            player.begin_with(start, scheduler)
        return Link(
            pairs={name: player.pair(name) for name in CHANNELS},
            events=player.events,
            close=player.close,
            kernel_id=recording.kernel_id,
            capabilities=Capabilities(channels=frozenset(CHANNELS), can_send=False),
            on_first_subscriber=player.begin if start is None else None,
        )


class Player:
    """Plays one recording, once.

    Args:
        recording: What is played.
        speed: How many times as fast.
        scheduler: On which everything is emitted.

    Attributes:
        status: What became of link and kernel.
    """

    def __init__(self, recording: Recording, speed: float, scheduler: abc.SchedulerBase) -> None:
        self.events: IncomingSubject[LinkEvent] = IncomingSubject()
        self._recording = recording
        self._speed = speed
        self._scheduler = scheduler
        self._clock = clock_of(scheduler)
        self._channels = {name: IncomingSubject[AnyMessage]() for name in CHANNELS}
        self._entries = recording.entries()
        self._ahead: Recorded | End | None = None  # what waits for its time
        self._playing = threading.RLock()
        self._next = SerialDisposable()
        self._starting = SerialDisposable()
        self._begun_at: float | None = None
        self._closed = False
        self._over = False

    def pair(self, name: ChannelName) -> ChannelPair[AnyMessage]:
        """What is heard on a channel; nothing can be said on it."""
        return ChannelPair(self._channels[name], CallbackObserver(self._refuse))

    def begin_with(self, start: Observable[Any], scheduler: abc.SchedulerBase | None) -> None:
        """Begin when it emits or completes."""
        self._starting.disposable = start.subscribe(
            lambda _: self.begin(), self._fail, self.begin, scheduler=scheduler
        )

    def begin(self) -> None:
        """Begin; once."""
        with self._playing:
            if self._begun_at is not None or self._closed:
                return
            self._begun_at = self._clock()
            self._after(0.0)

    def close(self) -> None:
        """Say no more; from any thread."""
        self._closed = True
        self._starting.dispose()
        self._next.dispose()
        with self._playing:  # what is being emitted is, and that was the last
            self._entries.close()
            self._finish(None)

    def _after(self, seconds: float) -> None:
        self._next.disposable = self._scheduler.schedule_relative(seconds, self._play)

    def _play(self, _: abc.SchedulerBase, __: object = None) -> None:
        """All whose time has come. No scheduled action for each: virtual time would not stand still."""
        while not self._closed:
            with self._playing:
                if self._closed or self._over:
                    return
                try:
                    entry = self._ahead or next(self._entries, None)
                except RecordingFailed as error:
                    self._fail(error)
                    return
                wait = self._due(entry) - self._clock()
                if wait >= TICK:
                    self._ahead = entry
                    self._after(min(wait, LONGEST))
                    return
                self._ahead = None
                self._emit(entry)

    def _due(self, entry: Recorded | End | None) -> float:
        begun_at = self._begun_at or 0.0
        return begun_at if entry is None else begun_at + entry.time / self._speed

    def _emit(self, entry: Recorded | End | None) -> None:
        if entry is None:
            path = self._recording.path
            self.events.on_next(
                RecordingFailed(
                    f"the recording {path} was not ended, or is damaged: this is all that can be read"
                )
            )
            self._finish(None)
        elif isinstance(entry, End):
            self._finish(entry.error)
        elif entry.status is not None:
            self.events.on_next(entry.status)
        elif entry.message is not None and entry.direction is Direction.RECEIVED:
            self._channels[entry.message.channel].on_next(entry.message)

    def _fail(self, error: Exception) -> None:
        with self._playing:
            self._finish(error)

    def _finish(self, error: Exception | None) -> None:
        if self._over:
            return
        self._over = True
        if error is None:
            self.events.on_completed()
        else:
            self.events.on_error(error)

    def _refuse(self, message: AnyMessage) -> NoReturn:
        if self._closed:
            raise ChannelClosed("this recording is closed")
        raise NotSupported(
            f"this is a recording of kernel {self._recording.kernel_id}: it plays what was said, and "
            "nobody is there to be asked"
        )


backend = Replay()
