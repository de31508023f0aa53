"""Series of requests, one after the other, with the time that each takes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Final

from benchmarks.frames import execute_request
from benchmarks.measuring import Measured, warm_median

__all__ = ["RequestSeries"]

CONTENTS: Final[dict[str, dict[str, Any]]] = {
    "execute_request": execute_request("echo"),
    "kernel_info_request": {},
}


@dataclass(frozen=True, slots=True)
class RequestSeries:
    """A series of requests of one type.

    Attributes:
        msg_type: The type of the requests.
        times: The number of requests.
        pause: Milliseconds after each request, since a kernel can be busy after its reply.
    """

    msg_type: str
    times: int
    pause: int

    @property
    def content(self) -> dict[str, Any]:
        """The content of each request."""
        return CONTENTS[self.msg_type]

    def timed(self, request: Callable[[], object]) -> Measured:
        """Return the median time of a function that sends a request and waits for the answer."""
        samples = []
        for _ in range(self.times):
            started = perf_counter()
            request()
            samples.append(perf_counter() - started)
            if self.pause:
                time.sleep(self.pause / 1000)
        return {"p50": warm_median(samples)}

    async def timed_async(self, request: Callable[[], Awaitable[object]]) -> Measured:
        """Return the median time of a coroutine function that does the same."""
        samples = []
        for _ in range(self.times):
            started = perf_counter()
            await request()
            samples.append(perf_counter() - started)
            if self.pause:
                await asyncio.sleep(self.pause / 1000)
        return {"p50": warm_median(samples)}
