"""A link to one kernel behind a relay: a Socket.IO connection that goes on where it was when it breaks.

Everything here happens on the loop, but for ``close`` and what says and counts.
"""

from __future__ import annotations

import asyncio
import random
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from copy import copy
from dataclasses import dataclass
from functools import partial
from typing import Any

import msgspec

from enchannel import AnyMessage, ChannelName, Session
from enchannel.abc import (
    Capabilities,
    ChannelPair,
    KernelState,
    Lifecycle,
    Link,
    LinkEvent,
    LinkState,
)
from enchannel.backends import (
    CallbackObserver,
    EventLoopThread,
    EventRecord,
    IncomingSubject,
    Lease,
)
from enchannel.errors import (
    AuthenticationFailed,
    ChannelClosed,
    ConnectionFailed,
    ConnectionLost,
    EnchannelError,
    InvalidMessage,
    KernelDied,
    MalformedFrame,
    MessagesMayBeMissing,
    NotSupported,
)
from enchannel_socketio._client import Client, KernelModel
from enchannel_socketio._connection import Connection
from enchannel_socketio._logs import log
from enchannel_socketio._packet import MSG, Batch, Event, Parts, Prepared, message_from, prepared

__all__ = ["LinkOptions", "SocketioLink"]

RETRY_FIRST, RETRY_MOST = 0.1, 5.0
ATTEMPT = 10.0  # seconds to connect again, before it is tried anew
LINGER = 1.0  # seconds: what was said before the end is said, an interrupt above all
CLOSE = 5.0
ACKNOWLEDGED = 200  # messages after which a relay is told that they have come
AT_ONCE = 64  # messages that are given to Socket.IO before the first of them has gone
CHANNELS = frozenset(ChannelName) - {ChannelName.HEARTBEAT}


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkOptions:
    """See ``SocketioBackend.open``; seconds and bytes."""

    max_received: int
    reconnect_timeout: float
    since: int | None = None


