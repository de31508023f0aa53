"""The plug: what a transport has to give, and what it may rely on.

A backend is a way for messages to travel. All that it must write is ``Backend.open``, which returns a
``Link``: one ``ChannelPair`` of observable and observer for each channel, and one observable of what
happens to the link. What users expect of a channel beyond that (serial delivery, guarded
subscribers, requests) is the core's business, the same for every backend.

``enchannel.testing`` has a test for each rule: a backend is right when they pass.

The contract
    1.  What the kernel says once ``open`` has returned is not lost, whoever subscribes to ``pairs`` when.
    2.  An ``open`` that does not succeed raises ``ConnectionFailed`` within ``timeout``, and leaves
        nothing behind.
    3.  ``pairs`` has the channels that the link's ``Capabilities`` name, shell and iopub at least, and no
        other; ``lifecycle`` is there where they say so.
    4.  A channel never hears what was said on it.
    5.  Order is kept on each channel, both ways. ``outgoing.on_next`` may be called from any thread, also
        by who is being told something.
    6.  ``incoming`` emits on any thread, and no two items of one channel at once. Who is told only notes
        what arrived, so nothing of a backend need wait for a subscriber, and no queue need have a bound.
    7.  ``outgoing.on_next`` never waits for the kernel to read. What the transport does not take waits,
        and ``unsent`` counts it.
    8.  What is in a message comes out as it went in: unicode, empty parts, any number of buffers.
    9.  What cannot be trusted or read is never a message: it is a ``RejectedFrame`` on ``status``, and
        the channel lives on.
    10. A message that cannot be sent is the caller's error: ``outgoing.on_next`` raises ``InvalidMessage``,
        which names the limit, and the channel lives on.
    11. A lost link is ``LinkState.LOST`` on ``status``; that open requests will not be answered is a
        ``ConnectionLost`` or ``KernelDied`` after it. A link that is back is ``LinkState.CONNECTED``. Where
        the ``Capabilities`` say that it ``can_resume``, what was asked may be answered after that; and if
        what came in between may not be heard, a ``MessagesMayBeMissing`` says so. A link that suspects that
        what was asked is lost says ``CONNECTED`` again, and the core asks anew.
    12. While the link is lost, ``outgoing.on_next`` raises ``ConnectionLost`` or ``KernelDied``. Nothing
        is kept to be sent later.
    13. A link that is given up is one ``on_error`` on ``status``; one that was closed, ``on_completed``.
    14. ``close`` may be called more than once and from any thread, also by who is being told something;
        it returns when the link's sockets are gone, and its threads with the last link. What was
        said before it is given a moment to go. After it nothing is emitted but the completion of
        ``status``.
    15. After ``close``, ``outgoing.on_next`` raises ``ChannelClosed``.
    16. Links are independent: each hears what answers it, all hear iopub, and the end of one takes
        nothing from another.
    17. What is said on the heartbeat comes back as it was, from a kernel that lives.
    18. No exception of a third-party library crosses: each is translated where it is caught.
    19. No key, token or password is in any text, ``repr`` or log.
    20. A ``lifecycle`` acts at once, does not wait, and its observables tell also who comes late. A restart
        is a new process behind the same channels.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from reactivex import Observable, abc

from enchannel._protocol.channel_name import ChannelName
from enchannel._protocol.link_event import KernelState, LinkEvent, LinkState
from enchannel._protocol.message import AnyMessage
from enchannel._protocol.session import Session

__all__ = [
    "Backend",
    "Capabilities",
    "ChannelPair",
    "KernelState",
    "Launcher",
    "Lifecycle",
    "Link",
    "LinkEvent",
    "LinkState",
]

_T = TypeVar("_T")


@dataclass(frozen=True)  # no slots: with them ChannelPair[bytes](…) fails on Python 3.11
class ChannelPair(Generic[_T]):
    """One channel: what is heard, and where to say something.

    Attributes:
        incoming: What the kernel says.
        outgoing: Where something is said to it; it never waits for the kernel to listen.
        unsent: How many messages wait here because the transport takes no more at the moment.
    """

    incoming: Observable[_T]
    outgoing: abc.ObserverBase[_T]
    unsent: Callable[[], int] = lambda: 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What a link can do; the conformance suite skips the rest, with that reason.

    Attributes:
        channels: The channels that ``pairs`` has.
        buffers: Whether messages may have binary buffers.
        max_sent: The largest message that can be sent, in bytes; None: no limit.
        lifecycle: Whether it can interrupt, restart and shut down a kernel.
        can_send: Whether anybody hears what is said. At the other end of a recording there is nobody; the
            suite is not for such.
        can_resume: Whether what was asked before a loss may still be answered after it. Then the loss alone
            ends nothing: when the link is back the core asks again, in vain or not, and knows.
        idle_grace: Seconds by which an idle may come later than its reply, where iopub is queued on its
            way.
    """

    channels: frozenset[ChannelName] = frozenset(ChannelName)
    buffers: bool = True
    max_sent: int | None = None
    lifecycle: bool = False
    can_send: bool = True
    can_resume: bool = False
    idle_grace: float = 2.0


