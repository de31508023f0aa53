"""A rig: a fake kernel behind a real Jupyter server, with a proxy in front of it."""

import json
import secrets
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, ClassVar, Self

from enchannel import AnyMessage, ChannelName, Session
from enchannel.abc import Backend
from enchannel.messages import stream
from enchannel.testing import Rig
from enchannel.wire import legacy_websocket, websocket
from enchannel_websocket import WebsocketBackend
from enchannel_zmq.testing import ZmqRig
from tests.rigs.proxy import Proxy
from tests.rigs.servers import HOST, JupyterServer

__all__ = ["WebsocketRig", "external_kernels", "server_for_rigs"]

TOKEN = "the-token-of-the-server"


def server_for_rigs() -> JupyterServer:
    """Return a server that connects to external kernels, and has no rate limits."""
    return JupyterServer(
        token=TOKEN,
        options={
            "ServerApp": {"allow_external_kernels": True},
            "ZMQChannelsWebsocketConnection": {
                "iopub_msg_rate_limit": 0,
                "iopub_data_rate_limit": 0,
            },
        },
    )


def external_kernels(server: JupyterServer) -> Path:
    """Return the directory in which such a server looks for connection files."""
    directory = server.home / "runtime" / "external_kernels"
    directory.mkdir(parents=True, exist_ok=True)
    return directory


class WebsocketRig(Rig):
    """A ``ZmqRig`` behind a server, and a proxy between the server and the client.

    Args:
        server: A server from ``server_for_rigs``.
        legacy: Whether the legacy framing is used.
    """

    backend: Backend = WebsocketBackend()
    give_up_options: Mapping[str, Any] = {"reconnect_timeout": 0.3}
    secrets = (TOKEN,)
    unsupported: ClassVar[Mapping[str, str]] = {}

    def __init__(self, server: JupyterServer, *, legacy: bool = False) -> None:
        # A listed target has no token.
        self.options = {"legacy": legacy, "token": TOKEN}
        self._server = server
        self._legacy = legacy
        self._owned = ExitStack()
        # The server sends kernel_info_requests of its own, which the rig answers without a welcome.
        self.kernel = ZmqRig(sends_welcome=False)
        self.proxy = Proxy(server.port)

    def __enter__(self) -> Self:
        self._owned.enter_context(self.kernel)
        self._owned.enter_context(self.proxy)
        before = {model["id"] for model in self._server.request("GET", "api/kernels")}
        file = external_kernels(self._server) / f"{secrets.token_hex()}.json"
        file.with_suffix(".new").write_text(json.dumps(self.kernel.info))
        file.with_suffix(".new").rename(file)
        self._owned.callback(file.unlink)
        (new,) = {model["id"] for model in self._server.request("GET", "api/kernels")} - before
        base = f"http://{HOST}:{self.proxy.port}"
        self.kernel_id = new
        self.at = f"{base}/?token={TOKEN}"
        self.target = f"{base}/api/kernels/{new}?token={TOKEN}"
        self.unreachable_target = f"http://{HOST}:9/api/kernels/{new}?token={TOKEN}"
        return self

    def __exit__(self, *_: object) -> None:
        self._owned.close()

    def on_message(self, callback: Callable[[AnyMessage], None]) -> None:
        self.kernel.on_message(callback)

    def send(self, message: AnyMessage) -> None:
        self.kernel.send(message)

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
        message = Session(username="kernel").fill_headers(stream("stdout", "x"))
        framing = legacy_websocket if self._legacy else websocket
        good = framing.encode(message)
        frame = good if isinstance(good, bytes) else good.encode()
        return {
            "half a message": self._injecting(frame[: len(frame) // 2]),
            "invalid JSON": self._injecting(frame.replace(b"{", b"[")),
            "an unknown channel": self._injecting(frame.replace(b"iopub", b"iobup")),
            "random bytes": self._injecting(b"\x00" + secrets.token_bytes(100)),
            "an empty frame": self._injecting(b""),
            "invalid UTF-8": self._injecting(b'{"a": "\xff"}'),
        }

    def _injecting(self, frame: bytes) -> Callable[[ChannelName], None]:
        return lambda name: self.proxy.inject(frame)
