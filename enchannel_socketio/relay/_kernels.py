"""A served kernel: its link on one side, its log on the other."""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy

from reactivex import Observable

import enchannel as ec
from enchannel import AnyMessage, ChannelName, Session
from enchannel.abc import KernelState, Lifecycle, Link, LinkEvent, LinkState
from enchannel.backends import EventRecord
from enchannel.errors import EnchannelError, KernelDied, MalformedFrame, NotSupported
from enchannel_socketio._packet import MSG, encode_message
from enchannel_socketio.relay._log import Entry, Log
from enchannel_socketio.relay._log_writer import LogWriter
from enchannel_socketio.relay._loss_records import LossRecords
from enchannel_socketio.relay._watcher import BatchCache

__all__ = ["LocalKernel", "ServedKernel"]

log = logging.getLogger("enchannel.socketio.relay")

FORWARDED_CHANNELS = (
    ChannelName.SHELL,
    ChannelName.CONTROL,
    ChannelName.STDIN,
    ChannelName.IOPUB,
)
# For an interrupt, a restart or a shutdown.
LIFECYCLE_TIMEOUT = 60.0


class ServedKernel(ABC):
    """A kernel that clients can use, served by this or by another relay. Runs on the relay's loop.

    Args:
        id: The id of the kernel at the relay: random, and not a secret.
        name: The name of its kernelspec, or its address.
        log: The log of its messages.

    Attributes:
        watchers: The number of connected watchers.
        batches: The batches that its watchers share.
        state: The state of the kernel.
        max_message: The maximum size of a message to the kernel, in bytes; None: unlimited.
        has_lifecycle: True if the kernel can be restarted through the relay.
    """

    def __init__(self, id: str, name: str, log: Log) -> None:
        self.id = id
        self.name = name
        self.log = log
        self.watchers = 0
        self.batches: BatchCache = BatchCache()
        self.state: KernelState = KernelState.IDLE
        self.max_message: int | None = None
        self.has_lifecycle: bool = False

    @abstractmethod
    async def send(self, message: AnyMessage) -> None:
        """Send a message to the kernel.

        Raises:
            EnchannelError: The message could not be sent.
        """

    async def position(self) -> int:
        """Return the position of the last entry in the log, which has all messages received until now."""
        return (await self.log.positions())[1]

    @abstractmethod
    async def interrupt(self) -> None:
        """Interrupt the running code."""

    @abstractmethod
    async def restart(self) -> None:
        """Restart the kernel process, and wait until the new one answers."""

    @abstractmethod
    async def shut_down(self) -> None:
        """Shut down the kernel, and wait until its last messages are in the log."""


