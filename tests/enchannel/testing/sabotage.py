"""Backends that each break one rule of the contract, in one way."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar, TypeAlias

import reactivex
from reactivex import Observable, Subject, abc
from reactivex import operators as ops

from enchannel import AnyMessage, ChannelName, LinkState, Session
from enchannel.abc import Capabilities, ChannelPair, Lifecycle, Link, LinkEvent
from enchannel.backends import CallbackObserver
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

SECRET = "the-secret-of-the-sabotage"  # looked for wherever it could leak
MOMENT = 0.3  # longer than a test of the sabotage waits

Say: TypeAlias = Callable[[Any], None]
Rewire: TypeAlias = Callable[[Link], Link]


class SabotagedRig(MemoryRig):
    """The in-memory rig, with what memory does not have: something secret, and something to damage."""

    options: Mapping[str, Any] = {}
    secrets = (SECRET,)
    unsupported: ClassVar[Mapping[str, str]] = {}

    def __init__(self, sabotage: Sabotage) -> None:
        super().__init__(capabilities=sabotage.capabilities)
        self.backend = SabotagedBackend(sabotage, self)

    @property
    def garbage(self) -> Mapping[str, Callable[[ChannelName], None]]:
        return {
            "torn": lambda name: self.emit_event(
                MalformedFrame(f"a message on {name.value} is torn")
            )
        }


class SabotagedBackend(MemoryBackend):
    def __init__(self, sabotage: Sabotage, remote: InMemoryKernel) -> None:
        self._sabotage = sabotage
        self._remote = remote

    def open(self, target: Any, *, session: Session, timeout: float) -> Link:
        if self._sabotage.open is not None:
            self._sabotage.open(target)
        return self._sabotage.rewire(super().open(target, session=session, timeout=timeout))

    def __repr__(self) -> str:
        return self._sabotage.repr


@dataclass(frozen=True)
class Sabotage:
    """One way to break one rule.

    Attributes:
        rule: Its number.
        how: What is wrong.
        rewire: Makes a link that does it wrong.
        open: Called before one is opened.
        capabilities: What the link says that it can.
        repr: Of the backend.
    """

    rule: int
    how: str
    rewire: Rewire = lambda link: link
    open: Callable[[Any], None] | None = None
    capabilities: Capabilities = Capabilities(lifecycle=True)
    repr: str = "<SabotagedBackend>"


# -- how a link is rewired --------------------------------------------------------------------------


def pairs(change: Callable[[Link, ChannelName, ChannelPair[Any]], ChannelPair[Any]]) -> Rewire:
    return lambda link: replace(
        link, pairs={name: change(link, name, pair) for name, pair in link.pairs.items()}
    )


def heard(change: Callable[[Observable[Any]], Observable[Any]]) -> Rewire:
    """Another incoming side on the channels of messages."""

    def changed(link: Link, name: ChannelName, pair: ChannelPair[Any]) -> ChannelPair[Any]:
        if name is ChannelName.HEARTBEAT:
            return pair
        return replace(pair, incoming=change(pair.incoming))

    return pairs(changed)


def said(change: Callable[[Link, Say], Say]) -> Rewire:
    """Another outgoing side on the channels of messages."""

    def changed(link: Link, name: ChannelName, pair: ChannelPair[Any]) -> ChannelPair[Any]:
        if name is ChannelName.HEARTBEAT:
            return pair
        return replace(pair, outgoing=CallbackObserver(change(link, pair.outgoing.on_next)))

    return pairs(changed)


def told(*operators: Callable[[Observable[Any]], Observable[Any]]) -> Rewire:
    """Another status."""
    return lambda link: replace(link, events=link.events.pipe(*operators))


def closing(change: Callable[[Link], Callable[[], None]]) -> Rewire:
    return lambda link: replace(link, close=change(link))


def hot(observable: Observable[Any]) -> Observable[Any]:
    subject: Subject[Any] = Subject()
    observable.subscribe(subject)
    return subject


def swapped(say: Say) -> Say:
    """Every second item overtakes the one before it."""
    held: list[Any] = []

    def on_next(item: Any) -> None:
        if not held:
            held.append(item)
            timer = threading.Timer(MOMENT / 10, flush)
            timer.daemon = True
            timer.start()
        else:
            say(item)
            flush()

    def flush() -> None:
        while held:
            with suppress(EnchannelError):
                say(held.pop())

    return on_next


def through(change: Callable[[Say], Say]) -> Callable[[Observable[Any]], Observable[Any]]:
    def changed(source: Observable[Any]) -> Observable[Any]:
        def subscribe(observer: abc.ObserverBase[Any], scheduler: Any = None) -> Any:
            return source.subscribe(change(observer.on_next))

        return Observable(subscribe)

    return changed


def in_a_thread_each(say: Say) -> Say:
    def on_next(item: Any) -> None:
        threading.Thread(target=say, args=(item,), daemon=True).start()

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


_leftovers: list[tuple[threading.Thread, threading.Event]] = []


def leftover() -> None:
    """A thread that nobody ends, but ``clean_up``."""
    end = threading.Event()
    thread = threading.Thread(target=end.wait, daemon=True)
    thread.start()
    _leftovers.append((thread, end))


def clean_up() -> None:
    while _leftovers:
        thread, end = _leftovers.pop()
        end.set()
        thread.join()


# -- the ways ---------------------------------------------------------------------------------------


def hears_itself(link: Link, name: ChannelName, pair: ChannelPair[Any]) -> ChannelPair[Any]:
    echo: Subject[Any] = Subject()

    def say(item: Any) -> None:
        pair.outgoing.on_next(item)
        echo.on_next(item)

    if name is ChannelName.HEARTBEAT:
        return pair
    return replace(
        pair, incoming=reactivex.merge(pair.incoming, echo), outgoing=CallbackObserver(say)
    )


def only_on_one_thread(link: Link, say: Say) -> Say:
    opener = threading.get_ident()

    def saying(item: Any) -> None:
        if threading.get_ident() == opener:
            say(item)

    return saying


def not_while_telling(link: Link) -> Link:
    telling = threading.local()

    def marked(say: Say) -> Say:
        def on_next(item: Any) -> None:
            telling.now = True
            try:
                say(item)
            finally:
                telling.now = False

        return on_next

    def refusing(link: Link, say: Say) -> Say:
        return lambda item: None if getattr(telling, "now", False) else say(item)

    return said(refusing)(heard(through(marked))(link))


def waits_for_the_reader(link: Link, name: ChannelName, pair: ChannelPair[Any]) -> ChannelPair[Any]:
    def say(item: Any) -> None:
        pair.outgoing.on_next(item)
        for _ in range(200):
            if not pair.unsent():
                return
            threading.Event().wait(MOMENT / 10)

    return replace(pair, outgoing=CallbackObserver(say))


def keeping(link: Link) -> Link:
    status: Subject[LinkEvent] = Subject()
    shared = replace(link, events=status)
    kept: list[tuple[Say, Any]] = []

    def change(_: Link, say: Say) -> Say:
        def saying(item: Any) -> None:
            try:
                say(item)
            except ConnectionLost:
                kept.append((say, item))
                raise

        return saying

    def flush(told: LinkEvent) -> None:
        if told is LinkState.CONNECTED:
            while kept:
                say, item = kept.pop(0)
                say(item)

    return replace(said(change)(shared), events=link.events.pipe(ops.do_action(flush)))


def swallows(kind: type[Exception]) -> Callable[[Link, Say], Say]:
    def change(link: Link, say: Say) -> Say:
        def saying(item: Any) -> None:
            try:
                say(item)
            except kind:
                pass

        return saying

    return change


def raises_instead(kind: type[Exception], other: Exception) -> Callable[[Link, Say], Say]:
    def change(link: Link, say: Say) -> Say:
        def saying(item: Any) -> None:
            try:
                say(item)
            except kind:
                raise other from None

        return saying

    return change


def ends_at_garbage(source: Observable[Any]) -> Observable[Any]:
    return source.pipe(ops.take_while(lambda s: not isinstance(s, MalformedFrame), inclusive=True))


def says_garbage(link: Link) -> Link:
    """What is torn is a message, and nobody is told."""
    return told(ops.filter(lambda s: not isinstance(s, MalformedFrame)))(link)


def forgets_to_hang_up(link: Link) -> Callable[[], None]:
    leftover()
    return link.close


def closes_once(link: Link) -> Callable[[], None]:
    called = threading.Event()

    def close() -> None:
        if called.is_set():
            raise RuntimeError("it is closed already")
        called.set()
        link.close()

    return close


def closes_never(link: Link) -> Callable[[], None]:
    return lambda: None


def waits_for_who_is_told(link: Link) -> Link:
    telling = threading.Lock()

    def locked(say: Say) -> Say:
        def on_next(item: Any) -> None:
            with telling:
                say(item)

        return on_next

    def close() -> None:
        if telling.acquire(timeout=MOMENT * 10):
            telling.release()
            link.close()

    return replace(heard(through(locked))(link), close=close)


class TellsAll:
    """Every link of one sabotage is told what any of them is."""

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


class ClosesAll:
    def __init__(self) -> None:
        self._closes: list[Callable[[], None]] = []

    def __call__(self, link: Link) -> Link:
        self._closes.append(link.close)

        def close() -> None:
            for each in self._closes:
                each()

        return replace(link, close=close)


def beats(change: Callable[[bytes], bytes]) -> Rewire:
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
        leftover()


class HotLifecycle(Lifecycle):
    """Tells only who is there already."""

    def interrupt(self) -> Observable[None]:
        return reactivex.never()

    restart = shutdown = interrupt

    def release(self) -> None: ...


class SlowLifecycle(HotLifecycle):
    """Answers when it is done, and not before."""

    def interrupt(self) -> Observable[None]:
        threading.Event().wait(MOMENT * 10)
        return reactivex.just(None)

    restart = shutdown = interrupt


IS_NOWHERE = partial(lambda nowhere, target: target == nowhere, MemoryRig.unreachable_target)
RESUMES = Capabilities(can_resume=True)
LIMITED = Capabilities(buffers=False, max_sent=10_000)


def unlimited(link: Link) -> Link:
    """Says that it has limits, and has none."""
    return replace(link, capabilities=LIMITED)


def deaf_once_lost(link: Link) -> Link:
    lost = threading.Event()
    link = told(ops.do_action(lambda s: lost.set() if s is LinkState.LOST else None))(link)
    return heard(ops.filter(lambda message: not lost.is_set()))(link)


def log_the_secret(target: Any) -> None:
    logging.getLogger("sabotage").debug("opening with %s", SECRET)


SABOTAGES = [
    Sabotage(1, "hears nothing until somebody subscribes", heard(hot)),
    Sabotage(2, "has errors of its own", open=fails(OSError("no route"), IS_NOWHERE)),
    Sabotage(2, "leaves a thread behind", open=leaves_a_thread),
    Sabotage(
        3,
        "has a channel less than it says",
        lambda link: replace(
            link, pairs={n: p for n, p in link.pairs.items() if n is not ChannelName.STDIN}
        ),
    ),
    Sabotage(3, "has no lifecycle, and says so", lambda link: replace(link, lifecycle=None)),
    Sabotage(4, "hears what it says", pairs(hears_itself)),
    Sabotage(5, "hears the second first", heard(through(swapped))),
    Sabotage(5, "says the second first", said(lambda link, say: swapped(say))),
    Sabotage(5, "says what one thread says", said(only_on_one_thread)),
    Sabotage(5, "says nothing while it is told something", not_while_telling),
    Sabotage(6, "tells in a thread for each", heard(through(in_a_thread_each))),
    Sabotage(6, "samples", heard(through(lambda say: lambda m: say(m) if hash(m) % 2 else None))),
    Sabotage(7, "waits for the kernel to read", pairs(waits_for_the_reader)),
    Sabotage(8, "forgets buffers", heard(ops.map(changing(buffers=lambda m: ())))),
    Sabotage(
        8,
        "forgets empty buffers",
        heard(ops.map(changing(buffers=lambda m: tuple(filter(len, m.buffers))))),
    ),
    Sabotage(
        8,
        "knows only ASCII",
        said(lambda link, say: lambda m: say(changing(content=without_unicode)(m))),
    ),
    Sabotage(8, "forgets metadata", heard(ops.map(changing(metadata=lambda m: {})))),
    Sabotage(9, "hides what it cannot read", says_garbage),
    Sabotage(9, "ends at what it cannot read", told(ends_at_garbage)),
    Sabotage(10, "says what is too large", unlimited),
    Sabotage(
        10,
        "refuses with errors of its own",
        said(raises_instead(InvalidMessage, ValueError("too large: 10000"))),
        capabilities=LIMITED,
    ),
    Sabotage(11, "never says that it is lost", told(ops.filter(lambda s: s is not LinkState.LOST))),
    Sabotage(
        11, "never says what is lost", told(ops.filter(lambda s: not isinstance(s, ConnectionLost)))
    ),
    Sabotage(
        11, "never says that it is back", told(ops.filter(lambda s: s is not LinkState.CONNECTED))
    ),
    Sabotage(
        11,
        "resumes, and does not say what may be missing",
        told(ops.filter(lambda s: not isinstance(s, MessagesMayBeMissing))),
        capabilities=RESUMES,
    ),
    Sabotage(
        11,
        "resumes, and hears nothing any more",
        deaf_once_lost,
        capabilities=RESUMES,
    ),
    Sabotage(12, "drops what is said to nobody", said(swallows(ConnectionLost))),
    Sabotage(12, "says later what was refused", keeping),
    Sabotage(13, "completes when it gives up", told(ops.catch(reactivex.empty()))),
    Sabotage(13, "never gives up", told(ops.catch(reactivex.never()))),
    Sabotage(14, "does not close", closing(closes_never)),
    Sabotage(14, "closes once", closing(closes_once)),
    Sabotage(14, "leaves a thread behind", closing(forgets_to_hang_up)),
    Sabotage(14, "waits for who is told, who closes it", waits_for_who_is_told),
    Sabotage(14, "fails when it is closed", told(ops.concat(reactivex.throw(ChannelClosed("x"))))),
    Sabotage(15, "swallows what comes after the end", said(swallows(ChannelClosed))),
    Sabotage(16, "tells everybody everything", TellsAll()),
    Sabotage(16, "closes all when one is closed", ClosesAll()),
    Sabotage(17, "beats as it likes", beats(bytes.upper)),
    Sabotage(18, "does not know what a number is", open=fails(TypeError("17"), lambda t: t == 17)),
    Sabotage(19, "logs it", open=log_the_secret),
    Sabotage(19, "shows it", repr=f"<Backend {SECRET}>"),
    Sabotage(
        20, "tells who is there already", lambda link: replace(link, lifecycle=HotLifecycle())
    ),
    Sabotage(20, "waits until it is done", lambda link: replace(link, lifecycle=SlowLifecycle())),
]
