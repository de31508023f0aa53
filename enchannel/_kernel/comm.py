"""Comms: two-way connections to an object in the kernel, each as a Subject."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from reactivex import abc

from enchannel._protocol.message import AnyMessage, Buffer, Message
from enchannel._rx.delivery_thread import DeliveryThread
from enchannel._rx.fanout import Fanout, FanoutSubject, KeyedFanout, terminate
from enchannel._rx.sink import Reporter, Sink
from enchannel._rx.sink_observable import SinkObservable
from enchannel.errors import ChannelClosed, EnchannelError, InvalidMessage
from enchannel.messages import comm_close, comm_msg, comm_open

__all__ = ["Comm", "CommContext", "Comms"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CommContext:
    """The parts of a kernel that its comms share.

    Attributes:
        send: Sends a message on shell.
        can_send: Returns False if messages can never be sent; ``send`` raises the reason.
        delivery: The thread that calls the subscribers.
        report: Receives the exceptions of subscribers.
    """

    send: Callable[[AnyMessage], None]
    can_send: Callable[[], bool]
    delivery: DeliveryThread
    report: Reporter


class Comm(FanoutSubject[AnyMessage]):
    """A comm that is open between this client and the kernel.

    Subscribers receive its ``comm_msg`` messages; the first subscriber also gets those that arrived before
    it. If the kernel opened the comm, its ``comm_open`` is the first item. The comm completes when either
    side closes it; a ``comm_close`` of the kernel is its last item.
    ``send`` sends data, and ``close`` closes the comm. Made by ``Kernel.comm`` and ``Kernel.comms`` only.

    Attributes:
        id: The id of the comm.
        target_name: The name of the target.
    """

    def __init__(
        self,
        comm_id: str,
        target_name: str,
        context: CommContext,
        on_close: Callable[[Comm], None],
    ) -> None:
        super().__init__()
        self.id = comm_id
        self.target_name = target_name
        self._context = context
        self._on_close = on_close
        self._delivery = context.delivery
        self._reporter = context.report
        self._fanout: Fanout[AnyMessage] = Fanout(context.delivery)
        # Messages for the first subscriber; None once there was one.
        self._early: list[AnyMessage] | None = []

    def on_next(self, value: AnyMessage | Mapping[str, Any]) -> None:
        """Send data as a dict, or a complete ``comm_msg``.

        Raises:
            ChannelClosed: the comm is closed.
            InvalidMessage: the data cannot be encoded as JSON, or the message is for another comm.
        """
        if isinstance(value, Message):
            if value.content.get("comm_id") != self.id:
                raise InvalidMessage(f"the comm_id of the message must be {self.id!r}")
            self._send(value)
        else:
            self.send(value)

    def send(
        self,
        data: Mapping[str, Any],
        *,
        metadata: Mapping[str, Any] | None = None,
        buffers: Iterable[Buffer] = (),
    ) -> None:
        """Send data.

        Args:
            data: The data; must be encodable as JSON.
            metadata: The metadata of the message.
            buffers: Binary data.

        Raises:
            ChannelClosed: the comm is closed.
            InvalidMessage: the data cannot be encoded as JSON.
        """
        self._send(comm_msg(self.id, data, metadata=metadata, buffers=buffers))

    def close(
        self,
        data: Mapping[str, Any] | None = None,
        *,
        metadata: Mapping[str, Any] | None = None,
        buffers: Iterable[Buffer] = (),
    ) -> None:
        """Close the comm here and in the kernel; a no-op if it is closed.

        Args:
            data, metadata, buffers: As for ``send``.
        """
        if self._fanout.terminal is None:
            self._send(comm_close(self.id, data, metadata=metadata, buffers=buffers))
            self._on_close(self)
            self._terminate()

    def _dispatch(self, message: AnyMessage) -> None:
        # Kept while there is no subscriber yet.
        with self._fanout.lock:
            if self._early is not None:
                self._early.append(message)
            sinks = self._fanout.sinks
        for sink in sinks:
            sink.on_next(message)

    def __str__(self) -> str:
        return f"comm {self.target_name} {self.id[:8]}"

    def __repr__(self) -> str:
        return f"<Comm {self.target_name} {self.id}>"

    def _replay(self) -> Iterable[AnyMessage]:
        early, self._early = self._early, None
        return early or ()

    def _send(self, message: AnyMessage) -> None:
        terminal = self._fanout.terminal
        if isinstance(terminal, ChannelClosed):
            raise ChannelClosed(str(terminal))
        if terminal is not None and self._context.can_send():
            raise ChannelClosed(f"{self} is closed; open another")
        self._context.send(message)


class OpenedComms(SinkObservable[Comm]):
    """The comms that the kernel opens from now on, as a hot observable."""

    def __init__(
        self, fanout: KeyedFanout[Comm], target_name: str | None, context: CommContext
    ) -> None:
        super().__init__()
        self._fanout = fanout
        self._target_name = target_name
        self._delivery = context.delivery
        self._reporter = context.report

    def _attach(self, sink: Sink[Comm]) -> abc.DisposableBase:
        if self._target_name is None:
            return self._fanout.attach(sink)
        return self._fanout.attach_to_key(self._target_name, sink)

    def __str__(self) -> str:
        return "the comms that the kernel opens"


class Comms:
    """The open comms of a kernel, by id."""

    def __init__(self, context: CommContext) -> None:
        self._context = context
        self._opened: KeyedFanout[Comm] = KeyedFanout(context.delivery)
        self.by_id: dict[str, Comm] = {}

    @property
    def has_subscribers(self) -> bool:
        """True if any open comm has a subscriber."""
        return any(comm._fanout.sinks for comm in self.by_id.values())

    def opened(self, target_name: str | None) -> OpenedComms:
        """Return the comms that the kernel opens for a target, or for any target."""
        return OpenedComms(self._opened, target_name, self._context)

    def open(
        self,
        target_name: str,
        data: Mapping[str, Any] | None,
        *,
        metadata: Mapping[str, Any] | None,
        buffers: Iterable[Buffer],
        comm_id: str | None,
    ) -> Comm:
        """Open a comm to a target in the kernel."""
        comm = self._make(comm_id or uuid.uuid4().hex, target_name)
        self.by_id[comm.id] = comm
        try:
            self._context.send(
                comm_open(comm.id, target_name, data, metadata=metadata, buffers=buffers)
            )
        except EnchannelError:
            self._forget(comm)
            raise
        return comm

    def on_message(self, message: AnyMessage) -> None:
        """Route a comm message of the kernel to its comm."""
        comm_id = message.content.get("comm_id")
        if not isinstance(comm_id, str):
            return
        comm = self.by_id.get(comm_id)
        if message.header.msg_type == "comm_open":
            if comm is None:
                self._on_open(comm_id, message)
            return
        if comm is None:
            return
        comm._dispatch(message)
        if message.header.msg_type == "comm_close":
            self._forget(comm)
            terminate(comm)

    def terminate(self, error: Exception | None = None) -> None:
        """Complete all comms when the connection closes, or fail them when the kernel is lost."""
        comms, self.by_id = self.by_id, {}
        for comm in comms.values():
            terminate(comm, error)
        # A kernel that was restarted opens comms again.
        if error is None:
            self._opened.terminate()

    def _on_open(self, comm_id: str, message: AnyMessage) -> None:
        target_name = message.content.get("target_name")
        if not isinstance(target_name, str):
            return
        sinks = (*self._opened.sinks, *self._opened.by_key.get(target_name, ()))
        # Without a subscriber, the messages that the comm keeps would never be read.
        if not sinks:
            return
        comm = self.by_id[comm_id] = self._make(comm_id, target_name)
        comm._dispatch(message)
        for sink in sinks:
            sink.on_next(comm)

    def _make(self, comm_id: str, target_name: str) -> Comm:
        return Comm(comm_id, target_name, self._context, self._forget)

    def _forget(self, comm: Comm) -> None:
        self.by_id.pop(comm.id, None)
