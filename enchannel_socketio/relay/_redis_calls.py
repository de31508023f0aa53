"""Redis is asked: what it raises is translated here, and it is waited for while it is away.

``redis`` itself is only imported in a function: who has no use for it need not have it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, TypeVar

from enchannel.errors import ConnectionFailed

__all__ = ["end_all", "patiently", "told"]

log = logging.getLogger("enchannel.socketio.relay")

T = TypeVar("T")

AGAIN = 0.2  # seconds after which Redis is tried again when it was away
INSIST = 0.1  # seconds after which a task is told again to end


async def told(asking: Awaitable[T]) -> T:
    """Ask Redis; what it raises is translated, and has nothing of what is in a URL.

    Raises:
        ConnectionFailed: it is away, or does not do that.
    """
    from redis.exceptions import AuthenticationError, RedisError

    try:
        return await asking
    except AuthenticationError:
        raise ConnectionFailed("the Redis of the relay's store does not know us") from None
    except (RedisError, OSError) as error:
        raise ConnectionFailed(
            f"the Redis of the relay's store is not to be reached ({type(error).__name__})"
        ) from None


async def patiently(do: Callable[[], Awaitable[T]], is_closed: Callable[[], bool]) -> T:
    """Ask Redis, however often that takes while it is away.

    Raises:
        ConnectionFailed: it is not wanted any more.
    """
    was_away = False
    while not is_closed():
        try:
            done = await told(do())
        except ConnectionFailed as error:
            if not was_away:
                log.warning("Redis is tried until it answers: %s", error)
            was_away = True
            await asyncio.sleep(AGAIN)
        else:
            if was_away:
                log.warning("Redis answers again")
            return done
    raise ConnectionFailed("the relay's store is closed")


async def end_all(tasks: Iterable[asyncio.Future[Any]]) -> None:
    """Cancel some tasks that ask Redis, and return when they have ended."""
    waiting = set(tasks)
    while waiting:
        for task in waiting:
            task.cancel()
        # It may be swallowed, when that is in the moment in which redis-py connects.
        done, waiting = await asyncio.wait(waiting, timeout=INSIST)
        await asyncio.gather(
            *done, return_exceptions=True
        )  # as nobody else looks at what they raised
