"""Comms: two-way connections to an object in the kernel, each as a Subject."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from enchannel._protocol.message import AnyMessage, Buffer, Message
from enchannel._rx.delivery_thread import DeliveryThread
from enchannel._rx.fanout import Fanout, FanoutSubject, terminate
from enchannel._rx.sink import Reporter
from enchannel.errors import ChannelClosed, EnchannelError, InvalidMessage
from enchannel.messages import comm_close, comm_msg, comm_open

__all__ = ["Comm", "CommContext", "Comms"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CommContext:
    """The parts of a kernel that its comms share.

    Attributes:
        send: Sends a message on shell.
        delivery: The thread that calls the subscribers.
        report: Receives the exceptions of subscribers.
    """

    send: Callable[[AnyMessage], None]
    delivery: DeliveryThread
    report: Reporter


class Comm(FanoutSubject[AnyMessage]):
    """A comm that is open to a target in the kernel.

    Subscribers receive its ``comm_msg`` messages; the first subscriber also gets those that arrived before
    it. The comm completes when either side closes it; a ``comm_close`` of the kernel is its last item.
    Made by ``Kernel.comm`` only.

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
        """Send data together with binary buffers.

        Raises:
            ChannelClosed: the comm is closed.
            InvalidMessage: the data cannot be encoded as JSON.
        """
        self._send(comm_msg(self.id, data, metadata=metadata, buffers=buffers))

    def close(self, data: Mapping[str, Any] | None = None) -> None:
        """Close the comm here and in the kernel; a no-op if it is closed."""
        if self._fanout.terminal is None:
            self._send(comm_close(self.id, data or {}))
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
        if terminal is not None:
            raise ChannelClosed(f"{self} is closed; open another")
        self._context.send(message)


class Comms:
    """The open comms of a kernel, by id."""

    def __init__(self, context: CommContext) -> None:
        self._context = context
        self.by_id: dict[str, Comm] = {}

    def open(self, target: str | AnyMessage, data: Mapping[str, Any], comm_id: str | None) -> Comm:
        """Open a comm, or return the one that the kernel opened with a ``comm_open`` message."""
        if isinstance(target, Message):
            content = target.content
            if target.header.msg_type != "comm_open" or not isinstance(content.get("comm_id"), str):
                raise InvalidMessage(
                    "target must be a target name or a comm_open message with a comm_id, not a "
                    f"{target.header.msg_type}"
                )
            comm = self._make(content["comm_id"], str(content.get("target_name", "")))
            return self.by_id.setdefault(comm.id, comm)
        comm = self._make(comm_id or uuid.uuid4().hex, target)
        self.by_id[comm.id] = comm
        try:
            self._context.send(comm_open(comm.id, target, data))
        except EnchannelError:
            self._forget(comm)
            raise
        return comm

    def on_message(self, message: AnyMessage) -> None:
        """Route a comm message of the kernel to its comm."""
        comm_id = message.content.get("comm_id")
        comm = self.by_id.get(comm_id) if isinstance(comm_id, str) else None
        if comm is None or message.header.msg_type == "comm_open":
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

    def _make(self, comm_id: str, target_name: str) -> Comm:
        return Comm(comm_id, target_name, self._context, self._forget)

    def _forget(self, comm: Comm) -> None:
        self.by_id.pop(comm.id, None)