class Lifecycle(ABC):
    """Rules a kernel's process. Each method acts at once, does not block, and may be called from any
    thread; the observable tells of its completion (one None) or its error, also to who comes late."""

    @abstractmethod
    def interrupt(self) -> Observable[None] | None:
        """Interrupt what runs; None where the kernel wants an ``interrupt_request`` instead."""

    @abstractmethod
    def restart(self) -> Observable[None]:
        """A new process behind the same channels; completes when it answers."""

    @abstractmethod
    def shutdown(self) -> Observable[None]:
        """Ask it to end, then make it; completes when its process is gone."""

    @abstractmethod
    def release(self) -> None:
        """Own the process no more: closing the link leaves it running."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """An open connection to one kernel.

    Attributes:
        pairs: A pair for each channel: of messages, but of bytes on the heartbeat.
        events: What happens to link and kernel; it does not repeat itself to who comes late.
        close: Ends it; see the contract.
        kernel_id: What to call the kernel.
        capabilities: What it can do.
        lifecycle: Where the process is the backend's to rule.
        owned: Whether the kernel ends with the link: it was started for it.
        on_first_subscriber: Called once by the core, when the first subscriber of a channel is there: for a
            link that has nothing to say before, such as a recording.
    """

    pairs: Mapping[ChannelName, ChannelPair[Any]]
    events: Observable[LinkEvent]
    close: Callable[[], None]
    kernel_id: str
    capabilities: Capabilities
    lifecycle: Lifecycle | None = None
    owned: bool = True
    on_first_subscriber: Callable[[], None] | None = None

    def pair(self, name: ChannelName) -> ChannelPair[AnyMessage] | None:
        """The pair of a channel of messages, if there is one."""
        return self.pairs.get(name)


class Backend(ABC):
    """Opens links to kernels that run already.

    An instance of it is what an entry point of the group ``enchannel.backends`` names; the entry
    point's name is the URL scheme that it answers to (one backend may have several).
    """

    contract: ClassVar[int] = 1
    """The version of the contract that it was written for."""

    @abstractmethod
    def open(self, target: Any, *, session: Session, timeout: float) -> Link:
        """Connect; a backend adds options of its own, as keywords with defaults.

        One that names an option ``scheduler`` is given the one that ``enchannel.connect`` was given, where
        that is so: it is where its time comes from.

        Args:
            target: What was given to ``enchannel.connect``.
            session: Who we are to the kernel.
            timeout: Seconds, for all of it.

        Raises:
            ConnectionFailed: with the channel that did not answer, and a hint.
        """


class Launcher(Backend):
    """A backend that can start kernels as well."""

    @abstractmethod
    def launch(
        self,
        name: str,
        *,
        session: Session,
        timeout: float,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
    ) -> Link:
        """Start a kernel and connect to it; the link has a lifecycle. A backend adds options of its own.

        Args:
            name: The kernelspec's.
            session: Who we are to the kernel.
            timeout: Seconds, until it answers.
            cwd: The directory that it starts in.
            env: Environment variables for it, beside those of this process.

        Raises:
            LaunchFailed: with the exit code and what the process printed.
        """
