"""A kernel in hand: what was sent to it is in a list, and what it says is a method call.

Time stands still until a test moves ``clock``, so nothing here waits for it to pass.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable, Coroutine, Iterable
from contextlib import ExitStack
from functools import partial
from typing import Any, Generic, TypeVar

import reactivex
from reactivex import Observable, abc
from reactivex.subject import Subject
from reactivex.testing import TestScheduler

import enchannel as ec
from enchannel import AnyMessage, ChannelName, Kernel, Session
from enchannel import messages as build
from enchannel.abc import Backend, Capabilities, ChannelPair, Lifecycle, Link, LinkEvent
from enchannel.errors import ChannelClosed
from enchannel.testing import Collector
from tests.rigs import DEADLINE

__all__ = [
    "MemoryBackend",
    "MemoryKernel",
    "MemoryLifecycle",
    "Collector",
    "Thread",
    "answered",
    "busy",
    "idle",
    "in_thread",
    "run_on_loop",
    "printed",
    "reply_to",
    "settle",
    "text_of",
    "texts",
    "types",
    "wait_until_blocked_in",
]

T = TypeVar("T")
MESSAGES = tuple(name for name in ChannelName if name is not ChannelName.HEARTBEAT)


class MemoryKernel:
    """The far end of a link: what a test says and sees in a kernel's place.

    Attributes:
        received: What was said to the kernel, on each channel, in order.
        heartbeats: What was sent on the heartbeat.
        clock: The virtual time of who connects to it.
        closed: How often its link was closed.
        gone: Set when it is.
        send_error: What is raised, instead of taking what is sent.
        handler: Called with each message, on the thread that sends it, once it is in ``received``.
        heartbeat_handler: The same for the heartbeat.
        lifecycle: What became of its process.
    """

    def __init__(
        self, *channels: ChannelName, lifecycle: MemoryLifecycle | None = None, id: str = "ada"
    ) -> None:
        names = channels or tuple(ChannelName)
        self.id = id
        self.received: dict[ChannelName, list[AnyMessage]] = {name: [] for name in MESSAGES}
        self.heartbeats: list[bytes] = []
        self.clock = TestScheduler()
        self.closed = 0
        self.gone = threading.Event()
        self.send_error: Exception | None = None
        self.handler: Callable[[AnyMessage], None] = _ignore
        self.heartbeat_handler: Callable[[bytes], None] = _ignore
        self.lifecycle = lifecycle
        self._incoming: dict[ChannelName, Subject[Any]] = {name: Subject() for name in names}
        self._speaking = {name: threading.RLock() for name in names}  # rule 5 of the contract
        self._status: Subject[LinkEvent] = Subject()
        self.link = Link(
            pairs={name: self._pair(name) for name in names},
            events=self._status,
            close=self._close,
            kernel_id=id,
            capabilities=Capabilities(
                channels=frozenset(names), lifecycle=self.lifecycle is not None
            ),
            lifecycle=self.lifecycle,
        )

    def kernel(
        self,
        *,
        session: Session | None = None,
        scheduler: abc.SchedulerBase | None = None,
        silent_after: float = 5.0,
    ) -> Kernel:
        """A kernel that opens this link, for ``with`` or ``async with``."""
        return Kernel(
            lambda: self.link,
            session or Session(),
            scheduler=scheduler or self.clock,
            silent_after=silent_after,
        )

    def send(self, *messages: AnyMessage) -> None:
        """Say something as the kernel, on the channels that the messages name; from any thread."""
        for message in messages:
            with self._speaking[message.channel]:
                if not self.closed:
                    self._incoming[message.channel].on_next(message)

    def send_heartbeat(self, beat: bytes = b"ping") -> None:
        """Answer on the heartbeat."""
        self._incoming[ChannelName.HEARTBEAT].on_next(beat)

    def emit_event(self, *statuses: LinkEvent) -> None:
        """Tell of link and kernel, as a backend does."""
        for status in statuses:
            self._status.on_next(status)

    def fail(self, error: Exception) -> None:
        """The link will not come back."""
        self._status.on_error(error)

    def end_channel(self, name: ChannelName, error: Exception | None = None) -> None:
        """End what is heard on one channel."""
        if error is None:
            self._incoming[name].on_completed()
        else:
            self._incoming[name].on_error(error)

    @property
    def last_request(self) -> AnyMessage:
        """What was sent last on shell."""
        return self.received[ChannelName.SHELL][-1]

    def _pair(self, name: ChannelName) -> ChannelPair[Any]:
        if name is ChannelName.HEARTBEAT:
            return ChannelPair(self._incoming[name], _Outgoing(self._beaten))
        return ChannelPair(self._incoming[name], _Outgoing(partial(self._sent, name)))

    def _sent(self, name: ChannelName, message: AnyMessage) -> None:
        self._refuse()
        self.received[name].append(message)
        self.handler(message)

    def _beaten(self, beat: bytes) -> None:
        self._refuse()
        self.heartbeats.append(beat)
        self.heartbeat_handler(beat)

    def _refuse(self) -> None:
        if self.closed:
            raise ChannelClosed("this link is closed")
        if self.send_error is not None:
            raise self.send_error

    def _close(self) -> None:
        with ExitStack() as silence:  # after it nothing is emitted: rule 12
            for speaking in self._speaking.values():
                silence.enter_context(speaking)
            self.closed += 1
        self.gone.set()
        self._status.on_completed()


class MemoryLifecycle(Lifecycle):
    """Rules no process: it records what is wanted of it.

    Attributes:
        calls: What was called, in order.
        outcomes: How each ends; at once and well, where nothing else is said.
        on_call: Called with the name of each, once it is in ``calls``.
        interrupts_itself: Whether it can interrupt; else the kernel wants a message.
    """

    def __init__(self, *, interrupts_itself: bool = True) -> None:
        self.calls: list[str] = []
        self.outcomes: dict[str, Observable[None]] = {}
        self.on_call: Callable[[str], None] = _ignore
        self.interrupts_itself = interrupts_itself

    def interrupt(self) -> Observable[None] | None:
        return self._outcome("interrupt") if self.interrupts_itself else None

    def restart(self) -> Observable[None]:
        return self._outcome("restart")

    def shutdown(self) -> Observable[None]:
        return self._outcome("shutdown")

    def release(self) -> None:
        self.calls.append("release")

    def _outcome(self, name: str) -> Observable[None]:
        self.calls.append(name)
        self.on_call(name)
        return self.outcomes.get(name, reactivex.just(None))


class MemoryBackend(Backend):
    """Opens links to kernels in hand, by their id.

    Attributes:
        kernels: Those that can be reached.
        opened: What it was asked for: target, session, timeout and colour of each.
    """

    def __init__(self) -> None:
        self.kernels: dict[str, MemoryKernel] = {}
        self.opened: list[tuple[object, Session, float, str]] = []

    def open(self, target: Any, *, session: Session, timeout: float, colour: str = "") -> Link:
        self.opened.append((target, session, timeout, colour))
        return self.kernels[str(target).rpartition("/")[2]].link


class _Outgoing(abc.ObserverBase[T], Generic[T]):
    def __init__(self, say: Callable[[T], None]) -> None:
        self._say = say

    def on_next(self, value: T) -> None:
        self._say(value)

    def on_error(self, error: Exception) -> None:
        raise AssertionError("the core ends no backend's outgoing side")

    def on_completed(self) -> None:
        raise AssertionError("the core ends no backend's outgoing side")


class Thread(threading.Thread, Generic[T]):
    """A thread whose function's result, or error, is that of ``result()``."""

    def __init__(self, function: Callable[[], T]) -> None:
        super().__init__(daemon=True)
        self._function = function
        self._outcome: Callable[[], T] | None = None
        self.start()

    def run(self) -> None:
        try:
            value = self._function()
        except BaseException as error:
            self._outcome = partial(_raise, error)
        else:
            self._outcome = lambda: value

    def result(self) -> T:
        self.join(DEADLINE)
        assert self._outcome is not None, "the thread has not ended"
        return self._outcome()


