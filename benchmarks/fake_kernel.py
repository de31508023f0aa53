"""Fake kernels that answer faster than clients can receive; one process can run many.

The code of an ``execute_request`` is a command:

    echo                        send busy, the reply and idle
    flood N SIZE                send N stream messages of SIZE characters
    buffers N BYTES             send N comm messages, each with a binary buffer
    join K N SIZE GROUP         wait for K requests of a group, then send N stream messages for each

All messages of a flood are built and signed before its busy status is sent, so that only sending remains.
They are sent with the compiled methods of a socket and integer flags, since pyzmq's wrappers cost more
than the sending. Each message is different, as in real kernels.
"""

import argparse
import gc
import json
import os
import selectors
import sys
import uuid
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import zmq
from zmq.backend import Socket as CompiledSocket

from benchmarks.frames import DELIMITER, Signer
from benchmarks.limits import raise_descriptor_limit

__all__ = ["FakeKernel"]

MORE: Final = int(zmq.SNDMORE)
NOBLOCK: Final = int(zmq.NOBLOCK)
KINDS: Final = {
    "shell": zmq.ROUTER,
    "control": zmq.ROUTER,
    "stdin": zmq.ROUTER,
    "iopub": zmq.XPUB,
    "hb": zmq.ROUTER,
}
LINE = "The quick brown fox jumps over the lazy dog, 0123456789 - a line of stdout\n"
OK = {"status": "ok", "execution_count": 1, "user_expressions": {}, "payload": []}
KERNEL_INFO = {
    "status": "ok",
    "protocol_version": "5.4",
    "implementation": "fake",
    "implementation_version": "1",
    "banner": "",
    "help_links": [],
    "language_info": {"name": "fake", "version": "1", "file_extension": ".txt"},
}

Frames = Sequence[bytes]


