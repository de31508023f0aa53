"""The websockets library alone, without a Jupyter client."""

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
from benchmarks.request_series import RequestSeries
from benchmarks.servers import read_served

__all__ = ["flood", "round_trips"]

PROTOCOL: Final = websockets.Subprotocol("v1.kernel.websocket.jupyter.org")
UNUSED_SIGNER: Final = Signer(b"")  # the server signs
QUICKACK: Final = getattr(socket, "TCP_QUICKACK", None)


class _QuickAckConnection(websockets.ClientConnection):
    """Acknowledges data at once, since a server with Nagle's algorithm waits for that."""

    def data_received(self, data: bytes) -> None:
        if QUICKACK is not None:
            sock: socket.socket = self.transport.get_extra_info("socket")
            sock.setsockopt(socket.IPPROTO_TCP, QUICKACK, 1)
        super().data_received(data)


@asynccontextmanager
async def _connected(path: Path, quick_ack: int) -> AsyncIterator[websockets.ClientConnection]:
    """Open a WebSocket for the block, and complete one request so that no later message is lost."""
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
        create_connection=_QuickAckConnection if quick_ack else None,
    ) as connected:
        await _execute(connected, "")
        yield connected


def flood(path: Path, warm_up: int, messages: int, size: int, quick_ack: int) -> Measured:
    """Return the times per message of a flood; frames are only searched for status words."""

    async def measure() -> Measured:
        async with _connected(path, quick_ack) as connected:
            await _receive_flood(connected, warm_up, size)
            lap = await _receive_flood(connected, messages, size)
        return lap.per_item(messages)

    return asyncio.run(measure())


async def _receive_flood(connected: websockets.ClientConnection, messages: int, size: int) -> Lap:
    lap, received, receive = Lap(), 0, connected.recv
    await _send(connected, displays(messages, size))
    while b'"busy"' not in await receive(decode=False):
        pass
    lap.start()
    while b'"idle"' not in await receive(decode=False):
        received += 1
    lap.stop()
    # The reply comes before or after the idle status.
    while received <= messages:
        received += b"execute_reply" in await receive(decode=False)
    return lap


def round_trips(path: Path, series: RequestSeries, quick_ack: int) -> Measured:
    """Measure empty execute requests until the reply and the idle status."""

    async def measure() -> Measured:
        async with _connected(path, quick_ack) as connected:
            return await series.timed_async(lambda: _execute(connected, ""))

    return asyncio.run(measure())


async def _execute(connected: websockets.ClientConnection, code: str) -> None:
    msg_id = await _send(connected, code)
    missing = {b"execute_reply", b'"idle"'}
    while missing:
        frame = await connected.recv(decode=False)
        if msg_id in frame:
            missing = {word for word in missing if word not in frame}


async def _send(connected: websockets.ClientConnection, code: str) -> bytes:
    content = {**execute_request(code), "silent": True}
    msg_id, (_, _, *parts) = request(UNUSED_SIGNER, "execute_request", content, "a session")
    await connected.send(_frame([b"shell", *parts]))
    return msg_id.encode()


def _frame(parts: list[bytes]) -> bytes:
    count = len(parts) + 1
    offsets = accumulate(map(len, parts), initial=8 * (count + 1))
    return b"".join((struct.pack(f"<{count + 1}Q", count, *offsets), *parts))
