"""What we say to a kernel, as it goes."""

from __future__ import annotations

import threading

from reactivex import abc
from reactivex.disposable import Disposable

from enchannel._protocol.message import AnyMessage
from enchannel._rx.delivery_thread import DeliveryThread
from enchannel._rx.sink import Reporter, Sink
from enchannel._rx.sink_observable import Fanout, SinkObservable

__all__ = ["Sent"]


class Sent(SinkObservable[AnyMessage]):
    """The messages of ours, of all channels, each just before the backend is given it.

    Attributes:
        sinks: Who is told, on the thread that sends.
    """

    def __init__(self, delivery: DeliveryThread, reporter: Reporter) -> None:
        super().__init__()
        self.sinks: Fanout[AnyMessage] = Fanout()
        self._delivery = delivery
        self._reporter = reporter
        self._changing = threading.Lock()
        self._end: Exception | bool = False  # how it ended, or that it did

    def attach(self, sink: Sink[AnyMessage]) -> abc.DisposableBase:
        with self._changing:
            if not self._end:
                self.sinks.add(sink)
                return Disposable(lambda: self._detach(sink))
        _tell_end(sink, self._end)
        return Disposable()

    def end(self, error: Exception | None = None) -> None:
        """Nothing more is said."""
        with self._changing:
            if self._end:
                return
            self._end = error or True
            sinks, self.sinks = self.sinks, Fanout()
        for sink in sinks.all:
            _tell_end(sink, self._end)

    def disown(self, error: Exception) -> None:
        """End a copy in a forked process, where a lock may never be let go of."""
        self._changing = threading.Lock()
        self._end, self.sinks = error, Fanout()

    def __str__(self) -> str:
        return "kernel.sent"

    def _detach(self, sink: Sink[AnyMessage]) -> None:
        with self._changing:
            self.sinks.remove(sink)


def _tell_end(sink: Sink[AnyMessage], end: Exception | bool) -> None:
    if isinstance(end, Exception):
        sink.on_error(end)
    else:
        sink.on_completed()
