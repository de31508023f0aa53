"""One request from its sending to its end, and the interface to the kernel that it uses."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass
from enum import Enum, auto
from typing import Protocol

from reactivex import abc

from enchannel._kernel.remaining_output import (
    LateOutputWait,
    MissingIdleWait,
    ProbeHost,
    Queue,
)
from enchannel._kernel.stdin import InputHost, InputResponder, OnInput
from enchannel._protocol.channel_name import ChannelName
from enchannel._protocol.message import AnyMessage
from enchannel._rx.delivery_thread import DeliveryThread
from enchannel._rx.sink import Sink
from enchannel.errors import (
    EnchannelError,
    OutputMissing,
    RequestTimeout,
)

__all__ = ["DEFAULT_TIMEOUT", "InFlightRequest", "RequestHost", "RequestOptions"]

# A kernel does not answer a request of an unknown type.
DEFAULT_TIMEOUT = 10.0
# After the idle status, because the reply arrives on another socket.
REPLY_GRACE = 10.0
# Some kernels send these on shell, where they are not the reply.
COMM_TYPES = frozenset({"comm_open", "comm_msg", "comm_close"})


class RequestHost(InputHost, ProbeHost, Protocol):
    """The interface to a kernel that requests use."""

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
        """Count a request as ended that was answered and whose idle status did not arrive."""

    def on_recovered(self, in_flight: Collection[str], /) -> None:
        """Count all requests as ended but these: the idle status of others may be lost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestOptions:
    """The options of one request; ``Requests.request`` describes them.

    Attributes:
        is_probe: Wait for the idle status without a limit, for the sender of the probe has one.
    """

    timeout: float | None = None
    idle_grace: float | None = None
    interrupt_if_abandoned: bool = False
    on_input: OnInput | None = None
    is_probe: bool = False


class Progress(Enum):
    """The progress of a request: it moves forwards only, and from every member to ENDED.

    The kernel has reported busy (RUNNING) or idle (IDLE) for the request; or its terminal event was emitted
    or its subscription disposed of (ENDED).
    """

    SENT = auto()
    RUNNING = auto()
    IDLE = auto()
    ENDED = auto()


