"""Requests: sending them, routing what answers them, and what a reconnect means for them."""

from __future__ import annotations

import threading
import uuid
from collections import defaultdict
from collections.abc import Callable, Collection
from dataclasses import dataclass
from enum import Enum, auto
from typing import Literal, Protocol, cast

from msgspec.structs import replace
from reactivex import abc

from enchannel._kernel.stdin import InputHost, InputResponder, OnInput
from enchannel._protocol.channel_name import ChannelName
from enchannel._protocol.message import AnyMessage
from enchannel._rx.delivery_thread import DeliveryThread
from enchannel._rx.sink import CallbackSink, Sink
from enchannel._rx.sink_observable import SinkObservable
from enchannel.errors import (
    ConnectionLost,
    EnchannelError,
    KernelDied,
    MessagesMayBeMissing,
    RequestTimeout,
)
from enchannel.messages import kernel_info_request

__all__ = [
    "DEFAULT_TIMEOUT",
    "InFlightRequest",
    "Request",
    "RequestHost",
    "RequestOptions",
    "RequestRegistry",
]

DEFAULT_TIMEOUT = 10.0  # a kernel does not answer a request type that it does not know
REPLY_GRACE = 10.0  # after idle, as the reply comes on another socket
COMM_TYPES = frozenset({"comm_open", "comm_msg", "comm_close"})  # some kernels send these on shell


class RequestHost(InputHost, Protocol):
    """What requests use of a kernel."""

    @property
    def scheduler(self) -> abc.SchedulerBase:
        """The scheduler of timeouts."""
        ...

    @property
    def delivery(self) -> DeliveryThread:
        """The thread that calls subscribers."""
        ...

    @property
    def is_busy(self) -> bool:
        """True while the kernel works on any request."""
        ...

    def interrupt_when_running(self, request_id: str, /) -> None:
        """Interrupt the kernel as soon as it works on this request."""

    def on_unanswered_input(self, request: AnyMessage, /) -> None:
        """Handle an ``input_request`` that no ``on_input`` answers."""

    def on_idle_missing(self, request_id: str, /) -> None:
        """Take a request for idle that was answered and whose idle did not come."""

    def on_recovered(self, in_flight: Collection[str], /) -> None:
        """Take the kernel for idle, unless it works on one of these requests."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestOptions:
    """The options of one request, as ``Requests.request`` describes them; in seconds."""

    timeout: float | None = None
    idle_grace: float | None = None
    on_dispose: Literal["interrupt"] | None = None
    on_input: OnInput | None = None


class RequestRegistry:
    """The in-flight requests of one kernel.

    Attributes:
        host: The kernel.
        by_id: The requests by ``msg_id``. The dispatcher looks each incoming message up in it.
    """

    def __init__(self, host: RequestHost) -> None:
        self.host = host
        self.by_id: dict[str, InFlightRequest] = {}
        self._lock = threading.Lock()
        self._suspensions = 0
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
        """Register a request that is about to be sent.

        Raises:
            KernelDied: requests are suspended.
        """
        if self._suspensions:
            raise KernelDied(self._reason)
        self.by_id[request.id] = request

    def discard(self, request: InFlightRequest) -> None:
        """Forget a request that has ended."""
        self.by_id.pop(request.id, None)

    def fail_all(self, error: Exception) -> None:
        """Fail every request that is in flight."""
        for request in list(self.by_id.values()):
            request.fail(error)

    def recover(self) -> None:
        """After a reconnect, find out which requests will still be answered; fail the others.

        A kernel answers the requests of one channel, or subshell, in order. So each gets a small probe:
        a request that is still unanswered when its probe has ended was lost, or its answer was.
        """
        open_in: dict[tuple[ChannelName, str | None], list[InFlightRequest]] = defaultdict(list)
        for request in list(self.by_id.values()):
            request.on_reconnect()
            open_in[request.queue].append(request)
        for (channel, subshell_id), requests in open_in.items():
            self._probe(channel, subshell_id, requests)
        if not open_in:
            self.host.on_recovered(tuple(self.by_id))

    def _probe(
        self, channel: ChannelName, subshell_id: str | None, requests: list[InFlightRequest]
    ) -> None:
        message: AnyMessage = kernel_info_request(channel=channel)
        if subshell_id is not None:
            message = message.replace(header=replace(message.header, subshell_id=subshell_id))
        # On shell, code that runs delays the reply for as long as it likes; control has no queue.
        timeout = DEFAULT_TIMEOUT if channel is ChannelName.CONTROL else None
        probe = Request(self, message, RequestOptions(timeout=timeout))

        def on_end(_: Exception | None = None) -> None:
            self._fail_lost(requests)

        probe.attach(CallbackSink(on_error=on_end, on_completed=on_end))

    def _fail_lost(self, requests: list[InFlightRequest]) -> None:
        for request in requests:
            request.fail(
                ConnectionLost(
                    f"the connection broke while {request} was in flight, and it or its answer was lost"
                )
            )
        self.host.on_recovered(tuple(self.by_id))


class Request(SinkObservable[AnyMessage]):
    """A request as a cold observable: each subscription sends it and receives what answers it.

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

    def attach(self, sink: Sink[AnyMessage]) -> InFlightRequest:
        message = self._message
        # Each subscription is a request of its own and needs its own id.
        is_first = self._first.acquire(blocking=False)
        if not is_first or message.header.msg_id in self._registry.by_id:
            header = replace(message.header, msg_id=uuid.uuid4().hex, date="")
            message = message.replace(header=header)
        request = InFlightRequest(self._registry, message, self._options, sink)
        request.send()
        return request

    def __str__(self) -> str:
        return f"a {self._message.header.msg_type}"


