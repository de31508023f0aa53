"""What links share begins with the first lease and ends with the last, whatever comes between."""

import gc
import os
import signal
import threading
from typing import Any

import pytest

from enchannel.backends import SharedResource
from tests.rigs import DEADLINE


class Thing:
    """Says when it began, and how it ended."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.on_start: Any = lambda: None

    def start(self) -> None:
        self.said.append("starts")
        self.on_start()

    def end(self, wait: bool) -> None:
        self.said.append("ends, and is waited for" if wait else "ends")


def test_it_begins_with_the_first_and_ends_with_the_last() -> None:
    shared = SharedResource(Thing)
    one, other = shared.lease(), shared.lease()
    assert one.resource is other.resource
    one.release()
    one.release()
    assert "ends" not in " ".join(other.resource.said)
    other.release()
    assert other.resource.said[-1] == "ends, and is waited for"
    assert shared.lease().resource is not other.resource


def test_a_lease_that_nobody_keeps_is_given_back() -> None:
    shared = SharedResource(Thing)
    thing = shared.lease().resource
    gc.collect()
    assert thing.said[-1] == "ends"


def test_ctrl_c_while_it_begins_leaves_it_to_nobody() -> None:
    things: list[Thing] = []

    def make() -> Thing:
        thing = Thing()
        thing.on_start = lambda: signal.raise_signal(signal.SIGINT)
        things.append(thing)
        return thing

    shared = SharedResource(make)
    with pytest.raises(KeyboardInterrupt):
        shared.lease()
    gc.collect()
    assert things[0].said[-1] == "ends"
    assert not shared._held


def test_a_lease_that_is_collected_while_another_is_taken_keeps_nobody_waiting() -> None:
    """The collector runs on any thread: also on the one that begins, and is waited for."""
    begun = threading.Event()
    dropped: list[Any] = []

    def begin() -> None:
        def run() -> None:
            dropped.clear()
            begun.set()

        threading.Thread(target=run).start()
        assert begun.wait(DEADLINE)

    def make() -> Thing:
        thing = Thing()
        thing.on_start = begin if made else lambda: None
        made.append(thing)
        return thing

    made: list[Thing] = []
    shared = SharedResource(make)
    dropped.append(shared.lease())
    made[0].on_start = begin
    lease = shared.lease()
    assert begun.is_set()
    assert "ends" not in lease.resource.said
    lease.release()
    assert lease.resource.said[-1] == "ends, and is waited for"


def test_each_of_many_threads_has_the_same() -> None:
    shared = SharedResource(Thing)
    together = threading.Barrier(8)
    things = []

    def take() -> None:
        together.wait(DEADLINE)
        for _ in range(200):
            with_it = shared.lease()
            things.append(with_it.resource)
            with_it.release()

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE)
    assert not shared._held
    for thing in set(things):
        assert thing.said.count("ends, and is waited for") == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_child_has_its_own() -> None:
    shared = SharedResource(Thing)
    lease = shared.lease()
    child = os.fork()
    if not child:
        lease.release()
        own = shared.lease()
        os._exit(
            0 if own.resource is not lease.resource and lease.resource.said[-1] == "starts" else 1
        )
    assert os.waitpid(child, 0)[1] == 0
    lease.release()