class SocketioLink:
    """What one kernel says, from a position in its log on.

    Args:
        relay: Where the kernel is; closed with the link.
        model: The kernel, as the relay describes it.
        session: Who we are.
        lease: Of the loop; released with the link.
        options: How patient it is, and where it begins.

    Attributes:
        status: What happens to link and kernel.
        position: Up to where everything was told.
        gone: Why nothing can be said; None: it can.
        was_ended_by_us: Whether its end is no failure.
        lifecycle: Of the kernel, where that is ours to rule.
    """

    def __init__(
        self,
        relay: Client,
        model: KernelModel,
        session: Session,
        lease: Lease[EventLoopThread],
        options: LinkOptions,
    ) -> None:
        self.kernel_id = model.id
        self.events: IncomingSubject[LinkEvent] = IncomingSubject()
        self.position = options.since or 0
        self.gone: EnchannelError | None = None
        self._can_speak = model.access == "full"
        self._max_message = model.max_message
        self._relay = relay
        self._session = session
        self._lease = lease
        self._loop = lease.resource
        self._options = options
        self._incoming = {name: IncomingSubject[AnyMessage]() for name in CHANNELS}
        self._connection: Connection | None = None
        self._sending: asyncio.Task[None] | None = None
        self._living: asyncio.Task[None] | None = None
        self._unsent: deque[tuple[ChannelName, int, Prepared]] = deque()
        self._bell = asyncio.Event()
        self._rung = False
        self._all_sent = asyncio.Event()
        self._moved = asyncio.Event()
        self._generation = (
            1  # of connections: what was said to one that broke is not said to the next
        )
        self._unacknowledged = 0
        self._is_over = False  # the kernel has ended, for good
        self.was_ended_by_us = False
        self.lifecycle: Lifecycle | None = None
        self._closing = threading.Lock()
        self._closed = False
        self._ended: Future[None] | None = None

    # -- for any thread ---------------------------------------------------------------------------

    def link(self, *, owned: bool) -> Link:
        """What the core is given."""
        return Link(
            pairs={name: self._pair(name) for name in CHANNELS},
            events=self.events,
            close=self.close,
            kernel_id=self.kernel_id,
            capabilities=Capabilities(
                channels=CHANNELS,
                max_sent=self._max_message,
                lifecycle=self.lifecycle is not None,
                can_send=self._can_speak,
                can_resume=True,
            ),
            lifecycle=self.lifecycle,
            owned=owned,
            on_first_subscriber=None if self._options.since is None else self._begin_later,
        )

    def _pair(self, name: ChannelName) -> ChannelPair[AnyMessage]:
        return ChannelPair(
            self._incoming[name],
            CallbackObserver(partial(self._say, name)),
            partial(self._count, name),
        )

    def _count(self, name: ChannelName) -> int:
        return sum(waiting is name for waiting, _, _ in list(self._unsent))

    def _say(self, name: ChannelName, message: AnyMessage) -> None:
        if self._closed:
            raise self._is_closed()
        if not self._can_speak:
            raise NotSupported(f"the token is only for watching kernel {self.kernel_id}")
        if (gone := self.gone) is not None:
            raise copy(gone)
        generation = self._generation  # after that: never one that is over already
        ready = prepared(message if message.channel is name else message.replace(channel=name))
        if len(ready) > self._max_message:
            raise InvalidMessage(
                f"a message of {len(ready)} bytes is over the limit of {self._max_message}, which its "
                "relay sets (--max-message)"
            )
        self._unsent.append((name, generation, ready))
        self._ring()
        if self._options.since is not None:
            self._begin_later()

    def _ring(self) -> None:
        # Cleared by who sends before it looks at what waits: an append is seen, or rings.
        if not self._rung:
            self._rung = True
            self._call(self._bell.set)

    def _begin_later(self) -> None:
        self._call(self._begin)

    def _call(self, function: Callable[[], None]) -> None:
        try:
            self._loop.call(function)
        except RuntimeError:  # it was closed in this very moment
            raise self._is_closed() from None

    def _is_closed(self) -> ChannelClosed:
        return ChannelClosed(f"the connection to kernel {self.kernel_id} is closed")

    def close(self) -> None:
        """End it; may be called again, and from any thread."""
        with self._closing:
            self._closed = True
            if self._ended is None:
                self._ended = self._loop.spawn(self._end())
                self._ended.add_done_callback(lambda _: self._lease.release(wait=False))
        if not self._loop.is_current_thread:
            with suppress(TimeoutError):
                self._ended.result(CLOSE)
            self._loop.join()

    # -- connecting -------------------------------------------------------------------------------

    async def open(self) -> None:
        """Connect, and return when nothing is lost any more. With a position to go on from, what comes
        after that stays in the relay's log until somebody listens.

        Raises:
            ConnectionFailed: nothing of it is left.
        """
        if self._options.since is None:
            await self._connect(None)
            self._begin()

    def _begin(self) -> None:
        """Live from now on."""
        if self._living is None and not self._closed:
            self._living = asyncio.create_task(self._live())
            self._living.add_done_callback(self._lived)

    async def _connect(self, since: int | None) -> None:
        """Connect to the kernel's namespace, and know what comes from then on."""
        connection = Connection(
            self._relay,
            self.kernel_id,
            "main" if self._can_speak else ChannelName.IOPUB.value,
            max_received=self._options.max_received,
        )
        connection.on_batch = partial(self._take, connection)
        connection.on_refused = self._refused
        connection.on_garbage = self.tell
        self._connection = connection
        try:
            ready = await connection.open(session=self._session.id, since=since)
        except BaseException:
            await self._hang_up()
            raise
        self.position = ready.position
        if since is not None and ready.position < since:
            self.tell(
                MessagesMayBeMissing(
                    f"what is kept of kernel {self.kernel_id} ends at {ready.position}, before {since}, "
                    "which was to be gone on from: it is not the log that it was"
                )
            )
        self._unacknowledged = 0
        self.gone = None
        if ready.state == KernelState.DEAD:
            self.gone = KernelDied(f"kernel {self.kernel_id} has died; it can be restarted")
            self.tell(KernelState.DEAD)
        elif ready.state == KernelState.BUSY and since is None:
            self.tell(KernelState.BUSY)
        self._sending = asyncio.create_task(self._send(connection))

    async def _hang_up(self) -> None:
        connection, self._connection = self._connection, None
        sending, self._sending = self._sending, None
        if sending is not None:
            sending.cancel()
        if connection is not None:
            await connection.close()

    # -- as long as it lives ----------------------------------------------------------------------

    def _lived(self, living: asyncio.Task[None]) -> None:
        """It should not end like that; whatever it was, nobody waits for it for ever."""
        if living.cancelled() or (error := living.exception()) is None or self._closed:
            return
        log.error("the link to kernel %s met something unexpected", self.kernel_id, exc_info=error)
        self.gone = ConnectionLost(
            f"the connection to kernel {self.kernel_id} is given up: it met something unexpected "
            f"({type(error).__name__}: {error})"
        )
        self.events.on_error(self.gone)

    async def _live(self) -> None:
        if self._connection is None:  # somebody has begun to listen to what the log has
            try:
                async with asyncio.timeout(ATTEMPT):
                    await self._connect(self.position)
            except (TimeoutError, ConnectionFailed, KernelDied) as error:
                if not await self._goes_on(
                    ConnectionLost(f"{self._name} did not come up: {error}")
                ):
                    return
        while True:
            connection = self._connection
            if connection is None:
                return
            await connection.lost.wait()
            if self._closed or self._is_over:
                return
            if not await self._goes_on(ConnectionLost(f"{self._name} broke")):
                return

    async def _goes_on(self, why: ConnectionLost) -> bool:
        """Whether it is found again, after it was lost."""
        self.refuse(why)
        await self._hang_up()
        self.tell(LinkState.LOST)
        failure = await self._find_again(why)
        if failure is not None:
            self.gone = failure
            if not self._closed:
                self.events.on_error(failure)
            return False
        self.tell(LinkState.CONNECTED)
        return True

    async def _find_again(self, why: ConnectionLost) -> EnchannelError | None:
        """Connect again; why that is not possible."""
        loop = asyncio.get_running_loop()
        end, wait = loop.time() + self._options.reconnect_timeout, RETRY_FIRST
        while True:
            self._generation += 1
            try:
                async with asyncio.timeout(max(RETRY_FIRST, min(ATTEMPT, end - loop.time()))):
                    await self._relay.kernel(self.kernel_id)
                    await self._connect(self.position)
                return None
            except (AuthenticationFailed, KernelDied) as error:  # which no patience mends
                return error
            except (ConnectionFailed, TimeoutError) as error:
                last = str(error) or "no answer"
            pause = wait * random.uniform(0.5, 1.0)  # noqa: S311  # no secret: not all at once
            if loop.time() + pause >= end:
                limit = self._options.reconnect_timeout
                return ConnectionLost(f"{why}; it did not come back within {limit:g} s: {last}")
            await asyncio.sleep(pause)
            wait = min(wait * 2, RETRY_MOST)

    async def _end(self) -> None:
        """The end of the link: what was said before is given a moment."""
        try:
            if self._living is not None and self._living is not asyncio.current_task():
                self._living.cancel()
            connection = self._connection
            if connection is not None and self.gone is None:
                with suppress(TimeoutError, ConnectionFailed):
                    async with asyncio.timeout(LINGER):
                        while self._unsent:
                            self._all_sent.clear()
                            await self._all_sent.wait()
                        await connection.until_heard(self.position)
            await self._hang_up()
            await self._relay.close()
        finally:
            self.events.on_completed()

    @property
    def _name(self) -> str:
        return f"the connection to kernel {self.kernel_id} on {self._relay}"

    # -- messages ---------------------------------------------------------------------------------

    async def _send(self, connection: Connection) -> None:
        unsent = self._unsent
        while True:
            await self._bell.wait()
            self._bell.clear()
            self._rung = False
            while unsent:
                for _, generation, ready in list(unsent)[:AT_ONCE]:
                    if generation == self._generation:  # else it was meant for one that broke
                        await connection.say(MSG, ready)
                    await connection.until_sent(AT_ONCE - 1)
                    if unsent:  # and was not thrown away meanwhile
                        unsent.popleft()
            self._all_sent.set()

    def _take(self, connection: Connection, batch: Batch) -> None:
        if self._closed or connection is not self._connection:
            return
        if batch.after != self.position:
            self.tell(
                MalformedFrame(
                    f"what came begins after {batch.after}, and all is here up to {self.position}: it is "
                    "asked for again from there"
                )
            )
            connection.abort()
            return
        messages = iter(batch.messages)
        for event in batch.events:
            try:
                self._happened(event, next(messages) if event.name == MSG else None)
            except MalformedFrame as error:
                self.tell(error)
            except Exception as error:  # whatever it is, it is not the next one's fault
                self.tell(
                    MalformedFrame(
                        "something could be read, and not handled "
                        f"({type(error).__name__}: {error}); it was dropped"
                    )
                )
        self.position = batch.upto
        self._moved.set()
        self._moved = asyncio.Event()
        self._unacknowledged += len(batch.events)
        if self._unacknowledged >= ACKNOWLEDGED or connection.is_heavy:
            self._unacknowledged = 0
            connection.acknowledge(self.position)

    def _happened(self, event: Event, parts: Parts | None) -> None:
        if event.name == MSG:
            message = message_from(parts, None, self.tell)
            self._incoming[message.channel].on_next(message)
        elif event.name == "status":
            self._told(bytes(event.told))
        elif event.name == "gap":
            gap = msgspec.json.decode(event.told)
            self.tell(
                MessagesMayBeMissing(
                    f"of what kernel {self.kernel_id} said, {gap['to'] - gap['from'] + 1} messages had "
                    "fallen off the relay's log before they could be sent"
                )
            )

    def _told(self, told: bytes) -> None:
        record = EventRecord.decode(told)
        if record.ended:
            self._vanish(record.to_error())
            return
        status = record.to_event()
        if status is LinkState.LOST:
            self.refuse(ConnectionLost(f"the relay has lost kernel {self.kernel_id}"))
        elif status is LinkState.CONNECTED:
            self.gone = None
        elif isinstance(status, KernelDied) and self.gone is not None:
            self.gone = status
        self.tell(status)

    def _vanish(self, error: EnchannelError) -> None:
        """The kernel is gone for good."""
        self._is_over = True
        self.refuse(error)
        self.tell(KernelState.DEAD)
        if self.was_ended_by_us:  # the channels stay, and say so
            self.tell(LinkState.LOST)
            self.tell(error)
        elif not self._closed:
            self.events.on_error(error)

    def _refused(self, refusal: Any) -> None:
        """What was said could not be passed on: it will not be answered."""
        told: dict[str, Any] = refusal if isinstance(refusal, dict) else {}
        why = f"the relay did not pass on what was said: {told.get('error')}"
        self.tell(KernelDied(why) if told.get("kind") == "KernelDied" else ConnectionLost(why))

    async def until_at(self, position: int) -> None:
        """Wait until all up to there was told."""
        while self.position < position and not self._closed and not self._is_over:
            await self._moved.wait()

    async def until_over(self) -> None:
        """Wait until its end was told, which a relay does before it lets go of a kernel; or it is lost."""
        while not (self._is_over or self._closed) and self._connection is not None:
            if self._connection.lost.is_set():
                return
            losing = asyncio.ensure_future(self._connection.lost.wait())
            moving = asyncio.ensure_future(self._moved.wait())
            await asyncio.wait((losing, moving), return_when=asyncio.FIRST_COMPLETED)
            losing.cancel()
            moving.cancel()

    def refuse(self, why: EnchannelError) -> None:
        """Take nothing that is said from now on, and let go what waits."""
        self.gone = why
        self._unsent.clear()

    def tell(self, status: LinkEvent) -> None:
        """Tell the core, unless it has closed the link."""
        if not self._closed:
            self.events.on_next(status)
