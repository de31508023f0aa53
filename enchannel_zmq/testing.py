"""The kernel's end of the ZeroMQ backend as a rig, for the conformance suite and for fake kernels.

``ZmqRig`` sends and receives messages, and does not answer them. Add ``enchannel.testing.FakeKernel`` to it
for a kernel that answers requests with a function.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from typing import Any, ClassVar, Final

import zmq

from enchannel import AnyMessage, ChannelName, Session, create_message
from enchannel.abc import Backend, Link, OpenContext
from enchannel.errors import RejectedFrame
from enchannel.messages import status
from enchannel.testing import Rig
from enchannel.wire.signing import Signer
from enchannel.wire.zmq import DELIMITER, Decoder, encode
from enchannel_zmq._backend import ZmqBackend
from enchannel_zmq._testing_sockets import PORT_FIELDS, KernelSockets, reserve_port

__all__ = ["ZmqRig"]

# Messages that a socket receives ahead of being read, so that pausing has an effect soon.
_RECEIVE_LIMIT: Final = 10
_PAUSE_TIMEOUT: Final = 30.0


class ZmqRig(KernelSockets, Rig):
    """The kernel's end of the ZeroMQ backend; ``with`` starts and stops it.

    While a socket is closed its port stays reserved, so that no other process can listen there.

    Args:
        transport: ``"tcp"`` (on the loopback interface) or ``"ipc"``.
        curve: Whether the sockets require CURVE encryption.
        sends_welcome: Whether subscriptions are answered with ``iopub_welcome``. Most kernels do not
            send it; without it the rig answers each ``kernel_info_request``, which clients send to
            learn that their subscription is in effect.
        accepts_subscriptions: Whether subscriptions take effect at once; otherwise when
            ``accept_subscriptions`` is called.

    Attributes:
        info: The content of the connection file.
    """

    give_up_options: Mapping[str, Any] = {"reconnect_timeout": 0.2}
    replayed = "a message twice"
    unsupported: ClassVar[Mapping[str, str]] = {
        "at": "kernels without a connection file in the runtime directory are not listed"
    }

    def __init__(
        self,
        *,
        transport: str = "tcp",
        curve: bool = False,
        sends_welcome: bool = True,
        accepts_subscriptions: bool = True,
    ) -> None:
        key = secrets.token_hex()
        super().__init__(
            key=key,
            kernel_name="zmq rig",
            transport=transport,
            curve=curve,
            receive_limit=_RECEIVE_LIMIT,
        )
        self.secrets: Collection[str] = (key,)
        self._sends_welcome = sends_welcome
        self._accepts_subscriptions = accepts_subscriptions
        self._signer = Signer(key.encode())
        self._decoders = {name: Decoder(name, self._signer) for name in ChannelName}
        self._session = Session(username="kernel")
        self._identities: list[bytes] = []
        self.backend: Backend = _RecordingBackend(self._identities)
        self._callback: Callable[[AnyMessage], None] = lambda message: None
        self._reading = threading.Event()
        self.target: Any = self.info
        unused = {port: reserve_port(self._owned) for port in PORT_FIELDS.values()}
        self.unreachable_target: Any = {
            **self.info,
            **unused,
            "transport": "tcp",
            "ip": "127.0.0.1",
        }

    def __exit__(self, *_: object) -> None:
        self._reading.set()
        super().__exit__()

    def on_message(self, callback: Callable[[AnyMessage], None]) -> None:
        self._callback = callback

    def send(self, message: AnyMessage) -> None:
        self._send_message(message.parent_header.session.encode(), message)

    def send_to_last_client(self, message: AnyMessage) -> None:
        """Send a message to the client that connected last, even if it answers another client.

        The last client may be a proxy that forwards it.
        """
        self._send_message(self._identities[0], message)

    def disconnect(self) -> None:
        """Close all sockets, as the death of the kernel process does."""
        self.close_sockets()

    def reconnect(self) -> None:
        """Listen on the same ports again, as a restarted kernel does."""
        self.open_sockets()

    def disconnect_permanently(self) -> None:
        self.close_sockets()

    def pause_reading(self) -> None:
        paused = threading.Event()
        self._reading.clear()

        def wait() -> None:
            paused.set()
            self._reading.wait(_PAUSE_TIMEOUT)

        self.post(wait)
        paused.wait(_PAUSE_TIMEOUT)

    def resume_reading(self) -> None:
        self._reading.set()

    def accept_subscriptions(self) -> None:
        """Let the subscriptions take effect that clients have made."""
        self._accepts_subscriptions = True
        self.post(lambda: None)

    @property
    def answers_heartbeat(self) -> bool:
        """True if heartbeats are echoed; can be set."""
        return ChannelName.HEARTBEAT not in self.muted

    @answers_heartbeat.setter
    def answers_heartbeat(self, answers: bool) -> None:
        (self.muted.discard if answers else self.muted.add)(ChannelName.HEARTBEAT)

    @property
    def garbage(self) -> Mapping[str, Callable[[ChannelName], None]]:
        message = self._session.fill_headers(
            create_message("stream", {"name": "stdout", "text": "x"})
        )
        good = [bytes(frame) for frame in encode(message, self._signer)]
        other = [bytes(frame) for frame in encode(message, Signer(b"another key"))]
        *head, content = good
        kinds: dict[str, list[Sequence[bytes]]] = {
            "signed with another key": [other],
            "unsigned": [[DELIMITER, b"", *good[2:]]],
            "modified": [[*head, content[:-1] + b" }"]],
            "a message twice": [good, good],
            "half a message": [good[:4]],
            "without a delimiter": [good[1:]],
            "invalid JSON": [[DELIMITER, self._signer.sign([*good[2:5], b"{"]), *good[2:5], b"{"]],
            "random bytes": [[secrets.token_bytes()]],
            "an empty frame": [[b""]],
        }
        return {kind: self._sending(messages) for kind, messages in kinds.items()}

    def _sending(self, messages: list[Sequence[bytes]]) -> Callable[[ChannelName], None]:
        def send(name: ChannelName) -> None:
            if name is ChannelName.IOPUB:
                self.publish(*([b"topic", *frames] for frames in messages))
                return
            for identity in self._identities:
                self.send_to(name, identity, *messages)

        return send

    def _send_message(self, identity: bytes, message: AnyMessage) -> None:
        frames = [bytes(frame) for frame in encode(message, self._signer)]
        if message.channel is ChannelName.IOPUB:
            self.publish([b"kernel.iopub", *frames])
        else:
            self.send_to(message.channel, identity, frames)

    # -- on the thread of the sockets -------------------------------------------------------------

    def configure(self, channel: ChannelName, opened: zmq.Socket[bytes]) -> bool:
        if channel is ChannelName.IOPUB:
            opened.set(zmq.XPUB_MANUAL, 1)
            opened.set(zmq.XPUB_VERBOSE, 1)
        return True

    def reads(self, channel: ChannelName) -> bool:
        return channel is not ChannelName.IOPUB or self._accepts_subscriptions

    def on_frames(self, channel: ChannelName, frames: list[bytes]) -> None:
        with suppress(RejectedFrame):
            self._receive_message(frames[0], self._decoders[channel].decode(frames))

    def _receive_message(self, identity: bytes, message: AnyMessage) -> None:
        if self._sends_welcome or message.header.msg_type != "kernel_info_request":
            self._callback(message)
            return
        reply = create_message(
            "kernel_info_reply", {"status": "ok"}, channel=message.channel, parent=message
        )
        for answer in (status("busy", parent=message), reply, status("idle", parent=message)):
            # By identity, not by session: a server's own sockets have another identity than its clients.
            self._send_message(identity, self._session.fill_headers(answer))

    def on_subscription(self, topic: bytes) -> None:
        self.socket(ChannelName.IOPUB).set(zmq.SUBSCRIBE, topic)
        if self._sends_welcome:
            content = {"subscription": topic.decode()}
            welcome = create_message("iopub_welcome", content, channel=ChannelName.IOPUB)
            frames = encode(self._session.fill_headers(welcome), self._signer)
            self.socket(ChannelName.IOPUB).send_multipart([topic, *frames] if topic else frames)


class _RecordingBackend(ZmqBackend):
    """Records the identity of the client that connected last, to which garbage is sent."""

    contract = 1

    def __init__(self, identities: list[bytes]) -> None:
        self._identities = identities

    def open(self, target: Any, context: OpenContext, **options: Any) -> Link:
        self._identities[:] = [context.session.id.encode()]
        return super().open(target, context, **options)
