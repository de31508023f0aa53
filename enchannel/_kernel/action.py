"""Actions on a kernel, as observables of their outcome."""

from __future__ import annotations

from collections.abc import Iterable

from reactivex import Observable, abc
from reactivex.disposable import SerialDisposable

from enchannel._rx.delivery_thread import DeliveryThread
from enchannel._rx.fanout import Fanout, FanoutObservable
from enchannel._rx.sink import CallbackSink, Reporter, Sink
from enchannel.errors import RequestTimeout

__all__ = ["Action", "settle_with", "sink_of"]


class Action(FanoutObservable[None]):
    """An action that has begun, such as a restart: emits None once it has finished, or fails.

    Subscribe to an action, ``await`` it or pass it to ``ec.wait``; late subscribers get the outcome too.
    The action does not depend on them: subscribing starts nothing, and disposing undoes nothing.

    A failure that has no subscriber when it occurs is reported on ``kernel.errors``. Made by the library
    only.

    Example:
        >>> kernel.interrupt()
        >>> ec.wait(kernel.restart(timeout=30))
        >>> await kernel.shutdown()
    """

    def __init__(
        self, name: str, delivery: DeliveryThread, reporter: Reporter, report_unseen: Reporter
    ) -> None:
        super().__init__()
        self._name = name
        self._delivery = delivery
        self._reporter = reporter
        self._report_unseen = report_unseen
        self._fanout: Fanout[None] = Fanout(delivery)
        self._has_finished = False
        self._timer = SerialDisposable()

    def __str__(self) -> str:
        return self._name

    def _replay(self) -> Iterable[None]:
        return (None,) if self._has_finished else ()

    def _finish(self, _: None = None) -> None:
        # Only the first outcome counts.
        with self._fanout.lock:
            if self._fanout.terminal is not None:
                return
            self._has_finished = True
            self._fanout.dispatch(None)
            self._fanout.terminate()
        self._timer.dispose()

    def _fail(self, error: Exception) -> None:
        with self._fanout.lock:
            if self._fanout.terminal is not None:
                return
            is_observed = bool(self._fanout.sinks)
            self._fanout.terminate(error)
        self._timer.dispose()
        if not is_observed:
            self._report_unseen(error)

    def _fail_after(self, seconds: float, scheduler: abc.SchedulerBase) -> None:
        error = RequestTimeout(f"{self} did not finish within {seconds:g} s; it may finish later")
        self._timer.disposable = scheduler.schedule_relative(seconds, lambda *_: self._fail(error))


def settle_with(
    action: Action,
    outcome: Observable[None],
    *,
    timeout: float | None,
    scheduler: abc.SchedulerBase,
) -> None:
    """Finish or fail an action as an observable does, or fail it with RequestTimeout after ``timeout``."""
    outcome.subscribe(action._finish, action._fail, action._finish)
    if timeout is not None:
        action._fail_after(timeout, scheduler)


def sink_of(action: Action) -> Sink[object]:
    """Return a sink that finishes or fails an action as the source of the sink ends."""
    return CallbackSink(on_error=action._fail, on_completed=action._finish)
