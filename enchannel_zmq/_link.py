"""A link to one kernel: its sockets, the proof that they are ready, and reconnecting when they are lost."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from copy import copy
from functools import partial

import zmq

from enchannel import AnyMessage, ChannelName, ConnectionInfo, Session
from enchannel.abc import (
    Capabilities,
    ChannelPair,
    KernelState,
    Lifecycle,
    Link,
    LinkEvent,
    LinkState,
)
from enchannel.backends import CallbackObserver, IncomingSubject
from enchannel.errors import (
    AuthenticationFailed,
    ChannelClosed,
    ConnectionFailed,
    ConnectionLost,
    EnchannelError,
    InvalidSignature,
    KernelDied,
    MalformedFrame,
    MessagesMayBeMissing,
    RejectedFrame,
)
from enchannel.wire.signing import Signer
from enchannel.wire.zmq import encode
from enchannel_zmq._channel_socket import ChannelSocket, SocketOptions
from enchannel_zmq._diagnosis import ConnectDiagnostics
from enchannel_zmq._io_thread import Timer, TimerGroup, io_thread
from enchannel_zmq._link_phase import LinkPhase, PhaseEvent, next_phase
from enchannel_zmq._readiness import ReadinessProof
from enchannel_zmq._reconnect_policy import ReconnectPolicy
from enchannel_zmq._socket_set import SocketSet

__all__ = ["ZmqLink"]

# The sockets of a kernel that died are lost one after the other. Seconds from the first loss until the link
# looks which of them are left.
ASSESSMENT_DELAY = 0.02
CLOSE_TIMEOUT = 5.0
# For sending queued messages before the end, above all an interrupt.
LINGER_MS = 1000
REQUEST_CHANNELS = (ChannelName.SHELL, ChannelName.CONTROL)
MESSAGE_CHANNELS = (
    ChannelName.SHELL,
    ChannelName.CONTROL,
    ChannelName.STDIN,
    ChannelName.IOPUB,
)


class ZmqLink:
    """The connection to one kernel.

    Args:
        info: The addresses and the key.
        session: The client's session.
        kernel_id: Names the kernel in error messages.
        max_received: Maximum frame size in bytes; a kernel that sends more is disconnected.
        keepalive_timeout: Seconds after which a connection to a host that does not respond is lost.
        reconnect_timeout: Seconds for which a lost link is reconnected before it is given up.
        find_death: Called on the I/O thread when all sockets are lost. It must call its argument, on any
            thread, with the reason of the process's death, or with None if the process is running. Without
            it the loss of all sockets counts as the kernel's death.

    Attributes:
        info: The addresses and the key.
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
        find_death: Callable[[Callable[[KernelDied | None], None]], None] | None = None,
    ) -> None:
        self.info = info
        self.kernel_id = kernel_id
        self.events: IncomingSubject[LinkEvent] = IncomingSubject()
        self._find_death = find_death
        self._max_received = max_received
        self._signer = Signer(info.key.reveal().encode(), info.signature_scheme)
        self._incoming = {name: IncomingSubject[AnyMessage]() for name in MESSAGE_CHANNELS}
        self._beats: IncomingSubject[bytes] = IncomingSubject()
        self._lease = io_thread.lease()
        self._io = self._lease.resource
        self._timers = TimerGroup(self._io)
        self._proof = ReadinessProof(session, self._timers, self._send_probe)
        self._reconnect = ReconnectPolicy(self._io, reconnect_timeout)
        self._diagnostics = ConnectDiagnostics(info)
        self._sockets = SocketSet(
            self._io,
            info,
            SocketOptions(
                identity=session.id.encode(),
                max_received=max_received,
                keepalive_timeout=keepalive_timeout,
                topic=self._proof.topic.encode(),
            ),
            self._signer,
            on_readable={
                **dict.fromkeys(MESSAGE_CHANNELS, self._receive_messages),
                ChannelName.HEARTBEAT: self._receive_beat,
            },
            on_event=self._on_socket_event,
            report=self.events.on_next,
        )
        self._phase = LinkPhase.NEW
        self._assessment: Timer | None = None
        # Counts the times that the link became ready.
        self._generation = 0
        self._opening: Future[None] = Future()
        # Raised when sending in any phase but READY.
        self._send_error: EnchannelError = ConnectionLost("the link is not open yet")
        # Set by close() before the I/O thread has closed the sockets.
        self._is_closing = False

    # -- for any thread ---------------------------------------------------------------------------

    def open(self, timeout: float) -> None:
        """Connect, and return once no message can be lost.

        Args:
            timeout: Seconds.

        Raises:
            ConnectionFailed: The kernel did not answer; the link is closed.
        """
        try:
            self._io.post(self._start)
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
        self._opening = Future()
        self._io.post(self._start)
        try:
            self._wait_until_ready(timeout)
        except ConnectionFailed:
            if not self._opening.done():
                self.suspend(
                    ConnectionLost(f"{self._kernel()} did not answer within {timeout:g} s")
                )
            elif not self._is_closing:
                self._io.call(self._stop_connecting, CLOSE_TIMEOUT)
            raise

    def abandon(self) -> None:
        """Make ``open`` or ``reopen`` fail at once, since the kernel ended."""
        self._fail_opening(ConnectionFailed(f"{self._kernel()} ended"))

    def link(self, lifecycle: Lifecycle | None = None) -> Link:
        """Return the link as the core uses it.

        Args:
            lifecycle: Controls the kernel's process, if that was started here.
        """
        pairs: dict[ChannelName, ChannelPair[AnyMessage] | ChannelPair[bytes]] = {
            name: ChannelPair(
                self._incoming[name],
                CallbackObserver(partial(self._send_on, name)),
                partial(self._sockets.unsent, name),
            )
            for name in MESSAGE_CHANNELS
        }
        beat = CallbackObserver[bytes](lambda beat: self._post(ChannelName.HEARTBEAT, [beat]))
        pairs[ChannelName.HEARTBEAT] = ChannelPair(self._beats, beat)
        return Link(
            pairs=pairs,
            events=self.events,
            close=self.close,
            kernel_id=self.kernel_id,
            capabilities=Capabilities(lifecycle=lifecycle is not None),
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
            self._io.call(partial(self._suspend, why), CLOSE_TIMEOUT)

    def on_process_died(self, why: KernelDied) -> None:
        """Handle the end of the kernel's process; a no-op if the link knows."""
        self._io.post(partial(self._on_died, why))

    def close(self) -> None:
        """Close the sockets, and stop the I/O thread with the last link; a no-op if closed."""
        is_closing, self._is_closing = self._is_closing, True
        try:
            if not is_closing:
                self._io.call(self._finish, CLOSE_TIMEOUT)
        finally:  # also when Ctrl-C ends the wait, since the I/O thread closes the sockets all the same
            self._lease.release()

    def _send_on(self, name: ChannelName, message: AnyMessage) -> None:
        self._post(name, encode(message, self._signer))

    def _post(self, name: ChannelName, frames: list[bytes | memoryview] | list[bytes]) -> None:
        if self._is_closing:
            raise ChannelClosed(f"the connection to {self._kernel()} is closed")
        if self._phase is not LinkPhase.READY:
            raise copy(self._send_error)

        def send() -> None:
            if self._phase is LinkPhase.READY:
                self._sockets.send(name, frames)

        self._io.post(send)

    def _wait_until_ready(self, timeout: float) -> None:
        try:
            self._opening.result(timeout)
        except TimeoutError:
            disconnected = self._sockets.disconnected()
            raise self._diagnostics.explain(self.kernel_id, timeout, disconnected) from None

    def _fail_opening(self, error: EnchannelError) -> None:
        with suppress(InvalidStateError):  # raised if the opening has ended already
            self._opening.set_exception(error)

    def _kernel(self) -> str:
        return f"kernel {self.kernel_id}"

    # -- connecting, on the I/O thread ------------------------------------------------------------

    def _advance(self, event: PhaseEvent) -> bool:
        """Change the phase; return False if the event is ignored in this phase."""
        phase = next_phase(self._phase, event)
        if phase is None:
            return False
        self._phase = phase
        return True

    def _start(self) -> None:
        if not self._advance(PhaseEvent.OPENED):
            return
        self._proof.reset()
        self._diagnostics.reset()
        for name in ChannelName:
            self._reconnect.reset_delay(name)
            self._connect(name)

    def _stop_connecting(self) -> None:
        """Suspend the link again, without reporting a loss: it was suspended before."""
        if self._advance(PhaseEvent.SUSPENDED):
            self._timers.cancel()
            self._sockets.close()

    def _connect(self, name: ChannelName) -> None:
        try:
            self._sockets.connect(name)
        except zmq.ZMQError as error:
            self._fail_opening(
                ConnectionFailed(
                    f"connecting to {self._kernel()} failed: ZeroMQ rejects the address or the keys of "
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
            if not self._sockets.disconnected():
                self._on_all_connected()
        elif event == zmq.EVENT_CONNECTED:
            self._diagnostics.on_connected(name)
        elif event == zmq.EVENT_DISCONNECTED and self._is_loss(socket):
            socket.is_connected = False
            if not self._is_assessing():
                self._assessment = self._timers.later(ASSESSMENT_DELAY, self._assess)
        elif not (self._phase is LinkPhase.READY or self._is_assessing()):
            socket.is_connected = False
            if event == zmq.EVENT_CLOSED:
                self._diagnostics.on_closed(name)
            self._retry(name)

    def _is_loss(self, socket: ChannelSocket) -> bool:
        """Return True if a disconnect is a loss, and not a failed attempt to connect."""
        return self._phase is LinkPhase.READY or (
            self._phase is LinkPhase.PARTIAL and socket.is_connected
        )

    def _retry(self, name: ChannelName) -> None:
        self._sockets.discard(name)
        self._timers.later(self._reconnect.next_delay(name), partial(self._connect, name))

    def _on_all_connected(self) -> None:
        if self._proof.is_proven:
            self._become_ready()
        elif self._phase is not LinkPhase.READY:
            self._proof.start_probing()

    def _send_probe(self, probe: AnyMessage) -> None:
        if self._sockets.is_connected(probe.channel):
            self._sockets.send(probe.channel, encode(probe, self._signer))

    def _become_ready(self) -> None:
        was_opened = self._opening.done()
        if not self._advance(PhaseEvent.PROVEN):
            return
        self._generation += 1
        self._reconnect.stop_deadline()
        self.events.on_next(LinkState.CONNECTED)
        if was_opened:
            self.events.on_next(KernelState.IDLE)
        else:
            with suppress(InvalidStateError):  # raised if it was abandoned just now
                self._opening.set_result(None)

    # -- receiving, on the I/O thread -------------------------------------------------------------

    def _receive_beat(self, socket: ChannelSocket) -> bool:
        try:
            beat = socket.receive(False)
            while beat.more:  # the empty frame before the beat
                beat = socket.receive(False)
        except zmq.Again:
            return True
        self._beats.on_next(beat.bytes)
        return False

    def _receive_messages(self, socket: ChannelSocket) -> bool:
        name = socket.name
        messages, drained = self._sockets.receivers[name].messages()
        emit, probe_ids = self._incoming[name].on_next, self._proof.probe_ids
        is_plain_iopub = self._phase is LinkPhase.READY and name is ChannelName.IOPUB
        for message in messages:
            try:
                if isinstance(message, RejectedFrame):
                    self._on_rejected(name, message)
                elif (
                    is_plain_iopub
                    and message.header.msg_type != "iopub_welcome"
                    and message.parent_header.msg_id not in probe_ids
                ):
                    emit(message)
                else:
                    self._on_message(name, message)
            except Exception as error:  # one message's failure must not drop the next ones
                self.events.on_next(
                    MalformedFrame(
                        f"a message on {name.value} was dropped: handling it failed "
                        f"({type(error).__name__}: {error})"
                    )
                )
        return drained

    def _on_message(self, name: ChannelName, message: AnyMessage) -> None:
        if name is ChannelName.IOPUB and not self._proof.is_proven:
            self._proof.on_iopub_message()
            if not self._sockets.disconnected():
                self._become_ready()
        if self._proof.is_answer(message):
            return
        if name in REQUEST_CHANNELS and message.header.msg_type.endswith("_request"):
            self._on_echo(name)
            return
        if self._phase is LinkPhase.READY:
            self._incoming[name].on_next(message)

    def _on_echo(self, name: ChannelName) -> None:
        """Fail the link: kernels send no requests on these channels, so the peer echoes its input."""
        text = (
            f"{self._kernel()} echoes messages sent on {name} ({self.info.url(name)}), as a heartbeat port "
            f"would; check that {name}_port and hb_port are not swapped"
        )
        if not self._opening.done():
            self._fail_opening(ConnectionFailed(text))
        elif self._lose_all(PhaseEvent.MISCONFIGURED, ConnectionLost(text)):
            self.events.on_error(ConnectionLost(text))

    def _on_rejected(self, name: ChannelName, error: RejectedFrame) -> None:
        if isinstance(error, InvalidSignature) and not self._opening.done():
            self._fail_opening(
                AuthenticationFailed(
                    f"connecting to {self._kernel()} failed: messages on {name} are signed with another "
                    "key; check that the connection file is not an old one"
                )
            )
            return
        self.events.on_next(error)

    # -- losing sockets and reconnecting, on the I/O thread ---------------------------------------

    def _is_assessing(self) -> bool:
        return self._assessment is not None and self._assessment.is_pending

    def _assess(self) -> None:
        """Handle the loss of sockets, depending on those left and on the process."""
        if self._phase not in (LinkPhase.READY, LinkPhase.PARTIAL):
            return
        lost = self._sockets.disconnected()
        if len(lost) < len(ChannelName):
            self._on_some_lost(lost)
        elif self._find_death is not None:
            generation = self._generation
            self._find_death(
                lambda died: self._io.post(partial(self._on_death_found, generation, died))
            )
        else:
            text = f"{self._kernel()} closed all its sockets; it ended or was restarted"
            self._reconnect_all(KernelDied(text), is_dead=True)

    def _on_death_found(self, generation: int, died: KernelDied | None) -> None:
        if generation != self._generation:  # the kernel was restarted meanwhile
            return
        if died is not None:
            self._on_died(died)
        else:
            text = f"the connection to {self._kernel()} was lost, but its process is running"
            self._reconnect_all(ConnectionLost(text), is_dead=False)

    def _on_some_lost(self, lost: list[ChannelName]) -> None:
        names = ", ".join(lost)
        if self._phase is LinkPhase.PARTIAL or set(lost) & set(REQUEST_CHANNELS):
            why: EnchannelError = ConnectionLost(
                f"the connection to {self._kernel()} was lost on {names}; requests in flight there get no "
                "reply"
            )
        else:
            why = MessagesMayBeMissing(
                f"the connection to {self._kernel()} was lost on {names} and is restored: messages sent "
                "meanwhile are missing; a possible cause is a message over "
                f"max_received={self._max_received} bytes"
            )
        if self._phase is LinkPhase.PARTIAL:
            # More sockets were lost while some were being reconnected: reconnect all of them.
            self._reconnect_all(why, is_dead=False)
            return
        if ChannelName.IOPUB in lost:
            self._proof.reset()
        # Set before the phase, by which other threads choose to raise it.
        self._send_error = ConnectionLost(str(why))
        self._advance(PhaseEvent.SOME_LOST)
        self.events.on_next(LinkState.LOST)
        self.events.on_next(why)
        self._start_reconnecting(lost, why)

    def _on_died(self, why: KernelDied) -> None:
        if self._lose_all(PhaseEvent.DIED, why):
            self.events.on_next(KernelState.DEAD)

    def _suspend(self, why: EnchannelError) -> None:
        self._lose_all(PhaseEvent.SUSPENDED, why)

    def _reconnect_all(self, why: EnchannelError, *, is_dead: bool) -> None:
        if not self._lose_all(PhaseEvent.ALL_LOST, why):
            return
        if is_dead:
            self.events.on_next(KernelState.DEAD)
        self._start_reconnecting(ChannelName, why)

    def _lose_all(self, event: PhaseEvent, why: EnchannelError) -> bool:
        """Close all sockets and report the loss; return False if the phase ignores the event.

        Received messages are delivered first, and messages queued for the kernel are dropped.
        """
        if next_phase(self._phase, event) is None:
            return False
        self._sockets.drain_remaining()
        if next_phase(self._phase, event) is None:  # changed by a subscriber
            return False
        self._send_error = why
        self._advance(event)
        if self._phase is not LinkPhase.RECONNECTING:
            self._reconnect.stop_deadline()
        self._proof.reset()
        self._timers.cancel()
        self._sockets.close()
        self.events.on_next(LinkState.LOST)
        self.events.on_next(why)
        return True

    def _start_reconnecting(self, names: Iterable[ChannelName], why: EnchannelError) -> None:
        if self._phase is LinkPhase.CLOSED:  # by a subscriber to the loss
            return
        self._reconnect.start_deadline(partial(self._give_up, why))
        for name in names:
            self._retry(name)

    def _give_up(self, why: EnchannelError) -> None:
        if next_phase(self._phase, PhaseEvent.TIMED_OUT) is None:
            return
        kind = KernelDied if isinstance(why, KernelDied) else ConnectionLost
        text = f"{why}; reconnecting did not succeed within {self._reconnect.timeout:g} s"
        self._send_error = kind(text)
        self._advance(PhaseEvent.TIMED_OUT)
        self._timers.cancel()
        self._sockets.close()
        self.events.on_error(kind(text))

    def _finish(self) -> None:
        was_ready = self._phase is LinkPhase.READY
        if not self._advance(PhaseEvent.CLOSED):
            return
        self._reconnect.stop_deadline()
        self._timers.cancel()
        self._sockets.close(linger_ms=LINGER_MS if was_ready else 0)
        self.events.on_completed()
