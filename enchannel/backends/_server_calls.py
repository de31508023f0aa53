"""Calls to a server from a user's thread: run in the shared event loop, within a timeout."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any, Protocol, TypeVar

from enchannel.abc import Link
from enchannel.backends._event_loop_thread import EventLoopThread
from enchannel.backends._shared_resource import Lease, SharedResource
from enchannel.errors import ConnectionFailed, EnchannelError, KernelDied

__all__ = ["ServerClient", "call_server", "open_on_server", "start_or_undo", "undo_start"]

# For shutting down a kernel whose launch failed.
UNDO_TIMEOUT = 4.0


class ServerClient(Protocol):
    """A client of a server's HTTP API; ``str()`` of it names the server."""

    @property
    def pending(self) -> str:
        """The current or latest request, for error messages ("GET /api/kernels")."""
        ...

    async def close(self) -> None:
        """Close its connections."""
        ...


T = TypeVar("T")
ClientT = TypeVar("ClientT", bound=ServerClient)


def call_server(
    loops: SharedResource[EventLoopThread],
    make_client: Callable[[], ClientT],
    call: Callable[[ClientT], Awaitable[T]],
    timeout: float,
) -> T:
    """Call a server with a client that is closed afterwards.

    Args:
        loops: The event loop to call it in.
        make_client: Creates the client, in the event loop.
        call: Calls the server, in the event loop.
        timeout: Seconds.

    Raises:
        ConnectionFailed: The server did not answer in time, or does not have the kernel.
    """
    lease = loops.lease()
    try:
        return lease.resource.run(_call(make_client, call, timeout, keep_client=False))
    finally:
        lease.release()


def open_on_server(
    loops: SharedResource[EventLoopThread],
    make_client: Callable[[], ClientT],
    open_link: Callable[[ClientT, Lease[EventLoopThread]], Awaitable[Link]],
    timeout: float,
) -> Link:
    """Open a link that owns its client and its lease of the event loop.

    Args:
        loops: The event loop of the link.
        make_client: Creates the client, in the event loop.
        open_link: Opens the link, in the event loop.
        timeout: Seconds.

    Raises:
        ConnectionFailed: The link could not be opened; client and lease are closed.
    """
    lease = loops.lease()
    try:
        return lease.resource.run(
            _call(make_client, lambda client: open_link(client, lease), timeout, keep_client=True)
        )
    except BaseException:
        lease.release()
        raise


async def _call(
    make_client: Callable[[], ClientT],
    call: Callable[[ClientT], Awaitable[T]],
    timeout: float,
    *,
    keep_client: bool,
) -> T:
    client = make_client()
    try:
        async with asyncio.timeout(timeout):
            result = await call(client)
    except BaseException as error:
        await client.close()
        if isinstance(error, TimeoutError):
            raise ConnectionFailed(
                f"{client} did not answer within {timeout:g} s (waiting for {client.pending})"
            ) from None
        if isinstance(error, KernelDied):
            raise ConnectionFailed(str(error)) from None
        raise
    if not keep_client:
        await client.close()
    return result


async def start_or_undo(start: Coroutine[Any, Any, T], undo: Callable[[T], Awaitable[object]]) -> T:
    """Start a kernel; if that is cancelled, wait up to 4 s for it to have started, and undo it."""
    starting = asyncio.ensure_future(start)
    try:
        return await asyncio.shield(starting)
    except asyncio.CancelledError:
        with suppress(TimeoutError, EnchannelError):
            async with asyncio.timeout(UNDO_TIMEOUT):
                await undo(await starting)
        raise


async def undo_start(shutdown: Awaitable[object]) -> None:
    """Shut down a kernel whose launch failed: best effort, for up to 4 s."""
    with suppress(TimeoutError, EnchannelError):
        await asyncio.wait_for(shutdown, UNDO_TIMEOUT)
