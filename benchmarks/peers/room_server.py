"""A simple Socket.IO server, which emits each message as an event to the room of its kernel."""

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
from benchmarks.peers.watchers import HOST, Endpoint
from enchannel import backends

__all__ = ["serving"]

ROOM = "kernel"


@contextmanager
def serving(target: str) -> Iterator[Endpoint]:
    """Serve a kernel for the block, on a server with the options of the relay."""
    # asyncio disables Nagle's algorithm only if the protocol of the socket is given.
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
            yield Endpoint(port=bound.getsockname()[1])
        finally:
            server.should_exit = True
            thread.join()


def _application(target: str) -> Any:
    io: Any = socketio.AsyncServer(async_mode="asgi")
    link = backends.open_link(target, session=ec.Session())
    emitting: list[asyncio.Task[None]] = []

    async def connect(sid: str, environ: object, auth: object = None) -> None:
        await io.enter_room(sid, ROOM)

    async def start() -> None:
        loop, queue = asyncio.get_running_loop(), asyncio.Queue[ec.AnyMessage]()

        async def emit() -> None:
            while True:
                await io.emit("msg", _as_json(await queue.get()), room=ROOM)

        def on_message(message: ec.AnyMessage) -> None:
            loop.call_soon_threadsafe(queue.put_nowait, message)

        emitting.append(asyncio.create_task(emit()))
        pair = link.pair(ec.ChannelName.IOPUB)
        if pair is not None:
            pair.incoming.subscribe(on_message)

    def stop() -> None:
        link.close()
        for task in emitting:
            task.cancel()

    io.on("connect", connect)
    return socketio.ASGIApp(io, on_startup=start, on_shutdown=stop)


def _as_json(message: ec.AnyMessage) -> dict[str, Any]:
    return {
        "channel": message.channel.value,
        "header": message.header.to_dict(),
        "parent_header": message.parent_header.to_dict(),
        "metadata": message.metadata,
        "content": message.content,
        "buffers": list(map(bytes, message.buffers)),
    }
