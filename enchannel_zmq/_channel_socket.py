"""One channel's ZeroMQ socket, and the monitor that reports its connection events."""

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
from enchannel.errors import EnchannelError
from enchannel.wire.receiving import Receiver
from enchannel.wire.signing import Signer
from enchannel_zmq._io_thread import IoThread

__all__ = ["ChannelSocket", "SocketOptions"]

KINDS = {
    ChannelName.SHELL: zmq.DEALER,
    ChannelName.CONTROL: zmq.DEALER,
    ChannelName.STDIN: zmq.DEALER,
    ChannelName.IOPUB: zmq.SUB,
    # A REQ socket cannot send twice, so a single lost beat would block it forever.
    ChannelName.HEARTBEAT: zmq.DEALER,
}
# Messages that libzmq queues for a kernel that does not read; ``unsent`` holds the rest.
SEND_HIGH_WATER_MARK = 1_000
# 24 days, in effect never. With libzmq's own value for never, -1, a lost connection's queue ends between
# any two frames: received messages are dropped, and if both are of one message, libzmq aborts the process.
RECONNECT_INTERVAL_MS = 2**31 - 1
MIN_ZERO_COPY_BYTES = 65_536
# As plain integers, because each use of pyzmq's enums costs as much as receiving a frame.
NOBLOCK, SNDMORE, RCVMORE = int(zmq.NOBLOCK), int(zmq.SNDMORE), int(zmq.RCVMORE)
EVENTS, POLLIN, POLLOUT = int(zmq.EVENTS), int(zmq.POLLIN), int(zmq.POLLOUT)
WATCHED_EVENTS = (
    zmq.EVENT_HANDSHAKE_SUCCEEDED
    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_CONNECTED
    | zmq.EVENT_CLOSED
    | zmq.EVENT_DISCONNECTED
)

_monitor_numbers = itertools.count()


@dataclass(frozen=True, slots=True, kw_only=True)
class SocketOptions:
    """Options of all sockets of a link.

    Attributes:
        identity: ZeroMQ identity: the session id. Shell and stdin must share it.
        max_received: Maximum frame size in bytes; a peer that sends more is disconnected.
        keepalive_timeout: Seconds after which a connection to a host that does not respond is lost.
        topic: An iopub subscription in addition to the one to everything; the welcome message names it.
    """

    identity: bytes
    max_received: int
    keepalive_timeout: float
    topic: bytes


