"""A link driven by hand: each test sends, answers and fails as it likes.

There is no kernel behind a ``ScriptedLink``, and no transport: it does not route by session, answer
requests or echo heartbeats. Time stands still until the test advances ``clock``.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Any, Generic, TypeVar

import reactivex
from reactivex import Observable, abc
from reactivex.subject import Subject
from reactivex.testing import TestScheduler

from enchannel import AnyMessage, ChannelName, Kernel, Session
from enchannel._kernel.kernel import parts_of
from enchannel.abc import (
    Backend,
    Capabilities,
    ChannelPair,
    Lifecycle,
    Link,
    LinkEvent,
    OpenContext,
)
from enchannel.errors import ChannelClosed
from tests.rigs import DEADLINE

__all__ = ["ScriptedBackend", "ScriptedLifecycle", "ScriptedLink", "settle"]

T = TypeVar("T")
MESSAGE_CHANNELS = tuple(name for name in ChannelName if name is not ChannelName.HEARTBEAT)


class ScriptedLink:
    """The kernel's side of one link, under the control of a test.

    Args:
        channels: The channels of the link; all of them by default.
        lifecycle: The link's lifecycle, if it has one.
        id: The kernel id.
        idle_is_last: As in the capabilities of the link.

    Attributes:
        link: The link that ``kernel()`` and ``ScriptedBackend`` open.
        received: The messages sent to the kernel, in order, by channel.
        heartbeats: The bytes sent on the heartbeat channel, in order.
        clock: The virtual clock of the kernels that ``kernel()`` makes.
        closed: The number of times that the link was closed.
        gone: Set once the link has been closed.
        send_error: If set, sending raises it.
        handler: Called with each received message, on the sending thread, after it was added to
            ``received``.
        heartbeat_handler: Called with each received heartbeat, on the sending thread.
    """

    def __init__(
        self,
        *channels: ChannelName,
        lifecycle: ScriptedLifecycle | None = None,
        id: str = "ada",
        idle_is_last: bool = True,
    ) -> None:
        names = channels or tuple(ChannelName)
        self.id = id
        self.received: dict[ChannelName, list[AnyMessage]] = {name: [] for name in MESSAGE_CHANNELS}
        self.heartbeats: list[bytes] = []
        self.clock = TestScheduler()
        self.closed = 0
        self.gone = threading.Event()
        self.send_error: Exception | None = None
        self.handler: Callable[[AnyMessage], None] = _ignore
        self.heartbeat_handler: Callable[[bytes], None] = _ignore
        self.lifecycle = lifecycle
        self._incoming: dict[ChannelName, Subject[Any]] = {name: Subject() for name in names}
        # One thread at a time emits on each channel: rule 6 of the contract.
        self._emitting = {name: threading.RLock() for name in names}
        self._events: Subject[LinkEvent] = Subject()
        self.link = Link(
            pairs={name: self._pair(name) for name in names},
            events=self._events,
            close=self._close,
            kernel_id=id,
            capabilities=Capabilities(channels=frozenset(names), idle_is_last=idle_is_last),
            lifecycle=self.lifecycle,
        )

    def kernel(
        self,
        *,
        session: Session | None = None,
        scheduler: abc.SchedulerBase | None = None,
        silent_after: float | None = None,
        max_in_flight: int | None = 500,
    ) -> Kernel:
        """Return a kernel that opens this link, for ``with`` or ``async with``."""
        return Kernel(
            lambda: self.link,
            session or Session(),
            scheduler=scheduler or self.clock,
            silent_after=silent_after,
            max_in_flight=max_in_flight,
        )

    def send(self, *messages: AnyMessage) -> None:
        """Send messages to the client, each on the channel that it names; from any thread."""
        for message in messages:
            with self._emitting[message.channel]:
                if not self.closed:
                    self._incoming[message.channel].on_next(message)

    def send_heartbeat(self, beat: bytes = b"ping") -> None:
        """Send bytes to the client on the heartbeat channel."""
        self._incoming[ChannelName.HEARTBEAT].on_next(beat)

    def emit_event(self, *events: LinkEvent) -> None:
        """Emit events of the link and the kernel, as a backend does."""
        for event in events:
            self._events.on_next(event)

    def fail(self, error: Exception) -> None:
        """Give up the link for good."""
        self._events.on_error(error)

    def complete_events(self) -> None:
        """Complete ``link.events`` although the link was not closed."""
        self._events.on_completed()

    def end_channel(self, name: ChannelName, error: Exception | None = None) -> None:
        """Complete the incoming side of one channel, or fail it."""
        if error is None:
            self._incoming[name].on_completed()
        else:
            self._incoming[name].on_error(error)

    @property
    def last_request(self) -> AnyMessage:
        """The message that was sent last on shell."""
        return self.received[ChannelName.SHELL][-1]

    def _pair(self, name: ChannelName) -> ChannelPair[Any]:
        receive = (
            self._on_heartbeat if name is ChannelName.HEARTBEAT else partial(self._on_message, name)
        )
        return ChannelPair(self._incoming[name], _Outgoing(receive))

    def _on_message(self, name: ChannelName, message: AnyMessage) -> None:
        self._raise_if_down()
        self.received[name].append(message)
        self.handler(message)

    def _on_heartbeat(self, beat: bytes) -> None:
        self._raise_if_down()
        self.heartbeats.append(beat)
        self.heartbeat_handler(beat)

    def _raise_if_down(self) -> None:
        if self.closed:
            raise ChannelClosed("this link is closed")
        if self.send_error is not None:
            raise self.send_error

    def _close(self) -> None:
        # Nothing is emitted after a close: rule 14 of the contract.
        with ExitStack() as silence:
            for emitting in self._emitting.values():
                silence.enter_context(emitting)
            self.closed += 1
        self.gone.set()
        self._events.on_completed()


class ScriptedLifecycle(Lifecycle):
    """A lifecycle without a process: it records the calls.

    Args:
        interrupts_itself: Whether it can interrupt; otherwise the kernel wants an ``interrupt_request``.

    Attributes:
        calls: The names of the methods that were called, in order.
        outcomes: The observable that each method returns; by default it completes immediately.
        on_call: Called with the name of each method, after it was added to ``calls``.
    """

    def __init__(self, *, interrupts_itself: bool = True) -> None:
        self.calls: list[str] = []
        self.outcomes: dict[str, Observable[None]] = {}
        self.on_call: Callable[[str], None] = _ignore
        self.interrupts_itself = interrupts_itself

    def interrupt(self) -> Observable[None] | None:
        return self._record_call("interrupt") if self.interrupts_itself else None

    def restart(self) -> Observable[None]:
        return self._record_call("restart")

    def shutdown(self) -> Observable[None]:
        return self._record_call("shutdown")

    def release(self) -> None:
        self.calls.append("release")

    def _record_call(self, name: str) -> Observable[None]:
        self.calls.append(name)
        self.on_call(name)
        return self.outcomes.get(name, reactivex.just(None))


class ScriptedBackend(Backend):
    """A backend that opens scripted links, by kernel id.

    Attributes:
        kernels: The links that it can open.
        opened: The target, session, timeout and colour of each call of ``open``.
    """

    contract = 1

    def __init__(self) -> None:
        self.kernels: dict[str, ScriptedLink] = {}
        self.opened: list[tuple[object, Session, float, str]] = []

    def open(self, target: Any, context: OpenContext, *, colour: str = "") -> Link:
        self.opened.append((target, context.session, context.timeout, colour))
        return self.kernels[str(target).rpartition("/")[2]].link


class _Outgoing(abc.ObserverBase[T], Generic[T]):
    def __init__(self, receive: Callable[[T], None]) -> None:
        self._receive = receive

    def on_next(self, value: T) -> None:
        self._receive(value)

    def on_error(self, error: Exception) -> None:
        raise AssertionError("the core must not end the outgoing side of a backend")

    def on_completed(self) -> None:
        raise AssertionError("the core must not end the outgoing side of a backend")


def settle(kernel: Kernel) -> None:
    """Wait until everything that has arrived was delivered to the subscribers."""
    delivered = threading.Event()
    parts_of(kernel).delivery.put(threading.Event.set, delivered)
    assert delivered.wait(DEADLINE), f"the kernel delivered nothing for {DEADLINE:g} s"


def _ignore(_: object) -> None: ...
