"""A link to one kernel: its WebSocket, what is done when that breaks, and what its server says of it.

Everything here happens on the loop, but for ``close`` and what says and counts.
"""

from __future__ import annotations

import asyncio
import random
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Future
from contextlib import suppress
from copy import copy
from dataclasses import dataclass
from functools import partial
from typing import Any

import websockets

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
from enchannel.backends import CallbackObserver, EventLoopThread, IncomingSubject, Lease
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
)
from enchannel.wire import legacy_websocket, websocket
from enchannel.wire.parts import Report
from enchannel_websocket._kernel_watch import KernelWatch
from enchannel_websocket._logs import log
from enchannel_websocket._server import Server, Socket

__all__ = ["LinkOptions", "WebsocketLink"]

NUDGE = 0.2  # seconds after which a kernel that says nothing is nudged again
PATIENCE = 1.0  # seconds after which a busy kernel need not answer: its server has listened
RETRY_FIRST, RETRY_MOST = 0.1, 5.0
ATTEMPT = 10.0
IDLE_GRACE = 10.0  # seconds: a server that drops output is silent for longer than its window of 3
LINGER = 1.0  # seconds: what was said before the end is said, an interrupt above all
CLOSE = 5.0
TOO_LARGE = 1009  # a WebSocket's close code
STEADY = 5.0  # seconds after which a connection is not one that was closed as soon as it was open
ENOUGH = 5
CHANNELS = frozenset(ChannelName) - {ChannelName.HEARTBEAT}


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkOptions:
    """See ``WebsocketBackend.open``; seconds and bytes."""

    max_sent: int
    max_received: int
    keepalive_timeout: float
    reconnect_timeout: float
    poll_interval: float
    legacy: bool


