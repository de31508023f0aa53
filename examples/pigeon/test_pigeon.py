"""Pigeons keep the contract."""

import socket
import threading

import pytest
from loft import Loft
from pigeon import backend

from enchannel.testing import BackendSuite, Rig


class PigeonRig(Loft, Rig):
    backend = backend
    give_up_options = {"reconnect_timeout": 0.3}
    unreachable_target = "pigeon://127.0.0.1:1"
    unsupported = {"secrets": "whoever catches a pigeon can read its letter"}

    def __init__(self):
        self._reads = threading.Event()
        self._reads.set()
        super().__init__()
        self.target = f"pigeon://127.0.0.1:{self.port}"

    def on_message(self, hear):
        super().on_message(lambda message: (self._reads.wait(), hear(message)))

    def disconnect(self):
        self.close()

    def reconnect(self):
        self._server = socket.create_server(("127.0.0.1", self.port))
        self._receive()

    disconnect_permanently = disconnect

    def pause_reading(self):
        self._reads.clear()

    def resume_reading(self):
        self._reads.set()

    @property
    def garbage(self):
        return {
            "no frame": lambda name: self._throw(b"\0" * 7),
            "no message": lambda name: self._throw(b"\xff" * 200),
        }

    def _throw(self, letter):
        for wire in self._wires.values():
            wire.send(letter)


class TestPigeon(BackendSuite):
    @pytest.fixture
    def rig(self):
        with PigeonRig() as rig:
            yield rig
