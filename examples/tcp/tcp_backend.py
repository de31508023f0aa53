"""A backend for kernels behind a TCP connection: ``tcp://host:port``.

Each frame on the connection is its length (four bytes, big-endian) and then that many bytes. The first
frame from the client is the id of its session; the server answers with the kernel id. All other frames are
messages, encoded by ``enchannel.wire.websocket``.
"""

import socket
import struct
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from copy import copy
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from enchannel import AnyMessage, ChannelName, LinkState
from enchannel.abc import Backend, Capabilities, ChannelPair, Link, LinkEvent, OpenContext
from enchannel.backends import CallbackObserver, IncomingSubject
from enchannel.errors import (
    ChannelClosed,
    ConnectionFailed,
    ConnectionLost,
    InvalidMessage,
    MalformedFrame,
)
from enchannel.wire.websocket import decode, encode

CHANNELS = frozenset(ChannelName) - {ChannelName.HEARTBEAT}
MAX_FRAME_BYTES = 1 << 24
RECONNECT_INTERVAL = 0.1
CLOSE_GRACE_PERIOD = 1.0


class TcpBackend(Backend):
    """Opens links over TCP."""

    contract = 1

    def open(self, target: Any, context: OpenContext, *, reconnect_timeout: float = 30.0) -> Link:
        return TcpLink(target, context, reconnect_timeout).link


class FrameConnection:
    """Frames over a socket. A thread sends them, so that ``send`` never blocks."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._queue: deque[tuple[bytes, ChannelName | None]] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._send_queue, name="tcp sender", daemon=True)
        self._thread.start()

    def send(self, frame: bytes, channel: ChannelName | None = None) -> None:
        """Queue a frame."""
        with self._changed:
            self._queue.append((frame, channel))
            self._changed.notify()

    def unsent(self, channel: ChannelName) -> int:
        """Return the number of queued frames of a channel."""
        with self._changed:
            return sum(queued is channel for _, queued in self._queue)

    def frames(self) -> Iterator[bytes]:
        """Yield the incoming frames until the connection ends; one that is too large is empty."""
        # A broken connection ends the iteration as well.
        with suppress(OSError):
            while len(length := self._read(4)) == 4:
                (size,) = struct.unpack(">I", length)
                frame = self._read(min(size, MAX_FRAME_BYTES))
                while (size := size - MAX_FRAME_BYTES) > 0:
                    frame = b""
                    self._read(min(size, MAX_FRAME_BYTES))
                yield frame

    def _read(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size and (chunk := self._socket.recv(size - len(data))):
            data += chunk
        return bytes(data)

    def close(self, grace_period: float = 0.0) -> None:
        """Close the connection; wait up to ``grace_period`` seconds for the queued frames."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join(grace_period)
        # The peer may have disconnected already.
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join()

    def _send_queue(self) -> None:
        # The reading thread notices a broken connection too, and reports it.
        with suppress(OSError):
            while True:
                with self._changed:
                    self._changed.wait_for(lambda: self._queue or self._closed)
                    if not self._queue:
                        return
                    frame, _ = self._queue[0]
                self._socket.sendall(struct.pack(">I", len(frame)) + frame)
                with self._changed:
                    self._queue.popleft()


class TcpLink:
    """A link whose thread reads from the connection, emits, and reconnects."""

    def __init__(self, target: Any, context: OpenContext, reconnect_timeout: float) -> None:
        self._target, self._session = target, context.session
        self._reconnect_timeout = reconnect_timeout
        self._incoming: dict[ChannelName, IncomingSubject[AnyMessage]] = {
            name: IncomingSubject() for name in CHANNELS
        }
        self._events: IncomingSubject[LinkEvent] = IncomingSubject()
        self._closed = threading.Event()
        self._lost: ConnectionLost | None = None
        self._connection, self._frames, kernel_id = self._connect(context.timeout)
        self.link = Link(
            pairs={name: self._pair(name) for name in CHANNELS},
            events=self._events,
            close=self.close,
            kernel_id=kernel_id,
            capabilities=Capabilities(channels=CHANNELS, max_sent=MAX_FRAME_BYTES),
        )
        self._thread = threading.Thread(target=self._run, name="tcp reader", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Close the link: rule 14 of the contract."""
        self._closed.set()
        self._connection.close(CLOSE_GRACE_PERIOD)
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _connect(self, timeout: float) -> tuple[FrameConnection, Iterator[bytes], str]:
        try:
            url = urlsplit(self._target if isinstance(self._target, str) else "")
            address = url.hostname or "", url.port or 0
            connected = socket.create_connection(address, timeout)
        except (OSError, ValueError, OverflowError) as error:
            raise ConnectionFailed(f"could not connect to {self._target!r}: {error}") from None
        connection = FrameConnection(connected)
        # The socket's own timeout starts anew with each chunk; this one covers the whole handshake.
        deadline = threading.Timer(timeout, connection.close)
        deadline.start()
        connection.send(self._session.id.encode())
        frames = connection.frames()
        kernel_id = next(frames, None)
        deadline.cancel()
        deadline.join()
        if kernel_id is None:
            connection.close()
            raise ConnectionFailed(f"{self._target!r} did not answer within {timeout:g} s")
        connected.settimeout(None)
        return connection, frames, kernel_id.decode(errors="replace")

    def _pair(self, name: ChannelName) -> ChannelPair[AnyMessage]:
        outgoing = CallbackObserver(partial(self._send, name))
        return ChannelPair(self._incoming[name], outgoing, lambda: self._connection.unsent(name))

    # -- on the threads of senders ----------------------------------------------------------------

    def _send(self, name: ChannelName, message: AnyMessage) -> None:
        if self._closed.is_set():
            raise ChannelClosed(f"the link to {self._target} is closed")
        if self._lost is not None:
            raise copy(self._lost)
        frame = encode(message if message.channel is name else message.replace(channel=name))
        if len(frame) > MAX_FRAME_BYTES:
            raise InvalidMessage(
                f"a message must have at most {MAX_FRAME_BYTES:,} bytes, not {len(frame):,}"
            )
        self._connection.send(frame, name)

    # -- on the thread of the link ----------------------------------------------------------------

    def _run(self) -> None:
        while True:
            for frame in self._frames:
                if self._closed.is_set():
                    break
                self._on_frame(frame)
            if self._closed.is_set():
                return self._events.on_completed()
            lost = self._lost = ConnectionLost(f"connection to {self._target} lost")
            self._connection.close()
            self._emit(LinkState.LOST)
            self._emit(lost)
            if not self._reconnect():
                return self._events.on_error(lost)

    def _on_frame(self, frame: bytes) -> None:
        try:
            message = decode(frame, self._events.on_next)
        except MalformedFrame as error:
            self._events.on_next(error)
        else:
            self._incoming[message.channel].on_next(message)

    def _reconnect(self) -> bool:
        """Return True once the link is connected again or was closed, False on a timeout."""
        for _ in range(max(1, round(self._reconnect_timeout / RECONNECT_INTERVAL))):
            if self._closed.wait(RECONNECT_INTERVAL):
                return True
            try:
                self._connection, self._frames, _ = self._connect(RECONNECT_INTERVAL)
            except ConnectionFailed:
                continue
            self._lost = None
            # A concurrent close() may have closed the previous connection only.
            if self._closed.is_set():
                self._connection.close()
            self._emit(LinkState.CONNECTED)
            return True
        return False

    def _emit(self, event: LinkEvent) -> None:
        # An observer of an earlier event may have closed the link.
        if not self._closed.is_set():
            self._events.on_next(event)


backend = TcpBackend()
