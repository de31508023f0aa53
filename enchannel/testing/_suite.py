"""The conformance suite: tests for every rule of the contract in ``enchannel/abc.py``."""

from __future__ import annotations

from typing import Any

import pytest

from enchannel.testing import _collector
from enchannel.testing._checks import connect_kernel
from enchannel.testing._fake_kernel import FakeKernel
from enchannel.testing._rig import Rig
from enchannel.testing._rules.closing import Closing
from enchannel.testing._rules.damage import Damage
from enchannel.testing._rules.listing import Listing
from enchannel.testing._rules.loss import Loss
from enchannel.testing._rules.messages import Messages
from enchannel.testing._rules.opening import Opening
from enchannel.testing._rules.safety import Safety

__all__ = ["BackendSuite"]


class BackendSuite(Opening, Messages, Damage, Loss, Closing, Safety, Listing):
    """The tests that a backend must pass.

    Derive a class in a module that pytest collects, and add a fixture that returns a rig:

    ::

        class TestTcp(BackendSuite):
            @pytest.fixture
            def rig(self):
                with TcpRig() as rig:
                    yield rig

    The name of each test starts with the number of its rule.
    """

    @pytest.fixture
    def rig(self) -> Any:
        """Return a new rig; must be overridden."""
        raise NotImplementedError(f"{type(self).__name__} must define a fixture `rig`")

    def test_request_is_answered(self, rig: Rig) -> None:
        kernel = FakeKernel(rig)
        with connect_kernel(rig) as client:
            assert client.run("6 * 7", timeout=_collector.DEADLINE).text == "6 * 7"
        assert "execute_request" in [message.header.msg_type for message in kernel.received]
