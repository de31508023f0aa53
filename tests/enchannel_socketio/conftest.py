"""A real relay, shared by the tests of a worker."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from enchannel_socketio.relay import Relay, RelayServer
from tests.rigs.relay import TOKEN


@dataclass(frozen=True)
class Running:
    """A running relay."""

    relay: Relay
    server: RelayServer

    @property
    def url(self) -> str:
        return self.server.url

    @property
    def link(self) -> str:
        """A one-time link for a browser."""
        return f"{self.url}/?token={self.relay.one_time_token()}"


@contextmanager
def running(**options: Any) -> Iterator[Running]:
    """Run a relay with the given options."""
    relay = Relay(token=TOKEN, **options)
    with RelayServer(relay) as server:
        yield Running(relay, server)


@pytest.fixture(scope="session")
def relay() -> Iterator[Running]:
    with running() as relay:
        yield relay
