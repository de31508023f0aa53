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

    def kernel_ids(self) -> set[str]:
        """Return the ids of the kernels; not over HTTP, for a browser test runs in an event loop."""
        return {kernel.id for kernel in self.server.call(self.relay._directory.all())}

    def shut_down(self, kernel_id: str) -> None:
        """Shut down a kernel, unless the test has done so."""
        if kernel_id in self.kernel_ids():
            self.server.call(self.relay.shut_down(kernel_id))


@contextmanager
def running(**options: Any) -> Iterator[Running]:
    """Run a relay with the given options."""
    relay = Relay(token=TOKEN, **options)
    with RelayServer(relay) as server:
        yield Running(relay, server)


@contextmanager
def spawned(relay: Running, name: str = "python3") -> Iterator[str]:
    """Launch a kernel at a relay, and shut it down at the end unless the test has done so."""
    kernel_id = relay.server.call(relay.relay.spawn(name))
    try:
        yield kernel_id
    finally:
        relay.shut_down(kernel_id)


@contextmanager
def sharing(relay: Running, target: str, **options: Any) -> Iterator[str]:
    """Serve a running kernel at a relay until the end, unless the test has shut it down."""
    kernel_id = relay.server.call(relay.relay.share(target, **options))
    try:
        yield kernel_id
    finally:
        relay.shut_down(kernel_id)


@pytest.fixture(autouse=True)
def no_kernel_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test that leaves a kernel at the shared relay, and remove it, so that no other test fails."""
    if "relay" not in request.fixturenames:
        yield
        return
    relay: Running = request.getfixturevalue("relay")
    before = relay.kernel_ids()
    yield
    left = relay.kernel_ids() - before
    for kernel_id in left:
        relay.shut_down(kernel_id)
    assert not left, f"the test left kernels at the relay: {left}"


@pytest.fixture(scope="session")
def relay() -> Iterator[Running]:
    with running() as relay:
        yield relay
