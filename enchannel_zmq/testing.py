"""A kernel's end of ZeroMQ, in a test's hand: five bound sockets, and no kernel behind them.

With ``enchannel.testing.FakeKernel`` behind it, it is one that does what a function says.
"""

from __future__ import annotations

import secrets
import socket
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Final, Self, TypeVar

import zmq

from enchannel import AnyMessage, ChannelName, ConnectionInfo, Session, create_message
from enchannel.abc import Backend, Link
from enchannel.errors import RejectedFrame
from enchannel.messages import status
from enchannel.testing import Rig
from enchannel.wire.signing import Signer
from enchannel.wire.zmq import DELIMITER, Decoder, encode
from enchannel_zmq._backend import ZmqBackend

__all__ = ["ZmqRig"]

_T = TypeVar("_T")

_IOPUB, _HEARTBEAT = ChannelName.IOPUB, ChannelName.HEARTBEAT
_AHEAD: Final = 10  # messages that a socket takes ahead of what is read
_DEADLINE: Final = 30.0
_PORTS: Final = {
    ChannelName.SHELL: "shell_port",
    ChannelName.CONTROL: "control_port",
    ChannelName.STDIN: "stdin_port",
    ChannelName.IOPUB: "iopub_port",
    ChannelName.HEARTBEAT: "hb_port",
}

_Frames = Sequence[bytes]


