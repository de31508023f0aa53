"""The far end of the ZeroMQ backend, for the conformance suite."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any, Self

from enchannel import AnyMessage, ChannelName, Session
from enchannel.abc import Link
from enchannel.testing import Rig
from enchannel.wire.signing import Signer
from enchannel.wire.zmq import Decoder, encode
from enchannel_zmq import ZmqBackend
from tests.rigs import DEADLINE
from tests.rigs.frames import DELIMITER, KEY, parts, signed
from tests.rigs.memory import Thread
from tests.rigs.wire_kernel import PORTS, WireKernel, reserved_port

__all__ = ["ZmqRig"]

AHEAD = 10  # messages that the kernel takes ahead of what it reads


class ZmqRig(WireKernel, Rig):
    """Five bound sockets, which know who their clients are."""

    impatient: Mapping[str, Any] = {"retry_for": 0.2}
    secrets = (KEY.decode(),)

    def __init__(self, **options: Any) -> None:
        super().__init__(rcvhwm=AHEAD, **options)
        self.answers.clear()
        self.clients: list[str] = []
        self.backend = _NotingBackend(self.clients)
        self.target = self.info
        self._hear: Callable[[AnyMessage], None] = lambda message: None
        self._signer = Signer(KEY)
        self._decoders = {name: Decoder(name, self._signer) for name in ChannelName}
        self._reads = threading.Event()
        self._paused: Thread[object] | None = None
        self._nowhere = ExitStack()

    def __enter__(self) -> Self:
        ports = {port: reserved_port(self._nowhere) for port in PORTS.values()}
        self.nowhere = {**self.info, **ports, "transport": "tcp", "ip": "127.0.0.1"}
        return super().__enter__()

    def __exit__(self, *ended: Any) -> None:
        self._nowhere.close()
        super().__exit__(*ended)

    def listen(self, hear: Callable[[AnyMessage], None]) -> None:
        self._hear = hear

    def say(self, message: AnyMessage) -> None:  # type: ignore[override]  # the suite's, not the wire's
        frames = [bytes(frame) for frame in encode(message, self._signer)]
        if message.channel is ChannelName.IOPUB:
            self.send(message.channel, [b"kernel.said", *frames])
        else:
            self.send(message.channel, frames, to=message.parent_header.session.encode())

    def cut(self) -> None:
        self.die()

    def restore(self) -> None:
        self.come_back()

    def give_up(self) -> None:
        self.die()

    def pause(self) -> None:
        begun = threading.Event()
        self._reads.clear()

        def busy() -> None:
            begun.set()
            self._reads.wait(DEADLINE)

        self._paused = Thread(lambda: self.do(busy))
        assert begun.wait(DEADLINE)

    def resume(self) -> None:
        self._reads.set()
        assert self._paused is not None
        self._paused.result()

    @property
    def garbage(self) -> Mapping[str, Callable[[ChannelName], None]]:
        good = signed(KEY, *parts())
        messages: dict[str, Sequence[Sequence[bytes]]] = {
            "of another key": [signed(b"another", *parts())],
            "unsigned": [signed(b"", *parts())],
            "said before": [good, good],
            "half of one": [good[:4]],
            "no delimiter": [good[1:]],
            "no JSON": [signed(KEY, *parts()[:3], b"{")],
            "a list": [signed(KEY, *parts()[:3], b"[]")],
            "noise": [[DELIMITER, uuid.uuid4().bytes]],
        }
        return {kind: self._garble(frames) for kind, frames in messages.items()}

    def _garble(self, messages: Sequence[Sequence[bytes]]) -> Callable[[ChannelName], None]:
        def garble(name: ChannelName) -> None:
            if name is ChannelName.IOPUB:
                self.send(name, *([b"topic", *frames] for frames in messages))
                return
            for client in self.clients:
                self.send(name, *messages, to=client.encode())

        return garble

    def _asked(self, channel: ChannelName, frames: list[bytes]) -> None:
        self._hear(self._decoders[channel].decode(frames))


class _NotingBackend(ZmqBackend):
    """Notes who connects: a ROUTER can only speak to whom it knows."""

    def __init__(self, clients: list[str]) -> None:
        self._clients = clients

    def open(self, target: Any, *, session: Session, timeout: float, **options: Any) -> Link:
        self._clients[:] = [session.id]
        return super().open(target, session=session, timeout=timeout, **options)
