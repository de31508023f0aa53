"""A channel: the observable and the observer of a backend's pair, joined into one Subject."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from reactivex import Observable, abc, never
from reactivex.observer import Observer

from enchannel._kernel.subjects import Sent, fanout_of
from enchannel._protocol.channel_name import ChannelName
from enchannel._protocol.message import AnyMessage, Header, Message
from enchannel._protocol.session import Session
from enchannel._protocol.validation import validate_message
from enchannel._rx.delivery_thread import DeliveryThread
from enchannel._rx.fanout import Fanout, FanoutSubject, KeyedFanout
from enchannel._rx.sink import Reporter, Sink
from enchannel._rx.sink_observable import SinkObservable
from enchannel.abc import ChannelPair
from enchannel.errors import (
    ChannelClosed,
    ChannelReadOnly,
    ConnectionLost,
    InvalidMessage,
    KernelDied,
    NotSupported,
)

__all__ = [
    "BaseChannel",
    "ChannelContext",
    "MessageChannel",
    "RoutingChannel",
    "child_of",
    "emitter_of",
]

T = TypeVar("T")
K = TypeVar("K")


class BaseChannel(FanoutSubject[T], Generic[T]):
    """A Subject made of a backend's channel pair, which keeps the rules that a plain Subject does not.

    Deliveries never overlap and keep their order, also when a subscriber sends. If a subscriber raises,
    only its own subscription ends, and the exception is reported. Late subscribers get the terminal
    event. A source that is piped into the channel does not terminate it.
    """

    name: ChannelName | str

    def __init__(
        self,
        name: ChannelName | str,
        pair: ChannelPair[T],
        fanout: Fanout[T],
        delivery: DeliveryThread,
        reporter: Reporter,
    ) -> None:
        super().__init__()
        self.name = name
        self._fanout = fanout
        self._outgoing = pair.outgoing
        self._unsent = pair.unsent
        self._delivery = delivery
        self._reporter = reporter
        self._upstream = pair.incoming.subscribe(self._dispatch, self._terminate, self._terminate)

    def on_next(self, value: T) -> None:
        """Send a message to the kernel; thread-safe, and never waits for the transport.

        Raises:
            ChannelReadOnly: on iopub.
            ChannelClosed: the channel is closed, or is a copy in a forked process.
            NotSupported: messages cannot be sent, as on a replay.
            ConnectionLost, KernelDied: the connection is down, or has ended with this error.
            InvalidMessage: the message cannot be sent; the text names the field.
        """
        if (terminal := self._fanout.terminal) is not None:
            if not (isinstance(terminal, ChannelClosed) or self._can_send()):
                self._send(value)  # raises the backend's reason
            # The request fails as it would have failed if it had been sent before.
            if isinstance(terminal, (ConnectionLost, KernelDied)):
                raise copy(terminal)
            reason = terminal if isinstance(terminal, ChannelClosed) else f"{self} is closed"
            raise ChannelClosed(f"{reason}; nothing can be sent on it any more")
        self._send(value)

    @property
    def unsent(self) -> int:
        """The number of messages that are queued because the transport does not accept them yet.

        Messages that the transport has accepted (with ZeroMQ up to 1,000, and those in the buffers of
        the operating system) are not counted.
        """
        return self._unsent()

    @property
    def observer_count(self) -> int:
        """The number of subscriptions."""
        return len(self._fanout.sinks)

    def __str__(self) -> str:
        return f"the {self.name} channel"

    def __repr__(self) -> str:
        closed = " (closed)" if self._fanout.terminal is not None else ""
        return f"<{type(self).__name__} {self.name}{closed}>"

    def _send(self, value: T) -> None:
        self._outgoing.on_next(self._prepare(value))

    def _can_send(self) -> bool:
        """Return False if messages can never be sent, whether the channel is closed or not."""
        return True

    def _prepare(self, value: T) -> T:
        return value

    def _dispatch(self, item: T) -> None:
        for sink in self._fanout.sinks:
            sink.on_next(item)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelContext(Generic[K]):
    """The parts of a kernel that its message channels share.

    Attributes:
        kernel: The kernel, for ``Channel.kernel``.
        session: Fills in the headers of sent messages.
        sent: Receives each message that is sent.
        can_send: Returns ``Capabilities.can_send``.
        on_message: Called with each incoming message before the subscribers get it.
        on_subscribed: Called after each subscription.
        delivery: The thread that calls the subscribers.
        report: Receives the exceptions of subscribers.
    """

    kernel: K
    session: Session
    sent: Sent
    can_send: Callable[[], bool]
    on_message: Callable[[AnyMessage], None]
    on_subscribed: Callable[[], None]
    delivery: DeliveryThread
    report: Reporter


class MessageChannel(BaseChannel[AnyMessage], Generic[K]):
    """A channel for messages. ``K`` is the class of its kernel, which this module does not know."""

    _fanout: KeyedFanout[AnyMessage]

    def __init__(
        self,
        name: ChannelName | str,
        pair: ChannelPair[AnyMessage],
        context: ChannelContext[K],
    ) -> None:
        self._context = context
        self._sent = fanout_of(context.sent)
        self._on_message = context.on_message
        super().__init__(
            name, pair, KeyedFanout(context.delivery), context.delivery, context.report
        )

    @property
    def kernel(self) -> K:
        """The kernel that the channel belongs to; ``channel.kernel.close()`` ends the connection."""
        return self._context.kernel

    def _attach(self, sink: Sink[AnyMessage]) -> abc.DisposableBase:
        subscription = super()._attach(sink)
        self._context.on_subscribed()
        return subscription

    def _attach_child(self, parent_id: str, sink: Sink[AnyMessage]) -> abc.DisposableBase:
        subscription = self._fanout.attach_to_key(parent_id, sink)
        self._context.on_subscribed()
        return subscription

    @property
    def observer_count(self) -> int:
        return self._fanout.count

    def _send(self, value: AnyMessage) -> None:
        message = self._prepare(value)
        if sinks := self._sent.sinks:
            for sink in sinks:
                sink.on_next(message)
        self._outgoing.on_next(message)

    def _can_send(self) -> bool:
        return self._context.can_send()

    def _prepare(self, value: AnyMessage) -> AnyMessage:
        if not isinstance(value, Message):
            raise InvalidMessage(
                f"an item sent on {self} must be a Message, not {type(value).__name__}"
            )
        if self.name == ChannelName.IOPUB:
            raise ChannelReadOnly(
                "the iopub channel is receive-only; send requests on shell or control"
            )
        if value.channel is not self.name and isinstance(self.name, ChannelName):
            value = value.replace(channel=self.name)
        validate_message(value)
        return self._context.session.fill_headers(value)

    def _dispatch(self, item: AnyMessage) -> None:
        self._on_message(item)
        fanout = self._fanout
        for sink in fanout.sinks:
            sink.on_next(item)
        if (sinks := fanout.by_key.get(item.parent_header.msg_id)) is not None:
            for sink in sinks:
                sink.on_next(item)


class RoutingChannel(MessageChannel[K]):
    """All message channels in one; each message names its ``channel``."""

    def __init__(
        self, channels: Mapping[ChannelName, MessageChannel[K]], context: ChannelContext[K]
    ) -> None:
        self._channels = channels
        # It has no pair of its own: the dispatcher passes it the messages of the others.
        pair = ChannelPair[AnyMessage](never(), Observer())
        super().__init__("main", pair, replace(context, on_message=_ignore))

    def _emit(self, message: AnyMessage) -> None:
        if self._fanout.sinks or self._fanout.by_key:
            self._dispatch(message)

    def _send(self, value: AnyMessage) -> None:
        name = value.channel if isinstance(value, Message) else ChannelName.SHELL
        if name not in self._channels:
            raise NotSupported(f"this kernel or its backend does not support the {name} channel")
        self._channels[name].on_next(value)

    @property
    def unsent(self) -> int:
        """The number of unsent messages of all channels."""
        return sum(channel.unsent for channel in self._channels.values())


def emitter_of(main: RoutingChannel[Any]) -> Callable[[AnyMessage], None]:
    """Return the function that emits a message of any channel on the main channel."""
    return main._emit


class _Children(SinkObservable[AnyMessage]):
    """The messages with one parent on one channel, by lookup in an index of subscribers."""

    def __init__(self, channel: MessageChannel[Any], parent_id: str) -> None:
        super().__init__()
        self._channel = channel
        self._parent_id = parent_id
        self._delivery = channel._delivery
        self._reporter = channel._reporter

    def _attach(self, sink: Sink[AnyMessage]) -> abc.DisposableBase:
        return self._channel._attach_child(self._parent_id, sink)

    def __str__(self) -> str:
        return str(self._channel)


def child_of(
    parent: AnyMessage | Header | str,
) -> Callable[[Observable[AnyMessage]], Observable[AnyMessage]]:
    """Keep the messages that belong to one request.

    Applied to a channel, it is a lookup in an index, whose cost does not grow with the number of observed
    requests. Applied after another operator, it is a plain filter, so put it first.

    Args:
        parent: The request, its header, or its ``msg_id``.
    """
    header = parent.header if isinstance(parent, Message) else parent
    parent_id = header.msg_id if isinstance(header, Header) else header

    def children(source: Observable[AnyMessage]) -> Observable[AnyMessage]:
        if isinstance(source, MessageChannel):
            return _Children(source, parent_id)
        return _filtered(source, parent_id)

    return children


def _filtered(source: Observable[AnyMessage], parent_id: str) -> Observable[AnyMessage]:
    def subscribe(
        observer: abc.ObserverBase[AnyMessage], scheduler: abc.SchedulerBase | None = None
    ) -> abc.DisposableBase:
        def on_next(message: AnyMessage) -> None:
            if message.parent_header.msg_id == parent_id:
                observer.on_next(message)

        return source.subscribe(
            on_next, observer.on_error, observer.on_completed, scheduler=scheduler
        )

    return Observable(subscribe)


def _ignore(message: AnyMessage) -> None: ...
