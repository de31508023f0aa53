"""The cost of a message while many requests are open on one kernel."""

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
from benchmarks.measuring import SIDE_TIMEOUT, Measured

__all__ = ["SCRIPT"]

MESSAGE_COUNT = 20_000
TEXT_SIZE = 200  # characters
OPEN_REQUESTS = (100, 1000, 5000)
GROUP_ID = 1


class _Tally:
    """Counts the stream messages of all requests, and times them from the first to the last."""

    def __init__(self, messages: int) -> None:
        self._left = self._messages = messages
        self._started = self._ended = 0.0
        self.finished = threading.Event()

    def on_message(self, message: ec.AnyMessage) -> None:
        if message.header.msg_type != "stream":
            return
        if self._left == self._messages:
            self._started = perf_counter()
        self._left -= 1
        if not self._left:
            self._ended = perf_counter()
            self.finished.set()

    def result(self) -> Measured:
        if not self.finished.wait(SIDE_TIMEOUT):
            raise RuntimeError(f"{self._left} of {self._messages} messages did not arrive")
        return {"wall": (self._ended - self._started) / self._messages}


def _requests(requests: int, messages: int) -> list[ec.AnyMessage]:
    code = f"join {requests} {messages // requests} {TEXT_SIZE} {GROUP_ID}"
    return [ec.execute_request(code) for _ in range(requests)]


Subscribe = Callable[[ec.Kernel, list[ec.AnyMessage], _Tally], None]


def _measured(
    kernels: Sequence[Path], requests: int, messages: int, subscribe: Subscribe
) -> Measured:
    with ec.connect(kernels[0]) as kernel:
        warm, tally = _Tally(1000), _Tally(messages)
        request = ec.execute_request(f"flood 1000 {TEXT_SIZE}")
        kernel.iopub.pipe(ec.child_of(request)).subscribe(warm.on_message)
        kernel.shell.on_next(request)
        warm.result()
        subscribe(kernel, _requests(requests, messages), tally)
        return tally.result()


def enchannel_child_of(kernels: Sequence[Path], requests: int, messages: int) -> Measured:
    """Measure K subscriptions to iopub, each to the children of one request."""

    def subscribe(kernel: ec.Kernel, sent: list[ec.AnyMessage], tally: _Tally) -> None:
        for request in sent:
            kernel.iopub.pipe(ec.child_of(request)).subscribe(tally.on_message)
        for request in sent:
            kernel.shell.on_next(request)

    return _measured(kernels, requests, messages, subscribe)


def enchannel_request(kernels: Sequence[Path], requests: int, messages: int) -> Measured:
    """Measure K requests as cold observables, like those of ``kernel.execute``."""

    def subscribe(kernel: ec.Kernel, sent: list[ec.AnyMessage], tally: _Tally) -> None:
        for request in sent:
            kernel.request(request, timeout=None).subscribe(tally.on_message)

    return _measured(kernels, requests, messages, subscribe)


def reactivex_filter(kernels: Sequence[Path], requests: int, messages: int) -> Measured:
    """Measure K filters on one Subject that is subscribed to iopub."""

    def subscribe(kernel: ec.Kernel, sent: list[ec.AnyMessage], tally: _Tally) -> None:
        shared: Subject[ec.AnyMessage] = Subject()
        for request in sent:
            wanted = partial(_is_child, request.header.msg_id)
            shared.pipe(ops.filter(wanted)).subscribe(tally.on_message)
        kernel.iopub.subscribe(shared)
        for request in sent:
            kernel.shell.on_next(request)

    return _measured(kernels, requests, messages, subscribe)


def _is_child(parent_id: str, message: ec.AnyMessage) -> bool:
    return message.parent_header.msg_id == parent_id


def _with(side: str, requests: int) -> Case:
    few = side == "reactivex_filter" and requests >= 1000  # slow
    return case(side, requests=requests, messages=2000 if few else MESSAGE_COUNT)


def _figures() -> list[Figure]:
    figures = []
    for side, name in (("enchannel_child_of", "child_of"), ("enchannel_request", "requests")):
        for requests in OPEN_REQUESTS:
            most = requests == OPEN_REQUESTS[-1]
            figures.append(
                Figure(
                    title=f"{requests:,} {name} open, per message",
                    peer="1 open",
                    ours=_with(side, requests),
                    theirs=_with(side, 1),
                    goal=Goal.WITHIN,
                    required=1.3 if most else None,
                    target=1.1 if most else None,
                )
            )
    for requests in (1, *OPEN_REQUESTS[:-1]):
        figures.append(
            Figure(
                title=f"{requests:,} child_of open, per message",
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
        "20,000 stream messages of 200 B, of K requests in turns, from the first to the last. There are "
        "K subscriptions with `ec.child_of`, K requests like those of `kernel.execute`, or K of "
        "reactivex's `filter` on one Subject that is subscribed to `kernel.iopub`."
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
