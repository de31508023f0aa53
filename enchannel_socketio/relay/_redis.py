"""Logs as Streams of one Redis, so that watchers of one kernel may sit at several relays.

One relay has a kernel, and appends to its log; a position is the id of an entry. Each relay that has
watchers of it follows the Stream once, for all of them. What they say goes the other way by a Stream of
its own. A relay says that it lives by a key that expires: kernels of one that does not are ended by who
notices first.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeVar

import msgspec
from redis.asyncio import Redis
from redis.exceptions import AuthenticationError, RedisError, ResponseError

from enchannel import AnyMessage
from enchannel.abc import KernelState, error_of, told_of
from enchannel.errors import ConnectionFailed, EnchannelError, KernelDied, NotSupported
from enchannel.wire import websocket
from enchannel_socketio.relay._kernels import STATUS, Kernel, LocalKernel, ended_of
from enchannel_socketio.relay._log import Bounds, Entry, Log, MemoryLog, Stretch
from enchannel_socketio.relay._store import Store

__all__ = ["RedisLog", "RedisStore"]

log = logging.getLogger("enchannel.socketio.relay")

T = TypeVar("T")

PREFIX = "enchannel:relay:"
KERNELS = f"{PREFIX}kernels"
BEAT = 1.0  # seconds between two signs of life
LIVES = 5  # seconds for which a sign of life is good
GRACE = 3.0  # seconds after which a relay without one is dead: Redis may have stood still for all of them
BLOCK = 1_000  # milliseconds that a reader waits in Redis
AGAIN = 0.2  # seconds after which Redis is tried again when it was away
AT_ONCE = 500  # entries that are read at once
ANSWER = 60  # seconds for the relay that has a kernel to do something with it
FORGOTTEN = 60  # seconds for which a log can still be read by who was watching
KEPT = 7 * 86_400  # seconds for which the log of a kernel whose relay has ended is there
LOOK = 5.0  # seconds
COMMANDS = 10_000  # that a Stream of commands keeps
TAIL = Bounds(messages=4_096, bytes=16 << 20)  # of a log, in memory, for those who keep up
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Entry).decode


class _Card(msgspec.Struct, frozen=True):
    """What the relays know of a kernel."""

    id: str
    name: str
    owner: str
    state: KernelState = KernelState.IDLE
    max_message: int | None = None
    has_lifecycle: bool = False


class RedisLog(Log):
    """A log in a Stream.

    Args:
        redis: Where.
        kernel_id: Whose.
        bounds: How much it keeps.
        is_ours: Whether it is new, and we append to it.
    """

    def __init__(
        self, redis: Redis, kernel_id: str, bounds: Bounds, *, is_ours: bool = False
    ) -> None:
        self._redis = redis
        self._key = f"{PREFIX}{kernel_id}:log"
        self._bounds = bounds
        self._sizes: deque[int] = deque()  # of what we have appended, and is still there
        self._bytes = 0
        self._last = 0  # the position up to which all is known
        self._tail = MemoryLog(TAIL)  # what comes after it was followed first
        # The position before its first; None: nobody has asked for it yet.
        self._tail_after: int | None = 0 if is_ours else None
        self._following: asyncio.Task[None] | None = None
        self._is_closed = False

    # -- of the relay that has the kernel ---------------------------------------------------------

    async def append(self, entries: Sequence[Entry]) -> None:
        await _patiently(lambda: self._add(entries), lambda: self._is_closed)
        self._last += len(entries)
        for entry in entries:
            self._sizes.append(entry.size)
            self._bytes += entry.size
        await self._tail.append(entries)
        while len(self._sizes) > self._bounds.messages or (
            self._bytes > self._bounds.bytes and len(self._sizes) > 1
        ):
            self._bytes -= self._sizes.popleft()

    async def _add(self, entries: Sequence[Entry]) -> None:
        """All of them, and none twice: a Redis that was lost may have taken some."""
        had = await self._last_there()
        first = self._last + 1
        pipeline = self._redis.pipeline(transaction=False)
        for position, entry in enumerate(entries, first):
            if position > had:
                pipeline.xadd(self._key, {"e": _encode(entry)}, id=f"{position}-0")
        oldest = first - len(self._sizes)
        if oldest > 1:
            pipeline.xtrim(self._key, minid=f"{oldest}-0")
        await pipeline.execute()

    async def end(self, error: EnchannelError) -> None:
        """Append the end, where the relay that had the kernel could not; and let all of it go in time."""
        newest: Any = await self._redis.xrevrange(self._key, count=1)
        last = _position(newest[0][0]) if newest else 0
        if newest and _is_end(_decode(newest[0][1][b"e"])):
            return
        try:
            entry = Entry(STATUS, "", "", ended_of(error))
            await self._redis.xadd(self._key, {"e": _encode(entry)}, id=f"{last + 1}-0")
        except ResponseError:  # somebody else has
            log.debug("the end of %s was told by another relay", self._key)

    # -- of who watches ---------------------------------------------------------------------------

    async def ends(self) -> tuple[int, int]:
        first: Any = await _told(self._redis.xrange(self._key, count=1))
        last = await _told(self._last_there())
        return (_position(first[0][0]) if first else last + 1), last

    async def read(self, after: int, most: int) -> Stretch:
        await self._follow()
        while True:
            before = self._tail_after or 0
            gone = (await self._tail.ends())[0] - 1  # of the tail, by its own count
            if after < before + gone:
                found: Any = await _told(
                    self._redis.xrange(self._key, min=f"({after}-0", count=most)
                )
                if found:
                    entries = [_decode(item[b"e"]) for _, item in found]
                    return Stretch(_position(found[0][0]), entries)
                after = before + gone  # it fell off between the two
            with suppress(TimeoutError):  # the tail may have become another
                async with asyncio.timeout(LOOK):
                    stretch = await self._tail.read(after - before, most)
                    if (
                        stretch.first + before == after + 1
                    ):  # else so much came that it is not there
                        return Stretch(after + 1, stretch.entries)

    async def close(self) -> None:
        self.stop()
        if self._following is not None:
            await asyncio.gather(self._following, return_exceptions=True)

    def stop(self) -> None:
        """Follow no more."""
        self._is_closed = True
        if self._following is not None:
            self._following.cancel()

    async def _follow(self) -> None:
        """Know what is appended from now on, if it is not by us."""
        if self._tail_after is None:
            last = await _told(self._last_there())
            if self._tail_after is None:  # nobody was quicker
                self._last = self._tail_after = last
                self._following = asyncio.create_task(self._read_on())

    async def _read_on(self) -> None:
        while not self._is_closed:
            found: Any = await _patiently(self._next, lambda: self._is_closed)
            for _, items in found or ():
                entries = [_decode(item[b"e"]) for _, item in items]
                missed = _position(items[0][0]) - self._last - 1
                if missed > 0:  # they had fallen off before we came to read them
                    self._tail = MemoryLog(TAIL)
                    self._tail_after = self._last + missed
                self._last = _position(items[-1][0])
                await self._tail.append(entries)

    async def _next(self) -> Any:
        return await self._redis.xread({self._key: f"{self._last}-0"}, count=AT_ONCE, block=BLOCK)

    async def _last_there(self) -> int:
        newest: Any = await self._redis.xrevrange(self._key, count=1)
        return _position(newest[0][0]) if newest else self._last


class RedisStore(Store):
    """Logs, and the directory of kernels, in a Redis that several relays share.

    Args:
        url: Where it is: ``redis://…`` or ``rediss://…``.
        bounds: How much of each kernel.
    """

    def __init__(self, url: str, bounds: Bounds) -> None:
        self._bounds = bounds
        try:
            # A Redis that is frozen is waited for; one that is gone says so.
            self._redis = Redis.from_url(url, socket_connect_timeout=5.0, socket_timeout=None)
        except ValueError as error:
            raise ConnectionFailed(f"that is not the URL of a Redis: {error}") from None
        self._me = uuid.uuid4().hex
        self._own: dict[str, LocalKernel] = {}
        self._written: dict[str, _Card] = {}
        self._logs: dict[str, RedisLog] = {}
        self._dropped: list[RedisLog] = []  # which somebody may still be reading
        self._remote: dict[str, RemoteKernel] = {}
        self._missed: dict[str, float] = {}  # relays without a sign of life, and since when
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_closed = False

    async def open(self) -> None:
        try:
            async with asyncio.timeout(10):
                await self._beat()
        except (RedisError, OSError, TimeoutError) as error:
            await self._redis.aclose()
            raise _unreachable(error) from None
        self._do(self._live())

    async def close(self) -> None:
        self._is_closed = True
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for kernel_log in (*self._logs.values(), *self._dropped):
            await kernel_log.close()
        try:
            async with asyncio.timeout(2):
                pipeline = self._redis.pipeline(transaction=False)
                pipeline.delete(_life(self._me))
                for kernel_id in self._own:
                    pipeline.expire(f"{PREFIX}{kernel_id}:log", KEPT)
                await pipeline.execute()
        except (RedisError, OSError, TimeoutError) as error:
            log.debug("Redis was away at the end: %s", error)
        await self._redis.aclose()

    async def log(self, kernel_id: str) -> Log:
        ours = RedisLog(self._redis, kernel_id, self._bounds, is_ours=True)
        self._logs[kernel_id] = ours
        return ours

    async def serve(self, kernel: LocalKernel) -> None:
        self._own[kernel.id] = kernel
        await self._beat()
        self._do(self._obey_for(kernel))

    async def forget(self, kernel_id: str) -> None:
        self._own.pop(kernel_id, None)
        self._remote.pop(kernel_id, None)
        self._written.pop(kernel_id, None)
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.hdel(KERNELS, kernel_id)
        pipeline.expire(f"{PREFIX}{kernel_id}:log", FORGOTTEN)
        pipeline.delete(_commands(kernel_id))
        await _told(pipeline.execute())

    async def others(self) -> Mapping[str, Kernel]:
        found: Any = await _told(self._redis.hgetall(KERNELS))
        cards = [msgspec.json.decode(card, type=_Card) for card in found.values()]
        foreign = [card for card in cards if card.id not in self._own]
        lives = await self._living({card.owner for card in foreign})
        ended = await self._ended(foreign)
        kernels: dict[str, Kernel] = {}
        for card in foreign:
            kernel = self._remote.get(card.id)
            if kernel is None:
                kernel = RemoteKernel(card.id, card.name, self._log_of(card.id), self._redis)
                self._remote[card.id] = kernel
            kernel.max_message = card.max_message
            kernel.has_lifecycle = card.has_lifecycle
            kernel.is_over = card.id in ended or card.owner not in lives
            kernel.state = KernelState.DEAD if kernel.is_over else card.state
            kernels[card.id] = kernel
        for kernel_id in self._remote.keys() - kernels.keys():
            del self._remote[kernel_id]
            self._drop_later(kernel_id)
        return kernels

    def _drop_later(self, kernel_id: str) -> None:
        """Who watches it still has its end to see."""
        kernel_log = self._logs.pop(kernel_id, None)
        if kernel_log is not None:
            self._dropped.append(kernel_log)
            asyncio.get_running_loop().call_later(FORGOTTEN, self._drop, kernel_log)

    def _drop(self, kernel_log: RedisLog) -> None:
        self._dropped.remove(kernel_log)
        kernel_log.stop()

    def _log_of(self, kernel_id: str) -> RedisLog:
        if kernel_id not in self._logs:
            self._logs[kernel_id] = RedisLog(self._redis, kernel_id, self._bounds)
        return self._logs[kernel_id]

    def _do(self, doing: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(doing)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # -- life and death ---------------------------------------------------------------------------

    async def _live(self) -> None:
        while True:
            await asyncio.sleep(BEAT)
            await _patiently(self._beat, lambda: self._is_closed)
            await _patiently(self._bury, lambda: self._is_closed)

    async def _beat(self) -> None:
        """Say that we live, and what our kernels do."""
        cards = {
            kernel.id: _Card(
                kernel.id,
                kernel.name,
                self._me,
                kernel.state,
                kernel.max_message,
                kernel.has_lifecycle,
            )
            for kernel in self._own.values()
        }
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.set(_life(self._me), b"1", ex=LIVES)
        for kernel_id, card in cards.items():
            if self._written.get(kernel_id) != card:
                pipeline.hset(KERNELS, kernel_id, msgspec.json.encode(card))
        await pipeline.execute()
        self._written = {id: card for id, card in cards.items() if id in self._own}

    async def _bury(self) -> None:
        """End the kernels of relays that have died, for those who watch them."""
        for kernel in (await self.others()).values():
            assert isinstance(kernel, RemoteKernel)  # noqa: S101  # for the type checker
            if not kernel.is_over:
                continue
            key = f"{PREFIX}{kernel.id}"
            if not await self._redis.exists(f"{key}:log"):
                await self._redis.hdel(KERNELS, kernel.id)
            elif await self._redis.set(_end_of(kernel.id), b"1", nx=True, ex=KEPT):
                gone = KernelDied(f"kernel {kernel.id} ended with its relay; what it said is kept")
                await self._log_of(kernel.id).end(gone)
                await self._redis.expire(f"{key}:log", KEPT)

    async def _living(self, owners: set[str]) -> set[str]:
        """Those of some relays that are not known to be dead."""
        those = list(owners)
        if not those:
            return set()
        lives: Any = await _told(self._redis.mget([_life(owner) for owner in those]))
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
        found: Any = await _told(self._redis.mget([_end_of(card.id) for card in cards]))
        return {card.id for card, ended in zip(cards, found, strict=True) if ended}

    # -- what other relays want -------------------------------------------------------------------

    async def _obey_for(self, kernel: LocalKernel) -> None:
        last = "0-0"
        while kernel.id in self._own:
            found: Any = await _patiently(
                lambda: self._redis.xread({_commands(kernel.id): last}, count=100, block=BLOCK),  # noqa: B023
                lambda: self._is_closed,
            )
            for _, items in found or ():
                for key, command in items:
                    last = key.decode()
                    # What is said stays in order; the rest takes its time.
                    if command[b"op"] == b"say":
                        await self._answer(kernel, last, command)
                    else:
                        self._do(self._answer(kernel, last, command))

    async def _answer(self, kernel: LocalKernel, key: str, command: Mapping[bytes, bytes]) -> None:
        try:
            await self._obeyed(kernel, command[b"op"].decode(), command[b"body"])
            answer = b""
        except EnchannelError as error:
            answer = told_of(error)
        except Exception as error:
            log.exception("kernel %s could not be told what another relay wants", kernel.id)
            answer = told_of(EnchannelError(f"{type(error).__name__}: {error}"))
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.xdel(_commands(kernel.id), key)  # what is typed at a prompt may be a password
        pipeline.rpush(command[b"reply"], b"!" + answer)
        pipeline.expire(command[b"reply"], ANSWER)
        await _patiently(pipeline.execute, lambda: self._is_closed)

    async def _obeyed(self, kernel: LocalKernel, op: str, body: bytes) -> None:
        match op:
            case "say":
                await kernel.say(websocket.decode(body))
            case "interrupt":
                await kernel.interrupt()
            case "restart":
                await kernel.restart()
                await kernel.position()  # all about it is in the log
            case "shut_down":
                await self._shut_down(kernel.id)
            case _:
                raise NotSupported(f"{op[:40]!r} is nothing that can be done with a kernel")


class RemoteKernel(Kernel):
    """A kernel of another relay.

    Attributes:
        is_over: Whether that relay is dead.
    """

    def __init__(self, id: str, name: str, log: RedisLog, redis: Redis) -> None:
        super().__init__(id, name, log)
        self.is_over = False
        self._redis = redis

    async def say(self, message: AnyMessage) -> None:
        await self._ask("say", websocket.encode(message))

    async def interrupt(self) -> None:
        await self._ask("interrupt")

    async def restart(self) -> None:
        await self._ask("restart")

    async def shut_down(self) -> None:
        with suppress(KernelDied):  # it has ended with its relay
            await self._ask("shut_down")

    async def _ask(self, op: str, body: bytes = b"") -> None:
        reply = f"{PREFIX}reply:{uuid.uuid4().hex}"
        command: dict[Any, Any] = {"op": op, "body": body, "reply": reply}
        await _told(
            self._redis.xadd(_commands(self.id), command, maxlen=COMMANDS, approximate=True)
        )
        answered: Any = None
        for _ in range(ANSWER):
            if self.is_over:
                raise KernelDied(f"kernel {self.id} ended with its relay")
            answered = await _told(self._redis.blpop([reply], timeout=1))
            if answered is not None:
                break
        else:
            raise ConnectionFailed(
                f"the relay that has kernel {self.id} did not answer within {ANSWER} s"
            )
        if told := answered[1][1:]:
            raise error_of(told)


def _is_end(entry: Entry) -> bool:
    return entry.event == STATUS and entry.json.startswith(b'{"ended"')


def _life(relay: str) -> str:
    return f"{PREFIX}alive:{relay}"


def _end_of(kernel_id: str) -> str:
    return f"{PREFIX}{kernel_id}:ended"


def _commands(kernel_id: str) -> str:
    return f"{PREFIX}{kernel_id}:commands"


def _position(key: bytes) -> int:
    return int(key.partition(b"-")[0])


def _unreachable(error: BaseException) -> ConnectionFailed:
    """Without what is in a URL."""
    if isinstance(error, AuthenticationError):
        return ConnectionFailed("the Redis of the relay's store does not know us")
    return ConnectionFailed(
        f"the Redis of the relay's store is not to be reached ({type(error).__name__})"
    )


async def _told(asking: Awaitable[T]) -> T:
    try:
        return await asking
    except (RedisError, OSError) as error:
        raise _unreachable(error) from None


async def _patiently(do: Callable[[], Awaitable[T]], is_closed: Callable[[], bool]) -> T | None:
    """Do it, however often that takes while Redis is away."""
    was_away = False
    while not is_closed():
        try:
            done = await do()
        except (RedisError, OSError, ConnectionFailed) as error:
            if not was_away:
                log.warning("Redis is away: %s", type(error).__name__)
            was_away = True
            await asyncio.sleep(AGAIN)
        else:
            if was_away:
                log.warning("Redis is back")
            return done
    return None