class FakeKernel:
    """A kernel with five bound sockets.

    Args:
        context: The context of the sockets.
        path: The connection file to write.
        sndhwm: The high-water mark of iopub; 0 means no limit. With libzmq's default of 1,000, which
            kernels keep, a kernel drops messages to slow clients.
    """

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], path: Path, sndhwm: int) -> None:
        self._session = uuid.uuid4().hex.encode()
        self._key = uuid.uuid4().hex
        self._sign = Signer(self._key.encode())
        self._sent = 0
        self._dropped = 0
        self._limited = sndhwm > 0
        self._joining: dict[str, list[tuple[bytes, bytes]]] = {}
        self.sockets = {name: context.socket(kind) for name, kind in KINDS.items()}
        self._iopub = self.sockets["iopub"]
        info: dict[str, Any] = {
            "transport": "tcp",
            "ip": "127.0.0.1",
            "key": self._key,
            "signature_scheme": "hmac-sha256",
            "kernel_name": "fake",
        }
        for name, socket in self.sockets.items():
            socket.setsockopt(zmq.SNDHWM, sndhwm if name == "iopub" else 0)
            socket.setsockopt(zmq.RCVHWM, 0)
            socket.setsockopt(zmq.LINGER, 0)
            if name == "iopub" and self._limited:
                # With this option a full queue raises, which is the only way to count drops.
                socket.setsockopt(zmq.XPUB_NODROP, 1)
            info[f"{name}_port"] = socket.bind_to_random_port("tcp://127.0.0.1")
        path.touch(mode=0o600)
        path.write_text(json.dumps(info))

    def drain(self, name: str) -> None:
        """Answer all messages that have arrived on a socket."""
        self._drain(name)
        # Sending on iopub can consume the edge-triggered event of an incoming subscription.
        self._drain("iopub")

    def _drain(self, name: str) -> None:
        socket = self.sockets[name]
        answer: Callable[[str, list[bytes]], None] = {
            "hb": self._on_heartbeat,
            "iopub": self._on_subscription,
        }.get(name, self._on_request)
        try:
            while True:
                answer(name, socket.recv_multipart(NOBLOCK))
        except zmq.Again:
            pass

    def _on_heartbeat(self, name: str, frames: list[bytes]) -> None:
        self.sockets[name].send_multipart(frames)

    def _on_subscription(self, name: str, frames: list[bytes]) -> None:
        """Send a welcome message as ipykernel does: with the topic as a prefix, unless that is empty."""
        if frames[0][:1] == b"\x01":
            topic = frames[0][1:]
            made = self._message("iopub_welcome", b"{}", {"subscription": topic.decode()})
            self._iopub.send_multipart([topic, *made] if topic else made)

    def _on_request(self, name: str, frames: list[bytes]) -> None:
        at = frames.index(DELIMITER)
        identity, parent, content = frames[0], frames[at + 2], frames[at + 5]
        msg_type = json.loads(parent)["msg_type"]
        if msg_type == "execute_request":
            self._execute(identity, parent, json.loads(content)["code"])
            return
        reply = KERNEL_INFO if msg_type == "kernel_info_request" else {"status": "ok"}
        self._answer(name, identity, parent, msg_type.replace("_request", "_reply"), reply)

    def _answer(
        self, name: str, identity: bytes, parent: bytes, msg_type: str, content: dict[str, Any]
    ) -> None:
        """Send busy, the reply and idle."""
        busy, idle = self._status("busy", parent), self._status("idle", parent)
        reply = [identity, *self._message(msg_type, parent, content)]
        self._publish([busy])
        _send_all(self.sockets[name], [reply])
        self._publish([idle])

    def _execute(self, identity: bytes, parent: bytes, code: str) -> None:
        word, *numbers = code.split()
        if word == "flood":
            count, size = map(int, numbers)
            self._send_flood(self._streams(count, size, parent), [(identity, parent)])
        elif word == "buffers":
            count, size = map(int, numbers)
            self._buffers(count, size, identity, parent)
        elif word == "join":
            members, count, size, group = map(int, numbers)
            self._join(members, count, size, str(group), identity, parent)
        else:
            self._answer("shell", identity, parent, "execute_reply", OK)

    def _join(
        self, members: int, count: int, size: int, group: str, identity: bytes, parent: bytes
    ) -> None:
        joined = self._joining.setdefault(group, [])
        joined.append((identity, parent))
        if len(joined) == members:
            del self._joining[group]
            each = [self._streams(count, size, parent) for _, parent in joined]
            self._send_flood(
                [message for turn in zip(*each, strict=True) for message in turn], joined
            )

    def _send_flood(self, messages: list[Frames], requests: Sequence[tuple[bytes, bytes]]) -> None:
        """Send busy for each request, the messages, and idle and the reply for each request."""
        busy = [self._status("busy", parent) for _, parent in requests]
        idle = [self._status("idle", parent) for _, parent in requests]
        gc.collect()
        self._publish(busy)
        if self._limited:
            self._dropped = _send_what_fits(self._iopub, messages)
        else:
            _send_all(self._iopub, messages)
        self._publish(idle)
        for identity, parent in requests:
            content = {**OK, "dropped": self._dropped}
            reply = [identity, *self._message("execute_reply", parent, content)]
            _send_all(self.sockets["shell"], [reply])

    def _buffers(self, count: int, size: int, identity: bytes, parent: bytes) -> None:
        data = os.urandom(size)
        contents = [{"comm_id": "c", "data": {"number": n}} for n in range(count)]
        messages = [
            [b"comm", *self._message("comm_msg", parent, content), data] for content in contents
        ]
        self._publish([self._status("busy", parent)])
        for message in messages:
            self._iopub.send_multipart(message, copy=False)
        self._publish([self._status("idle", parent)])
        reply = [identity, *self._message("execute_reply", parent, OK)]
        _send_all(self.sockets["shell"], [reply])

    def _publish(self, messages: Iterable[Frames]) -> None:
        """Send messages that are never dropped: wait while the queue is full."""
        _send_all(self._iopub, messages)

    def _status(self, state: str, parent: bytes) -> Frames:
        return [b"status", *self._message("status", parent, {"execution_state": state})]

    def _streams(self, count: int, size: int, parent: bytes) -> list[Frames]:
        text = (LINE * (size // len(LINE) + 1))[: size - 9]
        tail = json.dumps(text)[1:].encode()
        contents = (b'{"name":"stdout","text":"%08d ' % n + tail + b"}" for n in range(count))
        return [[b"stream", *self._signed(b"stream", parent, content)] for content in contents]

    def _message(self, msg_type: str, parent: bytes, content: dict[str, Any]) -> list[bytes]:
        return self._signed(msg_type.encode(), parent, json.dumps(content).encode())

    def _signed(self, msg_type: bytes, parent: bytes, content: bytes) -> list[bytes]:
        self._sent = sent = self._sent + 1
        header = (
            b'{"msg_id":"%b_%d","msg_type":"%b","username":"fake","session":"%b",'
            b'"date":"2026-01-01T00:00:00.%06dZ","version":"5.4"}'
        ) % (self._session, sent, msg_type, self._session, sent % 1_000_000)
        parts = (header, parent, b"{}", content)
        return [DELIMITER, self._sign(parts), *parts]


def _send_all(socket: zmq.Socket[bytes], messages: Iterable[Frames]) -> None:
    send = CompiledSocket.send
    for *frames, last in messages:
        for frame in frames:
            send(socket, frame, MORE)
        send(socket, last, 0)


def _send_what_fits(socket: zmq.Socket[bytes], messages: Iterable[Frames]) -> int:
    """Send messages, drop those that the full queue rejects, and return their number."""
    send, more, dropped = CompiledSocket.send, MORE | NOBLOCK, 0
    for first, *frames, last in messages:
        try:
            send(socket, first, more)
        except zmq.Again:
            dropped += 1
            continue
        for frame in frames:
            send(socket, frame, MORE)
        send(socket, last, 0)
    return dropped


def serve(kernels: Sequence[FakeKernel]) -> None:
    """Answer until stdin closes, which happens at the latest when the parent process exits."""
    selector = selectors.DefaultSelector()
    selector.register(sys.stdin, selectors.EVENT_READ)
    for kernel in kernels:
        for name, socket in kernel.sockets.items():
            selector.register(socket.FD, selectors.EVENT_READ, (kernel, name))
            kernel.drain(name)
    while True:
        for key, _ in selector.select():
            if key.data is None:
                return
            kernel, name = key.data
            kernel.drain(name)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("directory", type=Path, help="the directory for the connection files")
    parser.add_argument("--kernels", type=int, default=1, help="the number of kernels")
    parser.add_argument(
        "--sndhwm", type=int, default=0, help="the high-water mark of iopub; 0: no limit"
    )
    options = parser.parse_args()
    raise_descriptor_limit(20 * options.kernels + 100)
    gc.disable()
    context = zmq.Context[zmq.Socket[bytes]]()
    context.set(zmq.MAX_SOCKETS, context.get(zmq.SOCKET_LIMIT))
    kernels = [
        FakeKernel(context, options.directory / f"kernel-{n:04}.json", options.sndhwm)
        for n in range(options.kernels)
    ]
    gc.freeze()
    print("ready", flush=True)
    serve(kernels)
    context.destroy(linger=0)


if __name__ == "__main__":
    main()
