"""Commands for a kernel from one relay to another: a Redis Stream for each kernel, executed in order.

The result of a command is a Redis list with one entry, which soon expires.
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
from enchannel_socketio.relay._kernels import LocalKernel, ServedKernel
from enchannel_socketio.relay._redis_calls import call, call_until_closed, cancel_all, is_wrong_type
from enchannel_socketio.relay._redis_log import BLOCK_MS, PREFIX, RedisLog

if TYPE_CHECKING:
    from redis.asyncio import Redis

__all__ = ["CommandExecutor", "PeerKernel", "command_stream_of", "stopped_with_relay"]

log = logging.getLogger("enchannel.socketio.relay")

# Whole seconds, as Redis takes them.
REPLY_TIMEOUT = 60
# Seconds after which a command that no relay executes is deleted.
COMMAND_LIFETIME = 3_600
# Of one kernel; older ones are deleted.
MAX_COMMANDS = 10_000
# The first byte of a reply.
DONE, FAILED = b"=", b"!"


class PeerKernel(ServedKernel):
    """A kernel of another relay.

    A command is executed at most once, and raises if it is known that it was not. If the connection to
    Redis is lost during a command, its outcome is unknown.

    Attributes:
        is_over: True if the other relay is dead.
        is_ended: True if the log has the end of the kernel.
    """

    def __init__(self, id: str, name: str, log: RedisLog, redis: Redis) -> None:
        super().__init__(id, name, log)
        self.is_over = False
        self.is_ended = False
        self._redis = redis

    async def send(self, message: AnyMessage) -> None:
        await self._execute("send", websocket.encode(message))

    async def position(self) -> int:
        with suppress(KernelDied):
            return int(await self._execute("position"))
        return await super().position()

    async def interrupt(self) -> None:
        await self._execute("interrupt")

    async def restart(self) -> None:
        await self._execute("restart")

    async def shut_down(self) -> None:
        with suppress(KernelDied):  # the kernel ended when its relay stopped
            await self._execute("shut_down")

    async def _execute(self, op: str, body: bytes = b"") -> bytes:
        self._raise_if_over()
        stream, reply = command_stream_of(self.id), f"{PREFIX}reply:{uuid.uuid4().hex}"
        command: dict[Any, Any] = {"op": op, "body": body, "reply": reply}
        pipeline = self._redis.pipeline()
        pipeline.xadd(stream, command, maxlen=MAX_COMMANDS, approximate=True)
        pipeline.expire(stream, COMMAND_LIFETIME)
        key, _ = await call(pipeline.execute())
        try:
            result = await self._wait_for(reply)
        except BaseException:
            # The caller has given up: a relay that returns later must not execute the command.
            with suppress(ConnectionFailed):
                await call(self._redis.xdel(stream, key))
            raise
        if result.startswith(FAILED):
            raise decode_error(result[1:])
        return result[1:]

    async def _wait_for(self, reply: str) -> bytes:
        for _ in range(REPLY_TIMEOUT):
            found: Any = await call(self._redis.blpop([reply], timeout=1))
            if found is not None:
                result: bytes = found[1]
                return result
            self._raise_if_over()
        raise ConnectionFailed(
            f"the relay of kernel {self.id} did not answer within {REPLY_TIMEOUT} s"
        )

    def _raise_if_over(self) -> None:
        if self.is_over:
            raise stopped_with_relay(self.id)


class CommandExecutor:
    """Executes the commands of other relays for a kernel of this relay.

    Args:
        redis: The Redis with the commands.
        kernel: The kernel.
        shut_down: Shuts down a kernel, and deletes its log.
    """

    def __init__(
        self, redis: Redis, kernel: LocalKernel, shut_down: Callable[[str], Awaitable[None]]
    ) -> None:
        self._redis = redis
        self._kernel = kernel
        self._shut_down = shut_down
        self._stream = command_stream_of(kernel.id)
        self._executing: set[asyncio.Task[None]] = set()
        self._is_closed = False
        self._is_stopped = False

    async def run(self) -> None:
        """Execute commands until closed."""
        last = "0-0"
        while not self._is_closed:
            try:
                found: Any = await call_until_closed(
                    lambda: self._redis.xread({self._stream: last}, count=100, block=BLOCK_MS),  # noqa: B023
                    lambda: self._is_closed,
                )
            except ConnectionFailed:  # closed meanwhile
                return
            for _, items in found or ():
                for key, command in items:
                    last = key.decode()
                    # Messages are sent in order; other commands may take long.
                    if command.get(b"op") == b"send":
                        await self._execute(last, command)
                    else:
                        executing = asyncio.create_task(self._execute(last, command))
                        self._executing.add(executing)
                        executing.add_done_callback(self._executing.discard)

    def close(self) -> None:
        """Accept no more commands; those in progress continue."""
        self._is_closed = True

    async def stop(self) -> None:
        """Accept no more commands, and cancel those in progress."""
        self.close()
        self._is_stopped = True
        await cancel_all(self._executing)

    async def _execute(self, key: str, command: Mapping[bytes, bytes]) -> None:
        try:
            result = DONE + await self._do(command[b"op"].decode(), command[b"body"])
        except EnchannelError as error:
            result = FAILED + encode_event(error)
        except Exception as error:
            log.exception(
                "a command of another relay for kernel %s could not be executed", self._kernel.id
            )
            result = FAILED + encode_event(EnchannelError(f"{type(error).__name__}: {error}"))
        with suppress(ConnectionFailed):  # the store is closed
            await call_until_closed(
                lambda: self._reply(key, command, result), lambda: self._is_stopped
            )

    async def _reply(self, key: str, command: Mapping[bytes, bytes], result: bytes) -> None:
        pipeline = self._redis.pipeline()
        # Deleted at once: an answer to input() may be a password.
        pipeline.xdel(self._stream, key)
        if reply := command.get(b"reply"):
            pipeline.rpush(reply, result)
            pipeline.expire(reply, REPLY_TIMEOUT)
        try:
            await pipeline.execute()
        except Exception as error:
            # A command of another program may name any key. Repeating it would delay all others.
            if not is_wrong_type(error):
                raise
            log.warning("a command for kernel %s names an invalid reply key", self._kernel.id)

    async def _do(self, op: str, body: bytes) -> bytes:
        match op:
            case "send":
                await self._kernel.send(websocket.decode(body))
            case "position":
                return b"%d" % await self._kernel.position()
            case "interrupt":
                await self._kernel.interrupt()
            case "restart":
                await self._kernel.restart()
            case "shut_down":
                await self._shut_down(self._kernel.id)
            case _:
                raise NotSupported(f"unknown command {op[:40]!r} for a kernel")
        return b""


def stopped_with_relay(kernel_id: str) -> KernelDied:
    """Return the error for a kernel whose relay is dead."""
    return KernelDied(f"kernel {kernel_id} ended when its relay stopped; its messages are kept")


def command_stream_of(kernel_id: str) -> str:
    """Return the key of the Stream with the commands for a kernel."""
    return f"{PREFIX}{kernel_id}:commands"
