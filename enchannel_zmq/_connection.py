"""The sockets of a link over time: connecting, proving that they are ready, losing, reconnecting."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from functools import partial

import zmq

from enchannel import AnyMessage, ChannelName, ConnectionInfo, Session
from enchannel.abc import KernelState, LinkEvent, LinkState
from enchannel.backends import IncomingSubject
from enchannel.errors import (
    AuthenticationFailed,
    ConnectionFailed,
    ConnectionLost,
    EnchannelError,
    InvalidSignature,
    KernelDied,
    MessagesMayBeMissing,
    NotSupported,
    RejectedFrame,
)
from enchannel.wire.signing import Signer
from enchannel.wire.zmq import encode
from enchannel_zmq._channel_socket import ChannelSocket, SocketOptions
from enchannel_zmq._connection_phase import ConnectionPhase, PhaseEvent, PhaseTracker
from enchannel_zmq._diagnosis import ConnectDiagnostics
from enchannel_zmq._incoming import MESSAGE_CHANNELS, REQUEST_CHANNELS, IncomingMessages
from enchannel_zmq._io_thread import IoThread, TimerGroup
from enchannel_zmq._listener_probe import ListenerProbe
from enchannel_zmq._loss_assessment import FindDeath, LossAssessment
from enchannel_zmq._optional_channels import LOSSES, OptionalChannels
from enchannel_zmq._readiness import ReadinessProof
from enchannel_zmq._reconnect_policy import ReconnectPolicy
from enchannel_zmq._remaining_output import RemainingOutput
from enchannel_zmq._socket_set import SocketSet

__all__ = ["KernelConnection"]

# For sending queued messages before the end, above all an interrupt.
LINGER_MS = 1000


class KernelConnection:
    """Connects, monitors and reconnects the sockets of one kernel.

    Its methods run on the I/O thread, except those that say otherwise.

    Args:
        io: The I/O thread.
        info: The addresses and the key.
        session: The client's session.
        signer: Signs and verifies messages.
        kernel_id: Names the kernel in error messages.
        max_received: Maximum frame size in bytes.
        keepalive_timeout: Seconds after which a connection to a host that does not respond is lost.
        reconnect_timeout: Seconds for which lost sockets are reconnected before the connection is given up.
        find_death: See ``ZmqLink``.

    Attributes:
        tracker: The phase.
        events: Changes of the connection and the kernel, and errors.
        incoming: The received messages.
        opening: Completes once messages can no longer be lost, or fails.
        send_error: Raised when sending in any phase but READY.
    """

    def __init__(
        self,
        io: IoThread,
        info: ConnectionInfo,
        session: Session,
        signer: Signer,
        *,
        kernel_id: str,
        max_received: int,
        keepalive_timeout: float,
        reconnect_timeout: float,
        find_death: FindDeath | None,
    ) -> None:
        self.tracker = PhaseTracker()
        self.events: IncomingSubject[LinkEvent] = IncomingSubject()
        self.opening: Future[None] = Future()
        self.send_error: EnchannelError = ConnectionLost("the link is not open yet")
        self._io = io
        self._info = info
        self._signer = signer
        self._name = f"kernel {kernel_id}"
        self._max_received = max_received
        self._timers = TimerGroup(io)
        self._proof = ReadinessProof(session, self._timers, self._send_probe)
        self._reconnect = ReconnectPolicy(io, reconnect_timeout)
        self._was_ready = False
        # Reported once the lost sockets are restored.
        self._gap: MessagesMayBeMissing | None = None
        self._diagnostics = ConnectDiagnostics(info, kernel_id)
        self.incoming = IncomingMessages(
            self.tracker,
            self._proof,
            on_proven=self._on_progress,
            on_echo=self._on_echo,
            on_rejected=self._on_rejected,
            report=self.events.on_next,
        )
        self._sockets = SocketSet(
            io,
            info,
            SocketOptions(
                identity=session.id.encode(),
                max_received=max_received,
                keepalive_timeout=keepalive_timeout,
                topic=self._proof.topic.encode(),
            ),
            signer,
            on_readable={
                **dict.fromkeys(MESSAGE_CHANNELS, self.incoming.receive_messages),
                ChannelName.HEARTBEAT: self.incoming.receive_beat,
            },
            on_event=self._on_socket_event,
            report=self.events.on_next,
        )
        self._optional = OptionalChannels(
            partial(ListenerProbe, self._timers, info), self._on_absent
        )
        self._loss = LossAssessment(
            io,
            self._timers,
            self.tracker,
            self._sockets,
            ListenerProbe(self._timers, info),
            partial(RemainingOutput, self._timers, self._sockets, self.incoming),
            find_death,
            self,
        )

    # -- for any thread ---------------------------------------------------------------------------

    def fail_opening(self, error: EnchannelError) -> None:
        """Make ``opening`` fail; a no-op if it has ended. From any thread."""
        with suppress(InvalidStateError):
            self.opening.set_exception(error)

    def explain_timeout(self, timeout: float) -> ConnectionFailed:
        """Return the error for an opening that took too long; from any thread."""
        return self._diagnostics.explain(timeout, self._sockets.disconnected())

    @property
    def absent(self) -> frozenset[ChannelName]:
        """The optional channels that the kernel lacks, once it is open; from any thread."""
        return self._sockets.absent

    def unsent(self, name: ChannelName) -> int:
        """Return the number of messages waiting for a kernel that does not read; from any thread."""
        return self._sockets.unsent(name)

    # -- connecting -------------------------------------------------------------------------------

    def start(self) -> None:
        """Connect all sockets; ignored unless new, suspended or given up."""
        if not self.tracker.advance(PhaseEvent.OPENED):
            return
        self._proof.reset()
        self._diagnostics.reset()
        for name in self._sockets.offered:
            self._reconnect.reset_delay(name)
            self._connect(name)

    def stop_connecting(self) -> None:
        """Suspend the link again, without reporting a loss: it was suspended before."""
        if self.tracker.advance(PhaseEvent.SUSPENDED):
            self._cancel_timers()
            self._sockets.close()

    def send(self, name: ChannelName, frames: Sequence[bytes | memoryview]) -> None:
        """Send a message; drop it unless READY."""
        if self.tracker.phase is ConnectionPhase.READY:
            self._sockets.send(name, frames)

    def _connect(self, name: ChannelName) -> None:
        try:
            self._sockets.connect(name)
        except zmq.ZMQError as error:
            self.fail_opening(
                ConnectionFailed(
                    f"connecting to {self._name} failed: ZeroMQ rejects the address or the keys of "
                    f"{name} ({error}); check the connection info"
                )
            )

    def _on_socket_event(self, socket: ChannelSocket, event: int) -> None:
        name = socket.name
        if not self._sockets.is_current(socket):
            return
        if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
            socket.is_connected = True
            self._diagnostics.on_handshake(name)
            self._reconnect.reset_delay(name)
            self._on_progress()
        elif event == zmq.EVENT_CONNECTED:
            self._diagnostics.on_connected(name)
        elif event == zmq.EVENT_DISCONNECTED and self._is_loss(socket):
            socket.is_connected = False
            self._loss.on_disconnected()
        elif not (self.tracker.phase is ConnectionPhase.READY or self._loss.is_pending):
            socket.is_connected = False
            if event == zmq.EVENT_CLOSED:
                self._diagnostics.on_closed(name)
            self._retry(name)
            self._on_progress()

    def _is_loss(self, socket: ChannelSocket) -> bool:
        """Return True if a disconnect is a loss, and not a failed attempt to connect."""
        return self.tracker.phase is ConnectionPhase.READY or (
            self.tracker.phase is ConnectionPhase.PARTIAL and socket.is_connected
        )

    def _retry(self, name: ChannelName) -> None:
        self._sockets.discard(name)
        self._timers.later(self._reconnect.next_delay(name), partial(self._reconnect_socket, name))

    def _reconnect_socket(self, name: ChannelName) -> None:
        if name not in self._sockets.absent:
            self._connect(name)

    def _on_progress(self) -> None:
        """Become ready if all is connected and proven; otherwise start the next step."""
        missing = self._sockets.disconnected()
        if not missing:
            if self._proof.is_proven:
                self._become_ready()
            elif self.tracker.phase is not ConnectionPhase.READY:
                self._proof.start_probing()
        elif self._may_lack(missing):
            if self._proof.is_answered:
                self._optional.check(missing)
            else:
                self._proof.needs_answer = True
                self._proof.start_probing()

    def _may_lack(self, names: Collection[ChannelName]) -> bool:
        """Return True if the kernel may lack these channels, all of which refused the connection."""
        return (
            not self._was_ready
            and self.tracker.phase is ConnectionPhase.CONNECTING
            and all(name in LOSSES and self._diagnostics.is_refused(name) for name in names)
        )

    def _on_absent(self, name: ChannelName) -> None:
        if name in self._sockets.absent or not self._may_lack([name]):
            return
        self._sockets.remove(name)
        self.events.on_next(
            NotSupported(
                f"{self._name} has no {name} channel, so {LOSSES[name]}: {self._info.url(name)} refused "
                f"the connection; check its port if the kernel should have one"
            )
        )
        self._on_progress()

    def _cancel_timers(self) -> None:
        self._timers.cancel()
        self._optional.cancel()

    def _send_probe(self, probe: AnyMessage) -> None:
        if self._sockets.is_connected(probe.channel):
            self._sockets.send(probe.channel, encode(probe, self._signer))

    def _become_ready(self) -> None:
        was_opened = self.opening.done()
        if not self.tracker.advance(PhaseEvent.PROVEN):
            return
        self._was_ready = True
        self._proof.needs_answer = False
        self._loss.invalidate()
        self._reconnect.stop_deadline()
        gap, self._gap = self._gap, None
        self.events.on_next(LinkState.CONNECTED)
        if gap is not None:
            self.events.on_next(gap)
        if was_opened:
            self.events.on_next(KernelState.IDLE)
        else:
            with suppress(InvalidStateError):  # raised if it was abandoned just now
                self.opening.set_result(None)

    def _on_echo(self, name: ChannelName) -> None:
        text = (
            f"{self._name} echoes messages sent on {name} ({self._info.url(name)}), as a heartbeat port "
            f"would; check that {name}_port and hb_port are not swapped"
        )
        if not self.opening.done():
            self.fail_opening(ConnectionFailed(text))
        elif self._lose_all(PhaseEvent.MISCONFIGURED, ConnectionLost(text)):
            self.events.on_error(ConnectionLost(text))

    def _on_rejected(self, name: ChannelName, error: RejectedFrame) -> None:
        if isinstance(error, InvalidSignature) and not self.opening.done():
            self.fail_opening(
                AuthenticationFailed(
                    f"connecting to {self._name} failed: messages on {name} are signed with another "
                    "key; check that the connection file is not outdated"
                )
            )
            return
        self.events.on_next(error)

    # -- losing sockets and reconnecting ----------------------------------------------------------

    def on_connections_cut(self, lost: list[ChannelName]) -> None:
        if not self._sockets.are_all_disconnected:
            self._on_some_lost(lost)
        else:
            text = f"the connection to {self._name} was lost, but its process is running"
            self._reconnect_all(ConnectionLost(text), is_dead=False)

    def on_kernel_gone(self) -> None:
        text = f"{self._name} closed its sockets; it ended or was restarted"
        self._reconnect_all(KernelDied(text), is_dead=True)

    def on_kernel_died(self, why: KernelDied) -> None:
        self._lose_all(PhaseEvent.DIED, why, is_dead=True)

    def _on_some_lost(self, lost: list[ChannelName]) -> None:
        self._sockets.drain_remaining()
        if not self.tracker.accepts(PhaseEvent.ALL_LOST):  # changed by a subscriber
            return
        text = f"the connection to {self._name} was lost on {', '.join(lost)}"
        ends_requests = self.tracker.phase is ConnectionPhase.PARTIAL or not set(lost).isdisjoint(
            REQUEST_CHANNELS
        )
        if ends_requests:
            text += "; requests in flight there get no reply"
        why = ConnectionLost(text)
        if self.tracker.phase is ConnectionPhase.PARTIAL:
            # More sockets were lost while some were being reconnected: reconnect all of them.
            self._reconnect_all(why, is_dead=False)
            return
        if ChannelName.IOPUB in lost:
            self._proof.reset()
        # The state and the error come before the phase, by which other threads choose to raise the error.
        self.events.on_next(LinkState.LOST)
        if not self.tracker.accepts(PhaseEvent.SOME_LOST):  # changed by a subscriber
            return
        self.send_error = why
        self.tracker.advance(PhaseEvent.SOME_LOST)
        self._gap = None if ends_requests else self._describe_gap(lost)
        if ends_requests:
            self.events.on_next(why)
        self._start_reconnecting(lost)

    def _describe_gap(self, lost: list[ChannelName]) -> MessagesMayBeMissing | None:
        """Return the error to report when these channels are restored; None if no message was lost."""
        names = [name for name in lost if name is not ChannelName.HEARTBEAT]
        if not names:
            return None
        return MessagesMayBeMissing(
            f"the connection to {self._name} was lost on {', '.join(names)} and is restored; messages sent "
            "in between are missing. A possible cause is a message larger than "
            f"max_received={self._max_received} bytes"
        )

    def on_process_died(self, why: KernelDied) -> None:
        """Report the death of the process after its last output; ignored if it is known."""
        if self.tracker.accepts(PhaseEvent.DIED):
            self._loss.on_process_died(why)

    def suspend(self, why: EnchannelError) -> None:
        """Close all sockets until the next ``start``, and report the reason."""
        self._lose_all(PhaseEvent.SUSPENDED, why)

    def _reconnect_all(self, why: EnchannelError, *, is_dead: bool) -> None:
        if self._lose_all(PhaseEvent.ALL_LOST, why, is_dead=is_dead):
            self._start_reconnecting(self._sockets.offered)

    def _lose_all(self, event: PhaseEvent, why: EnchannelError, *, is_dead: bool = False) -> bool:
        """Close all sockets and report the loss; return False if the phase ignores the event.

        Received messages are delivered first, and messages queued for the kernel are dropped.
        """
        if not self.tracker.accepts(event):
            return False
        self._sockets.drain_remaining()
        # The states come before the phase, by which other threads choose to raise the error.
        self.events.on_next(LinkState.LOST)
        if is_dead:
            self.events.on_next(KernelState.DEAD)
        if not self.tracker.accepts(event):  # changed by a subscriber
            return False
        self.send_error = why
        self._gap = None
        self._loss.invalidate()
        self.tracker.advance(event)
        if self.tracker.phase is not ConnectionPhase.RECONNECTING:
            self._reconnect.stop_deadline()
        self._proof.reset()
        self._cancel_timers()
        self._sockets.close()
        self.events.on_next(why)
        return True

    def _start_reconnecting(self, names: Iterable[ChannelName]) -> None:
        if self.tracker.phase not in (ConnectionPhase.PARTIAL, ConnectionPhase.RECONNECTING):
            return  # a subscriber to the loss closed the link
        self._reconnect.start_deadline(self._give_up)
        for name in names:
            self._retry(name)

    def _give_up(self) -> None:
        if not self.tracker.accepts(PhaseEvent.TIMED_OUT):
            return
        why = self.send_error
        kind = KernelDied if isinstance(why, KernelDied) else ConnectionLost
        self._loss.invalidate()
        text = f"{why}; reconnecting did not succeed within {self._reconnect.timeout:g} s"
        self.send_error = kind(text)
        self.tracker.advance(PhaseEvent.TIMED_OUT)
        self._cancel_timers()
        self._sockets.close()
        self.events.on_error(kind(text))

    def close(self) -> None:
        """Close all sockets; queued messages are sent within LINGER_MS, in the background."""
        was_ready = self.tracker.phase is ConnectionPhase.READY
        if not self.tracker.advance(PhaseEvent.CLOSED):
            return
        self._loss.invalidate()
        self._reconnect.stop_deadline()
        self._cancel_timers()
        self._sockets.close(linger_ms=LINGER_MS if was_ready else 0)
        self.events.on_completed()
