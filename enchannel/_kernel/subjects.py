"""The observables of a kernel beside its channels: states, errors, sent messages."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Generic, TypeVar

from enchannel._protocol.message import AnyMessage
from enchannel._rx.delivery_thread import DeliveryThread
from enchannel._rx.fanout import Fanout, FanoutObservable, terminate
from enchannel._rx.sink import Reporter, describe, log_error
from enchannel.abc import KernelState, LinkEvent, LinkState
from enchannel.errors import EnchannelError, MessagesMayBeMissing

__all__ = ["Errors", "KernelSubjects", "Sent", "State", "fanout_of"]

MAX_KEPT_ERRORS = 100

T = TypeVar("T")


class State(FanoutObservable[T], Generic[T]):
    """A state that can be observed and not changed: subscribers get the current value, then each new one.

    State changes are delivered before queued messages, so a subscriber learns of them in time even when it
    lags behind the kernel's output. Made by the library only.

    Attributes:
        value: The current value.

    Example:
        >>> kernel.link_state.value is ec.LinkState.CONNECTED
        True
        >>> kernel.state.subscribe(print)
    """

    _urgent = True

    def __init__(self, name: str, value: T, delivery: DeliveryThread, reporter: Reporter) -> None:
        super().__init__()
        self._name = name
        self._value = value
        self._delivery = delivery
        self._reporter = reporter
        self._fanout: Fanout[T] = Fanout(delivery, fails_after_fork=False)

    def _set(self, value: T) -> None:
        with self._fanout.lock:
            if value != self._value and self._fanout.terminal is None:
                self._value = value
                for sink in self._fanout.sinks:
                    sink.on_next(value)

    @property
    def value(self) -> T:
        """The current value, also while subscribers are still busy with earlier ones."""
        return self._value

    def __str__(self) -> str:
        return self._name

    def __repr__(self) -> str:
        return f"<{self._name}: {self._value}>"

    def _replay(self) -> Iterable[T]:
        return (self._value,)


class Errors(FanoutObservable[EnchannelError]):
    """Errors that terminate nothing: rejected frames, subscribers that raised, lost output.

    A new subscriber first gets the last 100. Without a subscriber, an error is logged under ``enchannel``,
    unless a request, channel or comm that it ended passes it to a subscriber who handles it.
    Made by the library only.
    """

    _urgent = True

    def __init__(self, delivery: DeliveryThread) -> None:
        super().__init__()
        self._delivery = delivery
        self._reporter = log_error
        self._kept: deque[EnchannelError] = deque(maxlen=MAX_KEPT_ERRORS)
        # Passed to subscribers elsewhere; logged if one of them turns out not to handle it.
        self._passed_on: deque[EnchannelError] = deque(maxlen=MAX_KEPT_ERRORS)
        self._is_closing = False
        self._fanout: Fanout[EnchannelError] = Fanout(delivery, fails_after_fork=False)

    def _report(self, error: Exception, *, is_passed_on: bool = False) -> None:
        if not isinstance(error, EnchannelError):
            wrapped = EnchannelError(describe(error))
            wrapped.__cause__ = error
            error = wrapped
        with self._fanout.lock:
            if _contains(self._kept, error):
                if is_passed_on or not _contains(self._passed_on, error):
                    return
                self._passed_on = deque(
                    (kept for kept in self._passed_on if kept is not error), MAX_KEPT_ERRORS
                )
            else:
                self._kept.append(error)
                self._fanout.dispatch(error)
                if self._fanout.sinks:
                    return
                if is_passed_on:
                    self._passed_on.append(error)
                    return
        # A program that ends its event loop first does not need the last messages of its kernel.
        if not (self._is_closing and isinstance(error, MessagesMayBeMissing)):
            log_error(error)

    def _on_closing(self) -> None:
        self._is_closing = True

    def __str__(self) -> str:
        return "kernel.errors"

    def _replay(self) -> Iterable[EnchannelError]:
        return self._kept


def _contains(errors: Iterable[EnchannelError], error: EnchannelError) -> bool:
    return any(kept is error for kept in errors)


class Sent(FanoutObservable[AnyMessage]):
    """The messages that are sent on all channels, each just before it is passed to the backend.

    Made by the library only.
    """

    def __init__(self, delivery: DeliveryThread, reporter: Reporter) -> None:
        super().__init__()
        self._delivery = delivery
        self._reporter = reporter
        self._fanout: Fanout[AnyMessage] = Fanout(delivery)

    def __str__(self) -> str:
        return "kernel.sent"


def fanout_of(sent: Sent) -> Fanout[AnyMessage]:
    """Return the fanout that channels dispatch to, on the thread that sends."""
    return sent._fanout


class KernelSubjects:
    """The observables of one kernel beside its channels, and the thread that calls the subscribers of all.

    Attributes:
        delivery: The thread.
        errors: ``Kernel.errors``.
        link_state: ``Kernel.link_state``.
        state: ``Kernel.state``.
        sent: ``Kernel.sent``.
        taps: Sinks of incoming messages and link events, which they get before anything else. Unlike a
            subscriber, a tap is not expected to answer ``input()``, and gets no terminal event.
    """

    def __init__(self, thread_name: str) -> None:
        self.delivery = DeliveryThread(thread_name)
        self.errors = Errors(self.delivery)
        self.link_state: State[LinkState] = State(
            "kernel.link_state", LinkState.CONNECTING, self.delivery, self.report
        )
        self.state: State[KernelState] = State(
            "kernel.state", KernelState.STARTING, self.delivery, self.report
        )
        self.sent = Sent(self.delivery, self.report)
        self.taps: Fanout[AnyMessage | LinkEvent] = Fanout(self.delivery)

    def report(self, error: Exception, *, is_passed_on: bool = False) -> None:
        """Emit an error on ``errors``, or log it if there is no subscriber.

        An error that is reported again is ignored, since one error may end many subscriptions. An
        exception of another library is wrapped in an EnchannelError.

        Args:
            error: The error.
            is_passed_on: The error is also passed to a subscriber elsewhere. It is not logged, unless that
                subscriber does not handle it, so that it is reported again.
        """
        self.errors._report(error, is_passed_on=is_passed_on)

    def on_closing(self) -> None:
        """Log no more that messages are missing; ``errors`` still emits it."""
        self.errors._on_closing()

    def set_link_state(self, value: LinkState) -> None:
        """Change ``link_state`` and emit it; a no-op if it is the current value."""
        self.link_state._set(value)

    def set_state(self, value: KernelState) -> None:
        """Change ``state`` and emit it; a no-op if it is the current value."""
        self.state._set(value)

    def terminate(self, error: Exception | None) -> None:
        """Emit the terminal events, then end the thread."""
        terminate(self.sent, error)
        self.set_link_state(LinkState.CLOSED)
        terminate(self.link_state)
        terminate(self.state)
        terminate(self.errors)
        self.delivery.end()