class ChannelSocket:
    """The connected socket of one channel; use it on the I/O thread only.

    It never reconnects, because messages queued for one kernel would be delivered to its successor. A lost
    socket is replaced by a new one.

    Args:
        io: The I/O thread.
        name: The channel.
        info: The addresses.
        options: The socket options.
        signer: Verifies incoming messages.
        on_readable: Called with the socket when frames may have arrived; returns True once all are read.
        on_event: Called with the socket and each ``zmq.EVENT_…`` of its monitor.
        report: Receives an error for each message that could be decoded only in part.

    Attributes:
        name: The channel.
        is_connected: True while the ZeroMQ handshake is done and the connection is up.
        unsent: Messages waiting for a kernel that does not read.
        receiver: Receives, verifies and decodes messages.
        receive: Returns the next frame, as bytes if called with True, else as a Frame; raises zmq.Again.

    Raises:
        zmq.ZMQError: libzmq rejects the address or an option.
    """

    def __init__(
        self,
        io: IoThread,
        name: ChannelName,
        info: ConnectionInfo,
        options: SocketOptions,
        signer: Signer,
        *,
        on_readable: Callable[[ChannelSocket], bool],
        on_event: Callable[[ChannelSocket, int], None],
        report: Callable[[EnchannelError], None],
    ) -> None:
        self.name = name
        self.is_connected = False
        self.unsent: deque[Sequence[bytes | memoryview]] = deque()
        self._io = io
        self._on_readable = on_readable
        self._socket = socket = io.context.socket(KINDS[name])
        try:
            _set_options(socket, name, info, options)
        except zmq.ZMQError:
            socket.close(linger=0)
            raise
        # Bypasses the methods that zmq.Socket adds in Python, which cost more than receiving a frame.
        self.receive: Callable[[bool], Any] = partial(compiled.recv, socket, NOBLOCK)
        # Each socket has its own replay guard, since no message arrives on two sockets.
        self.receiver = Receiver(
            name, signer, self.receive, zmq.Again, self.has_more_frames, report
        )
        if name is ChannelName.IOPUB:
            socket.setsockopt(zmq.SUBSCRIBE, b"")
            socket.setsockopt(zmq.SUBSCRIBE, options.topic)
        self._prefix = [b""] if name is ChannelName.HEARTBEAT else []
        # pyzmq names monitors after file descriptors, which are reused; these names are unique.
        address = f"inproc://enchannel-monitor-{next(_monitor_numbers)}"
        socket.monitor(address, WATCHED_EVENTS)
        self._monitor = _Monitor(io, address, lambda event: on_event(self, event))
        self._fileno = socket.FD
        self._closed = False
        io.watch(self._fileno, self)
        try:
            socket.connect(info.url(name))
        except zmq.ZMQError:
            self.close()
            raise

    def send(self, frames: Sequence[bytes | memoryview]) -> None:
        """Send a message, or queue it in ``unsent`` if the kernel does not read.

        A heartbeat that cannot be sent at once is dropped.
        """
        if self.unsent or not self._try_send([*self._prefix, *frames]):
            if self.name is not ChannelName.HEARTBEAT:
                self.unsent.append(frames)
        self._io.recheck(self)

    def _try_send(self, frames: Sequence[bytes | memoryview]) -> bool:
        send: Any = compiled.send
        socket, more = self._socket, NOBLOCK | SNDMORE
        try:
            for frame in frames[:-1]:
                send(socket, frame, more, len(frame) < MIN_ZERO_COPY_BYTES)
            send(socket, frames[-1], NOBLOCK, len(frames[-1]) < MIN_ZERO_COPY_BYTES)
        except zmq.Again:  # raised only for the first frame
            return False
        return True

    def _send_queued(self) -> None:
        while self.unsent and self._try_send(self.unsent[0]):
            self.unsent.popleft()

    def has_more_frames(self) -> bool:
        """Return True if the last received frame is not the last of its message."""
        return bool(compiled.get(self._socket, RCVMORE))

    def drain(self) -> bool:
        drained = self._on_readable(self)
        if self.unsent and not self._closed:
            # The descriptor reports writable and readable alike. Sending consumes the wake-up for messages
            # that arrived meanwhile, so look at the socket's events afterwards.
            self._send_queued()
            drained = drained and not self._has_pending_events()
        return drained or self._closed

    def _has_pending_events(self) -> bool:
        events = int(compiled.get(self._socket, EVENTS))
        return bool(events & POLLIN or (events & POLLOUT and self.unsent))

    def close(self, *, linger_ms: int = 0) -> None:
        """Close the socket and its monitor; a no-op if closed.

        Args:
            linger_ms: Milliseconds for sending queued messages; the rest are dropped.
        """
        if self._closed:
            return
        self._closed = True
        if linger_ms and self.unsent:
            self._send_queued()
        self._io.unwatch(self._fileno, self)
        self._socket.disable_monitor()
        self._monitor.close()
        self._socket.close(linger=linger_ms)


class _Monitor:
    """Receives the connection events of a socket."""

    def __init__(self, io: IoThread, address: str, on_event: Callable[[int], None]) -> None:
        self._io = io
        self._on_event = on_event
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
                self._on_event(event)
        return True

    def close(self) -> None:
        self._closed = True
        self._io.unwatch(self._fileno, self)
        self._socket.close(linger=0)


def _set_options(
    socket: zmq.Socket[bytes], name: ChannelName, info: ConnectionInfo, options: SocketOptions
) -> None:
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.RECONNECT_IVL, RECONNECT_INTERVAL_MS)
    # Without a limit, since a full queue here would make the kernel drop output.
    socket.setsockopt(zmq.RCVHWM, 0)
    socket.setsockopt(zmq.SNDHWM, SEND_HIGH_WATER_MARK)
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
            # Only on these two: with it, Linux also drops a connection whose peer is alive and does not
            # read. Here so little is sent that it always fits, and the beats reveal a host that is gone.
            socket.setsockopt(zmq.TCP_MAXRT, seconds * 1000)
        if ":" in info.ip:
            socket.setsockopt(zmq.IPV6, 1)
    if info.curve_publickey:
        socket.setsockopt(zmq.CURVE_SERVERKEY, info.curve_publickey.encode())
        socket.setsockopt(zmq.CURVE_PUBLICKEY, info.curve_publickey.encode())
        socket.setsockopt(zmq.CURVE_SECRETKEY, info.curve_secretkey.reveal().encode())
