"""What goes on in a process that measures: clocks, and what is told of them."""

import threading
from collections.abc import Callable, Sequence
from statistics import median
from time import perf_counter, process_time

__all__ = ["DEADLINE", "Lap", "Measured", "Skipped", "Tally", "half_of", "timed"]

DEADLINE = 120.0
"""Seconds after which a side gives up."""

Measured = dict[str, float]
"""What one process measured, by name: seconds where nothing else is said."""


class Skipped(Exception):
    """It cannot be measured here; the text says why."""


class Lap:
    """Wall time, and CPU time of the whole process, between two moments."""

    def start(self) -> None:
        self._cpu, self._wall = process_time(), perf_counter()

    def stop(self) -> None:
        self._wall = perf_counter() - self._wall
        self._cpu = process_time() - self._cpu

    def each(self, count: int) -> Measured:
        """What one of so many cost."""
        return {"wall": self._wall / count, "cpu": self._cpu / count}


class Tally:
    """Hears the texts of a flood: the lap is from its busy to its idle.

    Attributes:
        over: Set by the idle.
    """

    def __init__(self, messages: int) -> None:
        self.over = threading.Event()
        self._expected = messages
        self._lap = Lap()
        self._heard = 0

    def hear(self, text: str) -> None:
        """The text of a stream message, or the state that a status tells."""
        if text == "busy":
            self._lap.start()
        elif text == "idle":
            self._lap.stop()
            self.over.set()
        else:
            self._heard += 1

    def told(self) -> Measured:
        """What a message cost; it is an error if one is missing."""
        if not self.over.is_set() or self._heard != self._expected:
            raise RuntimeError(f"{self._heard} of {self._expected} messages arrived")
        return self._lap.each(self._expected)


def half_of(samples: Sequence[float]) -> float:
    """What half of the samples are below of; the first tenth only warmed up."""
    return median(samples[len(samples) // 10 :])


def timed(call: Callable[[], object], times: int) -> list[float]:
    """The seconds that each of some calls took."""
    samples = []
    for _ in range(times):
        began = perf_counter()
        call()
        samples.append(perf_counter() - began)
    return samples
