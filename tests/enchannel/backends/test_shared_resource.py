"""``SharedResource`` starts its resource for the first lease and stops it after the last."""

import gc
import os
import signal
import sys
import threading
from typing import Any

import pytest

from enchannel.backends import SharedResource
from tests.rigs import DEADLINE


class Recorder:
    """A resource that records how it was started and stopped."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.on_start: Any = lambda: None

    def start(self) -> None:
        self.calls.append("start")
        self.on_start()

    def stop(self, wait: bool) -> None:
        self.calls.append("stop(wait=True)" if wait else "stop(wait=False)")


def test_resource_runs_from_first_lease_to_last() -> None:
    shared = SharedResource(Recorder)
    one, other = shared.lease(), shared.lease()
    assert one.resource is other.resource
    one.release()
    one.release()
    assert other.resource.calls == ["start"] * 2
    other.release()
    assert other.resource.calls[-1] == "stop(wait=True)"
    assert shared.lease().resource is not other.resource


def test_collected_lease_is_released() -> None:
    shared = SharedResource(Recorder)
    recorder = shared.lease().resource
    gc.collect()
    assert recorder.calls[-1] == "stop(wait=False)"


def test_ctrl_c_in_lease_releases_it() -> None:
    recorders: list[Recorder] = []

    def make() -> Recorder:
        recorder = Recorder()
        recorder.on_start = lambda: signal.raise_signal(signal.SIGINT)
        recorders.append(recorder)
        return recorder

    shared = SharedResource(make)
    with pytest.raises(KeyboardInterrupt):
        shared.lease()
    gc.collect()
    assert recorders[0].calls[-1] == "stop(wait=False)"
    assert not shared.leased


def test_lease_collected_in_lease_does_not_deadlock() -> None:
    """The garbage collector runs on any thread, also on one that ``start`` waits for."""
    started = threading.Event()
    dropped: list[Any] = []

    def start() -> None:
        def run() -> None:
            dropped.clear()
            started.set()

        threading.Thread(target=run).start()
        assert started.wait(DEADLINE)

    def make() -> Recorder:
        recorder = Recorder()
        recorder.on_start = start if made else lambda: None
        made.append(recorder)
        return recorder

    made: list[Recorder] = []
    shared = SharedResource(make)
    dropped.append(shared.lease())
    made[0].on_start = start
    lease = shared.lease()
    assert started.is_set()
    assert "stop" not in lease.resource.calls
    lease.release()
    assert lease.resource.calls[-1] == "stop(wait=True)"


def test_concurrent_leases_share_resource() -> None:
    shared = SharedResource(Recorder)
    together = threading.Barrier(8)
    recorders = []

    def lease_often() -> None:
        together.wait(DEADLINE)
        for _ in range(200):
            lease = shared.lease()
            recorders.append(lease.resource)
            lease.release()

    threads = [threading.Thread(target=lease_often) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE)
    assert not shared.leased
    for recorder in set(recorders):
        assert recorder.calls.count("stop(wait=True)") == 1


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_forked_child_has_own_resource() -> None:
    if sys.platform == "win32":
        pytest.skip("requires os.fork")
    shared = SharedResource(Recorder)
    lease = shared.lease()
    child = os.fork()
    if not child:
        lease.release()
        own = shared.lease()
        os._exit(
            0 if own.resource is not lease.resource and lease.resource.calls[-1] == "start" else 1
        )
    assert os.waitpid(child, 0)[1] == 0
    lease.release()
