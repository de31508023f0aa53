"""One request from its sending to its end, and the interface to the kernel that it uses."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass
from enum import Enum, auto
from functools import partial
from typing import Protocol

from reactivex import abc

from enchannel._kernel.remaining_output import (
    LateOutputWait,
    MissingIdleWait,
    ProbeHost,
    Queue,
)
from enchannel._kernel.stdin import InputHost, InputResponder, OnInput
from enchannel._outputs.result import request_aborted, status_of_reply
from enchannel._protocol.channel_name import ChannelName
from enchannel._protocol.message import AnyMessage
from enchannel._rx.delivery_thread import DeliveryThread
from enchannel._rx.sink import Sink
from enchannel.errors import (
    EnchannelError,
    OutputMissing,
    RequestTimeout,
)

__all__ = [
    "DEFAULT_TIMEOUT",
    "IdleWait",
    "InFlightRequest",
    "Progress",
    "RequestHost",
    "RequestOptions",
]

# A kernel does not answer a request of an unknown type.
DEFAULT_TIMEOUT = 10.0
# After the idle status, because the reply arrives on another socket.
REPLY_GRACE = 10.0
# Seconds in which an idle kernel should report busy for a request; code does not wait longer for its start.
LOST_GRACE = 2.0
# Seconds until the kernel can be interrupted, if no message shows it: after its busy status, after that of
# silent code, which has no execute_input, and after execute_input, unless the kernel is known to be ready
# then. ipykernel ignores an interrupt between its busy status and execute_input, deno for some ms more.
START_GRACE = 1.0
SILENT_START_GRACE = 0.05
READY_GRACE = 0.1
# Some kernels send these on shell, where they are not the reply.
COMM_TYPES = frozenset({"comm_open", "comm_msg", "comm_close"})
# These change the progress of a request; other messages only show that its code runs.
STEP_TYPES = frozenset({"status", "execute_input", "input_request"})


class RequestHost(InputHost, ProbeHost, Protocol):
    """The interface to a kernel that requests use."""

    @property
    def delivery(self) -> DeliveryThread:
        """The thread that calls subscribers."""
        ...

    def report(self, error: Exception, /, *, is_passed_on: bool = False) -> None:
        """Report an error that terminates nothing, or that a subscriber gets as well."""

    @property
    def is_busy(self) -> bool:
        """True while the kernel works on any request."""
        ...

    def require_link(self) -> object:
        """Raise ChannelClosed or NotConnected if the kernel has no link."""
        ...

    def submit(self, request: InFlightRequest, /) -> None:
        """Call ``transmit`` of a request, at once or when code may be sent again."""

    def send_waiting(self) -> None:
        """Send requests that waited for the end of another one."""

    def reason_for_waiting(self, request: InFlightRequest, /) -> str:
        """Explain why a request was not sent."""
        ...

    def hold(self) -> Callable[[], None]:
        """Let code wait that is submitted from now on, until the result is called."""
        ...

    def on_unanswered_input(self, request: AnyMessage, /) -> None:
        """Handle an ``input_request`` that no ``on_input`` answers."""

    def on_idle_missing(self, request_id: str, /) -> None:
        """Count a request as ended that was answered and whose idle status did not arrive."""

    def on_recovered(self, in_flight: Collection[str], /) -> None:
        """Count all requests as ended but these: the idle status of others may be lost."""


class IdleWait(Enum):
    """The wait for the idle status of a request that was answered.

    Until the kernel or a probe shows that it is lost (CHECKED); without a limit, since the sender of a
    probe has one (ENDLESS); or none, if only the reply matters (NONE).
    """

    CHECKED = auto()
    ENDLESS = auto()
    NONE = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestOptions:
    """The options of one request; ``Requests.request`` describes them.

    Attributes:
        is_urgent: Send the request at once, even if many are in flight.
        idle_wait: The wait for the idle status after the reply.
    """

    timeout: float | None = None
    idle_grace: float | None = None
    interrupt_if_abandoned: bool = False
    on_input: OnInput | None = None
    is_urgent: bool = False
    idle_wait: IdleWait = IdleWait.CHECKED


class Progress(Enum):
    """The progress of a request: it moves forwards only, and from every member to ENDED.

    Waiting to be sent (WAITING), or sent (SENT). The kernel has reported busy (RUNNING), is about to start
    the code (STARTING), has started it and can be interrupted (INTERRUPTIBLE), or has reported idle or
    replied (DONE). Or nothing that arrives matters any more (ENDED).
    """

    WAITING = auto()
    SENT = auto()
    RUNNING = auto()
    STARTING = auto()
    INTERRUPTIBLE = auto()
    DONE = auto()
    ENDED = auto()

    @property
    def is_running(self) -> bool:
        """True while the kernel works on the request."""
        return self in (Progress.RUNNING, Progress.STARTING, Progress.INTERRUPTIBLE)


class Demand(Enum):
    """The interrupt of a request: not wanted, wanted once its code has started, due, or made."""

    NONE = auto()
    PENDING = auto()
    DUE = auto()
    MADE = auto()


class InFlightRequest(abc.DisposableBase):
    """A request from its submission to its terminal event. Thread-safe.

    An abandoned request that has to be interrupted stays registered until the kernel can be interrupted.
    So the messages that show this, and the decision to interrupt, are under one lock. The interrupt itself
    is made without the lock, by ``_settle``. From the demand to the interrupt, later code is held back: the
    interrupt would hit it if this code ended at the same time.

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
            None
            if options.on_input is None
            else InputResponder(options.on_input, host, sink.call, can_interrupt=self.can_interrupt)
        )
        self._lock = threading.RLock()
        self._progress = Progress.WAITING
        self._is_idle = False
        self._is_abandoned = False
        self._interrupt = Demand.NONE
        self._release_code: Callable[[], None] | None = None
        self._reply: AnyMessage | None = None
        self._received = 0
        self._late_output: LateOutputWait | None = None
        self._terminal: Callable[[], None] | None = None
        self._missing_idle: MissingIdleWait | None = None
        self._timers: list[abc.DisposableBase] = []

    @property
    def queue(self) -> Queue:
        """The channel and subshell, whose requests a kernel answers in order."""
        return self._message.channel, self._message.header.subshell_id

    @property
    def reason_for_waiting(self) -> str:
        """The reason why the request was not sent, if it was not."""
        return self._host.reason_for_waiting(self)

    @property
    def is_waiting(self) -> bool:
        """True until the request is sent."""
        return self._progress is Progress.WAITING

    @property
    def is_link_lost(self) -> bool:
        """True while the connection is lost, so that the kernel cannot be interrupted."""
        return self._host.is_link_lost

    @property
    def is_abandoned(self) -> bool:
        """True if no subscriber is left: the request is in flight only because it is to be interrupted."""
        return self._is_abandoned

    @property
    def can_interrupt(self) -> bool:
        """True for the main shell: an interrupt reaches no code elsewhere, but always code there."""
        return self.queue == (ChannelName.SHELL, None)

    @property
    def has_ended(self) -> bool:
        """True if nothing that arrives matters any more."""
        return self._progress is Progress.ENDED

    @property
    def is_urgent(self) -> bool:
        """True if the request is sent at once, even if many are in flight."""
        return self._options.is_urgent

    @property
    def was_aborted(self) -> bool:
        """True if the kernel aborted the request."""
        return self._reply is not None and status_of_reply(self._reply) == "aborted"

    @property
    def is_main_code(self) -> bool:
        """True for code in the main shell, which an interrupt of earlier code may hit or abort."""
        return self.is_code and self.can_interrupt

    def start(self) -> None:
        """Start the timeout and submit the request."""
        timeout = self._options.timeout
        with self._lock:
            if timeout is not None and not self._is_over:
                self._after(timeout, self._on_timeout)
        self._host.submit(self)

    def transmit(self) -> None:
        """Send the request, unless it has ended; if that raises, fail."""
        with self._lock:
            if self._progress is not Progress.WAITING:
                return
            self._progress = Progress.SENT
        # Without the lock, because sending calls the backend.
        try:
            if self._may_have_late_output:
                self._host.idle_order.ask_once(self._host, self.queue)
            self._host.send(self._message)
        except EnchannelError as error:
            self.fail(error)

    def on_next(self, message: AnyMessage) -> None:
        """Handle a message whose parent is this request."""
        with self._lock:
            if self._progress is Progress.ENDED:
                return
            self._received += 1
            kind = message.header.msg_type
            if message.channel is self._message.channel and kind not in COMM_TYPES:
                self._on_reply(message)
            else:
                if not self._is_abandoned:
                    self._sink.on_next(message)
                if kind in STEP_TYPES or self._interrupt is Demand.PENDING:
                    self._on_step(message, kind)
            is_settled = self._is_settled and self._late_output is None and not self.has_ended
        if not is_settled:
            self._settle()

    def fail(self, error: Exception) -> None:
        """Fail, unless the request has ended."""
        with self._lock:
            if self._is_answered:
                self._complete()
            elif self._end():
                self._terminal = partial(self._sink.on_error, error)
        self._settle()

    def dispose(self) -> None:
        """Stop listening; interrupt the kernel if it waits for input or if the options request it."""
        with self._lock:
            self._abandon()
        self._settle()

    def interrupt(self) -> Progress:
        """Interrupt the kernel if it works on this request, or else as soon as it does.

        Disposing does not cancel the interrupt. A request that was not sent is not sent any more. Without
        ``can_interrupt``, only a pending ``input()`` ends.

        Returns:
            The progress of the request before.
        """
        with self._lock:
            progress = self._progress
            if progress is Progress.WAITING:
                self._end()
            else:
                self._demand_interrupt()
        self._settle()
        return progress

    def on_reconnect(self) -> None:
        """Send an answer to ``input()`` that could not be sent while the link was lost."""
        if self._input is not None:
            self._input.on_reconnect()

    def __str__(self) -> str:
        return f"{self._message.header.msg_type} {self.id[:8]}"

    @property
    def _is_input_pending(self) -> bool:
        return self._input is not None and self._input.is_pending

    @property
    def is_code(self) -> bool:
        """True for code that the kernel runs."""
        return self._message.header.msg_type == "execute_request"

    @property
    def _is_over(self) -> bool:
        """True once the terminal event was emitted or the subscription was disposed of."""
        return self._is_abandoned or self._progress is Progress.ENDED

    # -- interrupts --------------------------------------------------------------------------------------

    @property
    def _may_start(self) -> bool:
        """True if the request was sent, and the kernel may not have started the code yet."""
        return self._progress in (Progress.SENT, Progress.RUNNING, Progress.STARTING)

    @property
    def _is_settled(self) -> bool:
        """True unless an interrupt is due, or code waits for this request without a reason."""
        if self._release_code is None:
            return self._interrupt is not Demand.DUE
        return self._interrupt is Demand.PENDING and self._progress is not Progress.ENDED

    def _settle(self) -> None:
        """Make a due interrupt, start a due probe, emit the terminal event; called without the lock."""
        if not self._is_settled:
            self._make_interrupt()
        if self._late_output is not None:
            self._late_output.start_once()
        if self.has_ended:
            self._emit_terminal()
            self._host.send_waiting()

    def _emit_terminal(self) -> None:
        with self._lock:
            terminal, self._terminal = self._terminal, None
        if terminal is not None:
            terminal()

    def _make_interrupt(self) -> None:
        with self._lock:
            if self._is_settled:
                return
            is_due = self._interrupt is Demand.DUE
            if is_due:
                self._interrupt = Demand.MADE
            release_code, self._release_code = self._release_code, None
        if is_due:
            self._host.interrupt(self.id)
        # After the interrupt, which holds code back itself.
        if release_code is not None:
            release_code()

    def _abandon(self) -> None:
        """Stop listening, because of a timeout or disposal."""
        if self._is_over:
            return
        # A second interrupt would hit the cleanup of code that handles the first.
        wants = self._options.interrupt_if_abandoned and self._interrupt is not Demand.MADE
        if wants or self._is_input_pending:
            self._demand_interrupt()
        if self._interrupt is Demand.NONE or not self._may_start:
            self._end()
            return
        self._is_abandoned = True
        self._release()
        self._await_start()

    def _demand_interrupt(self) -> None:
        if not self.can_interrupt:
            if self._input is not None:
                self._input.end_of_file()
        elif self._is_input_pending or self._progress is Progress.INTERRUPTIBLE:
            if self._input is not None:
                self._input.give_up()
            self._interrupt = Demand.DUE
        elif self._may_start and self._interrupt is Demand.NONE:
            self._interrupt = Demand.PENDING
            self._release_code = self._host.hold()
            self._await_start()

    def _await_start(self) -> None:
        """Make a pending interrupt after a time, if the kernel works on the request."""
        if self._interrupt is not Demand.PENDING:
            return
        if self._progress is Progress.SENT:
            self._after(LOST_GRACE, self._on_start_overdue)
            return
        if not self._progress.is_running:
            return
        if self._progress is Progress.STARTING:
            self._after(READY_GRACE, self._on_ready)
            return
        is_silent = not self.is_code or bool(self._message.content.get("silent"))
        self._after(SILENT_START_GRACE if is_silent else START_GRACE, self._on_start_unseen)

    def _on_start_overdue(self) -> None:
        """Let other code be sent, unless this request waits for the kernel: it may have been lost."""
        with self._lock:
            if self._progress is not Progress.SENT:
                return
            if self._host.is_busy or self._host.is_link_lost:
                self._await_start()
                return
            release_code, self._release_code = self._release_code, None
        if release_code is not None:
            release_code()

    def _on_start_unseen(self) -> None:
        with self._lock:
            if self._progress is Progress.RUNNING and self._interrupt is Demand.PENDING:
                self._interrupt = Demand.DUE
        self._settle()

    def _on_ready(self) -> None:
        with self._lock:
            self._on_start()
        self._settle()

    def _on_busy(self) -> None:
        if self._progress is Progress.SENT:
            self._progress = Progress.RUNNING
            self._await_start()

    def _on_output(self) -> None:
        if not self._may_have_late_output or self._host.idle_order.is_last:
            self._on_start()
        # Not at once, also because an interrupt at the end of short code confuses bash_kernel.
        elif self._may_start and self._progress is not Progress.STARTING:
            self._progress = Progress.STARTING
            # The kernel may have ignored an interrupt that was made before.
            if self._interrupt is Demand.MADE:
                self._interrupt = Demand.PENDING
            self._await_start()

    def _on_start(self) -> None:
        if not self._may_start:
            return
        self._progress = Progress.INTERRUPTIBLE
        # As above.
        if self._interrupt is not Demand.NONE:
            self._interrupt = Demand.DUE
        if self._is_abandoned:
            self._end()

    def _on_input_request(self, request: AnyMessage) -> None:
        is_abandoned = self._is_abandoned
        self._on_start()
        if is_abandoned:
            return
        if self._input is not None:
            self._input.on_request(request)
        else:
            self._host.on_unanswered_input(request)

    # -- messages ----------------------------------------------------------------------------------------

    def _on_step(self, message: AnyMessage, kind: str) -> None:
        if message.channel is ChannelName.STDIN:
            if kind == "input_request":
                self._on_input_request(message)
        elif message.channel is not ChannelName.IOPUB:
            return
        elif kind != "status":
            self._on_output()
        elif (state := message.content.get("execution_state")) == "busy":
            self._on_busy()
        elif state == "idle":
            self._on_idle()

    def _on_reply(self, reply: AnyMessage) -> None:
        if self._is_abandoned:
            self._end()
            return
        # A second reply violates the protocol, but is harmless.
        if self._reply is not None:
            self._sink.on_next(reply)
            return
        self._reply = reply
        self._progress = Progress.DONE
        if self._is_idle:
            self._await_late_output()
        elif self._options.idle_wait is IdleWait.CHECKED:
            self._await_idle()
        elif self._options.idle_wait is IdleWait.NONE:
            self._complete()

    def _on_idle(self) -> None:
        self._is_idle = True
        self._progress = Progress.DONE
        self._host.idle_order.was_seen = True
        if self._input is not None:
            self._input.on_idle()
        if self._is_abandoned:
            self._end()
        elif self._reply is not None:
            self._await_late_output()
        else:
            self._after(REPLY_GRACE, self._on_reply_missing)

    def _complete(self) -> None:
        """End the request with its reply, which ``_settle`` emits."""
        reply = self._reply
        if reply is not None and self._end():
            error = request_aborted() if status_of_reply(reply) == "aborted" else None
            self._terminal = partial(self._emit_reply, reply, error)

    def _emit_reply(self, reply: AnyMessage, error: Exception | None) -> None:
        self._sink.on_next(reply)
        if error is None:
            self._sink.on_completed()
        else:
            self._sink.on_error(error)

    def _end(self) -> bool:
        """Forget the request; return True if its terminal event is still due."""
        if self._progress is Progress.ENDED:
            return False
        self._progress = Progress.ENDED
        self._on_end(self)
        self._release()
        return not self._is_abandoned

    def _release(self) -> None:
        if self._input is not None:
            self._input.close()
        if self._late_output is not None:
            self._late_output.dispose()
        if self._missing_idle is not None:
            self._missing_idle.dispose()
        for timer in self._timers:
            timer.dispose()
        self._timers.clear()

    def _after(self, seconds: float, action: Callable[[], None]) -> None:
        def scheduled(_: abc.SchedulerBase, __: object = None) -> None:
            action()

        self._timers.append(self._host.scheduler.schedule_relative(seconds, scheduled))

    @property
    def _is_answered(self) -> bool:
        """True if both the reply and the idle status have arrived, so that only late output may follow."""
        return self._is_idle and self._reply is not None

    @property
    def _may_have_late_output(self) -> bool:
        return self.is_code and not self._host.capabilities.idle_is_last

    def _await_late_output(self) -> None:
        """Complete the request, after its late output if this kernel may send any."""
        if self._missing_idle is not None:
            self._missing_idle.dispose()
        if self._may_have_late_output and not self._host.idle_order.is_last:
            # Started by _settle, because a probe has a lock of its own.
            self._late_output = LateOutputWait(self._host, self.queue, self._complete_once)
        else:
            self._complete()

    def _complete_once(self) -> None:
        with self._lock:
            self._complete()
        self._settle()

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
            reply = self._reply
            if reply is None or self._is_over:
                return
            # A kernel that never sends idle has probably not lost anything, and aborted code has no output.
            is_complete = not self._host.idle_order.was_seen or status_of_reply(reply) == "aborted"
            if is_complete:
                self._complete()
            elif self._end():
                self._terminal = partial(self._emit_reply, reply, error)
        self._settle()
        self._host.on_idle_missing(self.id)
        self._host.report(error, is_passed_on=not is_complete)

    def _on_reply_missing(self) -> None:
        # The reply may arrive once the connection is restored; if it is not, the request fails with that.
        if self._host.is_link_lost:
            self._after(REPLY_GRACE, self._on_reply_missing)
            return
        self.fail(
            RequestTimeout(
                f"{self} received its idle status, but no reply within {REPLY_GRACE:g} s; "
                "the kernel may not support this request, or the reply was lost"
            )
        )

    def _on_timeout(self) -> None:
        error = RequestTimeout(
            f"{self} was not answered within {self._options.timeout:g} s: {self._missing}"
        )
        with self._lock:
            is_late = not (self._is_answered or self._is_over)
            if is_late:
                self._abandon()
            else:
                self._complete()
        # First the interrupt, so that code that the subscriber sends then waits for it.
        self._settle()
        if is_late:
            self._sink.on_error(error)

    @property
    def _missing(self) -> str:
        if self._progress is Progress.WAITING:
            return f"it was not sent, because {self.reason_for_waiting}"
        count = self._received
        received = f"{count} message{'' if count == 1 else 's'}" if count else "no messages"
        missing = "the reply" if self._reply is None else "the idle status"
        if self._host.is_link_lost:
            return f"{received} received, {missing} is missing; the connection is lost"
        other = (
            "; the kernel is busy with another request"
            if self._host.is_busy and not self._progress.is_running
            else ""
        )
        return f"{received} received, {missing} is missing{other}"
