"""The WebSocket backend keeps the contract, in both framings, through a real server."""

from collections.abc import Iterator

import pytest

from enchannel.testing import BackendSuite
from tests.rigs.servers import JupyterServer
from tests.rigs.websocket import WebsocketRig


class TestV1(BackendSuite):
    # what is not the server's own it does not restart; see test_lifecycle.py
    test_b20_lifecycle_replays_to_late_subscribers = None  # type: ignore[assignment]

    @pytest.fixture
    def rig(self, server: JupyterServer) -> Iterator[WebsocketRig]:
        with WebsocketRig(server) as rig:
            yield rig


class TestLegacy(BackendSuite):
    # here the server itself reads messages: it translates those of old versions, and drops odd ones
    test_b08_any_message_arrives_unchanged = None  # type: ignore[assignment]
    test_b20_lifecycle_replays_to_late_subscribers = None  # type: ignore[assignment]

    @pytest.fixture
    def rig(self, server: JupyterServer) -> Iterator[WebsocketRig]:
        with WebsocketRig(server, legacy=True) as rig:
            yield rig
