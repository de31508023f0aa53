"""The server under a relay: uvicorn, which binds, speaks HTTP and WebSockets, and ends in good order."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from types import TracebackType
from typing import Any, Self, TypeVar

import uvicorn

from enchannel.errors import ConnectionFailed
from enchannel_socketio.relay._relay import Relay
from enchannel_socketio.relay._socketio_server import OVERHEAD

__all__ = ["RelayServer"]

T = TypeVar("T")

HARMLESS = (
    "ASGI callable returned without completing handshake",  # it was refused with a status
    "Cancel %s running task(s)",  # polls that wait when the relay ends
)
ENDING = 30.0  # seconds for kernels to end


class RelayServer:
    """Runs a relay until it is told to end: in the thread that calls ``run``, or in one of its own, in
    ``with``. It binds when it is made.

    Args:
        relay: What it serves.
        host: The address; loopback by default.
        port: The port; 0: one that is free.
        certfile: Of a certificate, for HTTPS.
        keyfile: Of its key, where that is in another file.

    Attributes:
        url: Where it is, without a token.

    Raises:
        ConnectionFailed: the address is taken, or not one of this machine's; or the certificate is none.
    """

    def __init__(
        self,
        relay: Relay,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        certfile: str | None = None,
        keyfile: str | None = None,
    ) -> None:
        if keyfile and not certfile:
            raise ConnectionFailed(f"{keyfile} is the key of a certificate, and there is none")
        try:
            self._socket = _bound(host, port)
        except (OSError, OverflowError) as error:
            why = getattr(error, "strerror", None) or str(error)
            raise ConnectionFailed(f"a relay cannot be at {host}, port {port}: {why}") from None
        shown = (
            "localhost" if host in ("127.0.0.1", "::1") else f"[{host}]" if ":" in host else host
        )
        scheme = "https" if certfile else "http"
        self.url: str = f"{scheme}://{shown}:{self._socket.getsockname()[1]}"
        size = relay.limits.max_message + OVERHEAD
        try:
            config = uvicorn.Config(
                relay,
                ws="websockets-sansio",
                ws_max_size=size,
                ws_per_message_deflate=False,  # it costs more than it saves, once for each watcher
                access_log=False,  # it would show one-time tokens
                log_config=None,
                log_level=logging.WARNING,
                lifespan="on",
                server_header=False,
                proxy_headers=False,
                timeout_graceful_shutdown=1,
                ssl_certfile=certfile,
                ssl_keyfile=keyfile,
            )
            config.load()
        except (OSError, ValueError) as error:
            self._socket.close()
            raise ConnectionFailed(f"the certificate cannot be used: {error}") from None
        self._relay = relay
        self._server = _Server(config)
        self._thread: threading.Thread | None = None

    def run(self, started: Callable[[], None] = lambda: None) -> None:
        """Serve until SIGINT or SIGTERM, or ``stop``.

        Args:
            started: Called when requests are answered.

        Raises:
            ConnectionFailed: what the relay shares is not to be reached, or its store.
        """
        self._server.tell = started
        try:
            with suppress(KeyboardInterrupt), suppress(SystemExit):
                self._server.run(sockets=[self._socket])
        finally:
            self._socket.close()
        if not self._server.started:
            raise ConnectionFailed(f"the relay did not begin: {self._relay.failure}")

    def do(self, doing: Coroutine[Any, Any, T]) -> T:
        """Do something on the relay's loop, and wait for it; from another thread."""
        return asyncio.run_coroutine_threadsafe(doing, self._server.loop).result()

    def stop(self) -> None:
        """End it; from any thread."""
        self._server.should_exit = True

    def __enter__(self) -> Self:
        started = threading.Event()
        failures: list[BaseException] = []

        def run() -> None:
            try:
                self.run(started.set)
            except BaseException as error:
                failures.append(error)
            finally:
                started.set()

        self._thread = threading.Thread(target=run, name="enchannel relay", daemon=True)
        self._thread.start()
        started.wait()
        if failures:
            raise failures[0]
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()
        if self._thread is not None:
            self._thread.join(ENDING)


def _bound(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # By the protocol's name, without which asyncio leaves Nagle's algorithm on: 40 ms a round trip.
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if os.name == "posix":
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
        bound.listen(128)
    except BaseException:
        bound.close()
        raise
    return bound


def _discreet(record: logging.LogRecord) -> bool:
    """What is said at DEBUG has headers in it, and so tokens; and some things are called errors that are
    none."""
    return record.levelno > logging.DEBUG and not str(record.msg).startswith(HARMLESS)


logging.getLogger("uvicorn.error").addFilter(_discreet)


class _Server(uvicorn.Server):
    """Tells when it answers."""

    tell: Callable[[], None]
    loop: asyncio.AbstractEventLoop

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self.loop = asyncio.get_running_loop()
        await super().startup(sockets)
        self.tell()
