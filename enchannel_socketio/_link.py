"""A link to one kernel on a relay, over Socket.IO, which resumes after the last event it received."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import msgspec

from enchannel import AnyMessage, ChannelName, Session
from enchannel.abc import Capabilities, KernelState, Lifecycle, Link, LinkState
from enchannel.backends import (
    ConnectionLoss,
    EventLoopThread,
    EventRecord,
    Lease,
    LinkPhase,
    ReconnectingLink,
)
from enchannel.errors import (
    ConnectionLost,
    InvalidMessage,
    KernelDied,
    MalformedFrame,
    MessageNotForwarded,
    MessagesMayBeMissing,
    NotSupported,
)
from enchannel_socketio._client import KernelRecord, RelayClient
from enchannel_socketio._logs import log
from enchannel_socketio._options import SocketioOptions
from enchannel_socketio._packet import (
    MSG,
    Batch,
    EncodedJson,
    Event,
    MessageParts,
    decode_message,
    encode_message,
)
from enchannel_socketio._refusal import Refusal
from enchannel_socketio._socket import RelaySocket

__all__ = ["SocketioLink"]

# Events after which the relay is sent an acknowledgement.
ACK_INTERVAL = 200
# Messages that Socket.IO may have in its own queue.
MAX_PACKETS_QUEUED = 64
# Seconds after the last gap: during a flood, one gap follows the other.
GAP_RECOVERY_DELAY = 0.5
CHANNELS = frozenset(ChannelName) - {ChannelName.HEARTBEAT}


class SocketioLink(ReconnectingLink[EncodedJson]):
    """A link to one kernel on a relay.

    Args:
        relay: The relay; its client is closed with the link.
        model: The kernel, as the relay describes it.
        session: The client's session.
        lease: Keeps the event loop running; released when the link is closed.
        options: Timeouts and limits.
        since: Position in the relay's log after which to begin; by default its end.

    Attributes:
        position: Position in the relay's log up to which all events have been received.
        lifecycle: The kernel's lifecycle, if this client may control it.
        was_shut_down_here: True while, and after, this client shuts the kernel down.
    """

    def __init__(
        self,
        relay: RelayClient,
        model: KernelRecord,
        session: Session,
        lease: Lease[EventLoopThread],
        options: SocketioOptions,
        *,
        since: int | None = None,
    ) -> None:
        super().__init__(
            model.id,
            str(relay),
            CHANNELS,
            lease,
            reconnect_timeout=options.reconnect_timeout,
            log=log,
        )
        self.position = since or 0
        self.lifecycle: Lifecycle | None = None
        self.was_shut_down_here = False
        self._relay = relay
        self._session = session
        self._options = options
        self._since = since
        self._max_sent = model.max_message
        self._socket: RelaySocket | None = None
        self._kernel_state = ""
        # The text of the last event that failed all requests.
        self._last_failure = ""
        self._advanced = asyncio.Event()
        self._unacknowledged = 0
        self._recovery: asyncio.TimerHandle | None = None
        if model.access != "full":
            self.unsupported = NotSupported(
                f"the token only allows watching kernel {self.kernel_id}"
            )
        if since is not None:
            # Events after that position stay in the relay's log until the first subscription.
            self.defer()

    def link(self, *, owned: bool) -> Link:
        """Return the link for the core."""
        return Link(
            pairs=self.pairs(),
            events=self.events,
            close=self.close,
            kernel_id=self.kernel_id,
            capabilities=Capabilities(
                channels=CHANNELS,
                max_sent=self._max_sent,
                can_send=self.unsupported is None,
                can_resume=True,
                idle_is_last=False,
            ),
            lifecycle=self.lifecycle,
            owned=owned,
            on_first_subscriber=None if self._since is None else self.begin_soon,
            position=lambda: self.position,
        )

    def encode(self, message: AnyMessage) -> EncodedJson:
        frame = encode_message(message)
        if len(frame) > self._max_sent:
            raise InvalidMessage(
                f"a message of {len(frame)} bytes exceeds the relay's limit of {self._max_sent} (option "
                "--max-message)"
            )
        return frame

    # -- connecting -------------------------------------------------------------------------------

    async def connect(self) -> None:
        since = None if self.phase is LinkPhase.NEW else self.position
        if self.phase is LinkPhase.RECONNECTING:
            # Raises KernelDied if it was shut down meanwhile.
            await self._relay.kernel(self.kernel_id)
        socket = RelaySocket(
            self._relay,
            self.kernel_id,
            "main" if self.unsupported is None else ChannelName.IOPUB.value,
            max_received=self._options.max_received,
        )
        socket.on_refused = self._on_refused
        socket.on_malformed = self.emit
        self._socket = socket
        ready = await socket.open(session=self._session.id, since=since)
        self.position = ready.position
        self._kernel_state = ready.state
        self._unacknowledged = 0
        if since is not None and ready.position < since:
            self.emit(
                MessagesMayBeMissing(
                    f"resuming kernel {self.kernel_id} at position {since} failed: the relay's log ends at "
                    f"{ready.position}, because it was replaced by a new one"
                )
            )

    def on_connected(self, *, is_first: bool) -> None:
        self._report_kernel_state(is_first=is_first)
        if self._socket is not None:
            # Batches that follow the first event at once may have been received before ``connect``
            # returned.
            self._socket.deliver_to(partial(self._on_batch, self._socket))

    def _report_kernel_state(self, *, is_first: bool) -> None:
        if self._kernel_state == KernelState.DEAD:
            died = KernelDied(f"kernel {self.kernel_id} has died; it can be restarted")
            # The state comes first: other threads fail once the link is suspended.
            self.emit(KernelState.DEAD)
            self.suspend(died, discard=False)
        elif self._kernel_state == KernelState.BUSY and is_first and self._since is None:
            self.emit(KernelState.BUSY)

    async def disconnect(self) -> None:
        socket, self._socket = self._socket, None
        if socket is not None:
            await socket.close()

    async def wait_until_lost(self) -> ConnectionLoss:
        assert self._socket is not None  # noqa: S101  # set by connect
        await self._socket.lost.wait()
        return ConnectionLoss(ConnectionLost(f"{self.description} broke"))

    async def close_client(self) -> None:
        await self._relay.close()

    # -- sending and receiving --------------------------------------------------------------------

    async def send(self, frame: EncodedJson) -> None:
        if self._socket is not None:
            await self._socket.emit(MSG, frame)
            await self._socket.wait_until_written(MAX_PACKETS_QUEUED - 1)

    async def flush(self) -> None:
        if self._socket is not None:
            await self._socket.wait_until_processed(self.position)

    def _on_batch(self, socket: RelaySocket, batch: Batch) -> None:
        if self.phase is LinkPhase.CLOSED or socket is not self._socket:
            return
        if batch.after != self.position:
            self.emit(
                MalformedFrame(
                    f"a batch begins after position {batch.after}, but events were received up to "
                    f"{self.position}; reconnecting to request them again from there"
                )
            )
            socket.abort()
            return
        messages = iter(batch.messages)
        for event in batch.events:
            try:
                self._on_event(event, next(messages) if event.name == MSG else None)
            except MalformedFrame as error:
                self.emit(error)
            except Exception as error:  # must not cost the next event
                self.emit(
                    MalformedFrame(
                        "an event could be decoded but not handled "
                        f"({type(error).__name__}: {error}); it was dropped"
                    )
                )
        self.position = batch.upto
        self._advanced.set()
        self._advanced = asyncio.Event()
        self._unacknowledged += len(batch.events)
        if self._unacknowledged >= ACK_INTERVAL or socket.needs_ack:
            self._unacknowledged = 0
            socket.acknowledge(self.position)

    def _on_event(self, event: Event, parts: MessageParts | None) -> None:
        if event.name == MSG:
            message = decode_message(parts, None, self.emit)
            self.incoming[message.channel].on_next(message)
        elif event.name == "status":
            self._on_status(bytes(event.data))
        elif event.name == "gap":
            gap = msgspec.json.decode(event.data)
            self._on_gap(gap["to"] - gap["from"] + 1)

    def _on_gap(self, count: int) -> None:
        self.emit(
            MessagesMayBeMissing(
                f"{count} messages of kernel {self.kernel_id} were removed from the relay's log before "
                "they could be sent; raise its --log-messages or --log-bytes"
            )
        )
        self._recover_requests_soon()

    def _recover_requests_soon(self) -> None:
        """Make the core find out which requests will still be answered, since replies may be missing."""
        if self._recovery is not None:
            self._recovery.cancel()
        loop = asyncio.get_running_loop()
        self._recovery = loop.call_later(GAP_RECOVERY_DELAY, self._recover_requests)

    def _recover_requests(self) -> None:
        if self.phase is LinkPhase.OPEN:
            self.emit(LinkState.CONNECTED)

    def _on_status(self, data: bytes) -> None:
        record = EventRecord.decode(data)
        if record.ended:
            self.end(record.to_error(), keep_channels=self.was_shut_down_here)
            return
        event = record.to_event()
        if event is LinkState.LOST:
            self.suspend(
                record.to_error()
                if record.error
                else ConnectionLost(f"the relay lost its connection to kernel {self.kernel_id}")
            )
        elif event is LinkState.CONNECTED:
            self.resume()
        elif isinstance(event, (ConnectionLost, KernelDied)):
            self._last_failure = str(event)
            if self.phase is LinkPhase.SUSPENDED:
                self.suspend(event)
        elif isinstance(event, MessagesMayBeMissing):
            self._recover_requests_soon()
        self.emit(event)

    def _on_refused(self, data: Any) -> None:
        """Report a message that the relay did not forward, and that will not be answered."""
        try:
            refusal = msgspec.convert(data, type=Refusal)
        except msgspec.ValidationError:
            self.emit(MalformedFrame("a refusal has an invalid structure; it was dropped"))
            return
        error = refusal.to_error()
        if not refusal.msg_id:
            self.emit(error)
        # Otherwise that event, received after the message was sent, has failed the request.
        elif str(error) != self._last_failure:
            self.emit(MessageNotForwarded(refusal.msg_id, error))

    async def wait_for_position(self, position: int) -> None:
        """Wait until all events up to a position have been received, or the link has ended."""
        while self.position < position and self._is_active():
            await self._advanced.wait()

    async def wait_until_ended(self) -> None:
        """Wait until the kernel's end has been received, or the connection is lost."""
        while self._is_active() and self._socket is not None:
            if self._socket.lost.is_set():
                return
            lost = asyncio.ensure_future(self._socket.lost.wait())
            advanced = asyncio.ensure_future(self._advanced.wait())
            await asyncio.wait((lost, advanced), return_when=asyncio.FIRST_COMPLETED)
            lost.cancel()
            advanced.cancel()

    def _is_active(self) -> bool:
        return self.phase not in (LinkPhase.ENDED, LinkPhase.CLOSED)
