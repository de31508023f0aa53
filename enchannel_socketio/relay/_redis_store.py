"""Kernel logs in a Redis that several relays share, so that a kernel can be watched at any of them.

One relay has the kernel, and appends to its log. Every relay with watchers of the kernel reads the log
once, for all of them, and sends their messages to the relay of the kernel as commands. A relay shows that
it is alive by a key that expires. The first relay that misses the key reports the kernels of the dead relay
as ended. A relay that did not respond for so long, and continues, removes that report.

All data in Redis expires, at the latest a week after the end of the last relay that used it.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import uuid
from collections.abc import Coroutine, Mapping, Sequence
from contextlib import suppress
from typing import Any

import msgspec
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from enchannel.abc import KernelState
from enchannel.errors import ConnectionFailed
from enchannel_socketio.relay._kernels import LocalKernel, ServedKernel
from enchannel_socketio.relay._log import Bounds, Log
from enchannel_socketio.relay._redis_calls import call, call_until_closed, cancel_all
from enchannel_socketio.relay._redis_commands import (
    CommandExecutor,
    PeerKernel,
    command_stream_of,
    stopped_with_relay,
)
from enchannel_socketio.relay._redis_log import LOG_LIFETIME, PREFIX, RedisLog
from enchannel_socketio.relay._store import Store

__all__ = ["RedisStore"]

log = logging.getLogger("enchannel.socketio.relay")

KERNELS_KEY = f"{PREFIX}kernels"
ALIVE_INTERVAL = 1.0
ALIVE_LIFETIME = 5
# A relay is dead when its key has been missing for so long: Redis may have stalled for all relays.
DEATH_GRACE = 3.0
# Seconds after the shutdown of a kernel in which watchers can still read its log.
FORGOTTEN_LOG_LIFETIME = 60
OPEN_TIMEOUT = 10.0
CLOSE_TIMEOUT = 2.0
# A connection whose other end has vanished breaks within a minute, in either direction.
KEEPALIVE_OPTIONS = {
    "TCP_KEEPIDLE": 20,
    "TCP_KEEPINTVL": 10,
    "TCP_KEEPCNT": 3,
    "TCP_USER_TIMEOUT": 60_000,
}


class _KernelRecord(msgspec.Struct, frozen=True):
    """The description of a kernel that the relays share."""

    id: str
    name: str
    owner: str
    state: KernelState = KernelState.IDLE
    max_message: int | None = None
    has_lifecycle: bool = False


class RedisStore(Store):
    """Logs and descriptions of kernels in a Redis that several relays share.

    Args:
        url: The URL of the Redis: ``redis://…`` or ``rediss://…``.
        bounds: The maximum size of each log.

    Raises:
        ConnectionFailed: The URL is invalid.
    """

    def __init__(self, url: str, bounds: Bounds) -> None:
        self._bounds = bounds
        self._redis = _redis_at(url)
        self._relay_id = uuid.uuid4().hex
        self._own: dict[str, LocalKernel] = {}
        self._executors: dict[str, CommandExecutor] = {}
        self._logs: dict[str, RedisLog] = {}
        # Logs of forgotten kernels, which watchers may still be reading.
        self._dropped: list[RedisLog] = []
        self._peers: dict[str, PeerKernel] = {}
        # Relays without an alive key, and the time since when.
        self._missed: dict[str, float] = {}
        # Held while kernels are announced or forgotten.
        self._announcing = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_closed = False

    async def open(self) -> None:
        try:
            async with asyncio.timeout(OPEN_TIMEOUT):
                await self._announce()
        except (ConnectionFailed, TimeoutError) as error:
            await self._redis.aclose()
            raise ConnectionFailed(
                str(error) or "the Redis store of the relay did not answer in time"
            ) from None
        except (TypeError, ValueError):  # an invalid option in the URL
            await self._redis.aclose()
            raise _invalid_url() from None
        self._start(self._run())

    async def close(self) -> None:
        self._is_closed = True
        await cancel_all(self._tasks)
        for executor in self._executors.values():
            await executor.stop()
        for kernel_log in (*self._logs.values(), *self._dropped):
            await kernel_log.close()
        pipeline = self._redis.pipeline()
        pipeline.delete(_alive_key_of(self._relay_id))
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT):
                await call(pipeline.execute())
        except (ConnectionFailed, TimeoutError) as error:
            log.debug("the relay could not delete its alive key: %s", error)
        await self._redis.aclose()

    async def create_log(self, kernel_id: str) -> Log:
        kernel_log = RedisLog(self._redis, kernel_id, self._bounds, is_writer=True)
        self._logs[kernel_id] = kernel_log
        return kernel_log

    async def register(self, kernel: LocalKernel) -> None:
        self._own[kernel.id] = kernel
        executor = CommandExecutor(self._redis, kernel, self._shut_down)
        self._executors[kernel.id] = executor
        self._start(executor.run())
        with suppress(ConnectionFailed):  # the next announcement includes it
            await self._announce()

    async def forget(self, kernel_id: str) -> None:
        self._peers.pop(kernel_id, None)
        self._drop_later(kernel_id)
        if (executor := self._executors.pop(kernel_id, None)) is not None:
            executor.close()
        self._own.pop(kernel_id, None)
        async with self._announcing:
            try:
                await call(self._forget(kernel_id, FORGOTTEN_LOG_LIFETIME))
            except ConnectionFailed:
                self._start(self._forget_later(kernel_id))

    async def _forget_later(self, kernel_id: str) -> None:
        await call_until_closed(
            lambda: self._forget(kernel_id, FORGOTTEN_LOG_LIFETIME), lambda: self._is_closed
        )

    async def _forget(self, kernel_id: str, seconds: int) -> None:
        pipeline = self._redis.pipeline()
        pipeline.hdel(KERNELS_KEY, kernel_id)
        pipeline.expire(_log_key_of(kernel_id), seconds)
        pipeline.delete(command_stream_of(kernel_id), _ended_key_of(kernel_id))
        await pipeline.execute()

    async def other_kernels(self) -> Mapping[str, ServedKernel]:
        records = await self._records_of_others()
        ended = await self._ended(records)
        alive = await self._alive({record.owner for record in records})
        kernels: dict[str, PeerKernel] = {}
        for record in records:
            kernel = self._peers.get(record.id)
            if kernel is None:
                kernel_log = self._logs.setdefault(
                    record.id, RedisLog(self._redis, record.id, self._bounds)
                )
                kernel = PeerKernel(record.id, record.name, kernel_log, self._redis)
                self._peers[record.id] = kernel
            kernel.max_message = record.max_message
            kernel.has_lifecycle = record.has_lifecycle
            kernel.is_ended = record.id in ended
            kernel.is_over = kernel.is_ended or record.owner not in alive
            kernel.state = KernelState.DEAD if kernel.is_over else record.state
            kernels[record.id] = kernel
        for kernel_id in self._peers.keys() - kernels.keys():
            del self._peers[kernel_id]
            self._drop_later(kernel_id)
        return kernels

    async def _records_of_others(self) -> list[_KernelRecord]:
        found: Any = await call(self._redis.hgetall(KERNELS_KEY))
        records: list[_KernelRecord] = []
        for kernel_id, json in found.items():
            try:
                record = msgspec.json.decode(json, type=_KernelRecord)
            except (msgspec.MsgspecError, UnicodeError) as error:  # of a relay of another version
                log.debug("the record of a kernel cannot be read: %s", error)
                continue
            if record.id.encode(errors="replace") == kernel_id:
                records.append(record)
        return [record for record in records if record.owner != self._relay_id]

    def _drop_later(self, kernel_id: str) -> None:
        """Close a log later: its watchers still have to receive the end."""
        kernel_log = self._logs.pop(kernel_id, None)
        if kernel_log is not None:
            self._dropped.append(kernel_log)
            asyncio.get_running_loop().call_later(FORGOTTEN_LOG_LIFETIME, self._drop, kernel_log)

    def _drop(self, kernel_log: RedisLog) -> None:
        if not self._is_closed:
            self._dropped.remove(kernel_log)
            self._start(kernel_log.close())

    def _start(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # -- relays that are alive, and relays that are dead ------------------------------------------

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(ALIVE_INTERVAL)
            await call_until_closed(self._announce, lambda: self._is_closed)
            try:
                await self._end_kernels_of_dead_relays()
            except ConnectionFailed as error:
                log.debug("kernels of dead relays could not be ended, retrying: %s", error)
            except Exception:  # must not affect the kernels of this relay
                log.exception("kernels of dead relays could not be ended")

    async def _announce(self) -> None:
        """Renew the alive key and the records of all kernels: Redis may have lost its data."""
        async with self._announcing:
            own = list(self._own.values())
            pipeline = self._redis.pipeline()
            pipeline.set(_alive_key_of(self._relay_id), b"1", ex=ALIVE_LIFETIME)
            pipeline.expire(KERNELS_KEY, LOG_LIFETIME)
            for kernel in own:
                pipeline.hset(KERNELS_KEY, kernel.id, msgspec.json.encode(self._record_of(kernel)))
                pipeline.expire(_log_key_of(kernel.id), LOG_LIFETIME)
            for kernel in own:
                pipeline.delete(_ended_key_of(kernel.id))
            results: list[Any] = await call(pipeline.execute())
        for kernel, was_ended in zip(own, results[len(results) - len(own) :], strict=True):
            if was_ended and kernel.id in self._logs:
                log.warning("another relay reported kernel %s as dead", kernel.id)
                self._start(self._logs[kernel.id].take_back())

    def _record_of(self, kernel: LocalKernel) -> _KernelRecord:
        return _KernelRecord(
            kernel.id,
            kernel.name,
            self._relay_id,
            kernel.state,
            kernel.max_message,
            kernel.has_lifecycle,
        )

    async def _end_kernels_of_dead_relays(self) -> None:
        """Append the end to the logs of kernels whose relay is dead."""
        await self.other_kernels()
        over = [kernel for kernel in self._peers.values() if kernel.is_over]
        if not over:
            return
        pipeline = self._redis.pipeline(transaction=False)
        for kernel in over:
            pipeline.exists(_log_key_of(kernel.id))
        for kernel, has_log in zip(over, await call(pipeline.execute()), strict=True):
            if not has_log:
                await call(self._forget(kernel.id, 0))
            elif not kernel.is_ended:
                await self._logs[kernel.id].end(stopped_with_relay(kernel.id))
                pipeline.set(_ended_key_of(kernel.id), b"1", ex=LOG_LIFETIME)
                pipeline.expire(_log_key_of(kernel.id), LOG_LIFETIME)
        await call(pipeline.execute())

    async def _alive(self, owners: set[str]) -> set[str]:
        """Return the relays that are not known to be dead."""
        keys = [_alive_key_of(owner) for owner in owners]
        found: Any = await call(self._redis.mget(keys)) if keys else []
        now = asyncio.get_running_loop().time()
        self._missed = {
            owner: self._missed.get(owner, now)
            for owner, alive in zip(owners, found, strict=True)
            if not alive
        }
        return {owner for owner in owners if now - self._missed.get(owner, now) < DEATH_GRACE}

    async def _ended(self, records: Sequence[_KernelRecord]) -> set[str]:
        """Return the ids of the kernels whose log already has their end."""
        if not records:
            return set()
        keys = [_ended_key_of(record.id) for record in records]
        found: Any = await call(self._redis.mget(keys))
        return {record.id for record, ended in zip(records, found, strict=True) if ended}


def _redis_at(url: str) -> Redis:
    options = {
        getattr(socket, name): value
        for name, value in KEEPALIVE_OPTIONS.items()
        if hasattr(socket, name)
    }
    try:
        # No socket timeout: a stalled Redis is waited for, and keepalive detects one that has vanished. No
        # retries by redis-py: it would execute a command for a kernel twice.
        return Redis.from_url(
            url,
            protocol=2,
            socket_connect_timeout=5.0,
            socket_timeout=None,
            socket_keepalive=True,
            socket_keepalive_options=options,
            retry=Retry(NoBackoff(), 0),
        )
    except ValueError:  # its text may contain the password
        raise _invalid_url() from None


def _invalid_url() -> ConnectionFailed:
    return ConnectionFailed(
        "the URL of a Redis store must look like redis://:PASSWORD@HOST:PORT/0; special characters of "
        "the password must be percent-encoded"
    )


def _alive_key_of(relay_id: str) -> str:
    return f"{PREFIX}alive:{relay_id}"


def _ended_key_of(kernel_id: str) -> str:
    return f"{PREFIX}{kernel_id}:ended"


def _log_key_of(kernel_id: str) -> str:
    return f"{PREFIX}{kernel_id}:log"
