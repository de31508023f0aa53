"""The conformance suite: a test for every rule of the contract in ``enchannel/abc.py``."""

from __future__ import annotations

from typing import Any

import pytest

from enchannel.testing import _collector
from enchannel.testing._checks import connected
from enchannel.testing._fake_kernel import FakeKernel
from enchannel.testing._rig import Rig
from enchannel.testing._rules.closing import Closing
from enchannel.testing._rules.damage import Damage
from enchannel.testing._rules.loss import Loss
from enchannel.testing._rules.messages import Messages
from enchannel.testing._rules.opening import Opening
from enchannel.testing._rules.safety import Safety

__all__ = ["BackendSuite"]


class BackendSuite(Opening, Messages, Damage, Loss, Closing, Safety):
    """What a backend has to pass. Derive from it, in a module that pytest collects, and give it a rig:

    ::

        class TestTcp(BackendSuite):
            @pytest.fixture
            def rig(self):
                with TcpRig() as rig:
                    yield rig

    A test's name begins with the number of the rule that a failure breaks.
    """

    @pytest.fixture
    def rig(self) -> Any:
        """The rig, new for each test."""
        raise NotImplementedError(f"{type(self).__name__} has no fixture `rig`")

    def test_a_request_is_answered(self, rig: Rig) -> None:
        kernel = FakeKernel(rig)
        with connected(rig) as client:
            assert client.run("6 * 7", timeout=_collector.DEADLINE).text == "6 * 7"
        assert "execute_request" in [message.header.msg_type for message in kernel.received]
