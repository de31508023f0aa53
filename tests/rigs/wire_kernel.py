"""A kernel of bare sockets that does what a test tells it to, also what no kernel should do."""

import json
import tempfile
import threading
import uuid
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from queue import Empty, SimpleQueue
from socket import AF_INET, AF_INET6, SO_REUSEADDR, SOL_SOCKET, socket, socketpair
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import zmq

from enchannel import ChannelName, Session
from tests.rigs import DEADLINE
from tests.rigs.frames import DELIMITER, KEY, parts, signature, signed

T = TypeVar("T")

CLIENT: Final = Session("the-client", "ada")
"""Who connects, unless a test says otherwise: a kernel that welcomes may never hear its name."""

KINDS = {
    ChannelName.SHELL: zmq.ROUTER,
    ChannelName.CONTROL: zmq.ROUTER,
    ChannelName.STDIN: zmq.ROUTER,
    ChannelName.IOPUB: zmq.XPUB,
    ChannelName.HEARTBEAT: zmq.ROUTER,  # a REP could not be mute: it has to answer before it hears more
}
PORTS = {
    ChannelName.SHELL: "shell_port",
    ChannelName.CONTROL: "control_port",
    ChannelName.STDIN: "stdin_port",
    ChannelName.IOPUB: "iopub_port",
    ChannelName.HEARTBEAT: "hb_port",
}


class Welcome(Enum):
    """What a kernel says to a subscription."""

    NONE = auto()
    """Nothing: ipykernel 6, deno, and most others."""
    IPYKERNEL = auto()
    """The topic as prefix, none for the empty one; only the first subscription to a topic."""
    XEUS = auto()
    """One empty frame as prefix, a parent of null; every subscription."""


@dataclass(frozen=True)
class Request:
    """A message of the client, as it came."""

    channel: ChannelName
    identity: bytes
    header: dict[str, Any]
    raw_header: bytes
    parent_header: dict[str, Any]
    content: dict[str, Any]
    buffers: list[bytes]

    @property
    def type(self) -> str:
        msg_type: str = self.header["msg_type"]
        return msg_type


