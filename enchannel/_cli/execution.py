"""One execution of code: output is shown as it arrives, and calls of ``input()`` are answered.

Output is written and input is read on the main thread, where Ctrl-C works. The library's threads only
append to a queue.
"""

from __future__ import annotations

import time
from enum import Enum, auto
from functools import partial
from queue import Empty
from typing import TypeAlias

from reactivex import Observable

import enchannel as ec
from enchannel._cli.exit_code import ExitCode, is_successful_exit
from enchannel._cli.input_reader import InputReader
from enchannel._cli.interrupts import InterruptThread, interrupt_and_wait
from enchannel._cli.run_inbox import KernelWarning, PendingInput, RunEnd, RunEvent, RunInbox
from enchannel._cli.terminal.printer import Printer
from enchannel._cli.terminal.screen import Screen
from enchannel._cli.terminal.signals import Signals

__all__ = ["Execution"]

# Output is shown after this time at the latest, even if more is waiting.
FLUSH_INTERVAL = 0.05
# An input request has a channel of its own, and may overtake the output before it. It is shown after a
# pause in the output, or after a time in spite of further output.
QUIET_TIME = 0.03
MAX_INPUT_DELAY = 0.3
BUSY = (
    "the kernel is busy with code of another client, which was not interrupted; press Ctrl-C again to "
    "leave: your code stays queued and will run"
)

_Item: TypeAlias = ec.AnyMessage | RunEvent


class _Phase(Enum):
    QUEUED = auto()
    RUNNING = auto()
    IDLE = auto()


