"""A kernel: its channels, what goes on in it, and what can be asked of it."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Generator, Iterable, Mapping
from types import TracebackType
from typing import Any, Literal, Self

from reactivex import Observable, abc

from enchannel._kernel.channel import Channel, ChannelContext, MainChannel
from enchannel._kernel.comm import Comm, CommContext, Comms
from enchannel._kernel.heartbeat import Heartbeat
from enchannel._kernel.in_flight import InFlightRequest, OnInput, Request, RequestOptions
from enchannel._kernel.recovery import recover
from enchannel._kernel.requests import DEFAULT_TIMEOUT, Requests, validate_seconds
from enchannel._kernel.subjects import Completion, ErrorLog, SentMessages, StateSubject
from enchannel._kernel.subshell import Subshell
from enchannel._protocol.channel_name import ChannelName
from enchannel._protocol.message import AnyMessage
from enchannel._protocol.session import Session
from enchannel._rx.delivery_thread import DeliveryThread
from enchannel._rx.fanout import Fanout
from enchannel._rx.process_hooks import call_at_exit, call_in_forked_child
from enchannel._rx.sink import Sink
from enchannel._rx.thread_calls import call_in_thread, join_calls
from enchannel._rx.timer import timer
from enchannel._rx.waiting import Waiter, refuse_to_block
from enchannel.abc import KernelState, Link, LinkEvent, LinkState
from enchannel.errors import (
    ChannelClosed,
    ConnectionLost,
    EnchannelError,
    KernelDied,
    MessagesMayBeMissing,
    NotSupported,
    WouldDeadlock,
)
from enchannel.messages import interrupt_request, shutdown_request

__all__ = ["Kernel"]

CLOSING = 10.0  # seconds that close waits for subscribers who have not seen everything yet
BEGINNING = 0.05  # seconds from busy to code that can be interrupted
NOTICED = frozenset({"status", "input_request", "comm_msg", "comm_close"})
_open: weakref.WeakSet[Kernel] = weakref.WeakSet()


class Kernel(Requests):
    """A kernel that one talks to; what ``launch`` and ``connect`` return.

    Use it with ``with`` or ``async with``: leaving the block shuts a kernel down that was launched here,
    and disconnects from one that was not.

    Subscribers are called on one thread of this kernel, so that a slow one delays no other kernel and
    nothing that is sent, or on the event loop whose scheduler they subscribed with.

    Attributes:
        session: Who we are to the kernel.
        link: A BehaviorSubject of how the connection is.
        state: A BehaviorSubject of how the kernel is.
        errors: What went wrong without ending anything; keeps the last 100.
        sent: What we say on the channels of messages, as it goes: headers are filled in. It is told before
            the backend is given it, who may refuse it still.
    """

    def __init__(
        self,
        open_link: Callable[[], Link],
        session: Session,
        *,
        label: str = "",
        scheduler: abc.SchedulerBase | None = None,
        silent_after: float = 5.0,
    ) -> None:
        self.session = session
        self._label = label
        self._open_link = open_link
        self._scheduler = scheduler or timer()
        self._time_to_dead = silent_after
        self._delivery = DeliveryThread(f"enchannel kernel {session.id[:4]}")
        self.errors: ErrorLog = ErrorLog(self._delivery)
        report = self.errors.report
        self.link: StateSubject[LinkState] = StateSubject(
            "kernel.link", LinkState.CONNECTING, self._delivery, report
        )
        self.state: StateSubject[KernelState] = StateSubject(
            "kernel.state", KernelState.STARTING, self._delivery, report
        )
        self.sent: SentMessages = SentMessages(self._delivery, report)
        self._witnesses: Fanout[AnyMessage | LinkEvent] = Fanout(self._delivery)
        self._exchanges: dict[str, InFlightRequest] = {}
        self._busy: set[str] = set()
        self._interrupting = False
        self._interrupt_again = False  # when the link is back
        self._unwanted: set[str] = set()  # requests that are to be interrupted as soon as they run
        self._comms = Comms(
            CommContext(
                send=lambda message: self.shell.on_next(message),
                delivery=self._delivery,
                report=report,
            )
        )
        self._changing = threading.RLock()
        self._opening = threading.Lock()
        self._link: Link | None = None
        self._channels: dict[ChannelName, Channel] = {}
        self._context = ChannelContext(
            session=session,
            sent=self.sent,
            on_message=self._arrived,
            on_subscribed=self._on_listened,
            close=self.close,
            delivery=self._delivery,
            report=report,
        )
        self._main = MainChannel(self._channels, self._context)
        self._listened: Callable[[], None] | None = None
        self._heartbeat: Heartbeat | None = None
        self._closing = False
        self._closed = threading.Event()
        self._detached = False
        self._asked_to_end = False
        self._restarts = 0  # that are under way
        self._forked = False
        self._renewing = False  # the backend says that it restarts

    # -- opening and closing ---------------------------------------------------------------------

    def _open(self) -> Kernel:
        with self._opening:  # once, whoever else asks for it meanwhile
            if self._link is None:
                self._refuse_if_closed()
                self._take(self._open_link())
        return self

    def _take(self, link: Link) -> None:
        with self._changing:
            if not self._closing:
                self._link = link
                self._staple(link)
                _open.add(self)
                return
        self._disconnect(link)  # it was closed meanwhile
        self._refuse_if_closed()

    def _staple(self, link: Link) -> None:
        delivery, report = self._delivery, self.errors.report
        self.link.set(LinkState.CONNECTED)
        self.state.set(KernelState.IDLE)
        self._listened = link.on_first_subscriber
        for name, pair in link.pairs.items():
            if name is not ChannelName.HEARTBEAT:
                self._channels[name] = Channel(name, pair, self._context)
        if (beats := link.pairs.get(ChannelName.HEARTBEAT)) is not None:
            self._heartbeat = Heartbeat(
                beats, delivery, report, self._time_to_dead, self._scheduler, self._beats
            )
            self._heartbeat.unpause()
        link.events.subscribe(self._on_status, self._given_up, self._over)

    def close(self) -> None:
        """Shut down a kernel that is owned, disconnect from another; complete every channel.

        What has arrived is still delivered: it waits up to 10 seconds for slow subscribers, and leaves
        the rest to them. May be called more than once, and from any thread, also by a subscriber.
        """
        if self._forked:
            return  # the kernel is the parent's
        with self._changing:
            first, self._closing = not self._closing, True
            link = self._link
        if not first:
            if not self._delivery_is_here():
                self._closed.wait(CLOSING)
            return
        try:
            if link is not None:
                self._disconnect(link)
        finally:
            self._end(None)
            _open.discard(self)
            self._closed.set()
        self._delivery.join(CLOSING)

    def _disconnect(self, link: Link) -> None:
        try:
            self._end_process(link)
        finally:  # also when the user has no patience, and presses Ctrl-C
            if self._heartbeat is not None:
                self._heartbeat.pause()
            link.close()

    def _end_process(self, link: Link) -> None:
        if link.lifecycle is None or not link.owned or self._detached:
            return
        waiter: Waiter[None] = Waiter()
        with waiter.attached(link.lifecycle.shutdown()):
            try:
                waiter.wait(30.0)
                waiter.last()
            except EnchannelError as error:
                self.errors.report(error)

    def _delivery_is_here(self) -> bool:
        return self._delivery.is_current

    def detach(self) -> None:
        """Disconnect, and leave a kernel running that was launched here.

        It lives on as long as this process does, or longer if it was launched with
        ``independent=True``; ``connect`` finds it by its id.
        """
        if self._forked:
            return  # the kernel is the parent's
        self._detached = True
        link = self._link
        if link is not None and link.lifecycle is not None:
            link.lifecycle.release()
        self.close()

    def __enter__(self) -> Self:
        if self._link is None:
            refuse_to_block("connecting with `with` (write `async with`)")
            self._open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        await self._ready()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await call_in_thread(self.close)

    def __await__(self) -> Generator[object, None, Self]:
        """``kernel = await ec.connect(…)``: connect without blocking the loop, with no block to leave."""
        return self._ready().__await__()

    async def _ready(self) -> Self:
        if self._link is None:
            await call_in_thread(self._open, undo=lambda kernel: kernel.close())
        return self

    # -- what it is --------------------------------------------------------------------------------

    @property
    def id(self) -> str:
        """What the backend calls the kernel: the id in its connection file's name, or on its server."""
        return self._opened().kernel_id

    @property
    def owned(self) -> bool:
        """Whether leaving the block shuts the kernel down: whether it was launched here."""
        link = self._link
        return link is not None and link.lifecycle is not None and link.owned and not self._detached

    @property
    def shell(self) -> Channel:
        """Requests, and what answers them."""
        return self._channel(ChannelName.SHELL)

    @property
    def control(self) -> Channel:
        """Requests that do not wait for the code that runs."""
        return self._channel(ChannelName.CONTROL)

    @property
    def stdin(self) -> Channel:
        """Where the kernel asks, and is answered."""
        return self._channel(ChannelName.STDIN)

    @property
    def iopub(self) -> Channel:
        """What the kernel says to everybody."""
        return self._channel(ChannelName.IOPUB)

    @property
    def heartbeat(self) -> Heartbeat:
        """Bytes that come back from a kernel that lives.

        Raises:
            NotSupported: the backend has none.
        """
        self._opened()
        if self._heartbeat is None:
            raise NotSupported("this backend does not support the heartbeat channel")
        return self._heartbeat

    @property
    def main(self) -> Channel:
        """All channels of messages in one: each message says its ``channel``, and goes where it says."""
        self._opened()
        return self._main

    def _opened(self) -> Link:
        if self._link is None:
            self._refuse_if_closed()
            raise WouldDeadlock(
                "this kernel is not connected yet: on a running event loop write "
                "`async with ec.connect(…) as kernel`, or `kernel = await ec.connect(…)`"
            )
        if self._forked:
            raise ChannelClosed("this kernel belongs to the process that this one was forked from")
        return self._link

    def _refuse_if_closed(self) -> None:
        if self._closing:
            raise ChannelClosed("this kernel is closed")

    def _not_closed(self) -> Link:
        link = self._opened()
        if self._closing:
            raise ChannelClosed("this kernel is closed")
        return link

    def _channel(self, name: ChannelName) -> Channel:
        self._opened()
        try:
            return self._channels[name]
        except KeyError:
            raise NotSupported(f"this backend does not support the {name} channel") from None

    def _hears_stdin(self) -> bool:
        return self.stdin.observer_count > 0 or self._main.observer_count > 0

    def __repr__(self) -> str:
        name = self._link.kernel_id if self._link is not None else self._label
        return f"<Kernel {name} {self.link.value}, {self.state.value}>"

    # -- what arrives -----------------------------------------------------------------------------

    def _arrived(self, message: AnyMessage) -> None:
        """Where messages arrive: whatever is done here is short."""
        if self._witnesses.sinks:
            self._show(message)
        exchange = self._exchanges.get(message.parent_header.msg_id)
        if exchange is not None:
            exchange.on_next(message)
        if message.header.msg_type in NOTICED:
            self._notice(message, exchange)
        self._main.pass_on(message)

    def _notice(self, message: AnyMessage, exchange: InFlightRequest | None) -> None:
        kind = message.header.msg_type
        if kind == "status":
            if message.channel is ChannelName.IOPUB:
                parent = message.parent_header.msg_id
                self._kernel_status(parent, message.content.get("execution_state"))
        elif kind != "input_request":
            self._comms.on_message(message)
        elif exchange is None and message.channel is ChannelName.STDIN:
            self._asked(message)

    def _kernel_status(self, parent: str, said: object) -> None:
        with self._changing:
            if said == "busy":
                self._busy.add(parent)
                self._begun(parent)
            elif said == "idle":
                self._busy.discard(parent)
            elif said in ("starting", "restarting", "dead"):
                self._busy.clear()
            else:
                return
            if said in ("restarting", "dead"):
                self.state.set(KernelState(str(said)))
            elif self._renewing:
                return  # the old process speaks, or the new one too early: the backend knows when it is up
            elif said == "starting":  # it is up when it says so; nobody says idle after it
                self.state.set(KernelState.IDLE)
            else:
                self.state.set(KernelState.BUSY if self._busy else KernelState.IDLE)

    def _assume_idle(self, request_id: str) -> None:
        """It was answered, and its idle was lost: that must not keep the kernel busy for ever."""
        with self._changing:
            self._busy.discard(request_id)
            if not self._busy and self.state.value is KernelState.BUSY:
                self.state.set(KernelState.IDLE)

    def _forget_busy(self, requests: Iterable[str]) -> None:
        """Of these, and of what others asked, the idle may be lost: wait only for what is open."""
        with self._changing:
            self._busy &= self._exchanges.keys()
            self._busy.difference_update(requests)
            if not self._busy and self.state.value is KernelState.BUSY:
                self.state.set(KernelState.IDLE)

    def _on_listened(self) -> None:
        """Somebody has subscribed to a channel: the link may want to know, once."""
        if self._listened is not None:
            with self._changing:
                tell, self._listened = self._listened, None
            if tell is not None:
                tell()

    def _witness(self, sink: Sink[AnyMessage | LinkEvent]) -> abc.DisposableBase:
        """Show a sink what arrives, first of all; unlike a subscriber it does not count as a listener,
        who would be expected to answer what the kernel asks. It is told of no end."""
        return self._witnesses.attach(sink)

    def _show(self, item: AnyMessage | LinkEvent) -> None:
        self._witnesses.dispatch(item)

    def _on_status(self, status: LinkEvent) -> None:
        lost = isinstance(status, (KernelDied, ConnectionLost))
        # Who asked for the end needs no telling; and a kernel that ends hangs up on one channel after
        # the other.
        expected = (self._closing and isinstance(status, MessagesMayBeMissing)) or (
            lost and (self._closing or self._asked_to_end)
        )
        if not expected:
            self._show(status)
        if isinstance(status, LinkState):
            back = status is LinkState.CONNECTED
            if back:
                self._asked_to_end = False
            self.link.set(status)
            if back:
                self._repeat_interrupt()
                recover(self)
        elif isinstance(status, KernelState):
            if status in (KernelState.DEAD, KernelState.RESTARTING, KernelState.STARTING):
                self._busy.clear()
            if self._renewing and status is KernelState.IDLE:  # there is a new process
                self._asked_to_end = False
            self._renewing = status is KernelState.RESTARTING
            self.state.set(status)
        elif isinstance(status, (KernelDied, ConnectionLost)):
            self._busy.clear()  # whose idle may be lost as well
            self._unwanted.clear()
            self._fail_exchanges(status)
            self._comms.terminate(status)
            if not expected:
                self.errors.report(status)
        elif not expected:
            self.errors.report(status)

    def _fail_exchanges(self, error: Exception) -> None:
        for exchange in list(self._exchanges.values()):
            exchange.fail(error)

    def _given_up(self, error: Exception) -> None:
        self.errors.report(error)
        self._end(error)

    def _over(self) -> None:
        """The link has completed; if nobody closed it, there was an end to what it had to say."""
        if not self._closing:
            self._end(None)

    def _end(self, error: Exception | None) -> None:
        """The terminal event of everything."""
        closed = ChannelClosed("the connection was closed before the request was answered")
        self._fail_exchanges(error or closed)
        self._comms.terminate()
        if self._link is not None:
            for channel in (*self._channels.values(), self._main):
                channel.terminate(error)
            if self._heartbeat is not None:
                self._heartbeat.terminate(error)
        self.sent.terminate(error)
        self.link.set(LinkState.CLOSED)
        self.link.terminate()
        self.state.terminate()
        self.errors.terminate()
        self._delivery.end()

    def _beats(self, beats: bool) -> None:
        with self._changing:
            gone = self.state.value in (KernelState.DEAD, KernelState.RESTARTING)
            if not beats and self.link.value is LinkState.CONNECTED and not gone:
                self.state.set(KernelState.SILENT)
                self._show(KernelState.SILENT)
            elif beats and self.state.value is KernelState.SILENT:
                self.state.set(KernelState.BUSY if self._busy else KernelState.IDLE)
                self._show(self.state.value)

    # -- what is asked of it ----------------------------------------------------------------------

    def request(
        self,
        message: AnyMessage,
        *,
        timeout: float | None = DEFAULT_TIMEOUT,
        idle_grace: float | None = None,
        on_dispose: Literal["interrupt"] | None = None,
        on_input: OnInput | None = None,
    ) -> Observable[AnyMessage]:
        self._opened()
        validate_seconds(timeout)
        terms = RequestOptions(
            timeout=timeout, idle_grace=idle_grace, on_dispose=on_dispose, on_input=on_input
        )
        return Request(self, message, terms)

    def interrupt(self) -> Observable[None]:
        """Interrupt what runs, at once: by signal, message or REST, as the kernel wants it.

        Returns:
            Its completion (one None), to be awaited, run or ignored. That it was done does not prove that
            the code stops: some kernels answer, and go on.
        """
        lifecycle = self._not_closed().lifecycle
        by_itself = None if lifecycle is None else lifecycle.interrupt()
        return self._act("interrupt", by_itself, interrupt_request)

    def restart(self) -> Observable[None]:
        """A new process behind the same channels; open requests end with KernelDied.

        Requests made before it is done are refused with KernelDied too: the old process would answer.

        Returns:
            Its completion (one None), to be awaited, run or ignored.

        Raises:
            NotSupported: the process is not ours to restart.
        """
        lifecycle = self._not_closed().lifecycle
        if lifecycle is None:
            raise NotSupported(
                "only who launched a kernel can restart it; this one was connected to"
            )
        self._asked_to_end = True
        with self._changing:
            self._restarts += 1
        self._fail_exchanges(KernelDied(f"kernel {self.id} was restarted"))
        by_itself = lifecycle.restart()
        by_itself.subscribe(lambda _: None, lambda _: self._restarted(), self._restarted)
        return self._act("restart", by_itself, None)

    def _restarted(self) -> None:
        with self._changing:
            self._restarts -= 1

    def _lives_on(self, error: Exception | None = None) -> None:
        """It was asked to end, and has not: what becomes of it now is told again."""
        self._asked_to_end = False

    def _demand_no_restart(self) -> None:
        if self._restarts:
            raise KernelDied(
                f"kernel {self.id} is being restarted: wait for that first, with "
                "ec.wait(kernel.restart()) or await kernel.restart()"
            )

    def shutdown(self) -> Observable[None]:
        """End the kernel; the channels stay, and say so.

        Returns:
            Its completion (one None), to be awaited, run or ignored.
        """
        lifecycle = self._not_closed().lifecycle
        self._asked_to_end = True
        by_itself = None if lifecycle is None else lifecycle.shutdown()
        if by_itself is not None:
            by_itself.subscribe(on_error=self._lives_on)
        return self._act("shutdown", by_itself, shutdown_request)

    def _act(
        self,
        name: str,
        by_itself: Observable[None] | None,
        message: Callable[[], AnyMessage] | None,
    ) -> Completion[None]:
        outcome: Completion[None] = Completion(
            f"kernel.{name}()", self._delivery, self.errors.report
        )
        if by_itself is not None:
            by_itself.subscribe(outcome.on_next, outcome.on_error, outcome.on_completed)
        elif message is not None:
            asked = Request(self, message(), RequestOptions(timeout=DEFAULT_TIMEOUT))
            asked.attach(_Told(outcome))
        return outcome

    def comm(
        self,
        target: str | AnyMessage,
        data: Mapping[str, Any] | None = None,
        *,
        comm_id: str | None = None,
    ) -> Comm:
        """Open a comm, or take up one that the kernel opened.

        Args:
            target: The name of the target in the kernel; or the ``comm_open`` message of the kernel.
            data: What the target is told.
            comm_id: Its id; a fresh one by default.

        Returns:
            A Subject: ``on_next`` sends, subscribers see what the kernel sends on it.
        """
        self._opened()
        return self._comms.open(target, data or {}, comm_id)

    def subshell(self) -> Subshell:
        """A second shell beside the main one, for use with ``with`` or ``async with``.

        Raises:
            NotSupported: on entering, if the kernel does not advertise subshells.
        """
        self._opened()
        return Subshell(self)

    def _interrupt_if_running(self, request_id: str) -> bool:
        exchange = self._exchanges.get(request_id)
        return exchange is not None and exchange.interrupt()

    def _interrupt_when_begun(self, request_id: str) -> None:
        """Nobody wants it any more, and its turn has not come."""
        if request_id in self._exchanges:
            self._unwanted.add(request_id)

    def _begun(self, request_id: str) -> None:
        if request_id in self._unwanted:
            self._unwanted.discard(request_id)
            # a moment later: at once, some kernels say that they are busy, and do not take it yet
            self._scheduler.schedule_relative(BEGINNING, lambda *_: self._end_unwanted(request_id))

    def _end_unwanted(self, request_id: str) -> None:
        if request_id in self._busy and not self._closing:
            self._interrupt_by_itself()

    def _interrupt_by_itself(self) -> None:
        """Nobody has the observable of it, so errors tell if it fails.

        Not while one is under way: a kernel may ask for input where it should say that it was interrupted.
        """
        if self._interrupting:
            return
        self._interrupting = True
        try:
            self.interrupt().subscribe(on_error=self._interrupted, on_completed=self._interrupted)
        except EnchannelError as error:
            self._interrupted(error)

    def _interrupted(self, error: Exception | None = None) -> None:
        self._interrupting = False
        if error is None:
            return
        self._interrupt_again = self.link.value is LinkState.LOST
        self.errors.report(error)

    def _repeat_interrupt(self) -> None:
        """The link is back; what could not be interrupted without it may still run."""
        again, self._interrupt_again = self._interrupt_again, False
        if again and self._busy:
            self._interrupt_by_itself()

    def _asked(self, question: AnyMessage) -> None:
        """For input; nobody who made the request answers, and it would wait for ever."""
        if self._opened().capabilities.can_send and not self._hears_stdin():
            self.errors.report(
                EnchannelError(
                    f"request {question.parent_header.msg_id[:8]} asked for input and nobody answers: it "
                    "was interrupted; give it an on_input, or subscribe to kernel.stdin"
                )
            )
            self._interrupt_by_itself()


class _Told:
    """A sink that settles an outcome with the end of a request."""

    def __init__(self, outcome: Completion[None]) -> None:
        self._outcome = outcome

    def on_next(self, message: AnyMessage) -> None: ...

    def on_error(self, error: Exception) -> None:
        self._outcome.on_error(error)

    def on_completed(self) -> None:
        self._outcome.on_next(None)

    def call(self, function: Callable[[], None]) -> None: ...


def _close_all() -> None:
    """At the interpreter's end: no kernel of ours outlives it, nor one that still starts."""
    join_calls(CLOSING)
    for kernel in list(_open):
        kernel.close()


def _disown_all() -> None:
    """In a forked child: locks may be held by threads that are not here, so take none."""
    global _open
    for kernel in list(_open):
        kernel._forked = True
        kernel._delivery.reset_after_fork(
            ChannelClosed("this kernel belongs to the process that this one was forked from")
        )
    _open = weakref.WeakSet()


call_at_exit(_close_all)
call_in_forked_child(_disown_all)
