"""The kernel's end of the TCP connections.

``python tcp_server.py python3 7000`` starts a kernel and serves it on port 7000.
"""

import socket
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Self

from tcp_backend import FrameConnection

import enchannel as ec
from enchannel import AnyMessage, ChannelName
from enchannel.wire.websocket import decode, encode


class TcpServer:
    """Passes messages from its clients to a callback, and messages to its clients.

    ``with`` closes it.
    """

    def __init__(self, port: int = 0, kernel_id: str = "a-kernel") -> None:
        self._kernel_id = kernel_id
        self._callback: Callable[[AnyMessage], None] = lambda message: None
        self._receiving = threading.Lock()
        self._changing = threading.Lock()
        self._connections: dict[str, FrameConnection] = {}
        self._listen(port)

    def on_message(self, callback: Callable[[AnyMessage], None]) -> None:
        """Set the function that receives messages from clients, one at a time and in order."""
        self._callback = callback

    def send(self, message: AnyMessage) -> None:
        """Send a message: on iopub to all clients, elsewhere to the one that it answers."""
        with self._changing:
            if message.channel is ChannelName.IOPUB:
                connections = list(self._connections.values())
            else:
                connection = self._connections.get(message.parent_header.session)
                connections = [] if connection is None else [connection]
        for connection in connections:
            connection.send(encode(message))

    def close(self) -> None:
        """Stop listening, and disconnect all clients."""
        # On some platforms a listening socket cannot be shut down; close() is enough there.
        with suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        with self._changing:
            connections, self._connections = self._connections, {}
        for connection in connections.values():
            connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _listen(self, port: int) -> None:
        self._server = socket.create_server(("127.0.0.1", port))
        self.port = self._server.getsockname()[1]
        threading.Thread(target=self._accept, args=(self._server,), daemon=True).start()

    def _accept(self, server: socket.socket) -> None:
        # close() ends the loop.
        with suppress(OSError):
            while True:
                connection = FrameConnection(server.accept()[0])
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: FrameConnection) -> None:
        frames = connection.frames()
        session = next(frames, b"").decode()
        # Before the answer: once the client has it, messages must reach the client.
        with self._changing:
            self._connections[session] = connection
        connection.send(self._kernel_id.encode())
        for frame in frames:
            with self._receiving:
                self._callback(decode(frame))
        with self._changing:
            if self._connections.get(session) is connection:
                del self._connections[session]
        connection.close()


def main(name: str, port: int) -> None:
    with ec.launch(name) as kernel, TcpServer(port, kernel.id) as server:
        server.on_message(kernel.main.on_next)
        kernel.main.subscribe(server.send)
        print(f"tcp://127.0.0.1:{server.port}", flush=True)
        # Serve until standard input is closed.
        sys.stdin.read()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
