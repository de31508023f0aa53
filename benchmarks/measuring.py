"""Clocks, counters and statistics for the process that is measured."""

import threading
from collections.abc import Callable, Sequence
from statistics import median
from time import perf_counter, process_time

__all__ = ["SIDE_TIMEOUT", "Lap", "Measured", "Skipped", "Tally", "timed", "warm_median"]

SIDE_TIMEOUT = 120.0
"""Seconds until one side of a comparison gives up."""

Measured = dict[str, float]
"""The measurements of one process by name; in seconds unless the name says otherwise."""


class Skipped(Exception):
    """The case cannot be measured on this machine; the text says why."""


class Lap:
    """The wall time and the CPU time of the process between two calls."""

    def start(self) -> None:
        self._cpu, self._wall = process_time(), perf_counter()

    def stop(self) -> None:
        self._wall = perf_counter() - self._wall
        self._cpu = process_time() - self._cpu

    def per_item(self, count: int) -> Measured:
        """Return the times divided by a number of items."""
        return {"wall": self._wall / count, "cpu": self._cpu / count}


class Tally:
    """Counts the messages of a flood, and times it from its busy status to its idle status.

    Attributes:
        finished: Set at the idle status.
    """

    def __init__(self, messages: int) -> None:
        self.finished = threading.Event()
        self._expected = messages
        self._lap = Lap()
        self._received = 0

    def on_text(self, text: str) -> None:
        """Record the text of a stream message, or the state in a status message."""
        if text == "busy":
            self._lap.start()
        elif text == "idle":
            self._lap.stop()
            self.finished.set()
        else:
            self._received += 1

    def result(self) -> Measured:
        """Return the times per message.

        Raises:
            RuntimeError: a message is missing.
        """
        if not self.finished.is_set() or self._received != self._expected:
            raise RuntimeError(f"{self._received} of {self._expected} messages arrived")
        return self._lap.per_item(self._expected)


def warm_median(samples: Sequence[float]) -> float:
    """Return the median without the first tenth of the samples, which warmed up."""
    return median(samples[len(samples) // 10 :])


def timed(call: Callable[[], object], times: int) -> list[float]:
    """Return the seconds that each of a number of calls took."""
    samples = []
    for _ in range(times):
        started = perf_counter()
        call()
        samples.append(perf_counter() - started)
    return samples
