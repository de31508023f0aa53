"""The median time from a request to its reply."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import enchannel as ec
from benchmarks.case import Case, Figure, Goal, Kernels, Script, case
from benchmarks.command import main
from benchmarks.measuring import SIDE_TIMEOUT, Measured
from benchmarks.request_series import RequestSeries

__all__ = ["SCRIPT"]

FAKE, REAL = Kernels(fake=1), Kernels(real=True)


def enchannel_wait(kernels: Sequence[Path], **numbers: Any) -> Measured:
    """Measure until the reply and the idle status."""
    series = RequestSeries(**numbers)
    with ec.connect(kernels[0]) as kernel:
        return series.timed(lambda: ec.wait(kernel.request(_message(series))))


def enchannel_shell(kernels: Sequence[Path], **numbers: Any) -> Measured:
    """Measure until a subscriber of the shell channel receives the reply."""
    series = RequestSeries(**numbers)
    with ec.connect(kernels[0]) as kernel:
        replied = threading.Event()
        kernel.shell.subscribe(lambda message: replied.set())

        def send_and_wait() -> None:
            replied.clear()
            kernel.shell.on_next(_message(series))
            replied.wait(SIDE_TIMEOUT)

        return series.timed(send_and_wait)


def enchannel_subscribe(kernels: Sequence[Path], **numbers: Any) -> Measured:
    """Measure until the request completes."""
    series = RequestSeries(**numbers)
    with ec.connect(kernels[0]) as kernel:

        def send_and_wait() -> None:
            ended = threading.Event()
            kernel.request(_message(series)).subscribe(on_completed=ended.set)
            ended.wait(SIDE_TIMEOUT)

        return series.timed(send_and_wait)


def enchannel_await(kernels: Sequence[Path], **numbers: Any) -> Measured:
    """Measure until the reply and the idle status, in a coroutine."""
    series = RequestSeries(**numbers)

    async def measure() -> Measured:
        async with ec.connect(kernels[0]) as kernel:
            return await series.timed_async(lambda: ec.last_value(kernel.request(_message(series))))

    return asyncio.run(measure())


def _message(series: RequestSeries) -> ec.AnyMessage:
    return ec.create_message(series.msg_type, series.content)


def bare_dealer(kernels: Sequence[Path], **numbers: Any) -> Measured:
    from benchmarks.peers import bare_zmq

    return bare_zmq.round_trips(kernels[0], RequestSeries(**numbers))


def bare_until_idle(kernels: Sequence[Path], **numbers: Any) -> Measured:
    from benchmarks.peers import bare_zmq

    return bare_zmq.round_trips(kernels[0], RequestSeries(**numbers), idle=True)


def jupyter_client(kernels: Sequence[Path], client: str, **numbers: Any) -> Measured:
    from benchmarks.peers import jupyter

    return jupyter.round_trips(client, kernels[0], RequestSeries(**numbers))


def _on(kernels: Kernels, side: str, **numbers: str) -> Case:
    if kernels is REAL:
        return case(side, kernels, **numbers, msg_type="kernel_info_request", times=300, pause=5)
    return case(side, kernels, **numbers, msg_type="execute_request", times=2000, pause=0)


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
            required=reach,
            target=aim,
        )
        for way, ours, peer, theirs, reach, aim in rows
    ]


SCRIPT = Script(
    name="round_trip",
    method=(
        "the median of 2,000 requests to the fake kernel, one after the other, and of 300 `kernel_info` "
        "requests to ipykernel, with a pause after each because ipykernel is still busy after its reply. "
        "`kernel.shell` and the DEALER are timed from sending to the reply; the DEALER signs, verifies "
        "and decodes one header. A `kernel.request`, like DEALER and SUB together, ends with its reply "
        "and its idle status. "
        "A DEALER uses one thread and receives no iopub messages; each of our hand-overs to another "
        "thread (I/O, subscriber, caller) is a wake-up, which takes some 40 µs on a machine with two cores."
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
