"""The lifecycle of a kernel on a Jupyter server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from reactivex import Observable

from enchannel.abc import KernelState, Lifecycle
from enchannel.backends import EventLoopThread
from enchannel.errors import ConnectionFailed, ConnectionLost, KernelDied, NotSupported
from enchannel_websocket._http import ServerRefused
from enchannel_websocket._link import WebsocketLink
from enchannel_websocket._server import JupyterClient

__all__ = ["JupyterLifecycle"]

LIFECYCLE_TIMEOUT = 60.0
# For shutting down a kernel whose server is known to be lost.
LOST_SHUTDOWN_TIMEOUT = 5.0


class JupyterLifecycle(Lifecycle):
    """Interrupts, restarts and shuts down a kernel through its server's REST API.

    Args:
        server: The server that has the kernel.
        link: The link to the kernel.
        loop: The event loop of the link.
        session_id: Id of the server's session that the kernel was started in, if any.
    """

    def __init__(
        self,
        server: JupyterClient,
        link: WebsocketLink,
        loop: EventLoopThread,
        *,
        session_id: str | None,
    ) -> None:
        self._server = server
        self._link = link
        self._loop = loop
        self._session_id = session_id
        self._was_shut_down = False
        # Restart and shutdown exclude each other.
        self._lock = asyncio.Lock()

    def interrupt(self) -> Observable[None]:
        return self._loop.to_observable(self._interrupt())

    def restart(self) -> Observable[None]:
        return self._loop.to_observable(self._restart())

    def shutdown(self) -> Observable[None]:
        return self._loop.to_observable(self._shut_down())

    def release(self) -> None:
        """Do nothing: the process belongs to the server."""

    async def _interrupt(self) -> None:
        async with self._timeout("interrupted", LIFECYCLE_TIMEOUT):
            await self._server.interrupt(self._link.kernel_id)

    async def _restart(self) -> None:
        link = self._link
        async with self._lock:
            if self._was_shut_down:
                raise NotSupported(f"kernel {link.kernel_id} was shut down; launch another")
            link.emit(KernelState.RESTARTING)
            link.emit(KernelDied(f"kernel {link.kernel_id} was restarted"))
            link.monitor.is_restarting = True
            try:
                async with self._timeout("restarted", LIFECYCLE_TIMEOUT):
                    await self._server.restart(link.kernel_id)
                    await link.monitor.wait_until_restarted()
            except ServerRefused:
                link.emit(KernelState.DEAD)
                raise
            finally:
                link.monitor.is_restarting = False
            link.emit(KernelState.IDLE)

    async def _shut_down(self) -> None:
        async with self._lock:
            if self._was_shut_down:
                return
            is_lost = isinstance(self._link.refusal, ConnectionLost)
            seconds = LOST_SHUTDOWN_TIMEOUT if is_lost else LIFECYCLE_TIMEOUT
            async with self._timeout("shut down", seconds):
                await self._server.shut_down(self._link.kernel_id, self._session_id)
            self._was_shut_down = True
            self._link.end(
                KernelDied(f"kernel {self._link.kernel_id} was shut down"), keep_channels=True
            )

    @asynccontextmanager
    async def _timeout(self, action: str, seconds: float) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(seconds):
                yield
        except TimeoutError:
            raise ConnectionFailed(
                f"kernel {self._link.kernel_id} could not be {action}: {self._server} did not answer "
                f"within {seconds:g} s"
            ) from None
