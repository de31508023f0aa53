"""Floods, round trips and concurrent executions through a Jupyter server."""

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
from benchmarks.measuring import SIDE_TIMEOUT, Lap, Measured, Tally
from benchmarks.request_series import RequestSeries
from benchmarks.servers import read_served

__all__ = ["SCRIPT"]

SERVED = Kernels(served=True)
WARM_UP_MESSAGES = 500
FLOOD = {"messages": 5000, "size": 200}
SERIES: dict[str, int | str] = {"msg_type": "execute_request", "times": 200, "pause": 5}
CONCURRENT_REQUESTS = 200
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
        for count in (WARM_UP_MESSAGES, messages):
            tally = Tally(count)
            request = ec.execute_request(displays(count, size), silent=True)
            kernel.iopub.pipe(ec.child_of(request), ops.map(_text)).subscribe(tally.on_text)
            kernel.shell.on_next(request)
            tally.finished.wait(SIDE_TIMEOUT)
        return tally.result()


def _text(message: ec.AnyMessage) -> str:
    content = message.content
    is_display = message.header.msg_type == "display_data"
    text: str = content["data"]["text/plain"] if is_display else content["execution_state"]
    return text


def kernel_client_flood(kernels: Sequence[Path], messages: int, size: int) -> Measured:
    from benchmarks.peers import kernel_client

    return kernel_client.flood(kernels[0], WARM_UP_MESSAGES, messages, size)


def bare_flood(kernels: Sequence[Path], messages: int, size: int, quick_ack: int) -> Measured:
    from benchmarks.peers import bare_websocket

    return bare_websocket.flood(kernels[0], WARM_UP_MESSAGES, messages, size, quick_ack)


def enchannel_round_trip(
    kernels: Sequence[Path], msg_type: str, times: int, pause: int
) -> Measured:
    with _connected(kernels) as kernel:
        request = ec.execute_request("", silent=True)
        return RequestSeries(msg_type, times, pause).timed(lambda: ec.wait(kernel.request(request)))


def kernel_client_round_trip(
    kernels: Sequence[Path], msg_type: str, times: int, pause: int
) -> Measured:
    from benchmarks.peers import kernel_client

    return kernel_client.round_trips(kernels[0], RequestSeries(msg_type, times, pause))


def bare_round_trip(
    kernels: Sequence[Path], msg_type: str, times: int, pause: int, quick_ack: int
) -> Measured:
    from benchmarks.peers import bare_websocket

    return bare_websocket.round_trips(kernels[0], RequestSeries(msg_type, times, pause), quick_ack)


def enchannel_at_once(kernels: Sequence[Path], times: int) -> Measured:
    """Measure executions that are all sent before the first reply."""
    lap = Lap()
    with _connected(kernels) as kernel:
        ec.wait(kernel.execute("1"))
        lap.start()
        results = ec.wait(
            reactivex.merge(*(kernel.execute("1") for _ in range(times))).pipe(
                ops.filter(_is_result), ops.count()
            )
        )
        lap.stop()
    if results != times:
        raise RuntimeError(f"{results} of {times} results arrived")
    return lap.per_item(1)


def enchannel_in_turn(kernels: Sequence[Path], times: int) -> Measured:
    """Measure executions that are sent one after the other."""
    lap = Lap()
    with _connected(kernels) as kernel:
        ec.wait(kernel.execute("1"))
        lap.start()
        for _ in range(times):
            ec.wait(kernel.execute("1"))
        lap.stop()
    return lap.per_item(1)


def _is_result(message: ec.AnyMessage) -> bool:
    return message.header.msg_type == "execute_result"


def kernel_client_in_turn(kernels: Sequence[Path], times: int) -> Measured:
    from benchmarks.peers import kernel_client

    return kernel_client.in_turn(kernels[0], times)


def kernel_client_by_hand(kernels: Sequence[Path], times: int) -> Measured:
    from benchmarks.peers import kernel_client

    return kernel_client.by_hand(kernels[0], times)


def _floods() -> Iterator[Figure]:
    ours, legacy_framing = (
        case("enchannel_flood", SERVED, **FLOOD, legacy=legacy) for legacy in (0, 1)
    )
    theirs = case("kernel_client_flood", SERVED, **FLOOD)
    title = f"flood through a server, {FLOOD['size']} B, per message"
    cpu = "the same, CPU of the process"
    for value, prefix in (("wall", title), ("cpu", cpu)):
        yield Figure(
            title=prefix, peer=PEER, ours=ours, theirs=theirs, value=value, goal=Goal.FASTER
        )
        yield Figure(
            title=f"{prefix}, legacy framing",
            peer=f"{PEER}, which uses it",
            ours=legacy_framing,
            theirs=theirs,
            value=value,
            goal=Goal.FASTER,
        )
        # The wall time of bare websockets is that of the kernel and the server.
        for quick_ack, peer in BARE if value == "cpu" else ():
            yield Figure(
                title=prefix,
                peer=peer,
                ours=ours,
                theirs=case("bare_flood", SERVED, **FLOOD, quick_ack=quick_ack),
                value=value,
                goal=Goal.WITHIN,
            )


def _round_trips() -> Iterator[Figure]:
    peers = [
        (f"{PEER}, `execute_interactive`", case("kernel_client_round_trip", SERVED, **SERIES)),
        *(
            (peer, case("bare_round_trip", SERVED, **SERIES, quick_ack=quick_ack))
            for quick_ack, peer in BARE
        ),
    ]
    for peer, theirs in peers:
        yield Figure(
            title="round trip through a server, `ec.wait(kernel.request(…))`",
            peer=peer,
            ours=case("enchannel_round_trip", SERVED, **SERIES),
            theirs=theirs,
            unit=Unit.MILLISECONDS,
            value="p50",
            goal=Goal.WITHIN,
        )


def _executions() -> Iterator[Figure]:
    title = f"{CONCURRENT_REQUESTS} executions of `1` through a server"
    at_once, in_turn, theirs, by_hand = (
        case(side, SERVED, times=CONCURRENT_REQUESTS)
        for side in (
            "enchannel_at_once",
            "enchannel_in_turn",
            "kernel_client_in_turn",
            "kernel_client_by_hand",
        )
    )
    for way, ours, peer, other in (
        ("at once", at_once, "`execute`, one at a time", theirs),
        ("at once", at_once, "sent at once, read from its queues", by_hand),
        ("one after the other", in_turn, "`execute`", theirs),
    ):
        yield Figure(
            title=f"{title}, {way}, total",
            peer=f"{PEER}, {peer}",
            ours=ours,
            theirs=other,
            unit=Unit.MILLISECONDS,
            goal=Goal.FASTER,
        )


SCRIPT = Script(
    name="websocket",
    method=(
        f"an ipykernel on its own jupyter_server, without rate limits. The flood is {FLOOD['messages']:,} "
        "`display_data` from busy to idle, with each text read by a subscriber or by the peer's "
        "`output_hook`. Most of its time is that of the kernel and the server, so the CPU time of the "
        "client is more meaningful. The peer uses the legacy framing, in which the server decodes and "
        "encodes every message again; with the newer framing, which it offers, no message reaches its "
        "queues. A round trip is an empty execute request until its reply and its idle status, the median"
        f" of {SERIES['times']} with a pause after each. The server uses Nagle's algorithm, so a client "
        "that does not acknowledge at once, as ours does with TCP_QUICKACK, waits for some 40 ms. The "
        "executions of `1` are merged observables on our side; the peer's `execute` waits for each, and "
        "its low-level `execute` sends them all while results and replies are counted as they arrive."
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
