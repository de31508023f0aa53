"""Kernels at the other end of a TCP connection: ``pigeon://host:port``.

A letter is four bytes of length and a frame of ``enchannel.wire.websocket``. The first that a client sends
is its session's id, and the first that comes back is the kernel's.
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

from enchannel import AnyMessage, ChannelName, LinkState, Session
from enchannel.abc import Backend, Capabilities, ChannelPair, Link, LinkEvent
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
HEAVIEST = 1 << 24  # bytes that a pigeon can carry
REST = 0.1  # seconds before it tries again
MOMENT = 1.0  # seconds for what was said before the end


class PigeonBackend(Backend):
    """Opens links by pigeon."""

    def open(
        self, target: Any, *, session: Session, timeout: float, reconnect_timeout: float = 30.0
    ) -> Link:
        return Flight(target, session, timeout, reconnect_timeout).link


class Wire:
    """One connection. A thread of its own sends, so that nobody waits for the other end to read."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._letters: deque[tuple[bytes, object]] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._send_all, name="pigeon out", daemon=True)
        self._thread.start()

    def send(self, letter: bytes, what: object = None) -> None:
        with self._changed:
            self._letters.append((letter, what))
            self._changed.notify()

    def unsent(self, what: object) -> int:
        with self._changed:
            return sum(other is what for _, other in self._letters)

    def letters(self) -> Iterator[bytes]:
        """What comes, until the end. A letter that is too heavy comes without what is in it."""
        with suppress(OSError):  # the end as well
            while len(length := self._read(4)) == 4:
                (size,) = struct.unpack(">I", length)
                letter = self._read(min(size, HEAVIEST))
                while (size := size - HEAVIEST) > 0:
                    letter = b""
                    self._read(min(size, HEAVIEST))
                yield letter

    def _read(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size and (piece := self._connection.recv(size - len(data))):
            data += piece
        return bytes(data)

    def close(self, moment: float = 0.0) -> None:
        """Close it, after a moment for what waits."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join(moment)
        with suppress(OSError):  # it has gone already
            self._connection.shutdown(socket.SHUT_RDWR)
        self._connection.close()
        self._thread.join()

    def _send_all(self) -> None:
        with suppress(OSError):  # who reads notices it too
            while True:
                with self._changed:
                    self._changed.wait_for(lambda: self._letters or self._closed)
                    if not self._letters:
                        return
                    letter, _ = self._letters[0]
                self._connection.sendall(struct.pack(">I", len(letter)) + letter)
                with self._changed:
                    self._letters.popleft()


class Flight:
    """A link: its thread reads, tells of what it reads, and looks for the way again when it is lost."""

    def __init__(
        self, target: Any, session: Session, timeout: float, reconnect_timeout: float
    ) -> None:
        self._target, self._session, self._reconnect_timeout = target, session, reconnect_timeout
        self._incoming: dict[ChannelName, IncomingSubject[AnyMessage]] = {
            name: IncomingSubject() for name in CHANNELS
        }
        self._events: IncomingSubject[LinkEvent] = IncomingSubject()
        self._closed = threading.Event()
        self._gone: ConnectionLost | None = None
        self._wire, self._letters, kernel_id = self._connect(timeout)
        self.link = Link(
            pairs={name: self._pair(name) for name in CHANNELS},
            events=self._events,
            close=self.close,
            kernel_id=kernel_id,
            capabilities=Capabilities(channels=CHANNELS, max_sent=HEAVIEST),
        )
        self._thread = threading.Thread(target=self._fly, name="pigeon in", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._closed.set()
        self._wire.close(MOMENT)
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _connect(self, timeout: float) -> tuple[Wire, Iterator[bytes], str]:
        try:
            url = urlsplit(self._target if isinstance(self._target, str) else "")
            address = url.hostname or "", url.port or 0
            connection = socket.create_connection(address, timeout)
        except (OSError, ValueError, OverflowError) as error:
            raise ConnectionFailed(f"no pigeon gets to {self._target!r}: {error}") from None
        wire = Wire(connection)
        # for all of the answer, where the socket's own timeout is for each piece of it
        too_late = threading.Timer(timeout, wire.close)
        too_late.start()
        wire.send(self._session.id.encode())
        letters = wire.letters()
        kernel_id = next(letters, None)
        too_late.cancel()
        too_late.join()
        if kernel_id is None:
            wire.close()
            raise ConnectionFailed(f"the pigeon to {self._target!r} does not come back")
        connection.settimeout(None)
        return wire, letters, kernel_id.decode(errors="replace")

    def _pair(self, name: ChannelName) -> ChannelPair[AnyMessage]:
        outgoing = CallbackObserver(partial(self._say, name))
        return ChannelPair(self._incoming[name], outgoing, lambda: self._wire.unsent(name))

    def _say(self, name: ChannelName, message: AnyMessage) -> None:
        if self._closed.is_set():
            raise ChannelClosed(f"the link to {self._target} is closed")
        if self._gone is not None:
            raise copy(self._gone)
        letter = encode(message if message.channel is name else message.replace(channel=name))
        if len(letter) > HEAVIEST:
            raise InvalidMessage(f"{len(letter)} bytes are too heavy; the limit is {HEAVIEST}")
        self._wire.send(letter, name)

    def _fly(self) -> None:
        while True:
            for letter in self._letters:
                if self._closed.is_set():
                    break
                self._read(letter)
            if self._closed.is_set():
                return self._events.on_completed()
            gone = self._gone = ConnectionLost(f"no pigeon comes from {self._target} any more")
            self._wire.close()
            self._tell(LinkState.LOST)
            self._tell(gone)
            if not self._is_back():
                return self._events.on_error(gone)

    def _read(self, letter: bytes) -> None:
        try:
            message = decode(letter, self._events.on_next)
        except MalformedFrame as error:
            self._events.on_next(error)
        else:
            self._incoming[message.channel].on_next(message)

    def _is_back(self) -> bool:
        for _ in range(max(1, round(self._reconnect_timeout / REST))):
            if self._closed.wait(REST):
                return True
            try:
                self._wire, self._letters, _ = self._connect(REST)
            except ConnectionFailed:
                continue
            self._gone = None
            if self._closed.is_set():  # meanwhile: close() has not seen this wire
                self._wire.close()
            self._tell(LinkState.CONNECTED)
            return True
        return False

    def _tell(self, status: LinkEvent) -> None:
        if not self._closed.is_set():  # by who was told something before
            self._events.on_next(status)


backend = PigeonBackend()
