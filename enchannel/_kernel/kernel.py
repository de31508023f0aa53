"""The kernel as users see it; its parts do the work."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping
from types import TracebackType
from typing import Any, Self, cast

from reactivex import Observable, abc

from enchannel._kernel.action import Action
from enchannel._kernel.channel import MessageChannel, RoutingChannel
from enchannel._kernel.channel_set import ChannelTypes
from enchannel._kernel.comm import Comm
from enchannel._kernel.heartbeat import Heartbeat, validate_silent_after
from enchannel._kernel.in_flight import DEFAULT_TIMEOUT, RequestOptions
from enchannel._kernel.parts import KernelParts
from enchannel._kernel.request_gate import DEFAULT_MAX_IN_FLIGHT, validate_max_in_flight
from enchannel._kernel.request_registry import Request
from enchannel._kernel.requests import Requests, validate_on_input, validate_timeout
from enchannel._kernel.stdin import OnInput
from enchannel._kernel.subjects import Errors, Sent, State
from enchannel._kernel.subshell import Subshell
from enchannel._protocol.argument_types import validate_flags
from enchannel._protocol.channel_name import ChannelName
from enchannel._protocol.message import AnyMessage, Buffer
from enchannel._protocol.session import Session
from enchannel._rx.library_threads import is_shared_thread
from enchannel._rx.thread_calls import call_in_thread, hand_over
from enchannel._rx.timer import timer
from enchannel._rx.waiting import refuse_on_event_loop, refuse_to_block
from enchannel.abc import KernelState, Link, LinkState
from enchannel.errors import NotSupported

__all__ = ["Channel", "Kernel", "open_kernel", "parts_of"]

RESTART_TIMEOUT = 60.0
SHUTDOWN_TIMEOUT = 60.0
ASYNC_WITH = (
    "write `async with ec.launch(…) as kernel`, or `kernel = await ec.launch(…)` and "
    "`await kernel.aclose()` (the same with `ec.connect`)"
)


class Kernel(Requests):
    """A connection to a Jupyter kernel, as returned by ``launch()`` and ``connect()``.

    Made by them, or by ``from_link`` for those who have a link, never by its constructor.

    Use it with ``with`` or ``async with``: leaving the block shuts down a kernel that was launched, and
    disconnects from one that was connected to.

    Subscribers are called on one thread per kernel, so a slow subscriber delays neither other kernels nor
    sending; or on the event loop whose scheduler they subscribed with.

    Attributes:
        session: The identity of this client.
        link_state: The connection state: an observable with the current ``value``.
        state: The kernel state: an observable with the current ``value``.
        errors: All reported errors, as items; late subscribers receive the last 100.
        sent: Messages sent on all channels, with complete headers. They are emitted just before they are
            passed to the backend, which may still reject them.
    """

    def __init__(
        self,
        open_link: Callable[[], Link],
        session: Session,
        *,
        label: str = "",
        scheduler: abc.SchedulerBase | None = None,
        silent_after: float | None = None,
        max_in_flight: int | None = DEFAULT_MAX_IN_FLIGHT,
    ) -> None:
        self._label = label
        self._parts = parts = KernelParts(
            open_link,
            session,
            scheduler=scheduler or timer(),
            silent_after=silent_after,
            max_in_flight=max_in_flight,
            channel_types=ChannelTypes(kernel=self, channel=Channel, main=MainChannel),
        )
        self.session = session
        self.errors: Errors = parts.subjects.errors
        self.link_state: State[LinkState] = parts.subjects.link_state
        self.state: State[KernelState] = parts.subjects.state
        self.sent: Sent = parts.subjects.sent

    @classmethod
    def from_link(
        cls,
        link: Link,
        *,
        session: Session | None = None,
        scheduler: abc.SchedulerBase | None = None,
        silent_after: float | None = None,
        max_in_flight: int | None = DEFAULT_MAX_IN_FLIGHT,
    ) -> Self:
        """Return a connected kernel over an open link, as ``enchannel.backends.open_link`` returns.

        It never blocks. From now on, the link belongs to the kernel, whose ``close`` closes it.

        Args:
            link: An open link that has no subscriber yet.
            session: The identity of this client, with which the link was opened; a new one by default.
            scheduler: The scheduler of timeouts and heartbeats; a thread of the library by default.
            silent_after: Seconds without a heartbeat after which the kernel state is ``silent``. None: 5
                seconds, or no heartbeats with a scheduler of virtual time. ``math.inf``: no heartbeats.
            max_in_flight: As for ``enchannel.connect``.

        Raises:
            ValueError, TypeError: silent_after or max_in_flight is not a positive number.

        Example:
            >>> session = ec.Session()
            >>> link = open_link("kernel-1234.json", session=session)
            >>> with ec.Kernel.from_link(link, session=session) as kernel:
            ...     kernel.run("6 * 7")
        """
        validate_silent_after(silent_after)
        validate_max_in_flight(max_in_flight)
        kernel = cls(
            lambda: link,
            session or Session(),
            scheduler=scheduler,
            silent_after=silent_after,
            max_in_flight=max_in_flight,
        )
        kernel._parts.connection.open()
        return kernel

    # -- opening and closing -------------------------------------------------------------------------

    def close(self) -> None:
        """Shut down an owned kernel or disconnect from another; complete every channel.

        Messages that have arrived are still delivered. Waits up to 10 seconds for subscribers that lag
        behind. Idempotent and thread-safe, also when called by a subscriber. On a thread that serves all
        kernels, where the garbage collector may run a finalizer, it closes in the background.

        Raises:
            WouldDeadlock: called on a running event loop.
        """
        if is_shared_thread():
            hand_over(self._parts.connection.close, "kernel.close()")
            return
        refuse_on_event_loop("close()", "use `await kernel.aclose()`")
        self._parts.connection.close()

    async def aclose(self) -> None:
        """Close the kernel as ``close`` does, without blocking the event loop.

        If the task is cancelled, closing continues in its thread.
        """
        await call_in_thread(self._parts.connection.close)

    def detach(self) -> None:
        """Disconnect from a kernel that was launched, and leave it running.

        The kernel runs until this process exits, or longer if it was launched with ``independent=True``;
        ``connect`` finds it by its id. In a finalizer it may continue in the background, as ``close`` does.

        Raises:
            WouldDeadlock: called on a running event loop.
        """
        if is_shared_thread():
            hand_over(self._parts.connection.detach, "kernel.detach()")
            return
        refuse_on_event_loop("detach()", "use `await kernel.adetach()`")
        self._parts.connection.detach()

    async def adetach(self) -> None:
        """Disconnect as ``detach`` does, without blocking the event loop."""
        await call_in_thread(self._parts.connection.detach)

    def __enter__(self) -> Self:
        # Leaving the block would block the loop as well, so an open kernel is refused, too.
        refuse_on_event_loop("a kernel with `with`", ASYNC_WITH)
        if self._parts.connection.link is None:
            refuse_to_block(
                "connecting with `with`", ASYNC_WITH, "use the kernel in another thread"
            )
        self._parts.connection.open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return await self._open_in_thread()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    def __await__(self) -> Generator[object, None, Self]:
        """Connect without blocking the event loop: ``kernel = await ec.connect(…)``."""
        return self._open_in_thread().__await__()

    async def _open_in_thread(self) -> Self:
        connection = self._parts.connection
        if connection.link is None:
            await call_in_thread(connection.open, undo=lambda _: connection.close())
        elif connection.is_closing:
            connection.require_open()  # raises ChannelClosed
        return self

    # -- properties ------------------------------------------------------------------------------------

    @property
    def id(self) -> str:
        """The kernel's id: from the name of its connection file, or given by its server."""
        return self._parts.connection.require_link().kernel_id

    @property
    def owned(self) -> bool:
        """True if leaving the block shuts the kernel down, because it was launched."""
        return self._parts.connection.is_owned

    @property
    def position(self) -> int | None:
        """The position in the server's log up to which messages were received; None if it keeps no log.

        A relay keeps one: ``connect(…, since=position)`` resumes there, on any machine and at any time.
        After ``close``, all messages up to the position have been delivered.
        """
        position = self._parts.connection.require_link().position
        return None if position is None else position()

    @property
    def waiting_requests(self) -> int:
        """The number of requests that were not sent yet, because too many are in flight or code is held.

        ``max_in_flight`` of ``enchannel.connect`` is the limit.
        """
        return self._parts.requests.gate.waiting

    @property
    def shell(self) -> Channel:
        """The shell channel: requests and their replies."""
        return self._channel(ChannelName.SHELL)

    @property
    def control(self) -> Channel:
        """The control channel: requests that do not wait for running code."""
        return self._channel(ChannelName.CONTROL)

    @property
    def stdin(self) -> Channel:
        """The stdin channel: input requests of the kernel and their replies."""
        return self._channel(ChannelName.STDIN)

    @property
    def iopub(self) -> Channel:
        """The iopub channel: output and status, which the kernel sends to all clients."""
        return self._channel(ChannelName.IOPUB)

    @property
    def heartbeat(self) -> Heartbeat:
        """The heartbeat channel, whose bytes a kernel that is alive echoes.

        Raises:
            NotSupported: the backend does not support it.
        """
        self._parts.connection.require_link()
        heartbeat = self._parts.connection.channels.heartbeat
        if heartbeat is None:
            raise NotSupported("this kernel or its backend does not support the heartbeat channel")
        return heartbeat

    @property
    def main(self) -> Channel:
        """All message channels in one; each message names its ``channel``."""
        self._parts.connection.require_link()
        return cast(Channel, self._parts.connection.channels.main)

    def __repr__(self) -> str:
        link = self._parts.connection.link
        name = self._label if link is None else link.kernel_id
        waiting = f", {count} requests waiting" if (count := self.waiting_requests) else ""
        return f"<Kernel {name} {self.link_state.value}, {self.state.value}{waiting}>"

    def _channel(self, name: ChannelName) -> Channel:
        # Every channel of the connection is of the class in ChannelTypes.
        return cast(Channel, self._parts.connection.channel(name))

    # -- requests --------------------------------------------------------------------------------------

    def request(
        self,
        message: AnyMessage,
        *,
        timeout: float | None = DEFAULT_TIMEOUT,
        idle_grace: float | None = None,
        interrupt_if_abandoned: bool = False,
        on_input: OnInput | None = None,
    ) -> Observable[AnyMessage]:
        channels = self._parts.connection.require_link().capabilities.channels
        validate_timeout(timeout)
        validate_timeout(idle_grace, "idle_grace")
        validate_flags(interrupt_if_abandoned=interrupt_if_abandoned)
        validate_on_input(on_input)
        if ChannelName.STDIN not in channels and message.content.get("allow_stdin"):
            # So input() raises in the kernel; otherwise it would wait for an answer that cannot be sent.
            message = message.replace(content={**message.content, "allow_stdin": False})
        options = RequestOptions(
            timeout=timeout,
            idle_grace=idle_grace,
            interrupt_if_abandoned=interrupt_if_abandoned,
            on_input=on_input,
        )
        return Request(self._parts.requests, message, options)

    def interrupt(self, *, timeout: float | None = DEFAULT_TIMEOUT) -> Action:
        """Interrupt the running code immediately, by signal, message or REST, as the kernel supports it.

        ``docs/stopping.md`` compares the ways to stop code and lists the limits of each kernel.

        Args:
            timeout: Seconds after which the action fails with RequestTimeout; None: no timeout.

        Returns:
            An action that finishes once the interrupt was made. The code may still run: some kernels
            confirm an interrupt and go on.

        Raises:
            ChannelClosed: the kernel is closed.
            TypeError, ValueError: timeout is not a number, or not positive.
        """
        validate_timeout(timeout)
        return self._parts.lifecycle.interrupt(timeout)

    def restart(self, *, timeout: float | None = RESTART_TIMEOUT) -> Action:
        """Start a new process behind the same channels; requests in flight fail with KernelDied.

        Until it is up, new requests fail with KernelDied as well, because the old process would answer.
        A kernel that was shut down cannot be restarted.

        Args:
            timeout: Seconds after which the action fails with RequestTimeout; None: no timeout. The
                restart goes on.

        Returns:
            An action that finishes once the new process is up.

        Raises:
            ChannelClosed: the kernel is closed.
            NotSupported: the kernel was not launched.
            TypeError, ValueError: timeout is not a number, or not positive.
        """
        validate_timeout(timeout)
        return self._parts.lifecycle.restart(timeout)

    def shutdown(self, *, timeout: float | None = SHUTDOWN_TIMEOUT) -> Action:
        """Shut the kernel down; the channels stay open and ``state`` changes to dead.

        Args:
            timeout: Seconds after which the action fails with RequestTimeout; None: no timeout. The
                shutdown goes on.

        Returns:
            An action that finishes once the kernel has shut down.

        Raises:
            ChannelClosed: the kernel is closed.
            TypeError, ValueError: timeout is not a number, or not positive.
        """
        validate_timeout(timeout)
        return self._parts.lifecycle.shutdown(timeout)

    def comm(
        self,
        target_name: str,
        data: Mapping[str, Any] | None = None,
        *,
        metadata: Mapping[str, Any] | None = None,
        buffers: Iterable[Buffer] = (),
        comm_id: str | None = None,
    ) -> Comm:
        """Open a comm to a target in the kernel; ``comms`` gets those that the kernel opens.

        Args:
            target_name: The name of the target in the kernel.
            data: The data that the target gets.
            metadata: The metadata of the ``comm_open`` message, such as ``{"version": "2.1.0"}``.
            buffers: Binary data that the target gets.
            comm_id: The id of the comm; a new one by default.

        Returns:
            A Subject: ``on_next`` sends data, subscribers receive the comm's messages.
        """
        self._parts.connection.require_link()
        return self._parts.comms.open(
            target_name, data, metadata=metadata, buffers=buffers, comm_id=comm_id
        )

    def comms(self, target_name: str | None = None) -> Observable[Comm]:
        """Return the comms that the kernel opens from the subscription on, as a hot observable.

        Each comm emits the ``comm_open`` message and all others of the kernel to its first subscriber.
        Comms that the kernel opens while there is no subscriber are ignored.

        Args:
            target_name: The name of the target that the kernel opens; all targets by default.

        Example:
            >>> kernel.comms("jupyter.widget").subscribe(lambda comm: comm.subscribe(print))
        """
        self._parts.connection.require_link()
        return self._parts.comms.opened(target_name)

    def subshell(self) -> Subshell:
        """Return a second shell beside the main one, for use with ``with`` or ``async with``.

        Raises:
            NotSupported: on entering the block, if the kernel does not support subshells.
        """
        self._parts.connection.require_link()
        return Subshell(self, self._parts.report, self._parts.requests.fail_queue)


