"""Many requests open at once on one kernel: what a message costs when there are K who could want it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from time import perf_counter

from reactivex import operators as ops
from reactivex.subject import Subject

import enchannel as ec
from benchmarks.case import Case, Figure, Goal, Script, case
from benchmarks.command import main
from benchmarks.measuring import DEADLINE, Measured

__all__ = ["SCRIPT"]

MESSAGES = 20_000
SIZE = 200
OPEN = (100, 1000, 5000)
GROUP = 1


class _Tally:
    """Counts the streams of all requests: the time is from the first to the last."""

    def __init__(self, messages: int) -> None:
        self._left = self._messages = messages
        self._began = self._ended = 0.0
        self.over = threading.Event()

    def hear(self, message: ec.AnyMessage) -> None:
        if message.header.msg_type != "stream":
            return
        if self._left == self._messages:
            self._began = perf_counter()
        self._left -= 1
        if not self._left:
            self._ended = perf_counter()
            self.over.set()

    def told(self) -> Measured:
        if not self.over.wait(DEADLINE):
            raise RuntimeError(f"{self._left} of {self._messages} messages did not arrive")
        return {"wall": (self._ended - self._began) / self._messages}


def _requests(requests: int, messages: int) -> list[ec.AnyMessage]:
    code = f"join {requests} {messages // requests} {SIZE} {GROUP}"
    return [ec.execute_request(code) for _ in range(requests)]


Listening = Callable[[ec.Kernel, list[ec.AnyMessage], _Tally], None]


def _measured(kernels: Sequence[Path], requests: int, messages: int, listen: Listening) -> Measured:
    with ec.connect(kernels[0]) as kernel:
        warm, tally = _Tally(1000), _Tally(messages)
        request = ec.execute_request(f"flood 1000 {SIZE}")
        kernel.iopub.pipe(ec.child_of(request)).subscribe(warm.hear)
        kernel.shell.on_next(request)
        warm.told()
        listen(kernel, _requests(requests, messages), tally)
        return tally.told()


def enchannel_child_of(kernels: Sequence[Path], requests: int, messages: int) -> Measured:
    """K subscriptions to the shared iopub, each to the children of one request."""

    def listen(kernel: ec.Kernel, asked: list[ec.AnyMessage], tally: _Tally) -> None:
        for request in asked:
            kernel.iopub.pipe(ec.child_of(request)).subscribe(tally.hear)
        for request in asked:
            kernel.shell.on_next(request)

    return _measured(kernels, requests, messages, listen)


def enchannel_request(kernels: Sequence[Path], requests: int, messages: int) -> Measured:
    """K requests as cold observables, as ``kernel.execute`` gives them."""

    def listen(kernel: ec.Kernel, asked: list[ec.AnyMessage], tally: _Tally) -> None:
        for request in asked:
            kernel.request(request, timeout=None).subscribe(tally.hear)

    return _measured(kernels, requests, messages, listen)


def reactivex_filter(kernels: Sequence[Path], requests: int, messages: int) -> Measured:
    """K filters on one Subject, which iopub feeds."""

    def listen(kernel: ec.Kernel, asked: list[ec.AnyMessage], tally: _Tally) -> None:
        shared: Subject[ec.AnyMessage] = Subject()
        for request in asked:
            wanted = partial(_is_child, request.header.msg_id)
            shared.pipe(ops.filter(wanted)).subscribe(tally.hear)
        kernel.iopub.subscribe(shared)
        for request in asked:
            kernel.shell.on_next(request)

    return _measured(kernels, requests, messages, listen)


def _is_child(parent_id: str, message: ec.AnyMessage) -> bool:
    return message.parent_header.msg_id == parent_id


def _with(side: str, requests: int) -> Case:
    few = side == "reactivex_filter" and requests >= 1000  # it takes too long
    return case(side, requests=requests, messages=2000 if few else MESSAGES)


def _figures() -> list[Figure]:
    figures = []
    for side, name in (("enchannel_child_of", "child_of"), ("enchannel_request", "requests")):
        for requests in OPEN:
            most = requests == OPEN[-1]
            figures.append(
                Figure(
                    title=f"{requests:,} {name} open, a message",
                    peer="1 open",
                    ours=_with(side, requests),
                    theirs=_with(side, 1),
                    goal=Goal.WITHIN,
                    reach=1.3 if most else None,
                    aim=1.1 if most else None,
                )
            )
    for requests in (1, *OPEN[:-1]):
        figures.append(
            Figure(
                title=f"{requests:,} child_of open, a message",
                peer="reactivex filter on a Subject",
                ours=_with("enchannel_child_of", requests),
                theirs=_with("reactivex_filter", requests),
                goal=Goal.FASTER,
            )
        )
    return figures


SCRIPT = Script(
    name="open_requests",
    method=(
        "20,000 stream messages of 200 B, those of all K requests in turns, from the first to the last; "
        "K subscriptions with `ec.child_of`, K requests as `kernel.execute` makes them, or K times "
        "reactivex's `filter` on one Subject that `kernel.iopub` feeds."
    ),
    sides={
        "enchannel_child_of": enchannel_child_of,
        "enchannel_request": enchannel_request,
        "reactivex_filter": reactivex_filter,
    },
    figures=tuple(_figures()),
)

if __name__ == "__main__":
    main(SCRIPT)
