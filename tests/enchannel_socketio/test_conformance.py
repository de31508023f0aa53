"""The Socket.IO backend keeps the contract, through a real relay."""

from collections.abc import Iterator

import pytest

from enchannel.testing import BackendSuite
from tests.enchannel_socketio.conftest import Running
from tests.rigs.relay import RelayRig


class TestSocketio(BackendSuite):
    @pytest.fixture
    def rig(self, relay: Running) -> Iterator[RelayRig]:
        with RelayRig(relay.server, relay.relay) as rig:
            yield rig
