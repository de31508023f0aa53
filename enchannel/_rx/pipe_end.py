"""The end of a pipe, as the observables at its beginning see it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from reactivex import abc, typing
from reactivex.scheduler import TimeoutScheduler
from reactivex.scheduler.scheduler import Scheduler

from enchannel._rx.sink import Reporter

__all__ = ["PipeEnd", "end_of"]

State = TypeVar("State")

_this_thread = threading.local()


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

    @contextmanager
    def subscribing(self) -> Iterator[None]:
        """Subscribe to the pipe in this block, for operators that pass on a scheduler of their own."""
        outer = getattr(_this_thread, "end", None)
        _this_thread.end = self
        try:
            yield
        finally:
            _this_thread.end = outer

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


def end_of(scheduler: abc.SchedulerBase | None) -> PipeEnd | None:
    """Return the end of the pipe that subscribes with a scheduler; None for a subscription of its own.

    Args:
        scheduler: A PipeEnd, or that of an operator, such as ``delay``, in the block of ``subscribing``.
    """
    if scheduler is None or isinstance(scheduler, PipeEnd):
        return scheduler
    end: PipeEnd | None = getattr(_this_thread, "end", None)
    return end
