"""Watchers that parse positions only, so that one process can run hundreds of them."""

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass

import websockets

from tests.rigs.relay import TOKEN

BATCH = re.compile(rb'42/iopub/[^,]+,\["batch",\{"after":(\d+),"upto":(\d+),')
EVENT = re.compile(rb'\["(?:msg|status|gap)",\{')
ACKNOWLEDGE_EVERY = 250


@dataclass
class Watched:
    """The progress of a watcher.

    Attributes:
        begin: The position at which it began.
        at: The current position.
        frames: The number of received frames.
        bytes: Their size, in bytes.
    """

    begin: int
    at: int
    frames: int = 0
    bytes: int = 0


async def watch(
    url: str, kernel_id: str, *, until: int, ready: Callable[[], None], token: str = TOKEN
) -> Watched:
    """Watch the iopub channel of a kernel for ``until`` positions; raise on a gap."""
    address = f"{url.replace('http', 'ws', 1)}/socket.io/?EIO=4&transport=websocket"
    namespace = f"/iopub/{kernel_id}"
    async with websockets.connect(
        address,
        additional_headers={"Authorization": f"Bearer {token}"},
        max_size=None,
        compression=None,
        ping_interval=None,
        open_timeout=None,
        proxy=None,
    ) as socket:
        await socket.recv()
        await socket.send(f'40{namespace},{{"batch":true}}')
        await socket.recv()
        first = await socket.recv()
        found = re.search(r'"position":(\d+)', str(first))
        assert found, first
        seen = Watched(int(found[1]), int(found[1]))
        acknowledged = seen.at
        ready()
        while seen.at < seen.begin + until:
            frame = await socket.recv(decode=False)
            if frame == b"2":
                await socket.send("3")
                continue
            batch = BATCH.match(frame)
            assert batch, frame[:200]
            after, upto = int(batch[1]), int(batch[2])
            assert after == seen.at, f"gap: {seen.at} is followed by {after}"
            seen.at = upto
            seen.frames += 1
            seen.bytes += len(frame)
            if upto - acknowledged >= ACKNOWLEDGE_EVERY:
                acknowledged = upto
                await socket.send(f'42{namespace},["ack",{upto}]')
    return seen


async def watch_together(
    url: str, kernel_id: str, *, watchers: int, until: int, flood: Callable[[], None]
) -> list[Watched]:
    """Run watchers concurrently; start the flood when all of them are connected."""
    there, waiting = asyncio.Event(), watchers

    def ready() -> None:
        nonlocal waiting
        waiting -= 1
        if not waiting:
            there.set()

    watching = [
        asyncio.create_task(watch(url, kernel_id, until=until, ready=ready))
        for _ in range(watchers)
    ]
    await there.wait()
    flood()
    return list(await asyncio.gather(*watching))