class LocalKernel(ServedKernel):
    """A kernel that this relay is linked to. Its log outlives it.

    Args:
        id, name, log: As for ``ServedKernel``.
        link: The link to the kernel.
        session: The session of the relay at the kernel.
    """

    def __init__(self, id: str, name: str, log: Log, link: Link, session: Session) -> None:
        super().__init__(id, name, log)
        self.state: KernelState = KernelState.IDLE
        self.max_message: int | None = link.capabilities.max_sent
        self.has_lifecycle: bool = link.lifecycle is not None
        self._link = link
        self._session = session
        self._writer = LogWriter(id, log)
        self._loss = LossRecords(has_reason=not link.capabilities.can_resume)
        self._is_ending = False
        self._end_error: EnchannelError | None = None
        for channel in FORWARDED_CHANNELS:
            pair = link.pair(channel)
            if pair is not None:
                pair.incoming.subscribe(self._on_message)
        link.events.subscribe(self._on_event, self._on_link_error, self._on_link_completed)

    # -- for clients ------------------------------------------------------------------------------

    async def send(self, message: AnyMessage) -> None:
        if self._end_error is not None:
            raise copy(self._end_error)
        if self._is_ending:
            raise self._shut_down_error()
        pair = self._link.pair(message.channel)
        if pair is None or message.channel is ChannelName.IOPUB:
            raise NotSupported(f"messages cannot be sent on {message.channel.value}")
        with self._renaming():
            pair.outgoing.on_next(self._session.fill_headers(message))

    async def interrupt(self) -> None:
        with self._renaming():
            completion = self._lifecycle.interrupt() if self.has_lifecycle else None
            if completion is not None:
                await _wait_for(completion)
                return
        await self.send(ec.interrupt_request())

    async def restart(self) -> None:
        with self._renaming():
            await _wait_for(self._lifecycle.restart())

    async def shut_down(self) -> None:
        self._is_ending = True
        try:
            if self._link.lifecycle is not None and self._link.owned and self._end_error is None:
                with self._renaming():
                    await _wait_for(self._link.lifecycle.shutdown())
        finally:
            await asyncio.to_thread(self._link.close)
            await self._writer.flush()
            self._writer.cancel()

    async def position(self) -> int:
        await self._writer.flush()
        return await super().position()

    async def close(self) -> None:
        """Close the link. A kernel that the relay launched is shut down."""
        try:
            await self.shut_down()
        except (EnchannelError, TimeoutError) as error:
            log.warning("kernel %s could not be shut down: %s", self.id, error)

    @property
    def _lifecycle(self) -> Lifecycle:
        if self._end_error is not None:
            raise copy(self._end_error)
        if self._link.lifecycle is None:
            raise NotSupported(f"kernel {self.id} cannot be restarted through this relay")
        return self._link.lifecycle

    # -- on the thread on which messages arrive -----------------------------------------------------

    def _on_message(self, message: AnyMessage) -> None:
        channel = message.channel
        if channel is ChannelName.IOPUB:
            session = ""
            if message.header.msg_type == "status":
                self._on_execution_state(message.content.get("execution_state"))
        else:
            session = message.parent_header.session
        try:
            ready = encode_message(message)
        except Exception as error:  # any failure concerns this message only
            self._on_event(
                MalformedFrame(
                    f"a message on {channel.value} cannot be forwarded "
                    f"({type(error).__name__}: {error})"
                )
            )
            return
        self._writer.enqueue(
            Entry(MSG, channel.value, session, ready.json, tuple(ready.attachments))
        )

    def _on_execution_state(self, state: object) -> None:
        if state in (KernelState.IDLE, KernelState.BUSY) and self.state in (
            KernelState.IDLE,
            KernelState.BUSY,
            KernelState.STARTING,
        ):
            self.state = KernelState(str(state))

    def _on_event(self, event: LinkEvent) -> None:
        if isinstance(event, KernelState):
            self.state = event
        elif event is LinkState.LOST and self.state is not KernelState.RESTARTING:
            self.state = KernelState.DEAD
        elif event is LinkState.CONNECTED and self.state is KernelState.DEAD:
            self.state = KernelState.IDLE
        if self._is_ending and not isinstance(event, KernelState):
            # The end of the log reports the shutdown.
            return
        for record in self._loss.records_of(event):
            self._enqueue(record)

    def _on_link_error(self, error: Exception) -> None:
        if not isinstance(error, EnchannelError):
            error = KernelDied(f"the link to kernel {self.id} failed: {error}")
        self._on_end(error)

    def _on_link_completed(self) -> None:
        self._on_end(self._shut_down_error())

    def _on_end(self, error: EnchannelError) -> None:
        self._end_error = self._renamed(error)
        self.state = KernelState.DEAD
        for record in self._loss.take():
            self._enqueue(record)
        self._enqueue(EventRecord.of_end(error))

    def _enqueue(self, record: EventRecord) -> None:
        record = record.with_kernel_id(self._link.kernel_id, self.id)
        self._writer.enqueue(Entry.of_event(record))

    # -- on any thread ------------------------------------------------------------------------------

    def _shut_down_error(self) -> KernelDied:
        return KernelDied(f"kernel {self.id} was shut down")

    @contextmanager
    def _renaming(self) -> Iterator[None]:
        """Raise errors of the link with the id of the kernel on the relay, by which clients know it."""
        try:
            yield
        except EnchannelError as error:
            raise self._renamed(error) from None

    def _renamed(self, error: EnchannelError) -> EnchannelError:
        record = EventRecord.of(error)
        renamed = record.with_kernel_id(self._link.kernel_id, self.id)
        return error if renamed == record else renamed.to_error()


async def _wait_for(completion: Observable[None]) -> None:
    async with asyncio.timeout(LIFECYCLE_TIMEOUT):
        await ec.last_value(completion)
