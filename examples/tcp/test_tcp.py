"""The TCP backend keeps the contract."""

import threading

import pytest
from tcp_backend import backend
from tcp_server import TcpServer

from enchannel.testing import BackendSuite, Rig


class TcpRig(TcpServer, Rig):
    backend = backend
    give_up_options = {"reconnect_timeout": 0.3}
    unreachable_target = "tcp://127.0.0.1:1"
    unsupported = {"secrets": "plain TCP has no authentication"}

    def __init__(self):
        self._reading = threading.Event()
        self._reading.set()
        super().__init__()
        self.target = f"tcp://127.0.0.1:{self.port}"

    def on_message(self, callback):
        super().on_message(lambda message: (self._reading.wait(), callback(message)))

    def disconnect(self):
        self.close()

    def reconnect(self):
        self._listen(self.port)

    disconnect_permanently = disconnect

    def pause_reading(self):
        self._reading.clear()

    def resume_reading(self):
        self._reading.set()

    @property
    def garbage(self):
        return {
            "zero bytes": lambda channel: self._send_to_all(b"\0" * 7),
            "not a message": lambda channel: self._send_to_all(b"\xff" * 200),
        }

    def _send_to_all(self, frame):
        for connection in self._connections.values():
            connection.send(frame)


class TestTcp(BackendSuite):
    @pytest.fixture
    def rig(self):
        with TcpRig() as rig:
            yield rig
