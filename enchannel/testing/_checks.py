"""What the tests of the rules have in common: waiting without hanging, and what a rig can do."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

import pytest

import enchannel as ec
from enchannel import AnyMessage, ChannelName, LinkState
from enchannel.abc import LinkEvent
from enchannel.errors import ConnectionLost, KernelDied
from enchannel.testing import _collector
from enchannel.testing._client import TIMEOUT, Client, from_kernel, has, of
from enchannel.testing._collector import Collector
from enchannel.testing._rig import Rig

__all__ = [
    "MARGIN",
    "Resources",
    "all_at_once",
    "arrived",
    "connected",
    "demand",
    "eventually",
    "given",
    "is_back",
    "is_lost",
    "listening",
    "open_in_vain",
    "said",
    "soon",
]

T = TypeVar("T")

MARGIN = 2.0  # seconds by which an ``open`` may be late
OPTIONAL = (
    *("disconnect", "reconnect", "disconnect_permanently", "pause_reading", "resume_reading"),
    *("garbage", "unreachable_target", "secrets", "on_message", "give_up_options"),
)


# -- without hanging --------------------------------------------------------------------------------


def soon(act: Callable[[], T], within: float | None = None) -> T:
    """Do something that must not hang, in a thread that may."""
    return all_at_once([act], within)[0]


def all_at_once(acts: Sequence[Callable[[], T]], within: float | None = None) -> list[T]:
    """Do several things, each in a thread of its own."""
    futures: list[Future[T]] = [Future() for _ in acts]
    for act, future in zip(acts, futures, strict=True):
        # not an executor's: those are waited for when the interpreter ends, even if they hang
        threading.Thread(target=_do, args=(act, future), daemon=True).start()
    seconds = _collector.DEADLINE if within is None else within
    end = time.monotonic() + seconds
    try:
        return [future.result(max(0.0, end - time.monotonic())) for future in futures]
    except TimeoutError:
        raise AssertionError(f"it has not returned within {seconds:g} s") from None


def _do(act: Callable[[], T], future: Future[T]) -> None:
    try:
        future.set_result(act())
    except BaseException as error:
        future.set_exception(error)


def eventually(condition: Callable[[], object]) -> bool:
    """Wait for what no event tells of; whether it is so by the deadline."""
    end = time.monotonic() + _collector.DEADLINE
    while not (so := condition()) and time.monotonic() < end:
        threading.Event().wait(0.01)
    return bool(so)


class Resources:
    """How many threads and descriptors there are; what is there later in excess of them is a leak."""

    def __init__(self) -> None:
        self._threads = threading.active_count()
        self._descriptors = _descriptors()

    def demand_back(self) -> None:
        """Wait until no more of them are there than were; a far end may have replaced its own."""
        assert eventually(lambda: threading.active_count() <= self._threads), (
            f"threads are left behind: {', '.join(t.name for t in threading.enumerate())}"
        )
        # libraries keep a few for themselves, once
        assert eventually(lambda: _descriptors() <= self._descriptors + 8), (
            f"{_descriptors() - self._descriptors} descriptors are left behind"
        )


def _descriptors() -> int:
    try:
        return len(os.listdir("/dev/fd"))
    except OSError:  # there is no such list
        return 0


# -- what a rig can do ------------------------------------------------------------------------------


def demand(rig: Rig, *names: str) -> None:
    """Skip where a rig declares that it cannot do something; fail where it neither can nor declares it."""
    _know(rig)
    for name in names:
        if name in rig.unsupported:
            pytest.skip(rig.unsupported[name])
        there = getattr(type(rig), name) is not getattr(Rig, name)
        assert there, (
            f"{type(rig).__name__} has no {name}, and does not declare why in `unsupported`"
        )


def given(rig: Rig, name: str) -> Any:
    """An attribute of a rig that it may do without, if it says why."""
    _know(rig)
    if name in rig.unsupported:
        pytest.skip(rig.unsupported[name])
    value = getattr(rig, name)
    assert value, f"{type(rig).__name__} has no {name}, and does not declare why in `unsupported`"
    return value


def _know(rig: Rig) -> None:
    unknown = set(rig.unsupported) - set(OPTIONAL)
    assert not unknown, f"`unsupported` names {', '.join(unknown)}; a rig has {', '.join(OPTIONAL)}"


def open_in_vain(rig: Rig, target: object, timeout: float = 0.5) -> None:
    """Open what should not open; it has its time, and no more."""
    opening = partial(
        rig.backend.open, target, session=ec.Session(), timeout=timeout, **rig.options
    )
    soon(lambda: opening().close(), timeout + MARGIN)


@contextmanager
def connected(rig: Rig, **options: Any) -> Iterator[ec.Kernel]:
    """A whole kernel, as users have it."""
    every = {**rig.options, **options}
    with ec.connect(rig.target, backend=rig.backend, timeout=TIMEOUT, **every) as kernel:
        yield kernel


# -- what is said -----------------------------------------------------------------------------------


def said(rig: Rig, name: ChannelName, client: Client, count: int = 1) -> list[AnyMessage]:
    """Have the kernel say something to a client."""
    messages = [from_kernel(name, number, client) for number in range(count)]
    for message in messages:
        rig.send(message)
    return messages


def listening(rig: Rig) -> Collector[AnyMessage]:
    """What the kernel hears from now on."""
    remote: Collector[AnyMessage] = Collector()
    rig.on_message(remote.on_next)
    return remote


def arrived(remote: Collector[AnyMessage], messages: Sequence[AnyMessage]) -> list[AnyMessage]:
    """Wait until the kernel has heard the last of the messages; which of them it has, in that order."""
    return of(messages, remote.wait_until(has(messages[-1])))


def is_lost(client: Client) -> Callable[[list[LinkEvent]], bool]:
    """Whether a link's loss was told; and, unless it may resume, that what was asked is lost too."""

    def is_told(told: list[LinkEvent]) -> bool:
        return LinkState.LOST in told and (
            client.link.capabilities.can_resume
            or any(
                isinstance(status, (ConnectionLost, KernelDied))
                for status in told[told.index(LinkState.LOST) :]
            )
        )

    return is_told


def is_back(told: list[LinkEvent]) -> bool:
    """Whether a link's return was told after its loss."""
    lost = LinkState.LOST in told
    return lost and LinkState.CONNECTED in told[told.index(LinkState.LOST) :]
