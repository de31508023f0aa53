"""The websockets library alone: what receiving and asking costs without any client of Jupyter's."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import accumulate
from pathlib import Path
from typing import Final

import websockets

from benchmarks.frames import Signer, displays, execute_request, request
from benchmarks.measuring import Lap, Measured
from benchmarks.servers import read_served
from benchmarks.trips import Trips

__all__ = ["flood", "round_trips"]

PROTOCOL: Final = websockets.Subprotocol("v1.kernel.websocket.jupyter.org")
UNHEARD: Final = Signer(b"")  # servers sign
QUICKACK: Final = getattr(socket, "TCP_QUICKACK", None)


class _Prompt(websockets.ClientConnection):
    """Acknowledges at once what comes; until it has that, a server with Nagle's algorithm on waits."""

    def data_received(self, data: bytes) -> None:
        if QUICKACK is not None:
            sock: socket.socket = self.transport.get_extra_info("socket")
            sock.setsockopt(socket.IPPROTO_TCP, QUICKACK, 1)
        super().data_received(data)


@asynccontextmanager
async def _connected(path: Path, prompt: int) -> AsyncIterator[websockets.ClientConnection]:
    """A WebSocket that has answered once: from then on nothing is lost."""
    kernel = read_served(path)
    async with websockets.connect(
        kernel.channels,
        additional_headers={"Authorization": f"token {kernel.token}"},
        subprotocols=[PROTOCOL],
        compression=None,
        proxy=None,
        max_size=None,
        max_queue=None,
        ping_interval=None,
        create_connection=_Prompt if prompt else None,
    ) as connected:
        await _ask(connected, "")
        yield connected


def flood(path: Path, warm: int, messages: int, size: int, prompt: int) -> Measured:
    """What a frame costs that is received, and searched for the words of a status."""

    async def measure() -> Measured:
        async with _connected(path, prompt) as connected:
            await _receive_flood(connected, warm, size)
            lap = await _receive_flood(connected, messages, size)
        return lap.each(messages)

    return asyncio.run(measure())


async def _receive_flood(connected: websockets.ClientConnection, messages: int, size: int) -> Lap:
    lap, heard, receive = Lap(), 0, connected.recv
    await _say(connected, displays(messages, size))
    while b'"busy"' not in await receive(decode=False):
        pass
    lap.start()
    while b'"idle"' not in await receive(decode=False):
        heard += 1
    lap.stop()
    while heard <= messages:  # the reply may come before the idle or after it
        heard += b"execute_reply" in await receive(decode=False)
    return lap


def round_trips(path: Path, trips: Trips, prompt: int) -> Measured:
    """Until reply and idle of an empty execute have come."""

    async def measure() -> Measured:
        async with _connected(path, prompt) as connected:
            return await trips.timed_async(lambda: _ask(connected, ""))

    return asyncio.run(measure())


async def _ask(connected: websockets.ClientConnection, code: str) -> None:
    msg_id = await _say(connected, code)
    missing = {b"execute_reply", b'"idle"'}
    while missing:
        frame = await connected.recv(decode=False)
        if msg_id in frame:
            missing = {word for word in missing if word not in frame}


async def _say(connected: websockets.ClientConnection, code: str) -> bytes:
    content = {**execute_request(code), "silent": True}
    msg_id, (_, _, *parts) = request(UNHEARD, "execute_request", content, "a session")
    await connected.send(_frame([b"shell", *parts]))
    return msg_id.encode()


def _frame(parts: list[bytes]) -> bytes:
    count = len(parts) + 1
    offsets = accumulate(map(len, parts), initial=8 * (count + 1))
    return b"".join((struct.pack(f"<{count + 1}Q", count, *offsets), *parts))
