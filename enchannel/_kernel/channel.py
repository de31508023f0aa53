"""A channel: an observable and an observer, stapled into one Subject."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

from reactivex import Observable, abc, never
from reactivex.disposable import Disposable
from reactivex.observer import Observer
from reactivex.subject import Subject

from enchannel._kernel.sent import Sent
from enchannel._protocol.channel_name import ChannelName
from enchannel._protocol.message import AnyMessage, Header, Message
from enchannel._protocol.session import Session
from enchannel._protocol.validation import check
from enchannel._rx.delivery_thread import DeliveryThread
from enchannel._rx.sink import Reporter, Sink
from enchannel._rx.sink_observable import Fanout, SinkObservable
from enchannel.abc import ChannelPair
from enchannel.errors import ChannelClosed, ChannelReadOnly, InvalidMessage, NotSupported

__all__ = ["BaseChannel", "Channel", "MainChannel", "child_of"]

T = TypeVar("T")
DONE = object()  # how a channel ended that did not fail


class BaseChannel(SinkObservable[T], Subject[T], Generic[T]):
    """What all channels are: the pair of a backend, and the rules that a bare Subject does not keep.

    Deliveries never overlap, and keep their order also when a subscriber sends; a subscriber that
    raises ends its own subscription and is reported; who comes after the end is told of it; what
    a source that was piped into the channel ends with does not end the channel.
    """

    name: ChannelName | str

    def __init__(
        self,
        name: ChannelName | str,
        pair: ChannelPair[T],
        delivery: DeliveryThread,
        reporter: Reporter,
    ) -> None:
        super().__init__()
        self.name = name
        self._outgoing = pair.outgoing
        self._unsent = pair.unsent
        self._delivery = delivery
        self._reporter = reporter
        self._changing = threading.Lock()
        self._sinks: Fanout[T] = Fanout()
        self._end: object = None  # DONE, or the error it ended with
        self._upstream = pair.incoming.subscribe(self._arrive, self.end, self.end)

    def attach(self, sink: Sink[T]) -> abc.DisposableBase:
        with self._changing:
            if self._end is None:
                self._sinks.add(sink)
                return Disposable(lambda: self._detach(sink))
        _tell_end(sink, self._end)
        return Disposable()

    def on_next(self, value: T) -> None:
        """Say something to the kernel; from any thread, and without waiting for it to be sent.

        Raises:
            ChannelReadOnly: on iopub.
            ChannelClosed: the channel was closed, or is a copy in a forked process.
            ConnectionLost, KernelDied: there is nobody to hear it at the moment.
            InvalidMessage: it may not be sent; the text names the field.
        """
        if self._end is not None:
            text = self._end if isinstance(self._end, ChannelClosed) else f"{self} is closed"
            raise ChannelClosed(f"{text}; nothing more can be said on it")
        self._send(value)

    def on_error(self, error: Exception) -> None:
        """The end of a source that was piped in: it is reported, and ends nothing here."""
        self._reporter(error)

    def on_completed(self) -> None:
        """The end of a source that was piped in: it ends nothing here."""

    def dispose(self) -> None:
        """End all subscriptions; the channel itself is the kernel's to close."""
        with self._changing:
            self._forget_sinks()

    def end(self, error: Exception | None = None) -> None:
        """The terminal event, once: for all who listen, and for who comes late."""
        with self._changing:
            if self._end is not None:
                return
            self._end = DONE if error is None else error
            sinks = self._all_sinks()
            self._forget_sinks()
        for sink in sinks:
            _tell_end(sink, self._end)

    def disown(self, error: Exception) -> None:
        """End a copy in a forked process, where a lock may never be let go of."""
        self._changing = threading.Lock()
        self._end = error
        self._forget_sinks()

    @property
    def unsent(self) -> int:
        """How many messages wait to be sent, because the kernel does not read: it is stopped, or busy.

        What the transport has taken already (with ZeroMQ up to 1,000 messages, and what is in the buffers
        of the operating system) is not counted.
        """
        return self._unsent()

    @property
    def observer_count(self) -> int:
        """How many subscriptions there are."""
        return len(self._all_sinks())

    def __str__(self) -> str:
        return f"the {self.name} channel"

    def __repr__(self) -> str:
        closed = " (closed)" if self._end is not None else ""
        return f"<{type(self).__name__} {self.name}{closed}>"

    def _send(self, value: T) -> None:
        self._outgoing.on_next(self._prepare(value))

    def _prepare(self, value: T) -> T:
        return value

    def _arrive(self, item: T) -> None:
        for sink in self._sinks.all:
            sink.on_next(item)

    def _all_sinks(self) -> tuple[Sink[T], ...]:
        return self._sinks.all

    def _forget_sinks(self) -> None:
        self._sinks = Fanout()

    def _detach(self, sink: Sink[T]) -> None:
        with self._changing:
            self._sinks.remove(sink)


