"""A kernel's process, ruled through its server."""

from __future__ import annotations

import asyncio

from reactivex import Observable

from enchannel.abc import KernelState, Lifecycle
from enchannel.backends import EventLoopThread
from enchannel.errors import ConnectionFailed, ConnectionLost, KernelDied, NotSupported
from enchannel_websocket._link import WebsocketLink
from enchannel_websocket._server import Server, ServerRefused

__all__ = ["RemoteKernel"]

HURRY = 5.0  # seconds to end a kernel whose server is known to be away


class RemoteKernel(Lifecycle):
    """Interrupts, restarts and shuts down by REST; the server knows how each kernel wants it.

    Args:
        session_id: Of the notebook that it was started beside, if there is one.
        timeout: Seconds for each of these.
    """

    def __init__(
        self,
        server: Server,
        link: WebsocketLink,
        loop: EventLoopThread,
        *,
        session_id: str | None,
        timeout: float,
    ) -> None:
        self._server = server
        self._link = link
        self._loop = loop
        self._session_id = session_id
        self._timeout = timeout
        self._is_over = False
        self._turn = asyncio.Lock()  # of who restarts and who ends it

    def interrupt(self) -> Observable[None]:
        return self._loop.to_observable(self._interrupt())

    def restart(self) -> Observable[None]:
        return self._loop.to_observable(self._restart())

    def shutdown(self) -> Observable[None]:
        return self._loop.to_observable(self._shut_down())

    def release(self) -> None:
        """Nothing: the process is the server's."""

    async def _interrupt(self) -> None:
        async with self._in_time("interrupted"):
            await self._server.interrupt(self._link.kernel_id)

    async def _restart(self) -> None:
        link = self._link
        async with self._turn:
            if self._is_over:
                raise NotSupported(f"kernel {link.kernel_id} was shut down; launch another")
            link.emit(KernelState.RESTARTING)
            link.emit(KernelDied(f"kernel {link.kernel_id} was restarted"))
            link.monitor.is_restarting = True
            try:
                async with self._in_time("restarted"):
                    await self._server.restart(link.kernel_id)
                    await link.monitor.wait_until_restarted()
            except ServerRefused:
                link.emit(KernelState.DEAD)
                raise
            finally:
                link.monitor.is_restarting = False
            link.emit(KernelState.IDLE)

    async def _shut_down(self) -> None:
        async with self._turn:
            if self._is_over:
                return
            lost = isinstance(self._link.refusal, ConnectionLost)
            async with self._in_time("shut down", HURRY if lost else self._timeout):
                await self._server.end(self._link.kernel_id, self._session_id)
            self._is_over = True
            self._link.end(
                KernelDied(f"kernel {self._link.kernel_id} was shut down"), keep_channels=True
            )

    def _in_time(self, what: str, seconds: float | None = None) -> _InTime:
        return _InTime(
            seconds or self._timeout, f"kernel {self._link.kernel_id} could not be {what}"
        )


class _InTime:
    """A timeout that says what was not done."""

    def __init__(self, seconds: float, what: str) -> None:
        self._seconds, self._what = seconds, what
        self._timeout = asyncio.timeout(seconds)

    async def __aenter__(self) -> None:
        await self._timeout.__aenter__()

    async def __aexit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        try:
            await self._timeout.__aexit__(type(error) if error else None, error, None)
        except TimeoutError:
            raise ConnectionFailed(
                f"{self._what}: the server did not answer within {self._seconds:g} s"
            ) from None
