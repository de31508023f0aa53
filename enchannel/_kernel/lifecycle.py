"""Interrupting, restarting and shutting down a kernel, each as an action."""

from __future__ import annotations

from collections.abc import Callable

from reactivex import Observable, abc

from enchannel._kernel.action import Action, settle_with, sink_of
from enchannel._kernel.activity import KernelActivity
from enchannel._kernel.connection import Connection
from enchannel._kernel.in_flight import IdleWait, RequestOptions
from enchannel._kernel.interrupts import InterruptBarrier
from enchannel._kernel.request_registry import Request, RequestRegistry, start
from enchannel._kernel.subjects import KernelSubjects
from enchannel._protocol.message import AnyMessage
from enchannel._rx.sink import CallbackSink
from enchannel.abc import LinkEvent
from enchannel.errors import ConnectionLost, KernelDied, MessagesMayBeMissing, NotSupported
from enchannel.messages import interrupt_request, shutdown_request

__all__ = ["LifecycleActions"]


class LifecycleActions:
    """The actions on a kernel, by its backend's lifecycle or by a message.

    Each starts immediately. A failure that a requested end explains is not reported.

    Attributes:
        expects_end: True after a restart or shutdown was requested; the end of the kernel is not reported.
    """

    def __init__(
        self,
        connection: Connection,
        requests: RequestRegistry,
        activity: KernelActivity,
        subjects: KernelSubjects,
        scheduler: abc.SchedulerBase,
    ) -> None:
        self.expects_end = False
        self._barrier = InterruptBarrier(requests, scheduler)
        self._connection = connection
        self._requests = requests
        self._activity = activity
        self._subjects = subjects
        self._scheduler = scheduler

    def interrupt(self, timeout: float | None) -> Action:
        """Interrupt the code that runs.

        Raises:
            ChannelClosed: the kernel is closed.
        """
        lifecycle = self._connection.require_open().lifecycle
        on_made = self._barrier.begin()
        try:
            outcome = None if lifecycle is None else lifecycle.interrupt()
        except BaseException:
            on_made()
            raise
        if outcome is None:
            # deno sends no idle status for it while code runs, and the reply is all that matters.
            options = RequestOptions(timeout=timeout, idle_wait=IdleWait.NONE)
            return self._request("interrupt", interrupt_request(), options, on_made)
        action = self._settle("interrupt", outcome, timeout)
        outcome.subscribe(on_error=lambda _: on_made(), on_completed=on_made)
        return action

    def restart(self, timeout: float | None) -> Action:
        """Restart the kernel; requests fail, and are refused until it has restarted.

        Raises:
            ChannelClosed: the kernel is closed.
            NotSupported: the backend cannot restart the kernel.
        """
        link = self._connection.require_open()
        if link.lifecycle is None:
            raise NotSupported(
                "this kernel cannot be restarted: it was connected to, not launched; "
                "use enchannel.launch for a kernel that can be restarted"
            )
        self.expects_end = True
        # Visible before any request fails for it.
        if (state := self._activity.on_restart_requested()) is not None:
            self._subjects.taps.dispatch(state)
        self._requests.suspend(
            f"kernel {link.kernel_id} is being restarted; wait for the action that restart() "
            "returned, with ec.wait(action) or await action"
        )
        self._requests.fail_all(KernelDied(f"kernel {link.kernel_id} was restarted"))
        outcome = link.lifecycle.restart()
        outcome.subscribe(
            on_error=lambda _: self._on_restart_ended(succeeded=False),
            on_completed=lambda: self._on_restart_ended(succeeded=True),
        )
        return self._settle("restart", outcome, timeout)

    def shutdown(self, timeout: float | None) -> Action:
        """Shut the kernel down.

        Raises:
            ChannelClosed: the kernel is closed.
        """
        lifecycle = self._connection.require_open().lifecycle
        self.expects_end = True
        if lifecycle is None:
            return self._request(
                "shutdown", shutdown_request(), RequestOptions(timeout=timeout, is_urgent=True)
            )
        outcome = lifecycle.shutdown()
        outcome.subscribe(on_error=self._on_shutdown_failed)
        return self._settle("shutdown", outcome, timeout)

    @property
    def is_closing(self) -> bool:
        """True from the start of ``close`` on."""
        return self._connection.is_closing

    def is_expected(self, event: LinkEvent) -> bool:
        """Return True for an error that a requested restart, shutdown or close explains.

        A kernel that ends disconnects one channel after the other, which looks like lost messages.
        """
        if isinstance(event, (KernelDied, ConnectionLost)):
            return self.expects_end or self.is_closing
        return isinstance(event, MessagesMayBeMissing) and self.is_closing

    def on_new_process(self) -> None:
        """Handle a restarted kernel, or a link that is back: its next end is reported."""
        self.expects_end = False

    def _on_restart_ended(self, *, succeeded: bool) -> None:
        self._activity.on_restart_ended(succeeded=succeeded)
        self._requests.resume()

    def _on_shutdown_failed(self, _: Exception) -> None:
        # The kernel was asked to shut down and did not; its next end is reported again.
        self.expects_end = False

    def _settle(self, name: str, outcome: Observable[None], timeout: float | None) -> Action:
        action = self._action(name)
        settle_with(action, outcome, timeout=timeout, scheduler=self._scheduler)
        return action

    def _request(
        self,
        name: str,
        message: AnyMessage,
        options: RequestOptions,
        on_end: Callable[[], None] = lambda: None,
    ) -> Action:
        action = self._action(name)
        request = Request(self._requests, message, options)
        outcome = sink_of(action)

        def on_error(error: Exception) -> None:
            if _is_shut_down(name, error):
                outcome.on_completed()
            else:
                outcome.on_error(error)
            on_end()

        def on_completed() -> None:
            outcome.on_completed()
            on_end()

        start(request, CallbackSink[object](on_error=on_error, on_completed=on_completed))
        return action

    def _action(self, name: str) -> Action:
        report = self._subjects.report

        def report_unseen(error: Exception) -> None:
            if not (_is_shut_down(name, error) or self.is_closing):
                report(error)

        return Action(f"kernel.{name}()", self._subjects.delivery, report, report_unseen)


def _is_shut_down(name: str, error: Exception) -> bool:
    """Return True if the kernel has ended, as this action requested."""
    return name == "shutdown" and isinstance(error, KernelDied)
