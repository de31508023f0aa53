"""The kernel's end of ZeroMQ, for tests: five bound sockets on a thread of their own.

This module moves frames and does not know their meaning; ``ZmqRig`` adds enchannel's codec to it, and the
tests of the backend add one made by hand.
"""

from __future__ import annotations

import socket
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, Self, TypeVar

import zmq

from enchannel import ChannelName

__all__ = ["PORT_FIELDS", "KernelSockets", "reserve_port"]

T = TypeVar("T")

CALL_TIMEOUT: Final = 30.0
# The handshake with a client makes no event when it is done; send to that client again after this time.
SEND_RETRY_MILLISECONDS: Final = 1
PORT_FIELDS: Final = {
    ChannelName.SHELL: "shell_port",
    ChannelName.CONTROL: "control_port",
    ChannelName.STDIN: "stdin_port",
    ChannelName.IOPUB: "iopub_port",
    ChannelName.HEARTBEAT: "hb_port",
}
REQUEST_CHANNELS: Final = (ChannelName.SHELL, ChannelName.CONTROL, ChannelName.STDIN)
IOPUB: Final = ChannelName.IOPUB
HEARTBEAT: Final = ChannelName.HEARTBEAT
# A REP socket for the heartbeat could not be muted: it must answer before it receives again.
SOCKET_TYPES: Final = {
    name: zmq.XPUB if name is ChannelName.IOPUB else zmq.ROUTER for name in PORT_FIELDS
}