class WebsocketLink:
    """The WebSocket of one kernel, which comes back when it breaks.

    Args:
        server: Where the kernel is; closed with the link.
        kernel_id: The kernel's id there.
        session: Who we are; the server knows us again by it.
        lease: Of the loop; released with the link.
        options: How patient it is, and with what sizes.

    Attributes:
        status: What happens to link and kernel.
        gone: Why nothing can be said; None: it can.
        watch: Over the kernel.
    """

    def __init__(
        self,
        server: Server,
        kernel_id: str,
        session: Session,
        lease: Lease[EventLoopThread],
        options: LinkOptions,
    ) -> None:
        self.kernel_id = kernel_id
        self.events: IncomingSubject[LinkEvent] = IncomingSubject()
        self._server = server
        self._session = session
        self._lease = lease
        self._loop = lease.resource
        self._options = options
        self._incoming = {name: IncomingSubject[AnyMessage]() for name in CHANNELS}
        self._socket: Socket | None = None
        self._is_legacy = False
        self._reading: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()  # beside the reading, as long as the socket
        self._living: asyncio.Task[None] | None = None
        self._unsent: deque[tuple[ChannelName, int, bytes | str]] = deque()
        self._bell = asyncio.Event()
        self._rung = False
        self._all_sent = asyncio.Event()
        self._generation = 0  # how often it was connected
        self._since = 0.0  # when it was, by the loop's clock
        self._thrown_out = 0  # how often the server closed it as soon as it was open
        self._heard = asyncio.Event()  # something on iopub, which proves that it arrives
        self.watch = KernelWatch(self, server, kernel_id, session)
        self._is_over = False  # the kernel has ended, for good
        self.gone: EnchannelError | None = ConnectionLost("the link is not open yet")
        self._closing = threading.Lock()
        self._closed = False
        self._ended: Future[None] | None = None

    # -- for any thread ---------------------------------------------------------------------------

    def link(self, lifecycle: Lifecycle | None, *, owned: bool) -> Link:
        """What the core is given."""
        return Link(
            pairs={name: self._pair(name) for name in CHANNELS},
            events=self.events,
            close=self.close,
            kernel_id=self.kernel_id,
            capabilities=Capabilities(
                channels=CHANNELS,
                max_sent=self._options.max_sent,
                lifecycle=lifecycle is not None,
                can_resume=True,
                idle_grace=IDLE_GRACE,
            ),
            lifecycle=lifecycle,
            owned=owned,
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
            raise ChannelClosed(f"the connection to kernel {self.kernel_id} is closed")
        if (gone := self.gone) is not None:
            raise copy(gone)
        generation = self._generation  # after that: never one that is over already
        frame = self._encode(message if message.channel is name else message.replace(channel=name))
        size = len(frame) if isinstance(frame, bytes) else len(frame.encode())
        if size > self._options.max_sent:
            raise InvalidMessage(
                f"a message of {size} bytes is over the limit of {self._options.max_sent}, "
                "above which the server would hang up; if yours takes more (its setting is "
                "websocket_max_message_size of tornado_settings), say so with max_sent=…"
            )
        self._unsent.append((name, generation, frame))
        self._ring()

    def _encode(self, message: AnyMessage) -> bytes | str:
        return legacy_websocket.encode(message) if self._is_legacy else websocket.encode(message)

    def _ring(self) -> None:
        # Cleared by who sends before it looks at what waits: an append is seen, or rings.
        if not self._rung:
            self._rung = True
            try:
                self._loop.call(self._bell.set)
            except RuntimeError:  # it was closed in this very moment
                raise ChannelClosed(
                    f"the connection to kernel {self.kernel_id} is closed"
                ) from None

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

    async def open(self, *, attempt: float | None = None) -> None:
        """Connect, and return when nothing is lost any more.

        Args:
            attempt: Seconds after which it is tried anew. A kernel that has just been started may have
                lost its ports to somebody else: its server starts another, and waits for the first.

        Raises:
            ConnectionFailed: nothing of the WebSocket is left.
        """
        while True:
            try:
                async with asyncio.timeout(attempt):
                    await self._connect()
                break
            except TimeoutError:
                await self._hang_up()
            except BaseException:
                await self._hang_up()
                raise
        self.watch.is_open()
        self._living = asyncio.create_task(self._live())
        self._living.add_done_callback(self._lived)

    async def _connect(self) -> None:
        """Open the WebSocket, and make sure that what the kernel says arrives."""
        model = await self._server.kernel(self.kernel_id)
        options = self._options
        socket = await self._server.channels(
            self.kernel_id,
            self._session.id,
            max_received=options.max_received,
            legacy=options.legacy,
        )
        self._socket, self._is_legacy = socket, socket.subprotocol is None
        self._heard.clear()
        self._reading = asyncio.create_task(self._read(socket))
        self._task(self._send(socket))
        proof = asyncio.create_task(self._prove(socket, is_busy=model.state == "busy"))
        try:
            await asyncio.wait((proof, self._reading), return_when=asyncio.FIRST_COMPLETED)
            if self._reading.done():
                raise ConnectionFailed(self._how_it_ended(socket))
            await proof
        except websockets.ConnectionClosed:
            raise ConnectionFailed(self._how_it_ended(socket)) from None
        finally:
            proof.cancel()
        self._generation += 1
        self._since = asyncio.get_running_loop().time()
        self.gone = None
        self._task(self._keep_alive(socket))
        self._task(self.watch.look(options.poll_interval))
        if model.state == "dead":
            self.watch.is_dead()
        elif model.state == "busy" and self._generation == 1:
            self.tell(KernelState.BUSY)

    async def _prove(self, socket: Socket, *, is_busy: bool) -> None:
        """Nothing is lost from now on: the server listens to the kernel (it answers nothing before),
        and something came on iopub."""
        self._server.asked_for = f"what kernel {self.kernel_id} says on iopub"
        await (await socket.ping())
        waited = 0.0
        while not self._heard.is_set() and not (is_busy and waited >= PATIENCE):
            await self.watch.nudge()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._heard.wait(), NUDGE)
            waited += NUDGE

    async def nudge(self, messages: list[AnyMessage]) -> None:
        """Say what nobody else hears the answer to, past all that waits."""
        socket = self._socket
        if socket is not None:
            with suppress(websockets.ConnectionClosed):
                for message in messages:
                    await socket.send(self._encode(message))

    def during(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do it, as long as the WebSocket lasts."""

        async def do() -> None:
            await work()

        self._task(do())

    def _task(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("the link to kernel %s goes on without it", self.kernel_id, exc_info=error)

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
        while True:
            reading, socket = self._reading, self._socket
            if reading is None or socket is None:
                return
            await reading
            if self._closed or self._is_over:
                return
            why = ConnectionLost(self._how_it_ended(socket))
            self.refuse(why)
            await self._hang_up()
            self.tell(LinkState.LOST)
            failure = self._is_unwanted(socket, why) or await self._find_again(why)
            if failure is not None:
                self.gone = failure
                if not self._closed:
                    self.events.on_error(failure)
                return
            self.tell(LinkState.CONNECTED)
            self.watch.is_back()
            self.tell(
                MessagesMayBeMissing(
                    f"{why}; it is back. What the server kept meanwhile is delivered; what was on its way "
                    "when it broke, or came while another client was there, is lost"
                )
            )

    async def _find_again(self, why: ConnectionLost) -> EnchannelError | None:
        """Connect again; why that is not possible."""
        loop = asyncio.get_running_loop()
        end, wait = loop.time() + self._options.reconnect_timeout, RETRY_FIRST
        if self._thrown_out:
            await asyncio.sleep(RETRY_FIRST * 2**self._thrown_out)
        while True:
            try:
                async with asyncio.timeout(max(RETRY_FIRST, min(ATTEMPT, end - loop.time()))):
                    await self._connect()
                return None
            except (AuthenticationFailed, KernelDied) as error:  # which no patience mends
                await self._hang_up()
                return error
            except (ConnectionFailed, TimeoutError, websockets.ConnectionClosed) as error:
                await self._hang_up()
                last = str(error) or "no answer"
            pause = wait * random.uniform(0.5, 1.0)  # noqa: S311  # no secret: not all at once
            if loop.time() + pause >= end:
                limit = self._options.reconnect_timeout
                return ConnectionLost(f"{why}; it did not come back within {limit:g} s: {last}")
            await asyncio.sleep(pause)
            wait = min(wait * 2, RETRY_MOST)

    def _is_unwanted(self, socket: Socket, why: ConnectionLost) -> ConnectionLost | None:
        """The server closes what it has just opened, again and again; why that is given up."""
        lived = asyncio.get_running_loop().time() - self._since
        closed = socket.close_code not in (None, 1006, TOO_LARGE)
        self._thrown_out = self._thrown_out + 1 if closed and lived < STEADY else 0
        if self._thrown_out < ENOUGH:
            return None
        return ConnectionLost(
            f"{why}, and so it did {ENOUGH} times, as soon as it was open: is there another client "
            "with the same session?"
        )

    async def _keep_alive(self, socket: Socket) -> None:
        """Hang up on a server that gives no sign of life; any byte is one."""
        loop, half = asyncio.get_running_loop(), self._options.keepalive_timeout / 2
        while True:
            await asyncio.sleep(half)
            if loop.time() - socket.heard_at < half:
                continue
            with suppress(TimeoutError, websockets.ConnectionClosed):
                await asyncio.wait_for(self._ping(socket), half)
            if loop.time() - socket.heard_at >= 2 * half:
                socket.transport.abort()
                return

    async def _ping(self, socket: Socket) -> None:
        await (await socket.ping())

    def was_shut_down(self) -> None:
        """By us: the channels stay, and say so."""
        self._is_over = True
        gone = KernelDied(f"kernel {self.kernel_id} was shut down")
        self.refuse(gone)
        self.tell(LinkState.LOST)
        self.tell(gone)
        self.tell(KernelState.DEAD)

    def vanish(self, gone: KernelDied) -> None:
        """The kernel is gone for good."""
        if self._is_over:
            return
        self._is_over = True
        self.refuse(gone)
        self.tell(KernelState.DEAD)
        if not self._closed:
            self.events.on_error(gone)
        if self._living is not None:
            self._living.cancel()
        if self._socket is not None:
            self._socket.transport.abort()

    async def _hang_up(self) -> None:
        """Close the WebSocket, whatever state it is in, and what belongs to it."""
        socket, self._socket = self._socket, None
        tasks, self._tasks = self._tasks, set()
        reading, self._reading = self._reading, None
        for task in (*tasks, reading):
            if task is not None and task is not asyncio.current_task():
                task.cancel()
        if socket is not None:
            socket.transport.abort()
            await socket.wait_closed()

    async def _end(self) -> None:
        """The end of the link: what was said before is given a moment."""
        try:
            if self._living is not None and self._living is not asyncio.current_task():
                self._living.cancel()
            socket = self._socket
            if socket is not None and self.gone is None:
                with suppress(TimeoutError, websockets.ConnectionClosed):
                    async with asyncio.timeout(LINGER):
                        while self._unsent:
                            self._all_sent.clear()
                            await self._all_sent.wait()
                        # A server that reads the end with the last message drops what it has not passed
                        # on; and it passes it on in a turn of its loop after that in which it reads it.
                        await self._ping(socket)
                        await self._ping(socket)
                        await socket.close()
            await self._hang_up()
            await self._server.close()
        finally:
            self.events.on_completed()

    def _how_it_ended(self, socket: Socket) -> str:
        who = f"the connection to kernel {self.kernel_id} on {self._server} broke"
        code, reason, sent = socket.close_code, socket.close_reason, socket.protocol.close_sent
        if sent is not None and sent.code == TOO_LARGE:
            limit = self._options.max_received
            return f"{who} (the server sent more than max_received={limit} bytes in one message)"
        if code is None or code == 1006:
            return who
        if code == TOO_LARGE:
            reason = "a message was too large for the server: max_sent=… should be its limit"
        return f"{who} (the server closed it: {code}{f', {reason}' if reason else ''})"

    # -- messages ---------------------------------------------------------------------------------

    async def _send(self, socket: Socket) -> None:
        unsent = self._unsent
        with suppress(websockets.ConnectionClosed):  # who reads notices it too
            while True:
                await self._bell.wait()
                self._bell.clear()
                self._rung = False
                while unsent:
                    _, generation, frame = first = unsent[0]
                    if generation == self._generation:  # else it was meant for one that broke
                        await socket.send(frame)
                    if unsent and unsent[0] is first:  # and was not thrown away meanwhile
                        unsent.popleft()
                self._all_sent.set()

    async def _read(self, socket: Socket) -> None:
        decode = _decode_legacy if self._is_legacy else websocket.decode
        report = self.tell
        with suppress(websockets.ConnectionClosed):
            while True:
                frame = await socket.recv(decode=False)
                if self._closed:
                    continue
                try:
                    self._take(decode(frame, report))
                except MalformedFrame as error:
                    self.tell(error)
                except Exception as error:  # whatever it is, it is not the next message's fault
                    self.tell(
                        MalformedFrame(
                            "a message could be read, and not handled "
                            f"({type(error).__name__}: {error}); it was dropped"
                        )
                    )

    def _take(self, message: AnyMessage) -> None:
        if message.channel is ChannelName.IOPUB:
            self._heard.set()
        self.watch.hear(message)
        if not self.watch.is_ours(message):
            self._incoming[message.channel].on_next(message)

    def refuse(self, why: EnchannelError) -> None:
        """Take nothing that is said from now on, and let go what waits."""
        self.gone = why
        self._unsent.clear()

    def tell(self, status: LinkEvent) -> None:
        """Tell the core, unless it has closed the link."""
        if not self._closed:
            self.events.on_next(status)


def _decode_legacy(frame: bytes, report: Report) -> AnyMessage:
    """A text, where it begins as one; a binary frame begins with a number far below that of a brace."""
    text = None if frame[:1] == b"\0" else frame.decode(errors="surrogateescape")
    return legacy_websocket.decode(frame if text is None else text, report)
