"""The conformance suite over a real server, with both framings."""

from collections.abc import Iterator

import pytest

from enchannel.testing import BackendSuite
from tests.rigs.servers import JupyterServer
from tests.rigs.websocket import WebsocketRig


class TestV1(BackendSuite):
    # A server does not restart external kernels; test_servers.py restarts its own.
    test_b20_lifecycle_replays_to_late_subscribers = None  # type: ignore[assignment]

    @pytest.fixture
    def rig(self, server: JupyterServer) -> Iterator[WebsocketRig]:
        with WebsocketRig(server) as rig:
            yield rig


class TestLegacy(BackendSuite):
    # With this framing the server decodes messages: it translates old versions and drops unusual ones.
    test_b08_any_message_arrives_unchanged = None  # type: ignore[assignment]
    test_b20_lifecycle_replays_to_late_subscribers = None  # type: ignore[assignment]

    @pytest.fixture
    def rig(self, server: JupyterServer) -> Iterator[WebsocketRig]:
        with WebsocketRig(server, legacy=True) as rig:
            yield rig