class WireKernel:
    """Five bound sockets and a thread of its own; use it with ``with``.

    A port stays taken while nobody listens on it, so that nobody else ever does.

    Args:
        transport: ``"tcp"`` or ``"ipc"``.
        host: The address that it listens on, over tcp.
        key: Signs, and verifies; empty for neither.
        welcome: What subscriptions are answered with.
        curve: Whether it wants CURVE.
        absent: Channels on whose ports nobody listens.
        mute: Channels on which it says nothing.
        rcvhwm: How many messages it takes ahead of what it reads, on each channel; 0: all.

    Attributes:
        info: What its connection file says.
        requests: What was asked, in order.
        refused: Requests whose signature was wrong.
        answers: What is done about a request, by its type.
    """

    def __init__(
        self,
        *,
        transport: str = "tcp",
        host: str = "127.0.0.1",
        key: bytes = KEY,
        welcome: Welcome = Welcome.IPYKERNEL,
        curve: bool = False,
        absent: Collection[ChannelName] = (),
        mute: Collection[ChannelName] = (),
        rcvhwm: int = 0,
    ) -> None:
        self.key = key
        self._rcvhwm = rcvhwm
        self.welcome = welcome
        self.mute = set(mute)
        self.session = uuid.uuid4().hex
        self.requests: SimpleQueue[Request] = SimpleQueue()
        self.refused: SimpleQueue[list[bytes]] = SimpleQueue()
        self.answers: dict[str, Callable[[Request], None]] = {
            "kernel_info_request": self.answer_kernel_info,
            "execute_request": self.answer_execute,
        }
        self._absent = set(absent)
        self._sockets: dict[ChannelName, tuple[zmq.Context[Any], zmq.Socket[bytes]]] = {}
        self._unsent: dict[tuple[ChannelName, bytes], deque[list[bytes]]] = {}
        self._posted: deque[Callable[[], None]] = deque()
        self._ending = False
        self._owned = ExitStack()
        self._curve = zmq.curve_keypair() if curve else (b"", b"")
        self.info = self._place(transport, host)
        self._bell, self._button = map(self._owned.enter_context, socketpair())
        self._thread = threading.Thread(target=self._run, name="wire kernel")

    def _place(self, transport: str, host: str) -> dict[str, Any]:
        if transport == "ipc":
            directory = self._owned.enter_context(tempfile.TemporaryDirectory(prefix="ec-"))
            ip, ports = str(Path(directory, "k")), [1, 2, 3, 4, 5]
        else:
            ip, ports = host, [reserved_port(self._owned, host) for _ in KINDS]
        info: dict[str, Any] = {
            "transport": transport,
            "ip": ip,
            **dict(zip(PORTS.values(), ports, strict=True)),
            "key": self.key.decode(),
            "signature_scheme": "hmac-sha256",
            "kernel_name": "wire",
        }
        if self._curve[0]:
            info["curve_publickey"], info["curve_secretkey"] = (k.decode() for k in self._curve)
        return info

    def __enter__(self) -> Self:
        self._thread.start()
        try:
            self.come_back()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._ending = True
        self._button.send(b"!")
        self._thread.join()
        self._owned.close()

    # -- what a test has it do ---------------------------------------------------------------------

    def do(self, action: Callable[[], T]) -> T:
        """Have something done on the kernel's thread, and wait for it."""
        if threading.current_thread() is self._thread:
            return action()
        done: Future[T] = Future()

        def call() -> None:
            try:
                done.set_result(action())
            except BaseException as error:
                done.set_exception(error)

        self._posted.append(call)
        self._button.send(b"!")
        return done.result(DEADLINE)

    def say(
        self,
        channel: ChannelName,
        msg_type: str,
        content: Mapping[str, Any] | None = None,
        *,
        parent: Request | None = None,
        buffers: Sequence[bytes] = (),
    ) -> None:
        """Say what a kernel would."""
        raw_parent = b"{}" if parent is None else parent.raw_header
        json_parts = parts(msg_type, content, parent=raw_parent, session=self.session)
        frames = signed(self.key, *json_parts, buffers=buffers)
        if channel is ChannelName.IOPUB:
            frames.insert(0, b"kernel." + msg_type.encode())
        self.send(channel, frames, to=CLIENT.id.encode() if parent is None else parent.identity)

    def send(
        self, channel: ChannelName, *messages: Sequence[bytes], to: bytes = CLIENT.id.encode()
    ) -> None:
        """Send frames as they are; on iopub to everybody, elsewhere to one client."""

        def sending() -> None:
            for frames in messages:
                if channel is ChannelName.IOPUB:
                    self._publish(frames)
                else:
                    self._unsent.setdefault((channel, to), deque()).append([to, *frames])
            self._flush()

        self.do(sending)

    def next_request(self, msg_type: str) -> Request:
        """The next request of a type; those of others are passed over."""
        while True:
            try:
                request = self.requests.get(timeout=DEADLINE)
            except Empty:
                raise AssertionError(f"the client never sent a {msg_type}") from None
            if request.type == msg_type:
                return request

    def close_socket(self, channel: ChannelName) -> None:
        """Listen no more, and hang up; it is done when this returns."""
        self.do(lambda: self._close(channel))

    def open_socket(self, channel: ChannelName) -> None:
        """Listen again, on the same port."""
        self.do(lambda: self._bind(channel))

    def die(self) -> None:
        """Close everything, as a process does that is killed."""
        self.do(self._close_all)

    def come_back(self) -> None:
        """Listen on all the ports again, as a restarted kernel does."""

        def binding() -> None:
            self.session = uuid.uuid4().hex
            for channel in KINDS:
                self._bind(channel)

        self.do(binding)

    # -- what it does by itself --------------------------------------------------------------------

    def answer_kernel_info(self, request: Request) -> None:
        info = {"status": "ok", "protocol_version": "5.3", "implementation": "wire", "banner": ""}
        info |= {"implementation_version": "1"}
        language = {"name": "python", "version": "3", "file_extension": ".py"}
        self.reply(request, {**info, "language_info": language})

    def answer_execute(self, request: Request) -> None:
        self.reply(request, {"status": "ok", "execution_count": 1})

    def reply(self, request: Request, content: Mapping[str, Any]) -> None:
        """Busy, the reply, idle."""
        self.say(ChannelName.IOPUB, "status", {"execution_state": "busy"}, parent=request)
        msg_type = request.type.removesuffix("_request") + "_reply"
        self.say(request.channel, msg_type, content, parent=request)
        self.say(ChannelName.IOPUB, "status", {"execution_state": "idle"}, parent=request)

    # -- on its thread -----------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while not self._ending:
                self._turn()
        finally:
            self._close_all()

    def _turn(self) -> None:
        poller = zmq.Poller()
        poller.register(self._bell, zmq.POLLIN)
        for _, listening in self._sockets.values():
            poller.register(listening, zmq.POLLIN)
        # a client that is not there yet makes no event: look again in a moment
        ready = dict(poller.poll(1 if self._unsent else None))
        if self._bell.fileno() in ready:
            self._bell.recv(4096)
        while self._posted:
            self._posted.popleft()()
        for channel in KINDS:
            while (frames := self._receive(channel)) is not None:
                self._received(channel, frames)
        self._flush()

    def _receive(self, channel: ChannelName) -> list[bytes] | None:
        if channel not in self._sockets:
            return None
        try:
            return self._sockets[channel][1].recv_multipart(zmq.NOBLOCK)
        except zmq.Again:
            return None

    def _received(self, channel: ChannelName, frames: list[bytes]) -> None:
        if channel is ChannelName.HEARTBEAT:
            if channel not in self.mute:
                self._sockets[channel][1].send_multipart(frames)
        elif channel is ChannelName.IOPUB:
            if frames[0][:1] == b"\x01":
                self._subscribed(frames[0][1:])
        else:
            self._asked(channel, frames)

    def _subscribed(self, topic: bytes) -> None:
        content = {"subscription": topic.decode()}
        if self.welcome is Welcome.IPYKERNEL:
            made = signed(self.key, *parts("iopub_welcome", content))
            self._publish([topic, *made] if topic else made)
        elif self.welcome is Welcome.XEUS:
            made = signed(self.key, *parts("iopub_welcome", content, parent=b"null"))
            self._publish([b"", *made])

    def _asked(self, channel: ChannelName, frames: list[bytes]) -> None:
        at = frames.index(DELIMITER)
        json_parts = frames[at + 2 : at + 6]
        if self.key and frames[at + 1] != signature(self.key, json_parts):
            self.refused.put(frames)
            return
        header, parent, _, content = map(json.loads, json_parts)
        request = Request(
            channel, frames[0], header, json_parts[0], parent, content, frames[at + 6 :]
        )
        self.requests.put(request)
        if (answer := self.answers.get(request.type)) is not None:
            answer(request)

    def _publish(self, frames: Sequence[bytes]) -> None:
        if ChannelName.IOPUB in self._sockets and ChannelName.IOPUB not in self.mute:
            self._sockets[ChannelName.IOPUB][1].send_multipart(frames)

    def _flush(self) -> None:
        for (channel, to), waiting in list(self._unsent.items()):
            if channel in self._sockets and channel not in self.mute:
                try:
                    while waiting:
                        self._sockets[channel][1].send_multipart(waiting[0])
                        waiting.popleft()
                except zmq.ZMQError as error:
                    if error.errno != zmq.EHOSTUNREACH:
                        raise
                    continue  # its handshake is not done on our side yet
            del self._unsent[channel, to]

    def _bind(self, channel: ChannelName) -> None:
        if channel in self._absent or channel in self._sockets:
            return
        # in a context of its own, whose end is the end of the descriptors: a closed socket has them still
        context = zmq.Context()
        listening = context.socket(KINDS[channel])
        self._sockets[channel] = context, listening
        listening.linger = 0
        if channel is ChannelName.IOPUB:
            listening.set(zmq.XPUB_VERBOSE, self.welcome is Welcome.XEUS)
            listening.set_hwm(0)
        elif channel is not ChannelName.HEARTBEAT:
            listening.set(zmq.ROUTER_MANDATORY, 1)
            listening.set(zmq.ROUTER_HANDOVER, 1)
            listening.set_hwm(0)
            listening.set(zmq.RCVHWM, self._rcvhwm)
        if self._curve[0]:
            listening.curve_publickey, listening.curve_secretkey = self._curve
            listening.curve_server = True
        listening.setsockopt(zmq.IPV6, ":" in self.info["ip"])
        listening.bind(self.url(channel))

    def url(self, channel: ChannelName) -> str:
        """Where it listens for a channel."""
        separator = "-" if self.info["transport"] == "ipc" else ":"
        ip = f"[{self.info['ip']}]" if ":" in self.info["ip"] else self.info["ip"]
        return f"{self.info['transport']}://{ip}{separator}{self.info[PORTS[channel]]}"

    def _close(self, channel: ChannelName) -> None:
        if channel in self._sockets:
            context, listening = self._sockets.pop(channel)
            listening.close()
            context.term()

    def _close_all(self) -> None:
        self._unsent.clear()
        for channel in KINDS:
            self._close(channel)


def reserved_port(owned: ExitStack, host: str = "127.0.0.1") -> int:
    """A port on which only who says SO_REUSEADDR can listen, and nobody does yet."""
    holder = owned.enter_context(socket(AF_INET6 if ":" in host else AF_INET))
    holder.setsockopt(SOL_SOCKET, SO_REUSEADDR, 1)
    holder.bind((host, 0))
    port: int = holder.getsockname()[1]
    return port
