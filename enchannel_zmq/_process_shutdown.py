"""Ending a kernel's process: by request, then by SIGTERM, then by SIGKILL."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import suppress

from enchannel import AnyMessage, interrupt_request, shutdown_request
from enchannel.errors import EnchannelError
from enchannel_zmq._kernel_process import KernelProcess

__all__ = ["ProcessShutdown"]

INTERRUPT_INTERVAL = 0.4
KILL_TIMEOUT = 5.0


class ProcessShutdown:
    """Ends a kernel's process; its coroutine runs on the launcher's event loop.

    Args:
        process: The process.
        send: Sends a message to the kernel; raises an EnchannelError if it is not connected.
        timeout: Seconds for the process to end by itself: half of them after the shutdown request, half
            after SIGTERM.
    """

    def __init__(
        self, process: KernelProcess, send: Callable[[AnyMessage], None], timeout: float
    ) -> None:
        self._process = process
        self._send = send
        self._timeout = timeout

    async def run(self, *, restart: bool = False) -> None:
        """End the process, and wait for that.

        Args:
            restart: Tells the kernel that it is restarted.
        """
        process = self._process
        if process.has_process and await process.poll() is None:
            await self._request_shutdown(restart)
            if not await self._wait_and_interrupt(self._timeout / 2):
                await process.terminate(restart=restart)
                if not await process.wait(self._timeout / 2):
                    await process.kill(restart=restart)
                    await process.wait(KILL_TIMEOUT)
        await process.reap()

    async def _request_shutdown(self, restart: bool) -> None:
        """Interrupt running code, which would delay the shutdown, and send a shutdown request."""
        messages: list[AnyMessage] = [shutdown_request(restart)]
        if self._process.uses_interrupt_messages:
            messages.insert(0, interrupt_request())
        elif sys.platform != "win32":
            await self._process.interrupt()
        with suppress(EnchannelError):  # not connected, so signals have to do
            for message in messages:
                self._send(message)

    async def _wait_and_interrupt(self, seconds: float) -> bool:
        """Wait for the end; interrupt repeatedly, since code that is starting misses a signal."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            if await self._process.wait(min(left, INTERRUPT_INTERVAL)):
                return True
            if not self._process.uses_interrupt_messages and sys.platform != "win32":
                await self._process.interrupt()
        return False
