"""Socket.IO as one begins with it: each message is an event to all who are in the kernel's room."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import socketio
import uvicorn

import enchannel as ec
from benchmarks.peers.watching import HOST, Place
from enchannel import backends

__all__ = ["serving"]

ROOM = "kernel"


@contextmanager
def serving(target: str) -> Iterator[Place]:
    """Serves a kernel until the end of the block, on a server with the options of the relay's."""
    # By the protocol's name, without which asyncio leaves Nagle's algorithm on.
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as bound:
        bound.bind((HOST, 0))
        bound.listen(128)
        config = uvicorn.Config(
            _application(target),
            ws="websockets-sansio",
            ws_per_message_deflate=False,
            access_log=False,
            log_config=None,
            log_level=logging.WARNING,
            lifespan="on",
            timeout_graceful_shutdown=1,
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([bound],))
        thread.start()
        try:
            yield Place(port=bound.getsockname()[1])
        finally:
            server.should_exit = True
            thread.join()


def _application(target: str) -> Any:
    io: Any = socketio.AsyncServer(async_mode="asgi")
    link = backends.open_link(target, session=ec.Session())
    emitting: list[asyncio.Task[None]] = []

    async def connect(sid: str, environ: object, auth: object = None) -> None:
        await io.enter_room(sid, ROOM)

    async def begin() -> None:
        loop, said = asyncio.get_running_loop(), asyncio.Queue[ec.AnyMessage]()

        async def emit() -> None:
            while True:
                await io.emit("msg", _as_json(await said.get()), room=ROOM)

        def hear(message: ec.AnyMessage) -> None:
            loop.call_soon_threadsafe(said.put_nowait, message)

        emitting.append(asyncio.create_task(emit()))
        pair = link.pair(ec.ChannelName.IOPUB)
        if pair is not None:
            pair.incoming.subscribe(hear)

    def end() -> None:
        link.close()
        for task in emitting:
            task.cancel()

    io.on("connect", connect)
    return socketio.ASGIApp(io, on_startup=begin, on_shutdown=end)


def _as_json(message: ec.AnyMessage) -> dict[str, Any]:
    return {
        "channel": message.channel.value,
        "header": message.header.to_dict(),
        "parent_header": message.parent_header.to_dict(),
        "metadata": message.metadata,
        "content": message.content,
        "buffers": list(map(bytes, message.buffers)),
    }
