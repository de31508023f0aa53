"""Calls to a server in time: results, timeouts, and closed clients."""

import asyncio
from typing import cast

import pytest

from enchannel.abc import Link
from enchannel.backends import (
    EventLoopThread,
    Lease,
    SharedResource,
    call_server,
    open_on_server,
    start_or_undo,
    undo_start,
)
from enchannel.errors import ConnectionFailed, KernelDied, NotSupported

loops = SharedResource(lambda: EventLoopThread("enchannel-test calls"))
LINK = cast(Link, object())


class FakeClient:
    """A client that records whether it was closed."""

    def __init__(self) -> None:
        self.pending = "GET /kernels"
        self.closed = False

    def __str__(self) -> str:
        return "fake://server"

    async def close(self) -> None:
        self.closed = True


@pytest.fixture
def client() -> FakeClient:
    return FakeClient()


async def hang(client: FakeClient) -> None:
    await asyncio.Event().wait()


def test_call_returns_and_closes_client(client: FakeClient) -> None:
    async def call(client: FakeClient) -> str:
        return f"{client} is open: {not client.closed}"

    assert call_server(loops, lambda: client, call, 10.0) == "fake://server is open: True"
    assert client.closed
    assert loops.current is None


def test_call_timeout_names_pending_request(client: FakeClient) -> None:
    with pytest.raises(ConnectionFailed) as failed:
        call_server(loops, lambda: client, hang, 0.01)
    expected = "fake://server did not answer within 0.01 s (waiting for GET /kernels)"
    assert str(failed.value) == expected
    assert client.closed


@pytest.mark.parametrize(
    ("error", "raised"),
    [(KernelDied("gone"), ConnectionFailed), (NotSupported("no"), NotSupported)],
)
def test_call_error_closes_client(
    client: FakeClient, error: Exception, raised: type[Exception]
) -> None:
    async def call(client: FakeClient) -> None:
        raise error

    with pytest.raises(raised, match=str(error)):
        call_server(loops, lambda: client, call, 10.0)
    assert client.closed
    assert loops.current is None


def test_opened_link_keeps_client_and_lease(client: FakeClient) -> None:
    leases: list[Lease[EventLoopThread]] = []

    async def open_link(client: FakeClient, lease: Lease[EventLoopThread]) -> Link:
        leases.append(lease)
        return LINK

    assert open_on_server(loops, lambda: client, open_link, 10.0) is LINK
    assert not client.closed
    assert loops.current is leases[0].resource
    leases.pop().release()
    assert loops.current is None


def test_failed_open_closes_client_and_lease(client: FakeClient) -> None:
    async def open_link(client: FakeClient, lease: Lease[EventLoopThread]) -> Link:
        raise ConnectionFailed("refused")

    with pytest.raises(ConnectionFailed, match="refused"):
        open_on_server(loops, lambda: client, open_link, 10.0)
    assert client.closed
    assert loops.current is None


def test_cancelled_start_is_undone() -> None:
    undone = list[str]()

    async def main() -> None:
        release = asyncio.Event()

        async def start() -> str:
            await release.wait()
            return "k-1"

        async def undo(kernel_id: str) -> None:
            undone.append(kernel_id)

        starting = asyncio.ensure_future(start_or_undo(start(), undo))
        await asyncio.sleep(0)
        starting.cancel()
        await asyncio.sleep(0)
        release.set()
        with pytest.raises(asyncio.CancelledError):
            await starting

    asyncio.run(main())
    assert undone == ["k-1"]


def test_undo_ignores_errors_and_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("enchannel.backends._server_calls.UNDO_TIMEOUT", 0.01)

    async def fail() -> None:
        raise ConnectionFailed("gone")

    async def main() -> None:
        await undo_start(fail())
        await undo_start(asyncio.Event().wait())

    asyncio.run(main())
