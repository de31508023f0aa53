"""The lifecycle of a kernel on a relay."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from reactivex import Observable

from enchannel.abc import Lifecycle
from enchannel.backends import EventLoopThread
from enchannel.errors import ConnectionFailed, KernelDied, NotSupported
from enchannel_socketio._client import RelayClient
from enchannel_socketio._link import SocketioLink

__all__ = ["RelayLifecycle"]

LIFECYCLE_TIMEOUT = 90.0


class RelayLifecycle(Lifecycle):
    """Interrupts, restarts and shuts down a kernel through its relay's HTTP API.

    The relay reports events of the kernel in order with its messages. An observable completes
    when the events of its action have been received.

    Args:
        relay: Client of the relay.
        link: The link to the kernel.
        loop: The event loop of the link.
    """

    def __init__(self, relay: RelayClient, link: SocketioLink, loop: EventLoopThread) -> None:
        self._relay = relay
        self._link = link
        self._loop = loop
        # Restart and shutdown exclude each other.
        self._lock = asyncio.Lock()
        self._was_shut_down = False

    def interrupt(self) -> Observable[None]:
        return self._loop.to_observable(self._in_time("interrupted", self._interrupt()))

    def restart(self) -> Observable[None]:
        return self._loop.to_observable(self._in_time("restarted", self._restart()))

    def shutdown(self) -> Observable[None]:
        return self._loop.to_observable(self._in_time("shut down", self._shut_down()))

    def release(self) -> None:
        """Do nothing: the process belongs to the relay."""

    async def _interrupt(self) -> None:
        await self._relay.interrupt(self._link.kernel_id)

    async def _restart(self) -> None:
        async with self._lock:
            if self._was_shut_down:
                raise NotSupported(f"kernel {self._link.kernel_id} was shut down; launch another")
            await self._link.wait_for_position(await self._relay.restart(self._link.kernel_id))

    async def _shut_down(self) -> None:
        async with self._lock:
            if self._was_shut_down:
                return
            self._link.was_shut_down_here = True
            try:
                await self._relay.shut_down(self._link.kernel_id)
            except KernelDied:  # it does not exist any more
                pass
            except BaseException:
                self._link.was_shut_down_here = False
                raise
            self._was_shut_down = True
            await self._link.wait_until_ended()

    async def _in_time(self, action: str, coroutine: Coroutine[Any, Any, None]) -> None:
        try:
            async with asyncio.timeout(LIFECYCLE_TIMEOUT):
                await coroutine
        except TimeoutError:
            raise ConnectionFailed(
                f"kernel {self._link.kernel_id} could not be {action}: {self._relay} did not answer within "
                f"{LIFECYCLE_TIMEOUT:g} s"
            ) from None
