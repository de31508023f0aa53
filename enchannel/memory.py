"""Both ends of a kernel's channels in one process. Nothing travels, so nothing takes time.

``InMemoryKernel`` is the kernel's end. What it says is heard before ``say`` returns, and what is said to it
is given to who listens before ``on_next`` returns, all on one thread: with a virtual scheduler, time stands
still until somebody moves it.
"""

from __future__ import annotations

import threading
import uuid
import weakref
from collections import deque
from collections.abc import Callable
from copy import copy
from functools import partial
from typing import Any, Self, TypeAlias

import reactivex
from reactivex import Observable

from enchannel._protocol.channel_name import ChannelName
from enchannel._protocol.message import AnyMessage
from enchannel._protocol.session import Session
from enchannel.abc import (
    Backend,
    Capabilities,
    ChannelPair,
    KernelState,
    Lifecycle,
    Link,
    LinkEvent,
    LinkState,
)
from enchannel.backends._subjects import CallbackObserver, IncomingSubject
from enchannel.errors import (
    ChannelClosed,
    ConnectionFailed,
    ConnectionLost,
    EnchannelError,
    InvalidMessage,
    KernelDied,
    MessagesMayBeMissing,
)
from enchannel.wire.signing import Signer
from enchannel.wire.zmq import encode

__all__ = ["InMemoryKernel", "MemoryBackend", "backend"]

_Call: TypeAlias = Callable[[], None]

_SCHEME = "memory:"
_MESSAGES = frozenset(ChannelName) - {ChannelName.HEARTBEAT}
_UNSIGNED = Signer(b"")
_kernels: weakref.WeakValueDictionary[str, InMemoryKernel] = weakref.WeakValueDictionary()


class InMemoryKernel:
    """The kernel's end of links in memory; what is done here may be done from any thread.

    It listens until it is closed; ``with`` closes it.

    Args:
        capabilities: What its links can do: the channels they have, and their limits.
        id: What the kernel is called; something random by default.

    Attributes:
        target: What ``connect`` takes to reach it: ``"memory:"`` and the id.
        lifecycle_calls: What was wanted of the lifecycle, in order.
    """

    def __init__(self, *, capabilities: Capabilities | None = None, id: str | None = None) -> None:
        self.id: str = id or uuid.uuid4().hex
        self.target: str = f"{_SCHEME}{self.id}"
        self.lifecycle_calls: list[str] = []
        self.capabilities: Capabilities = capabilities or Capabilities()
        self._hear: Callable[[AnyMessage], None] = lambda message: None
        self._hearing = _Turns()
        self._gone: EnchannelError | None = None
        self._changing = threading.Lock()
        self._links: tuple[_Link, ...] = ()
        if self.id in _kernels:
            raise ValueError(f"there is a far end {self.id!r} in this process already")
        _kernels[self.id] = self

    def on_message(self, callback: Callable[[AnyMessage], None]) -> None:
        """Give what is said to the kernel to a function, from now on: one message after the other."""
        self._hear = callback

    def send(self, message: AnyMessage) -> None:
        """Say something as the kernel: on iopub to all, elsewhere to the client that it answers.

        Without a parent it is for all clients, wherever it is said.
        """
        session = message.parent_header.session
        for link in self._links:
            if message.channel is ChannelName.IOPUB or session in ("", link.session.id):
                link.hear(message.channel, message)

    def emit_event(self, *statuses: LinkEvent) -> None:
        """Tell all links of something."""
        for status in statuses:
            for link in self._links:
                link.tell(status)

    def disconnect(self) -> None:
        """Break the links; the kernel lives on, and what is said meanwhile is lost.

        Where the links say that they resume, what was asked may be answered after ``restore``.
        """
        self._lose(ConnectionLost(f"the link to kernel {self.id} was cut"))

    def die(self) -> None:
        """End as a process does that is killed."""
        self.emit_event(KernelState.DEAD)
        self._lose(KernelDied(f"kernel {self.id} died"))

    def reconnect(self) -> None:
        """The links are back, to the same kernel or a new one."""
        self._gone = None
        self.emit_event(LinkState.CONNECTED, KernelState.IDLE)
        if self.capabilities.can_resume:
            self.emit_event(
                MessagesMayBeMissing(f"the link to kernel {self.id} was cut, and is back")
            )

    def disconnect_permanently(self) -> None:
        """Break the links for good."""
        self._gone = ConnectionLost(f"the link to kernel {self.id} was given up")
        for link in self._links:
            link.give_up(self._gone)

    def pause_reading(self) -> None:
        """Read nothing, as a process does that was stopped."""
        self._hearing.paused = True

    def resume_reading(self) -> None:
        """Read again."""
        self._hearing.paused = False
        self._hearing.go_on()

    def close(self) -> None:
        """Listen no more; links that are open are given up."""
        if _kernels.get(self.id) is self:
            del _kernels[self.id]
        self.disconnect_permanently()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- for the links ----------------------------------------------------------------------------

    def _open(self, session: Session) -> _Link:
        if self._gone is not None:
            raise ConnectionFailed(f"kernel {self.id} does not answer: {self._gone}")
        link = _Link(self, session)
        with self._changing:
            self._links = (*self._links, link)
        return link

    def _leave(self, link: _Link) -> None:
        with self._changing:
            self._links = tuple(other for other in self._links if other is not link)

    def _take(self, name: ChannelName, call: _Call) -> None:
        if self._gone is not None:
            raise copy(self._gone)
        self._hearing.put(call, name)

    def _unsent(self, name: ChannelName) -> int:
        return sum(waiting is name for waiting, _ in list(self._hearing.waiting))

    def _lose(self, why: EnchannelError) -> None:
        self._gone = why
        self._hearing.waiting.clear()
        self.emit_event(LinkState.LOST)
        if isinstance(why, KernelDied) or not self.capabilities.can_resume:
            self.emit_event(why)


