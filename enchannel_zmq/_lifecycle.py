"""Control of a launched kernel's process: interrupt, restart, shut down, and notice its death."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from enum import Enum, auto
from functools import partial

from reactivex import Observable

from enchannel import AnyMessage, Session
from enchannel.abc import KernelState, Lifecycle
from enchannel.backends import EventLoopThread, Lease
from enchannel.errors import EnchannelError, KernelDied, LaunchFailed, NotSupported
from enchannel_zmq._kernel_process import KernelProcess
from enchannel_zmq._link import ZmqLink
from enchannel_zmq._process_shutdown import ProcessShutdown

__all__ = ["ProcessLifecycle", "ProcessPhase"]

log = logging.getLogger("enchannel.zmq")

POLL_INTERVAL = 0.25
START_POLL_INTERVAL = 0.02
# Seconds in which a process that has lost its sockets is expected to end.
EXIT_TIMEOUT = 2.0
RESTART_THREAD = "enchannel-zmq restart"
# Activity in log messages.
WATCHING = "watching a kernel"


class ProcessPhase(Enum):
    """Phase of a launched process."""

    RUNNING = auto()
    """Running, or dead and restartable."""
    RESTARTING = auto()
    """``restart`` is in progress."""
    ENDING_IN_RESTART = auto()
    """A shutdown was requested during a restart."""
    ENDING = auto()
    """A shutdown was requested."""
    RELEASED = auto()
    """Released: the kernel continues without this process."""
    ENDED = auto()
    """The process has exited, and its files are removed."""


OWNED_PHASES = (ProcessPhase.RUNNING, ProcessPhase.RESTARTING)
RESTART_PHASES = (ProcessPhase.RESTARTING, ProcessPhase.ENDING_IN_RESTART)
ENDING_PHASES = (ProcessPhase.ENDING, ProcessPhase.ENDING_IN_RESTART)


class ProcessLifecycle(Lifecycle):
    """The lifecycle of one launched kernel; ``bind`` connects it with the kernel's link.

    Args:
        process: The process.
        session: Fills the headers of requests.
        lease: The launcher's event loop, on whose thread the process is started; ``release_loop`` ends it.
        start_timeout: Seconds until a restarted kernel must answer.
        shutdown_timeout: See ``ProcessShutdown``.
    """

    def __init__(
        self,
        process: KernelProcess,
        session: Session,
        lease: Lease[EventLoopThread],
        *,
        start_timeout: float,
        shutdown_timeout: float,
    ) -> None:
        self._process = process
        self._session = session
        self._lease = lease
        self._loop = lease.resource
        self._start_timeout = start_timeout
        self._shutdown = ProcessShutdown(process, self._send, shutdown_timeout)
        self._phase = ProcessPhase.RUNNING
        self._ending: asyncio.Future[None] | None = None
        # Held while the process is started or ended.
        self._process_lock = asyncio.Lock()

    def bind(self, link: ZmqLink) -> None:
        """Control the process behind this link; call it once, before all other methods but ``kill``."""
        self._link = link

    # -- for any thread ---------------------------------------------------------------------------

    def interrupt(self) -> Observable[None] | None:
        if self._process.uses_interrupt_messages:
            return None
        return self._loop.to_observable(self._process.interrupt())

    def restart(self) -> Observable[None]:
        return self._loop.to_observable(self._restart())

    def shutdown(self) -> Observable[None]:
        return self._loop.to_observable(self._shut_down())

    def release(self) -> None:
        if self._phase is not ProcessPhase.ENDED:
            self._phase = ProcessPhase.RELEASED
        self._process.release(partial(self._lease.release, wait=False))

    def watch(self) -> None:
        """Start to watch the process, and to log its output."""
        self._loop.spawn_logged(self._watch(), log, WATCHING)

    def stop_watching(self) -> None:
        """Stop watching the process; no other method may be called after this."""
        if self._phase in OWNED_PHASES:
            self._phase = ProcessPhase.ENDING
        self._process.close_output()

    def release_loop(self) -> None:
        """Release the event loop; it goes on for as long as a released process needs its thread."""
        if self._phase is not ProcessPhase.RELEASED:
            self._lease.release()

    def find_death(self, report: Callable[[KernelDied | None], None]) -> None:
        """Find out whether the process ended: report the reason, or None if it runs.

        Nothing is reported while the kernel is being restarted.
        """
        self._loop.spawn_logged(self._find_death(report), log, WATCHING)

    def kill_unless_ended(self) -> None:
        """Kill the process if its end was requested and it has not ended; wait for that."""
        if self._phase in ENDING_PHASES:
            self._loop.run(self.kill(), shielded=True)

    def open_link(self, opening: Callable[[float], None], timeout: float) -> None:
        """Open the link, and stop waiting for it if the process ends.

        Args:
            opening: Opens the link, within the seconds that it is given.
            timeout: Seconds.

        Raises:
            LaunchFailed: The process ended, or its kernel did not answer.
        """
        opened = threading.Event()
        failures: list[LaunchFailed] = []

        async def watch() -> None:
            while not opened.is_set():
                if await self._process.poll() is not None:
                    failures.append(await self._process.describe_failed_start())
                    self._link.abandon()
                    return
                await asyncio.sleep(START_POLL_INTERVAL)

        self._loop.spawn_logged(watch(), log, WATCHING)
        try:
            opening(timeout)
        except EnchannelError as error:
            if failures:
                raise failures[0] from None
            tail = self._process.output_tail()
            raise LaunchFailed(
                f"starting kernel {self._process.name!r} failed: {error}"
                + (f"\n{tail}" if tail else ""),
                stderr=tail,
            ) from error
        finally:
            opened.set()

    # -- on the event loop ------------------------------------------------------------------------

    async def kill(self) -> None:
        """Kill the process at once, and remove its files."""
        self._begin_ending()
        # A start continues after its caller has stopped waiting for it.
        await self._process.wait_for_start()
        if self._ending is not None:
            self._ending.cancel()
            await asyncio.wait([self._ending])
        if self._process.has_process:
            await self._process.kill()
            await self._process.reap()
        await self._clean_up()

    async def _watch(self) -> None:
        # Polled, because the sockets of a dead kernel stay open if a child process has inherited them.
        while self._phase in OWNED_PHASES:
            self._process.read_output()
            if self._phase is ProcessPhase.RUNNING and await self._process.poll() is not None:
                self._link.on_process_died(await self._describe_death())
            await asyncio.sleep(POLL_INTERVAL)

    async def _find_death(self, report: Callable[[KernelDied | None], None]) -> None:
        has_ended = await self._process.wait(EXIT_TIMEOUT)
        if self._phase not in RESTART_PHASES:
            report(await self._describe_death() if has_ended else None)

    async def _describe_death(self) -> KernelDied:
        return await self._process.describe_death(is_expected=self._phase not in OWNED_PHASES)

    def _send(self, message: AnyMessage) -> None:
        self._link.send(self._session.fill_headers(message))

    def _begin_ending(self) -> None:
        if self._phase is ProcessPhase.RESTARTING:
            self._phase = ProcessPhase.ENDING_IN_RESTART
        elif self._phase is ProcessPhase.RUNNING:
            self._phase = ProcessPhase.ENDING

    async def _shut_down(self) -> None:
        if self._phase is ProcessPhase.RELEASED:
            return
        if self._ending is None:
            self._begin_ending()
            if self._phase is ProcessPhase.ENDING_IN_RESTART:
                self._link.abandon()  # so that the restart stops waiting for the new process
            self._ending = asyncio.ensure_future(self._end())
        await asyncio.shield(self._ending)

    async def _end(self) -> None:
        async with self._process_lock:
            await self._shutdown.run()
            self._link.on_process_died(await self._describe_death())
            await self._clean_up()

    async def _clean_up(self) -> None:
        if self._phase is not ProcessPhase.ENDED:
            self._phase = ProcessPhase.ENDED
            await self._process.clean_up()

    async def _restart(self) -> None:
        async with self._process_lock:
            self._raise_if_ending()
            self._phase = ProcessPhase.RESTARTING
            self._link.events.on_next(KernelState.RESTARTING)
            try:
                await self._replace_process()
            except BaseException:
                self._link.events.on_next(KernelState.DEAD)
                raise
            finally:
                if self._phase is ProcessPhase.RESTARTING:
                    self._phase = ProcessPhase.RUNNING
                elif self._phase is ProcessPhase.ENDING_IN_RESTART:
                    self._phase = ProcessPhase.ENDING
            self._link.events.on_next(KernelState.IDLE)

    async def _replace_process(self) -> None:
        process, link = self._process, self._link
        await self._shutdown.run(restart=True)
        why = KernelDied(f"kernel {process.id} was restarted", exit_code=await process.poll())
        await self._loop.run_in_thread(lambda: link.suspend(why), name=RESTART_THREAD)
        self._raise_if_ending()
        process.renew_output()
        await process.start()
        self._raise_if_ending()
        link.events.on_next(KernelState.STARTING)
        await self._loop.run_in_thread(
            lambda: self.open_link(link.reopen, self._start_timeout), name=RESTART_THREAD
        )

    def _raise_if_ending(self) -> None:
        if self._phase not in OWNED_PHASES:
            raise NotSupported(
                f"restarting kernel {self._process.id} failed: it was shut down; launch another"
            )
