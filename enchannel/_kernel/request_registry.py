"""Requests as observables, and the registry of those in flight."""

from __future__ import annotations

import threading
import uuid
from collections import defaultdict
from collections.abc import Callable

from msgspec.structs import replace
from reactivex import abc
from reactivex.disposable import Disposable

from enchannel._kernel.in_flight import (
    DEFAULT_TIMEOUT,
    IdleWait,
    InFlightRequest,
    RequestHost,
    RequestOptions,
)
from enchannel._kernel.remaining_output import Queue
from enchannel._kernel.request_gate import RequestGate
from enchannel._protocol.channel_name import ChannelName
from enchannel._protocol.message import AnyMessage
from enchannel._rx.delivery_thread import DeliveryThread
from enchannel._rx.sink import CallbackSink, Reporter, Sink
from enchannel._rx.sink_observable import SinkObservable
from enchannel.errors import (
    ConnectionLost,
    EnchannelError,
    KernelDied,
    OutputMissing,
    RequestFailed,
)
from enchannel.messages import kernel_info_request

__all__ = ["ReplyRequest", "Request", "RequestRegistry", "reply_of", "start"]


class RequestRegistry:
    """The in-flight requests of one kernel, by id.

    Attributes:
        host: The kernel.
        gate: Decides when a request is sent.
        by_id: The requests by ``msg_id``. The dispatcher looks each incoming message up in it.
    """

    def __init__(self, host: RequestHost, max_in_flight: int | None) -> None:
        self.host = host
        self.gate = RequestGate(max_in_flight)
        self.by_id: dict[str, InFlightRequest] = {}
        self._lock = threading.Lock()
        self._suspensions = 0
        # Of requests that the library makes, which have no subscriber.
        self._probes: set[str] = set()
        self._reason = ""

    def suspend(self, reason: str) -> None:
        """Refuse requests until ``resume`` was called as often as this."""
        with self._lock:
            self._suspensions += 1
            self._reason = reason

    def resume(self) -> None:
        """Accept requests again."""
        with self._lock:
            self._suspensions -= 1

    def add(self, request: InFlightRequest) -> None:
        """Register a request that is about to be sent, or to wait for that.

        Raises:
            KernelDied: requests are suspended.
            ChannelClosed, NotConnected: the kernel has no link, or this is a forked child.
        """
        self.host.require_link()
        if self._suspensions:
            raise KernelDied(self._reason)
        self.by_id[request.id] = request

    def discard(self, request: InFlightRequest) -> None:
        """Forget a request that has ended."""
        self.by_id.pop(request.id, None)
        self._probes.discard(request.id)
        self.gate.discard(request)

    @property
    def has_subscribers(self) -> bool:
        """True if a request of a subscriber is in flight, not one of the library or an abandoned one."""
        return any(
            request.id not in self._probes and not request.is_abandoned
            for request in tuple(self.by_id.values())
        )

    def fail(self, msg_id: str, error: Exception) -> bool:
        """Fail the in-flight request with an id; return False if there is none."""
        request = self.by_id.get(msg_id)
        if request is not None:
            request.fail(error)
        return request is not None

    def fail_queue(self, queue: Queue, error: Exception) -> None:
        """Fail every request of a queue that no longer exists."""
        for request in list(self.by_id.values()):
            if request.queue == queue:
                request.fail(error)
                self.host.on_idle_missing(request.id)

    def fail_all(self, error: Exception) -> None:
        """Fail every request that is in flight or waits to be sent."""
        # The end of one request must not send another that ends as well.
        self.gate.close()
        for request in list(self.by_id.values()):
            request.fail(error)
        self.gate.reset()

    def recover(self) -> None:
        """After a reconnect, find out which requests will still be answered; fail the others.

        A kernel answers the requests of one channel, or subshell, in order. So each gets a small probe:
        a request that is still unanswered when its probe has ended was lost, or its answer was.
        """
        open_in: dict[Queue, list[InFlightRequest]] = defaultdict(list)
        for request in list(self.by_id.values()):
            # One that waits has not been sent, so it cannot be lost.
            if request.is_waiting:
                continue
            request.on_reconnect()
            open_in[request.queue].append(request)
        for queue, requests in open_in.items():
            self._recover_queue(queue, requests)
        if not open_in:
            self.host.on_recovered(tuple(self.by_id))

    def probe(
        self, queue: Queue, sink: Sink[AnyMessage], timeout: float | None
    ) -> abc.DisposableBase:
        """Send a small request, which a kernel answers after those before it in the same queue.

        Args:
            queue: The queue.
            sink: Receives its messages, and its end once both its reply and its idle status have arrived.
            timeout: Seconds for its whole answer, or None.
        """
        options = RequestOptions(timeout=timeout, is_urgent=True, idle_wait=IdleWait.ENDLESS)
        probe = self._start_probe(queue, sink, options)
        return Disposable(lambda: self.discard(probe))

    def probe_reply(self, queue: Queue, sink: Sink[AnyMessage]) -> None:
        """Send the same small request, and pass its reply to a sink without waiting for the idle status."""
        self._start_probe(queue, sink, RequestOptions(is_urgent=True, idle_wait=IdleWait.NONE))

    def _recover_queue(self, queue: Queue, requests: list[InFlightRequest]) -> None:
        # On shell, code that runs delays the reply for as long as it likes; control has no queue.
        timeout = DEFAULT_TIMEOUT if queue[0] is ChannelName.CONTROL else None

        def on_end(_: Exception | None = None) -> None:
            self._fail_lost(requests)

        options = RequestOptions(timeout=timeout, is_urgent=True)
        self._start_probe(queue, CallbackSink(on_error=on_end, on_completed=on_end), options)

    def _start_probe(
        self, queue: Queue, sink: Sink[AnyMessage], options: RequestOptions
    ) -> InFlightRequest:
        channel, subshell_id = queue
        message: AnyMessage = kernel_info_request(channel=channel)
        if subshell_id is not None:
            message = message.replace(header=replace(message.header, subshell_id=subshell_id))
        self._probes.add(message.header.msg_id)
        return start(Request(self, message, options), sink)

    def _fail_lost(self, requests: list[InFlightRequest]) -> None:
        for request in requests:
            request.fail(
                ConnectionLost(
                    f"the connection broke, or dropped messages, while {request} was in flight, and the "
                    "request or its answer was lost"
                )
            )
        self.host.on_recovered(tuple(self.by_id))


