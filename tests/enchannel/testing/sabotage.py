"""Backends that each break one rule of the contract, in one way."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar, TypeAlias

import reactivex
from reactivex import Observable, Subject, abc
from reactivex import operators as ops

from enchannel import AnyMessage, ChannelName, KernelModel, KernelspecModel, LinkState
from enchannel.abc import Capabilities, ChannelPair, Lifecycle, Link, LinkEvent, OpenContext
from enchannel.backends import CallbackObserver, find_kernel
from enchannel.errors import (
    ChannelClosed,
    ConnectionLost,
    EnchannelError,
    InvalidMessage,
    MalformedFrame,
    MessagesMayBeMissing,
)
from enchannel.memory import InMemoryKernel, MemoryBackend
from enchannel.testing import MemoryRig

__all__ = ["SABOTAGES", "Sabotage", "SabotagedRig", "clean_up"]

# The suite searches for it wherever a secret could leak.
SECRET = "the-secret-of-the-sabotage"
AT = "memory://this-process"
# Longer than a test of a sabotaged backend waits.
SABOTAGE_DELAY = 0.3

Send: TypeAlias = Callable[[Any], None]
Rewire: TypeAlias = Callable[[Link], Link]


class SabotagedRig(MemoryRig):
    """The in-memory rig with a secret and with garbage, which memory does not have."""

    options: Mapping[str, Any] = {}
    at = AT
    secrets = (SECRET,)
    unsupported: ClassVar[Mapping[str, str]] = {}

    def __init__(self, sabotage: Sabotage) -> None:
        super().__init__(capabilities=sabotage.capabilities, has_lifecycle=True)
        self.backend = SabotagedBackend(sabotage, self)

    @property
    def garbage(self) -> Mapping[str, Callable[[ChannelName], None]]:
        return {
            "malformed": lambda name: self.emit_event(
                MalformedFrame(f"a message on {name.value} is malformed")
            )
        }


class SabotagedBackend(MemoryBackend):
    contract = 1

    def __init__(self, sabotage: Sabotage, remote: InMemoryKernel) -> None:
        self._sabotage = sabotage
        self._remote = remote

    def open(self, target: Any, context: OpenContext) -> Link:
        if self._sabotage.open is not None:
            self._sabotage.open(target)
        if context.at is not None:
            target = self._sabotage.find(self.list_kernels(context), target)
        return self._sabotage.rewire(super().open(target, replace(context, at=None)))

    def list_kernels(self, context: OpenContext) -> tuple[KernelModel, ...]:
        models = super().list_kernels(replace(context, at=None))
        return tuple(map(self._sabotage.listed, models)) if self._sabotage.listed else ()

    def list_kernelspecs(self, context: OpenContext) -> tuple[KernelspecModel, ...]:
        return super().list_kernelspecs(replace(context, at=None))

    def __repr__(self) -> str:
        return self._sabotage.repr


def find_target(models: Sequence[KernelModel], beginning: str) -> str:
    return find_kernel(models, beginning, AT).target


@dataclass(frozen=True)
class Sabotage:
    """One way to break one rule.

    Attributes:
        rule: The number of the rule.
        how: A description of the fault, with the backend as its subject.
        rewire: Returns a link with the fault.
        open: Called before a link is opened.
        find: Returns the target of the kernel with the beginning of an id.
        listed: Changes a listed kernel; None to list none.
        capabilities: The capabilities that the link declares.
        repr: The repr of the backend.
    """

    rule: int
    how: str
    rewire: Rewire = lambda link: link
    open: Callable[[Any], None] | None = None
    find: Callable[[Sequence[KernelModel], str], str] = find_target
    listed: Callable[[KernelModel], KernelModel] | None = lambda model: model
    capabilities: Capabilities = Capabilities()
    repr: str = "<SabotagedBackend>"


# -- ways to change a link --------------------------------------------------------------------------


def pairs(change: Callable[[Link, ChannelName, ChannelPair[Any]], ChannelPair[Any]]) -> Rewire:
    return lambda link: replace(
        link, pairs={name: change(link, name, pair) for name, pair in link.pairs.items()}
    )


def incoming(change: Callable[[Observable[Any]], Observable[Any]]) -> Rewire:
    """Change the incoming side of the message channels."""

    def changed(link: Link, name: ChannelName, pair: ChannelPair[Any]) -> ChannelPair[Any]:
        if name is ChannelName.HEARTBEAT:
            return pair
        return replace(pair, incoming=change(pair.incoming))

    return pairs(changed)


def outgoing(change: Callable[[Link, Send], Send]) -> Rewire:
    """Change the outgoing side of the message channels."""

    def changed(link: Link, name: ChannelName, pair: ChannelPair[Any]) -> ChannelPair[Any]:
        if name is ChannelName.HEARTBEAT:
            return pair
        return replace(pair, outgoing=CallbackObserver(change(link, pair.outgoing.on_next)))

    return pairs(changed)


def events(*operators: Callable[[Observable[Any]], Observable[Any]]) -> Rewire:
    """Change the events."""
    return lambda link: replace(link, events=link.events.pipe(*operators))


def closing(change: Callable[[Link], Callable[[], None]]) -> Rewire:
    return lambda link: replace(link, close=change(link))


def hot(observable: Observable[Any]) -> Observable[Any]:
    subject: Subject[Any] = Subject()
    observable.subscribe(subject)
    return subject


def swapped(send: Send) -> Send:
    """Swap every two items."""
    held: list[Any] = []

    def on_next(item: Any) -> None:
        if not held:
            held.append(item)
            timer = threading.Timer(SABOTAGE_DELAY / 10, flush)
            timer.daemon = True
            timer.start()
        else:
            send(item)
            flush()

    def flush() -> None:
        while held:
            with suppress(EnchannelError):
                send(held.pop())

    return on_next


def through(change: Callable[[Send], Send]) -> Callable[[Observable[Any]], Observable[Any]]:
    def changed(source: Observable[Any]) -> Observable[Any]:
        def subscribe(observer: abc.ObserverBase[Any], scheduler: Any = None) -> Any:
            return source.subscribe(change(observer.on_next))

        return Observable(subscribe)

    return changed


def in_a_thread_for_each(send: Send) -> Send:
    def on_next(item: Any) -> None:
        threading.Thread(target=send, args=(item,), daemon=True).start()

    return on_next


def changing(**changes: Callable[[AnyMessage], Any]) -> Callable[[AnyMessage], AnyMessage]:
    return lambda message: message.replace(
        **{name: change(message) for name, change in changes.items()}
    )


def without_unicode(message: AnyMessage) -> dict[str, Any]:
    return {
        key: value.encode("ascii", "replace").decode() if isinstance(value, str) else value
        for key, value in message.content.items()
    }


_left_threads: list[tuple[threading.Thread, threading.Event]] = []


def leave_thread() -> None:
    """Start a thread that only ``clean_up`` ends."""
    end = threading.Event()
    thread = threading.Thread(target=end.wait, daemon=True)
    thread.start()
    _left_threads.append((thread, end))


def clean_up() -> None:
    while _left_threads:
        thread, end = _left_threads.pop()
        end.set()
        thread.join()


# -- the faults -------------------------------------------------------------------------------------


def echoes(link: Link, name: ChannelName, pair: ChannelPair[Any]) -> ChannelPair[Any]:
    echo: Subject[Any] = Subject()

    def send(item: Any) -> None:
        pair.outgoing.on_next(item)
        echo.on_next(item)

    if name is ChannelName.HEARTBEAT:
        return pair
    return replace(
        pair, incoming=reactivex.merge(pair.incoming, echo), outgoing=CallbackObserver(send)
    )


def sends_on_one_thread_only(link: Link, send: Send) -> Send:
    opener = threading.get_ident()

    def send_changed(item: Any) -> None:
        if threading.get_ident() == opener:
            send(item)

    return send_changed


def drops_reentrant_sends(link: Link) -> Link:
    emitting = threading.local()

    def marked(send: Send) -> Send:
        def on_next(item: Any) -> None:
            emitting.now = True
            try:
                send(item)
            finally:
                emitting.now = False

        return on_next

    def refusing(link: Link, send: Send) -> Send:
        return lambda item: None if getattr(emitting, "now", False) else send(item)

    return outgoing(refusing)(incoming(through(marked))(link))


def blocks_until_read(link: Link, name: ChannelName, pair: ChannelPair[Any]) -> ChannelPair[Any]:
    def send(item: Any) -> None:
        pair.outgoing.on_next(item)
        for _ in range(200):
            if not pair.unsent():
                return
            threading.Event().wait(SABOTAGE_DELAY / 10)

    return replace(pair, outgoing=CallbackObserver(send))


def queues_while_lost(link: Link) -> Link:
    shared = replace(link, events=Subject[LinkEvent]())
    kept: list[tuple[Send, Any]] = []

    def change(_: Link, send: Send) -> Send:
        def send_changed(item: Any) -> None:
            try:
                send(item)
            except ConnectionLost:
                kept.append((send, item))
                raise

        return send_changed

    def flush(event: LinkEvent) -> None:
        if event is LinkState.CONNECTED:
            while kept:
                send, item = kept.pop(0)
                send(item)

    return replace(outgoing(change)(shared), events=link.events.pipe(ops.do_action(flush)))


def swallows(kind: type[Exception]) -> Callable[[Link, Send], Send]:
    def change(link: Link, send: Send) -> Send:
        def send_changed(item: Any) -> None:
            try:
                send(item)
            except kind:
                pass

        return send_changed

    return change


def raises_instead(kind: type[Exception], other: Exception) -> Callable[[Link, Send], Send]:
    def change(link: Link, send: Send) -> Send:
        def send_changed(item: Any) -> None:
            try:
                send(item)
            except kind:
                raise other from None

        return send_changed

    return change


def completes_at_garbage(source: Observable[Any]) -> Observable[Any]:
    return source.pipe(ops.take_while(lambda s: not isinstance(s, MalformedFrame), inclusive=True))


def hides_garbage(link: Link) -> Link:
    """Hide malformed frames."""
    return events(ops.filter(lambda s: not isinstance(s, MalformedFrame)))(link)


def leaks_a_thread(link: Link) -> Callable[[], None]:
    leave_thread()
    return link.close


def closes_once(link: Link) -> Callable[[], None]:
    called = threading.Event()

    def close() -> None:
        if called.is_set():
            raise RuntimeError("the link is closed already")
        called.set()
        link.close()

    return close


def does_not_close(link: Link) -> Callable[[], None]:
    return lambda: None


def deadlocks_in_close(link: Link) -> Link:
    emitting = threading.Lock()

    def locked(send: Send) -> Send:
        def on_next(item: Any) -> None:
            with emitting:
                send(item)

        return on_next

    def close() -> None:
        if emitting.acquire(timeout=SABOTAGE_DELAY * 10):
            emitting.release()
            link.close()

    return replace(incoming(through(locked))(link), close=close)


class BroadcastsReplies:
    """Delivers the items of each link on all links of one sabotage."""

    def __init__(self) -> None:
        self._observers: list[abc.ObserverBase[Any]] = []

    def __call__(self, link: Link) -> Link:
        def shared(source: Observable[Any]) -> Observable[Any]:
            def subscribe(observer: abc.ObserverBase[Any], scheduler: Any = None) -> Any:
                self._observers.append(observer)
                return source.subscribe(self._tell)

            return Observable(subscribe)

        pair = link.pairs[ChannelName.SHELL]
        changed = replace(pair, incoming=shared(pair.incoming))
        return replace(link, pairs={**link.pairs, ChannelName.SHELL: changed})

    def _tell(self, item: Any) -> None:
        for observer in self._observers:
            observer.on_next(item)


class ClosesAllLinks:
    def __init__(self) -> None:
        self._closes: list[Callable[[], None]] = []

    def __call__(self, link: Link) -> Link:
        self._closes.append(link.close)

        def close() -> None:
            for each in self._closes:
                each()

        return replace(link, close=close)


def heartbeats(change: Callable[[bytes], bytes]) -> Rewire:
    def changed(link: Link, name: ChannelName, pair: ChannelPair[Any]) -> ChannelPair[Any]:
        if name is not ChannelName.HEARTBEAT:
            return pair
        return replace(pair, incoming=pair.incoming.pipe(ops.map(change)))

    return pairs(changed)


def fails(error: Exception, when: Callable[[Any], bool]) -> Callable[[Any], None]:
    def open(target: Any) -> None:
        if when(target):
            raise error

    return open


def leaves_a_thread(target: Any) -> None:
    if target == MemoryRig.unreachable_target:
        leave_thread()


class HotLifecycle(Lifecycle):
    """A lifecycle that does not replay to late subscribers."""

    def interrupt(self) -> Observable[None]:
        return reactivex.never()

    restart = shutdown = interrupt

    def release(self) -> None: ...


class SlowLifecycle(HotLifecycle):
    """A lifecycle whose methods block."""

    def interrupt(self) -> Observable[None]:
        threading.Event().wait(SABOTAGE_DELAY * 10)
        return reactivex.just(None)

    restart = shutdown = interrupt


IS_UNREACHABLE = partial(
    lambda unreachable, target: target == unreachable, MemoryRig.unreachable_target
)
RESUMES = Capabilities(can_resume=True)
LIMITED = Capabilities(buffers=False, max_sent=10_000)


def unlimited(link: Link) -> Link:
    """Declare limits, and do not enforce them."""
    return replace(link, capabilities=LIMITED)


def drops_after_loss(link: Link) -> Link:
    lost = threading.Event()
    link = events(ops.do_action(lambda s: lost.set() if s is LinkState.LOST else None))(link)
    return incoming(ops.filter(lambda message: not lost.is_set()))(link)


def log_the_secret(target: Any) -> None:
    logging.getLogger("sabotage").debug("opening with %s", SECRET)


SABOTAGES = [
    Sabotage(1, "drops messages before the first subscription", incoming(hot)),
    Sabotage(2, "raises OSError from open", open=fails(OSError("no route"), IS_UNREACHABLE)),
    Sabotage(2, "leaves a thread behind", open=leaves_a_thread),
    Sabotage(
        3,
        "lacks a declared channel",
        lambda link: replace(
            link, pairs={n: p for n, p in link.pairs.items() if n is not ChannelName.STDIN}
        ),
    ),
    Sabotage(4, "echoes sent messages", pairs(echoes)),
    Sabotage(5, "swaps incoming messages", incoming(through(swapped))),
    Sabotage(5, "swaps outgoing messages", outgoing(lambda link, send: swapped(send))),
    Sabotage(5, "sends from one thread only", outgoing(sends_on_one_thread_only)),
    Sabotage(5, "drops re-entrant sends", drops_reentrant_sends),
    Sabotage(6, "emits each item in its own thread", incoming(through(in_a_thread_for_each))),
    Sabotage(
        6,
        "drops some messages",
        incoming(through(lambda send: lambda m: send(m) if hash(m) % 2 else None)),
    ),
    Sabotage(7, "blocks until the kernel reads", pairs(blocks_until_read)),
    Sabotage(8, "drops buffers", incoming(ops.map(changing(buffers=lambda m: ())))),
    Sabotage(
        8,
        "drops empty buffers",
        incoming(ops.map(changing(buffers=lambda m: tuple(filter(len, m.buffers))))),
    ),
    Sabotage(
        8,
        "replaces non-ASCII text",
        outgoing(lambda link, send: lambda m: send(changing(content=without_unicode)(m))),
    ),
    Sabotage(8, "drops metadata", incoming(ops.map(changing(metadata=lambda m: {})))),
    Sabotage(9, "does not report garbage", hides_garbage),
    Sabotage(9, "ends at garbage", events(completes_at_garbage)),
    Sabotage(10, "sends too large messages", unlimited),
    Sabotage(
        10,
        "raises ValueError for a too large message",
        outgoing(raises_instead(InvalidMessage, ValueError("too large: 10000"))),
        capabilities=LIMITED,
    ),
    Sabotage(11, "does not report a loss", events(ops.filter(lambda s: s is not LinkState.LOST))),
    Sabotage(
        11,
        "does not report ConnectionLost",
        events(ops.filter(lambda s: not isinstance(s, ConnectionLost))),
    ),
    Sabotage(
        11,
        "does not report a reconnect",
        events(ops.filter(lambda s: s is not LinkState.CONNECTED)),
    ),
    Sabotage(
        11,
        "resumes without MessagesMayBeMissing",
        events(ops.filter(lambda s: not isinstance(s, MessagesMayBeMissing))),
        capabilities=RESUMES,
    ),
    Sabotage(
        11,
        "drops messages after a loss",
        drops_after_loss,
        capabilities=RESUMES,
    ),
    Sabotage(12, "drops messages while lost", outgoing(swallows(ConnectionLost))),
    Sabotage(12, "sends rejected messages later", queues_while_lost),
    Sabotage(13, "completes when it gives up", events(ops.catch(reactivex.empty()))),
    Sabotage(13, "does not report that it gave up", events(ops.catch(reactivex.never()))),
    Sabotage(14, "does not close", closing(does_not_close)),
    Sabotage(14, "raises at the second close", closing(closes_once)),
    Sabotage(14, "leaves a thread behind", closing(leaks_a_thread)),
    Sabotage(14, "deadlocks when an observer closes it", deadlocks_in_close),
    Sabotage(
        14, "fails when it is closed", events(ops.concat(reactivex.throw(ChannelClosed("x"))))
    ),
    Sabotage(15, "drops messages after close", outgoing(swallows(ChannelClosed))),
    Sabotage(16, "delivers replies to all links", BroadcastsReplies()),
    Sabotage(16, "closes all links at once", ClosesAllLinks()),
    Sabotage(17, "changes heartbeats", heartbeats(bytes.upper)),
    Sabotage(18, "raises KeyError for a number", open=fails(KeyError(17), lambda t: t == 17)),
    Sabotage(
        18,
        "raises ValueError for a target that it accepts at first",
        open=fails(ValueError("no host"), lambda t: t == "memory:"),
    ),
    Sabotage(
        18,
        "raises another error than at first",
        open=fails(ValueError("17"), lambda t: t == 17),
    ),
    Sabotage(19, "logs a secret", open=log_the_secret),
    Sabotage(19, "has a secret in its repr", repr=f"<Backend {SECRET}>"),
    Sabotage(
        20,
        "does not replay to late subscribers",
        lambda link: replace(link, lifecycle=HotLifecycle()),
    ),
    Sabotage(
        20, "has blocking lifecycle methods", lambda link: replace(link, lifecycle=SlowLifecycle())
    ),
    Sabotage(21, "does not list its kernels", listed=None),
    Sabotage(
        21, "lists targets that it cannot open", listed=lambda m: replace(m, target=f"{m.id}?")
    ),
    Sabotage(21, "lists other ids than its links have", listed=lambda m: replace(m, id=f"a{m.id}")),
    Sabotage(21, "lists a secret", listed=lambda m: replace(m, name=SECRET)),
    Sabotage(
        21,
        "finds kernels by their whole id only",
        find=lambda models, id: next(m.target for m in models if m.id == id),
    ),
    Sabotage(21, "opens any kernel for an unknown id", find=lambda models, id: models[0].target),
]