class Progress(Enum):
    """How far a request is: only forwards, and to ENDED from everywhere."""

    SENT = auto()
    RUNNING = auto()  # the kernel has reported busy
    IDLE = auto()  # the kernel has reported idle
    ENDED = auto()  # the terminal event was emitted, or the subscription was disposed of


class InFlightRequest(abc.DisposableBase):
    """A request from its sending to its terminal event. Its handlers run where messages arrive."""

    def __init__(
        self,
        registry: RequestRegistry,
        message: AnyMessage,
        options: RequestOptions,
        sink: Sink[AnyMessage],
    ) -> None:
        self.id = message.header.msg_id
        self._registry = registry
        self._host = registry.host
        self._message = message
        self._options = options
        self._sink = sink
        self._input = (
            None
            if options.on_input is None
            else InputResponder(options.on_input, self._host, sink.call)
        )
        self._lock = threading.RLock()
        self._progress = Progress.SENT
        self._reply: AnyMessage | None = None
        self._received = 0
        self._timers: list[abc.DisposableBase] = []

    @property
    def queue(self) -> tuple[ChannelName, str | None]:
        """The channel and subshell, whose requests a kernel answers in order."""
        return self._message.channel, self._message.header.subshell_id

    @property
    def is_running(self) -> bool:
        """True while the kernel works on this request."""
        return self._progress is Progress.RUNNING

    def send(self) -> None:
        """Send the request; if that fails, the observable fails."""
        with self._lock:
            try:
                self._registry.add(self)
                self._host.send(self._message)
            except EnchannelError as error:
                self.fail(error)
                return
            timeout = self._options.timeout
            if timeout is not None and self._progress is not Progress.ENDED:
                self._after(timeout, self._on_timeout)

    def on_next(self, message: AnyMessage) -> None:
        """Handle a message whose parent is this request."""
        with self._lock:
            if self._progress is Progress.ENDED:
                return
            self._received += 1
            kind = message.header.msg_type
            if message.channel is self._message.channel and kind not in COMM_TYPES:
                self._on_reply(message)
                return
            self._sink.on_next(message)
            if message.channel is ChannelName.IOPUB and kind == "status":
                self._on_status(message.content.get("execution_state"))
            elif message.channel is ChannelName.STDIN and kind == "input_request":
                self._on_input_request(message)

    def fail(self, error: Exception) -> None:
        """Fail, unless the request has ended."""
        with self._lock:
            if self._end():
                self._sink.on_error(error)

    def dispose(self) -> None:
        """Stop listening, and interrupt the kernel if the options say so or it waits for input."""
        with self._lock:
            is_running = self.is_running
            if not self._end():
                return
        if self._is_input_pending or (is_running and self._options.on_dispose == "interrupt"):
            self._interrupt()

    def interrupt(self) -> bool:
        """Interrupt the kernel if it works on this request; return True if it does."""
        is_running = self.is_running
        if is_running:
            self._interrupt()
        return is_running

    def interrupt_when_running(self) -> None:
        """Interrupt the kernel as soon as it works on this request; disposing does not change that."""
        if self.id in self._registry.by_id:
            self._host.interrupt_when_running(self.id)

    def on_reconnect(self) -> None:
        """Send an answer to ``input()`` that could not be sent while the link was lost."""
        if self._input is not None:
            self._input.on_reconnect()

    def __str__(self) -> str:
        return f"{self._message.header.msg_type} {self.id[:8]}"

    @property
    def _is_input_pending(self) -> bool:
        return self._input is not None and self._input.is_pending

    def _interrupt(self) -> None:
        if self._input is not None:
            self._input.interrupt()
        else:
            self._host.interrupt()

    def _on_reply(self, reply: AnyMessage) -> None:
        if self._reply is not None:  # against the protocol, and harmless
            self._sink.on_next(reply)
            return
        self._reply = reply
        if self._progress is Progress.IDLE:
            self._complete()
        else:
            self._await_idle()

    def _on_status(self, state: object) -> None:
        if state == "busy":
            if self._progress is Progress.SENT:
                self._progress = Progress.RUNNING
        elif state == "idle":
            self._progress = Progress.IDLE
            if self._input is not None:
                self._input.on_idle()
            if self._reply is not None:
                self._complete()
            else:
                self._after(REPLY_GRACE, self._on_reply_missing)

    def _on_input_request(self, request: AnyMessage) -> None:
        if self._input is not None:
            self._input.on_request(request)
        else:
            self._host.on_unanswered_input(request)

    def _complete(self) -> None:
        if self._end():
            self._sink.on_next(cast(AnyMessage, self._reply))
            self._sink.on_completed()

    def _end(self) -> bool:
        if self._progress is Progress.ENDED:
            return False
        self._progress = Progress.ENDED
        self._registry.discard(self)
        if self._input is not None:
            self._input.close()
        for timer in self._timers:
            timer.dispose()
        return True

    def _after(self, seconds: float, action: Callable[[], None]) -> None:
        def scheduled(_: abc.SchedulerBase, __: object = None) -> None:
            action()

        self._timers.append(self._host.scheduler.schedule_relative(seconds, scheduled))

    def _await_idle(self) -> None:
        received = self._received
        self._after(self._idle_grace, lambda: self._on_idle_missing(received))

    @property
    def _idle_grace(self) -> float:
        grace = self._options.idle_grace
        return self._host.capabilities.idle_grace if grace is None else grace

    def _on_idle_missing(self, received: int) -> None:
        with self._lock:
            if self._progress is Progress.ENDED:
                return
            if self._received > received:  # output still arrives, and the idle is behind it
                self._await_idle()
                return
            self._complete()
        self._host.on_idle_missing(self.id)
        self._host.report(
            MessagesMayBeMissing(
                f"{self} got its reply but no idle status within {self._idle_grace:g} s; "
                "the kernel may have dropped output"
            )
        )

    def _on_reply_missing(self) -> None:
        self.fail(
            RequestTimeout(
                f"{self} got its idle status but no reply within {REPLY_GRACE:g} s; "
                "the kernel may not support this request, or the reply was lost"
            )
        )

    def _on_timeout(self) -> None:
        count = self._received
        received = f"{count} message{'' if count == 1 else 's'}" if count else "no messages"
        missing = "the reply" if self._reply is None else "the idle status"
        other = (
            "; the kernel is busy with another request"
            if self._host.is_busy and not self.is_running
            else ""
        )
        self.fail(
            RequestTimeout(
                f"{self} was not answered within {self._options.timeout:g} s: {received} received, "
                f"{missing} is missing{other}"
            )
        )
        if self._is_input_pending:
            self._interrupt()
