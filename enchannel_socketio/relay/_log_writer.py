"""Writes the messages of a kernel to its log: a bounded queue from any thread to the relay's event loop."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque

from enchannel.backends import EventRecord
from enchannel.errors import MessagesMayBeMissing
from enchannel_socketio._packet import MSG
from enchannel_socketio.relay._log import Bounds, Entry, Log

__all__ = ["LogWriter"]

log = logging.getLogger("enchannel.socketio.relay")

# For the last messages to be written to the log.
FLUSH_TIMEOUT = 5.0
# Messages wait for the log up to these bounds; beyond them, they are dropped and reported missing.
PENDING_BOUNDS = Bounds()


class LogWriter:
    """Writes entries to a log, in order.

    Entries that cannot be written, and messages that are dropped because too many are pending, are reported
    in the log as missing. Created on the relay's event loop.

    Args:
        kernel_id: The id of the kernel.
        log: The log to write to.
    """

    def __init__(self, kernel_id: str, log: Log) -> None:
        self._kernel_id = kernel_id
        self._log = log
        self._loop = asyncio.get_running_loop()
        self._enqueuing = threading.Lock()
        self._pending: deque[Entry] = deque()
        self._pending_bytes = 0
        # Messages that were dropped, and not yet reported.
        self._dropped = 0
        self._wake = asyncio.Event()
        self._is_woken = False
        # Set while all entries are in the log.
        self._flushed = asyncio.Event()
        self._writing = asyncio.create_task(self._write())

    def enqueue(self, entry: Entry) -> None:
        """Add an entry. May be called from any thread."""
        with self._enqueuing:
            full = (
                len(self._pending) >= PENDING_BOUNDS.messages
                or self._pending_bytes > PENDING_BOUNDS.bytes
            )
            if full and self._pending and entry.event == MSG:
                self._dropped += 1
                return
            self._report_dropped()
            self._pending.append(entry)
            self._pending_bytes += entry.size
        if not self._is_woken:
            self._is_woken = True
            try:
                self._loop.call_soon_threadsafe(self._wake.set)
            except RuntimeError:  # the event loop is closed
                log.debug("kernel %s sent a message after the relay was closed", self._kernel_id)

    async def flush(self) -> None:
        """Wait until all entries are in the log, or for the timeout."""
        await asyncio.sleep(0)
        try:
            async with asyncio.timeout(FLUSH_TIMEOUT):
                while self._pending or not self._flushed.is_set():
                    if self._pending:
                        self._flushed.clear()
                        self._wake.set()
                    await self._flushed.wait()
        except TimeoutError:
            log.warning("the last messages of kernel %s are not in its log", self._kernel_id)

    def cancel(self) -> None:
        """Write no more entries."""
        self._writing.cancel()

    async def _write(self) -> None:
        unwritten = 0
        while True:
            while not self._pending:
                self._flushed.set()
                await self._wake.wait()
                self._wake.clear()
                self._is_woken = False
            self._flushed.clear()
            entries = self._take_pending()
            report = [self._missing(unwritten)] if unwritten else []
            try:
                await self._log.append([*report, *entries])
            except Exception as error:
                log.exception(
                    "messages of kernel %s could not be stored: %s", self._kernel_id, error
                )
                unwritten += len(entries)
            else:
                unwritten = 0
            # Entries count as pending while they are written.
            with self._enqueuing:
                self._pending_bytes -= sum(entry.size for entry in entries)

    def _take_pending(self) -> list[Entry]:
        with self._enqueuing:
            self._report_dropped()
            return [self._pending.popleft() for _ in range(len(self._pending))]

    def _report_dropped(self) -> None:
        if self._dropped:
            report = self._missing(self._dropped)
            self._pending.append(report)
            self._pending_bytes += report.size
            self._dropped = 0

    def _missing(self, count: int) -> Entry:
        """Return the entry that reports messages as missing."""
        error = MessagesMayBeMissing(
            f"{count} messages of kernel {self._kernel_id} could not be stored; see the log output "
            "of the relay"
        )
        return Entry.of_event(EventRecord.of(error))
