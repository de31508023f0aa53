"""Connecting that is cancelled, at any stage, leaves no socket behind."""

import gc
import socket
import ssl
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

import pytest

import enchannel as ec
from enchannel.backends import EventLoopThread, Lease, SharedResource
from enchannel_socketio._address import parse_kernel_url as parse_relay_url
from enchannel_socketio._backend import _open_link as open_relay_link
from enchannel_socketio._client import RelayClient
from enchannel_socketio._options import SocketioOptions
from enchannel_websocket._address import parse_address
from enchannel_websocket._link import WebsocketLink
from enchannel_websocket._options import WebsocketOptions
from enchannel_websocket._server import JupyterClient
from tests.rigs import DEADLINE
from tests.rigs.servers import HOST, certify

KERNEL = "0b6f2f5e-1d4c-4b62-9d2d-6f2f8f0f2a11"
MODEL = (
    f'{{"id": "{KERNEL}", "name": "python3", "execution_state": "idle", "state": "idle", "watchers": 0, '
    '"first": 1, "last": 0, "access": "full"}'
).encode()
# The stages at which a server stops to answer, and the scheme of the URL.
STAGES = {
    "the TLS handshake": "https",
    "CONNECT": "https",
    "TLS after CONNECT": "https",
    "the answer after TLS": "https",
    "the HTTP answer": "http",
    "the HTTP body": "http",
    "the upgrade": "http",
    "the upgrade after TLS": "https",
}


class StalledServer:
    """A server, or a proxy in front of itself, that stops to answer at a stage.

    Args:
        stage: A key of ``STAGES``.
        trust: Its certificate and key.

    Attributes:
        port: Its port.
        reached: Set once a client waits at the stage.
    """

    def __init__(self, stage: str, trust: ssl.SSLContext) -> None:
        self.stage = stage
        self.reached = threading.Event()
        self._trust = trust
        self._listening = socket.create_server((HOST, 0))
        self.port: int = self._listening.getsockname()[1]
        self._threads = [threading.Thread(target=self._serve)]
        self._open = [self._listening]

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        for thread in self._threads:
            for connection in self._open:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
            thread.join(DEADLINE)
        for connection in self._open:
            connection.close()

    def _serve(self) -> None:
        # Ends when the socket is shut down.
        with suppress(OSError):
            while True:
                connection, _ = self._listening.accept()
                self._open.append(connection)
                self._threads.append(threading.Thread(target=self._answer, args=(connection,)))
                self._threads[-1].start()

    def _answer(self, connection: socket.socket) -> None:
        with suppress(OSError):
            if self._handle(connection):
                self.reached.set()

    def _handle(self, connection: socket.socket) -> bool:
        """Answer a client; return True if it waits at the stage."""
        if "CONNECT" in self.stage:
            read_head(connection)
            if self.stage == "CONNECT":
                return True
            connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        if STAGES[self.stage] == "https":
            connection.recv(1, socket.MSG_PEEK)
            if self.stage in ("the TLS handshake", "TLS after CONNECT"):
                return True
            connection = self._trust.wrap_socket(connection, server_side=True)
            self._open.append(connection)
        while head := read_head(connection):
            if "upgrade" not in self.stage or b"pgrade: websocket" in head:
                if self.stage == "the HTTP body":
                    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n")
                return True
            size = len(MODEL)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (size, MODEL))
        return False


def read_head(connection: socket.socket) -> bytes:
    head = b""
    while not head.endswith(b"\r\n\r\n") and (data := connection.recv(1)):
        head += data
    return head


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("tls")
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    certify(certificate, key)
    return certificate, key


@contextmanager
def no_transport_left() -> Iterator[None]:
    gc.collect()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
        gc.collect()
    assert [str(warning.message) for warning in caught] == []


def connect_to_jupyter(url: str, options: dict[str, Any], lease: Lease[EventLoopThread]) -> Any:
    chosen = WebsocketOptions.from_keywords({**options, "allow_http": True})
    client = JupyterClient(
        parse_address(f"{url}/api/kernels/{KERNEL}", allow_http=True), chosen, connect_timeout=600
    )
    link = WebsocketLink(client, KERNEL, ec.Session(), lease, chosen)
    return client, link.open()


def connect_to_relay(url: str, options: dict[str, Any], lease: Lease[EventLoopThread]) -> Any:
    chosen = SocketioOptions.from_keywords({**options, "allow_http": True})
    address = parse_relay_url(f"socketio+{url}/{KERNEL}", allow_http=True)
    client = RelayClient(address, chosen, connect_timeout=600)
    return client, open_relay_link(client, KERNEL, ec.Session(), lease, chosen, None)


@pytest.mark.parametrize("connect", [connect_to_jupyter, connect_to_relay])
@pytest.mark.parametrize("stage", STAGES)
def test_cancelled_connect_leaves_no_socket(
    monkeypatch: pytest.MonkeyPatch,
    certificate: tuple[Path, Path],
    stage: str,
    connect: Callable[..., Any],
) -> None:
    trust = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trust.load_cert_chain(*certificate)
    loops = SharedResource(lambda: EventLoopThread("enchannel-test loop"))
    trusting = ssl.create_default_context(cafile=certificate[0])
    with no_transport_left(), StalledServer(stage, trust) as server:
        if "CONNECT" in stage:
            monkeypatch.setenv("HTTPS_PROXY", f"http://{HOST}:{server.port}")
            monkeypatch.setenv("NO_PROXY", "")
        host = "far.example.org" if "CONNECT" in stage else f"{HOST}:{server.port}"

        lease = loops.lease()

        async def open_and_close() -> None:
            client, opening = connect(f"{STAGES[stage]}://{host}", {"ssl": trusting}, lease)
            try:
                await opening
            finally:
                await client.close()

        running = lease.resource.spawn(open_and_close())
        assert server.reached.wait(DEADLINE)
        running.cancel()
        lease.release()
        del running