class Request(SinkObservable[AnyMessage]):
    """A request as a cold observable: each subscription sends it and receives the answer.

    Items come in order of arrival, the reply last. It completes when both the reply and the idle
    status have arrived, and fails when the kernel dies or the timeout expires.
    """

    def __init__(
        self, registry: RequestRegistry, message: AnyMessage, options: RequestOptions
    ) -> None:
        super().__init__()
        self._registry = registry
        self._message = message
        self._options = options
        self._delivery = registry.host.delivery
        self._reporter = registry.host.report
        self._first = threading.Lock()

    def _attach(self, sink: Sink[AnyMessage]) -> InFlightRequest:
        message = self._message
        # Each subscription is a request of its own and needs its own id.
        is_first = self._first.acquire(blocking=False)
        if not is_first or message.header.msg_id in self._registry.by_id:
            header = replace(message.header, msg_id=uuid.uuid4().hex, date="")
            message = message.replace(header=header)
        registry = self._registry
        request = InFlightRequest(registry.host, message, self._options, sink, registry.discard)
        try:
            registry.add(request)
        except EnchannelError as error:
            request.fail(error)
        else:
            request.start()
        return request

    def __str__(self) -> str:
        return f"the request {self._message.header.msg_type}"


def start(request: Request, sink: Sink[AnyMessage]) -> InFlightRequest:
    """Send a request and pass its messages to a sink, on the threads on which they arrive."""
    return request._attach(sink)


def reply_of(request: Request, reply_type: str) -> ReplyRequest:
    """Return the same request as an observable of its reply only.

    Args:
        request: The request.
        reply_type: The message type of the reply; a reply of another type fails the observable.
    """
    return ReplyRequest(request, reply_type, request._delivery, request._reporter)


class ReplyRequest(SinkObservable[AnyMessage]):
    """A request as a cold observable of its reply: exactly one item, or an error."""

    def __init__(
        self, request: Request, reply_type: str, delivery: DeliveryThread, reporter: Reporter
    ) -> None:
        super().__init__()
        self._request = request
        self._reply_type = reply_type
        self._delivery = delivery
        self._reporter = reporter

    def _attach(self, sink: Sink[AnyMessage]) -> abc.DisposableBase:
        return self._request._attach(_ReplySink(sink, self._reply_type))

    def __str__(self) -> str:
        return str(self._request)


class _ReplySink:
    """Passes on the last item of a request, which is its reply."""

    def __init__(self, sink: Sink[AnyMessage], reply_type: str) -> None:
        self._sink = sink
        self._reply_type = reply_type
        self._last: AnyMessage | None = None
        self.call: Callable[[Callable[[], None]], None] = sink.call

    def on_next(self, message: AnyMessage) -> None:
        self._last = message

    def on_error(self, error: Exception) -> None:
        # The output of the request is not used, and the reply has arrived.
        if isinstance(error, OutputMissing):
            self.on_completed()
        else:
            self._sink.on_error(error)

    def on_completed(self) -> None:
        reply = self._last
        if reply is None or reply.msg_type != self._reply_type:
            got = "no message" if reply is None else reply.msg_type
            self._sink.on_error(
                RequestFailed(f"the kernel answered with {got} instead of {self._reply_type}")
            )
            return
        self._sink.on_next(reply)
        self._sink.on_completed()
