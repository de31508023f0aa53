"""A request and its reply: what half of the round trips take at most."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import enchannel as ec
from benchmarks.case import Case, Figure, Goal, Kernels, Script, case
from benchmarks.command import main
from benchmarks.frames import execute_request
from benchmarks.measuring import DEADLINE, Measured, half_of, timed

__all__ = ["SCRIPT"]

FAKE, REAL = Kernels(fake=1), Kernels(real=True)
TIMES = {FAKE: 2000, REAL: 500}
ASKED: dict[str, dict[str, Any]] = {
    "execute_request": execute_request("echo"),
    "kernel_info_request": {},
}


def enchannel_wait(kernels: Sequence[Path], asked: str, times: int) -> Measured:
    """Until reply and idle are there."""
    with ec.connect(kernels[0]) as kernel:
        samples = timed(
            lambda: ec.wait(kernel.request(ec.create_message(asked, ASKED[asked]))), times
        )
    return {"p50": half_of(samples)}


def enchannel_shell(kernels: Sequence[Path], asked: str, times: int) -> Measured:
    """Until the reply is heard by who subscribed to the shell channel."""
    with ec.connect(kernels[0]) as kernel:
        replied = threading.Event()
        kernel.shell.subscribe(lambda message: replied.set())

        def ask() -> None:
            replied.clear()
            kernel.shell.on_next(ec.create_message(asked, ASKED[asked]))
            replied.wait(DEADLINE)

        samples = timed(ask, times)
    return {"p50": half_of(samples)}


def enchannel_subscribe(kernels: Sequence[Path], asked: str, times: int) -> Measured:
    """Until the subscriber of a request is told of its end."""
    with ec.connect(kernels[0]) as kernel:

        def ask() -> None:
            ended = threading.Event()
            kernel.request(ec.create_message(asked, ASKED[asked])).subscribe(on_completed=ended.set)
            ended.wait(DEADLINE)

        samples = timed(ask, times)
    return {"p50": half_of(samples)}


def enchannel_await(kernels: Sequence[Path], asked: str, times: int) -> Measured:
    """Until reply and idle are there, for a coroutine."""

    async def measure() -> list[float]:
        samples = []
        async with ec.connect(kernels[0]) as kernel:
            clock = asyncio.get_running_loop().time
            for _ in range(times):
                began = clock()
                await kernel.request(ec.create_message(asked, ASKED[asked]))
                samples.append(clock() - began)
        return samples

    return {"p50": half_of(asyncio.run(measure()))}


def bare_dealer(kernels: Sequence[Path], asked: str, times: int) -> Measured:
    from benchmarks.peers import bare

    return {"p50": half_of(bare.round_trips(kernels[0], asked, ASKED[asked], times))}


def jupyter_client(kernels: Sequence[Path], client: str, asked: str, times: int) -> Measured:
    from benchmarks.peers import jupyter

    return {"p50": half_of(jupyter.round_trips(client, kernels[0], asked, ASKED[asked], times))}


def _on(kernels: Kernels, side: str, **numbers: str) -> Case:
    asked = "kernel_info_request" if kernels.real else "execute_request"
    return case(side, kernels, **numbers, asked=asked, times=TIMES[kernels])


def _figures(kernels: Kernels) -> list[Figure]:
    title = f"round trip, {'ipykernel' if kernels.real else 'fake kernel'}"
    shell, dealer = _on(kernels, "enchannel_shell"), _on(kernels, "bare_dealer")
    wait = _on(kernels, "enchannel_wait")
    beside_the_dealer = [
        (f"{title}, `kernel.shell`", shell, 1.4, 1.15),
        (f"{title}, `ec.wait(kernel.execute(…))`", wait, None, None),
        (
            f"{title}, `kernel.execute(…).subscribe`",
            _on(kernels, "enchannel_subscribe"),
            None,
            None,
        ),
        (f"{title}, `await kernel.execute(…)`", _on(kernels, "enchannel_await"), None, None),
    ]
    clients = [
        (name, _on(kernels, "jupyter_client", client=name))
        for name in ("blocking", "async", "threaded")
    ]
    return [
        Figure(
            title=name,
            peer="bare DEALER",
            ours=ours,
            theirs=dealer,
            value="p50",
            goal=Goal.WITHIN,
            reach=reach,
            aim=aim,
        )
        for name, ours, reach, aim in beside_the_dealer
    ] + [
        Figure(
            title=f"{title}, `kernel.shell`",
            peer=f"jupyter_client, {name}",
            ours=shell,
            theirs=theirs,
            value="p50",
            goal=Goal.WITHIN,
        )
        for name, theirs in clients
    ]


SCRIPT = Script(
    name="round_trip",
    method=(
        "the median of 2,000 requests to the fake kernel, one after the other, and of 500 `kernel_info` "
        "requests to ipykernel, to the reply; `execute` ends when the idle is there as well, which "
        "the DEALER, signing and verifying and decoding one header, never hears."
    ),
    sides={
        "enchannel_wait": enchannel_wait,
        "enchannel_shell": enchannel_shell,
        "enchannel_subscribe": enchannel_subscribe,
        "enchannel_await": enchannel_await,
        "bare_dealer": bare_dealer,
        "jupyter_client": jupyter_client,
    },
    figures=(*_figures(FAKE), *_figures(REAL)),
)

if __name__ == "__main__":
    main(SCRIPT)
