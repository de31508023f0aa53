"""Kernel processes: started, watched and ended through jupyter_client's kernelspecs and provisioners.

Provisioners are coroutines, so one thread of the process runs a loop for all of them.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel
from jupyter_client.manager import AsyncKernelManager
from reactivex import Observable
from traitlets import TraitError

from enchannel import AnyMessage, ConnectionInfo, Session, interrupt_request, shutdown_request
from enchannel.abc import KernelState, Lifecycle, Link
from enchannel.backends import EventLoopThread, SharedResource
from enchannel.errors import EnchannelError, KernelDied, LaunchFailed, NotSupported
from enchannel_zmq._connection_file import runtime_dir
from enchannel_zmq._link import ZmqLink
from enchannel_zmq._stderr import Stderr

__all__ = ["start"]

log = logging.getLogger("enchannel.zmq")

POLL = 0.25  # seconds between two looks at a process
AGAIN = 0.4  # seconds between two interrupts of a kernel that should end
RESTART_THREAD = "enchannel-zmq restart"
WATCHING = "watching a kernel"  # in the log
REAP = 2.0  # seconds in which a process that lost its sockets is expected to end

launcher_thread = SharedResource(lambda: EventLoopThread("enchannel-zmq launcher"))
"""The event-loop thread for the provisioners and process watchers of all launched kernels."""


def start(
    name: str,
    *,
    session: Session,
    timeout: float,
    cwd: Path | None,
    env: Mapping[str, str] | None,
    transport: str,
    encryption: str,
    independent: bool,
    shutdown_timeout: float,
    max_received: int,
) -> Link:
    """Start a kernel and connect to it; see ``ZmqBackend.launch``."""
    deadline = time.monotonic() + timeout
    process = Process(
        name,
        cwd=cwd,
        env=env,
        transport=transport,
        encryption=encryption,
        independent=independent,
        shutdown_timeout=shutdown_timeout,
    )
    lease = launcher_thread.lease()
    loop = lease.resource
    link: ZmqLink | None = None
    try:
        loop.run(process.start(), shielded=True)
        link = opened = ZmqLink(
            process.info,
            session,
            kernel_id=process.id,
            max_received=max_received,
            keepalive_timeout=5.0,
            reconnect_timeout=timeout,
            find_death=lambda tell: loop.spawn_logged(process.tell_why(tell), log, WATCHING),
        )
        process.attend(link, session, loop, timeout)
        _open(process, link.open, deadline)
        loop.spawn_logged(process.watch(), log, WATCHING)
    except BaseException:
        try:
            loop.run(process.kill(), shielded=True)
        finally:
            if link is not None:
                link.close()
            lease.release()
        raise
    released = threading.Lock()

    def close() -> None:
        opened.close()
        if released.acquire(blocking=False):
            try:
                if process.is_ending:  # who waited for that has no patience, and pressed Ctrl-C
                    loop.run(process.kill(), shielded=True)
            finally:
                process.forget()
                lease.release()

    return replace(opened.link(process), close=close)


def _open(process: Process, opening: Callable[[float], None], deadline: float) -> None:
    """Connect to a process that starts, and stop waiting when it ends."""
    ended = process.ended_while(lambda: opening(max(0.1, deadline - time.monotonic())))
    if ended is not None:
        raise ended


class Process(Lifecycle):
    """One kernel's process, its connection file and its directory of sockets."""

    def __init__(
        self,
        name: str,
        *,
        cwd: Path | None,
        env: Mapping[str, str] | None,
        transport: str,
        encryption: str,
        independent: bool,
        shutdown_timeout: float,
    ) -> None:
        self.id = str(uuid.uuid4())
        self.name = name
        self._spec = _kernelspec(name)
        self._transport = transport
        self._encryption = encryption
        self._shutdown_time = shutdown_timeout
        self._directory: str | None = None
        self._manager = _Manager(kernel_name=name, kernel_id=self.id)
        self._stderr = Stderr(self.id)
        self._started = asyncio.Event()
        self._started.set()
        self._ending = False
        self._released = False
        self._farewell: asyncio.Future[None] | None = None
        self._turn = asyncio.Lock()  # of who starts and who ends the process
        self._restarting = False
        self._cleaned = False
        self._start_options: dict[str, Any] = {"independent": independent}
        if cwd is not None:
            self._start_options["cwd"] = str(cwd)
        self._start_options["env"] = {**os.environ, **(env or {})}

    def attend(
        self, link: ZmqLink, session: Session, loop: EventLoopThread, timeout: float
    ) -> None:
        """Rule the process that is behind this link."""
        self._link, self._session, self._loop, self._timeout = link, session, loop, timeout

    @property
    def is_ending(self) -> bool:
        """Whether it was asked to end, and is not known to have ended."""
        return self._ending and not (self._released or self._cleaned)

    # -- on the loop ------------------------------------------------------------------------------

    async def start(self) -> None:
        """Start the process.

        Raises:
            LaunchFailed: it could not be started.
        """
        sink = self._stderr.fileno()
        self._started.clear()
        try:
            if not self._manager.connection_file:
                self._make_room()
            await self._manager.start_kernel(stdout=sink, stderr=sink, **self._start_options)
        except LaunchFailed:
            raise
        except Exception as error:  # whatever a provisioner raises
            raise LaunchFailed(
                f"kernel {self.name!r} could not be started: {error}", stderr=self._stderr.text()
            ) from error
        finally:
            self._started.set()
        fields = dict(self._manager.get_connection_info())
        self.info = ConnectionInfo.from_dict(fields, source=f"the launch of {self.name}")

    def _make_room(self) -> None:
        """Made here, and not with the object: no Ctrl-C comes between on this thread."""
        directory = runtime_dir()
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        manager, encryption = self._manager, self._encryption
        manager.connection_file = str(directory / f"kernel-{self.id}.json")
        if self._transport == "ipc" or (self._transport == "auto" and _takes_ipc(self._spec)):
            self._directory = tempfile.mkdtemp(prefix="enchannel-")  # nobody else can enter it
            manager.transport, manager.ip = "ipc", os.path.join(self._directory, "kernel")
            if encryption == "auto":
                encryption = "disabled"  # nobody else can listen there
        try:
            manager.transport_encryption = encryption
        except TraitError as error:  # one that there is not, or not here
            raise LaunchFailed(f"kernel {self.name!r} cannot be started so: {error}") from error

    async def poll(self) -> int | None:
        """The exit code, or None while it runs."""
        provisioner = self._manager.provisioner
        if provisioner is None or not provisioner.has_process:
            return 0
        return await provisioner.poll()

    async def wait(self, seconds: float) -> bool:
        """Wait for it to end; whether it did."""
        deadline = time.monotonic() + seconds
        while await self.poll() is None:
            if time.monotonic() >= deadline:
                return False
            await asyncio.sleep(0.01)
        return True

    async def watch(self) -> None:
        """Look at the process now and then: its sockets may live on in a child of its own."""
        while not self._ending:
            self._stderr.read()
            if not self._restarting and await self.poll() is not None:
                self._link.on_process_died(await self._died())
            await asyncio.sleep(POLL)

    async def tell_why(self, tell: Callable[[KernelDied | None], None]) -> None:
        """Its sockets are gone: is it?"""
        ended = await self.wait(REAP)
        if not self._restarting:
            tell(await self._died() if ended else None)

    async def _died(self) -> KernelDied:
        code = await self.poll()
        tail = self._stderr.text()
        how = _how_ended(code)
        if self._ending:
            return KernelDied(f"kernel {self.id} was shut down", exit_code=code, stderr=tail)
        last = f": {tail.splitlines()[-1]}" if tail else ""
        return KernelDied(
            f"kernel {self.id} ({self.name}) died {how}{last}", exit_code=code, stderr=tail
        )

    async def end(self, *, restart: bool = False) -> None:
        """Ask it to end; then tell it to; then make it."""
        provisioner = self._manager.provisioner
        if provisioner is not None and provisioner.has_process and await self.poll() is None:
            await self._say_farewell(restart)
            half = self._shutdown_time / 2
            if not await self._wait_and_interrupt(half):
                await provisioner.terminate(restart=restart)
                if not await self.wait(half):
                    await provisioner.kill(restart=restart)
                    await self.wait(5.0)
        if provisioner is not None and provisioner.has_process:
            await provisioner.wait()

    async def _wait_and_interrupt(self, seconds: float) -> bool:
        """Wait for it to end; code that had only just been asked for may have missed the signal."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            if await self.wait(min(left, AGAIN)):
                return True
            if not self._by_message() and sys.platform != "win32":
                await self._signal()
        return False

    async def _say_farewell(self, restart: bool) -> None:
        """Interrupt first: code that runs would not let it end."""
        messages: list[AnyMessage] = [shutdown_request(restart)]
        if self._by_message():
            messages.insert(0, interrupt_request())
        elif sys.platform != "win32":
            await self._signal()
        with suppress(EnchannelError):  # it is gone, or cut off: it will be told by signals
            for message in messages:
                self._link.send(self._session.fill_headers(message))

    async def kill(self) -> None:
        """End it at once, and leave nothing."""
        self._ending = True
        await self._started.wait()  # who gave up waiting for the start does not stop it
        if self._farewell is not None:
            self._farewell.cancel()
            await asyncio.wait([self._farewell])
        provisioner = self._manager.provisioner
        if provisioner is not None and provisioner.has_process:
            await provisioner.kill()
            await provisioner.wait()
        await self.clean()

    async def clean(self) -> None:
        """Remove what is left of it."""
        if self._cleaned:
            return
        self._cleaned = True
        await self._manager.cleanup_resources()
        if self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)
        self._stderr.close()

    async def _signal(self) -> None:
        provisioner = self._manager.provisioner
        if provisioner is not None and provisioner.has_process:
            await provisioner.send_signal(signal.SIGINT)

    # -- what the core asks, from any thread ------------------------------------------------------

    def interrupt(self) -> Observable[None] | None:
        if self._by_message():
            return None
        return self._loop.to_observable(self._signal())

    def restart(self) -> Observable[None]:
        return self._loop.to_observable(self._restart())

    def shutdown(self) -> Observable[None]:
        return self._loop.to_observable(self._shut_down())

    def release(self) -> None:
        self._ending = self._released = True
        popen = getattr(self._manager.provisioner, "process", None)
        if popen is not None:
            # who is left running is a zombie of ours when it ends, until somebody waits for it
            threading.Thread(target=popen.wait, name="enchannel-zmq reaper", daemon=True).start()

    def forget(self) -> None:
        """Nobody will ask for it any more."""
        self._ending = True
        self._stderr.close()

    async def _shut_down(self) -> None:
        if self._released:
            return
        if self._farewell is None:
            self._ending = True
            if self._restarting:
                self._link.abandon()  # it need not wait for the new one to answer
            self._farewell = asyncio.ensure_future(self._end_for_good())
        await asyncio.shield(self._farewell)

    async def _end_for_good(self) -> None:
        async with self._turn:
            await self.end()
            self._link.on_process_died(await self._died())
            await self.clean()

    async def _restart(self) -> None:
        async with self._turn:
            self._demand_life()
            await self._start_anew()

    def _demand_life(self) -> None:
        if self._ending:
            raise NotSupported(f"kernel {self.id} was shut down; launch another")

    async def _start_anew(self) -> None:
        self._restarting = True
        link = self._link
        link.events.on_next(KernelState.RESTARTING)
        try:
            await self.end(restart=True)
            why = KernelDied(f"kernel {self.id} was restarted", exit_code=await self.poll())
            await self._loop.run_in_thread(lambda: link.suspend(why), name=RESTART_THREAD)
            self._demand_life()
            self._stderr.close()
            self._stderr = Stderr(self.id)
            await self.start()
            self._demand_life()
            link.events.on_next(KernelState.STARTING)
            await self._loop.run_in_thread(
                lambda: _open(self, link.reopen, time.monotonic() + self._timeout),
                name=RESTART_THREAD,
            )
        except BaseException:
            link.events.on_next(KernelState.DEAD)
            raise
        finally:
            self._restarting = False
        link.events.on_next(KernelState.IDLE)

    def ended_while(self, opening: Callable[[], None]) -> LaunchFailed | None:
        """Open the link; why the process ended meanwhile, if it did."""
        opened = threading.Event()
        ended: list[LaunchFailed] = []

        async def look() -> None:
            while not opened.is_set():
                if await self.poll() is not None:
                    code, tail = await self.poll(), self._stderr.text()
                    ended.append(
                        LaunchFailed(
                            f"kernel {self.name!r} ended while starting {_how_ended(code)}"
                            + (f":\n{tail}" if tail else ""),
                            exit_code=code,
                            stderr=tail,
                        )
                    )
                    self._link.abandon()
                    return
                await asyncio.sleep(0.02)

        self._loop.spawn_logged(look(), log, WATCHING)
        try:
            opening()
        except EnchannelError as error:
            if ended:
                return ended[0]
            tail = self._stderr.text()
            return LaunchFailed(
                f"kernel {self.name!r} was started, but: {error}" + (f"\n{tail}" if tail else ""),
                stderr=tail,
            )
        finally:
            opened.set()
        return None

    def _by_message(self) -> bool:
        return bool(self._spec.interrupt_mode == "message")


class _Manager(AsyncKernelManager):
    """jupyter_client's, without a socket of its own: we have one."""

    def _connect_control_socket(self) -> None: ...
    def _close_control_socket(self) -> None: ...


def _kernelspec(name: str) -> Any:
    specs = KernelSpecManager()
    try:
        return specs.get_kernel_spec(name)
    except NoSuchKernel:
        known = ", ".join(sorted(specs.find_kernel_specs())) or "none"
        raise LaunchFailed(f"there is no kernelspec {name!r}; installed: {known}") from None


def _takes_ipc(spec: Any) -> bool:
    return sys.platform != "win32" and any("ipykernel" in word for word in spec.argv)


def _how_ended(code: int | None) -> str:
    if code is None:
        return "in a way that nobody knows"
    if code < 0:
        try:
            return f"by {signal.Signals(-code).name}"
        except ValueError:
            return f"by signal {-code}"
    return f"with exit code {code}"
