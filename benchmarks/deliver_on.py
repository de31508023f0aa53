"""The cost of each message in the backlog of an event loop that was busy."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from time import perf_counter

from reactivex import Observable, abc
from reactivex import operators as ops
from reactivex.scheduler import EventLoopScheduler
from reactivex.scheduler.eventloop import AsyncIOThreadSafeScheduler
from reactivex.subject import Subject

import enchannel as ec
from benchmarks.case import Figure, Goal, Kernels, Script, case
from benchmarks.command import main
from benchmarks.measuring import SIDE_TIMEOUT, Measured
from enchannel.messages import stream

__all__ = ["SCRIPT"]

Messages = Observable[ec.AnyMessage]
Operator = Callable[[Messages], Messages]
Operators = Callable[[abc.SchedulerBase], Operator]
MESSAGE = stream("stdout", "a line\n")
LOOPS = {"asyncio": "an asyncio loop", "event_loop": "an EventLoopScheduler"}


class _Backlog:
    """Messages put into the queue of a busy loop, which then delivers them."""

    def __init__(self, messages: int, operator: Operator) -> None:
        self._left = self._messages = messages
        self._source: Subject[ec.AnyMessage] = Subject()
        self._source.pipe(operator).subscribe(self._on_message)
        self.finished = threading.Event()
        self._started = self._ended = self._put_time = 0.0

    def put_all(self) -> None:
        """Put all messages from another thread, while the loop is busy."""
        producer = threading.Thread(target=self._put)
        producer.start()
        producer.join()
        self._started = perf_counter()

    def _put(self) -> None:
        on_next, started = self._source.on_next, perf_counter()
        for _ in range(self._messages):
            on_next(MESSAGE)
        self._put_time = perf_counter() - started

    def _on_message(self, message: ec.AnyMessage) -> None:
        self._left -= 1
        if not self._left:
            self._ended = perf_counter()
            self.finished.set()

    def result(self) -> Measured:
        if self._left:
            raise RuntimeError(f"{self._left} of {self._messages} messages were not delivered")
        drained = self._ended - self._started
        return {"drained": drained / self._messages, "put": self._put_time / self._messages}


def enchannel(_: Sequence[Path], loop: str, messages: int, times: int) -> Measured:
    return RUNS[loop](ec.deliver_on, messages, times)


def observe_on(_: Sequence[Path], loop: str, messages: int, times: int) -> Measured:
    return RUNS[loop](ops.observe_on, messages, times)


def _on_asyncio(operator: Operators, messages: int, times: int) -> Measured:
    async def measure() -> Measured:
        scheduler = AsyncIOThreadSafeScheduler(asyncio.get_running_loop())
        results = []
        for _ in range(times):
            backlog = _Backlog(messages, operator(scheduler))
            backlog.put_all()
            while not backlog.finished.is_set():
                await asyncio.sleep(0.001)
            results.append(backlog.result())
        return _median(results)

    return asyncio.run(measure())


def _on_event_loop(operator: Operators, messages: int, times: int) -> Measured:
    scheduler = EventLoopScheduler()
    results = []
    for _ in range(times):
        backlog = _Backlog(messages, operator(scheduler))
        put_all = backlog.put_all
        scheduler.schedule(lambda *_, put_all=put_all: put_all())
        backlog.finished.wait(SIDE_TIMEOUT)
        results.append(backlog.result())
    scheduler.dispose()
    return _median(results)


def _median(results: Sequence[Measured]) -> Measured:
    return {name: median(measured[name] for measured in results) for name in results[0]}


RUNS = {"asyncio": _on_asyncio, "event_loop": _on_event_loop}


def _figures() -> list[Figure]:
    figures = []
    for loop, name in LOOPS.items():
        short, long = (
            case("enchannel", Kernels(), loop=loop, messages=messages, times=times)
            for messages, times in ((1000, 50), (100_000, 1))
        )
        for ours in (short, long):
            messages = dict(ours.numbers)["messages"]
            figures.append(
                Figure(
                    title=f"`deliver_on` {name}, backlog of {messages:,}, per message",
                    peer="`observe_on`",
                    ours=ours,
                    theirs=case("observe_on", Kernels(), **dict(ours.numbers)),
                    value="drained",
                    goal=Goal.WITHIN,
                    required=0.05,
                    target=0.02,
                )
            )
        figures.append(
            Figure(
                title=f"`deliver_on` {name}, backlog of 100,000, per message",
                peer="a backlog of 1,000",
                ours=long,
                theirs=short,
                value="drained",
                goal=Goal.WITHIN,
                target=1.2,
            )
        )
    return figures


SCRIPT = Script(
    name="deliver_on",
    method=(
        "another thread puts all messages while the loop is busy; the time is that of their delivery by "
        "the loop. For the short backlog it is the median of 50. It does not include the putting "
        "(`--compare` shows that as `put`)."
    ),
    sides={"enchannel": enchannel, "observe_on": observe_on},
    figures=tuple(_figures()),
)

if __name__ == "__main__":
    main(SCRIPT)