class Channel(BaseChannel[AnyMessage]):
    """One of a kernel's channels. Subscribe, and you see what the kernel says; call ``on_next``, and you
    speak to it.

    Subscribers are called on the kernel's delivery thread, one after the other, or on the event loop whose
    scheduler they subscribed with.
    """

    def __init__(
        self,
        name: ChannelName | str,
        pair: ChannelPair[AnyMessage],
        delivery: DeliveryThread,
        reporter: Reporter,
        session: Session,
        sent: Sent,
        arrived: Callable[[AnyMessage], None],
        listened: Callable[[], None],
        close: Callable[[], None],
    ) -> None:
        self._children: dict[str, Fanout[AnyMessage]] = {}
        self._session = session
        self._sent = sent
        self._arrived = arrived  # the kernel's own bookkeeping
        self._listened = listened
        self._close = close
        super().__init__(name, pair, delivery, reporter)

    def close(self) -> None:
        """Close the kernel that the channel belongs to, with all its channels; see ``Kernel.close``."""
        self._close()

    def attach(self, sink: Sink[AnyMessage]) -> abc.DisposableBase:
        subscription = super().attach(sink)
        self._listened()
        return subscription

    def children(self, parent_id: str) -> Observable[AnyMessage]:
        """The messages whose parent has this id: a look-up in an index, however many ask."""
        return _Children(self, parent_id)

    def attach_child(self, parent_id: str, sink: Sink[AnyMessage]) -> abc.DisposableBase:
        """Give a sink the messages of one parent."""
        with self._changing:
            ended = self._end is not None
            if not ended:
                self._children.setdefault(parent_id, Fanout()).add(sink)
        if ended:
            _tell_end(sink, self._end)
            return Disposable()
        self._listened()
        return Disposable(lambda: self._detach_child(parent_id, sink))

    def _send(self, value: AnyMessage) -> None:
        message = self._prepare(value)
        if sinks := self._sent.sinks.all:
            for sink in sinks:
                sink.on_next(message)
        self._outgoing.on_next(message)

    def _prepare(self, value: AnyMessage) -> AnyMessage:
        if not isinstance(value, Message):
            raise InvalidMessage(
                f"a {type(value).__name__} was sent on {self}, which takes messages"
            )
        if self.name == ChannelName.IOPUB:
            raise ChannelReadOnly("on the iopub channel the kernel speaks, and nobody else")
        if value.channel is not self.name and isinstance(self.name, ChannelName):
            value = value.replace(channel=self.name)
        check(value)
        return self._session.fill_headers(value)

    def _arrive(self, item: AnyMessage) -> None:
        self._arrived(item)
        for sink in self._sinks.all:
            sink.on_next(item)
        if (children := self._children.get(item.parent_header.msg_id)) is not None:
            for sink in children.all:
                sink.on_next(item)

    def _all_sinks(self) -> tuple[Sink[AnyMessage], ...]:
        indexed = [sink for sinks in list(self._children.values()) for sink in sinks.all]
        return (*self._sinks.all, *indexed)

    def _forget_sinks(self) -> None:
        super()._forget_sinks()
        self._children = {}

    def _detach_child(self, parent_id: str, sink: Sink[AnyMessage]) -> None:
        with self._changing:
            sinks = self._children.get(parent_id)
            if sinks is not None:
                sinks.remove(sink)
                if not sinks.all:
                    del self._children[parent_id]


class MainChannel(Channel):
    """All channels of messages in one: each message says its ``channel``, and goes where it says."""

    def __init__(
        self,
        channels: Mapping[ChannelName, Channel],
        delivery: DeliveryThread,
        reporter: Reporter,
        session: Session,
        sent: Sent,
        listened: Callable[[], None],
        close: Callable[[], None],
    ) -> None:
        self._channels = channels
        # it has no pair of its own: the kernel hands it what arrives on the others
        pair = ChannelPair[AnyMessage](never(), Observer())
        super().__init__("main", pair, delivery, reporter, session, sent, _ignore, listened, close)

    def pass_on(self, message: AnyMessage) -> None:
        """A message of any channel."""
        if self._sinks.all or self._children:
            self._arrive(message)

    def _send(self, value: AnyMessage) -> None:
        name = value.channel if isinstance(value, Message) else ChannelName.SHELL
        if name not in self._channels:
            raise NotSupported(f"this backend has no {name} channel")
        self._channels[name].on_next(value)

    @property
    def unsent(self) -> int:
        """Of all channels together."""
        return sum(channel.unsent for channel in self._channels.values())


class _Children(SinkObservable[AnyMessage]):
    """The messages of one parent on one channel."""

    def __init__(self, channel: Channel, parent_id: str) -> None:
        super().__init__()
        self._channel = channel
        self._parent_id = parent_id
        self._delivery = channel._delivery
        self._reporter = channel._reporter

    def attach(self, sink: Sink[AnyMessage]) -> abc.DisposableBase:
        return self._channel.attach_child(self._parent_id, sink)

    def __str__(self) -> str:
        return str(self._channel)


def child_of(
    parent: AnyMessage | Header | str,
) -> Callable[[Observable[AnyMessage]], Observable[AnyMessage]]:
    """The messages that belong to one request.

    On a channel it is a look-up in an index, whose cost does not grow with the number of
    requests that are watched; behind another operator it is a plain filter: put it first.

    Args:
        parent: The request, its header, or its ``msg_id``.
    """
    header = parent.header if isinstance(parent, Message) else parent
    parent_id = header.msg_id if isinstance(header, Header) else header

    def children(source: Observable[AnyMessage]) -> Observable[AnyMessage]:
        if isinstance(source, Channel):
            return source.children(parent_id)
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


def _tell_end(sink: Sink[T], end: object) -> None:
    if isinstance(end, Exception):
        sink.on_error(end)
    else:
        sink.on_completed()
