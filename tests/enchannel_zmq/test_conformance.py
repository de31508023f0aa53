"""The conformance suite, for the ZeroMQ backend over each of its transports."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import enchannel as ec
from enchannel import AnyMessage, Session
from enchannel import messages as build
from enchannel.abc import Link, OpenContext
from enchannel.testing import BackendSuite, Collector, FakeKernel, Rig
from enchannel_zmq import ZmqBackend
from enchannel_zmq.testing import ZmqRig
from tests.rigs import DEADLINE


class TestTcp(BackendSuite):
    @pytest.fixture
    def rig(self) -> Iterator[ZmqRig]:
        with ZmqRig() as rig:
            yield rig


class TestIpc(BackendSuite):
    @pytest.fixture
    def rig(self) -> Iterator[ZmqRig]:
        with ZmqRig(transport="ipc") as rig:
            yield rig


class TestCurve(BackendSuite):
    @pytest.fixture
    def rig(self) -> Iterator[ZmqRig]:
        with ZmqRig(curve=True) as rig:
            yield rig


class TestWithoutWelcome(BackendSuite):
    @pytest.fixture
    def rig(self) -> Iterator[ZmqRig]:
        with ZmqRig(sends_welcome=False) as rig:
            yield rig


def test_late_subscription_misses_nothing() -> None:
    """Connecting waits until the kernel has processed the subscription; then messages arrive."""
    with ZmqRig(accepts_subscriptions=False) as rig, ThreadPoolExecutor(1) as threads:
        probed = threading.Event()
        answered = FakeKernel(rig)
        rig.on_message(lambda message: probed.set())
        connecting = threads.submit(ec.connect, rig.info, timeout=DEADLINE)
        assert probed.wait(DEADLINE)  # the probe: all sockets are connected, and iopub is silent
        assert not connecting.done()
        rig.accept_subscriptions()
        with connecting.result(DEADLINE) as kernel:
            seen = Collector(kernel.iopub)
            answered.send(build.stream("stdout", "first"))
            assert seen.wait_for_count(1)[0].content["text"] == "first"


def test_newer_client_with_same_identity_wins() -> None:
    with ZmqRig() as rig:
        FakeKernel(rig)
        twins = Session("twin", "ada")
        with (
            ec.connect(rig.info, session=twins, timeout=DEADLINE) as older,
            ec.connect(rig.info, session=twins, timeout=DEADLINE) as newer,
        ):
            with pytest.raises(ec.RequestTimeout):
                older.run("1", timeout=0.2)
            assert newer.run("1", timeout=DEADLINE).text == "1"


class _Launching(ZmqBackend):
    """Opens a link by launching a kernel."""

    contract = 1

    def open(self, target: Any, context: OpenContext, **options: Any) -> Link:
        return self.launch(target, context, **options)


class LaunchedRig(Rig):
    """A real kernel, which sends messages by itself."""

    backend = _Launching()
    target = "python3"
    unsupported = {"on_message": "a real kernel answers by itself"}

    def on_message(self, callback: Callable[[AnyMessage], None]) -> None:
        raise NotImplementedError

    def send(self, message: AnyMessage) -> None:
        raise NotImplementedError


class TestLaunched:
    """The rules for launched kernels only."""

    test_b20 = BackendSuite.test_b20_lifecycle_replays_to_late_subscribers

    @pytest.fixture
    def rig(self) -> LaunchedRig:
        return LaunchedRig()
