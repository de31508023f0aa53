"""Calls of Redis: errors are translated, and calls are retried while Redis is not reachable.

``redis`` is imported in a function only: relays with another store do not need it.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, TypeVar

from enchannel.errors import ConnectionFailed, EnchannelError

__all__ = ["RETRY_INTERVAL", "call", "call_until_closed", "cancel_all", "is_wrong_type"]

log = logging.getLogger("enchannel.socketio.relay")

T = TypeVar("T")

RETRY_INTERVAL = 0.2
CANCEL_INTERVAL = 0.1


async def call(calling: Awaitable[T]) -> T:
    """Call Redis, and translate its errors; their texts contain nothing of the URL.

    Raises:
        ConnectionFailed: Redis cannot be reached, or refuses the call.
    """
    from redis.exceptions import AuthenticationError, RedisError, ResponseError

    try:
        return await calling
    except EnchannelError:  # a ConnectionFailed is an OSError
        raise
    except AuthenticationError:
        raise ConnectionFailed(
            "the Redis store of the relay rejected the credentials; check its URL"
        ) from None
    except ResponseError as error:
        raise ConnectionFailed(
            f"the Redis store of the relay refused a command ({_code_of(error)})"
        ) from None
    except (RedisError, OSError) as error:
        raise ConnectionFailed(
            f"could not connect to the Redis store of the relay ({type(error).__name__})"
        ) from None


def is_wrong_type(error: BaseException) -> bool:
    """Return True if a command was refused because its key holds something of another type."""
    from redis.exceptions import ResponseError

    return isinstance(error, ResponseError) and _code_of(error) == "WRONGTYPE"


def _code_of(error: Exception) -> str:
    """Return the first word of Redis' error. The rest may contain the command, and so a message."""
    match = re.match(r"(?:.*caused error: \W*)?([A-Z]+)\b", str(error), re.DOTALL)
    return match[1] if match else type(error).__name__


async def call_until_closed(
    make_call: Callable[[], Awaitable[T]], is_closed: Callable[[], bool]
) -> T:
    """Call Redis, and repeat the call while Redis cannot be reached.

    Raises:
        ConnectionFailed: The store was closed.
    """
    was_lost = False
    while not is_closed():
        try:
            result = await call(make_call())
        except ConnectionFailed as error:
            if not was_lost:
                log.warning("retrying until Redis answers: %s", error)
            was_lost = True
            await asyncio.sleep(RETRY_INTERVAL)
        else:
            if was_lost:
                log.warning("Redis answers again")
            return result
    raise ConnectionFailed("the relay's store is closed")


async def cancel_all(tasks: Iterable[asyncio.Future[Any]]) -> None:
    """Cancel tasks that call Redis, and wait until they have ended."""
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        # redis-py can swallow a cancellation while it connects, so it is repeated.
        done, pending = await asyncio.wait(pending, timeout=CANCEL_INTERVAL)
        # Retrieve their exceptions, which asyncio would log otherwise.
        await asyncio.gather(*done, return_exceptions=True)