class InFlightRequest(abc.DisposableBase):
    """A request from its sending to its terminal event. Thread-safe.

    Args:
        host: The kernel.
        message: The request.
        options: Its options.
        sink: Receives the messages that belong to the request, on the threads on which they arrive.
        on_end: Called once when the request has ended or was disposed of.

    Attributes:
        id: The ``msg_id`` of the request.
    """

    def __init__(
        self,
        host: RequestHost,
        message: AnyMessage,
        options: RequestOptions,
        sink: Sink[AnyMessage],
        on_end: Callable[[InFlightRequest], None],
    ) -> None:
        self.id = message.header.msg_id
        self._host = host
        self._on_end = on_end
        self._message = message
        self._options = options
        self._sink = sink
        self._input = (
            None if options.on_input is None else InputResponder(options.on_input, host, sink.call)
        )
        self._lock = threading.RLock()
        self._progress = Progress.SENT
        self._is_interrupted = False
        self._reply: AnyMessage | None = None
        self._received = 0
        self._late_output = LateOutputWait()
        self._missing_idle: MissingIdleWait | None = None
        self._timers: list[abc.DisposableBase] = []

    @property
    def queue(self) -> Queue:
        """The channel and subshell, whose requests a kernel answers in order."""
        return self._message.channel, self._message.header.subshell_id

    @property
    def is_running(self) -> bool:
        """True while the kernel works on this request."""
        return self._progress is Progress.RUNNING

    @property
    def has_ended(self) -> bool:
        """True once the terminal event was emitted or the subscription was disposed of."""
        return self._progress is Progress.ENDED

    def send(self) -> None:
        """Send the request; if that raises, fail."""
        with self._lock:
            if self.has_ended:
                return
            try:
                if self._may_have_late_output:
                    self._host.idle_order.ask_once(self._host, self.queue)
                self._host.send(self._message)
            except EnchannelError as error:
                self.fail(error)
                return
            timeout = self._options.timeout
            if timeout is not None and not self.has_ended:
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
            if self._is_answered:
                self._complete()
            elif self._end():
                self._sink.on_error(error)

    def dispose(self) -> None:
        """Stop listening; interrupt the kernel if it waits for input or if the options request it."""
        with self._lock:
            progress = self._progress
            if not self._end():
                return
        self._on_abandoned(progress)

    def interrupt(self) -> bool:
        """Interrupt the kernel if it works on this request, or else as soon as it does.

        Returns:
            True if the kernel works on this request. Otherwise, disposing does not cancel the interrupt.
        """
        progress = self._progress
        self._is_interrupted = True
        self._interrupt_at(progress)
        return progress is Progress.RUNNING

    def on_reconnect(self) -> None:
        """Send an answer to ``input()`` that could not be sent while the link was lost."""
        if self._input is not None:
            self._input.on_reconnect()

    def __str__(self) -> str:
        return f"{self._message.header.msg_type} {self.id[:8]}"

    @property
    def _is_input_pending(self) -> bool:
        return self._input is not None and self._input.is_pending

    def _on_abandoned(self, progress: Progress) -> None:
        """Handle a timeout or disposal, before which the request had this progress."""
        if self._is_input_pending:
            self._interrupt()
        # A second interrupt would hit the cleanup of code that handles the first.
        elif self._options.interrupt_if_abandoned and not self._is_interrupted:
            self._interrupt_at(progress)

    def _interrupt_at(self, progress: Progress) -> None:
        if progress is Progress.RUNNING:
            self._interrupt()
        elif progress is Progress.SENT:
            self._host.interrupt_when_running(self.id)

    def _interrupt(self) -> None:
        if self._input is not None:
            self._input.interrupt()
        else:
            self._host.interrupt()

    def _on_reply(self, reply: AnyMessage) -> None:
        # A second reply violates the protocol, but is harmless.
        if self._reply is not None:
            self._sink.on_next(reply)
            return
        self._reply = reply
        if self._progress is Progress.IDLE:
            self._await_late_output()
        elif not self._options.is_probe:
            self._await_idle()

    def _on_status(self, state: object) -> None:
        if state == "busy":
            if self._progress is Progress.SENT:
                self._progress = Progress.RUNNING
        elif state == "idle":
            self._progress = Progress.IDLE
            if self._input is not None:
                self._input.on_idle()
            self._host.idle_order.was_seen = True
            if self._reply is not None:
                self._await_late_output()
            else:
                self._after(REPLY_GRACE, self._on_reply_missing)

    def _on_input_request(self, request: AnyMessage) -> None:
        if self._input is not None:
            self._input.on_request(request)
        else:
            self._host.on_unanswered_input(request)

    def _complete(self) -> None:
        if self._reply is not None and self._end():
            self._sink.on_next(self._reply)
            self._sink.on_completed()

    def _end(self) -> bool:
        if self._progress is Progress.ENDED:
            return False
        self._progress = Progress.ENDED
        self._on_end(self)
        if self._input is not None:
            self._input.close()
        self._late_output.dispose()
        if self._missing_idle is not None:
            self._missing_idle.dispose()
        for timer in self._timers:
            timer.dispose()
        return True

    def _after(self, seconds: float, action: Callable[[], None]) -> None:
        def scheduled(_: abc.SchedulerBase, __: object = None) -> None:
            action()

        self._timers.append(self._host.scheduler.schedule_relative(seconds, scheduled))

    @property
    def _is_answered(self) -> bool:
        """True if both the reply and the idle status have arrived, so that only late output may follow."""
        return self._progress is Progress.IDLE and self._reply is not None

    @property
    def _may_have_late_output(self) -> bool:
        is_execution = self._message.header.msg_type == "execute_request"
        return is_execution and not self._host.capabilities.idle_is_last

    def _await_late_output(self) -> None:
        """Complete the request, after its late output if this kernel may send any."""
        if self._missing_idle is not None:
            self._missing_idle.dispose()
        if self._may_have_late_output and not self._host.idle_order.is_last:
            self._late_output.start(self._host, self.queue, self._complete_once)
        else:
            self._complete()

    def _complete_once(self) -> None:
        with self._lock:
            self._complete()

    def _await_idle(self) -> None:
        grace = self._options.idle_grace
        if grace is None:
            grace = self._host.capabilities.idle_grace
        self._missing_idle = MissingIdleWait(
            self._host,
            self.queue,
            grace=grace,
            received=lambda: self._received,
            on_missing=self._on_idle_missing,
        )

    def _on_idle_missing(self) -> None:
        error = OutputMissing(
            f"{self} received its reply, but no idle status: the kernel or the connection has dropped "
            "messages, and output may be missing; run the code again, or print less at once"
        )
        with self._lock:
            if self._reply is None or not self._end():
                return
            self._sink.on_next(self._reply)
            # A kernel that never sends idle has probably not lost anything.
            if self._host.idle_order.was_seen:
                self._sink.on_error(error)
            else:
                self._sink.on_completed()
        self._host.on_idle_missing(self.id)
        self._host.report(error)

    def _on_reply_missing(self) -> None:
        self.fail(
            RequestTimeout(
                f"{self} received its idle status, but no reply within {REPLY_GRACE:g} s; "
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
        error = RequestTimeout(
            f"{self} was not answered within {self._options.timeout:g} s: {received} received, "
            f"{missing} is missing{other}"
        )
        with self._lock:
            if self._is_answered:
                self._complete()
            progress = self._progress
            if not self._end():
                return
            self._sink.on_error(error)
        self._on_abandoned(progress)