class MemoryBackend(Backend):
    """Opens links to the far ends of this process; ``memory`` among the entry points."""

    def open(self, target: Any, *, session: Session, timeout: float) -> Link:
        """Connect, at once.

        Raises:
            ConnectionFailed: there is no such far end, or it does not answer.
        """
        remote = self._find(target)
        return remote._open(session).link

    def _find(self, target: Any) -> InMemoryKernel:
        """What a target names.

        Raises:
            ConnectionFailed: nothing.
        """
        if isinstance(target, InMemoryKernel):
            return target
        remote = _kernels.get(str(target).removeprefix(_SCHEME))
        if remote is None:
            raise ConnectionFailed(f"no far end in this process is called {target!r}")
        return remote


backend: MemoryBackend = MemoryBackend()


class _Link:
    """One client's link.

    What it is told goes through one queue, so that nothing is told while something else is.
    """

    def __init__(self, remote: InMemoryKernel, session: Session) -> None:
        self.session = session
        self._remote = remote
        self._events: IncomingSubject[LinkEvent] = IncomingSubject()
        self._changing = threading.Lock()
        self._telling = _Turns()
        self._closed = self._given_up = False
        self._incoming: dict[ChannelName, IncomingSubject[Any]] = {
            name: IncomingSubject() for name in remote.capabilities.channels
        }
        can = remote.capabilities
        self.link: Link = Link(
            pairs={name: self._pair(name) for name in can.channels},
            events=self._events,
            close=self.close,
            kernel_id=remote.id,
            capabilities=can,
            lifecycle=_MemoryLifecycle(remote) if can.lifecycle else None,
        )

    def hear(self, name: ChannelName, item: Any) -> None:
        if name in self._incoming and self._remote._gone is None:
            self._put(partial(self._incoming[name].on_next, item))

    def tell(self, status: LinkEvent) -> None:
        if not self._given_up:
            self._put(partial(self._events.on_next, status))

    def give_up(self, error: EnchannelError) -> None:
        if not self._given_up:
            self._given_up = True
            self._put(partial(self._events.on_error, error))

    def close(self) -> None:
        self._remote._leave(self)
        with self._changing:
            if not self._closed:
                self._closed = True
                self._telling.waiting.clear()
                if not self._given_up:
                    self._telling.waiting.append((None, self._events.on_completed))
        self._telling.finish()

    def _put(self, event: _Call) -> None:
        with self._changing:
            if self._closed:
                return
            self._telling.waiting.append((None, event))
        self._telling.go_on()

    def _pair(self, name: ChannelName) -> ChannelPair[Any]:
        say = self._beat if name is ChannelName.HEARTBEAT else partial(self._say, name)
        return ChannelPair(
            self._incoming[name], CallbackObserver(say), partial(self._remote._unsent, name)
        )

    def _beat(self, beat: bytes) -> None:
        self._take(ChannelName.HEARTBEAT, partial(self.hear, ChannelName.HEARTBEAT, beat))

    def _say(self, name: ChannelName, message: AnyMessage) -> None:
        self._demand_fit(message)
        if message.channel is not name:
            message = message.replace(channel=name)
        remote = self._remote
        self._take(name, lambda: remote._hear(message))

    def _take(self, name: ChannelName, call: _Call) -> None:
        if self._closed:
            raise ChannelClosed(f"the link to kernel {self._remote.id} is closed")
        self._remote._take(name, call)

    def _demand_fit(self, message: AnyMessage) -> None:
        can = self._remote.capabilities
        if message.buffers and not can.buffers:
            raise InvalidMessage(
                f"{message.header.msg_type} has buffers, which this link cannot send"
            )
        if can.max_sent is None:
            return
        size = sum(len(frame) for frame in encode(message, _UNSIGNED))
        if size > can.max_sent:
            raise InvalidMessage(
                f"{message.header.msg_type} has {size:,} bytes, and the limit is {can.max_sent:,}"
            )


