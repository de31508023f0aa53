"""A kernel that is served: its link on one side, its log on the other.

What the kernel says is noted on the thread on which it arrives, and appended to the log on the relay's
loop.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from typing import Any

from reactivex import Observable

import enchannel as ec
from enchannel import AnyMessage, ChannelName, Session
from enchannel.abc import KernelState, Lifecycle, Link, LinkEvent, LinkState
from enchannel.backends import EventRecord
from enchannel.errors import (
    EnchannelError,
    KernelDied,
    MalformedFrame,
    MessagesMayBeMissing,
    NotSupported,
)
from enchannel_socketio._packet import MSG, prepared
from enchannel_socketio.relay._log import Bounds, Entry, Log
from enchannel_socketio.relay._watcher import Batches

__all__ = ["Kernel", "LocalKernel"]

log = logging.getLogger("enchannel.socketio.relay")

SPOKEN = (ChannelName.SHELL, ChannelName.CONTROL, ChannelName.STDIN, ChannelName.IOPUB)
RULING = 60.0  # seconds for an interrupt, a restart or a shutdown
FEEDING = 5.0  # seconds for what was said at the end to be in the log
WAITING = Bounds()  # what may wait until the log can take it; the rest is told to be missing


class Kernel(ABC):
    """A kernel that is served, here or by another relay. Runs on the relay's loop.

    Args:
        id: What it is called here: random, and no secret.
        name: Its kernelspec's, or where it is.
        log: Of what it says.

    Attributes:
        watchers: How many sockets watch it.
        batches: That they share.
        state: What it does.
        max_message: The largest message that can be said to it, in bytes; None: no limit.
        has_lifecycle: Whether it can be restarted here.
    """

    def __init__(self, id: str, name: str, log: Log) -> None:
        self.id = id
        self.name = name
        self.log = log
        self.watchers = 0
        self.batches = Batches()
        self.state = KernelState.IDLE
        self.max_message: int | None = None
        self.has_lifecycle = False

    @abstractmethod
    async def say(self, message: AnyMessage) -> None:
        """Pass something on to it.

        Raises:
            EnchannelError: that is not possible; and why.
        """

    async def position(self) -> int:
        """That of the last entry in the log, with all that it has said until now."""
        return (await self.log.ends())[1]

    @abstractmethod
    async def interrupt(self) -> None:
        """Interrupt what runs."""

    @abstractmethod
    async def restart(self) -> None:
        """A new process; returns when it answers."""

    @abstractmethod
    async def shut_down(self) -> None:
        """End it; what it said until then is in the log."""


class LocalKernel(Kernel):
    """A kernel that this relay has a link to. Its log outlives it.

    Args:
        id, name, log: As for ``Kernel``.
        link: To it.
        session: Who the relay is to it.
    """

    def __init__(self, id: str, name: str, log: Log, link: Link, session: Session) -> None:
        super().__init__(id, name, log)
        self.max_message = link.capabilities.max_sent
        self.has_lifecycle = link.lifecycle is not None
        self._link = link
        self._session = session
        self._loop = asyncio.get_running_loop()
        self._said: deque[Entry] = deque()
        self._bell = asyncio.Event()
        self._rung = False
        self._idle = asyncio.Event()  # all that was said is in the log
        self._is_ending = False
        self._missing = 0  # entries that could not be kept
        self._waits = 0  # bytes that were said, and are not in the log
        self._too_much = 0  # messages that were dropped, as so much waits
        self._noting = threading.Lock()
        self._feeding = asyncio.create_task(self._feed())
        self._gone: EnchannelError | None = None
        for channel in SPOKEN:
            pair = link.pair(channel)
            if pair is not None:
                pair.incoming.subscribe(self._heard)
        link.events.subscribe(self._told, self._ended, self._closed)

    # -- for clients ------------------------------------------------------------------------------

    async def say(self, message: AnyMessage) -> None:
        if self._gone is not None:
            raise self._gone
        pair = self._link.pair(message.channel)
        if pair is None or message.channel is ChannelName.IOPUB:
            raise NotSupported(f"nothing can be said on {message.channel.value}")
        pair.outgoing.on_next(self._session.fill_headers(message))

    async def interrupt(self) -> None:
        outcome = self._lifecycle.interrupt() if self.has_lifecycle else None
        if outcome is None:
            await self.say(ec.interrupt_request())
        else:
            await _done(outcome)

    async def restart(self) -> None:
        await _done(self._lifecycle.restart())

    async def shut_down(self) -> None:
        self._is_ending = True
        try:
            if self._link.lifecycle is not None and self._link.owned and self._gone is None:
                await _done(self._link.lifecycle.shutdown())
        finally:
            await asyncio.to_thread(self._link.close)
            await self._fed()
            self._feeding.cancel()

    async def position(self) -> int:
        await self._fed()
        return await super().position()

    async def close(self) -> None:
        """Let go of it. A kernel that was launched ends."""
        try:
            await self.shut_down()
        except (EnchannelError, TimeoutError) as error:
            log.warning("kernel %s could not be shut down: %s", self.id, error)

    @property
    def _lifecycle(self) -> Lifecycle:
        if self._gone is not None:
            raise self._gone
        if self._link.lifecycle is None:
            raise NotSupported(f"kernel {self.id} is only watched here, and not ruled")
        return self._link.lifecycle

    # -- on the thread on which it arrives --------------------------------------------------------

    def _heard(self, message: AnyMessage) -> None:
        channel = message.channel
        if channel is ChannelName.IOPUB:
            to = ""
            if message.header.msg_type == "status":
                self._does(message.content.get("execution_state"))
        else:
            to = message.parent_header.session
        try:
            ready = prepared(message)
        except Exception as error:  # whatever it is: nobody else has to suffer for it
            self._told(
                MalformedFrame(
                    f"a message on {channel.value} cannot be passed on ({type(error).__name__}: {error})"
                )
            )
            return
        self._note(Entry(MSG, channel.value, to, ready.json, tuple(ready.attachments)))

    def _does(self, said: object) -> None:
        if said in (KernelState.IDLE, KernelState.BUSY) and self.state in (
            KernelState.IDLE,
            KernelState.BUSY,
            KernelState.STARTING,
        ):
            self.state = KernelState(str(said))

    def _told(self, status: LinkEvent) -> None:
        if isinstance(status, KernelState):
            self.state = status
        elif status is LinkState.LOST and self.state is not KernelState.RESTARTING:
            self.state = KernelState.DEAD
        elif status is LinkState.CONNECTED and self.state is KernelState.DEAD:
            self.state = KernelState.IDLE
        if self._is_ending and not isinstance(status, KernelState):
            return  # that it was shut down says it all
        # Clients know it by another name than its link does.
        record = EventRecord.of(status).with_kernel_id(self._link.kernel_id, self.id)
        self._note(Entry.of_event(record))

    def _ended(self, error: Exception) -> None:
        if not isinstance(error, EnchannelError):
            error = KernelDied(f"kernel {self.id} is gone: {error}")
        self._end(error)

    def _closed(self) -> None:
        self._end(KernelDied(f"kernel {self.id} was shut down"))

    def _end(self, error: EnchannelError) -> None:
        self._gone, self.state = error, KernelState.DEAD
        self._note(Entry.of_event(EventRecord.of_end(error)))

    def _note(self, entry: Entry) -> None:
        with self._noting:
            full = len(self._said) >= WAITING.messages or self._waits > WAITING.bytes
            if full and self._said and entry.event == MSG:
                self._too_much += 1  # the log is stuck, and no memory is large enough for it
                return
            self._note_what_was_too_much()
            self._said.append(entry)
            self._waits += entry.size
        if not self._rung:
            self._rung = True
            self._call(self._bell.set)

    def _note_what_was_too_much(self) -> None:
        if self._too_much:
            missing = self._missing_of(self._too_much)
            self._said.append(missing)
            self._waits += missing.size
            self._too_much = 0

    def _call(self, function: Callable[[], Any]) -> None:
        try:
            self._loop.call_soon_threadsafe(function)
        except RuntimeError:  # the relay's loop has ended, and nobody watches any more
            log.debug("kernel %s said something after the end of its relay", self.id)

    # -- on the loop ------------------------------------------------------------------------------

    async def _feed(self) -> None:
        while True:
            while not self._said:
                self._idle.set()
                await self._bell.wait()
                self._bell.clear()
                self._rung = False
            self._idle.clear()
            with self._noting:
                self._note_what_was_too_much()
                entries = [self._said.popleft() for _ in range(len(self._said))]
            missing = [self._missing_of(self._missing)] if self._missing else []
            try:
                await self.log.append([*missing, *entries])
            except Exception as error:
                log.exception("what kernel %s said could not be kept: %s", self.id, error)
                self._missing += len(entries)
            else:
                self._missing = 0
            with self._noting:
                self._waits -= sum(entry.size for entry in entries)

    def _missing_of(self, count: int) -> Entry:
        """That something could not be kept, to be told as soon as anything can."""
        told = MessagesMayBeMissing(
            f"{count} messages of kernel {self.id} could not be kept: the relay's log says why"
        )
        return Entry.of_event(EventRecord.of(told))

    async def _fed(self) -> None:
        """Wait until all that was said is in the log."""
        await asyncio.sleep(0)
        try:
            async with asyncio.timeout(FEEDING):
                while self._said or not self._idle.is_set():
                    if self._said:
                        self._idle.clear()
                        self._bell.set()
                    await self._idle.wait()
        except TimeoutError:
            log.warning("the end of what kernel %s said is not in its log", self.id)


async def _done(outcome: Observable[None]) -> None:
    async with asyncio.timeout(RULING):
        await ec.last_value(outcome)
