"""Execute the code of one cell and report its messages. Nothing here depends on notebooks."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from reactivex import abc
from reactivex.disposable import CompositeDisposable, Disposable, SerialDisposable

import enchannel as ec

__all__ = ["CellExecution", "RunOptions", "after_remaining_output"]

INTERRUPT_GRACE_PERIOD = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """The options of a notebook run.

    Attributes:
        kernel: The kernel to run in.
        timeout: The timeout of each cell in seconds, or None.
        allow_errors: Continue after cells that raise.
        on_input: Answers ``input()``; if None, ``input()`` raises in the kernel.
        record_timing: Record execution times in the metadata of cells.
        scheduler: The scheduler of the event loop on which all callbacks run; if None, they run on the
            delivery thread of the kernel.
    """

    kernel: ec.Kernel
    timeout: float | None
    allow_errors: bool
    on_input: ec.OnInput | None
    record_timing: bool
    scheduler: abc.SchedulerBase | None


class CellExecution:
    """Executes the code of one cell, once.

    Args:
        options: The options of the run.
        subscriptions: Collects the subscription that receives late messages until the run ends.
        on_message: Called with each iopub message of this code, in order, including messages that arrive
            after its end, such as the output of other threads.
        on_end: Called once, with the reply or with the error that ended the execution.
    """

    def __init__(
        self,
        options: RunOptions,
        subscriptions: CompositeDisposable,
        on_message: Callable[[ec.AnyMessage], None],
        on_end: Callable[[ec.AnyMessage | None, Exception | None], None],
    ) -> None:
        self._options = options
        self._subscriptions = subscriptions
        self._output = _Output(on_message)
        self._on_end = on_end
        self._reply: ec.AnyMessage | None = None
        self._current = SerialDisposable()
        self._is_running = False
        self._is_ended = False

    def start(self, code: str) -> abc.DisposableBase:
        """Send the code. Disposing of the result interrupts it."""
        options, kernel = self._options, self._options.kernel
        try:
            message = ec.execute_request(
                code,
                # An error must not abort the queued requests of other clients.
                stop_on_error=False,
                allow_stdin=options.on_input is not None,
            )
            self._subscriptions.add(
                kernel.iopub.pipe(ec.child_of(message)).subscribe(
                    self._output.on_iopub_message, lambda _: None, scheduler=options.scheduler
                )
            )
            request = kernel.request(
                message,
                timeout=options.timeout,
                interrupt_if_abandoned=True,
                on_input=options.on_input,
            )
            self._current.disposable = request.subscribe(
                self._on_request_message,
                self._on_request_error,
                lambda: self._end(None),
                scheduler=options.scheduler,
            )
        # The code cannot be sent, for example because it contains a lone surrogate.
        except Exception as error:
            self._end(error)
        return self._current

    def _on_request_message(self, message: ec.AnyMessage) -> None:
        if message.channel is ec.ChannelName.IOPUB:
            if message.header.msg_type == "status":
                self._is_running = message.content.get("execution_state") != "idle"
            self._output.on_request_message(message)
        elif message.header.msg_type == "execute_reply":
            self._reply = message

    def _on_request_error(self, error: Exception) -> None:
        if isinstance(error, ec.RequestTimeout) and self._is_running:
            self._await_interrupted_output(error)
        else:
            self._end(error)

    def _await_interrupted_output(self, timeout: ec.RequestTimeout) -> None:
        """Keep the output that the interrupt of the code causes."""
        error = ec.RequestTimeout(
            f"the code did not finish within {self._options.timeout:g} s and was interrupted"
        )
        error.__cause__ = timeout
        self._current.disposable = after_remaining_output(
            self._options, INTERRUPT_GRACE_PERIOD, lambda: self._end(error)
        )

    def _end(self, error: Exception | None) -> None:
        if self._is_ended:
            return
        self._is_ended = True
        self._output.on_request_end()
        self._on_end(self._reply, error)


class _Output:
    """Combines the messages of a request with those that arrive after its end.

    Each iopub message arrives twice: with the request until that ends, and by its parent id. On an event
    loop either can come first, since the two subscriptions are delivered in batches.

    Args:
        on_message: Called with each message once.
    """

    def __init__(self, on_message: Callable[[ec.AnyMessage], None]) -> None:
        self._on_message = on_message
        # Arrived by their parent id, and not yet with the request.
        self._early: deque[ec.AnyMessage] = deque()
        # The number of messages that arrived with the request, and not yet by their parent id.
        self._expected_duplicates = 0
        self._is_request_ended = False

    def on_request_message(self, message: ec.AnyMessage) -> None:
        """Report a message that arrived with the request."""
        if self._early:
            self._early.popleft()
        else:
            self._expected_duplicates += 1
        self._on_message(message)

    def on_iopub_message(self, message: ec.AnyMessage) -> None:
        """Report a message that arrived by its parent id, unless it arrives with the request as well."""
        if self._expected_duplicates:
            self._expected_duplicates -= 1
        elif self._is_request_ended:
            self._on_message(message)
        else:
            self._early.append(message)

    def on_request_end(self) -> None:
        """Report the messages that did not arrive with the request before it ended."""
        self._is_request_ended = True
        while self._early:
            self._on_message(self._early.popleft())


def after_remaining_output(
    options: RunOptions, timeout: float, then: Callable[[], None]
) -> abc.DisposableBase:
    """Call ``then`` once when the output of all earlier requests has arrived.

    A kernel answers in order, so this sends a ``kernel_info_request`` and waits for its reply, for at most
    ``timeout`` seconds.
    """
    try:
        return options.kernel.kernel_info(timeout=timeout).subscribe(
            on_error=lambda _: then(), on_completed=then, scheduler=options.scheduler
        )
    except ec.EnchannelError:
        then()
        return Disposable()
