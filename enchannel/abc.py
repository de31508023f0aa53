"""The backend interface: the methods of a transport, and the contract that it keeps.

A backend carries messages between enchannel and a kernel. The one method that it must implement is
``Backend.open``, which returns a ``Link``: a ``ChannelPair`` (an observable and an observer) for each
channel, and an observable of the events of the link. The core adds the rest for every backend: delivery
to subscribers on one thread, isolation of subscribers that raise, requests and their timeouts.

``enchannel.backends`` is the toolkit for authors; this module holds interfaces and data types only.
``enchannel.testing.BackendSuite`` tests each rule below; ``docs/backends.md`` builds a backend.

The contract
    1.  Messages that the kernel sends after ``open`` has returned are not lost, however late the core
        subscribes to ``pairs``: ``incoming`` buffers them until then.
    2.  If ``open`` cannot connect, it raises ``ConnectionFailed`` within ``context.timeout`` and leaves no
        thread, socket or process behind.
    3.  ``pairs`` contains exactly the channels of ``capabilities.channels``, which include shell and iopub.
    4.  Messages sent on a channel are not echoed back on it. (On the heartbeat the kernel echoes them.)
    5.  Each channel keeps the order of its messages, in both directions. ``outgoing.on_next`` may be called
        from any thread, including re-entrantly from an observer of ``incoming`` or ``events``.
    6.  ``incoming`` emits on any thread, but never two items of one channel at the same time. The core's
        observers only enqueue the item, so a backend may call them from its I/O thread and needs no limit
        on its queues.
    7.  ``outgoing.on_next`` never waits for the kernel to read. Messages that the transport does not accept
        yet are queued, and ``unsent`` counts them.
    8.  Messages arrive unchanged: Unicode text, empty buffers, any number of buffers.
    9.  A frame that is malformed, or whose signature is wrong, never becomes a message. It is reported as a
        ``RejectedFrame`` on ``events``, and the channel continues.
    10. If a message cannot be sent (too large, or buffers where ``capabilities.buffers`` is False),
        ``outgoing.on_next`` raises ``InvalidMessage``, whose text names the limit, and the channel
        continues.
    11. ``events`` reports the connection and the kernel as in this table. *Resuming* stands for
        ``capabilities.can_resume``: requests that were in flight may still be answered after a reconnect.

        ==================== ========================== ======================== ===========================
        Event                Emit, in this order        Core, not resuming       Core, resuming
        ==================== ========================== ======================== ===========================
        The connection       ``LinkState.LOST``; then,  Requests in flight and   Requests stay in flight.
        breaks.              unless resuming,           comms fail with that
                             ``ConnectionLost``         error.
        The connection is    ``LinkState.CONNECTED``;   Requests can be sent     Sends a probe request on
        back.                then, if resuming and      again.                   each channel with requests
                             messages may be lost,                               in flight. Once it is
                             ``MessagesMayBeMissing``                            answered, those that are
                                                                                 still open fail with
                                                                                 ``ConnectionLost``.
        The kernel dies,     ``LinkState.LOST``,        Requests in flight and   The same.
        and the connection   ``KernelState.DEAD``,      comms fail with
        breaks with it.      ``KernelDied``             ``KernelDied``.
        The kernel restarts, ``KernelState.RESTARTING`` Requests in flight and   The same.
        the connection       and ``KernelDied``; then,  comms fail with
        stays.               once the new process       ``KernelDied``. Status
                             answers,                   messages are ignored
                             ``KernelState.IDLE``       until ``IDLE``.
        The connection       ``LinkState.CONNECTED``    Nothing.                 Probes, as after a
        stays, but requests  again                                               reconnect.
        may have been lost.
        A message was sent,  ``MessageNotForwarded``    Its request fails with   The same.
        and the server does                             the reason, all others
        not forward it.                                 stay in flight.
        ==================== ========================== ======================== ===========================

        Other errors end no request. The core reports all errors on ``kernel.errors``, except
        ``MessageNotForwarded`` if a request fails with its reason.
    12. While the link is lost, ``outgoing.on_next`` raises ``ConnectionLost`` or ``KernelDied``, on every
        thread after the state that explains it was emitted. Nothing is queued to be sent after a reconnect.
    13. A link that will not reconnect ends ``events`` with one ``on_error``; a link that was closed ends
        it with ``on_completed``.
    14. ``close`` may be called repeatedly and from any thread, including re-entrantly from an observer. It
        returns once the link's sockets are closed; threads that links share end with the last link.
        Messages that were sent before ``close`` get a short grace period to be transmitted. After it,
        nothing is emitted but the completion of ``events``.
    15. After ``close``, ``outgoing.on_next`` raises ``ChannelClosed``.
    16. Links are independent. Each receives the replies to its own requests, every one receives iopub, and
        closing one does not affect another.
    17. Bytes sent on the heartbeat are echoed unchanged while the kernel is alive.
    18. No exception of a third-party library leaves the backend: each is translated to an enchannel error
        where it is caught. For a wrong argument, ``open`` and ``launch`` raise ``ValueError`` or
        ``TypeError`` themselves, and ``validate_open`` and ``validate_launch`` do so before them.
    19. No key, token or password appears in an error text, a ``repr`` or a log.
    20. Methods of ``lifecycle`` start immediately and never block; the observables that they return replay
        the outcome to late subscribers. A restart is a new process behind the same channels.
    21. A ``Lister`` lists each kernel with its ``Link.kernel_id`` and a ``target`` that ``open`` accepts.
        With ``context.at``, ``open`` finds a kernel by its id or an unambiguous beginning of it; for other
        texts it raises ``ConnectionFailed``.

Ending an owned kernel
    A kernel that the link owns (``Link.owned``, with a ``lifecycle``) is ended by the core, not by
    ``Link.close``. ``Kernel.close`` calls ``Lifecycle.shutdown``, waits for it up to 30 seconds, and then
    calls ``Link.close``. ``Kernel.detach`` calls ``Lifecycle.release`` instead; the kernel keeps running.
"""

