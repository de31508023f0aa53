"""A kernel's process, ruled through its relay."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from reactivex import Observable

from enchannel.abc import Lifecycle
from enchannel.backends import EventLoopThread
from enchannel.errors import ConnectionFailed, KernelDied, NotSupported
from enchannel_socketio._client import Client
from enchannel_socketio._link import SocketioLink

__all__ = ["RemoteKernel"]

RULING = 90.0  # seconds for an interrupt, a restart or a shutdown


class RemoteKernel(Lifecycle):
    """Interrupts, restarts and shuts down by HTTP. What is told of it comes where messages come, so what
    is done has been told when it is said to be done."""

    def __init__(self, relay: Client, link: SocketioLink, loop: EventLoopThread) -> None:
        self._relay = relay
        self._link = link
        self._loop = loop
        self._turn = asyncio.Lock()  # of who restarts and who ends it
        self._is_over = False

    def interrupt(self) -> Observable[None]:
        return self._loop.to_observable(self._in_time("interrupted", self._interrupt))

    def restart(self) -> Observable[None]:
        return self._loop.to_observable(self._in_time("restarted", self._restart))

    def shutdown(self) -> Observable[None]:
        return self._loop.to_observable(self._in_time("shut down", self._shut_down))

    def release(self) -> None:
        """Nothing: the process is the relay's."""

    async def _interrupt(self) -> None:
        await self._relay.rule(self._link.kernel_id, "interrupt")

    async def _restart(self) -> None:
        async with self._turn:
            if self._is_over:
                raise NotSupported(f"kernel {self._link.kernel_id} was shut down; launch another")
            await self._link.wait_for_position(
                await self._relay.rule(self._link.kernel_id, "restart")
            )

    async def _shut_down(self) -> None:
        async with self._turn:
            if self._is_over:
                return
            self._link.was_shut_down_here = True
            try:
                await self._relay.shut_down(self._link.kernel_id)
            except KernelDied:  # it is gone already
                pass
            except BaseException:
                self._link.was_shut_down_here = False
                raise
            self._is_over = True
            await self._link.wait_until_ended()

    async def _in_time(self, what: str, do: Callable[[], Awaitable[Any]]) -> None:
        try:
            async with asyncio.timeout(RULING):
                await do()
        except TimeoutError:
            raise ConnectionFailed(
                f"kernel {self._link.kernel_id} could not be {what}: {self._relay} did not answer "
                f"within {RULING:g} s"
            ) from None
