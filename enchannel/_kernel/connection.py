"""The connection to a kernel: opening, closing, detaching, and the reset in a forked child."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Mapping
from enum import Enum, auto
from typing import Any, Final, Protocol

from enchannel._kernel.channel import MessageChannel
from enchannel._kernel.channel_set import ChannelSet
from enchannel._kernel.subjects import KernelSubjects
from enchannel._protocol.channel_name import ChannelName
from enchannel._protocol.message import AnyMessage
from enchannel._rx.process_hooks import call_at_exit, call_in_forked_child, ensure_exit_hooks
from enchannel._rx.thread_calls import join_calls
from enchannel._rx.waiting import Waiter
from enchannel.abc import Link, LinkEvent, LinkState
from enchannel.errors import (
    ChannelClosed,
    EnchannelError,
    NotConnected,
    RequestTimeout,
    WouldDeadlock,
)

__all__ = ["Connection", "Phase", "Receiver"]

# For subscribers that lag behind.
CLOSE_TIMEOUT = 10.0
SHUTDOWN_TIMEOUT = 30.0

FORKED_ERROR = (
    "this kernel belongs to the process that this one was forked from; connect again in the child"
)


class Phase(Enum):
    """The phase of a connection. FORKED is that of a copy in a forked child, which the parent owns."""

    NEW = auto()
    OPENING = auto()
    OPEN = auto()
    CLOSING = auto()
    CLOSED = auto()
    FORKED = auto()


TRANSITIONS: Final[Mapping[Phase, frozenset[Phase]]] = {
    Phase.NEW: frozenset({Phase.OPENING, Phase.CLOSING}),
    # Back to NEW if opening fails, so that it can be tried again.
    Phase.OPENING: frozenset({Phase.NEW, Phase.OPEN, Phase.CLOSING, Phase.FORKED}),
    Phase.OPEN: frozenset({Phase.CLOSING, Phase.FORKED}),
    Phase.CLOSING: frozenset({Phase.CLOSED, Phase.FORKED}),
    Phase.CLOSED: frozenset(),
    Phase.FORKED: frozenset(),
}


class Receiver(Protocol):
    """Receives messages and events of a connection, on the thread on which they arrive."""

    def on_message(self, message: AnyMessage, /) -> None:
        """Handle a message of any channel, before the subscribers of the channel get it."""

    def on_event(self, event: LinkEvent, /) -> None:
        """Handle an event of the link."""

    def on_heartbeat(self, is_beating: bool, /) -> None:
        """Handle a change of the heartbeat."""

    def on_link_error(self, error: Exception, /) -> None:
        """Handle the failure of the link, which is final."""

    def on_link_completed(self) -> None:
        """Handle the end of the link."""

    def on_open(self) -> None:
        """Handle the opening of the link; called before any message."""

    def terminate(self, error: Exception | None = None, /) -> None:
        """Complete, or fail, every observable of the kernel."""


class Connection:
    """The link to one kernel from its opening to its closing. Thread-safe.

    Args:
        open_link: Opens the link; called once, unless it raises.
        subjects: The observables of the kernel.
        channels: Its channels.

    Attributes:
        phase: The current phase; see ``TRANSITIONS``.
        link: The link; None before it is open.
        channels: The channels of the kernel.
    """

    _receiver: Receiver

    def __init__(
        self,
        open_link: Callable[[], Link],
        subjects: KernelSubjects,
        channels: ChannelSet[Any],
    ) -> None:
        self.phase = Phase.NEW
        self.link: Link | None = None
        self.channels = channels
        self._open_link = open_link
        self._subjects = subjects
        self._is_detached = False
        self._lock = threading.RLock()
        # Re-entrant, because a signal handler or finalizer may use the kernel while this thread opens it.
        self._opening = threading.RLock()
        self._closing_thread: int | None = None
        self._closed = threading.Event()

    def bind(self, receiver: Receiver) -> None:
        """Set the receiver of messages and events; called once, before ``open``."""
        self._receiver = receiver

    def open(self) -> None:
        """Open the link; a no-op if it is open. A call on another thread waits for the first.

        Raises:
            ChannelClosed: the kernel is closed, or was closed meanwhile.
            ConnectionFailed, LaunchFailed: as ``open_link`` does.
            WouldDeadlock: this thread is opening the link, and a signal handler or finalizer called this.
        """
        with self._opening:
            if self.is_closing:
                self._raise_if_closed()
            if self.phase is Phase.OPENING:
                raise WouldDeadlock(
                    "opening a kernel that the same thread is opening, as in a signal handler, would wait "
                    "for itself; open it in one place"
                )
            is_first = self.link is None
            if is_first:
                self._start_opening()
                try:
                    link = self._open_link()
                except BaseException:
                    self._abandon_opening()
                    raise
                self._accept(link)
        if is_first:
            # Without the lock, because it sends.
            self.channels.unpause_heartbeat()

    def close(self) -> None:
        """Shut down an owned kernel, close the link, and emit the terminal events.

        Waits up to 10 s for subscribers that lag behind. Idempotent.
        """
        if self.phase is Phase.FORKED:
            return
        with self._lock:
            is_first = not self.is_closing
            if is_first:
                self._move_to(Phase.CLOSING)
                self._closing_thread = threading.get_ident()
            link = self.link
        if not is_first:
            is_this_thread = self._closing_thread == threading.get_ident()
            if not (is_this_thread or self._subjects.delivery.is_current):
                self._closed.wait(CLOSE_TIMEOUT)
            return
        try:
            self._subjects.on_closing()
            if link is not None:
                self._disconnect(link)
        finally:
            self._receiver.terminate()
            # It is FORKED in a child that was forked from here.
            if self.phase is Phase.CLOSING:
                self._move_to(Phase.CLOSED)
            _connections.discard(self)
            self._closing_thread = None
            self._closed.set()
        self._subjects.delivery.join(CLOSE_TIMEOUT)

    def detach(self) -> None:
        """Close the connection, and leave an owned kernel running."""
        if self.phase is Phase.FORKED:
            return
        self._is_detached = True
        link = self.link
        if link is not None and link.lifecycle is not None:
            link.lifecycle.release()
        self.close()

    @property
    def is_closing(self) -> bool:
        """True from the start of ``close`` on."""
        return self.phase in (Phase.CLOSING, Phase.CLOSED)

    @property
    def is_owned(self) -> bool:
        """True if closing shuts the kernel down."""
        return self.link is not None and self._owns(self.link)

    def require_link(self) -> Link:
        """Return the link, also after it was closed.

        Raises:
            ChannelClosed: the kernel was closed before it was open, or belongs to the parent process.
            NotConnected: the kernel is not open yet.
        """
        if self.link is None:
            self._raise_if_closed()
            raise NotConnected(
                "this kernel is not connected yet: on a running event loop write "
                "`async with ec.launch(…) as kernel`, or `kernel = await ec.launch(…)` "
                "(the same with `ec.connect`)"
            )
        if self.phase is Phase.FORKED:
            raise ChannelClosed(FORKED_ERROR)
        return self.link

    def require_open(self) -> Link:
        """Return the link.

        Raises:
            ChannelClosed: the kernel is closed, or belongs to the parent process.
            NotConnected: the kernel is not open yet.
        """
        link = self.require_link()
        self._raise_if_closed()
        return link

    def channel(self, name: ChannelName) -> MessageChannel[Any]:
        """Return a message channel.

        Raises:
            ChannelClosed, NotConnected: as ``require_link`` does.
            NotSupported: the backend does not support it.
        """
        self.require_link()
        return self.channels.get(name)

    def send(self, message: AnyMessage) -> None:
        """Send a message on the channel that it names."""
        self.require_link()
        self.channels.get(message.channel).on_next(message)

    def reset_after_fork(self) -> None:
        """Give up the copy in a forked child, and replace locks that a thread of the parent may hold."""
        self._lock, self._opening = threading.RLock(), threading.RLock()
        if self.phase is not Phase.CLOSED:
            self._move_to(Phase.FORKED)
        self._subjects.delivery.reset_after_fork(ChannelClosed(FORKED_ERROR))

    def _move_to(self, phase: Phase) -> None:
        with self._lock:
            if phase not in TRANSITIONS[self.phase]:
                raise AssertionError(f"a connection cannot go from {self.phase} to {phase}")
            self.phase = phase

    def _start_opening(self) -> None:
        with self._lock:
            self._raise_if_closed()
            self._move_to(Phase.OPENING)
        _connections.add(self)
        ensure_exit_hooks()

    def _abandon_opening(self) -> None:
        with self._lock:
            if self.phase is Phase.OPENING:
                self._move_to(Phase.NEW)
        _connections.discard(self)

    def _accept(self, link: Link) -> None:
        with self._lock:
            if self.phase is Phase.OPENING:
                self.link = link
                self._move_to(Phase.OPEN)
                self._subscribe(link)
        if self.link is link:
            return
        self._disconnect(link)
        self._raise_if_closed()

    def _subscribe(self, link: Link) -> None:
        receiver = self._receiver
        self._subjects.set_link_state(LinkState.CONNECTED)
        receiver.on_open()
        self.channels.attach(
            link, on_message=receiver.on_message, on_heartbeat=receiver.on_heartbeat
        )
        link.events.subscribe(receiver.on_event, receiver.on_link_error, receiver.on_link_completed)

    def _disconnect(self, link: Link) -> None:
        try:
            if self._owns(link):
                self._shut_down(link)
        # Ctrl-C while the kernel shuts down must not leave the link open.
        finally:
            self.channels.pause_heartbeat()
            link.close()

    def _owns(self, link: Link) -> bool:
        return link.lifecycle is not None and link.owned and not self._is_detached

    def _shut_down(self, link: Link) -> None:
        if link.lifecycle is None:
            return
        waiter: Waiter[None] = Waiter()
        with waiter.subscribe_to(link.lifecycle.shutdown()):
            try:
                if not waiter.wait(SHUTDOWN_TIMEOUT):
                    raise RequestTimeout(
                        f"the kernel did not shut down within {SHUTDOWN_TIMEOUT:g} s"
                    )
                waiter.last()
            except EnchannelError as error:
                self._subjects.report(error)

    def _raise_if_closed(self) -> None:
        if self.phase is Phase.FORKED:
            raise ChannelClosed(FORKED_ERROR)
        if self.is_closing:
            raise ChannelClosed("this kernel is closed")


_connections: weakref.WeakSet[Connection] = weakref.WeakSet()


def close_all() -> None:
    """Close every connection, so that no owned kernel outlives the interpreter."""
    join_calls(CLOSE_TIMEOUT)  # of kernels that are starting
    for connection in list(_connections):
        connection.close()


def _reset_all_after_fork() -> None:
    global _connections
    forked, _connections = list(_connections), weakref.WeakSet()
    for connection in forked:
        connection.reset_after_fork()


call_at_exit(close_all)
call_in_forked_child(_reset_all_after_fork)
