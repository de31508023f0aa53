"""A link that reconnects: everything about it that does not depend on the transport.

A subclass opens one connection, reads from it, and sends frames on it. This base has the channels, the
queue of outgoing frames, the phases of the link, reconnecting with backoff, and closing.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from abc import ABC, abstractmethod
from collections.abc import Coroutine, Mapping
from concurrent.futures import Future
from contextlib import suppress
from copy import copy
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar

from enchannel._protocol.channel_name import ChannelName
from enchannel._protocol.link_event import KernelState, LinkEvent, LinkState
from enchannel._protocol.message import AnyMessage
from enchannel.abc import ChannelPair
from enchannel.backends._backoff import (
    ATTEMPT_TIMEOUT,
    MAX_REJECTIONS,
    Backoff,
    RejectionCounter,
)
from enchannel.backends._event_loop_thread import EventLoopThread
from enchannel.backends._link_phase import FINAL_PHASES, PHASE_TRANSITIONS, LinkPhase
from enchannel.backends._send_queue import SendQueue
from enchannel.backends._shared_resource import Lease
from enchannel.backends._subjects import CallbackObserver, IncomingSubject
from enchannel.backends._task_set import TaskSet
from enchannel.errors import (
    AuthenticationFailed,
    ChannelClosed,
    ConnectionFailed,
    ConnectionLost,
    EnchannelError,
    KernelDied,
    NotSupported,
)

__all__ = ["ConnectionLoss", "ReconnectingLink"]

FrameT = TypeVar("FrameT")

# Grace period for messages, an interrupt above all, that were sent just before the link is closed.
FLUSH_TIMEOUT = 1.0
CLOSE_TIMEOUT = 5.0


@dataclass(frozen=True, slots=True)
class ConnectionLoss:
    """The reason why a connection broke.

    Attributes:
        error: The reason, for users.
        is_rejection: True if the peer closed the connection on purpose. After several rejections in a row,
            each right after the connection was opened, the link is given up.
    """

    error: ConnectionLost
    is_rejection: bool = False


class ReconnectingLink(ABC, Generic[FrameT]):
    """A connection to one kernel that is restored when it breaks.

    A subclass implements ``encode``, ``connect``, ``disconnect``, ``wait_until_lost``, ``send``, ``flush``
    and ``close_client``. It passes incoming messages to ``incoming[channel].on_next`` and reports anything
    else with ``emit``, ``suspend``, ``resume`` and ``end``. All methods run in the event loop, except
    ``encode``, ``pairs``, ``begin_soon`` and ``close``, which run on any thread.

    Args:
        kernel_id: The kernel's id.
        peer: Name of the server, for error messages.
        channels: Channels of the link.
        lease: Keeps the event loop running; released when the link is closed.
        reconnect_timeout: Seconds after which a lost connection is given up.
        log: Receives unexpected exceptions.

    Attributes:
        kernel_id: The kernel's id.
        incoming: For each channel, the subject of incoming messages.
        events: State changes of link and kernel, and errors; ``Link.events``.
        phase: The current phase; read-only.
        refusal: The reason why messages cannot be sent now; None if they can.
        unsupported: The reason why messages can never be sent; None if they can.
    """

    def __init__(
        self,
        kernel_id: str,
        peer: str,
        channels: frozenset[ChannelName],
        lease: Lease[EventLoopThread],
        *,
        reconnect_timeout: float,
        log: logging.Logger,
    ) -> None:
        self.kernel_id = kernel_id
        self.incoming: Mapping[ChannelName, IncomingSubject[AnyMessage]] = {
            name: IncomingSubject[AnyMessage]() for name in channels
        }
        self.events: IncomingSubject[LinkEvent] = IncomingSubject()
        self.refusal: EnchannelError | None = ConnectionLost("the link is not open yet")
        self.unsupported: NotSupported | None = None
        self._description = f"the connection to kernel {kernel_id} on {peer}"
        self._lease = lease
        self._loop = lease.resource
        self._reconnect_timeout = reconnect_timeout
        self._log = log
        self.phase: LinkPhase = LinkPhase.NEW
        self._phase_lock = threading.Lock()
        self._queue: SendQueue[FrameT] = SendQueue(self._loop.call)
        self._tasks = TaskSet(log, f"the link to kernel {kernel_id}")
        self._supervisor: asyncio.Task[None] | None = None
        self._opened_at = 0.0
        self._rejections = RejectionCounter()
        self._closing: Future[None] | None = None

    # -- any thread -------------------------------------------------------------------------------

    @property
    def description(self) -> str:
        """The link in error messages: "the connection to kernel … on …"."""
        return self._description

    def pairs(self) -> Mapping[ChannelName, ChannelPair[AnyMessage]]:
        """Return ``Link.pairs``."""
        return {
            name: ChannelPair(
                incoming,
                CallbackObserver(partial(self._send, name)),
                partial(self._queue.count, name),
            )
            for name, incoming in self.incoming.items()
        }

    def _send(self, channel: ChannelName, message: AnyMessage) -> None:
        if self.phase is LinkPhase.CLOSED:
            raise self._closed_error()
        if self.unsupported is not None:
            raise copy(self.unsupported)
        if (refusal := self.refusal) is not None:
            raise copy(refusal)
        # Read after the check: a connection that is lost from here on has this number, and the next one has
        # another.
        generation = self._queue.generation
        frame = self.encode(
            message if message.channel is channel else message.replace(channel=channel)
        )
        try:
            self._queue.put(channel, generation, frame)
        except RuntimeError:  # closed in the meantime
            raise self._closed_error() from None
        if self.phase is LinkPhase.DEFERRED:
            self.begin_soon()

    def begin_soon(self) -> None:
        """Connect a deferred link, without waiting for it; a no-op if that has begun."""
        try:
            self._loop.call(self._begin)
        except RuntimeError:
            raise self._closed_error() from None

    def close(self) -> None:
        """Close the link; idempotent.

        Messages sent before get a grace period of 1 s. Returns when the connection is closed, after at most
        5 s; on the event loop's own thread it returns at once.
        """
        with self._phase_lock:
            self.phase = LinkPhase.CLOSED
            if self._closing is None:
                self._closing = self._loop.spawn(self._close())
                self._closing.add_done_callback(lambda _: self._lease.release(wait=False))
        if not self._loop.is_current_thread:
            with suppress(TimeoutError):
                self._closing.result(CLOSE_TIMEOUT)
            self._loop.join()

    def _closed_error(self) -> ChannelClosed:
        return ChannelClosed(f"the connection to kernel {self.kernel_id} is closed")

    # -- implemented by a subclass ----------------------------------------------------------------

    @abstractmethod
    def encode(self, message: AnyMessage) -> FrameT:
        """Return the frame of a message; called on the sender's thread.

        Raises:
            InvalidMessage: The message cannot be sent.
        """

    @abstractmethod
    async def connect(self) -> None:
        """Open a connection; return when no message of the kernel can be lost any more.

        If this fails or is cancelled, ``disconnect`` is called. ``phase`` is RECONNECTING after a loss.

        Raises:
            AuthenticationFailed: The credentials are not accepted; reconnecting is given up.
            KernelDied: The kernel does not exist any more; reconnecting is given up.
            ConnectionFailed: Anything else; it is tried again.
        """

    @abstractmethod
    async def disconnect(self) -> None:
        """Close the connection, in any state; idempotent."""

    @abstractmethod
    async def wait_until_lost(self) -> ConnectionLoss:
        """Wait until the connection breaks."""

    @abstractmethod
    async def send(self, frame: FrameT) -> None:
        """Send a frame, waiting while the transport does not accept more.

        Raises:
            ConnectionLost: The connection is broken.
        """

    @abstractmethod
    async def flush(self) -> None:
        """Wait until the peer has processed all frames.

        Raises:
            ConnectionLost: The connection is broken.
        """

    @abstractmethod
    async def close_client(self) -> None:
        """Close resources that outlive a connection, such as an HTTP client."""

    def on_connected(self, *, is_first: bool) -> None:
        """Handle a new connection: report the kernel's state, start tasks with ``run_while_connected``."""

    def on_reconnected(self, loss: ConnectionLost) -> None:
        """Handle a restored connection, after ``LinkState.CONNECTED`` was emitted."""

    # -- event loop -------------------------------------------------------------------------------

    async def open(self, *, attempt_timeout: float | None = None) -> None:
        """Open the first connection; a no-op for a deferred link.

        Args:
            attempt_timeout: Seconds after which an attempt is abandoned and made again; None: never.

        Raises:
            ConnectionFailed: The connection could not be opened, and is disconnected.
        """
        if self.phase is LinkPhase.DEFERRED:
            return
        while True:
            try:
                await self._attempt(attempt_timeout)
                break
            except TimeoutError:
                if attempt_timeout is None:
                    raise
        self._supervise()

    def defer(self) -> None:
        """Connect when ``begin_soon`` is called, or the first message is sent, instead of in ``open``."""
        if self._enter(LinkPhase.DEFERRED):
            self.refusal = None

    def emit(self, event: LinkEvent) -> None:
        """Report an event, unless the link is closed."""
        if self.phase is not LinkPhase.CLOSED:
            self.events.on_next(event)

    def suspend(self, reason: EnchannelError, *, discard: bool = True) -> None:
        """Refuse to send messages, although the connection is open. A no-op when the link has ended.

        Args:
            reason: Raised when a message is sent.
            discard: Drop messages that are queued.
        """
        if self.phase in FINAL_PHASES:
            return
        if self.phase is LinkPhase.OPEN:
            self._enter(LinkPhase.SUSPENDED)
        self.refusal = reason
        if discard:
            self._queue.clear()

    def resume(self) -> None:
        """Accept messages again after ``suspend``; a no-op unless suspended."""
        if self.phase is LinkPhase.SUSPENDED and self._enter(LinkPhase.OPEN):
            self.refusal = None

    def end(self, error: EnchannelError, *, keep_channels: bool = False) -> None:
        """Report that the kernel has ended permanently; a no-op when the link has ended.

        Args:
            error: The reason.
            keep_channels: Leave the channels open, as for a kernel that this client shut down: sending
                raises the error, and ``events`` does not fail.
        """
        if self.phase in FINAL_PHASES:
            return
        # The states come before the refusal, with which other threads fail.
        if keep_channels:
            self.emit(LinkState.LOST)
        self.emit(KernelState.DEAD)
        if not self._enter(LinkPhase.ENDED):
            return
        self.refusal = error
        self._queue.clear()
        if self._supervisor is not None and self._supervisor is not asyncio.current_task():
            self._supervisor.cancel()
        if keep_channels:
            self.emit(error)
        else:
            self.events.on_error(error)

    def run_while_connected(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Run a coroutine in a task that is cancelled when the connection is lost; log its exception."""
        self._tasks.spawn(coroutine)

    def _enter(self, phase: LinkPhase) -> bool:
        """Change the phase; return False if the link was closed meanwhile."""
        with self._phase_lock:
            if self.phase is LinkPhase.CLOSED:
                return False
            if phase not in PHASE_TRANSITIONS[self.phase]:
                raise RuntimeError(f"a link cannot go from {self.phase} to {phase}")
            self.phase = phase
            return True

    def _begin(self) -> None:
        if self.phase is LinkPhase.DEFERRED and self._supervisor is None:
            self._supervise()

    def _supervise(self) -> None:
        self._supervisor = asyncio.create_task(self._keep_connected())
        self._supervisor.add_done_callback(self._on_supervisor_done)

    def _on_supervisor_done(self, supervisor: asyncio.Task[None]) -> None:
        # This task should not fail; but if it does, its error must end all waiting.
        if supervisor.cancelled() or (error := supervisor.exception()) is None:
            return
        if self.phase in FINAL_PHASES:
            return
        self._log.error("the link to kernel %s failed", self.kernel_id, exc_info=error)
        self._give_up(
            ConnectionLost(
                f"the connection to kernel {self.kernel_id} was given up because of an unexpected error "
                f"({type(error).__name__}: {error})"
            )
        )

    async def _keep_connected(self) -> None:
        if self.phase is LinkPhase.DEFERRED:
            try:
                await self._attempt(ATTEMPT_TIMEOUT)
            except (TimeoutError, ConnectionFailed, KernelDied) as error:
                why = ConnectionLost(f"{self._description} could not be opened: {error}")
                if not await self._recover(ConnectionLoss(why)):
                    return
        while self.phase not in FINAL_PHASES:
            loss = await self.wait_until_lost()
            if self.phase in FINAL_PHASES or not await self._recover(loss):
                return

    async def _attempt(self, timeout: float | None) -> None:
        try:
            async with asyncio.timeout(timeout):
                await self.connect()
            if self.phase is LinkPhase.ENDED and self.refusal is not None:
                # The kernel has gone meanwhile.
                raise copy(self.refusal)
        except BaseException:
            await self._disconnect()
            raise
        is_first = self.phase is not LinkPhase.RECONNECTING
        if not self._enter(LinkPhase.OPEN):
            return
        if not is_first:
            self._queue.generation += 1
        self.refusal = None
        self._opened_at = asyncio.get_running_loop().time()
        self.run_while_connected(self._send_queued())
        self.on_connected(is_first=is_first)

    async def _send_queued(self) -> None:
        with suppress(ConnectionLost):  # ``wait_until_lost`` reports it
            await self._queue.send_all(self.send)

    async def _recover(self, loss: ConnectionLoss) -> bool:
        """Reconnect after a loss; return False if that is given up."""
        # The state comes before the refusal, with which other threads fail.
        self.emit(LinkState.LOST)
        if not self._enter(LinkPhase.RECONNECTING):
            return False
        self.refusal = loss.error
        self._queue.clear()
        await self._disconnect()
        lasted = asyncio.get_running_loop().time() - self._opened_at
        self._rejections.count(is_rejection=loss.is_rejection, lasted=lasted)
        failure = await self._reconnect(loss.error)
        if failure is not None:
            self._give_up(failure)
            return False
        self.emit(LinkState.CONNECTED)
        self.on_reconnected(loss.error)
        return True

    async def _reconnect(self, why: ConnectionLost) -> EnchannelError | None:
        """Try to connect until it succeeds; return why it cannot."""
        if self._rejections.is_final:
            return ConnectionLost(
                f"{why}, {MAX_REJECTIONS} times in a row, each time right after it was opened; check that "
                "no other client uses the same session"
            )
        loop = asyncio.get_running_loop()
        backoff = Backoff(self._reconnect_timeout, loop.time())
        await asyncio.sleep(self._rejections.pause)
        while True:
            try:
                await self._attempt(backoff.attempt_timeout(loop.time()))
                return None
            except (AuthenticationFailed, KernelDied) as error:  # final, however long it is retried
                return error
            except (ConnectionFailed, TimeoutError) as error:
                last = str(error) or "no answer"
            pause = backoff.next_pause(loop.time())
            if pause is None:
                return ConnectionLost(
                    f"{why}; it could not be restored within {self._reconnect_timeout:g} s: {last}"
                )
            await asyncio.sleep(pause)

    def _give_up(self, error: EnchannelError) -> None:
        if self.phase in FINAL_PHASES:
            return
        if isinstance(error, KernelDied):
            self.emit(KernelState.DEAD)
        if self._enter(LinkPhase.ENDED):
            self.refusal = error
            self.events.on_error(error)

    async def _disconnect(self) -> None:
        self._tasks.cancel()
        await self.disconnect()

    async def _close(self) -> None:
        supervisor = self._supervisor
        try:
            if supervisor is not None:
                supervisor.cancel()
            if self.refusal is None and self._opened_at:
                with suppress(TimeoutError, EnchannelError):
                    async with asyncio.timeout(FLUSH_TIMEOUT):
                        await self._queue.wait_until_empty()
                        await self.flush()
            await self._disconnect()
            await self.close_client()
        finally:
            self.events.on_completed()
