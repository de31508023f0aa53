"""Interrupting, restarting and shutting down a kernel, each as a completion."""

from __future__ import annotations

from collections.abc import Callable

from reactivex import Observable

from enchannel._kernel.connection import Connection
from enchannel._kernel.in_flight import DEFAULT_TIMEOUT, RequestOptions
from enchannel._kernel.request_registry import Request, RequestRegistry, start
from enchannel._kernel.subjects import Completion, KernelSubjects
from enchannel._protocol.message import AnyMessage
from enchannel._rx.sink import CallbackSink
from enchannel.abc import LinkEvent
from enchannel.errors import ConnectionLost, KernelDied, MessagesMayBeMissing, NotSupported
from enchannel.messages import interrupt_request, shutdown_request

__all__ = ["LifecycleActions"]


class LifecycleActions:
    """The actions on a kernel, by its backend's lifecycle or by a message.

    Each starts immediately and returns its completion.

    Attributes:
        expects_end: True after a restart or shutdown was requested; the end of the kernel is not reported.
    """

    def __init__(
        self, connection: Connection, requests: RequestRegistry, subjects: KernelSubjects
    ) -> None:
        self.expects_end = False
        self._connection = connection
        self._requests = requests
        self._subjects = subjects

    def interrupt(self) -> Completion[None]:
        """Interrupt the code that runs.

        Raises:
            ChannelClosed: the kernel is closed.
        """
        lifecycle = self._connection.require_open().lifecycle
        outcome = None if lifecycle is None else lifecycle.interrupt()
        if outcome is not None:
            return self._complete_with("interrupt", outcome)
        return self._request("interrupt", interrupt_request)

    def restart(self) -> Completion[None]:
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
        self._requests.suspend(
            f"kernel {link.kernel_id} is being restarted; wait for the restart first, with "
            "ec.wait(kernel.restart()) or await kernel.restart()"
        )
        self._requests.fail_all(KernelDied(f"kernel {link.kernel_id} was restarted"))
        outcome = link.lifecycle.restart()
        outcome.subscribe(
            on_error=lambda _: self._requests.resume(), on_completed=self._requests.resume
        )
        return self._complete_with("restart", outcome)

    def shutdown(self) -> Completion[None]:
        """Shut the kernel down.

        Raises:
            ChannelClosed: the kernel is closed.
        """
        lifecycle = self._connection.require_open().lifecycle
        self.expects_end = True
        if lifecycle is None:
            return self._request("shutdown", shutdown_request)
        outcome = lifecycle.shutdown()
        outcome.subscribe(on_error=self._on_shutdown_failed)
        return self._complete_with("shutdown", outcome)

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

    def _on_shutdown_failed(self, _: Exception) -> None:
        # The kernel was asked to shut down and did not; its next end is reported again.
        self.expects_end = False

    def _complete_with(self, name: str, outcome: Observable[None]) -> Completion[None]:
        completion = self._completion(name)
        outcome.subscribe(completion.on_next, completion.on_error, completion.on_completed)
        return completion

    def _request(self, name: str, message: Callable[[], AnyMessage]) -> Completion[None]:
        completion = self._completion(name)
        request = Request(self._requests, message(), RequestOptions(timeout=DEFAULT_TIMEOUT))
        start(
            request,
            CallbackSink(
                on_error=completion.on_error, on_completed=lambda: completion.on_next(None)
            ),
        )
        return completion

    def _completion(self, name: str) -> Completion[None]:
        return Completion(f"kernel.{name}()", self._subjects.delivery, self._subjects.report)
