"""One channel's ZeroMQ socket, with the monitor that tells how its connection fares."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import zmq
from zmq.backend import Socket as compiled
from zmq.utils.monitor import parse_monitor_message

from enchannel import ChannelName, ConnectionInfo
from enchannel_zmq._io import Io

__all__ = ["ChannelSocket", "SocketOptions"]

KINDS = {
    ChannelName.SHELL: zmq.DEALER,
    ChannelName.CONTROL: zmq.DEALER,
    ChannelName.STDIN: zmq.DEALER,
    ChannelName.IOPUB: zmq.SUB,
    ChannelName.HEARTBEAT: zmq.DEALER,  # a REQ cannot send twice, and is stuck after a lost beat
}
SENT_AHEAD = 1_000  # messages that libzmq keeps for a kernel that does not read; more wait here
# Milliseconds, 24 days. What libzmq has for it, -1, ends the connection's queue at some moment between two
# frames: what had arrived is dropped, and if they are of one message, the process is aborted.
NEVER = 2**31 - 1
BIG = 65_536  # bytes; frames from that size on are not copied when they are sent
# plain numbers: each use of pyzmq's enums costs as much as receiving a frame
NOBLOCK, SNDMORE, RCVMORE = int(zmq.NOBLOCK), int(zmq.SNDMORE), int(zmq.RCVMORE)
EVENTS, POLLIN, POLLOUT = int(zmq.EVENTS), int(zmq.POLLIN), int(zmq.POLLOUT)
WATCHED = (
    zmq.EVENT_HANDSHAKE_SUCCEEDED
    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_CONNECTED
    | zmq.EVENT_CLOSED
    | zmq.EVENT_DISCONNECTED
)

_monitors = itertools.count()


@dataclass(frozen=True, slots=True, kw_only=True)
class SocketOptions:
    """What is set on every socket of a link.

    Attributes:
        identity: The session's id: shell and stdin have to share it.
        max_received: Bytes; a peer that sends more in one frame is cut off.
        keepalive: Seconds without a sign of life from the other host after which it is gone.
        topic: What iopub is subscribed to beside everything, so that the welcome can name it.
    """

    identity: bytes
    max_received: int
    keepalive_timeout: float
    topic: bytes


class ChannelSocket:
    """A connected socket; lives and dies on the I/O thread. It never connects a second time: what was
    queued for one kernel would be delivered to the next, so a new one takes its place.

    Attributes:
        unsent: Messages that wait until the kernel reads again.
        receive: Gives the next frame, as bytes if called with True, else as a Frame; raises zmq.Again.

    Args:
        io: The thread.
        name: The channel.
        info: Where to.
        options: See SocketOptions.
        received: Is called with the socket when it may have something to be read; whether there is no more.
        happened: Is given the monitor's events.
    """

    def __init__(
        self,
        io: Io,
        name: ChannelName,
        info: ConnectionInfo,
        options: SocketOptions,
        received: Callable[[ChannelSocket], bool],
        happened: Callable[[ChannelSocket, int], None],
    ) -> None:
        self.name = name
        self.is_up = False
        self.unsent: deque[Sequence[bytes | memoryview]] = deque()
        self._io = io
        self._received = received
        self._socket = socket = io.context.socket(KINDS[name])
        try:
            _set(socket, name, info, options)
        except zmq.ZMQError:
            socket.close(linger=0)
            raise
        # not the methods that zmq.Socket adds in Python: they cost more than receiving does
        self.receive: Callable[[bool], Any] = partial(compiled.recv, socket, NOBLOCK)
        if name is ChannelName.IOPUB:
            socket.setsockopt(zmq.SUBSCRIBE, b"")
            socket.setsockopt(zmq.SUBSCRIBE, options.topic)
        self._prefix = [b""] if name is ChannelName.HEARTBEAT else []
        # named here: pyzmq's own names are of descriptors, which are used again
        address = f"inproc://enchannel-monitor-{next(_monitors)}"
        socket.monitor(address, WATCHED)
        self._monitor = _Monitor(io, address, lambda event: happened(self, event))
        self._fileno = socket.FD
        self._closed = False
        io.watch(self._fileno, self)
        try:
            socket.connect(info.url(name))
        except zmq.ZMQError:
            self.close()
            raise

    def send(self, frames: Sequence[bytes | memoryview]) -> None:
        """Send a message now, or, where the kernel does not read, when it does again.

        A beat that cannot be sent now is not sent at all.
        """
        if self.unsent or not self._try([*self._prefix, *frames]):
            if self.name is not ChannelName.HEARTBEAT:
                self.unsent.append(frames)
        self._io.touched(self)

    def _try(self, frames: Sequence[bytes | memoryview]) -> bool:
        send: Any = compiled.send
        socket, more = self._socket, NOBLOCK | SNDMORE
        try:
            for frame in frames[:-1]:
                send(socket, frame, more, len(frame) < BIG)
            send(socket, frames[-1], NOBLOCK, len(frames[-1]) < BIG)
        except zmq.Again:  # only ever by the first frame
            return False
        return True

    def _send_waiting(self) -> None:
        while self.unsent and self._try(self.unsent[0]):
            self.unsent.popleft()

    def goes_on(self) -> bool:
        """Whether the message of the last frame goes on."""
        return bool(compiled.get(self._socket, RCVMORE))

    def drain(self) -> bool:
        drained = self._received(self)
        if self.unsent and not self._closed:
            self._send_waiting()  # that it takes something again, its descriptor says as well
            # and an attempt swallows what the descriptor had to say of what came meanwhile
            drained = drained and not self._has_news()
        return drained or self._closed

    def _has_news(self) -> bool:
        events = int(compiled.get(self._socket, EVENTS))
        return bool(events & POLLIN or (events & POLLOUT and self.unsent))

    def close(self, *, linger: int = 0) -> None:
        """Let go of it.

        Args:
            linger: Milliseconds in which what was said is still sent; the rest is dropped.
        """
        if self._closed:
            return
        self._closed = True
        if linger and self.unsent:
            self._send_waiting()
        self._io.unwatch(self._fileno, self)
        self._socket.disable_monitor()
        self._monitor.close()
        self._socket.close(linger=linger)


class _Monitor:
    def __init__(self, io: Io, address: str, happened: Callable[[int], None]) -> None:
        self._io = io
        self._happened = happened
        self._socket = io.context.socket(zmq.PAIR)
        self._socket.linger = 0
        self._socket.connect(address)
        self._fileno = self._socket.FD
        self._closed = False
        io.watch(self._fileno, self)

    def drain(self) -> bool:
        events: list[int] = []
        try:
            while True:
                events.append(parse_monitor_message(self._socket.recv_multipart(NOBLOCK))["event"])
        except zmq.Again:
            pass
        for event in events:
            if not self._closed:
                self._happened(event)
        return True

    def close(self) -> None:
        self._closed = True
        self._io.unwatch(self._fileno, self)
        self._socket.close(linger=0)


def _set(
    socket: zmq.Socket[bytes], name: ChannelName, info: ConnectionInfo, options: SocketOptions
) -> None:
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.RECONNECT_IVL, NEVER)
    socket.setsockopt(zmq.RCVHWM, 0)  # a slow subscriber never makes the kernel drop output
    socket.setsockopt(zmq.SNDHWM, SENT_AHEAD)
    socket.setsockopt(zmq.MAXMSGSIZE, options.max_received)
    if KINDS[name] == zmq.DEALER:
        socket.setsockopt(zmq.IDENTITY, options.identity)
    if info.transport == "tcp":
        seconds = max(1, round(options.keepalive_timeout))
        socket.setsockopt(zmq.TCP_KEEPALIVE, 1)
        socket.setsockopt(zmq.TCP_KEEPALIVE_IDLE, max(1, seconds // 2))
        socket.setsockopt(zmq.TCP_KEEPALIVE_INTVL, 1)
        socket.setsockopt(zmq.TCP_KEEPALIVE_CNT, max(1, seconds - seconds // 2))
        if name in (ChannelName.HEARTBEAT, ChannelName.IOPUB):
            # Not on the others: to Linux, who does not read is as gone as who does not answer. On these so
            # little is said that it is taken all the same, and beats are what tells of a host that is gone.
            socket.setsockopt(zmq.TCP_MAXRT, seconds * 1000)
        if ":" in info.ip:
            socket.setsockopt(zmq.IPV6, 1)
    if info.curve_publickey:
        socket.setsockopt(zmq.CURVE_SERVERKEY, info.curve_publickey.encode())
        socket.setsockopt(zmq.CURVE_PUBLICKEY, info.curve_publickey.encode())
        socket.setsockopt(zmq.CURVE_SECRETKEY, info.curve_secretkey.reveal().encode())
