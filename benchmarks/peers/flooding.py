"""A server, and a kernel behind it that floods, in a process of its own; and who holds it.

It serves as the relay does, or as one begins with Socket.IO. It does what its stdin says, and ends with it:

    flood N     the kernel says N stream messages, as fast as it can
    cpu         tell the seconds of CPU that the process has taken
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
from benchmarks.peers.watching import Place
from benchmarks.rounds import HERE

__all__ = ["Served", "served"]

ENDING: Final = 10.0  # seconds


class Served:
    """The process, from outside.

    Attributes:
        pid: Its number.
        place: Where it serves.
    """

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.pid = process.pid
        self._stdin, self._stdout = cast("tuple[IO[str], IO[str]]", (process.stdin, process.stdout))
        self.place = Place(**self._told())

    def flood(self, messages: int) -> None:
        """Let the kernel say so much, and do not wait for it."""
        print("flood", messages, file=self._stdin, flush=True)

    def cpu(self) -> float:
        """The seconds that it has taken, when all is said."""
        print("cpu", file=self._stdin, flush=True)
        seconds: float = self._told()
        return seconds

    def _told(self) -> Any:
        line = self._stdout.readline()
        if not line:
            raise RuntimeError("the server has ended; what it said of that is above")
        return json.loads(line)


@contextmanager
def served(way: str, size: int, kept: int) -> Iterator[Served]:
    """A server until the end of the block.

    Args:
        way: One of ``WAYS``.
        size: Characters in a message.
        kept: Messages that the relay keeps.
    """
    command = [
        *(sys.executable, "-P", "-m", "benchmarks.peers.flooding", way),
        *("--size", str(size), "--kept", str(kept)),
    ]
    with subprocess.Popen(
        command,
        env=HERE.environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield Served(process)
        finally:
            cast("IO[str]", process.stdin).close()
            try:
                process.wait(ENDING)
            except subprocess.TimeoutExpired:
                process.kill()


# -- in the process ------------------------------------------------------------------------------------


@contextmanager
def _relaying(target: str, kept: int, auth: str) -> Iterator[Place]:
    from enchannel_socketio.relay import Bounds, MemoryStore, Relay, RelayServer

    relay = Relay(token=secrets.token_urlsafe(), store=MemoryStore(Bounds(messages=kept)))
    with RelayServer(relay) as server:
        yield Place(
            port=int(server.url.rpartition(":")[2]),
            token=relay.token.reveal(),
            namespace=f"/iopub/{server.call(relay.share(target))}",
            auth=auth,
            credit=True,
        )


def _in_batches(target: str, kept: int) -> AbstractContextManager[Place]:
    return _relaying(target, kept, '{"batch":true}')


def _singly(target: str, kept: int) -> AbstractContextManager[Place]:
    return _relaying(target, kept, "{}")


def _emitting(target: str, kept: int) -> AbstractContextManager[Place]:
    from benchmarks.peers import emitting

    return emitting.serving(target)


WAYS: Final[dict[str, Callable[[str, int], AbstractContextManager[Place]]]] = {
    "batches": _in_batches,
    "singly": _singly,
    "emitting": _emitting,
}


def _messages(count: int, size: int) -> Iterator[ec.AnyMessage]:
    """As a link has them: made of bytes when they come."""
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
    """That of a message whose number is to be filled in."""
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


def _tell(told: object) -> None:
    print(json.dumps(told), flush=True)


def _main() -> None:
    from enchannel.memory import InMemoryKernel

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("way", choices=WAYS)
    parser.add_argument("--size", type=int, required=True)
    parser.add_argument("--kept", type=int, required=True)
    given = parser.parse_args()
    with InMemoryKernel() as remote, WAYS[given.way](remote.target, given.kept) as place:
        _tell(asdict(place))
        for line in sys.stdin:
            match line.split():
                case ["flood", count]:
                    for message in _messages(int(count), given.size):
                        remote.send(message)
                case _:
                    _tell(process_time())


if __name__ == "__main__":
    _main()