from __future__ import annotations

import inspect
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final, Generic, TypeVar

from reactivex import Observable, abc

from enchannel._protocol.channel_name import ChannelName
from enchannel._protocol.link_event import KernelState, LinkEvent, LinkState
from enchannel._protocol.message import AnyMessage
from enchannel._protocol.models import KernelModel, KernelspecModel
from enchannel._protocol.session import Session

__all__ = [
    "Backend",
    "CONTRACT_VERSION",
    "Capabilities",
    "ChannelPair",
    "KernelState",
    "Launcher",
    "Lifecycle",
    "Link",
    "LinkEvent",
    "LinkState",
    "Lister",
    "OpenContext",
]

CONTRACT_VERSION: Final[int] = 1
"""The version of the contract that this version of enchannel implements."""

_T = TypeVar("_T")


# No slots: with them ChannelPair[bytes](…) fails on Python 3.11.
@dataclass(frozen=True)
class ChannelPair(Generic[_T]):
    """One channel of a link: the messages from the kernel, and an observer that sends to it.

    Attributes:
        incoming: The messages from the kernel. The core subscribes once; items are emitted on a thread of
            the backend.
        outgoing: Sends each item that is passed to its ``on_next``, from any thread and without blocking.
            ``on_next`` raises InvalidMessage, ConnectionLost, KernelDied or ChannelClosed. The core never
            calls ``on_error`` or ``on_completed``.
        unsent: Returns the number of messages that are queued because the transport does not accept more
            at the moment. May be called from any thread.
    """

    incoming: Observable[_T]
    outgoing: abc.ObserverBase[_T]
    unsent: Callable[[], int] = lambda: 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """The features of a link. The conformance suite skips tests of the others, with that reason.

    Attributes:
        channels: The channels in ``pairs``.
        buffers: True if messages may have binary buffers.
        max_sent: The largest message that can be sent, in bytes; None for no limit.
        can_send: True if sent messages reach a kernel. False for a link that plays a recording; the
            conformance suite does not apply to it.
        can_resume: True if requests that were in flight when the link was lost may still be answered after
            a reconnect; see rule 11.
        idle_grace: Seconds that the idle status may arrive after the reply, for a transport that queues
            iopub messages. Then the kernel is probed.
        idle_is_last: False if the kernel may be of any implementation. Some send output after the idle
            status, and are probed after each execution.
    """

    channels: frozenset[ChannelName] = frozenset(ChannelName)
    buffers: bool = True
    max_sent: int | None = None
    can_send: bool = True
    can_resume: bool = False
    idle_grace: float = 2.0
    idle_is_last: bool = True


