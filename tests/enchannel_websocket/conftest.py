"""A real Jupyter server, shared by the tests of a worker process."""

from collections.abc import Iterator

import pytest

from tests.rigs.servers import JupyterServer
from tests.rigs.websocket import server_for_rigs


@pytest.fixture(scope="session")
def server() -> Iterator[JupyterServer]:
    with server_for_rigs() as server:
        yield server
