"""Handing over to a loop that was busy meanwhile: what each message of its backlog costs."""

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
from benchmarks.measuring import DEADLINE, Measured
from enchannel import messages as build

__all__ = ["SCRIPT"]

Messages = Observable[ec.AnyMessage]
Operator = Callable[[Messages], Messages]
Operators = Callable[[abc.SchedulerBase], Operator]
MESSAGE = build.stream("stdout", "a line\n")
LOOPS = {"asyncio": "an asyncio loop", "event_loop": "an EventLoopScheduler"}


class _Backlog:
    """Messages said to a loop that does not listen, and then drained by it."""

    def __init__(self, messages: int, operator: Operator) -> None:
        self._left = self._messages = messages
        self._source: Subject[ec.AnyMessage] = Subject()
        self._source.pipe(operator).subscribe(self._hear)
        self.over = threading.Event()
        self._began = self._ended = self._said = 0.0

    def say(self) -> None:
        """While the loop is busy, on another thread."""
        speaker = threading.Thread(target=self._say)
        speaker.start()
        speaker.join()
        self._began = perf_counter()

    def _say(self) -> None:
        say, began = self._source.on_next, perf_counter()
        for _ in range(self._messages):
            say(MESSAGE)
        self._said = perf_counter() - began

    def _hear(self, message: ec.AnyMessage) -> None:
        self._left -= 1
        if not self._left:
            self._ended = perf_counter()
            self.over.set()

    def told(self) -> Measured:
        if self._left:
            raise RuntimeError(f"{self._left} of {self._messages} messages were not delivered")
        drained = self._ended - self._began
        return {"drained": drained / self._messages, "said": self._said / self._messages}


def enchannel(_: Sequence[Path], loop: str, messages: int, times: int) -> Measured:
    return RUNS[loop](ec.deliver_on, messages, times)


def observe_on(_: Sequence[Path], loop: str, messages: int, times: int) -> Measured:
    return RUNS[loop](ops.observe_on, messages, times)


def _on_asyncio(operator: Operators, messages: int, times: int) -> Measured:
    async def measure() -> Measured:
        scheduler = AsyncIOThreadSafeScheduler(asyncio.get_running_loop())
        told = []
        for _ in range(times):
            backlog = _Backlog(messages, operator(scheduler))
            backlog.say()
            while not backlog.over.is_set():
                await asyncio.sleep(0.001)
            told.append(backlog.told())
        return _median(told)

    return asyncio.run(measure())


def _on_event_loop(operator: Operators, messages: int, times: int) -> Measured:
    scheduler = EventLoopScheduler()
    told = []
    for _ in range(times):
        backlog = _Backlog(messages, operator(scheduler))
        say = backlog.say
        scheduler.schedule(lambda *_, say=say: say())
        backlog.over.wait(DEADLINE)
        told.append(backlog.told())
    scheduler.dispose()
    return _median(told)


def _median(told: Sequence[Measured]) -> Measured:
    return {name: median(measured[name] for measured in told) for name in told[0]}


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
                    title=f"`deliver_on` {name}, backlog of {messages:,}, a message",
                    peer="`observe_on`",
                    ours=ours,
                    theirs=case("observe_on", Kernels(), **dict(ours.numbers)),
                    value="drained",
                    goal=Goal.WITHIN,
                    reach=0.05,
                    aim=0.02,
                )
            )
        figures.append(
            Figure(
                title=f"`deliver_on` {name}, backlog of 100,000, a message",
                peer="a backlog of 1,000",
                ours=long,
                theirs=short,
                value="drained",
                goal=Goal.WITHIN,
                aim=1.2,
            )
        )
    return figures


SCRIPT = Script(
    name="deliver_on",
    method=(
        "another thread puts all messages while the loop is busy; the time is what the loop then takes "
        "to deliver them; of the short backlog the median of 50. Putting is not in it (`--compare` "
        "shows it as `said`)."
    ),
    sides={"enchannel": enchannel, "observe_on": observe_on},
    figures=tuple(_figures()),
)

if __name__ == "__main__":
    main(SCRIPT)
