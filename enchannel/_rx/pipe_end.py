"""The end of a pipe, as the observables at its beginning see it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from reactivex import abc, typing
from reactivex.scheduler import TimeoutScheduler
from reactivex.scheduler.scheduler import Scheduler

from enchannel._rx.sink import Reporter

__all__ = ["PipeEnd"]

State = TypeVar("State")


class PipeEnd(Scheduler):
    """Calls functions where the subscriber of a pipe is called, with any operators before it.

    It is passed to ``subscribe`` as the scheduler, because operators pass on the scheduler to their
    sources, also to those that they subscribe to later. It is false as a condition: operators that take
    ``scheduler or …`` use their own.

    Args:
        reporter: Receives the errors of the subscriber, until the source of the pipe sets its own.

    Attributes:
        call: Calls a function where the subscriber is called; does not raise. Set before subscribing.
        reporter: Receives the errors of the subscriber.
    """

    call: Callable[[Callable[[], None]], None]

    def __init__(self, reporter: Reporter) -> None:
        super().__init__()
        self.reporter = reporter

    def __bool__(self) -> bool:
        return False

    def report(self, error: Exception) -> None:
        """Report an error of the subscriber to the source of the pipe."""
        self.reporter(error)

    def schedule(
        self, action: typing.ScheduledAction[State], state: State | None = None
    ) -> abc.DisposableBase:
        return TimeoutScheduler.singleton().schedule(action, state)

    def schedule_relative(
        self,
        duetime: typing.RelativeTime,
        action: typing.ScheduledAction[State],
        state: State | None = None,
    ) -> abc.DisposableBase:
        return TimeoutScheduler.singleton().schedule_relative(duetime, action, state)

    def schedule_absolute(
        self,
        duetime: typing.AbsoluteTime,
        action: typing.ScheduledAction[State],
        state: State | None = None,
    ) -> abc.DisposableBase:
        return TimeoutScheduler.singleton().schedule_absolute(duetime, action, state)
