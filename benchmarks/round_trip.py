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
from benchmarks.measuring import DEADLINE, Measured
from benchmarks.trips import Trips

__all__ = ["SCRIPT"]

FAKE, REAL = Kernels(fake=1), Kernels(real=True)


def enchannel_wait(kernels: Sequence[Path], **numbers: Any) -> Measured:
    """Until reply and idle are there."""
    trips = Trips(**numbers)
    with ec.connect(kernels[0]) as kernel:
        return trips.timed(lambda: ec.wait(kernel.request(_message(trips))))


def enchannel_shell(kernels: Sequence[Path], **numbers: Any) -> Measured:
    """Until the reply is heard by who subscribed to the shell channel."""
    trips = Trips(**numbers)
    with ec.connect(kernels[0]) as kernel:
        replied = threading.Event()
        kernel.shell.subscribe(lambda message: replied.set())

        def ask() -> None:
            replied.clear()
            kernel.shell.on_next(_message(trips))
            replied.wait(DEADLINE)

        return trips.timed(ask)


def enchannel_subscribe(kernels: Sequence[Path], **numbers: Any) -> Measured:
    """Until the subscriber of a request is told of its end."""
    trips = Trips(**numbers)
    with ec.connect(kernels[0]) as kernel:

        def ask() -> None:
            ended = threading.Event()
            kernel.request(_message(trips)).subscribe(on_completed=ended.set)
            ended.wait(DEADLINE)

        return trips.timed(ask)


def enchannel_await(kernels: Sequence[Path], **numbers: Any) -> Measured:
    """Until reply and idle are there, for a coroutine."""
    trips = Trips(**numbers)

    async def measure() -> Measured:
        async with ec.connect(kernels[0]) as kernel:
            return await trips.timed_async(lambda: ec.last_value(kernel.request(_message(trips))))

    return asyncio.run(measure())


def _message(trips: Trips) -> ec.AnyMessage:
    return ec.create_message(trips.asked, trips.content)


def bare_dealer(kernels: Sequence[Path], **numbers: Any) -> Measured:
    from benchmarks.peers import bare

    return bare.round_trips(kernels[0], Trips(**numbers))


def bare_until_idle(kernels: Sequence[Path], **numbers: Any) -> Measured:
    from benchmarks.peers import bare

    return bare.round_trips(kernels[0], Trips(**numbers), idle=True)


def jupyter_client(kernels: Sequence[Path], client: str, **numbers: Any) -> Measured:
    from benchmarks.peers import jupyter

    return jupyter.round_trips(client, kernels[0], Trips(**numbers))


def _on(kernels: Kernels, side: str, **numbers: str) -> Case:
    if kernels is REAL:
        return case(side, kernels, **numbers, asked="kernel_info_request", times=300, pause=5)
    return case(side, kernels, **numbers, asked="execute_request", times=2000, pause=0)


def _figures(kernels: Kernels) -> list[Figure]:
    title = f"round trip, {'ipykernel' if kernels.real else 'fake kernel'}"
    shell, wait, subscribe, awaited = (
        _on(kernels, f"enchannel_{way}") for way in ("shell", "wait", "subscribe", "await")
    )
    dealer, both = _on(kernels, "bare_dealer"), _on(kernels, "bare_until_idle")
    rows: list[tuple[str, Case, str, Case, float | None, float | None]] = [
        ("`kernel.shell`", shell, "bare DEALER", dealer, 1.4, 1.15),
        ("`ec.wait(kernel.request(…))`", wait, "bare DEALER", dealer, None, None),
        ("`ec.wait(kernel.request(…))`", wait, "bare DEALER and SUB", both, None, None),
        ("`kernel.request(…).subscribe`", subscribe, "bare DEALER and SUB", both, None, None),
        ("`await kernel.request(…)`", awaited, "bare DEALER and SUB", both, None, None),
    ]
    for client in ("blocking", "async", "threaded"):
        theirs = _on(kernels, "jupyter_client", client=client)
        rows.append(("`kernel.shell`", shell, f"jupyter_client, {client}", theirs, None, None))
    return [
        Figure(
            title=f"{title}, {way}",
            peer=peer,
            ours=ours,
            theirs=theirs,
            value="p50",
            goal=Goal.WITHIN,
            reach=reach,
            aim=aim,
        )
        for way, ours, peer, theirs, reach, aim in rows
    ]


SCRIPT = Script(
    name="round_trip",
    method=(
        "the median of 2,000 requests to the fake kernel, one after the other, and of 300 `kernel_info` "
        "requests to ipykernel, with a pause after each: it is still at work when it has replied. "
        "With `kernel.shell` from `on_next` to the reply, as with the DEALER, which signs, verifies "
        "and decodes one header; a request ends with its reply and its idle, as DEALER and SUB "
        "together."
    ),
    sides={
        "enchannel_wait": enchannel_wait,
        "enchannel_shell": enchannel_shell,
        "enchannel_subscribe": enchannel_subscribe,
        "enchannel_await": enchannel_await,
        "bare_dealer": bare_dealer,
        "bare_until_idle": bare_until_idle,
        "jupyter_client": jupyter_client,
    },
    figures=(*_figures(FAKE), *_figures(REAL)),
)

if __name__ == "__main__":
    main(SCRIPT)
