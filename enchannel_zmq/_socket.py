"""One channel's ZeroMQ socket, with the monitor that tells how its connection fares."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import zmq
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
DRAIN = 128  # messages that are read of one socket before another has its turn
NOBLOCK = int(zmq.NOBLOCK)
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
        max_message: Bytes; a peer that sends more in one frame is cut off.
        keepalive: Seconds without a sign of life from the other host after which it is gone.
        topic: What iopub is subscribed to beside everything, so that the welcome can name it.
    """

    identity: bytes
    max_message: int
    keepalive: float
    topic: bytes


class ChannelSocket:
    """A connected socket; lives and dies on the I/O thread. It never connects a second time: what was
    queued for one kernel would be delivered to the next, so a new one takes its place.

    Args:
        io: The thread.
        name: The channel.
        info: Where to.
        options: See SocketOptions.
        received: Is given the frames of each message.
        happened: Is given the monitor's events.
    """

    def __init__(
        self,
        io: Io,
        name: ChannelName,
        info: ConnectionInfo,
        options: SocketOptions,
        received: Callable[[ChannelSocket, list[bytes]], None],
        happened: Callable[[ChannelSocket, int], None],
    ) -> None:
        self.name = name
        self.is_up = False
        self._io = io
        self._received = received
        self._socket = socket = io.context.socket(KINDS[name])
        try:
            _set(socket, name, info, options)
        except zmq.ZMQError:
            socket.close(linger=0)
            raise
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

    def send(self, frames: Sequence[bytes | memoryview]) -> bool:
        """Send a message; whether there was somebody to send it to."""
        try:
            self._socket.send_multipart([*self._prefix, *frames], NOBLOCK)
        except zmq.ZMQError:
            return False
        self._io.touched(self)
        return True

    def drain(self) -> bool:
        batch: list[list[bytes]] = []
        recv = self._socket.recv_multipart
        try:
            while len(batch) < DRAIN:
                batch.append(recv(NOBLOCK))
            drained = False
        except zmq.Again:
            drained = True
        # handed on when nothing more is received: each recv gives the GIL to whoever waits for it
        for frames in batch:
            self._received(self, frames)
        return drained or self._closed

    def close(self, *, linger: int = 0) -> None:
        """Let go of it.

        Args:
            linger: Milliseconds in which what was said is still sent; the rest is dropped.
        """
        if self._closed:
            return
        self._closed = True
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
    socket.setsockopt(zmq.RECONNECT_IVL, -1)
    socket.setsockopt(zmq.RCVHWM, 0)  # a slow subscriber never makes the kernel drop output
    socket.setsockopt(zmq.SNDHWM, 0)
    socket.setsockopt(zmq.MAXMSGSIZE, options.max_message)
    if KINDS[name] == zmq.DEALER:
        socket.setsockopt(zmq.IDENTITY, options.identity)
    if info.transport == "tcp":
        seconds = max(1, round(options.keepalive))
        socket.setsockopt(zmq.TCP_KEEPALIVE, 1)
        socket.setsockopt(zmq.TCP_KEEPALIVE_IDLE, max(1, seconds // 2))
        socket.setsockopt(zmq.TCP_KEEPALIVE_INTVL, 1)
        socket.setsockopt(zmq.TCP_KEEPALIVE_CNT, max(1, seconds - seconds // 2))
        socket.setsockopt(zmq.TCP_MAXRT, seconds * 1000)
        if ":" in info.ip:
            socket.setsockopt(zmq.IPV6, 1)
    if info.curve_publickey:
        socket.setsockopt(zmq.CURVE_SERVERKEY, info.curve_publickey.encode())
        socket.setsockopt(zmq.CURVE_PUBLICKEY, info.curve_publickey.encode())
        socket.setsockopt(zmq.CURVE_SECRETKEY, info.curve_secretkey.reveal().encode())