class KernelSockets:
    """Five bound sockets with a thread that reads them and calls the methods ``on_…``.

    ``with`` starts and stops it. While a socket is closed its port stays reserved, so that no other process
    can listen there. Methods may be called from any thread, unless they are in the section below.

    Args:
        key: The signing key in ``info``.
        kernel_name: The name in ``info``.
        transport: ``"tcp"`` or ``"ipc"``.
        host: The IP address to listen on, with ``"tcp"``.
        curve: Whether the sockets require CURVE encryption.
        receive_limit: How many messages each socket receives ahead of being read; 0 for no limit.

    Attributes:
        info: The content of the connection file.
        muted: Channels on which nothing is sent.
    """

    def __init__(
        self,
        *,
        key: str,
        kernel_name: str,
        transport: str = "tcp",
        host: str = "127.0.0.1",
        curve: bool = False,
        receive_limit: int = 0,
    ) -> None:
        self.muted: set[ChannelName] = set()
        self._receive_limit = receive_limit
        self._sockets: dict[ChannelName, tuple[zmq.Context[Any], zmq.Socket[bytes]]] = {}
        self._unsent: dict[tuple[ChannelName, bytes], deque[Sequence[bytes]]] = {}
        self._posted: deque[Callable[[], object]] = deque()
        self._stopping = False
        self._owned = ExitStack()
        self._curve = zmq.curve_keypair() if curve else None
        self.info: dict[str, Any] = self._connection_info(transport, host, key, kernel_name)
        self._wake_receiver, self._wake_sender = map(self._owned.enter_context, socket.socketpair())
        self._thread = threading.Thread(target=self._run, name=kernel_name, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        try:
            self.open_sockets()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Close the sockets, end the thread, and free the ports."""
        self._stopping = True
        self._wake_sender.send(b"!")
        self._thread.join()
        self._owned.close()

    def call(self, function: Callable[[], T]) -> T:
        """Call a function on the thread of the sockets; return its result, or raise its exception."""
        if threading.current_thread() is self._thread:
            return function()
        done: Future[T] = Future()

        def run() -> None:
            try:
                done.set_result(function())
            except BaseException as error:
                done.set_exception(error)

        self.post(run)
        return done.result(CALL_TIMEOUT)

    def post(self, function: Callable[[], object]) -> None:
        """Call a function on the thread of the sockets, without waiting for it."""
        self._posted.append(function)
        self._wake_sender.send(b"!")

    def send_to(self, channel: ChannelName, identity: bytes, *messages: Sequence[bytes]) -> None:
        """Send messages to a client, as soon as it is connected on this channel."""

        def send() -> None:
            queue = self._unsent.setdefault((channel, identity), deque())
            queue.extend([identity, *frames] for frames in messages)
            self._flush()

        self.call(send)

    def publish(self, *messages: Sequence[bytes]) -> None:
        """Send messages, beginning with their topic, to all subscribers of iopub."""

        def send() -> None:
            if IOPUB in self._sockets and IOPUB not in self.muted:
                for frames in messages:
                    self.socket(IOPUB).send_multipart(frames)

        self.call(send)

    def open_sockets(self) -> None:
        """Listen on all ports, as a kernel does that was started again."""

        def open_all() -> None:
            for channel in PORT_FIELDS:
                self._open(channel)

        self.call(open_all)

    def close_sockets(self) -> None:
        """Close all sockets, as the death of the kernel process does."""
        self.call(self._close_all)

    def open_socket(self, channel: ChannelName) -> None:
        """Listen on the port of one channel."""
        self.call(lambda: self._open(channel))

    def close_socket(self, channel: ChannelName) -> None:
        """Close the socket of one channel."""
        self.call(lambda: self._close(channel))

    def url(self, channel: ChannelName) -> str:
        """Return the address of a channel."""
        separator = "-" if self.info["transport"] == "ipc" else ":"
        ip = f"[{self.info['ip']}]" if ":" in self.info["ip"] else self.info["ip"]
        return f"{self.info['transport']}://{ip}{separator}{self.info[PORT_FIELDS[channel]]}"

    # -- on the thread of the sockets -------------------------------------------------------------

    def socket(self, channel: ChannelName) -> zmq.Socket[bytes]:
        """Return the socket of a channel, to be used on the thread of the sockets only."""
        return self._sockets[channel][1]

    def configure(self, channel: ChannelName, opened: zmq.Socket[bytes]) -> bool:
        """Set options of a new socket before it is bound; return False to leave it unbound."""
        return True

    def reads(self, channel: ChannelName) -> bool:
        """Return False to leave the messages of a channel in its socket."""
        return True

    def on_frames(self, channel: ChannelName, frames: list[bytes]) -> None:
        """Handle a message of a client on shell, control or stdin; the first frame is its identity."""

    def on_subscription(self, topic: bytes) -> None:
        """Handle a subscription to iopub."""

    def _run(self) -> None:
        try:
            while not self._stopping:
                self._poll()
        finally:
            self._close_all()

    def _poll(self) -> None:
        poller = zmq.Poller()
        poller.register(self._wake_receiver, zmq.POLLIN)
        for channel in self._sockets:
            if self.reads(channel):
                poller.register(self.socket(channel), zmq.POLLIN)
        ready = dict(poller.poll(SEND_RETRY_MILLISECONDS if self._unsent else None))
        if self._wake_receiver.fileno() in ready:
            self._wake_receiver.recv(4096)
        while self._posted:
            self._posted.popleft()()
        for channel in PORT_FIELDS:
            while (frames := self._receive(channel)) is not None:
                self._on_received(channel, frames)
        self._flush()

    def _receive(self, channel: ChannelName) -> list[bytes] | None:
        if channel not in self._sockets or not self.reads(channel):
            return None
        try:
            return self.socket(channel).recv_multipart(zmq.NOBLOCK)
        except zmq.Again:
            return None

    def _on_received(self, channel: ChannelName, frames: list[bytes]) -> None:
        if channel is HEARTBEAT:
            if channel not in self.muted:
                self.socket(channel).send_multipart(frames)
        elif channel is IOPUB:
            if frames[0][:1] == b"\x01":
                self.on_subscription(frames[0][1:])
        else:
            self.on_frames(channel, frames)

    def _flush(self) -> None:
        for (channel, identity), queue in list(self._unsent.items()):
            if channel in self._sockets and channel not in self.muted:
                try:
                    while queue:
                        self.socket(channel).send_multipart(queue[0])
                        queue.popleft()
                except zmq.ZMQError as error:
                    if error.errno != zmq.EHOSTUNREACH:
                        raise
                    continue  # the handshake with this client is not done
            del self._unsent[channel, identity]

    def _open(self, channel: ChannelName) -> None:
        if channel in self._sockets:
            return
        # Each has its own context: the descriptors of a socket are closed with its context only.
        context = zmq.Context()
        opened = context.socket(SOCKET_TYPES[channel])
        self._sockets[channel] = context, opened
        opened.linger = 0
        opened.set_hwm(0)
        if channel in REQUEST_CHANNELS:
            opened.set(zmq.RCVHWM, self._receive_limit)
            opened.set(zmq.ROUTER_MANDATORY, 1)
            opened.set(zmq.ROUTER_HANDOVER, 1)  # as ipykernel does
        if self._curve is not None:
            opened.curve_publickey, opened.curve_secretkey = self._curve
            opened.curve_server = True
        opened.setsockopt(zmq.IPV6, ":" in self.info["ip"])
        if self.configure(channel, opened):
            opened.bind(self.url(channel))
        else:
            self._close(channel)

    def _close(self, channel: ChannelName) -> None:
        if channel in self._sockets:
            context, opened = self._sockets.pop(channel)
            opened.close()
            context.term()

    def _close_all(self) -> None:
        self._unsent.clear()
        for channel in PORT_FIELDS:
            self._close(channel)

    def _connection_info(
        self, transport: str, host: str, key: str, kernel_name: str
    ) -> dict[str, Any]:
        if transport == "ipc":
            directory = self._owned.enter_context(tempfile.TemporaryDirectory(prefix="ec-"))
            ip, ports = str(Path(directory, "k")), [1, 2, 3, 4, 5]
        else:
            ip, ports = host, [reserve_port(self._owned, host) for _ in PORT_FIELDS]
        info: dict[str, Any] = {
            "transport": transport,
            "ip": ip,
            **dict(zip(PORT_FIELDS.values(), ports, strict=True)),
            "key": key,
            "signature_scheme": "hmac-sha256",
            "kernel_name": kernel_name,
        }
        if self._curve is not None:
            public, secret = self._curve
            info |= {"curve_publickey": public.decode(), "curve_secretkey": secret.decode()}
        return info


def reserve_port(owned: ExitStack, host: str = "127.0.0.1") -> int:
    """Return a port that only a socket with SO_REUSEADDR can bind, until ``owned`` is closed."""
    holder = owned.enter_context(socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET))
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holder.bind((host, 0))
    port: int = holder.getsockname()[1]
    return port
