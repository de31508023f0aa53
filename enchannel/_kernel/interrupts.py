"""Interrupts that the library makes itself, for requests that were abandoned or cannot go on."""

from __future__ import annotations

from collections.abc import Callable

from reactivex import Observable, abc

from enchannel._kernel.activity import KernelActivity
from enchannel._kernel.connection import Connection
from enchannel._kernel.subjects import KernelSubjects
from enchannel.abc import LinkState
from enchannel.errors import EnchannelError

__all__ = ["Interrupter"]

# Some kernels report busy a moment before they can be interrupted.
BUSY_DELAY = 0.05


class Interrupter:
    """Interrupts the kernel and reports a failure, since no caller holds the action.

    There is one interrupt at a time: an interrupted kernel may send an input request where it should
    report that it was interrupted.

    Args:
        interrupt: Starts an interrupt and returns its outcome.
        connection: The connection to the kernel.
        activity: The requests that the kernel works on.
        subjects: The observables of the kernel.
        scheduler: The scheduler of delays.
    """

    def __init__(
        self,
        interrupt: Callable[[], Observable[None]],
        *,
        connection: Connection,
        activity: KernelActivity,
        subjects: KernelSubjects,
        scheduler: abc.SchedulerBase,
    ) -> None:
        self._interrupt = interrupt
        self._connection = connection
        self._activity = activity
        self._subjects = subjects
        self._scheduler = scheduler
        self._is_interrupting = False
        self._needs_repeat = False  # when the link is back
        # The requests to interrupt when they run.
        self._waiting: set[str] = set()

    def interrupt(self) -> None:
        """Interrupt the kernel, unless an interrupt is under way."""
        if self._is_interrupting:
            return
        self._is_interrupting = True
        try:
            self._interrupt().subscribe(on_error=self._on_end, on_completed=self._on_end)
        except EnchannelError as error:
            self._on_end(error)

    def interrupt_when_running(self, request_id: str) -> None:
        """Interrupt the kernel as soon as it works on a request that was abandoned."""
        self._waiting.add(request_id)

    def on_busy(self, request_id: str) -> None:
        """Handle a busy status of the kernel for a request."""
        if request_id in self._waiting:
            self._waiting.discard(request_id)
            self._scheduler.schedule_relative(
                BUSY_DELAY, lambda *_: self._interrupt_running(request_id)
            )

    def on_lost(self) -> None:
        """Handle the loss of connection or kernel: requests that have not started never will."""
        self._waiting.clear()

    def on_reconnect(self) -> None:
        """Repeat an interrupt that failed because the link was lost, if the kernel is still busy."""
        needs_repeat, self._needs_repeat = self._needs_repeat, False
        if needs_repeat and self._activity.is_busy:
            self.interrupt()

    def _interrupt_running(self, request_id: str) -> None:
        if self._activity.is_running(request_id) and not self._connection.is_closing:
            self.interrupt()

    def _on_end(self, error: Exception | None = None) -> None:
        self._is_interrupting = False
        if error is not None:
            self._needs_repeat = self._subjects.link_state.value is LinkState.LOST
            self._subjects.report(error)
