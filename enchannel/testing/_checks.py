"""Functions that the tests of the rules share: waiting without hanging, and the features of a rig."""

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
from enchannel.abc import LinkEvent, OpenContext
from enchannel.errors import ConnectionLost, EnchannelError, KernelDied
from enchannel.testing import _collector
from enchannel.testing._client import TIMEOUT, Client, contains, kernel_message, select
from enchannel.testing._collector import Collector
from enchannel.testing._rig import Rig

__all__ = [
    "OPEN_MARGIN",
    "Resources",
    "call_concurrently",
    "call_in_time",
    "collect_messages",
    "connect_kernel",
    "eventually",
    "loss_reported",
    "reconnect_reported",
    "require",
    "require_value",
    "send_from_kernel",
    "try_open",
    "wait_for_arrival",
]

T = TypeVar("T")

# Seconds by which ``open`` may exceed its timeout.
OPEN_MARGIN = 2.0
# Libraries keep a few descriptors open after their first use.
DESCRIPTOR_MARGIN = 8
OPTIONAL = (
    *("disconnect", "reconnect", "disconnect_permanently", "pause_reading", "resume_reading"),
    *("garbage", "unreachable_target", "secrets", "on_message", "give_up_options", "at"),
)


# -- waiting without hanging ------------------------------------------------------------------------


def call_in_time(function: Callable[[], T], within: float | None = None) -> T:
    """Call a function in another thread; fail if it does not return in time."""
    return call_concurrently([function], within)[0]


def call_concurrently(functions: Sequence[Callable[[], T]], within: float | None = None) -> list[T]:
    """Call functions, each in its own thread; fail if one does not return in time."""
    futures: list[Future[T]] = [Future() for _ in functions]
    for function, future in zip(functions, futures, strict=True):
        # Not an executor: at its end the interpreter would wait for threads that hang.
        threading.Thread(target=_call, args=(function, future), daemon=True).start()
    seconds = _collector.DEADLINE if within is None else within
    end = time.monotonic() + seconds
    try:
        return [future.result(max(0.0, end - time.monotonic())) for future in futures]
    except TimeoutError as error:
        if isinstance(error, EnchannelError):  # a RequestTimeout that a function raised
            raise
        names = ", ".join(dict.fromkeys(map(_name_of, functions)))
        raise AssertionError(f"{names} did not return within {seconds:g} s") from None


def _name_of(function: Callable[[], object]) -> str:
    function = function.func if isinstance(function, partial) else function
    return getattr(function, "__qualname__", repr(function))


def _call(function: Callable[[], T], future: Future[T]) -> None:
    try:
        future.set_result(function())
    except BaseException as error:
        future.set_exception(error)


def eventually(condition: Callable[[], object]) -> bool:
    """Poll a condition until it is true; return False if it is not by the deadline."""
    end = time.monotonic() + _collector.DEADLINE
    while not (is_met := condition()) and time.monotonic() < end:
        threading.Event().wait(0.01)
    return bool(is_met)


class Resources:
    """The number of threads and descriptors at the time of creation; later ones in excess are leaks."""

    def __init__(self) -> None:
        self._threads = threading.active_count()
        self._descriptors = _descriptors()

    def assert_released(self) -> None:
        """Wait until there are no more threads and descriptors than before; the rig may reopen its own."""
        assert eventually(lambda: threading.active_count() <= self._threads), (
            f"threads were leaked, among {', '.join(t.name for t in threading.enumerate())}"
        )
        assert eventually(lambda: _descriptors() <= self._descriptors + DESCRIPTOR_MARGIN), (
            f"{_descriptors() - self._descriptors} file descriptors were leaked"
        )


def _descriptors() -> int:
    try:
        return len(os.listdir("/dev/fd"))
    except OSError:  # the platform does not list them
        return 0


# -- the features of a rig --------------------------------------------------------------------------


def require(rig: Rig, *names: str) -> None:
    """Skip if a rig declares a feature unsupported; fail if it neither has nor declares it."""
    _validate_unsupported(rig)
    for name in names:
        if name in rig.unsupported:
            pytest.skip(rig.unsupported[name])
        is_there = getattr(type(rig), name) is not getattr(Rig, name)
        assert is_there, (
            f"{type(rig).__name__} must implement {name}, or name it in `unsupported` with the reason"
        )


def require_value(rig: Rig, name: str) -> Any:
    """Return an optional attribute of a rig; skip if it is unsupported, fail if it is not set."""
    _validate_unsupported(rig)
    if name in rig.unsupported:
        pytest.skip(rig.unsupported[name])
    value = getattr(rig, name)
    assert value, (
        f"{type(rig).__name__} must set {name}, or name it in `unsupported` with the reason"
    )
    return value


def _validate_unsupported(rig: Rig) -> None:
    unknown = set(rig.unsupported) - set(OPTIONAL)
    assert not unknown, (
        f"`unsupported` must name {', '.join(OPTIONAL)} only, not {', '.join(unknown)}"
    )


def try_open(rig: Rig, target: object, timeout: float = 0.5) -> None:
    """Open a link that may fail, and close it; fail the test if that takes longer than the timeout."""
    context = OpenContext(session=ec.Session(), timeout=timeout)
    opening = partial(rig.backend.open, target, context, **rig.options)
    call_in_time(lambda: opening().close(), timeout + OPEN_MARGIN)


@contextmanager
def connect_kernel(rig: Rig, **options: Any) -> Iterator[ec.Kernel]:
    """Connect with the public API of enchannel."""
    every = {**rig.options, **options}
    with ec.connect(rig.target, backend=rig.backend, timeout=TIMEOUT, **every) as kernel:
        yield kernel


# -- sending and receiving --------------------------------------------------------------------------


def send_from_kernel(
    rig: Rig, name: ChannelName, client: Client, count: int = 1
) -> list[AnyMessage]:
    """Send messages from the kernel to a client; return them."""
    messages = [kernel_message(name, number, client) for number in range(count)]
    for message in messages:
        rig.send(message)
    return messages


def collect_messages(rig: Rig) -> Collector[AnyMessage]:
    """Return a collector of the messages that the kernel receives from now on."""
    remote: Collector[AnyMessage] = Collector(name="the kernel's end")
    rig.on_message(remote.on_next)
    return remote


def wait_for_arrival(
    remote: Collector[AnyMessage], messages: Sequence[AnyMessage]
) -> list[AnyMessage]:
    """Wait until the kernel received the last message; return those that it did, in that order."""
    return select(messages, remote.wait_until(contains(messages[-1])))


def loss_reported(client: Client) -> Callable[[list[LinkEvent]], bool]:
    """Return a condition that becomes true once the loss of a link was reported as rule 11 says."""

    def is_reported(events: list[LinkEvent]) -> bool:
        return LinkState.LOST in events and (
            client.link.capabilities.can_resume
            or any(
                isinstance(event, (ConnectionLost, KernelDied))
                for event in events[events.index(LinkState.LOST) :]
            )
        )

    return is_reported


def reconnect_reported(events: list[LinkEvent]) -> bool:
    """Return True if the events contain a loss and a reconnect after it."""
    lost = LinkState.LOST in events
    return lost and LinkState.CONNECTED in events[events.index(LinkState.LOST) :]
