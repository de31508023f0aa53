"""Restarts and deaths of a kernel and dropped output, as far as messages and the server show them.

Servers report little. A kernel that is deleted or culled just stops sending; one that another client
restarts sends in another session; one that dies is announced, seconds later, as ``restarting`` or ``dead``.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, Protocol

from enchannel import AnyMessage, ChannelName, Session, kernel_info_request
from enchannel.abc import KernelState, LinkEvent, LinkState
from enchannel.errors import (
    ConnectionFailed,
    ConnectionLost,
    EnchannelError,
    KernelDied,
    MessagesMayBeMissing,
)
from enchannel_websocket._server import JupyterClient

__all__ = ["PROBED_CHANNELS", "KernelMonitor"]

# Between two probes of a kernel that is restarting.
PROBE_INTERVAL = 0.4
POLL_TIMEOUT = 10.0
# While a server restarts a kernel on new ports, it may not list the kernel for this long.
RESTART_GRACE = 3.0
# How long the new process has to answer before a kernel is taken to keep its session across restarts.
NEW_SESSION_TIMEOUT = 15.0
# Pauses between polls of a kernel that was requested to shut down.
SHUTDOWN_POLL_PAUSES = (0.3, 0.7, 1.0, 2.0, 4.0)
MAX_REMEMBERED_PROBES = 256
# A kernel with more sessions than this uses a new one for each message.
MAX_SESSIONS = 100
PROBED_CHANNELS = (ChannelName.SHELL, ChannelName.CONTROL)
# How the server begins its message after it dropped output, and the setting that is the limit.
RATE_LIMIT_MESSAGES = (
    ("IOPub message rate exceeded", "iopub_msg_rate_limit"),
    ("IOPub data rate exceeded", "iopub_data_rate_limit"),
)


class MonitoredLink(Protocol):
    """The part of ``enchannel.backends.ReconnectingLink`` that the monitor uses."""

    refusal: EnchannelError | None

    def emit(self, event: LinkEvent, /) -> None: ...
    def suspend(self, reason: EnchannelError, /) -> None: ...
    def resume(self) -> None: ...
    def end(self, error: EnchannelError, /) -> None: ...
    def run_while_connected(self, coroutine: Coroutine[Any, Any, None], /) -> None: ...
    async def send_now(self, messages: list[AnyMessage], /) -> None: ...


class KernelMonitor:
    """Monitors the kernel of a link. Runs on the event loop.

    Args:
        link: The link to which changes are reported.
        server: The server that has the kernel.
        kernel_id: The kernel's id on that server.
        session: The client's session, which the server uses for its own messages as well.

    Attributes:
        is_restarting: True while the kernel restarts in a way that has been reported.
    """

    def __init__(
        self, link: MonitoredLink, server: JupyterClient, kernel_id: str, session: Session
    ) -> None:
        self.is_restarting = False
        self._link = link
        self._server = server
        self._kernel_id = kernel_id
        self._session = session
        # Sessions in which the kernel has sent: each is a process of it.
        self._sessions: set[str] = set()
        # Those of a process that is being replaced; it may still send, and does not count.
        self._old_sessions: frozenset[str] = frozenset()
        self._probes: deque[str] = deque(maxlen=MAX_REMEMBERED_PROBES)
        self._restart_probes: set[str] = set()
        self._has_restarted = asyncio.Event()
        self._was_replaced_while_lost = False

    # -- probes -----------------------------------------------------------------------------------

    async def probe(self) -> None:
        """Send requests that make the kernel send something; their answers reach no subscriber."""
        requests = [
            self._session.fill_headers(kernel_info_request(channel=name))
            for name in PROBED_CHANNELS
        ]
        self._probes.extend(request.header.msg_id for request in requests)
        # Only shell shows that a kernel is up: control may be answered earlier.
        self._restart_probes.add(requests[0].header.msg_id)
        await self._link.send_now(requests)

    def is_probe_answer(self, message: AnyMessage) -> bool:
        """Return True if a message only answers a probe."""
        return message.parent_header.msg_id in self._probes

    async def wait_until_restarted(self, is_wanted: Callable[[], bool] = lambda: True) -> None:
        """Probe the kernel until it answers on iopub, after the messages of its start."""
        self._restart_probes.clear()
        self._has_restarted.clear()
        while is_wanted() and not self._has_restarted.is_set():
            await self.probe()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._has_restarted.wait(), PROBE_INTERVAL)

    # -- incoming messages ------------------------------------------------------------------------

    def on_message(self, message: AnyMessage) -> None:
        """Draw conclusions from a message of any channel."""
        kind = message.header.msg_type
        if message.channel in PROBED_CHANNELS:
            self._on_session(message.header.session)
        elif message.channel is ChannelName.IOPUB:
            if kind == "status":
                self._on_status(message)
            elif kind == "stream":
                self._on_stream(message)
            elif kind == "shutdown_reply" and not self.is_restarting:
                self._on_shutdown_reply(message)

    def _on_status(self, message: AnyMessage) -> None:
        """Handle a status: the kernel's, or, if it has no parent, possibly one sent by the server."""
        state, parent = message.content.get("execution_state"), message.parent_header.msg_id
        session = message.header.session
        if parent:
            self._on_session(session)
            if parent in self._restart_probes and session not in self._old_sessions:
                self._has_restarted.set()
        elif state == "starting":
            # A probe on control may have been answered before.
            if session in self._sessions:
                return
            if self._link.refusal is None and not self.is_restarting:
                self._sessions.add(session)
                self._report_replaced("was restarted by another client")
            else:
                self._on_session(session)
        elif state in ("restarting", "autorestarting") and not self.is_restarting:
            self._on_restart("died and is being restarted by its server")
        elif state == "dead":
            self.on_dead()

    def _on_session(self, session: str) -> None:
        """Note a session; a new one may be that of another process, whose start was not received."""
        if session in self._sessions or len(self._sessions) >= MAX_SESSIONS:
            return
        is_another = bool(self._sessions) and not self.is_restarting
        self._sessions.add(session)
        if is_another and self._link.refusal is None:
            # Makes the core send its open requests again, which shows whether they are lost.
            self._link.emit(LinkState.CONNECTED)
        elif is_another and isinstance(self._link.refusal, ConnectionLost):
            self._was_replaced_while_lost = True

    def _on_stream(self, message: AnyMessage) -> None:
        """Report dropped output, which the server announces as a stream in the client's session."""
        if message.header.session != self._session.id:
            return
        text = str(message.content.get("text")).lstrip()
        for beginning, setting in RATE_LIMIT_MESSAGES:
            if text.startswith(beginning):
                self._link.emit(
                    MessagesMayBeMissing(
                        f"the server dropped output of kernel {self._kernel_id}, which exceeded its rate "
                        f"limit; raise the limit with --ServerApp.{setting}=…, or remove it with "
                        "--ZMQChannelsWebsocketConnection.limit_rate=False"
                    )
                )

    def _on_shutdown_reply(self, message: AnyMessage) -> None:
        """Handle a shutdown reply on iopub, which some kernels send to all clients."""
        if message.content.get("restart"):
            self._on_restart(
                "was restarted by another client", old_sessions=frozenset(self._sessions)
            )
        else:
            self._link.run_while_connected(self._poll_after_shutdown())

    # -- restarts and the end ---------------------------------------------------------------------

    def _on_restart(self, how: str, *, old_sessions: frozenset[str] = frozenset()) -> None:
        """Report a restart that this client did not request; refuse messages until the kernel answers."""
        self.is_restarting = True
        self._old_sessions = old_sessions
        died = self._died(how)
        # The state comes first: other threads fail once the link is suspended.
        self._link.emit(KernelState.RESTARTING)
        self._link.suspend(died)
        self._link.emit(died)
        self._link.run_while_connected(self._resume_after_restart(died))

    async def _resume_after_restart(self, died: KernelDied) -> None:
        with suppress(TimeoutError):
            answer = self.wait_until_restarted(lambda: self._link.refusal is died)
            # A kernel may keep its session, so a new one may never be received.
            await asyncio.wait_for(answer, NEW_SESSION_TIMEOUT if self._old_sessions else None)
        if self._link.refusal is died:
            self._link.resume()
            self._on_restarted()

    def _on_restarted(self) -> None:
        self._old_sessions = frozenset()
        if self.is_restarting:
            self.is_restarting = False
            self._link.emit(KernelState.IDLE)

    def on_connected(self) -> None:
        """Handle the first connection: the process that has answered is the kernel."""
        self._was_replaced_while_lost = False

    def on_reconnected(self) -> None:
        """Handle a restored connection, on which the kernel has answered."""
        if self._was_replaced_while_lost and not self.is_restarting:
            self._report_replaced("was restarted while the connection was lost")
        self._was_replaced_while_lost = False
        self._on_restarted()

    def on_dead(self) -> None:
        """Report a kernel that its server has stopped restarting, and find out whether it still exists."""
        died = self._died("died, and its server no longer restarts it")
        self._link.emit(KernelState.DEAD)
        self._link.suspend(died)
        self._link.emit(died)
        self._link.run_while_connected(self._poll_once())

    def _report_replaced(self, how: str) -> None:
        """Report a restart after which the new process has answered already."""
        self._link.emit(KernelState.RESTARTING)
        self._link.emit(self._died(how))
        self._link.emit(KernelState.IDLE)

    def _died(self, how: str) -> KernelDied:
        return KernelDied(f"kernel {self._kernel_id} {how}")

    # -- polling ----------------------------------------------------------------------------------

    async def poll(self, interval: float) -> None:
        """Poll the server for the kernel: it does not report that a kernel was deleted or culled.

        Args:
            interval: Seconds.
        """
        while True:
            await asyncio.sleep(interval)
            await self._poll_once()

    async def _poll_after_shutdown(self) -> None:
        for pause in SHUTDOWN_POLL_PAUSES:
            await asyncio.sleep(pause)
            await self._poll_once()

    async def _poll_once(self) -> None:
        # A server that cannot be reached is noticed by the WebSocket.
        with suppress(ConnectionFailed, TimeoutError):
            async with asyncio.timeout(POLL_TIMEOUT):
                try:
                    await self._server.kernel(self._kernel_id)
                except KernelDied as gone:
                    if self.is_restarting:
                        await asyncio.sleep(RESTART_GRACE)
                        with suppress(KernelDied):
                            await self._server.kernel(self._kernel_id)
                            return
                    self._link.end(gone)
