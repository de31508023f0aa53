"""Runs a relay under uvicorn: binds the address, serves HTTP and WebSockets, shuts down cleanly."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from types import TracebackType
from typing import Any, Self, TypeVar

import uvicorn

from enchannel.errors import ConnectionFailed
from enchannel_socketio.relay._connections import (
    ConnectionLimiter,
    LimitedSocket,
    limited_protocols,
)
from enchannel_socketio.relay._relay import Relay
from enchannel_socketio.relay._socketio_server import MESSAGE_OVERHEAD

__all__ = ["RelayServer"]

T = TypeVar("T")

# uvicorn logs these as errors: a refused WebSocket, and long polls that are open when the relay closes.
HARMLESS_LOG_PREFIXES = (
    "ASGI callable returned without completing handshake",
    "Cancel %s running task(s)",
)
# Connections without an authorized request: their number, and the seconds that they have for it.
MAX_PENDING_CONNECTIONS = 512
REQUEST_TIMEOUT = 10.0
# For pending connections, those that are being accepted, kernels and logs.
OTHER_DESCRIPTORS = 1_024
# For all kernels to shut down.
STOP_TIMEOUT = 30.0


class RelayServer:
    """Runs a relay, in the thread that calls ``run``, or in a thread of its own as a context manager.

    The address is bound by the constructor.

    Args:
        relay: The relay to run.
        host: The address to bind; loopback by default.
        port: The port; 0: any free port.
        certfile: The file of a certificate, for HTTPS.
        keyfile: The file of its key, if that is not in ``certfile``.

    Attributes:
        url: The URL of the relay, without a token.

    Raises:
        ConnectionFailed: The address is in use or not local, or the certificate is invalid.
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
            raise ConnectionFailed(
                f"the key {keyfile} requires a certificate; pass certfile (--certfile) too"
            )
        try:
            self._socket = _bind(host, port)
        except (OSError, OverflowError) as error:
            why = getattr(error, "strerror", None) or str(error)
            raise ConnectionFailed(f"could not bind {host}, port {port}: {why}") from None
        except (TypeError, UnicodeError):
            raise ConnectionFailed(
                f"could not bind {host}, port {port}: the host must be a host name or an address"
            ) from None
        shown = (
            "localhost" if host in ("127.0.0.1", "::1") else f"[{host}]" if ":" in host else host
        )
        scheme = "https" if certfile else "http"
        self.url: str = f"{scheme}://{shown}:{self._socket.getsockname()[1]}"
        size = relay.limits.max_message + MESSAGE_OVERHEAD
        limiter = ConnectionLimiter(
            max_pending=MAX_PENDING_CONNECTIONS,
            timeout=REQUEST_TIMEOUT,
            max_watchers=relay.limits.connections,
            now=time.monotonic,
        )
        self._socket.limiter = limiter
        http_protocol, websocket_protocol = limited_protocols(limiter)
        try:
            config = uvicorn.Config(
                relay,
                http=http_protocol,
                ws=websocket_protocol,
                ws_max_size=size,
                # Compression would run once for each watcher, and costs more than it saves.
                ws_per_message_deflate=False,
                # The access log would contain one-time tokens.
                access_log=False,
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
        self._server = _Server(config, limiter)
        self._thread: threading.Thread | None = None

    def run(self, started: Callable[[], None] = lambda: None) -> None:
        """Serve until SIGINT, SIGTERM or ``stop``.

        Args:
            started: Called when the server accepts requests.

        Raises:
            ConnectionFailed: The store, or a shared kernel, could not be reached.
        """
        self._server.on_started = started
        _raise_descriptor_limit(self._relay.limits.connections + OTHER_DESCRIPTORS)
        try:
            with suppress(KeyboardInterrupt), suppress(SystemExit):
                self._server.run(sockets=[self._socket])
        finally:
            self._socket.close()
        if not self._server.started:
            raise ConnectionFailed(f"the relay could not start: {self._relay.failure}")

    def call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the relay's loop, and return its result. Call it from another thread."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._server.loop).result()

    def stop(self) -> None:
        """Stop the server. May be called from any thread."""
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
            self._thread.join(STOP_TIMEOUT)


def _raise_descriptor_limit(count: int) -> None:
    """Allow this process to have that many file descriptors, if the system permits it."""
    if sys.platform != "win32":
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = count if hard == resource.RLIM_INFINITY else min(count, hard)
        if soft != resource.RLIM_INFINITY and soft < wanted:
            with suppress(OSError, ValueError):
                resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _bind(host: str, port: int) -> LimitedSocket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With an explicit protocol: otherwise asyncio leaves Nagle's algorithm on, 40 ms per round trip.
    bound = LimitedSocket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if os.name == "posix":
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
        bound.listen(128)
    except BaseException:
        bound.close()
        raise
    return bound


def _may_log(record: logging.LogRecord) -> bool:
    """Return False for DEBUG records, which contain headers with tokens, and for harmless errors."""
    return record.levelno > logging.DEBUG and not str(record.msg).startswith(HARMLESS_LOG_PREFIXES)


logging.getLogger("uvicorn.error").addFilter(_may_log)


class _Server(uvicorn.Server):
    """Calls a function when it accepts requests, and closes connections without a request."""

    on_started: Callable[[], None]
    loop: asyncio.AbstractEventLoop

    def __init__(self, config: uvicorn.Config, limiter: ConnectionLimiter) -> None:
        super().__init__(config)
        self._limiter = limiter

    async def on_tick(self, counter: int) -> bool:
        self._limiter.close_expired()
        return await super().on_tick(counter)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self.loop = asyncio.get_running_loop()
        await super().startup(sockets)
        self.on_started()
