"""What becomes of a kernel, as far as its messages tell, and its server: restarts, deaths, dropped output.

Servers say little. A kernel that is deleted or culled just falls silent; one that somebody restarts speaks
in another session; one that dies is announced, seconds later, as ``restarting`` or ``dead``.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Protocol

from enchannel import AnyMessage, ChannelName, Session, kernel_info_request
from enchannel.abc import KernelState, LinkEvent, LinkState
from enchannel.errors import (
    ConnectionFailed,
    ConnectionLost,
    EnchannelError,
    KernelDied,
    MessagesMayBeMissing,
)
from enchannel_websocket._server import Server

__all__ = ["ANSWERS", "KernelWatch"]

NUDGE = 0.4  # seconds after which a kernel that should live again is nudged again
LOOK = 10.0  # seconds for one look
MOMENT = 3.0  # seconds for which a server may not know a kernel that it restarts on new ports
RENEWAL = 15.0  # seconds for another process to speak, before the old one is taken for it
SOON = (0.3, 0.7, 1.0, 2.0, 4.0)  # seconds between looks at a kernel that was told to end
REMEMBERED = 256  # nudges
PROCESSES = 100  # more than these, and the kernel has a session for each message
ANSWERS = (ChannelName.SHELL, ChannelName.CONTROL)
DROPPED = (  # how the server begins when it has dropped output
    ("IOPub message rate exceeded", "iopub_msg_rate_limit"),
    ("IOPub data rate exceeded", "iopub_data_rate_limit"),
)


class Watched(Protocol):
    """What the watch needs of a link."""

    gone: EnchannelError | None

    def tell(self, status: LinkEvent, /) -> None: ...
    def refuse(self, why: EnchannelError, /) -> None: ...
    def vanish(self, gone: KernelDied, /) -> None: ...
    def during(self, work: Callable[[], Awaitable[None]], /) -> None: ...
    async def nudge(self, messages: list[AnyMessage], /) -> None: ...


class KernelWatch:
    """Watches one kernel for a link.

    Args:
        link: Whose.
        server: That the kernel is on.
        kernel_id: Its id there.
        session: Ours, in which the server speaks as well.

    Attributes:
        is_restarting: By us, or in a way that was told already.
    """

    def __init__(self, link: Watched, server: Server, kernel_id: str, session: Session) -> None:
        self.is_restarting = False
        self._link = link
        self._server = server
        self._kernel_id = kernel_id
        self._session = session
        self._processes: set[str] = set()  # the sessions in which it spoke: each is a process
        self._old: frozenset[str] = frozenset()  # processes that may still speak, and do not count
        self._nudges: deque[str] = deque(maxlen=REMEMBERED)
        self._replaced = False  # while we were not there
        self._fresh: set[str] = set()  # nudges of a kernel that should live again
        self._lives = asyncio.Event()  # it said something about one of those

    # -- nudges -----------------------------------------------------------------------------------

    async def nudge(self) -> None:
        """Ask for anything at all."""
        messages = [
            self._session.fill_headers(kernel_info_request(channel=name)) for name in ANSWERS
        ]
        self._nudges.extend(message.header.msg_id for message in messages)
        self._fresh.add(messages[0].header.msg_id)  # on shell, which is read when all is up
        await self._link.nudge(messages)

    def is_ours(self, message: AnyMessage) -> bool:
        """Whether it only answers a nudge."""
        return message.parent_header.msg_id in self._nudges

    async def until_it_answers(self, is_wanted: Callable[[], bool] = lambda: True) -> None:
        """Nudge the kernel until it speaks of that on iopub, where its start was told before."""
        self._fresh.clear()
        self._lives.clear()
        while is_wanted() and not self._lives.is_set():
            await self.nudge()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._lives.wait(), NUDGE)

    # -- what it says -----------------------------------------------------------------------------

    def hear(self, message: AnyMessage) -> None:
        """A message of whichever channel."""
        kind = message.header.msg_type
        if message.channel in ANSWERS:
            self._is_spoken_by(message.header.session)
        elif message.channel is ChannelName.IOPUB:
            if kind == "status":
                self._status(message)
            elif kind == "stream":
                self._stream(message)
            elif kind == "shutdown_reply" and not self.is_restarting:
                self._ends(message)

    def _status(self, message: AnyMessage) -> None:
        """The kernel's own; or, as answer to nothing, the server's word about the kernel."""
        state, parent = message.content.get("execution_state"), message.parent_header.msg_id
        session = message.header.session
        if parent:
            self._is_spoken_by(session)
            if parent in self._fresh and session not in self._old:
                self._lives.set()
        elif state == "starting":
            if session in self._processes:  # control may be answered before it
                return
            gone = self._link.gone
            if gone is None and not self.is_restarting:
                self._processes.add(session)
                self._link.tell(self._dead("was restarted by somebody else"))
            else:
                self._is_spoken_by(session)
        elif state in ("restarting", "autorestarting") and not self.is_restarting:
            self._restarts("died, and its server restarts it")
        elif state == "dead":
            self.is_dead()

    def _is_spoken_by(self, session: str) -> None:
        """Another process than before may be the kernel now, whose start was not heard."""
        known = self._processes
        if session in known or len(known) >= PROCESSES:
            return
        is_another, gone = bool(known) and not self.is_restarting, self._link.gone
        known.add(session)
        if is_another and gone is None:
            self._link.tell(LinkState.CONNECTED)  # has the core ask again for what is open
        elif is_another and isinstance(gone, ConnectionLost):
            self._replaced = True

    def _stream(self, message: AnyMessage) -> None:
        """Does the server say, in the kernel's place and our session, that it dropped output?"""
        if message.header.session != self._session.id:
            return
        text = str(message.content.get("text")).lstrip()
        for begins, setting in DROPPED:
            if text.startswith(begins):
                self._link.tell(
                    MessagesMayBeMissing(
                        f"the server dropped output of kernel {self._kernel_id}: it came faster than the "
                        f"server's limit; raise that with --ServerApp.{setting}=…, or lift it with "
                        "--ZMQChannelsWebsocketConnection.limit_rate=False"
                    )
                )

    def _ends(self, message: AnyMessage) -> None:
        """Some kernels tell everybody when they are told to end."""
        if message.content.get("restart"):
            self._restarts("was restarted by somebody else", old=frozenset(self._processes))
        else:
            self._link.during(self._look_closely)

    # -- restarts and the end ---------------------------------------------------------------------

    def _restarts(self, why: str, *, old: frozenset[str] = frozenset()) -> None:
        """Not by us. Until the new process answers, nothing can be said."""
        self.is_restarting = True
        self._old = old
        died = self._dead(why)
        self._link.refuse(died)
        self._link.tell(died)
        self._link.tell(KernelState.RESTARTING)
        self._link.during(lambda: self._wait_for_life(died))

    async def _wait_for_life(self, died: KernelDied) -> None:
        with suppress(TimeoutError):
            # there may be kernels that keep their session
            answer = self.until_it_answers(lambda: self._link.gone is died)
            await asyncio.wait_for(answer, RENEWAL if self._old else None)
        if self._link.gone is died:
            self._link.gone = None
            self.lives_again()

    def lives_again(self) -> None:
        """Where it was restarting, it is up."""
        self._old = frozenset()
        if self.is_restarting:
            self.is_restarting = False
            self._link.tell(KernelState.IDLE)

    def is_open(self) -> None:
        """The connection is, for the first time: whoever spoke meanwhile is the kernel."""
        self._replaced = False

    def is_back(self) -> None:
        """The connection is, and the kernel has answered; is it the same?"""
        if self._replaced and not self.is_restarting:
            self._link.tell(self._dead("was restarted while the connection was away"))
        self._replaced = False
        self.lives_again()

    def is_dead(self) -> None:
        """And its server has given up restarting it; whether it forgets it as well, a look will tell."""
        died = self._dead("died, and its server restarts it no more")
        self._link.refuse(died)
        self._link.tell(died)
        self._link.tell(KernelState.DEAD)
        self._link.during(self._look_once)

    def _dead(self, how: str) -> KernelDied:
        return KernelDied(f"kernel {self._kernel_id} {how}")

    # -- looking ----------------------------------------------------------------------------------

    async def look(self, every: float) -> None:
        """Servers do not say that a kernel was deleted or culled: look now and then."""
        while True:
            await asyncio.sleep(every)
            await self._look_once()

    async def _look_closely(self) -> None:
        """It will have gone soon."""
        for pause in SOON:
            await asyncio.sleep(pause)
            await self._look_once()

    async def _look_once(self) -> None:
        # of the server, which the WebSocket will notice
        with suppress(ConnectionFailed, TimeoutError):
            async with asyncio.timeout(LOOK):
                try:
                    await self._server.kernel(self._kernel_id)
                except KernelDied as gone:
                    if self.is_restarting:
                        await asyncio.sleep(MOMENT)
                        with suppress(KernelDied):
                            await self._server.kernel(self._kernel_id)
                            return
                    self._link.vanish(gone)