def in_thread(function: Callable[[], T]) -> T:
    """Call it in another thread; what it returns, or raises."""
    return Thread(function).result()


def run_on_loop(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a coroutine function on an event loop, for as long as a test may take."""

    async def within_the_deadline() -> T:
        async with asyncio.timeout(DEADLINE):
            return await main()

    return asyncio.run(within_the_deadline())


def settle(kernel: Kernel) -> None:
    """Wait until subscribers have been given all that has arrived."""
    delivered = threading.Event()
    kernel._delivery.put(threading.Event.set, delivered)
    assert delivered.wait(DEADLINE)


def wait_until_blocked_in(thread: threading.Thread, function: Callable[..., object]) -> None:
    """Wait until a thread is in a function's own lines, which is where this one blocks."""
    deadline = threading.Event()
    for _ in range(int(DEADLINE / 0.001)):
        frame = sys._current_frames().get(thread.ident or 0)
        if frame is not None and frame.f_code is function.__code__:
            return
        deadline.wait(0.001)
    raise AssertionError(f"{thread.name} does not wait in {function.__qualname__}")


# What kernels say.


def busy(request: AnyMessage | None) -> AnyMessage:
    return build.status("busy", parent=request)


def idle(request: AnyMessage | None) -> AnyMessage:
    return build.status("idle", parent=request)


def printed(text: str, request: AnyMessage | None = None) -> AnyMessage:
    return build.stream("stdout", text, parent=request)


def reply_to(request: AnyMessage, **content: Any) -> AnyMessage:
    """The reply to a request of any type, on its channel."""
    msg_type = request.header.msg_type.replace("_request", "_reply")
    content.setdefault("status", "ok")
    return ec.create_message(msg_type, content, channel=request.channel, parent=request)


def answered(request: AnyMessage, *outputs: AnyMessage, **content: Any) -> list[AnyMessage]:
    """All that is said to a request that goes well."""
    return [busy(request), *outputs, reply_to(request, **content), idle(request)]


# What is asserted of what was said.


def types(messages: Iterable[AnyMessage]) -> list[str]:
    return [message.header.msg_type for message in messages]


def text_of(message: AnyMessage) -> str:
    text: str = message.content["text"]
    return text


def texts(messages: Iterable[AnyMessage]) -> list[str]:
    return [text_of(message) for message in messages]


def _ignore(_: object) -> None: ...


def _raise(error: BaseException) -> Any:
    raise error
