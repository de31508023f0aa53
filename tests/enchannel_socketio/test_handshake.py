"""Failures of the Socket.IO handshake: one error each, whose text names the cause once.

``ConnectionFailed`` is an ``OSError``, as are errors of sockets: only the latter are translated.
"""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

import enchannel as ec
from enchannel.memory import InMemoryKernel
from enchannel_socketio.relay import _socketio_server
from enchannel_socketio.relay._socketio_server import SocketioServer
from tests.enchannel_socketio.conftest import Running, running
from tests.enchannel_socketio.test_security import send_request
from tests.rigs import DEADLINE
from tests.rigs.proxy import Proxy
from tests.rigs.relay import TOKEN
from tests.rigs.servers import HOST


def answer(status: str, body: bytes = b"") -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return head.encode() + body


@pytest.fixture
def kernel_id(relay: Running) -> Iterator[str]:
    with shared_at(relay) as kernel_id:
        yield kernel_id


class shared_at:
    """Share an in-memory kernel at a relay; ``with`` yields its id."""

    def __init__(self, relay: Running) -> None:
        self._relay = relay
        self._remote = InMemoryKernel()

    def __enter__(self) -> str:
        self._remote.__enter__()
        self._id = self._relay.server.call(self._relay.relay.share(self._remote.target))
        return self._id

    def __exit__(self, *_: object) -> None:
        self._relay.server.call(self._relay.relay.shut_down(self._id))
        self._remote.__exit__(*_)


def failure(url: str, kernel_id: str) -> ec.EnchannelError:
    with pytest.raises(ec.EnchannelError) as raised:
        ec.connect(f"socketio+{url}/{kernel_id}?token={TOKEN}", timeout=DEADLINE)
    return raised.value


@pytest.mark.parametrize(
    ("answered", "text"),
    [
        (answer("404 Not Found"), "{url} answered 404 to the Socket.IO handshake"),
        (
            answer("503 Service Unavailable"),
            "{url} has reached its limit of connections; raise it there with --max-connections",
        ),
        (b"", "{url} refused /main/{id}: Connection error"),
        (b"woo\r\n\r\n", "{url} refused /main/{id}: 400, message="),
    ],
    ids=["404", "503", "closed", "garbage"],
)
def test_failed_handshake_raises_connection_failed(
    relay: Running, kernel_id: str, answered: bytes, text: str
) -> None:
    model = send_request(relay.url, "GET", f"/kernels/{kernel_id}").body
    with Proxy(int(relay.url.rpartition(":")[2])) as proxy:
        proxy.answers = lambda request: (
            answered if "/socket.io" in request else answer("200 OK", model)
        )
        url = f"http://{HOST}:{proxy.port}"
        error = failure(url, kernel_id)
    assert type(error) is ec.ConnectionFailed
    assert str(error).startswith(text.format(url=url, id=kernel_id))
    assert error.__cause__ is None


def test_relay_that_disconnects_at_once_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    tasks = set[asyncio.Task[None]]()

    async def disconnect(self: SocketioServer, namespace: str, sid: str, *_: Any) -> None:
        tasks.add(asyncio.create_task(self._io.disconnect(sid, namespace=namespace)))

    monkeypatch.setattr(SocketioServer, "_on_connect", disconnect)
    with running() as relay, shared_at(relay) as kernel_id:
        error = failure(relay.url, kernel_id)
        assert type(error) is ec.ConnectionFailed
        assert str(error) == f"{relay.url} closed the connection right after opening it"


@pytest.mark.parametrize(
    ("protocol", "text"),
    [
        (
            2,
            "requires a newer enchannel (protocol 2; this version has protocol 1): "
            "pip install --upgrade enchannel",
        ),
        ("two", "sent an invalid response; check that the URL is that of a relay"),
    ],
)
def test_unusable_first_event_is_named(
    relay: Running,
    kernel_id: str,
    monkeypatch: pytest.MonkeyPatch,
    protocol: object,
    text: str,
) -> None:
    monkeypatch.setattr(_socketio_server, "PROTOCOL_VERSION", protocol)
    error = failure(relay.url, kernel_id)
    assert type(error) is ec.ConnectionFailed
    assert str(error) == f"{relay.url} {text}"


def test_refused_namespace_has_reason_of_relay(
    relay: Running, kernel_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the relay, an ``OSError`` of its store refuses the namespace, and ends no connection."""

    async def find(self: object, kernel_id: str) -> object:
        raise ec.ConnectionFailed(
            "could not connect to the Redis store of the relay (TimeoutError)"
        )

    directory = type(relay.relay._directory)
    # The first call is that of the HTTP request, which precedes the handshake.
    calls = iter([directory.find, find])
    monkeypatch.setattr(directory, "find", lambda self, kernel_id: next(calls)(self, kernel_id))
    error = failure(relay.url, kernel_id)
    assert type(error) is ec.ConnectionFailed
    assert str(error) == (
        f"{relay.url} refused /main/{kernel_id}: "
        "could not connect to the Redis store of the relay (TimeoutError)"
    )