class Channel(MessageChannel[Kernel]):
    """A channel of a kernel, as a Subject: subscribe to receive messages, call ``on_next`` to send one.

    Subscribers are called on the kernel's delivery thread, one after the other, or on the event loop whose
    scheduler they subscribed with. Made by the library only.

    Its members beside those of a Subject, which are the operators of reactivex:

    Attributes:
        name: The name of the channel.
        kernel: The kernel; ``channel.kernel.close()`` ends the connection.
        unsent: The number of messages that the transport does not accept yet.
        observer_count: The number of subscriptions.

    Example:
        >>> kernel.iopub.pipe(ec.of_message_type("stream")).subscribe(print)
        >>> kernel.shell.on_next(ec.kernel_info_request())
    """


class MainChannel(RoutingChannel[Kernel], Channel):
    """All message channels of a kernel in one, as ``Kernel.main`` returns it.

    Each message names the ``channel`` on which it was received or is sent. Its members are those of
    ``Channel``.

    Attributes:
        name: ``"main"``.
        kernel: The kernel.
        unsent: The number of messages that the transport does not accept yet, on all channels.
        observer_count: The number of subscriptions.
    """


def parts_of(kernel: Kernel) -> KernelParts:
    """Return the internal interface of a kernel."""
    return kernel._parts


def open_kernel(kernel: Kernel) -> Kernel:
    """Connect, and return the kernel; blocks."""
    kernel._parts.connection.open()
    return kernel
