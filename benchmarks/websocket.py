"""A kernel behind a Jupyter server: a flood, round trips, and many executions at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import reactivex
from reactivex import operators as ops

import enchannel as ec
from benchmarks.case import Figure, Goal, Kernels, Script, Unit, case
from benchmarks.command import main
from benchmarks.frames import displays
from benchmarks.measuring import DEADLINE, Lap, Measured, Tally
from benchmarks.servers import read_served
from benchmarks.trips import Trips

__all__ = ["SCRIPT"]

SERVED = Kernels(served=True)
WARM = 500
FLOOD = {"messages": 5000, "size": 200}
TRIPS: dict[str, int | str] = {"asked": "execute_request", "times": 200, "pause": 5}
AT_ONCE = 200
PEER = "jupyter-kernel-client"
BARE = (
    (1, "websockets alone with TCP_QUICKACK, no decode"),
    (0, "websockets alone, no decode"),
)


@contextmanager
def _connected(kernels: Sequence[Path], *, legacy: bool = False) -> Iterator[ec.Kernel]:
    kernel = read_served(kernels[0])
    with ec.connect(kernel.url, token=kernel.token, legacy=legacy) as connected:
        yield connected


def enchannel_flood(kernels: Sequence[Path], messages: int, size: int, legacy: int = 0) -> Measured:
    with _connected(kernels, legacy=bool(legacy)) as kernel:
        for count in (WARM, messages):
            tally = Tally(count)
            request = ec.execute_request(displays(count, size), silent=True)
            kernel.iopub.pipe(ec.child_of(request), ops.map(_text)).subscribe(tally.hear)
            kernel.shell.on_next(request)
            tally.over.wait(DEADLINE)
        return tally.told()


def _text(message: ec.AnyMessage) -> str:
    content = message.content
    shown = message.header.msg_type == "display_data"
    text: str = content["data"]["text/plain"] if shown else content["execution_state"]
    return text


def kernel_client_flood(kernels: Sequence[Path], messages: int, size: int) -> Measured:
    from benchmarks.peers import kernel_client

    return kernel_client.flood(kernels[0], WARM, messages, size)


def bare_flood(kernels: Sequence[Path], messages: int, size: int, prompt: int) -> Measured:
    from benchmarks.peers import bare_websocket

    return bare_websocket.flood(kernels[0], WARM, messages, size, prompt)


def enchannel_round_trip(kernels: Sequence[Path], asked: str, times: int, pause: int) -> Measured:
    with _connected(kernels) as kernel:
        request = ec.execute_request("", silent=True)
        return Trips(asked, times, pause).timed(lambda: ec.wait(kernel.request(request)))


def kernel_client_round_trip(
    kernels: Sequence[Path], asked: str, times: int, pause: int
) -> Measured:
    from benchmarks.peers import kernel_client

    return kernel_client.round_trips(kernels[0], Trips(asked, times, pause))


def bare_round_trip(
    kernels: Sequence[Path], asked: str, times: int, pause: int, prompt: int
) -> Measured:
    from benchmarks.peers import bare_websocket

    return bare_websocket.round_trips(kernels[0], Trips(asked, times, pause), prompt)


def enchannel_at_once(kernels: Sequence[Path], times: int) -> Measured:
    """All are sent before the first is answered."""
    lap = Lap()
    with _connected(kernels) as kernel:
        ec.wait(kernel.execute("1"))
        lap.start()
        answered = ec.wait(
            reactivex.merge(*(kernel.execute("1") for _ in range(times))).pipe(
                ops.filter(_is_result), ops.count()
            )
        )
        lap.stop()
    if answered != times:
        raise RuntimeError(f"{answered} of {times} results arrived")
    return lap.each(1)


def enchannel_in_turn(kernels: Sequence[Path], times: int) -> Measured:
    """Each is sent when the one before it is complete."""
    lap = Lap()
    with _connected(kernels) as kernel:
        ec.wait(kernel.execute("1"))
        lap.start()
        for _ in range(times):
            ec.wait(kernel.execute("1"))
        lap.stop()
    return lap.each(1)


def _is_result(message: ec.AnyMessage) -> bool:
    return message.header.msg_type == "execute_result"


def kernel_client_in_turn(kernels: Sequence[Path], times: int) -> Measured:
    from benchmarks.peers import kernel_client

    return kernel_client.in_turn(kernels[0], times)


def kernel_client_by_hand(kernels: Sequence[Path], times: int) -> Measured:
    from benchmarks.peers import kernel_client

    return kernel_client.by_hand(kernels[0], times)


def _floods() -> Iterator[Figure]:
    ours, older = (case("enchannel_flood", SERVED, **FLOOD, legacy=legacy) for legacy in (0, 1))
    theirs = case("kernel_client_flood", SERVED, **FLOOD)
    title = f"flood through a server, {FLOOD['size']} B, a message"
    cpu = "the same, CPU of the process"
    for value, prefix in (("wall", title), ("cpu", cpu)):
        yield Figure(
            title=prefix, peer=PEER, ours=ours, theirs=theirs, value=value, goal=Goal.FASTER
        )
        yield Figure(
            title=f"{prefix}, the older framing",
            peer=f"{PEER}, which has that",
            ours=older,
            theirs=theirs,
            value=value,
            goal=Goal.FASTER,
        )
        # Wall time beside the floor is that of kernel and server, for both.
        for prompt, peer in BARE if value == "cpu" else ():
            yield Figure(
                title=prefix,
                peer=peer,
                ours=ours,
                theirs=case("bare_flood", SERVED, **FLOOD, prompt=prompt),
                value=value,
                goal=Goal.WITHIN,
            )


def _round_trips() -> Iterator[Figure]:
    peers = [
        (f"{PEER}, `execute_interactive`", case("kernel_client_round_trip", SERVED, **TRIPS)),
        *((peer, case("bare_round_trip", SERVED, **TRIPS, prompt=prompt)) for prompt, peer in BARE),
    ]
    for peer, theirs in peers:
        yield Figure(
            title="round trip through a server, `ec.wait(kernel.request(…))`",
            peer=peer,
            ours=case("enchannel_round_trip", SERVED, **TRIPS),
            theirs=theirs,
            unit=Unit.MILLISECONDS,
            value="p50",
            goal=Goal.WITHIN,
        )


def _executions() -> Iterator[Figure]:
    title = f"{AT_ONCE} executions of `1` through a server"
    at_once, in_turn, theirs, by_hand = (
        case(side, SERVED, times=AT_ONCE)
        for side in (
            "enchannel_at_once",
            "enchannel_in_turn",
            "kernel_client_in_turn",
            "kernel_client_by_hand",
        )
    )
    for way, ours, peer, other in (
        ("at once", at_once, "`execute`, which runs one at a time", theirs),
        ("at once", at_once, "sent at once, its queues read by hand", by_hand),
        ("one after the other", in_turn, "`execute`", theirs),
    ):
        yield Figure(
            title=f"{title}, {way}, all of them",
            peer=f"{PEER}, {peer}",
            ours=ours,
            theirs=other,
            unit=Unit.MILLISECONDS,
            goal=Goal.FASTER,
        )


SCRIPT = Script(
    name="websocket",
    method=(
        "an ipykernel on a jupyter_server of its own, whose limits of rate are lifted. The flood is "
        f"{FLOOD['messages']:,} `display_data` from busy to idle, each with its text read, by a "
        "subscriber or by the peer's `output_hook`: mostly it is what kernel and server take, so the "
        "CPU of the client tells more. The peer speaks the older framing, in which the server "
        "decodes and encodes everything again; in the newer one, which it offers, no message gets to "
        "its queues. A round trip is an empty execute until its reply and its idle, the median of "
        f"{TRIPS['times']} with a pause after each: the server leaves Nagle's algorithm on, so who does "
        "not acknowledge at once, as ours does with TCP_QUICKACK, waits for some 40 ms. Of the "
        "executions of `1`, ours are merged observables; the peer's `execute` waits for each; by "
        "hand its lower `execute` sends them all, and results and replies are counted as they come."
    ),
    sides={
        "enchannel_flood": enchannel_flood,
        "kernel_client_flood": kernel_client_flood,
        "bare_flood": bare_flood,
        "enchannel_round_trip": enchannel_round_trip,
        "kernel_client_round_trip": kernel_client_round_trip,
        "bare_round_trip": bare_round_trip,
        "enchannel_at_once": enchannel_at_once,
        "enchannel_in_turn": enchannel_in_turn,
        "kernel_client_in_turn": kernel_client_in_turn,
        "kernel_client_by_hand": kernel_client_by_hand,
    },
    figures=(*_floods(), *_round_trips(), *_executions()),
)

if __name__ == "__main__":
    main(SCRIPT)
