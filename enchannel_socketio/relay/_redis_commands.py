"""What is wanted of a kernel at one relay, and done at another: by a Stream for each kernel, in order.

Of each that is done, or not, a list with one entry tells, which soon expires.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from enchannel import AnyMessage
from enchannel.backends import decode_error, encode_event
from enchannel.errors import ConnectionFailed, EnchannelError, KernelDied, NotSupported
from enchannel.wire import websocket
from enchannel_socketio.relay._kernels import Kernel, LocalKernel
from enchannel_socketio.relay._redis_calls import end_all, patiently, told
from enchannel_socketio.relay._redis_log import BLOCK, PREFIX, RedisLog

if TYPE_CHECKING:
    from redis.asyncio import Redis

__all__ = ["Commands", "RemoteKernel", "commands_of"]

log = logging.getLogger("enchannel.socketio.relay")

ANSWER = 60  # seconds for the relay that has a kernel to do something with it
EXPIRE = 3_600  # seconds for which what is wanted is there, if nobody does it
MOST = 10_000  # that a Stream has
DONE, FAILED = b"=", b"!"


class RemoteKernel(Kernel):
    """A kernel of another relay.

    What is asked of it is done once, or not at all and then says why, where that can be known: of what was
    asked as Redis was lost it cannot.

    Attributes:
        is_over: Whether that relay is dead.
        is_ended: Whether the log says so.
    """

    def __init__(self, id: str, name: str, log: RedisLog, redis: Redis) -> None:
        super().__init__(id, name, log)
        self.is_over = False
        self.is_ended = False
        self._redis = redis

    async def say(self, message: AnyMessage) -> None:
        await self._ask("say", websocket.encode(message))

    async def position(self) -> int:
        with suppress(KernelDied):
            return int(await self._ask("position"))
        return await super().position()

    async def interrupt(self) -> None:
        await self._ask("interrupt")

    async def restart(self) -> None:
        await self._ask("restart")

    async def shut_down(self) -> None:
        with suppress(KernelDied):  # it has ended with its relay
            await self._ask("shut_down")

    async def _ask(self, op: str, body: bytes = b"") -> bytes:
        self._demand_life()
        commands, reply = commands_of(self.id), f"{PREFIX}reply:{uuid.uuid4().hex}"
        command: dict[Any, Any] = {"op": op, "body": body, "reply": reply}
        pipeline = self._redis.pipeline()
        pipeline.xadd(commands, command, maxlen=MOST, approximate=True)
        pipeline.expire(commands, EXPIRE)
        key, _ = await told(pipeline.execute())
        try:
            answer = await self._answered(reply)
        except (
            BaseException
        ):  # nobody waits for it any more: a relay that comes back does not do it
            with suppress(ConnectionFailed):
                await told(self._redis.xdel(commands, key))
            raise
        if answer.startswith(FAILED):
            raise decode_error(answer[1:])
        return answer[1:]

    async def _answered(self, reply: str) -> bytes:
        for _ in range(ANSWER):
            answered: Any = await told(self._redis.blpop([reply], timeout=1))
            if answered is not None:
                answer: bytes = answered[1]
                return answer
            self._demand_life()
        raise ConnectionFailed(
            f"the relay that has kernel {self.id} did not answer within {ANSWER} s"
        )

    def _demand_life(self) -> None:
        if self.is_over:
            raise KernelDied(f"kernel {self.id} ended with its relay")


class Commands:
    """Does with a kernel of this relay what others want.

    Args:
        redis: Where they say so.
        kernel: The kernel.
        shut_down: Ends and forgets it.
    """

    def __init__(
        self, redis: Redis, kernel: LocalKernel, shut_down: Callable[[str], Awaitable[None]]
    ) -> None:
        self._redis = redis
        self._kernel = kernel
        self._shut_down = shut_down
        self._key = commands_of(kernel.id)
        self._doing: set[asyncio.Task[None]] = set()
        self._is_closed = False
        self._is_stopped = False

    async def run(self) -> None:
        """Do it, until it is closed."""
        last = "0-0"
        while not self._is_closed:
            try:
                found: Any = await patiently(
                    lambda: self._redis.xread({self._key: last}, count=100, block=BLOCK),  # noqa: B023
                    lambda: self._is_closed,
                )
            except ConnectionFailed:  # it was closed meanwhile
                return
            for _, items in found or ():
                for key, command in items:
                    last = key.decode()
                    # What is said stays in order; the rest takes its time.
                    if command.get(b"op") == b"say":
                        await self._answer(last, command)
                    else:
                        doing = asyncio.create_task(self._answer(last, command))
                        self._doing.add(doing)
                        doing.add_done_callback(self._doing.discard)

    def close(self) -> None:
        """Take no more; what is being done goes on."""
        self._is_closed = True

    async def stop(self) -> None:
        """Do no more."""
        self.close()
        self._is_stopped = True
        await end_all(self._doing)

    async def _answer(self, key: str, command: Mapping[bytes, bytes]) -> None:
        try:
            answer = DONE + await self._do(command[b"op"].decode(), command[b"body"])
        except EnchannelError as error:
            answer = FAILED + encode_event(error)
        except Exception as error:
            log.exception("kernel %s could not be told what another relay wants", self._kernel.id)
            answer = FAILED + encode_event(EnchannelError(f"{type(error).__name__}: {error}"))
        with suppress(ConnectionFailed):  # the store is closed
            await patiently(lambda: self._reply(key, command, answer), lambda: self._is_stopped)

    async def _reply(self, key: str, command: Mapping[bytes, bytes], answer: bytes) -> None:
        pipeline = self._redis.pipeline()
        pipeline.xdel(self._key, key)  # what is typed at a prompt may be a password
        if reply := command.get(b"reply"):
            pipeline.rpush(reply, answer)
            pipeline.expire(reply, ANSWER)
        await pipeline.execute()

    async def _do(self, op: str, body: bytes) -> bytes:
        match op:
            case "say":
                await self._kernel.say(websocket.decode(body))
            case "position":
                return b"%d" % await self._kernel.position()
            case "interrupt":
                await self._kernel.interrupt()
            case "restart":
                await self._kernel.restart()
            case "shut_down":
                await self._shut_down(self._kernel.id)
            case _:
                raise NotSupported(f"{op[:40]!r} is nothing that can be done with a kernel")
        return b""


def commands_of(kernel_id: str) -> str:
    """Where it stands what is wanted of a kernel."""
    return f"{PREFIX}{kernel_id}:commands"
