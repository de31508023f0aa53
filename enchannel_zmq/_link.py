"""A link to one kernel, as the core uses it."""

from __future__ import annotations

from concurrent.futures import Future
from copy import copy
from functools import partial

from enchannel import AnyMessage, ChannelName, ConnectionInfo, Session
from enchannel.abc import Capabilities, ChannelPair, Lifecycle, Link, LinkEvent
from enchannel.backends import CallbackObserver, IncomingSubject
from enchannel.errors import (
    ChannelClosed,
    ConnectionFailed,
    ConnectionLost,
    EnchannelError,
    KernelDied,
)
from enchannel.wire.signing import Signer
from enchannel.wire.zmq import encode
from enchannel_zmq._connection import KernelConnection
from enchannel_zmq._connection_phase import ConnectionPhase
from enchannel_zmq._incoming import MESSAGE_CHANNELS
from enchannel_zmq._io_thread import io_thread
from enchannel_zmq._loss_assessment import FindDeath

__all__ = ["ZmqLink"]

CLOSE_TIMEOUT = 5.0


class ZmqLink:
    """The thread-safe interface to the connection with one kernel, whose sockets are on the I/O thread.

    Args:
        info: The addresses and the key.
        session: The client's session.
        kernel_id: Names the kernel in error messages.
        max_received: Maximum frame size in bytes; a kernel that sends more is disconnected.
        keepalive_timeout: Seconds after which a connection to a host that does not respond is lost.
        reconnect_timeout: Seconds for which a lost link is reconnected before it is given up.
        find_death: Called on the I/O thread when the kernel no longer listens where a socket was lost. It
            must call its argument, on any thread, with the reason of the process's death, or with None if
            the process is running. Without it the loss of a socket for requests, on which the kernel no
            longer listens, counts as the kernel's death.

    Attributes:
        kernel_id: Names the kernel.
        events: The link's events, emitted on the I/O thread.
    """

    def __init__(
        self,
        info: ConnectionInfo,
        session: Session,
        *,
        kernel_id: str,
        max_received: int,
        keepalive_timeout: float,
        reconnect_timeout: float,
        find_death: FindDeath | None = None,
    ) -> None:
        self.kernel_id = kernel_id
        self._signer = Signer(info.key.reveal().encode(), info.signature_scheme)
        self._lease = io_thread.lease()
        self._io = self._lease.resource
        self._connection = KernelConnection(
            self._io,
            info,
            session,
            self._signer,
            kernel_id=kernel_id,
            max_received=max_received,
            keepalive_timeout=keepalive_timeout,
            reconnect_timeout=reconnect_timeout,
            find_death=find_death,
        )
        self.events: IncomingSubject[LinkEvent] = self._connection.events
        self._tracker = self._connection.tracker
        # Set by close() before the I/O thread has closed the sockets.
        self._is_closing = False

    def open(self, timeout: float) -> None:
        """Connect, and return once no message can be lost.

        Args:
            timeout: Seconds.

        Raises:
            ConnectionFailed: The kernel did not answer; the link is closed.
        """
        try:
            self._io.post(self._connection.start)
            self._wait_until_ready(timeout)
        except BaseException:
            self.close()
            raise

    def reopen(self, timeout: float) -> None:
        """Connect again after ``suspend``, as ``open`` does.

        Args:
            timeout: Seconds.

        Raises:
            ConnectionFailed: The kernel did not answer; the link is suspended.
        """
        connection = self._connection
        connection.opening = Future()
        self._io.post(connection.start)
        try:
            self._wait_until_ready(timeout)
        except ConnectionFailed:
            if not connection.opening.done():
                self.suspend(
                    ConnectionLost(f"kernel {self.kernel_id} did not answer within {timeout:g} s")
                )
            elif not self._is_closing:
                self._io.call(connection.stop_connecting, CLOSE_TIMEOUT)
            raise

    def abandon(self) -> None:
        """Make ``open`` or ``reopen`` fail at once, since the kernel ended."""
        self._connection.fail_opening(ConnectionFailed(f"kernel {self.kernel_id} ended"))

    def link(self, lifecycle: Lifecycle | None = None) -> Link:
        """Return the link as the core uses it.

        Args:
            lifecycle: Controls the kernel's process, if that was started here.
        """
        incoming, absent = self._connection.incoming, self._connection.absent
        pairs: dict[ChannelName, ChannelPair[AnyMessage] | ChannelPair[bytes]] = {
            name: ChannelPair(
                incoming.messages[name],
                CallbackObserver(partial(self._send_on, name)),
                partial(self._connection.unsent, name),
            )
            for name in MESSAGE_CHANNELS
            if name not in absent
        }
        if ChannelName.HEARTBEAT not in absent:
            beat = CallbackObserver[bytes](lambda beat: self._post(ChannelName.HEARTBEAT, [beat]))
            pairs[ChannelName.HEARTBEAT] = ChannelPair(incoming.beats, beat)
        return Link(
            pairs=pairs,
            events=self.events,
            close=self.close,
            kernel_id=self.kernel_id,
            capabilities=Capabilities(channels=frozenset(pairs), idle_is_last=False),
            lifecycle=lifecycle,
        )

    def send(self, message: AnyMessage) -> None:
        """Send a message on its channel, without waiting.

        Raises:
            ChannelClosed: The link is closed.
            ConnectionLost: The link is not connected.
            KernelDied: The kernel is dead.
        """
        self._send_on(message.channel, message)

    def suspend(self, why: EnchannelError) -> None:
        """Close the sockets until ``reopen``, and wait for that; open requests fail with the reason."""
        if not self._is_closing:
            self._io.call(partial(self._connection.suspend, why), CLOSE_TIMEOUT)

    def on_process_died(self, why: KernelDied) -> None:
        """Handle the end of the kernel's process; a no-op if it was handled before."""
        self._io.post(partial(self._connection.on_process_died, why))

    def close(self) -> None:
        """Close the sockets, and stop the I/O thread with the last link; a no-op if closed."""
        is_closing, self._is_closing = self._is_closing, True
        try:
            if not is_closing:
                self._io.call(self._connection.close, CLOSE_TIMEOUT)
        finally:  # also when Ctrl-C ends the wait, since the I/O thread closes the sockets all the same
            self._lease.release()

    def _send_on(self, name: ChannelName, message: AnyMessage) -> None:
        self._post(name, encode(message, self._signer))

    def _post(self, name: ChannelName, frames: list[bytes | memoryview] | list[bytes]) -> None:
        if self._is_closing:
            raise ChannelClosed(f"the connection to kernel {self.kernel_id} is closed")
        if self._tracker.phase is not ConnectionPhase.READY:
            raise copy(self._connection.send_error)
        self._io.post(partial(self._connection.send, name, frames))

    def _wait_until_ready(self, timeout: float) -> None:
        try:
            self._connection.opening.result(timeout)
        except TimeoutError:
            raise self._connection.explain_timeout(timeout) from None
