"""Logs as Streams of one Redis, so that watchers of one kernel may sit at several relays.

One relay has a kernel, and appends to its log. Each relay that has watchers of it follows the log once, for
all of them. What they say goes the other way. A relay says that it lives by a key that expires: kernels of
one that does not are ended by who notices first. One that stood still for so long, and goes on, takes that
back.

All that is in Redis expires, at the latest a week after the last relay that had to do with it has ended.
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
from enchannel.errors import ConnectionFailed, KernelDied
from enchannel_socketio.relay._kernels import Kernel, LocalKernel
from enchannel_socketio.relay._log import Bounds, Log
from enchannel_socketio.relay._redis_calls import end_all, patiently, told
from enchannel_socketio.relay._redis_commands import Commands, RemoteKernel, commands_of
from enchannel_socketio.relay._redis_log import KEPT, PREFIX, RedisLog
from enchannel_socketio.relay._store import Store

__all__ = ["RedisStore"]

log = logging.getLogger("enchannel.socketio.relay")

KERNELS = f"{PREFIX}kernels"
BEAT = 1.0  # seconds between two signs of life
LIVES = 5  # seconds for which a sign of life is good
GRACE = 3.0  # seconds after which a relay without one is dead: Redis may have stood still for all of them
FORGOTTEN = 60  # seconds for which a log can still be read by who was watching
OPENING = 10.0  # seconds
CLOSING = 2.0  # seconds
# A connection whose other end has gone without a word breaks within a minute, in either direction.
KEEPALIVE = {"TCP_KEEPIDLE": 20, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3, "TCP_USER_TIMEOUT": 60_000}


class _Card(msgspec.Struct, frozen=True):
    """What the relays know of a kernel."""

    id: str
    name: str
    owner: str
    state: KernelState = KernelState.IDLE
    max_message: int | None = None
    has_lifecycle: bool = False


class RedisStore(Store):
    """Logs, and the directory of kernels, in a Redis that several relays share.

    Args:
        url: Where it is: ``redis://…`` or ``rediss://…``.
        bounds: How much of each kernel.

    Raises:
        ConnectionFailed: that is no URL of a Redis.
    """

    def __init__(self, url: str, bounds: Bounds) -> None:
        self._bounds = bounds
        self._redis = _redis_at(url)
        self._me = uuid.uuid4().hex
        self._own: dict[str, LocalKernel] = {}
        self._commands: dict[str, Commands] = {}
        self._logs: dict[str, RedisLog] = {}
        self._dropped: list[RedisLog] = []  # which somebody may still be reading
        self._remote: dict[str, RemoteKernel] = {}
        self._missed: dict[str, float] = {}  # relays without a sign of life, and since when
        self._telling = asyncio.Lock()  # of kernels; not while one is forgotten
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_closed = False

    async def open(self) -> None:
        try:
            async with asyncio.timeout(OPENING):
                await self._beat()
        except (ConnectionFailed, TimeoutError) as error:
            await self._redis.aclose()
            raise ConnectionFailed(
                str(error) or "the Redis of the relay's store does not answer"
            ) from None
        except (TypeError, ValueError):  # which an option in the URL makes
            await self._redis.aclose()
            raise _no_url() from None
        self._do(self._live())

    async def close(self) -> None:
        self._is_closed = True
        await end_all(self._tasks)
        for commands in self._commands.values():
            await commands.stop()
        for kernel_log in (*self._logs.values(), *self._dropped):
            await kernel_log.close()
        pipeline = self._redis.pipeline()
        pipeline.delete(_life(self._me))
        try:
            async with asyncio.timeout(CLOSING):
                await told(pipeline.execute())
        except (ConnectionFailed, TimeoutError) as error:
            log.debug("Redis was away at the end: %s", error)
        await self._redis.aclose()

    async def log(self, kernel_id: str) -> Log:
        ours = RedisLog(self._redis, kernel_id, self._bounds, is_ours=True)
        self._logs[kernel_id] = ours
        return ours

    async def serve(self, kernel: LocalKernel) -> None:
        self._own[kernel.id] = kernel
        commands = Commands(self._redis, kernel, self._shut_down)
        self._commands[kernel.id] = commands
        self._do(commands.run())
        with suppress(ConnectionFailed):  # the next sign of life tells it
            await self._beat()

    async def forget(self, kernel_id: str) -> None:
        self._remote.pop(kernel_id, None)
        self._drop_later(kernel_id)
        if (commands := self._commands.pop(kernel_id, None)) is not None:
            commands.close()
        self._own.pop(kernel_id, None)
        async with self._telling:
            try:
                await told(self._forget(kernel_id, FORGOTTEN))
            except ConnectionFailed:
                self._do(self._forget_later(kernel_id))

    async def _forget_later(self, kernel_id: str) -> None:
        await patiently(lambda: self._forget(kernel_id, FORGOTTEN), lambda: self._is_closed)

    async def _forget(self, kernel_id: str, seconds: int) -> None:
        pipeline = self._redis.pipeline()
        pipeline.hdel(KERNELS, kernel_id)
        pipeline.expire(_log_of(kernel_id), seconds)
        pipeline.delete(commands_of(kernel_id), _end_of(kernel_id))
        await pipeline.execute()

    async def others(self) -> Mapping[str, Kernel]:
        cards = await self._foreign_cards()
        ended = await self._ended(cards)
        lives = await self._living({card.owner for card in cards})
        kernels: dict[str, RemoteKernel] = {}
        for card in cards:
            kernel = self._remote.get(card.id)
            if kernel is None:
                kernel_log = self._logs.setdefault(
                    card.id, RedisLog(self._redis, card.id, self._bounds)
                )
                kernel = RemoteKernel(card.id, card.name, kernel_log, self._redis)
                self._remote[card.id] = kernel
            kernel.max_message = card.max_message
            kernel.has_lifecycle = card.has_lifecycle
            kernel.is_ended = card.id in ended
            kernel.is_over = kernel.is_ended or card.owner not in lives
            kernel.state = KernelState.DEAD if kernel.is_over else card.state
            kernels[card.id] = kernel
        for kernel_id in self._remote.keys() - kernels.keys():
            del self._remote[kernel_id]
            self._drop_later(kernel_id)
        return kernels

    async def _foreign_cards(self) -> list[_Card]:
        found: Any = await told(self._redis.hgetall(KERNELS))
        cards: list[_Card] = []
        for card in found.values():
            try:
                cards.append(msgspec.json.decode(card, type=_Card))
            except msgspec.MsgspecError as error:  # of a relay of another version
                log.debug("what is told of a kernel cannot be read: %s", error)
        return [card for card in cards if card.owner != self._me]

    def _drop_later(self, kernel_id: str) -> None:
        """Who watches it still has its end to see."""
        kernel_log = self._logs.pop(kernel_id, None)
        if kernel_log is not None:
            self._dropped.append(kernel_log)
            asyncio.get_running_loop().call_later(FORGOTTEN, self._drop, kernel_log)

    def _drop(self, kernel_log: RedisLog) -> None:
        if not self._is_closed:
            self._dropped.remove(kernel_log)
            self._do(kernel_log.close())

    def _do(self, doing: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(doing)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # -- life and death ---------------------------------------------------------------------------

    async def _live(self) -> None:
        while True:
            await asyncio.sleep(BEAT)
            await patiently(self._beat, lambda: self._is_closed)
            try:
                await self._bury()
            except ConnectionFailed as error:
                log.debug("the dead are looked after later: %s", error)
            except Exception:  # ours live on, whatever is the matter with others
                log.exception("kernels of other relays cannot be looked after")

    async def _beat(self) -> None:
        """Say that we live, and what our kernels do; all of it, as Redis may have begun anew."""
        async with self._telling:
            own = list(self._own.values())
            pipeline = self._redis.pipeline()
            pipeline.set(_life(self._me), b"1", ex=LIVES)
            pipeline.expire(KERNELS, KEPT)
            for kernel in own:
                pipeline.hset(KERNELS, kernel.id, msgspec.json.encode(self._card_of(kernel)))
                pipeline.expire(_log_of(kernel.id), KEPT)
            for kernel in own:
                pipeline.delete(_end_of(kernel.id))
            done: list[Any] = await told(pipeline.execute())
        for kernel, was_ended in zip(own, done[len(done) - len(own) :], strict=True):
            if was_ended and kernel.id in self._logs:
                log.warning("kernel %s was taken for dead by another relay", kernel.id)
                self._do(self._logs[kernel.id].take_back())

    def _card_of(self, kernel: LocalKernel) -> _Card:
        return _Card(
            kernel.id,
            kernel.name,
            self._me,
            kernel.state,
            kernel.max_message,
            kernel.has_lifecycle,
        )

    async def _bury(self) -> None:
        """End the kernels of relays that have died, for those who watch them."""
        await self.others()
        over = [kernel for kernel in self._remote.values() if kernel.is_over]
        if not over:
            return
        pipeline = self._redis.pipeline(transaction=False)
        for kernel in over:
            pipeline.exists(_log_of(kernel.id))
        for kernel, has_log in zip(over, await told(pipeline.execute()), strict=True):
            if not has_log:
                await told(self._forget(kernel.id, 0))
            elif not kernel.is_ended:
                gone = KernelDied(f"kernel {kernel.id} ended with its relay; what it said is kept")
                await self._logs[kernel.id].end(gone)
                pipeline.set(_end_of(kernel.id), b"1", ex=KEPT)
                pipeline.expire(_log_of(kernel.id), KEPT)
        await told(pipeline.execute())

    async def _living(self, owners: set[str]) -> set[str]:
        """Those of some relays that are not known to be dead."""
        those = list(owners)
        lives: Any = (
            await told(self._redis.mget([_life(owner) for owner in those])) if those else []
        )
        now = asyncio.get_running_loop().time()
        self._missed = {
            owner: self._missed.get(owner, now)
            for owner, life in zip(those, lives, strict=True)
            if not life
        }
        return {owner for owner in owners if now - self._missed.get(owner, now) < GRACE}

    async def _ended(self, cards: Sequence[_Card]) -> set[str]:
        """Those of some kernels that somebody has ended already."""
        if not cards:
            return set()
        found: Any = await told(self._redis.mget([_end_of(card.id) for card in cards]))
        return {card.id for card, ended in zip(cards, found, strict=True) if ended}


def _redis_at(url: str) -> Redis:
    options = {
        getattr(socket, name): value for name, value in KEEPALIVE.items() if hasattr(socket, name)
    }
    try:
        # A Redis that is frozen is waited for; one that is gone says so. Nothing is asked twice but by us:
        # what a client wants of a kernel would be done twice.
        return Redis.from_url(
            url,
            protocol=2,
            socket_connect_timeout=5.0,
            socket_timeout=None,
            socket_keepalive=True,
            socket_keepalive_options=options,
            retry=Retry(NoBackoff(), 0),
        )
    except ValueError:  # which may quote what is in it
        raise _no_url() from None


def _no_url() -> ConnectionFailed:
    return ConnectionFailed(
        "that is not the URL of a Redis, as redis://:PASSWORD@HOST:PORT/0 is; what is special in a "
        "password is written as %XX"
    )


def _life(relay: str) -> str:
    return f"{PREFIX}alive:{relay}"


def _end_of(kernel_id: str) -> str:
    return f"{PREFIX}{kernel_id}:ended"


def _log_of(kernel_id: str) -> str:
    return f"{PREFIX}{kernel_id}:log"
