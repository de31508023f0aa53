"""A backend that plays a recording, for ``replay`` and ``connect("replay:…")``."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from typing import Any, Final, NoReturn

from reactivex import Observable, abc
from reactivex.disposable import SerialDisposable

from enchannel._protocol.channel_name import ChannelName
from enchannel._protocol.message import AnyMessage
from enchannel._recordings.format import (
    Direction,
    End,
    RecordedEvent,
    RecordedMessage,
    Recording,
    read_entries,
)
from enchannel._rx.timer import TimerScheduler, clock_of
from enchannel.abc import Backend, Capabilities, ChannelPair, Link, LinkEvent, OpenContext
from enchannel.backends._subjects import CallbackObserver, IncomingSubject
from enchannel.errors import ChannelClosed, ConnectionFailed, NotSupported, RecordingFailed

__all__ = ["backend", "validate_speed"]

SCHEME: Final = "replay:"
CHANNELS: Final = (ChannelName.SHELL, ChannelName.CONTROL, ChannelName.STDIN, ChannelName.IOPUB)
# Recordings have a resolution of 1 µs.
TIME_RESOLUTION: Final = 1e-6
# Some platforms cannot wait longer than this at once.
MAX_WAIT: Final = 1e6

_Entry = RecordedMessage | RecordedEvent | End


class ReplayBackend(Backend):
    """Emits the recorded incoming messages at their original pace."""

    contract = 1

    def open(
        self,
        target: str | os.PathLike[str],
        context: OpenContext,
        *,
        speed: float = 1.0,
        start: Observable[Any] | None = None,
    ) -> Link:
        """Open a recording, for ``replay`` and ``connect("replay:…")``.

        Playback begins with the first subscriber of a channel; later subscribers may have missed messages
        by then. Every channel completes at the end. Playback does not wait for slow subscribers, just as a
        kernel does not: their messages are queued.

        Args:
            target: The path of the recording, with or without ``replay:``.
            context: Its scheduler is the source of time. With a virtual-time scheduler, and subscribers on
                the same scheduler, messages are emitted only as it advances.
            speed: Playback speed relative to the recording; ``math.inf`` plays without delays.
            start: Begin playback when this observable emits or completes, instead of with the first
                subscriber.

        Raises:
            ConnectionFailed: The file is not a recording, or cannot be read.
            ValueError: ``speed`` is not above 0.
            TypeError: ``target`` is not a path.
        """
        self.validate_open(target, context, {"speed": speed})
        path = target.removeprefix(SCHEME) if isinstance(target, str) else target
        try:
            recording = Recording(path)
        except RecordingFailed as error:
            raise ConnectionFailed(str(error)) from error
        scheduler = context.scheduler
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

    def validate_open(self, target: Any, context: OpenContext, options: Mapping[str, Any]) -> None:
        """Check the type of the target, and ``speed``; see ``Backend``."""
        if not isinstance(target, (str, os.PathLike)):
            raise TypeError(f"target must be the path of a recording, not {type(target).__name__}")
        validate_speed(options.get("speed", 1.0))


class Player:
    """Plays one recording once.

    Args:
        recording: The recording to play.
        speed: Playback speed relative to the recording.
        scheduler: Everything is emitted on this scheduler.

    Attributes:
        events: The recorded events of the link and the kernel.
    """

    def __init__(self, recording: Recording, speed: float, scheduler: abc.SchedulerBase) -> None:
        self.events: IncomingSubject[LinkEvent] = IncomingSubject()
        self._recording = recording
        self._speed = speed
        self._scheduler = scheduler
        self._clock = clock_of(scheduler)
        self._channels = {name: IncomingSubject[AnyMessage]() for name in CHANNELS}
        self._entries = read_entries(recording)
        self._next_entry: _Entry | None = None
        self._playing = threading.RLock()
        self._scheduled = SerialDisposable()
        self._start_subscription = SerialDisposable()
        self._begun_at: float | None = None
        self._closed = False
        self._finished = False

    def pair(self, name: ChannelName) -> ChannelPair[AnyMessage]:
        """Return the recorded messages of a channel; sending on it raises."""
        return ChannelPair(self._channels[name], CallbackObserver(self._refuse))

    def begin_with(self, start: Observable[Any], scheduler: abc.SchedulerBase | None) -> None:
        """Begin when an observable emits or completes."""
        self._start_subscription.disposable = start.subscribe(
            lambda _: self.begin(), self._fail, self.begin, scheduler=scheduler
        )

    def begin(self) -> None:
        """Begin playback; a no-op when it has already begun."""
        with self._playing:
            if self._begun_at is not None or self._closed:
                return
            self._begun_at = self._clock()
            self._play_after(0.0)

    def close(self) -> None:
        """Stop, and complete every channel. May be called from any thread."""
        self._closed = True
        self._start_subscription.dispose()
        self._scheduled.dispose()
        # Taken after the flag is set: an item that is being emitted is the last one.
        with self._playing:
            self._entries.close()
            self._finish(None)

    def _play_after(self, seconds: float) -> None:
        self._scheduled.disposable = self._scheduler.schedule_relative(seconds, self._play)

    def _play(self, _: abc.SchedulerBase, __: object = None) -> None:
        """Emit all items that are due."""
        # Not one scheduled action for each item: with a virtual clock, each would advance it.
        while not self._closed:
            with self._playing:
                if self._closed or self._finished:
                    return
                try:
                    entry = self._next_entry or next(self._entries, None)
                except RecordingFailed as error:
                    self._fail(error)
                    return
                wait = self._due_at(entry) - self._clock()
                if wait >= TIME_RESOLUTION:
                    self._next_entry = entry
                    self._play_after(min(wait, MAX_WAIT))
                    return
                self._next_entry = None
                self._emit(entry)

    def _due_at(self, entry: _Entry | None) -> float:
        begun_at = self._begun_at or 0.0
        return begun_at if entry is None else begun_at + entry.time / self._speed

    def _emit(self, entry: _Entry | None) -> None:
        if entry is None:
            self.events.on_next(
                RecordingFailed(
                    f"the recording {self._recording.path} is incomplete or damaged; it was played as "
                    "far as it can be read"
                )
            )
            self._finish(None)
        elif isinstance(entry, End):
            self._finish(entry.error)
        elif isinstance(entry, RecordedEvent):
            self.events.on_next(entry.event)
        elif entry.direction is Direction.RECEIVED:
            self._channels[entry.message.channel].on_next(entry.message)

    def _fail(self, error: Exception) -> None:
        with self._playing:
            self._finish(error)

    def _finish(self, error: Exception | None) -> None:
        if self._finished:
            return
        self._finished = True
        if error is None:
            self.events.on_completed()
        else:
            self.events.on_error(error)

    def _refuse(self, message: AnyMessage) -> NoReturn:
        if self._closed:
            raise ChannelClosed("this recording is closed")
        raise NotSupported(
            f"messages cannot be sent to a recording (of kernel {self._recording.kernel_id}); connect "
            "to a running kernel instead"
        )


def validate_speed(speed: float) -> None:
    """Raise ValueError unless the speed is above 0."""
    if not speed > 0:
        raise ValueError(f"speed must be above 0, not {speed}")


backend = ReplayBackend()
