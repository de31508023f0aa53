"""The five sockets of one kernel."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from enchannel import ChannelName, ConnectionInfo
from enchannel.errors import EnchannelError
from enchannel.wire.signing import Signer
from enchannel_zmq._channel_socket import ChannelSocket, SocketOptions
from enchannel_zmq._io_thread import IoThread

__all__ = ["SocketSet"]

# Batches of up to 128 messages that are read from a socket whose kernel has ended.
MAX_DRAIN_BATCHES = 500


class SocketSet:
    """The current socket of each channel.

    Use it on the I/O thread only, except ``absent``, ``unsent`` and ``disconnected``.

    Args:
        io: The I/O thread.
        info: The addresses.
        options: The options of all sockets.
        signer: Verifies incoming messages.
        on_readable: For each channel, a function that is called with its socket when frames may have
            arrived, and returns True once all are read.
        on_event: Called with a socket and each ``zmq.EVENT_…`` of its monitor.
        report: Receives an error for each message that could be decoded only in part.

    Attributes:
        absent: The channels that the kernel lacks. Replaced by every change.
    """

    def __init__(
        self,
        io: IoThread,
        info: ConnectionInfo,
        options: SocketOptions,
        signer: Signer,
        *,
        on_readable: Mapping[ChannelName, Callable[[ChannelSocket], bool]],
        on_event: Callable[[ChannelSocket, int], None],
        report: Callable[[EnchannelError], None],
    ) -> None:
        self._io = io
        self._info = info
        self._options = options
        self._signer = signer
        self._on_readable = on_readable
        self._on_event = on_event
        self._report = report
        self.absent: frozenset[ChannelName] = frozenset()
        self._sockets: dict[ChannelName, ChannelSocket] = {}

    def connect(self, name: ChannelName) -> None:
        """Replace the socket of a channel by a new one, and start connecting it.

        Raises:
            zmq.ZMQError: libzmq rejects the address or an option.
        """
        self.discard(name)
        self._sockets[name] = ChannelSocket(
            self._io,
            name,
            self._info,
            self._options,
            self._signer,
            on_readable=self._on_readable[name],
            on_event=self._on_event,
            report=self._report,
        )

    def remove(self, name: ChannelName) -> None:
        """Close the socket of a channel that the kernel lacks, for good."""
        self.discard(name)
        self.absent |= {name}

    def discard(self, name: ChannelName) -> None:
        """Close the socket of a channel, and drop the messages queued in it."""
        if (socket := self._sockets.pop(name, None)) is not None:
            socket.close()

    def close(self, *, linger_ms: int = 0) -> None:
        """Close all sockets.

        Args:
            linger_ms: Milliseconds for sending queued messages on connected sockets; the rest are dropped.
        """
        sockets, self._sockets = self._sockets, {}
        for socket in sockets.values():
            socket.close(linger_ms=linger_ms if socket.is_connected else 0)

    def send(self, name: ChannelName, frames: Sequence[bytes | memoryview]) -> None:
        """Send a message, or queue it if the kernel does not read; drop it if there is no socket."""
        if (socket := self._sockets.get(name)) is not None:
            socket.send(frames)

    def drain_remaining(self) -> None:
        """Read the received messages of a kernel that is gone, within limits."""
        for name, socket in list(self._sockets.items()):
            for _ in range(MAX_DRAIN_BATCHES):
                if self._sockets.get(name) is not socket or socket.drain():
                    break

    def is_current(self, socket: ChannelSocket) -> bool:
        """Return True unless the socket was closed or replaced."""
        return self._sockets.get(socket.name) is socket

    def is_connected(self, name: ChannelName) -> bool:
        """Return True if the channel has a socket whose connection is up."""
        socket = self._sockets.get(name)
        return socket is not None and socket.is_connected

    def unsent(self, name: ChannelName) -> int:
        """Return the number of messages waiting for a kernel that does not read; from any thread."""
        socket = self._sockets.get(name)
        return 0 if socket is None else len(socket.unsent)

    @property
    def are_all_disconnected(self) -> bool:
        """True if no channel's connection is up."""
        return len(self.disconnected()) == len(self.offered)

    @property
    def offered(self) -> list[ChannelName]:
        """The channels, without those that the kernel lacks."""
        return [name for name in ChannelName if name not in self.absent]

    def disconnected(self) -> list[ChannelName]:
        """Return the channels whose connection is not up; from any thread."""
        return [name for name in self.offered if not self.is_connected(name)]
