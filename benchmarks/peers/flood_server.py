"""A process with a flooding kernel and a server, either the relay or a simple Socket.IO server.

The process reads commands from stdin, and exits when stdin closes:

    flood N     send N stream messages from the kernel, as fast as it can
    cpu         print the CPU time of the process in seconds
"""

from __future__ import annotations

import argparse
import json
import secrets
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict
from time import process_time
from typing import IO, Any, Final, cast

import enchannel as ec
from benchmarks.peers.watchers import Endpoint
from benchmarks.rounds import WORKING_TREE

__all__ = ["Served", "served"]

EXIT_TIMEOUT: Final = 10.0


class Served:
    """Controls the process.

    Attributes:
        pid: The process id.
        endpoint: The address of the kernel for watchers.
    """

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.pid = process.pid
        self._stdin, self._stdout = cast("tuple[IO[str], IO[str]]", (process.stdin, process.stdout))
        self.endpoint = Endpoint(**self._read_result())

    def flood(self, messages: int) -> None:
        """Start a flood, without waiting for its end."""
        print("flood", messages, file=self._stdin, flush=True)

    def cpu(self) -> float:
        """Return the CPU time of the process in seconds, after all messages are sent."""
        print("cpu", file=self._stdin, flush=True)
        seconds: float = self._read_result()
        return seconds

    def _read_result(self) -> Any:
        line = self._stdout.readline()
        if not line:
            raise RuntimeError("the server process exited; see its output above")
        return json.loads(line)


@contextmanager
def served(way: str, size: int, kept: int) -> Iterator[Served]:
    """Run a server process for the block.

    Args:
        way: One of ``WAYS``.
        size: The number of characters in a message.
        kept: The number of messages that the relay keeps.
    """
    command = [
        *(sys.executable, "-P", "-m", "benchmarks.peers.flood_server", way),
        *("--size", str(size), "--kept", str(kept)),
    ]
    with subprocess.Popen(
        command,
        env=WORKING_TREE.environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield Served(process)
        finally:
            cast("IO[str]", process.stdin).close()
            try:
                process.wait(EXIT_TIMEOUT)
            except subprocess.TimeoutExpired:
                process.kill()


# -- in the process ------------------------------------------------------------------------------------


@contextmanager
def _relaying(target: str, kept: int, auth: str) -> Iterator[Endpoint]:
    from enchannel_socketio.relay import Bounds, MemoryStore, Relay, RelayServer

    relay = Relay(token=secrets.token_urlsafe(), store=MemoryStore(Bounds(messages=kept)))
    with RelayServer(relay) as server:
        yield Endpoint(
            port=int(server.url.rpartition(":")[2]),
            token=relay.token.reveal(),
            namespace=f"/iopub/{server.call(relay.share(target))}",
            auth=auth,
            credit=True,
        )


def _in_batches(target: str, kept: int) -> AbstractContextManager[Endpoint]:
    return _relaying(target, kept, '{"batch":true}')


def _single(target: str, kept: int) -> AbstractContextManager[Endpoint]:
    return _relaying(target, kept, "{}")


def _emitting(target: str, kept: int) -> AbstractContextManager[Endpoint]:
    from benchmarks.peers import room_server

    return room_server.serving(target)


WAYS: Final[dict[str, Callable[[str, int], AbstractContextManager[Endpoint]]]] = {
    "batches": _in_batches,
    "single": _single,
    "emitting": _emitting,
}


def _messages(count: int, size: int) -> Iterator[ec.AnyMessage]:
    """Return messages made of bytes, as a link receives them."""
    from enchannel.wire.parts import RawParts, message_of
    from enchannel.wire.receiving import header_of

    header, parent = _header("stream"), _header("execute_request")
    content = json.dumps({"name": "stdout", "text": "x" * size}).encode()
    for number in range(count):
        raw = RawParts(header % number, parent % number, b"{}", content)
        yield message_of(ec.ChannelName.IOPUB, raw, (), _ignore, header_of)


def _ignore(error: Exception) -> None:
    pass


def _header(msg_type: str) -> bytes:
    """Return a header with a placeholder for the number of the message."""
    header = {
        "msg_id": "%032x",
        "msg_type": msg_type,
        "username": "ada",
        "session": SESSION,
        "date": "2026-01-01T00:00:00.000000Z",
        "version": "5.4",
    }
    return json.dumps(header).encode()


SESSION: Final = uuid.uuid4().hex


def _print_result(result: object) -> None:
    print(json.dumps(result), flush=True)


def _main() -> None:
    from enchannel.memory import InMemoryKernel

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("way", choices=WAYS)
    parser.add_argument("--size", type=int, required=True)
    parser.add_argument("--kept", type=int, required=True)
    options = parser.parse_args()
    with InMemoryKernel() as remote, WAYS[options.way](remote.target, options.kept) as endpoint:
        _print_result(asdict(endpoint))
        for line in sys.stdin:
            match line.split():
                case ["flood", count]:
                    for message in _messages(int(count), options.size):
                        remote.send(message)
                case _:
                    _print_result(process_time())


if __name__ == "__main__":
    _main()
