"""Comms: conversations with something in the kernel, each a Subject of its own."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from reactivex import abc
from reactivex.disposable import Disposable
from reactivex.subject import Subject

from enchannel._protocol.message import AnyMessage, Buffer, Message
from enchannel._rx.sink import Sink
from enchannel._rx.sink_observable import Fanout, SinkObservable
from enchannel.errors import ChannelClosed, EnchannelError, InvalidMessage
from enchannel.messages import comm_close, comm_msg, comm_open

if TYPE_CHECKING:
    from enchannel._kernel.kernel import Kernel

__all__ = ["Comm", "Comms"]


class Comm(SinkObservable[AnyMessage], Subject[AnyMessage]):
    """A conversation with a target in the kernel.

    Subscribers see its ``comm_msg`` messages; it completes when either side closes it, and the kernel's
    ``comm_close`` is its last item.

    Attributes:
        id: The comm's id.
        target_name: The target's name.
    """

    def __init__(self, kernel: Kernel, comm_id: str, target_name: str) -> None:
        super().__init__()
        self.id = comm_id
        self.target_name = target_name
        self._kernel = kernel
        self._delivery = kernel._delivery
        self._reporter = kernel.errors.report
        self._changing = threading.Lock()
        self._sinks: Fanout[AnyMessage] = Fanout()
        self._early: list[AnyMessage] | None = []  # until the first subscriber is there
        self._end: Exception | bool = False

    def on_next(self, value: AnyMessage | Mapping[str, Any]) -> None:
        """Send data: a dict, or a ``comm_msg`` of one's own.

        Raises:
            ChannelClosed: the comm is closed.
            InvalidMessage: the data is not JSON.
        """
        if isinstance(value, Message):
            if value.content.get("comm_id") != self.id:
                raise InvalidMessage(f"the message is not for comm {self.id}")
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
        """Send data with binary buffers beside it."""
        self._send(comm_msg(self.id, data, metadata=metadata, buffers=buffers))

    def close(self, data: Mapping[str, Any] | None = None) -> None:
        """Close it, and tell the kernel; nothing happens if it is closed."""
        if not self._end:
            self._send(comm_close(self.id, data or {}))
            self._kernel._comms.forget(self)
            self.end(None)

    def on_error(self, error: Exception) -> None:
        """The end of a source that was piped in: it is reported, and ends nothing here."""
        self._reporter(error)

    def on_completed(self) -> None:
        """The end of a source that was piped in: it ends nothing here."""

    def dispose(self) -> None:
        """End all subscriptions."""
        with self._changing:
            self._sinks = Fanout()

    def attach(self, sink: Sink[AnyMessage]) -> abc.DisposableBase:
        with self._changing:
            early, self._early = self._early, None
            for message in early or ():
                sink.on_next(message)
            if not self._end:
                self._sinks.add(sink)
                return Disposable(lambda: self._detach(sink))
        _tell_end(sink, self._end)
        return Disposable()

    def arrive(self, message: AnyMessage) -> None:
        """A message of the kernel's."""
        with self._changing:
            if self._early is not None:
                self._early.append(message)
            sinks = self._sinks.all
        for sink in sinks:
            sink.on_next(message)

    def end(self, error: Exception | None) -> None:
        """Nothing more will come."""
        with self._changing:
            if self._end:
                return
            self._end = error or True
            sinks, self._sinks = self._sinks, Fanout()
        for sink in sinks.all:
            _tell_end(sink, self._end)

    def __str__(self) -> str:
        return f"comm {self.target_name} {self.id[:8]}"

    def __repr__(self) -> str:
        return f"<Comm {self.target_name} {self.id}>"

    def _detach(self, sink: Sink[AnyMessage]) -> None:
        with self._changing:
            self._sinks.remove(sink)

    def _send(self, message: AnyMessage) -> None:
        if self._end:
            raise ChannelClosed(f"{self} is closed; open another")
        self._kernel.shell.on_next(message)


class Comms:
    """The comms of a kernel, by id."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._open: dict[str, Comm] = {}

    def open(self, target: str | AnyMessage, data: Mapping[str, Any], comm_id: str | None) -> Comm:
        """A new one, or one that the kernel opened with this message."""
        if isinstance(target, Message):
            content = target.content
            if target.header.msg_type != "comm_open" or not isinstance(content.get("comm_id"), str):
                raise InvalidMessage(f"a {target.header.msg_type} opens no comm; a comm_open does")
            comm = Comm(self._kernel, content["comm_id"], str(content.get("target_name", "")))
            return self._open.setdefault(comm.id, comm)
        comm = Comm(self._kernel, comm_id or uuid.uuid4().hex, target)
        self._open[comm.id] = comm
        try:
            self._kernel.shell.on_next(comm_open(comm.id, target, data))
        except EnchannelError:
            self.forget(comm)
            raise
        return comm

    def arrived(self, message: AnyMessage) -> None:
        """A message of any comm."""
        comm_id = message.content.get("comm_id")
        comm = self._open.get(comm_id) if isinstance(comm_id, str) else None
        if comm is None or message.header.msg_type == "comm_open":
            return
        comm.arrive(message)
        if message.header.msg_type == "comm_close":
            self.forget(comm)
            comm.end(None)

    def forget(self, comm: Comm) -> None:
        """It is closed."""
        self._open.pop(comm.id, None)

    def lost(self, error: Exception) -> None:
        """The kernel that they were open in is gone."""
        comms, self._open = self._open, {}
        for comm in comms.values():
            comm.end(error)

    def end(self) -> None:
        """The connection is closed."""
        comms, self._open = self._open, {}
        for comm in comms.values():
            comm.end(None)


def _tell_end(sink: Sink[AnyMessage], end: Exception | bool) -> None:
    if isinstance(end, Exception):
        sink.on_error(end)
    else:
        sink.on_completed()
