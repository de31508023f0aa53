"""Where the pigeons live: the kernel's end of the connections.

``python loft.py python3 7000`` puts a real kernel there.
"""

import socket
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Self

from pigeon import Wire

import enchannel as ec
from enchannel import AnyMessage, ChannelName
from enchannel.wire.websocket import decode, encode


class Loft:
    """Passes on what clients say, and what is said to them. ``with`` closes it."""

    def __init__(self, port: int = 0, kernel_id: str = "a-kernel") -> None:
        self._kernel_id = kernel_id
        self._hear: Callable[[AnyMessage], None] = lambda message: None
        self._hearing = threading.Lock()
        self._changing = threading.Lock()
        self._wires: dict[str, Wire] = {}
        self._server = socket.create_server(("127.0.0.1", port))
        self.port = self._server.getsockname()[1]
        self._receive()

    def on_message(self, hear: Callable[[AnyMessage], None]) -> None:
        """Give what is said to the kernel to a function."""
        self._hear = hear

    def send(self, message: AnyMessage) -> None:
        """Say something as the kernel: on iopub to all, elsewhere to the client that it answers."""
        with self._changing:
            if message.channel is ChannelName.IOPUB:
                wires = list(self._wires.values())
            else:
                wire = self._wires.get(message.parent_header.session)
                wires = [] if wire is None else [wire]
        for wire in wires:
            wire.send(encode(message))

    def close(self) -> None:
        with suppress(OSError):  # a listening socket has nobody to be shut from everywhere
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        with self._changing:
            wires, self._wires = self._wires, {}
        for wire in wires.values():
            wire.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _receive(self) -> None:
        threading.Thread(target=self._accept, args=(self._server,), daemon=True).start()

    def _accept(self, server: socket.socket) -> None:
        with suppress(OSError):  # it was closed
            while True:
                wire = Wire(server.accept()[0])
                threading.Thread(target=self._serve, args=(wire,), daemon=True).start()

    def _serve(self, wire: Wire) -> None:
        letters = wire.letters()
        session = next(letters, b"").decode()
        with self._changing:
            self._wires[session] = wire  # first, so that it hears whatever is said once it is told
        wire.send(self._kernel_id.encode())
        for letter in letters:
            with self._hearing:
                self._hear(decode(letter))
        with self._changing:
            if self._wires.get(session) is wire:
                del self._wires[session]
        wire.close()


def main(name: str, port: int) -> None:
    with ec.launch(name) as kernel, Loft(port, kernel.id) as loft:
        loft.on_message(kernel.main.on_next)
        kernel.main.subscribe(loft.send)
        print(f"pigeon://127.0.0.1:{loft.port}", flush=True)
        sys.stdin.read()  # until there is no more


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
