"""The observables of a kernel beside its channels: states, errors, sent messages, completions."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Generic, TypeVar

from reactivex.subject import BehaviorSubject

from enchannel._protocol.message import AnyMessage
from enchannel._rx.delivery_thread import DeliveryThread
from enchannel._rx.fanout import Fanout, FanoutObservable, FanoutSubject
from enchannel._rx.sink import Reporter, log_error
from enchannel.abc import KernelState, LinkEvent, LinkState
from enchannel.errors import ChannelReadOnly, EnchannelError

__all__ = ["Completion", "ErrorLog", "KernelSubjects", "SentMessages", "StateSubject"]

MAX_KEPT_ERRORS = 100

T = TypeVar("T")


class StateSubject(FanoutSubject[T], BehaviorSubject[T], Generic[T]):
    """A state as a BehaviorSubject: subscribers get the current value, then each new one.

    State changes are delivered before queued messages, so a subscriber learns of them in time even when it
    lags behind the kernel's output.

    Attributes:
        value: The current value, also while subscribers are still busy with earlier ones.
    """

    value: T
    _urgent = True

    def __init__(self, name: str, value: T, delivery: DeliveryThread, reporter: Reporter) -> None:
        super().__init__(value)
        self._name = name
        self._delivery = delivery
        self._reporter = reporter
        self._fanout: Fanout[T] = Fanout(delivery, fails_after_fork=False)

    def set(self, value: T) -> None:
        """Change the value and emit it; a no-op if it is the current one."""
        with self._fanout.lock:
            if value != self.value and self._fanout.terminal is None:
                self.value = value
                for sink in self._fanout.sinks:
                    sink.on_next(value)

    def on_next(self, value: T) -> None:
        """Refuse a value: subscribers cannot change the state.

        Raises:
            ChannelReadOnly: always.
        """
        raise ChannelReadOnly(f"{self} is read-only")

    def __str__(self) -> str:
        return self._name

    def __repr__(self) -> str:
        return f"<{self._name}: {self.value}>"

    def _replay(self) -> Iterable[T]:
        return (self.value,)


class ErrorLog(FanoutObservable[EnchannelError]):
    """Errors that terminate nothing: rejected frames, subscribers that raised, lost output.

    A new subscriber first gets the last 100. An error without a subscriber is logged under ``enchannel``.
    """

    _urgent = True

    def __init__(self, delivery: DeliveryThread) -> None:
        super().__init__()
        self._delivery = delivery
        self._reporter = log_error
        self._kept: deque[EnchannelError] = deque(maxlen=MAX_KEPT_ERRORS)
        self._fanout: Fanout[EnchannelError] = Fanout(delivery, fails_after_fork=False)

    def report(self, error: Exception) -> None:
        """Emit an error, or log it if there is no subscriber.

        An error that is reported again is ignored, since one error may end many subscriptions. An
        exception of another library is wrapped in an EnchannelError.
        """
        if not isinstance(error, EnchannelError):
            wrapped = EnchannelError(f"{type(error).__name__}: {error}")
            wrapped.__cause__ = error
            error = wrapped
        with self._fanout.lock:
            if any(kept is error for kept in self._kept):
                return
            self._kept.append(error)
            self._fanout.dispatch(error)
            is_observed = bool(self._fanout.sinks)
        if not is_observed:
            log_error(error)

    def __str__(self) -> str:
        return "kernel.errors"

    def _replay(self) -> Iterable[EnchannelError]:
        return self._kept


class SentMessages(FanoutObservable[AnyMessage]):
    """The messages that are sent on all channels, each just before it is passed to the backend."""

    def __init__(self, delivery: DeliveryThread, reporter: Reporter) -> None:
        super().__init__()
        self._delivery = delivery
        self._reporter = reporter
        self._fanout: Fanout[AnyMessage] = Fanout(delivery)

    @property
    def fanout(self) -> Fanout[AnyMessage]:
        """The fanout that channels dispatch to, on the thread that sends."""
        return self._fanout

    def __str__(self) -> str:
        return "kernel.sent"


class Completion(FanoutObservable[T], Generic[T]):
    """The outcome of an action that has started: one item and completion, or an error.

    Late subscribers get the outcome as well. Subscribing is optional: the action does not depend on it.
    """

    def __init__(self, name: str, delivery: DeliveryThread, reporter: Reporter) -> None:
        super().__init__()
        self._name = name
        self._delivery = delivery
        self._reporter = reporter
        self._fanout: Fanout[T] = Fanout(delivery)
        self._value: tuple[T, ...] = ()

    def on_next(self, value: T) -> None:
        """Emit the value and complete; only the first outcome counts."""
        with self._fanout.lock:
            if self._value or self._fanout.terminal is not None:
                return
            self._value = (value,)
            self._fanout.dispatch(value)
        self._fanout.terminate()

    def on_error(self, error: Exception) -> None:
        """Fail with an error; only the first outcome counts."""
        with self._fanout.lock:
            if self._value:
                return
        self._fanout.terminate(error)

    def on_completed(self) -> None:
        """Ignore the completion of the source: its value was the outcome."""

    def __str__(self) -> str:
        return self._name

    def _replay(self) -> Iterable[T]:
        return self._value


class KernelSubjects:
    """The observables of one kernel beside its channels, and the thread that calls the subscribers of all.

    Attributes:
        delivery: The thread.
        errors: ``Kernel.errors``.
        link: ``Kernel.link``.
        state: ``Kernel.state``.
        sent: ``Kernel.sent``.
        taps: Sinks of incoming messages and link events, which they get before anything else. Unlike a
            subscriber, a tap is not expected to answer ``input()``, and gets no terminal event.
    """

    def __init__(self, thread_name: str) -> None:
        self.delivery = DeliveryThread(thread_name)
        self.errors = ErrorLog(self.delivery)
        self.link: StateSubject[LinkState] = StateSubject(
            "kernel.link", LinkState.CONNECTING, self.delivery, self.report
        )
        self.state: StateSubject[KernelState] = StateSubject(
            "kernel.state", KernelState.STARTING, self.delivery, self.report
        )
        self.sent = SentMessages(self.delivery, self.report)
        self.taps: Fanout[AnyMessage | LinkEvent] = Fanout(self.delivery)

    def report(self, error: Exception) -> None:
        """Emit an error on ``errors``."""
        self.errors.report(error)

    def terminate(self, error: Exception | None) -> None:
        """Emit the terminal events, then end the thread."""
        self.sent.terminate(error)
        self.link.set(LinkState.CLOSED)
        self.link.terminate()
        self.state.terminate()
        self.errors.terminate()
        self.delivery.end()
