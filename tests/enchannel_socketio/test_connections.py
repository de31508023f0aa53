"""Connections without an authorized request, to a real relay: their number and their time are limited."""

import socket
import ssl
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from enchannel.memory import InMemoryKernel
from enchannel_socketio import connect, list_kernels
from enchannel_socketio.relay import Limits, Relay, RelayServer, _server
from enchannel_socketio.relay._connections import ConnectionLimiter
from tests.enchannel_socketio.conftest import Running, running
from tests.enchannel_socketio.foreign import FULL
from tests.enchannel_socketio.test_security import SOCKET, UPGRADE, send_request
from tests.rigs import DEADLINE
from tests.rigs.relay import TOKEN
from tests.rigs.servers import certify

BEARER = f"Authorization: Bearer {TOKEN}"


def opened(url: str, data: str = "") -> socket.socket:
    host = urlsplit(url)
    assert host.hostname is not None
    connection = socket.create_connection((host.hostname, host.port or 0), timeout=DEADLINE)
    connection.sendall(data.encode())
    return connection


def is_closed(connection: socket.socket) -> bool:
    """Read until the relay closes the connection."""
    with connection:
        try:
            while connection.recv(65_536):
                pass
        except ConnectionResetError:
            pass
        return True


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    """Run a relay that closes pending connections after a moment."""
    monkeypatch.setattr(_server, "REQUEST_TIMEOUT", 0.3)
    with running() as relay:
        yield relay


def test_1000_idle_connections_leave_relay_usable() -> None:
    with running() as relay, ExitStack() as stack:
        idle = [stack.enter_context(opened(relay.url)) for _ in range(1_000)]
        assert list_kernels(relay.url, token=TOKEN) == ()
        assert all(map(is_closed, idle[: -_server.MAX_PENDING_CONNECTIONS]))


def test_served_connections_are_not_pending(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_server, "MAX_PENDING_CONNECTIONS", 10)
    with running() as relay, InMemoryKernel() as remote, ExitStack() as stack:
        kernel_id = relay.server.call(relay.relay.share(remote.target))
        kernels = [
            stack.enter_context(connect(relay.url, kernel_id, token=TOKEN)) for _ in range(15)
        ]
        idle = [stack.enter_context(opened(relay.url)) for _ in range(20)]
        assert is_closed(idle[0])
        (model,) = list_kernels(relay.url, token=TOKEN)
        assert model.connections == len(kernels)


@pytest.mark.parametrize(
    "data",
    [
        "",
        "GET / HTTP/1.1\r\nHost: localhost\r\n",
        "POST /spawn/python3 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n",
        "POST /socket.io/ HTTP/1.1\r\nHost: localhost\r\n"
        + "".join(f"{name}: {value}\r\n" for name, value in UPGRADE.items())
        + "\r\n",
        f"GET /kernels HTTP/1.1\r\nHost: localhost\r\n{BEARER}\r\n\r\nGET /ker",
    ],
)
def test_incomplete_request_is_closed(hasty: Running, data: str) -> None:
    assert is_closed(opened(hasty.url, data))
    assert send_request(hasty.url, "GET", "/kernels").status == 200


def test_slow_authorized_request_is_not_closed(hasty: Running) -> None:
    head = (
        f"POST /spawn/nothing HTTP/1.1\r\nHost: localhost\r\n{BEARER}\r\nContent-Length: 1\r\n\r\n"
    )
    with opened(hasty.url, head) as slow:
        assert is_closed(opened(hasty.url))
        assert is_closed(opened(hasty.url))
        slow.sendall(b"x")
        assert slow.recv(65_536).startswith(b"HTTP/1.1 415")


def test_websocket_outlives_request_timeout(hasty: Running) -> None:
    with InMemoryKernel() as remote:
        kernel_id = hasty.server.call(hasty.relay.share(remote.target))
        with connect(hasty.url, kernel_id, token=TOKEN) as kernel:
            lost: list[object] = []
            kernel.errors.subscribe(lost.append)
            assert is_closed(opened(hasty.url))
            assert is_closed(opened(hasty.url))
            (model,) = list_kernels(hasty.url, token=TOKEN)
            assert (model.connections, lost) == (1, [])


def test_idle_tls_handshake_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_server, "REQUEST_TIMEOUT", 0.3)
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    certify(certificate, key)
    relay = Relay(token=TOKEN)
    with RelayServer(relay, certfile=str(certificate), keyfile=str(key)) as server:
        assert is_closed(opened(server.url))
        trust = ssl.create_default_context(cafile=certificate)
        url = server.url.replace("localhost", "127.0.0.1")
        assert list_kernels(url, token=TOKEN, ssl=trust) == ()


def test_watchers_requests_are_limited() -> None:
    with running(limits=Limits(connections=2)) as relay, ExitStack() as stack:
        with InMemoryKernel() as remote:
            kernel_id = relay.server.call(relay.relay.share(remote.target))
            token = send_request(relay.url, "POST", f"/kernels/{kernel_id}/watch").json["token"]
            bearer = {"Authorization": f"Bearer {token}"}
            sid = send_request(relay.url, "GET", SOCKET, bearer).body.decode().split('"')[3]
            poll = (
                f"GET {SOCKET}&sid={sid} HTTP/1.1\r\nHost: localhost\r\n"
                f"Authorization: Bearer {token}\r\n\r\n"
            )
            for _ in range(2):
                stack.enter_context(opened(relay.url, poll))
            while send_request(relay.url, "GET", "/kernels", bearer).status != 503:
                pass
            assert send_request(relay.url, "GET", "/kernels", FULL).status == 200


def test_limiter_closes_oldest_of_busiest_address() -> None:
    now = 0.0
    limiter = ConnectionLimiter(max_pending=3, timeout=5.0, max_watchers=1, now=lambda: now)
    with ExitStack() as stack:
        pairs = [socket.socketpair() for _ in range(5)]
        for pair in pairs:
            for end in pair:
                stack.enter_context(end)
                end.settimeout(DEADLINE)
        for (ours, _), address in zip(pairs, ("lone", "busy", "busy", "lone", "busy"), strict=True):
            limiter.add(ours, address)
        closed = [pairs[1], pairs[0]]
        for _, theirs in closed:
            assert theirs.recv(1) == b""
        kept = limiter.remove(pairs[2][0].fileno())
        assert kept is not None
        assert kept == (pairs[2][0], "busy")
        now = 5.0
        limiter.close_expired()
        for _, theirs in pairs[3:]:
            assert theirs.recv(1) == b""
        limiter.add(*kept)
        limiter.close_expired()
        pairs[2][1].sendall(b"x")
        assert pairs[2][0].recv(1) == b"x"
