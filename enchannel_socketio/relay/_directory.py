"""The kernels of a relay: those that it has started, those that it was given, and those of others."""

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
from enchannel_socketio.relay._kernels import Kernel, LocalKernel
from enchannel_socketio.relay._store import Store

__all__ = ["Directory", "NoSuchKernel", "TooManyKernels"]


class NoSuchKernel(LookupError):
    """There is none of that id."""


class TooManyKernels(Exception):
    """One more is not served."""


class Directory:
    """Finds kernels by their ids. Runs on the relay's loop.

    Args:
        store: Where their logs are.
        most: How many run here at a time.
        spawns: Whether clients may start any.
    """

    def __init__(self, store: Store, *, most: int, spawns: bool) -> None:
        self.spawns = spawns
        self._store = store
        self._most = most
        self._own: dict[str, LocalKernel] = {}
        self._starting = 0

    async def all(self) -> list[Kernel]:
        """All that there are; those of others only if they can be asked for."""
        others: Mapping[str, Kernel] = {}
        with suppress(ConnectionFailed):
            others = await self._store.others()
        return [*self._own.values(), *others.values()]

    async def find(self, kernel_id: str) -> Kernel:
        """The one of an id.

        Raises:
            NoSuchKernel: there is none.
        """
        kernel = self._own.get(kernel_id) or (await self._store.others()).get(kernel_id)
        if kernel is None:
            raise NoSuchKernel(f"there is no kernel {kernel_id[:64]!r} here")
        return kernel

    async def spawn(
        self, name: str, *, cwd: Path | None = None, env: Mapping[str, str] | None = None
    ) -> Kernel:
        """Start one by its kernelspec.

        Raises:
            LaunchFailed: it does not start.
            NotSupported: this relay starts none.
            TooManyKernels: there are as many as there may be.
        """
        if not self.spawns:
            raise NotSupported("this relay starts no kernels")
        session = Session(username="relay")

        def launch() -> Link:
            return backends.launch_link(name, session=session, cwd=cwd, env=env)

        return await self._served(name, session, launch)

    async def share(self, target: Any, **options: Any) -> Kernel:
        """Serve one that runs already.

        Raises:
            ConnectionFailed: it does not answer.
            TooManyKernels: there are as many as there may be.
        """
        session = Session(username="relay")

        def connect() -> Link:
            return backends.open_link(target, session=session, **options)

        return await self._served("", session, connect)

    async def end(self, kernel_id: str) -> Kernel:
        """End one. It is not found any more, and its log is still there, until it is forgotten.

        Raises:
            NoSuchKernel: there is none.
        """
        kernel = await self.find(kernel_id)
        await kernel.shut_down()
        self._own.pop(kernel_id, None)
        return kernel

    async def forget(self, kernel_id: str) -> None:
        """What one said is no longer wanted."""
        await self._store.forget(kernel_id)

    async def close(self) -> None:
        """End all that were started here, and let go of the others."""
        own, self._own = self._own, {}
        await asyncio.gather(*(kernel.close() for kernel in own.values()))

    async def _served(
        self, name: str, session: Session, open_link: Callable[[], Link]
    ) -> LocalKernel:
        if len(self._own) + self._starting >= self._most:
            raise TooManyKernels(f"there are {self._most} kernels already, and no more are served")
        self._starting += 1
        try:
            return await _whole(self._linked(name, session, open_link))
        finally:
            self._starting -= 1

    async def _linked(
        self, name: str, session: Session, open_link: Callable[[], Link]
    ) -> LocalKernel:
        kernel_id = str(uuid.uuid4())
        log = await self._store.log(kernel_id)
        try:
            link = await asyncio.to_thread(open_link)
            kernel = LocalKernel(kernel_id, name or link.kernel_id, log, link, session)
            self._own[kernel_id] = kernel
            await self._store.serve(kernel)
        except BaseException:
            if (served := self._own.pop(kernel_id, None)) is not None:
                await served.close()
            await self._store.forget(kernel_id)
            raise
        return kernel


async def _whole(doing: Awaitable[LocalKernel]) -> LocalKernel:
    """Do it to its end, also when who asked for it has gone: a kernel that starts has to end as well."""
    return await asyncio.shield(asyncio.ensure_future(doing))