class Execution:
    """Runs code in a kernel.

    Args:
        kernel: A connected kernel.
        printer: Prints each message.
        screen: Is flushed when no more output is waiting.
        input_reader: Reads the answers to ``input()``.
        signals: Interrupt the code.

    Attributes:
        is_overdue: True if the code did not end when it was interrupted after its timeout.
    """

    def __init__(
        self,
        kernel: ec.Kernel,
        printer: Printer,
        screen: Screen,
        input_reader: InputReader,
        signals: Signals,
    ) -> None:
        self._kernel = kernel
        self._printer = printer
        self._screen = screen
        self._signals = signals
        self._inbox: RunInbox[ec.AnyMessage] = RunInbox(input_reader, signals)
        self._pending_input: PendingInput | None = None
        self._phase = _Phase.QUEUED
        self._interrupted = False
        self._reply_status = ""
        self._error: ec.KernelError | None = None
        self.is_overdue = False

    def run(self, code: str, *, timeout: float | None) -> ExitCode:
        """Run code until it ends.

        Args:
            code: The code.
            timeout: Seconds after which it is interrupted, or None.

        Raises:
            KernelDied, ConnectionLost: the code can no longer end.
            RequestAborted: the kernel did not run the code.
            RequestTimeout: the code did not end in time.
            Terminated: a signal ended the command.
            OSError: the output cannot be written.
        """
        kernel = self._kernel
        request = kernel.execute(
            code,
            # An error here must not abort the requests of other clients.
            stop_on_error=False,
            on_input=self._on_input,
        )
        kernel.errors.subscribe(self._inbox.on_error)
        died = ""
        with InterruptThread(
            self._interrupt,
            timeout=timeout,
            on_timeout=self._on_timeout,
            on_overdue=self._on_overdue,
        ) as thread:
            self._signals.set_interrupt_handler(partial(self._on_ctrl_c, thread))
            subscription = request.subscribe(self._on_message, self._inbox.end, self._inbox.end)
            try:
                self._follow()
            except ec.KernelDied as error:
                # Some kernels die of an interrupt.
                if not thread.timed_out:
                    raise
                died = f"; {error}"
            finally:
                self._leave()
                subscription.dispose()
        if thread.timed_out:
            reason = "and was interrupted" if self._interrupted else "because the kernel is busy"
            raise ec.RequestTimeout(f"the code did not finish within {timeout:g} s, {reason}{died}")
        has_raised = self._reply_status == "error" and not is_successful_exit(self._error)
        return ExitCode.RAISED if has_raised else ExitCode.OK

    # -- on the library's threads -------------------------------------------------------------------

    def _on_message(self, message: ec.AnyMessage) -> None:
        if message.header.msg_type == "status":
            if message.content.get("execution_state") == "busy":
                self._phase = _Phase.RUNNING
            elif self._phase is _Phase.RUNNING:
                self._phase = _Phase.IDLE
        elif message.header.msg_type == "execute_reply":
            self._reply_status = str(message.content.get("status"))
            ename, evalue = (str(message.content.get(name, "")) for name in ("ename", "evalue"))
            self._error = ec.KernelError(ename, evalue, ())
        self._inbox.put(message)

    def _on_input(self, request: ec.InputPrompt) -> Observable[str]:
        # The status busy has a channel of its own, and may arrive later.
        self._phase = _Phase.RUNNING
        return self._inbox.on_input(request)

    # -- in a signal handler ------------------------------------------------------------------------

    def _on_ctrl_c(self, thread: InterruptThread) -> bool:
        if self._phase is _Phase.QUEUED and self._kernel.owned:
            return False
        self._screen.skip_backlog()
        thread.interrupt()
        return True

    # -- on the interrupt thread --------------------------------------------------------------------

    def _interrupt(self) -> None:
        if not self._interrupt_own_code():
            self._inbox.put(KernelWarning(BUSY))

    def _on_timeout(self) -> None:
        self._signals.cancel_input()
        if not self._interrupt_own_code():
            self._inbox.put(RunEnd())

    def _on_overdue(self) -> None:
        self.is_overdue = True
        self._inbox.put(RunEnd())

    def _interrupt_own_code(self) -> bool:
        """Interrupt the kernel; return False if it may be running the code of another client."""
        if self._phase is _Phase.QUEUED and not self._kernel.owned:
            return False
        # Code that is not running ends by itself, and some kernels do not survive an interrupt then.
        if self._phase is _Phase.RUNNING:
            self._interrupted = True
            self._kernel.interrupt()
        return True

    # -- on the main thread -------------------------------------------------------------------------

    def _follow(self) -> None:
        """Handle events until the end."""
        while True:
            item: _Item | None = self._next_item()
            flush_at = time.monotonic() + FLUSH_INTERVAL
            while item is not None:
                if isinstance(item, RunEnd):
                    self._screen.finish()
                    if item.error is not None:
                        raise item.error
                    return
                self._handle(item)
                item = self._waiting_item() if time.monotonic() < flush_at else None
            self._screen.flush()

    def _leave(self) -> None:
        """Interrupt code that would go on in a kernel that stays."""
        is_running = self._phase is _Phase.RUNNING and not self._inbox.has_ended.is_set()
        if is_running and not self._kernel.owned:
            interrupt_and_wait(self._kernel)

    def _next_item(self) -> _Item:
        """Wait for the next item; answer a pending input request once the output before it is shown."""
        while self._pending_input is not None or self._screen.is_skipping:
            pending = self._pending_input
            if pending is not None and time.monotonic() >= pending.received_at + MAX_INPUT_DELAY:
                self._answer_input()
                continue
            try:
                return self._inbox.get(timeout=QUIET_TIME)
            except Empty:
                self._screen.on_queue_empty()
                self._screen.flush()
                self._answer_input()
        return self._inbox.get()

    def _waiting_item(self) -> _Item | None:
        try:
            return self._inbox.get(timeout=0)
        except Empty:
            self._screen.on_queue_empty()
            return None

    def _handle(self, item: ec.AnyMessage | PendingInput | KernelWarning) -> None:
        match item:
            case PendingInput():
                self._pending_input = item
            case KernelWarning():
                self._screen.warn(item.text)
            case _:
                self._printer.print(item)

    def _answer_input(self) -> None:
        pending, self._pending_input = self._pending_input, None
        if pending is not None:
            self._inbox.answer(pending)
