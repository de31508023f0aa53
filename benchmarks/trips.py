"""Requests that are made one after the other, and how long each takes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Final

from benchmarks.frames import execute_request
from benchmarks.measuring import Measured, half_of

__all__ = ["Trips"]

CONTENTS: Final[dict[str, dict[str, Any]]] = {
    "execute_request": execute_request("echo"),
    "kernel_info_request": {},
}


@dataclass(frozen=True, slots=True)
class Trips:
    """What is asked, and how often.

    Attributes:
        asked: The type of the request.
        times: How many are made.
        pause: Milliseconds after each: a kernel may still be at work when it has replied.
    """

    asked: str
    times: int
    pause: int

    @property
    def content(self) -> dict[str, Any]:
        """Of each request."""
        return CONTENTS[self.asked]

    def timed(self, ask: Callable[[], object]) -> Measured:
        """Of calls that return when the answer is there."""
        samples = []
        for _ in range(self.times):
            began = perf_counter()
            ask()
            samples.append(perf_counter() - began)
            if self.pause:
                time.sleep(self.pause / 1000)
        return {"p50": half_of(samples)}

    async def timed_async(self, ask: Callable[[], Awaitable[object]]) -> Measured:
        """The same for coroutines."""
        samples = []
        for _ in range(self.times):
            began = perf_counter()
            await ask()
            samples.append(perf_counter() - began)
            if self.pause:
                await asyncio.sleep(self.pause / 1000)
        return {"p50": half_of(samples)}
