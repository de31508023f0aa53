"""A backend inside one process: kernels that exist as ``InMemoryKernel`` objects.

There is no I/O and no thread. A message that the kernel sends has reached the client's channels when
``send`` returns, and a message to the kernel has reached its callback when ``on_next`` returns. With a
virtual scheduler, time stands still until the test advances it.
"""

from __future__ import annotations

import threading
import uuid
import weakref
from collections import deque
from collections.abc import Callable, Mapping
from copy import copy
from functools import partial
from typing import Any, Self, TypeAlias

import reactivex
from reactivex import Observable

from enchannel._protocol.channel_name import ChannelName
from enchannel._protocol.message import AnyMessage
from enchannel._protocol.models import KernelModel, KernelspecModel
from enchannel._protocol.session import Session
from enchannel._protocol.url_secrets import redact_url
from enchannel.abc import (
    Capabilities,
    ChannelPair,
    KernelState,
    Lifecycle,
    Link,
    LinkEvent,
    LinkState,
    Lister,
    OpenContext,
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
_UNSIGNED = Signer(b"")
_kernels: weakref.WeakValueDictionary[str, InMemoryKernel] = weakref.WeakValueDictionary()


class InMemoryKernel:
    """The kernel's end of in-memory links: it sends and receives messages, but answers no requests.

    Register a callback with ``on_message`` to receive messages; ``enchannel.testing.FakeKernel`` is
    one that answers requests. The kernel can be reached until ``close``, which ``with`` calls. All
    methods may be called from any thread.

    Args:
        capabilities: The features of its links: their channels and limits.
        id: The kernel id; a random one by default.
        has_lifecycle: Give links a ``lifecycle``, whose methods only record that they were called.

    Attributes:
        target: The target for ``enchannel.connect``: ``"memory:"`` and the id.
        lifecycle_calls: The names of the lifecycle methods that were called, in order.

    Raises:
        ValueError: Another open kernel has this id.
    """

    def __init__(
        self,
        *,
        capabilities: Capabilities | None = None,
        id: str | None = None,
        has_lifecycle: bool = False,
    ) -> None:
        self.id: str = id or uuid.uuid4().hex
        self.target: str = f"{_SCHEME}{self.id}"
        self.lifecycle_calls: list[str] = []
        self.capabilities: Capabilities = capabilities or Capabilities()
        self._has_lifecycle = has_lifecycle
        self._callback: Callable[[AnyMessage], None] = lambda message: None
        self._inbox = _CallQueue()
        self._down: EnchannelError | None = None
        self._changing = threading.Lock()
        self._links: tuple[_MemoryLink, ...] = ()
        if self.id in _kernels:
            raise ValueError(f"id must be unique, not {self.id!r}, the id of another open kernel")
        _kernels[self.id] = self

    def on_message(self, callback: Callable[[AnyMessage], None]) -> None:
        """Set the function that receives messages from clients, one at a time and in order.

        It is called on the thread of a client that sends, or of ``resume_reading``. It replaces the
        function that was set before.
        """
        self._callback = callback

    def send(self, message: AnyMessage) -> None:
        """Send a message to clients: on iopub to all of them, on other channels to the one that it answers.

        A message without a parent is sent to all clients, on every channel.
        """
        session = message.parent_header.session
        for link in self._links:
            if message.channel is ChannelName.IOPUB or session in ("", link.session.id):
                link.receive(message.channel, message)

    def emit_event(self, *events: LinkEvent) -> None:
        """Emit events on all links."""
        for event in events:
            for link in self._links:
                link.emit_event(event)

    def disconnect(self) -> None:
        """Break the connection of all links while the kernel keeps running.

        Messages that are sent until ``reconnect`` are lost. If ``capabilities.can_resume`` is True,
        requests in flight may be answered after it.
        """
        self._go_down(ConnectionLost(f"the connection to kernel {self.id} was lost"))

    def die(self) -> None:
        """Break the connection of all links, as the death of a kernel process does."""
        self.emit_event(KernelState.DEAD)
        self._go_down(KernelDied(f"kernel {self.id} died"))

    def reconnect(self) -> None:
        """Restore the connection of all links, to the same kernel or to a new one."""
        self._down = None
        self.emit_event(LinkState.CONNECTED, KernelState.IDLE)
        if self.capabilities.can_resume:
            self.emit_event(
                MessagesMayBeMissing(f"the connection to kernel {self.id} was lost and is restored")
            )

    def disconnect_permanently(self) -> None:
        """Break the connection of all links permanently; their ``events`` fail."""
        self._down = ConnectionLost(f"the connection to kernel {self.id} was lost permanently")
        for link in self._links:
            link.fail(self._down)

    def pause_reading(self) -> None:
        """Stop reading messages, as a stopped process does; they are queued."""
        self._inbox.paused = True

    def resume_reading(self) -> None:
        """Continue reading messages, beginning with the queued ones."""
        self._inbox.paused = False
        self._inbox.run()

    def close(self) -> None:
        """Break the connection of all links permanently, and free the id. Idempotent."""
        if _kernels.get(self.id) is self:
            del _kernels[self.id]
        self.disconnect_permanently()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- called by the links ----------------------------------------------------------------------

    def _open(self, session: Session) -> _MemoryLink:
        if self._down is not None:
            raise ConnectionFailed(f"could not connect to kernel {self.id}: {self._down}")
        link = _MemoryLink(self, session)
        with self._changing:
            self._links = (*self._links, link)
        return link

    def _remove(self, link: _MemoryLink) -> None:
        with self._changing:
            self._links = tuple(other for other in self._links if other is not link)

    def _enqueue(self, name: ChannelName, call: _Call) -> None:
        if self._down is not None:
            raise copy(self._down)
        self._inbox.put(call, name)

    def _receive(self, message: AnyMessage) -> None:
        self._callback(message)

    def _unsent(self, name: ChannelName) -> int:
        return sum(queued is name for queued, _ in list(self._inbox.queued))

    def _go_down(self, error: EnchannelError) -> None:
        self._down = error
        self._inbox.queued.clear()
        self.emit_event(LinkState.LOST)
        if isinstance(error, KernelDied) or not self.capabilities.can_resume:
            self.emit_event(error)


class MemoryBackend(Lister):
    """Opens links to the ``InMemoryKernel`` objects of this process, and lists them.

    It is installed as the entry point ``memory``.
    """

    contract = 1

    def open(self, target: Any, context: OpenContext) -> Link:
        """Connect to a kernel immediately.

        Args:
            target: An ``InMemoryKernel``, its ``target`` or its id.
            context: The session of the client is used, the rest is not.

        Raises:
            ValueError: ``at`` is set.
            ConnectionFailed: No open kernel has this id, or its connection is down.
            TypeError: The target is of another type.
        """
        _raise_if_at_server(context)
        _raise_unless_target(target)
        return self._find(target)._open(context.session).link

    def validate_open(self, target: Any, context: OpenContext, options: Mapping[str, Any]) -> None:
        """Check the type of the target, and that ``at`` is not set; see ``Backend``."""
        _raise_if_at_server(context)
        _raise_unless_target(target)

    def list_kernels(self, context: OpenContext) -> tuple[KernelModel, ...]:
        """Return the kernels of this process.

        Raises:
            ValueError: ``at`` is set.
        """
        _raise_if_at_server(context)
        return tuple(
            KernelModel(
                id=kernel.id,
                state="idle" if kernel._down is None else "dead",
                connections=len(kernel._links),
                target=kernel.target,
            )
            for kernel in list(_kernels.values())
        )

    def list_kernelspecs(self, context: OpenContext) -> tuple[KernelspecModel, ...]:
        """Return no kernelspecs: a kernel is an object that a program makes.

        Raises:
            ValueError: ``at`` is set.
        """
        _raise_if_at_server(context)
        return ()

    def _find(self, target: InMemoryKernel | str) -> InMemoryKernel:
        if isinstance(target, InMemoryKernel):
            return target
        kernel = _kernels.get(target.removeprefix(_SCHEME))
        if kernel is None:
            raise ConnectionFailed(
                f"could not connect to {target!r}: this process has no open InMemoryKernel with that id"
            )
        return kernel


def _raise_unless_target(target: object) -> None:
    if not isinstance(target, (InMemoryKernel, str)):
        raise TypeError(
            f"target must be an InMemoryKernel, its target or its id, not {type(target).__name__}"
        )


def _raise_if_at_server(context: OpenContext) -> None:
    if context.at is not None:
        raise ValueError(
            f"at must be None for kernels of this process, not {redact_url(context.at)!r}"
        )


backend: MemoryBackend = MemoryBackend()


class _MemoryLink:
    """One client's link. Its queue emits one item at a time, and never one inside another."""

    def __init__(self, kernel: InMemoryKernel, session: Session) -> None:
        self.session = session
        self._kernel = kernel
        self._events: IncomingSubject[LinkEvent] = IncomingSubject()
        self._changing = threading.Lock()
        self._outbox = _CallQueue()
        self._closed = self._failed = False
        capabilities = kernel.capabilities
        self._incoming: dict[ChannelName, IncomingSubject[Any]] = {
            name: IncomingSubject() for name in capabilities.channels
        }
        self.link: Link = Link(
            pairs={name: self._pair(name) for name in capabilities.channels},
            events=self._events,
            close=self.close,
            kernel_id=kernel.id,
            capabilities=capabilities,
            lifecycle=_MemoryLifecycle(kernel) if kernel._has_lifecycle else None,
        )

    def receive(self, name: ChannelName, item: Any) -> None:
        if name in self._incoming and self._kernel._down is None:
            self._put(partial(self._incoming[name].on_next, item))

    def emit_event(self, event: LinkEvent) -> None:
        if not self._failed:
            self._put(partial(self._events.on_next, event))

    def fail(self, error: EnchannelError) -> None:
        if not self._failed:
            self._failed = True
            self._put(partial(self._events.on_error, error))

    def close(self) -> None:
        self._kernel._remove(self)
        with self._changing:
            if not self._closed:
                self._closed = True
                self._outbox.queued.clear()
                if not self._failed:
                    self._outbox.queued.append((None, self._events.on_completed))
        self._outbox.finish()

    def _put(self, event: _Call) -> None:
        with self._changing:
            if self._closed:
                return
            self._outbox.queued.append((None, event))
        self._outbox.run()

    def _pair(self, name: ChannelName) -> ChannelPair[Any]:
        is_heartbeat = name is ChannelName.HEARTBEAT
        send = self._send_heartbeat if is_heartbeat else partial(self._send, name)
        return ChannelPair(
            self._incoming[name], CallbackObserver(send), partial(self._kernel._unsent, name)
        )

    def _send_heartbeat(self, beat: bytes) -> None:
        self._enqueue(ChannelName.HEARTBEAT, partial(self.receive, ChannelName.HEARTBEAT, beat))

    def _send(self, name: ChannelName, message: AnyMessage) -> None:
        self._raise_if_too_large(message)
        if message.channel is not name:
            message = message.replace(channel=name)
        self._enqueue(name, partial(self._kernel._receive, message))

    def _enqueue(self, name: ChannelName, call: _Call) -> None:
        if self._closed:
            raise ChannelClosed(f"the link to kernel {self._kernel.id} is closed")
        self._kernel._enqueue(name, call)

    def _raise_if_too_large(self, message: AnyMessage) -> None:
        capabilities = self._kernel.capabilities
        if message.buffers and not capabilities.buffers:
            raise InvalidMessage(
                f"{message.header.msg_type} must not have buffers: this link cannot send them"
            )
        if capabilities.max_sent is None:
            return
        size = sum(len(frame) for frame in encode(message, _UNSIGNED))
        if size > capabilities.max_sent:
            raise InvalidMessage(
                f"{message.header.msg_type} must have at most {capabilities.max_sent:,} bytes, "
                f"not {size:,}"
            )


class _MemoryLifecycle(Lifecycle):
    """A lifecycle without a process: every action is done immediately."""

    def __init__(self, kernel: InMemoryKernel) -> None:
        self._kernel = kernel

    def interrupt(self) -> Observable[None]:
        return self._record_call("interrupt")

    def restart(self) -> Observable[None]:
        kernel = self._kernel
        kernel.emit_event(KernelState.RESTARTING, KernelDied(f"kernel {kernel.id} was restarted"))
        kernel.emit_event(KernelState.IDLE)
        return self._record_call("restart")

    def shutdown(self) -> Observable[None]:
        self._kernel.emit_event(KernelState.DEAD)
        return self._record_call("shutdown")

    def release(self) -> None:
        self._kernel.lifecycle_calls.append("release")

    def _record_call(self, name: str) -> Observable[None]:
        self._kernel.lifecycle_calls.append(name)
        return reactivex.just(None)


class _CallQueue:
    """Calls that are made one at a time, by any thread that adds one while no other thread makes calls.

    A call that is added from within a call is made after it.

    Attributes:
        queued: The calls, each with the channel that it belongs to.
        paused: Whether calls are only queued.
    """

    def __init__(self) -> None:
        self.queued: deque[tuple[ChannelName | None, _Call]] = deque()
        self.paused = False
        self._running = threading.Lock()
        self._runner: int | None = None

    def put(self, call: _Call, name: ChannelName | None = None) -> None:
        """Make a call after the queued ones, or leave it to the thread that is making those."""
        self.queued.append((name, call))
        self.run()

    def run(self) -> None:
        """Make the queued calls, unless another thread, or this one further up, is making them."""
        while self.queued and not self.paused and self._running.acquire(blocking=False):
            self._runner = threading.get_ident()
            try:
                self._make_calls()
            finally:
                self._runner = None
                self._running.release()

    def finish(self) -> None:
        """Make the queued calls, after waiting for the call that another thread is making."""
        if self._runner != threading.get_ident():
            with self._running:
                pass
            self.run()

    def _make_calls(self) -> None:
        while self.queued and not self.paused:
            try:
                _, call = self.queued.popleft()
            except IndexError:  # it was cleared meanwhile
                return
            call()
