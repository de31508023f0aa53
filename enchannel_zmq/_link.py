"""A link to one kernel: its five sockets, whether they are up, and what is done when they are not.

Everything here happens on the I/O thread, but for ``open``, ``say`` and ``close``.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from copy import copy
from functools import partial
from ipaddress import ip_address

import zmq

from enchannel import (
    AnyMessage,
    ChannelName,
    ConnectionInfo,
    Session,
    kernel_info_request,
)
from enchannel.abc import (
    Capabilities,
    ChannelPair,
    KernelState,
    Lifecycle,
    Link,
    LinkEvent,
    LinkState,
)
from enchannel.backends import CallbackObserver, IncomingSubject, Lease
from enchannel.errors import (
    AuthenticationFailed,
    ChannelClosed,
    ConnectionFailed,
    ConnectionLost,
    EnchannelError,
    InvalidSignature,
    KernelDied,
    MalformedFrame,
    MessagesMayBeMissing,
    RejectedFrame,
)
from enchannel.wire.receiving import Receiver
from enchannel.wire.signing import Signer
from enchannel.wire.zmq import encode
from enchannel_zmq._io import Io, Timer, shared
from enchannel_zmq._socket import ChannelSocket, SocketOptions

__all__ = ["ZmqLink"]

ASSESS = 0.02  # seconds in which the sockets of a kernel that died go, one after the other
NUDGE = 0.05  # seconds after which a kernel that does not welcome is nudged
RETRY_FIRST, RETRY_MOST = 0.02, 1.0
LAST_WORDS = 500  # batches that are read of a socket whose kernel is gone
CLOSE = 5.0
LINGER = 1000  # milliseconds: what was said before the end is said, an interrupt above all
REQUESTED = (ChannelName.SHELL, ChannelName.CONTROL)
MESSAGES = (ChannelName.SHELL, ChannelName.CONTROL, ChannelName.STDIN, ChannelName.IOPUB)


class ZmqLink:
    """The sockets of one kernel.

    Args:
        info: Where they connect to.
        session: Who we are.
        kernel_id: What the kernel is called in texts.
        options: For the sockets.
        reconnect_timeout: Seconds for which a lost kernel is looked for again before it is given up.
        why_died: Asked when all sockets are gone: it calls back with what became of the process (None:
            it lives); without it the sockets' end is all that is known.
    """

    def __init__(
        self,
        info: ConnectionInfo,
        session: Session,
        *,
        kernel_id: str,
        max_received: int,
        keepalive_timeout: float,
        reconnect_timeout: float,
        why_died: Callable[[Callable[[KernelDied | None], None]], None] | None = None,
    ) -> None:
        self.kernel_id = kernel_id
        self.info = info
        self.events: IncomingSubject[LinkEvent] = IncomingSubject()
        self._session = session
        self._options = SocketOptions(
            identity=session.id.encode(),
            max_received=max_received,
            keepalive_timeout=keepalive_timeout,
            topic=b"enchannel-" + uuid.uuid4().hex.encode(),
        )
        self._reconnect_timeout = reconnect_timeout
        self._why_died = why_died
        self._signer = Signer(info.key.reveal().encode(), info.signature_scheme)
        self._incoming = {name: IncomingSubject[AnyMessage]() for name in MESSAGES}
        self._beats: IncomingSubject[bytes] = IncomingSubject()
        self._receivers: dict[ChannelName, Receiver] = {}
        self._sockets: dict[ChannelName, ChannelSocket] = {}
        self._failures: dict[ChannelName, str] = {}
        self._waits: dict[ChannelName, float] = {}
        self._io: Io | None = None
        self._lease: Lease[Io] | None = None
        self._heard = False  # something on iopub, which proves the subscription
        self._nudges: set[str] = set()
        self._timers: list[Timer] = []
        self._give_up: Timer | None = None
        self._assessing = False
        self._generation = 0  # how often it was connected
        self._ready = False
        self._partly = False  # lost on some sockets, and kept on the others
        self._opened = threading.Event()
        self._failure: EnchannelError | None = None
        self._gone: EnchannelError | None = ConnectionLost("the link is not open yet")
        self._closed = False

    # -- for any thread ---------------------------------------------------------------------------

    def open(self, timeout: float) -> None:
        """Connect, and return when nothing is lost any more.

        Raises:
            ConnectionFailed: nothing of it is left.
        """
        try:
            self._lease = shared.lease()
            self._io = self._lease.resource
            self._io.post(self._start)
            if not self._opened.wait(timeout):
                raise self._explain(timeout)
            if self._failure is not None:
                raise self._failure
        except BaseException:
            self.close()
            raise

    def reopen(self, timeout: float) -> None:
        """Connect again after ``suspend``, as ``open`` does; a failure leaves it suspended."""
        assert self._io is not None  # noqa: S101  # for the type checkers
        self._opened.clear()
        self._failure = None
        self._io.post(self._start)
        if not self._opened.wait(timeout):
            failure: EnchannelError = self._explain(timeout)
            self.suspend(ConnectionLost("the kernel does not answer"))
            raise failure
        if self._failure is not None:
            raise self._failure

    def abandon(self) -> None:
        """Wait no longer in ``open``: there will be no answer; from any thread."""
        self._fail(ConnectionFailed(f"{self._who()} ended"))

    def link(self, lifecycle: Lifecycle | None = None) -> Link:
        """What the core is given."""
        pairs: dict[ChannelName, ChannelPair[AnyMessage] | ChannelPair[bytes]] = {
            name: ChannelPair(
                self._incoming[name],
                CallbackObserver(self._saying(name)),
                partial(self._unsent, name),
            )
            for name in MESSAGES
        }
        beat = CallbackObserver[bytes](lambda beat: self._post(ChannelName.HEARTBEAT, [beat]))
        pairs[ChannelName.HEARTBEAT] = ChannelPair(self._beats, beat)
        return Link(
            pairs=pairs,
            events=self.events,
            close=self.close,
            kernel_id=self.kernel_id,
            capabilities=Capabilities(lifecycle=lifecycle is not None),
            lifecycle=lifecycle,
        )

    def say(self, message: AnyMessage) -> None:
        """Send a message on its channel."""
        self._post(message.channel, encode(message, self._signer))

    def close(self) -> None:
        """Close the sockets; may be called again, and from any thread."""
        io, self._io = self._io, None
        lease = self._lease
        if lease is None:
            return
        try:
            if io is not None:
                io.call(self._finish, CLOSE)
        finally:  # also when Ctrl-C ends the wait: it is done all the same
            lease.release()

    def suspend(self, why: EnchannelError) -> None:
        """Close the sockets until ``reopen``; what is open fails with the reason."""
        io = self._io
        if io is not None:
            io.call(lambda: self._lose(why), CLOSE)

    def _unsent(self, name: ChannelName) -> int:
        socket = self._sockets.get(name)
        return 0 if socket is None else len(socket.unsent)

    def _saying(self, name: ChannelName) -> Callable[[AnyMessage], None]:
        def say(message: AnyMessage) -> None:
            self._post(name, encode(message, self._signer))

        return say

    def _post(self, name: ChannelName, frames: list[bytes | memoryview] | list[bytes]) -> None:
        io, gone = self._io, self._gone
        if io is None:
            raise ChannelClosed(f"the connection to kernel {self.kernel_id} is closed")
        if gone is not None:
            raise copy(gone)

        def send() -> None:
            socket = self._sockets.get(name)
            if socket is not None and self._gone is None:
                socket.send(frames)

        io.post(send)

    # -- connecting -------------------------------------------------------------------------------

    def _start(self) -> None:
        self._heard = self._ready = False
        self._failures.clear()
        for name in ChannelName:
            self._waits[name] = RETRY_FIRST
            self._connect(name)

    def _connect(self, name: ChannelName) -> None:
        if self._closed or self._io is None:
            return
        if (old := self._sockets.pop(name, None)) is not None:
            old.close()
        received = self._received_beat if name is ChannelName.HEARTBEAT else self._received
        try:
            socket = ChannelSocket(
                self._io, name, self.info, self._options, received, self._happened
            )
        except zmq.ZMQError as error:
            self._fail(ConnectionFailed(f"{self._who()}: {name} cannot be connected: {error}"))
            return
        self._sockets[name] = socket
        # each with a guard of its own: what one socket saw before, another never sees
        self._receivers[name] = Receiver(
            name, self._signer, socket.receive, zmq.Again, socket.goes_on, self.events.on_next
        )

    def _happened(self, socket: ChannelSocket, event: int) -> None:
        name = socket.name
        if self._sockets.get(name) is not socket:
            return
        if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
            socket.is_up = True
            self._failures.pop(name, None)
            self._waits[name] = RETRY_FIRST
            if self._are_all_up():
                self._all_up()
        elif event == zmq.EVENT_CONNECTED:
            self._failures[name] = "something listens there, and does not speak as a kernel would"
        elif event == zmq.EVENT_DISCONNECTED and (self._ready or (self._partly and socket.is_up)):
            socket.is_up = False
            if not self._assessing:
                self._assessing = True
                self._later(ASSESS, self._assess)
        elif not (self._ready or self._assessing):
            socket.is_up = False
            if event == zmq.EVENT_CLOSED:
                self._failures.setdefault(name, "nobody listens there")
            self._retry(name)

    def _retry(self, name: ChannelName) -> None:
        if (old := self._sockets.pop(name, None)) is not None:
            old.close()
        wait = self._waits[name]
        self._waits[name] = min(wait * 1.5, RETRY_MOST)
        self._later(wait, lambda: self._connect(name))

    def _all_up(self) -> None:
        if self._heard:
            self._become_ready()
        elif not self._ready:
            self._later(NUDGE, self._nudge)

    def _nudge(self) -> None:
        """Ask for anything at all: what comes on iopub proves that it arrives."""
        if self._ready or self._heard or self._closed:
            return
        for name in (ChannelName.CONTROL, ChannelName.SHELL):
            message = self._session.fill_headers(kernel_info_request(channel=name))
            self._nudges.add(message.header.msg_id)
            if (socket := self._sockets.get(name)) is not None and socket.is_up:
                socket.send(encode(message, self._signer))
        self._later(NUDGE * 4, self._nudge)

    def _become_ready(self) -> None:
        if self._ready:
            return
        self._ready, self._partly, self._gone = True, False, None
        self._generation += 1
        if self._give_up is not None:
            self._give_up.cancel()
            self._give_up = None
        self.events.on_next(LinkState.CONNECTED)
        if self._opened.is_set():  # it was lost, and is back
            self.events.on_next(KernelState.IDLE)
        self._opened.set()

    def _fail(self, error: EnchannelError) -> None:
        self._failure = self._failure or error
        self._opened.set()

    # -- messages ---------------------------------------------------------------------------------

    def _received_beat(self, socket: ChannelSocket) -> bool:
        try:
            beat = socket.receive(False)
            while beat.more:  # an empty frame, before what was sent
                beat = socket.receive(False)
        except zmq.Again:
            return True
        self._beats.on_next(beat.bytes)
        return False

    def _received(self, socket: ChannelSocket) -> bool:
        name = socket.name
        messages, drained = self._receivers[name].messages()
        emit, nudges = self._incoming[name].on_next, self._nudges
        flows = self._ready and name is ChannelName.IOPUB
        for message in messages:
            try:
                if isinstance(message, RejectedFrame):
                    self._rejected(name, message)
                elif (
                    flows
                    and message.header.msg_type != "iopub_welcome"
                    and message.parent_header.msg_id not in nudges
                ):
                    emit(message)
                else:
                    self._take(name, message)
            except Exception as error:  # whatever it is, it is not the next message's fault
                self.events.on_next(
                    MalformedFrame(
                        f"a message on {name.value} could be read, and not handled "
                        f"({type(error).__name__}: {error}); it was dropped"
                    )
                )
        return drained

    def _take(self, name: ChannelName, message: AnyMessage) -> None:
        if name is ChannelName.IOPUB and not self._heard:
            self._heard = True
            if self._are_all_up():
                self._become_ready()
        if self._is_ours(message):
            return
        if name in REQUESTED and message.header.msg_type.endswith("_request"):
            self._echoed(name)
            return
        if self._ready:
            self._incoming[name].on_next(message)

    def _is_ours(self, message: AnyMessage) -> bool:
        """Whether it only answers a nudge, or welcomes to a topic that nobody asked for but we."""
        if message.parent_header.msg_id in self._nudges:
            return True
        return (
            message.header.msg_type == "iopub_welcome"
            and message.content.get("subscription") == self._options.topic.decode()
        )

    def _echoed(self, name: ChannelName) -> None:
        """No kernel asks anything there: what listens says again what it is told."""
        text = (
            f"{self._who()} echoes what is said on {name} ({self.info.url(name)}), as only a "
            "heartbeat does: are the ports of the two mixed up?"
        )
        if not self._opened.is_set():
            self._fail(ConnectionFailed(text))
        elif self._ready or self._partly:
            self._lose(ConnectionLost(text))
            self.events.on_error(ConnectionLost(text))

    def _rejected(self, name: ChannelName, error: RejectedFrame) -> None:
        if isinstance(error, InvalidSignature) and not self._opened.is_set():
            self._fail(
                AuthenticationFailed(
                    f"{self._who()} answers on {name}, but signs with another key than the one "
                    "we were given; is the connection file an old one?"
                )
            )
            return
        self.events.on_next(error)

    # -- losing it, and finding it again ----------------------------------------------------------

    def _assess(self) -> None:
        """Some sockets went: did the kernel go, or only they?"""
        self._assessing = False
        if self._closed or not (self._ready or self._partly):
            return
        down = [name for name in ChannelName if not self._is_up(name)]
        if len(down) < len(ChannelName):
            self._lost_some(down)
        elif self._why_died is not None:
            generation = self._generation

            def told(died: KernelDied | None) -> None:
                if generation == self._generation:  # it was not restarted meanwhile
                    self._lost_all(died)

            self._why_died(lambda died: self._post_here(lambda: told(died)))
        else:
            self._lost_all(
                KernelDied(f"{self._who()} closed all its sockets: it ended or was restarted")
            )

    def _post_here(self, call: Callable[[], None]) -> None:
        io = self._io
        if io is not None:
            io.post(call)

    def _lost_some(self, down: list[ChannelName]) -> None:
        names = ", ".join(down)
        more, self._partly = self._partly, True
        if more or ChannelName.SHELL in down or ChannelName.CONTROL in down:
            why: EnchannelError = ConnectionLost(
                f"{self._who()} was cut off on {names}; what was asked there is not answered"
            )
        else:
            why = MessagesMayBeMissing(
                f"{self._who()} was cut off on {names} and is connected to again: what it said "
                f"meanwhile is lost (a message over max_received={self._options.max_received} bytes "
                "is a cause)"
            )
        if more:  # goes than is looked for already: begin anew with all of them
            self._lose(why)
            self._look_again(list(ChannelName), why)
            return
        self._gone = ConnectionLost(str(why))
        self.events.on_next(LinkState.LOST)
        self.events.on_next(why)
        self._ready = False
        if ChannelName.IOPUB in down:
            self._heard = False
        self._look_again(down, why)

    def _lost_all(self, died: KernelDied | None) -> None:
        if self._closed or not (self._ready or self._partly):
            return
        lives = died is None and self._why_died is not None
        why: EnchannelError = died or ConnectionLost(f"{self._who()} lives, and was cut off")
        self._lose(why)
        if not lives:
            self.events.on_next(KernelState.DEAD)
        if lives or self._why_died is None:
            self._look_again(list(ChannelName), why)

    def died(self, why: KernelDied) -> None:
        """The process ended; from any thread."""

        def lost() -> None:
            if self._closed:
                return
            if self._ready or self._partly:
                self._lost_all(why)
            elif self._give_up is not None and isinstance(self._gone, ConnectionLost):
                self._stop_looking(why)

        self._post_here(lost)

    def _stop_looking(self, why: KernelDied) -> None:
        """It was taken for one that lives and was cut off: its process took its time to end."""
        if self._give_up is not None:
            self._give_up.cancel()
            self._give_up = None
        self._lose(why)
        self.events.on_next(KernelState.DEAD)

    def _lose(self, why: EnchannelError) -> None:
        """Close the sockets, with what was queued in them, before anything else can happen."""
        self._hear_out()
        self._gone = why
        self._ready = self._partly = self._heard = False
        self._cancel_timers()
        self._close_sockets()
        self.events.on_next(LinkState.LOST)
        self.events.on_next(why)

    def _hear_out(self) -> None:
        """What the kernel had said before the end has arrived, and may not be read yet."""
        for name, socket in list(self._sockets.items()):
            for _ in range(LAST_WORDS):
                if self._sockets.get(name) is not socket or socket.drain():
                    break

    def _look_again(self, names: list[ChannelName], why: EnchannelError) -> None:
        io = self._io
        if io is None:  # closed by who was told that it is lost
            return
        if self._give_up is None:
            self._give_up = io.later(self._reconnect_timeout, lambda: self._given_up(why))
        for name in names:
            self._retry(name)

    def _given_up(self, why: EnchannelError) -> None:
        if self._ready or self._closed:
            return
        self._give_up = None
        self._cancel_timers()
        self._close_sockets()
        text = f"{why}; it did not come back within {self._reconnect_timeout:g} s"
        kind = KernelDied if isinstance(why, KernelDied) else ConnectionLost
        self._gone = kind(text)
        self.events.on_error(kind(text))

    # -- the end ----------------------------------------------------------------------------------

    def _finish(self) -> None:
        self._closed = True
        if self._give_up is not None:
            self._give_up.cancel()
        self._cancel_timers()
        self._close_sockets(linger=LINGER if self._ready else 0)
        self.events.on_completed()

    def _close_sockets(self, *, linger: int = 0) -> None:
        sockets, self._sockets = self._sockets, {}
        for socket in sockets.values():
            socket.close(linger=linger if socket.is_up else 0)

    def _later(self, seconds: float, call: Callable[[], None]) -> None:
        io = self._io
        if io is None:
            return
        self._timers = [timer for timer in self._timers if timer.call is not None]
        timer: Timer

        def called() -> None:
            timer.call = None
            call()

        timer = io.later(seconds, called)
        self._timers.append(timer)

    def _cancel_timers(self) -> None:
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        self._assessing = False

    # -- words ------------------------------------------------------------------------------------

    def _who(self) -> str:
        return f"kernel {self.kernel_id}"

    def _explain(self, timeout: float) -> ConnectionFailed:
        """Why a kernel did not answer, as far as can be told."""
        info, failures = self.info, dict(self._failures)
        down = [n for n in ChannelName if n in failures or not self._is_up(n)]
        if not down:
            hint = (
                "all its sockets connect, but nothing comes on iopub: is it busy and of a kind "
                "that answers nothing meanwhile, or is the key a wrong one?"
            )
            down = [ChannelName.IOPUB]
        elif any(
            "listens" in failures.get(n, "") and "nobody" not in failures[n] for n in failures
        ):
            hint = "something else than a kernel listens there"
            if not info.curve_publickey:
                hint += ", or one that wants CURVE encryption and the file has no CURVE keys"
            else:
                hint += ", or one without CURVE encryption, for which the file has keys"
        elif info.transport == "ipc":
            hint = "there is no such socket, or nobody listens on it: has the kernel ended?"
        else:
            hint = "nobody listens there: has the kernel ended, or is the port a wrong one?"
            if not _is_address(info.ip):
                hint += f" And is there a host {info.ip}?"
        where = ", ".join(f"{name} ({info.url(name)})" for name in down)
        return ConnectionFailed(
            f"{self._who()} did not answer within {timeout:g} s on {where}: {hint}"
        )

    def _are_all_up(self) -> bool:
        return all(self._is_up(name) for name in ChannelName)  # also those that are tried again

    def _is_up(self, name: ChannelName) -> bool:
        socket = self._sockets.get(name)
        return socket is not None and socket.is_up


def _is_address(ip: str) -> bool:
    """Whether it is looked up nowhere."""
    try:
        ip_address(ip)
    except ValueError:
        return ip in ("localhost", "*")
    return True