class ZmqRig(Rig):
    """The kernel's end of the ZeroMQ backend, for the suite and for fake kernels; use it with ``with``.

    A port stays taken while nobody listens on it, so that nobody else ever does.

    Args:
        transport: ``"tcp"`` (on loopback) or ``"ipc"``.
        curve: Whether it wants CURVE.
        sends_welcome: Whether it says ``iopub_welcome`` to who subscribes. Most kernels do not: then it
            answers each ``kernel_info_request`` by itself, as clients ask for any sign of life.
        accepts_subscriptions: Whether subscriptions count at once; else once ``accept_subscriptions`` is
            called.

    Attributes:
        info: What its connection file would say.
        answers_heartbeat: Whether it answers on the heartbeat.
    """

    give_up_options: Mapping[str, Any] = {"reconnect_timeout": 0.2}
    replayed = "said before"

    def __init__(
        self,
        *,
        transport: str = "tcp",
        curve: bool = False,
        sends_welcome: bool = True,
        accepts_subscriptions: bool = True,
    ) -> None:
        self.answers_heartbeat: bool = True
        self._key = secrets.token_hex()
        self.secrets = (self._key,)
        self._welcomes, self._joins = sends_welcome, accepts_subscriptions
        self._signer = Signer(self._key.encode())
        self._decoders = {name: Decoder(name, self._signer) for name in ChannelName}
        self._session = Session(username="kernel")
        self._clients: list[bytes] = []
        self.backend: Backend = _Noting(self._clients)
        self._hear: Callable[[AnyMessage], None] = lambda message: None
        self._sockets: dict[ChannelName, tuple[zmq.Context[Any], zmq.Socket[bytes]]] = {}
        self._unsent: deque[tuple[ChannelName, _Frames]] = deque()
        self._posted: deque[Callable[[], None]] = deque()
        self._ending = False
        self._reads = threading.Event()
        self._owned = ExitStack()
        self._curve = zmq.curve_keypair() if curve else None
        self.info: dict[str, Any] = self._place(transport)
        self.target: Any = self.info
        free = {port: _reserved(self._owned) for port in _PORTS.values()}
        self.unreachable_target: Any = {**self.info, **free, "transport": "tcp", "ip": "127.0.0.1"}
        self._bell, self._button = map(self._owned.enter_context, socket.socketpair())
        self._thread = threading.Thread(target=self._run, name="zmq rig", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self.reconnect()
        return self

    def __exit__(self, *_: object) -> None:
        self._reads.set()
        self._ending = True
        self._button.send(b"!")
        self._thread.join()
        self._owned.close()

    # -- what a test has it do --------------------------------------------------------------------

    def on_message(self, callback: Callable[[AnyMessage], None]) -> None:
        self._hear = callback

    def send(self, message: AnyMessage) -> None:
        self._say_to(message.parent_header.session.encode(), message)

    def send_to_last_client(self, message: AnyMessage) -> None:
        """Say something to who connected last, whoever it is that it answers: one who passes it on."""
        self._say_to(self._clients[0], message)

    def _say_to(self, identity: bytes, message: AnyMessage) -> None:
        frames = [bytes(frame) for frame in encode(message, self._signer)]
        if message.channel is _IOPUB:
            self._send(_IOPUB, [b"kernel.iopub", *frames])
        else:
            self._send(message.channel, [identity, *frames])

    def disconnect(self) -> None:
        """Close all sockets, as a process does that is killed."""
        self._do(self._close_all)

    def reconnect(self) -> None:
        """Listen again on the same ports, as a kernel does that was restarted."""
        self._do(self._bind_all)

    def disconnect_permanently(self) -> None:
        self.disconnect()

    def pause_reading(self) -> None:
        begun = threading.Event()
        self._reads.clear()

        def wait() -> None:
            begun.set()
            self._reads.wait(_DEADLINE)

        self._post(wait)
        begun.wait(_DEADLINE)

    def resume_reading(self) -> None:
        self._reads.set()

    def accept_subscriptions(self) -> None:
        """Have the subscriptions count that were made: a slow joiner has joined."""
        self._joins = True
        self._post(lambda: None)

    @property
    def garbage(self) -> Mapping[str, Callable[[ChannelName], None]]:
        message = self._session.fill_headers(
            create_message("stream", {"name": "stdout", "text": "x"})
        )
        good = [bytes(frame) for frame in encode(message, self._signer)]
        other = [bytes(frame) for frame in encode(message, Signer(b"another key"))]
        *head, content = good
        kinds: dict[str, list[_Frames]] = {
            "the key of another": [other],
            "unsigned": [[DELIMITER, b"", *good[2:]]],
            "changed on the way": [[*head, content[:-1] + b" }"]],
            "said before": [good, good],
            "half of one": [good[:4]],
            "no delimiter": [good[1:]],
            "no JSON": [[DELIMITER, self._signer.sign([*good[2:5], b"{"]), *good[2:5], b"{"]],
            "noise": [[secrets.token_bytes()]],
            "nothing": [[b""]],
        }
        return {kind: self._saying(messages) for kind, messages in kinds.items()}

    def _saying(self, messages: list[_Frames]) -> Callable[[ChannelName], None]:
        def say(name: ChannelName) -> None:
            prefixes = [b"topic"] if name is _IOPUB else self._clients
            for frames in messages:
                for prefix in prefixes:
                    self._send(name, [prefix, *frames])

        return say

    # -- between a test's threads and its own -----------------------------------------------------

    def _post(self, call: Callable[[], None]) -> None:
        self._posted.append(call)
        self._button.send(b"!")

    def _do(self, action: Callable[[], _T]) -> _T:
        if threading.current_thread() is self._thread:
            return action()
        done: Future[_T] = Future()

        def call() -> None:
            try:
                done.set_result(action())
            except Exception as error:
                done.set_exception(error)

        self._post(call)
        return done.result(_DEADLINE)

    def _send(self, name: ChannelName, frames: _Frames) -> None:
        def send() -> None:
            self._unsent.append((name, frames))
            self._flush()

        self._do(send)

    # -- on its thread ----------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while not self._ending:
                self._turn()
        finally:
            self._close_all()

    def _turn(self) -> None:
        poller = zmq.Poller()
        poller.register(self._bell, zmq.POLLIN)
        for name, (_, listening) in self._sockets.items():
            if name is not _IOPUB or self._joins:
                poller.register(listening, zmq.POLLIN)
        # that a client is there now makes no event: look again in a moment
        ready = dict(poller.poll(1 if self._unsent else None))
        if self._bell.fileno() in ready:
            self._bell.recv(4096)
        while self._posted:
            self._posted.popleft()()
        for name in _PORTS:
            while (frames := self._receive(name)) is not None:
                self._received(name, frames)
        self._flush()

    def _receive(self, name: ChannelName) -> list[bytes] | None:
        if name not in self._sockets or (name is _IOPUB and not self._joins):
            return None
        try:
            return self._sockets[name][1].recv_multipart(zmq.NOBLOCK)
        except zmq.Again:
            return None

    def _received(self, name: ChannelName, frames: list[bytes]) -> None:
        if name is _HEARTBEAT:
            if self.answers_heartbeat:
                self._sockets[name][1].send_multipart(frames)
        elif name is _IOPUB:
            self._subscribed(frames[0])
        else:
            with suppress(RejectedFrame):
                self._heard(frames[0], self._decoders[name].decode(frames))

    def _heard(self, identity: bytes, message: AnyMessage) -> None:
        if self._welcomes or message.header.msg_type != "kernel_info_request":
            self._hear(message)
            return
        reply = create_message(
            "kernel_info_reply", {"status": "ok"}, channel=message.channel, parent=message
        )
        for said in (status("busy", parent=message), reply, status("idle", parent=message)):
            # whatever its session is called: a server asks with sockets that are not its client's
            self._say_to(identity, self._session.fill_headers(said))

    def _subscribed(self, asked: bytes) -> None:
        iopub = self._sockets[_IOPUB][1]
        topic = asked[1:]
        if asked[:1] != b"\x01":
            return
        iopub.setsockopt(zmq.SUBSCRIBE, topic)
        if self._welcomes:
            content = {"subscription": topic.decode()}
            welcome = create_message("iopub_welcome", content, channel=_IOPUB)
            frames = encode(self._session.fill_headers(welcome), self._signer)
            iopub.send_multipart([topic, *frames] if topic else frames)

    def _flush(self) -> None:
        waiting, self._unsent = self._unsent, deque()
        held = set[tuple[ChannelName, bytes]]()  # to whom nothing more goes before what waits
        while waiting:
            name, frames = waiting.popleft()
            if name not in self._sockets:
                continue  # nobody hears what a kernel says that is not there
            if (name, frames[0]) in held or not self._sent(name, frames):
                if name is not _IOPUB:
                    held.add((name, frames[0]))
                    self._unsent.append((name, frames))

    def _sent(self, name: ChannelName, frames: _Frames) -> bool:
        try:
            self._sockets[name][1].send_multipart(frames)
        except zmq.ZMQError as error:
            if error.errno != zmq.EHOSTUNREACH:
                raise
            return False  # its handshake is not done on our side yet
        return True

    def _bind_all(self) -> None:
        for name in _PORTS:
            if name not in self._sockets:
                self._bind(name)

    def _bind(self, name: ChannelName) -> None:
        # in a context of its own, whose end is the end of its descriptors
        context = zmq.Context()
        listening = context.socket(zmq.XPUB if name is _IOPUB else zmq.ROUTER)
        self._sockets[name] = context, listening
        listening.linger = 0
        listening.set_hwm(0)
        if name is _IOPUB:
            listening.setsockopt(zmq.XPUB_MANUAL, 1)
            listening.setsockopt(zmq.XPUB_VERBOSE, 1)
        elif name is not _HEARTBEAT:  # who does not wait for an answer gets none
            listening.setsockopt(zmq.RCVHWM, _AHEAD)
            listening.setsockopt(zmq.ROUTER_MANDATORY, 1)
            listening.setsockopt(zmq.ROUTER_HANDOVER, 1)  # as ipykernel does it
        if self._curve is not None:
            listening.curve_publickey, listening.curve_secretkey = self._curve
            listening.curve_server = True
        listening.bind(ConnectionInfo.from_dict(self.info).url(name))

    def _close_all(self) -> None:
        self._unsent.clear()
        while self._sockets:
            _, (context, listening) = self._sockets.popitem()
            listening.close()
            context.term()

    def _place(self, transport: str) -> dict[str, Any]:
        if transport == "ipc":
            directory = tempfile.TemporaryDirectory(prefix="ec-")
            ip, ports = str(Path(self._owned.enter_context(directory), "k")), list(range(1, 6))
        else:
            ip, ports = "127.0.0.1", [_reserved(self._owned) for _ in _PORTS]
        info: dict[str, Any] = {
            "transport": transport,
            "ip": ip,
            **dict(zip(_PORTS.values(), ports, strict=True)),
            "key": self._key,
            "signature_scheme": "hmac-sha256",
            "kernel_name": "rig",
        }
        if self._curve is not None:
            public, secret = self._curve
            info |= {"curve_publickey": public.decode(), "curve_secretkey": secret.decode()}
        return info


class _Noting(ZmqBackend):
    """Notes who connected last: to garble a message for a client, one has to know its name."""

    def __init__(self, clients: list[bytes]) -> None:
        self._clients = clients

    def open(self, target: Any, *, session: Session, timeout: float, **options: Any) -> Link:
        self._clients[:] = [session.id.encode()]
        return super().open(target, session=session, timeout=timeout, **options)


def _reserved(owned: ExitStack) -> int:
    """A port on which only who says SO_REUSEADDR can listen, and nobody does yet."""
    holder = owned.enter_context(socket.socket())
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holder.bind(("127.0.0.1", 0))
    port: int = holder.getsockname()[1]
    return port
