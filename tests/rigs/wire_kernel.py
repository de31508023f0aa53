"""A ZeroMQ kernel whose frames are made by hand, also frames that no kernel should send."""

import json
import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from queue import Empty, SimpleQueue
from typing import Any, Final

import zmq

from enchannel import ChannelName, Session
from enchannel_zmq._testing_sockets import PORT_FIELDS, KernelSockets, reserve_port
from tests.rigs import DEADLINE
from tests.rigs.frames import DELIMITER, KEY, parts, signature, signed

__all__ = ["CLIENT", "PORT_FIELDS", "Request", "Welcome", "WireKernel", "reserve_port"]

CLIENT: Final = Session("the-client", "ada")
"""The session of clients, unless a test uses another one.

A kernel that sends a welcome may never receive a message with the session's id in it.
"""


class Welcome(Enum):
    """The answer of a kernel to a subscription of iopub."""

    NONE = auto()
    """No answer: ipykernel 6, deno, and most others."""
    IPYKERNEL = auto()
    """The topic as prefix, none for the empty one; only the first subscription to a topic is answered."""
    XEUS = auto()
    """An empty frame as prefix, and null as the parent; every subscription is answered."""


@dataclass(frozen=True)
class Request:
    """A message from a client, with its raw header."""

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


class WireKernel(KernelSockets):
    """A kernel that answers by a table of functions; ``with`` starts and stops it.

    Its frames do not pass through enchannel's codec, so errors of the codec do not cancel out.

    Args:
        transport: ``"tcp"`` or ``"ipc"``.
        host: The IP address to listen on, with ``"tcp"``.
        key: Signs and verifies messages; empty for no signatures.
        welcome: How subscriptions are answered.
        curve: Whether the sockets require CURVE encryption.
        absent: Channels on whose ports nothing listens.
        mute: Channels on which nothing is sent.
        rcvhwm: How many messages each socket receives ahead of being read; 0 for no limit.

    Attributes:
        info: The content of the connection file.
        session: The session id in the kernel's messages.
        requests: The messages from clients, in order.
        rejected: The frames of messages whose signature was wrong.
        handlers: The functions that answer requests, by message type.
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
        super().__init__(
            key=key.decode(),
            kernel_name="wire kernel",
            transport=transport,
            host=host,
            curve=curve,
            receive_limit=rcvhwm,
        )
        self.key = key
        self.welcome = welcome
        self.muted |= set(mute)
        self.session = uuid.uuid4().hex
        self.requests: SimpleQueue[Request] = SimpleQueue()
        self.rejected: SimpleQueue[list[bytes]] = SimpleQueue()
        self.handlers: dict[str, Callable[[Request], None]] = {
            "kernel_info_request": self.answer_kernel_info,
            "execute_request": self.answer_execute,
        }
        self._absent = set(absent)

    def send(
        self,
        channel: ChannelName,
        msg_type: str,
        content: Mapping[str, Any] | None = None,
        *,
        parent: Request | None = None,
        buffers: Sequence[bytes] = (),
    ) -> None:
        """Send a signed message: on iopub to all clients, elsewhere to the sender of the parent."""
        raw_parent = b"{}" if parent is None else parent.raw_header
        json_parts = parts(msg_type, content, parent=raw_parent, session=self.session)
        frames = signed(self.key, *json_parts, buffers=buffers)
        if channel is ChannelName.IOPUB:
            frames.insert(0, b"kernel." + msg_type.encode())
        self.send_frames(
            channel, frames, to=CLIENT.id.encode() if parent is None else parent.identity
        )

    def send_frames(
        self, channel: ChannelName, *messages: Sequence[bytes], to: bytes = CLIENT.id.encode()
    ) -> None:
        """Send frames as they are: on iopub to all clients, elsewhere to one identity."""
        if channel is ChannelName.IOPUB:
            self.publish(*messages)
        else:
            self.send_to(channel, to, *messages)

    def next_request(self, msg_type: str) -> Request:
        """Wait for the next request of a type, and drop those of other types before it."""
        while True:
            try:
                request = self.requests.get(timeout=DEADLINE)
            except Empty:
                raise AssertionError(
                    f"no {msg_type} arrived within {DEADLINE:g} s after the previous message"
                ) from None
            if request.type == msg_type:
                return request

    def die(self) -> None:
        """Close all sockets, as the death of the kernel process does."""
        self.close_sockets()

    def offer(self, channel: ChannelName) -> None:
        """Listen on the port of a channel that was absent."""
        self._absent.discard(channel)
        self.close_socket(channel)
        self.open_socket(channel)

    def restart(self) -> None:
        """Listen on all ports again, with a new session."""
        self.session = uuid.uuid4().hex
        self.open_sockets()

    # -- on the thread of the sockets -------------------------------------------------------------

    def answer_kernel_info(self, request: Request) -> None:
        info = {"status": "ok", "protocol_version": "5.3", "implementation": "wire", "banner": ""}
        info |= {"implementation_version": "1"}
        language = {"name": "python", "version": "3", "file_extension": ".py"}
        self.reply(request, {**info, "language_info": language})

    def answer_execute(self, request: Request) -> None:
        self.reply(request, {"status": "ok", "execution_count": 1})

    def reply(self, request: Request, content: Mapping[str, Any]) -> None:
        """Send busy, the reply, and idle."""
        self.send(ChannelName.IOPUB, "status", {"execution_state": "busy"}, parent=request)
        msg_type = request.type.removesuffix("_request") + "_reply"
        self.send(request.channel, msg_type, content, parent=request)
        self.send(ChannelName.IOPUB, "status", {"execution_state": "idle"}, parent=request)

    def configure(self, channel: ChannelName, opened: zmq.Socket[bytes]) -> bool:
        if channel is ChannelName.IOPUB:
            opened.set(zmq.XPUB_VERBOSE, self.welcome is Welcome.XEUS)
        return channel not in self._absent

    def on_subscription(self, topic: bytes) -> None:
        content = {"subscription": topic.decode()}
        if self.welcome is Welcome.IPYKERNEL:
            made = signed(self.key, *parts("iopub_welcome", content))
            self.publish([topic, *made] if topic else made)
        elif self.welcome is Welcome.XEUS:
            made = signed(self.key, *parts("iopub_welcome", content, parent=b"null"))
            self.publish([b"", *made])

    def on_frames(self, channel: ChannelName, frames: list[bytes]) -> None:
        at = frames.index(DELIMITER)
        json_parts = frames[at + 2 : at + 6]
        if self.key and frames[at + 1] != signature(self.key, json_parts):
            self.rejected.put(frames)
            return
        header, parent, _, content = map(json.loads, json_parts)
        request = Request(
            channel, frames[0], header, json_parts[0], parent, content, frames[at + 6 :]
        )
        self.requests.put(request)
        if (handler := self.handlers.get(request.type)) is not None:
            handler(request)
