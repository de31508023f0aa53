"""A rig: a fake kernel behind a real relay, with a proxy in front of it."""

import secrets
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any, ClassVar, Self

from enchannel import AnyMessage, ChannelName, Session
from enchannel.abc import Backend
from enchannel.messages import stream
from enchannel.testing import Rig
from enchannel_socketio import SocketioBackend
from enchannel_socketio._packet import encode_message
from enchannel_socketio.relay import Relay, RelayServer
from enchannel_zmq.testing import ZmqRig
from tests.rigs.proxy import Proxy
from tests.rigs.servers import HOST

__all__ = ["TOKEN", "RelayRig"]

TOKEN = "the-token-of-the-relay"


class RelayRig(Rig):
    """A ``ZmqRig`` behind a relay, and a proxy between the relay and the client.

    Args:
        server: The running server of the relay.
        relay: The relay.
    """

    backend: Backend = SocketioBackend()
    # A listed target has no token.
    options: Mapping[str, Any] = {"token": TOKEN}
    give_up_options: Mapping[str, Any] = {"reconnect_timeout": 0.3}
    secrets = (TOKEN,)
    unsupported: ClassVar[Mapping[str, str]] = {}

    def __init__(self, server: RelayServer, relay: Relay) -> None:
        self._server = server
        self._relay = relay
        self._owned = ExitStack()
        self.kernel = ZmqRig()
        self.proxy = Proxy(int(server.url.rpartition(":")[2]))

    def __enter__(self) -> Self:
        self._owned.enter_context(self.kernel)
        self._owned.enter_context(self.proxy)
        self.kernel_id = self._server.call(
            self._relay.share(
                self.kernel.target, backend=self.kernel.backend, **self.kernel.options
            )
        )
        self._owned.callback(lambda: self._server.call(self._relay.shut_down(self.kernel_id)))
        self.at = f"socketio+http://{HOST}:{self.proxy.port}/?token={TOKEN}"
        self.target = f"socketio+http://{HOST}:{self.proxy.port}/{self.kernel_id}?token={TOKEN}"
        self.unreachable_target = f"socketio+http://{HOST}:9/{self.kernel_id}?token={TOKEN}"
        return self

    def __exit__(self, *_: object) -> None:
        self._owned.close()

    def on_message(self, callback: Callable[[AnyMessage], None]) -> None:
        self.kernel.on_message(callback)

    def send(self, message: AnyMessage) -> None:
        self.kernel.send_to_last_client(message)

    def disconnect(self) -> None:
        self.proxy.cut()

    def reconnect(self) -> None:
        self.proxy.restore()

    def disconnect_permanently(self) -> None:
        self.proxy.cut()

    def pause_reading(self) -> None:
        self.proxy.pause()

    def resume_reading(self) -> None:
        self.proxy.resume()

    @property
    def garbage(self) -> Mapping[str, Callable[[ChannelName], None]]:
        message = encode_message(Session(username="kernel").fill_headers(stream("stdout", "x")))
        at = f"42/main/{self.kernel_id},".encode()
        event = b'["batch",{"after":0,"upto":1,"events":[["msg",%b,1]]}]' % message.json
        return {
            "half a batch": self._injecting(at + event[: len(event) // 2]),
            "a batch without events": self._injecting(at + b'["batch",{}]'),
            "a message without a header": self._injecting(
                at + event.replace(b'"header"', b'"hedaer"')
            ),
            "a wrong position": self._injecting(at + event),
            "an invalid packet": self._injecting(b"4" + secrets.token_hex(20).encode()),
            "an unexpected attachment": self._injecting(b"\x00\x01\x02"),
            "a packet without its attachment": self._injecting(
                b"451-" + at[2:] + b'["refused",{"_placeholder":true,"num":0}]'
            ),
        }

    def _injecting(self, packet: bytes) -> Callable[[ChannelName], None]:
        text = not packet.startswith(b"\x00")
        return lambda name: self.proxy.inject(packet, text=text)
