"""The ZeroMQ backend keeps the contract, over each of its transports."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from enchannel import AnyMessage, Session
from enchannel.abc import Link
from enchannel.testing import BackendSuite, Rig
from enchannel_zmq import ZmqBackend
from tests.rigs.zmq_rig import ZmqRig


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


class _Launching(ZmqBackend):
    """Opens a link to a kernel of its own."""

    def open(self, target: Any, *, session: Session, timeout: float, **options: Any) -> Link:
        return self.launch(target, session=session, timeout=timeout, **options)


class LaunchedRig(Rig):
    """A real kernel, which says what it likes."""

    backend = _Launching()
    target = "python3"
    cannot = {"listen": "a real kernel answers by itself"}

    def listen(self, hear: Callable[[AnyMessage], None]) -> None:
        raise NotImplementedError

    def say(self, message: AnyMessage) -> None:
        raise NotImplementedError


class TestLaunched:
    """What a kernel that was launched has beside the others."""

    _soon = staticmethod(BackendSuite._soon)
    test_b20 = BackendSuite.test_b20_a_lifecycle_tells_also_who_comes_late

    @pytest.fixture
    def rig(self) -> LaunchedRig:
        return LaunchedRig()