class _MemoryLifecycle(Lifecycle):
    """Rules a far end: there is no process, so all is done at once."""

    def __init__(self, remote: InMemoryKernel) -> None:
        self._remote = remote

    def interrupt(self) -> Observable[None]:
        return self._called("interrupt")

    def restart(self) -> Observable[None]:
        remote = self._remote
        remote.emit_event(KernelState.RESTARTING, KernelDied(f"kernel {remote.id} was restarted"))
        remote.emit_event(KernelState.IDLE)
        return self._called("restart")

    def shutdown(self) -> Observable[None]:
        self._remote.emit_event(KernelState.DEAD)
        return self._called("shutdown")

    def release(self) -> None:
        self._remote.lifecycle_calls.append("release")

    def _called(self, name: str) -> Observable[None]:
        self._remote.lifecycle_calls.append(name)
        return reactivex.just(None)


class _Turns:
    """Calls, made one after the other by whichever thread brings one while none is being made, and never
    one inside another.

    Attributes:
        waiting: The calls.
        paused: Whether none is made for now.
    """

    def __init__(self) -> None:
        self.waiting: deque[tuple[ChannelName | None, _Call]] = deque()
        self.paused = False
        self._turn = threading.Lock()
        self._whose: int | None = None

    def put(self, call: _Call, name: ChannelName | None = None) -> None:
        """Make a call, after those that wait; or leave it to the thread that is making one."""
        self.waiting.append((name, call))
        self.go_on()

    def go_on(self) -> None:
        """Make the calls that wait, unless somebody is at it."""
        while self.waiting and not self.paused and self._turn.acquire(blocking=False):
            self._whose = threading.get_ident()
            try:
                self._make_calls()
            finally:
                self._whose = None
                self._turn.release()

    def finish(self) -> None:
        """The same; and wait for the call that another thread is making."""
        if self._whose != threading.get_ident():
            with self._turn:
                pass
            self.go_on()

    def _make_calls(self) -> None:
        while self.waiting and not self.paused:
            try:
                _, call = self.waiting.popleft()
            except IndexError:  # somebody has cleared it just now
                return
            call()
