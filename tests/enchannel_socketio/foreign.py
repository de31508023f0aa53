"""A plain Socket.IO client in Python."""

import asyncio
from collections.abc import Mapping
from typing import Any, Final

import aiohttp
import socketio

from tests.rigs import DEADLINE
from tests.rigs.relay import TOKEN

__all__ = ["FULL", "ForeignClient"]

FULL: Final = {"Authorization": f"Bearer {TOKEN}"}


class ForeignClient:
    """A Socket.IO client without enchannel.

    Args:
        url: The URL of the relay.
        namespace: The namespace to connect to.
        transport: ``websocket`` or ``polling``.

    Attributes:
        io: The client of the library.
        received: The incoming events: name and arguments.
        refusal: The error with which the connection was refused.
    """

    def __init__(self, url: str, namespace: str, *, transport: str = "websocket") -> None:
        self.namespace = namespace
        self._transport = transport
        self._url = url
        self.received: asyncio.Queue[tuple[Any, ...]] = asyncio.Queue()
        self._gone = asyncio.Event()
        # The library sends its headers with the first request only; long polling has many requests.
        self._session = aiohttp.ClientSession()
        self.io: Any = socketio.AsyncClient(reconnection=False, http_session=self._session)
        self.io.on("*", lambda *event: self.received.put_nowait(event), namespace=namespace)
        self.io.on("connect_error", self._refused, namespace=namespace)
        self.io.on("disconnect", lambda *_: self._gone.set(), namespace=namespace)
        self.refusal: Any = None

    async def open(self, headers: Mapping[str, str], **auth: Any) -> None:
        self._session.headers.update(headers)
        await self.io.connect(
            self._url,
            auth=auth,
            transports=[self._transport],
            namespaces=[self.namespace],
            wait_timeout=DEADLINE,
        )

    async def close(self) -> None:
        # A pending poll gets no response when its connection is closed.
        await self.io.eio.disconnect(abort=self._transport == "polling")
        await self._session.close()

    async def next(self, name: str) -> Any:
        async with asyncio.timeout(DEADLINE):
            while True:
                event = await self.received.get()
                if event[0] == name:
                    return event[1:]

    async def ended(self) -> str:
        async with asyncio.timeout(DEADLINE):
            await self._gone.wait()
        return "ended"

    def _refused(self, why: Any) -> None:
        self.refusal = why
