"""The queue between a kernel's thread and its log: order, failures of the log, bounds."""

import asyncio
from collections.abc import Sequence

import msgspec
import pytest

from enchannel_socketio.relay import Bounds, _log_writer
from enchannel_socketio.relay._log import Entry, MemoryLog
from enchannel_socketio.relay._log_writer import LogWriter

MANY_MESSAGES = 1_000


def message(number: int) -> Entry:
    return Entry("msg", "iopub", "", b"%d" % number)


class FailingLog(MemoryLog):
    """A log that can be made to fail, or to stall."""

    def __init__(self) -> None:
        super().__init__(Bounds())
        self.fails = False
        self.stalled = asyncio.Event()
        self.stalled.set()

    async def append(self, entries: Sequence[Entry]) -> None:
        await self.stalled.wait()
        if self.fails:
            raise OSError("disk full")
        await super().append(entries)


async def content(log: MemoryLog) -> list[object]:
    """Return the numbers of the messages, and the texts of the reports."""
    entries = (await log.read(0, 10 * MANY_MESSAGES)).entries
    values = [msgspec.json.decode(entry.json) for entry in entries]
    return [value["text"] if isinstance(value, dict) else value for value in values]


def test_log_writer_keeps_order_across_threads() -> None:
    async def main() -> None:
        log = MemoryLog(Bounds())
        writer = LogWriter("ada", log)

        def enqueue() -> None:
            for number in range(MANY_MESSAGES):
                writer.enqueue(message(number))

        await asyncio.to_thread(enqueue)
        await writer.flush()
        assert await content(log) == list(range(MANY_MESSAGES))
        writer.cancel()

    asyncio.run(main())


def test_log_writer_reports_failed_writes() -> None:
    async def main() -> None:
        log = FailingLog()
        writer = LogWriter("ada", log)
        log.fails = True
        writer.enqueue(message(1))
        writer.enqueue(message(2))
        await writer.flush()
        log.fails = False
        writer.enqueue(message(3))
        await writer.flush()
        report, number = await content(log)
        assert "2 messages of kernel ada could not be stored" in str(report)
        assert number == 3
        writer.cancel()

    asyncio.run(main())


def test_log_writer_drops_and_reports_excess(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_log_writer, "PENDING_BOUNDS", Bounds(messages=10))

    async def main() -> None:
        log = FailingLog()
        writer = LogWriter("ada", log)
        log.stalled.clear()
        for number in range(25):
            writer.enqueue(message(number))
        log.stalled.set()
        await writer.flush()
        *numbers, report = await content(log)
        assert numbers == list(range(10))
        assert "15 messages of kernel ada could not be stored" in str(report)
        writer.cancel()

    asyncio.run(main())
