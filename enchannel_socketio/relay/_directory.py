"""The kernels that a relay serves: launched, shared, and those of other relays."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from enchannel import Session, backends
from enchannel.abc import Link
from enchannel.errors import ConnectionFailed, NotSupported
from enchannel_socketio.relay._kernels import LocalKernel, ServedKernel
from enchannel_socketio.relay._store import Store

__all__ = ["KernelDirectory", "NoSuchKernel", "TooManyKernels"]


class NoSuchKernel(LookupError):
    """Raised when the relay has no kernel with an id."""


class TooManyKernels(Exception):
    """Raised when the relay already serves the maximum number of kernels."""


class KernelDirectory:
    """Finds, launches and shuts down kernels. Runs on the relay's loop.

    Args:
        store: The store of the kernels' logs.
        max_kernels: The maximum number of kernels of this relay at a time.
        allow_spawn: Allow clients to launch kernels.
    """

    def __init__(self, store: Store, *, max_kernels: int, allow_spawn: bool) -> None:
        self.allow_spawn = allow_spawn
        self._store = store
        self._max_kernels = max_kernels
        self._own: dict[str, LocalKernel] = {}
        self._starting = 0

    async def all(self) -> list[ServedKernel]:
        """Return all kernels; without those of other relays if the store cannot be reached."""
        others: Mapping[str, ServedKernel] = {}
        with suppress(ConnectionFailed):
            others = await self._store.other_kernels()
        return [*self._own.values(), *others.values()]

    async def find(self, kernel_id: str) -> ServedKernel:
        """Return the kernel with an id.

        Raises:
            NoSuchKernel: The id is not known.
        """
        kernel = self._own.get(kernel_id) or (await self._store.other_kernels()).get(kernel_id)
        if kernel is None:
            raise NoSuchKernel(f"kernel {kernel_id[:64]!r} does not exist on this relay")
        return kernel

    async def spawn(
        self, name: str, *, cwd: Path | None = None, env: Mapping[str, str] | None = None
    ) -> ServedKernel:
        """Launch a kernel by the name of its kernelspec.

        Raises:
            LaunchFailed: The kernel does not start.
            NotSupported: The relay does not launch kernels.
            TooManyKernels: The relay already serves the maximum number of kernels.
        """
        if not self.allow_spawn:
            raise NotSupported("this relay does not launch kernels")
        session = Session(username="relay")

        def launch() -> Link:
            return backends.launch_link(name, session=session, cwd=cwd, extra_env=env)

        return await self._serve(name, session, launch)

    async def share(self, target: Any, **options: Any) -> ServedKernel:
        """Serve a running kernel.

        Raises:
            ConnectionFailed: The kernel does not answer.
            TooManyKernels: The relay already serves the maximum number of kernels.
        """
        session = Session(username="relay")

        def connect() -> Link:
            return backends.open_link(target, session=session, **options)

        return await self._serve("", session, connect)

    async def shut_down(self, kernel_id: str) -> ServedKernel:
        """Shut down a kernel, and remove it from the directory; its log stays until it is forgotten.

        Raises:
            NoSuchKernel: The id is not known.
        """
        kernel = await self.find(kernel_id)
        await kernel.shut_down()
        self._own.pop(kernel_id, None)
        return kernel

    async def forget(self, kernel_id: str) -> None:
        """Delete the log of a kernel."""
        await self._store.forget(kernel_id)

    async def close(self) -> None:
        """Shut down the kernels that the relay launched, and disconnect from the shared ones."""
        own, self._own = self._own, {}
        await asyncio.gather(*(kernel.close() for kernel in own.values()))

    async def _serve(
        self, name: str, session: Session, open_link: Callable[[], Link]
    ) -> LocalKernel:
        if len(self._own) + self._starting >= self._max_kernels:
            raise TooManyKernels(
                f"this relay already serves {self._max_kernels} kernels, its maximum"
            )
        self._starting += 1
        try:
            return await _uncancelled(self._connect(name, session, open_link))
        finally:
            self._starting -= 1

    async def _connect(
        self, name: str, session: Session, open_link: Callable[[], Link]
    ) -> LocalKernel:
        kernel_id = str(uuid.uuid4())
        log = await self._store.create_log(kernel_id)
        try:
            link = await asyncio.to_thread(open_link)
            kernel = LocalKernel(kernel_id, name or link.kernel_id, log, link, session)
            self._own[kernel_id] = kernel
            await self._store.register(kernel)
        except BaseException:
            if (served := self._own.pop(kernel_id, None)) is not None:
                await served.close()
            await self._store.forget(kernel_id)
            raise
        return kernel


async def _uncancelled(connecting: Awaitable[LocalKernel]) -> LocalKernel:
    """Complete the task also if its client disconnects, so that a launched kernel is shut down later."""
    return await asyncio.shield(asyncio.ensure_future(connecting))