class Lifecycle(ABC):
    """Controls a kernel process: interrupt, restart, shut down.

    Every method may be called from any thread, starts immediately and does not block. The returned
    observable emits one None and completes once the action is done, or fails with an EnchannelError; it
    replays that to late subscribers, and calls back on any thread. The methods themselves raise nothing.
    """

    @abstractmethod
    def interrupt(self) -> Observable[None] | None:
        """Interrupt the running code.

        Returns:
            The completion; None if the core should send the kernel an ``interrupt_request`` instead.
        """

    @abstractmethod
    def restart(self) -> Observable[None]:
        """Replace the process by a new one behind the same channels.

        Returns:
            The completion, once the new process answers.
        """

    @abstractmethod
    def shutdown(self) -> Observable[None]:
        """Ask the kernel to shut down, and kill it if it does not.

        Returns:
            The completion, once the process is gone.
        """

    @abstractmethod
    def release(self) -> None:
        """Give up ownership of the process; closing the link no longer ends it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """An open connection to one kernel.

    Attributes:
        pairs: A pair for each channel: of messages, and of bytes on the heartbeat.
        events: The events of the link and the kernel, as rule 11 lists them. It does not replay; items are
            emitted on any thread, one at a time.
        close: Closes the link (rule 14). May be called from any thread, also more than once; raises
            nothing.
        kernel_id: The id by which the kernel is known.
        capabilities: The features of the link.
        lifecycle: Controls the kernel process; None if the backend cannot.
        owned: True if the kernel was started for this link and is shut down with it; see "Ending an owned
            kernel".
        on_first_subscriber: If set, the core calls it once, when a channel gets its first subscriber, on
            the subscribing thread. A recording starts to play then.
        position: If set, returns the position in the server's log up to which messages were received. It
            may be called from any thread and after ``close``. The backend then has an option ``since`` that
            resumes there.
    """

    pairs: Mapping[ChannelName, ChannelPair[Any]]
    events: Observable[LinkEvent]
    close: Callable[[], None]
    kernel_id: str
    capabilities: Capabilities
    lifecycle: Lifecycle | None = None
    owned: bool = True
    on_first_subscriber: Callable[[], None] | None = None
    position: Callable[[], int] | None = None

    def pair(self, name: ChannelName) -> ChannelPair[AnyMessage] | None:
        """Return the pair of a message channel, or None if the link does not have that channel."""
        return self.pairs.get(name)


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenContext:
    """The arguments of ``connect`` or ``launch`` that every backend gets.

    Attributes:
        session: The session whose id and user name identify this client to the kernel.
        timeout: Seconds within which the link must be open, or a launched kernel must answer.
        scheduler: The scheduler that the user passed; None for a clock of the backend's choice.
        at: The URL of the server of the kernel; None for this machine.

    Raises:
        ValueError: ``timeout`` is not a positive number.
        TypeError: ``timeout`` or ``at`` is of another type.
    """

    session: Session
    timeout: float
    scheduler: abc.SchedulerBase | None = None
    at: str | None = None

    def __post_init__(self) -> None:
        if type(self.timeout) is bool or not isinstance(self.timeout, (int, float)):
            raise TypeError(f"timeout must be a number of seconds, not {self.timeout!r}")
        if not 0 < self.timeout < math.inf:
            raise ValueError(f"timeout must be a positive number of seconds, not {self.timeout!r}")
        if self.at is not None and not isinstance(self.at, str):
            raise TypeError(
                f"at must be a server URL such as https://host, not {type(self.at).__name__}"
            )


class Backend(ABC):
    """Opens links to running kernels.

    An entry point of the group ``enchannel.backends`` names an instance; the entry point's name is the URL
    scheme that it handles. One backend may have several.
    """

    contract: ClassVar[int]
    """The version of the contract that the backend implements; each concrete class sets it in its own body.

    It is a number, not ``CONTRACT_VERSION``: that is the version of the installed enchannel, and enchannel
    refuses backends of another version.
    """

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        if inspect.isabstract(cls):
            return
        declared = vars(cls).get("contract")
        if type(declared) is not int:
            raise TypeError(
                f"{cls.__qualname__}.contract must be an int that is set in the body of the class, not "
                f"{declared!r}; write the version of the contract for which the class was written, as in "
                f"contract = {CONTRACT_VERSION}"
            )

    @abstractmethod
    def open(self, target: Any, context: OpenContext) -> Link:
        """Connect to a running kernel, and block until the link is open.

        A backend adds its own options as keyword arguments with defaults.

        The core calls this in a thread that may block, never in an event loop.

        Args:
            target: The target that was passed to ``enchannel.connect``.
            context: The session, the timeout, and the other arguments that every backend gets.

        Raises:
            ConnectionFailed: The kernel could not be reached within ``context.timeout``; the text names the
                channel that did not answer and the remedy.
        """

    def validate_open(  # noqa: B027
        self, target: Any, context: OpenContext, options: Mapping[str, Any]
    ) -> None:
        """Check the arguments of ``open``, as far as that is possible without blocking.

        The core calls this first, where ``enchannel.connect`` is called, which may be on an event loop. A
        wrong argument then raises there, and not when the kernel is opened. The default accepts everything.

        Args:
            target, context: As for ``open``.
            options: The options that were passed; ``open`` has a parameter for each of them.

        Raises:
            ValueError, TypeError: An argument is invalid.
            ConnectionFailed: The arguments cannot work for another reason.
        """


class Launcher(Backend):
    """A backend that can also start kernels."""

    @abstractmethod
    def launch(
        self,
        name: str,
        context: OpenContext,
        *,
        cwd: Path | None = None,
        extra_env: Mapping[str, str] | None = None,
    ) -> Link:
        """Start a kernel and connect to it. The link has a lifecycle and owns the kernel.

        A backend adds its own options as keyword arguments with defaults. The core calls this in a thread
        that may block, never in an event loop.

        Args:
            name: The name of a kernelspec.
            context: The session, the timeout, and the other arguments that every backend gets.
            cwd: The working directory of the kernel.
            extra_env: Environment variables for the kernel, in addition to those of this process.

        Raises:
            LaunchFailed: The kernel did not start; the error has the exit code and the output of the
                process.
        """

    def validate_launch(self, name: str, context: OpenContext, options: Mapping[str, Any]) -> None:
        """Check the arguments of ``launch``, as ``validate_open`` does those of ``open``.

        Args:
            name, context: As for ``launch``.
            options: The options that were passed, without ``cwd`` and ``extra_env``.

        Raises:
            ValueError, TypeError: An argument is invalid.
            ConnectionFailed: The arguments cannot work for another reason.
        """


class Lister(Backend):
    """A backend that can also list running kernels and kernelspecs, and find a kernel by its id.

    If ``context.at`` is set, the target of ``open`` is the id of a kernel on that server, or an unambiguous
    beginning of the id; ``enchannel.backends.find_kernel`` finds it among the listed kernels. The core
    passes ``at`` to ``open`` of these backends only.

    The core calls both methods in a thread that may block, never in an event loop. A backend adds its own
    options as keyword arguments with defaults.
    """

    @abstractmethod
    def list_kernels(self, context: OpenContext) -> tuple[KernelModel, ...]:
        """Return the running kernels, the most recently active first if that is known.

        ``open`` connects to the ``target`` of each.

        Args:
            context: The timeout and the server; see ``OpenContext``.

        Raises:
            ConnectionFailed: The server did not answer within ``context.timeout``.
        """

    @abstractmethod
    def list_kernelspecs(self, context: OpenContext) -> tuple[KernelspecModel, ...]:
        """Return the kernelspecs by name; none if the server cannot start kernels.

        Args:
            context: The timeout and the server; see ``OpenContext``.

        Raises:
            ConnectionFailed: The server did not answer within ``context.timeout``.
        """
