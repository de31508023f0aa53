"""A test of whether a kernel still listens, which tells its death from a lost connection."""

from __future__ import annotations

import errno
import socket
import sys
import time
from collections.abc import Callable

from enchannel import ChannelName, ConnectionInfo
from enchannel_zmq._diagnosis import is_address
from enchannel_zmq._io_thread import TimerGroup

__all__ = ["ListenerProbe"]

# Seconds for a host to refuse a connection or to greet. One on this machine does it at once.
PROBE_TIMEOUT = 2.0
POLL_INTERVAL = 0.01
REFUSALS = frozenset({errno.ECONNREFUSED, errno.ECONNRESET, errno.ENOENT})
PENDING = frozenset({errno.EINPROGRESS, errno.EWOULDBLOCK, errno.EALREADY})
PENDING_RECEIVE = PENDING | {errno.EAGAIN, errno.ENOTCONN}


class ListenerProbe:
    """Connects to a socket of a kernel without ZeroMQ; use it on the I/O thread only.

    A process that ends closes its sockets one after the other, and the connections to them are not lost in
    this order: one with unread messages is lost last. A refused connection tells that the process closed
    the socket. The operating system accepts a connection until then, so only the first byte of ZeroMQ's
    greeting tells that the process runs.

    Args:
        timers: Schedules the polls.
        info: The addresses.
    """

    def __init__(self, timers: TimerGroup, info: ConnectionInfo) -> None:
        self._timers = timers
        self._info = info
        self._socket: socket.socket | None = None

    def start(self, name: ChannelName, report: Callable[[bool], None]) -> None:
        """Connect to a channel's socket, and report whether that is refused.

        A connection that is closed before any byte is received counts as refused. False is also reported
        if the host cannot be reached or does not greet in time, or its name had to be resolved first.
        """
        self.cancel()
        if self._info.transport == "tcp" and not is_address(self._info.ip):
            report(False)
            return
        self._socket, error = _connect(self._info.url(name))
        if error == 0 or error in PENDING:
            self._poll(time.monotonic() + PROBE_TIMEOUT, report)
        else:
            self.cancel()
            report(error in REFUSALS)

    def cancel(self) -> None:
        """End the test without a report."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _poll(self, deadline: float, report: Callable[[bool], None]) -> None:
        if self._socket is None:  # cancelled
            return
        is_refused = _is_refused(self._socket)
        if is_refused is None and time.monotonic() < deadline:
            self._timers.later(POLL_INTERVAL, lambda: self._poll(deadline, report))
            return
        self.cancel()
        report(is_refused is True)


def _connect(url: str) -> tuple[socket.socket, int]:
    address = url.partition("://")[2]
    if url.startswith("tcp:"):
        host, _, port = address.rpartition(":")
        host = host.strip("[]")
        probe = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        probe.setblocking(False)
        return probe, probe.connect_ex((host, int(port)))
    if sys.platform == "win32":  # Python has no Unix sockets there
        return socket.socket(), errno.EAFNOSUPPORT
    probe = socket.socket(socket.AF_UNIX)
    probe.setblocking(False)
    # libzmq writes a name of the abstract namespace with an "@".
    return probe, probe.connect_ex("\0" + address[1:] if address.startswith("@") else address)


def _is_refused(probe: socket.socket) -> bool | None:
    """Return True if a connection was refused or closed, False if the peer greets; None if neither yet."""
    if code := probe.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
        return code in REFUSALS
    try:
        return not probe.recv(1)
    except OSError as error:
        return None if error.errno in PENDING_RECEIVE else error.errno in REFUSALS
