"""A loop on a thread of its own, and how it ends."""

import asyncio
from collections.abc import Coroutine
from concurrent.futures import CancelledError

import pytest

from enchannel.backends import EventLoopThread
from tests.rigs import DEADLINE


def test_who_is_at_its_first_step_when_the_loop_ends_takes_it() -> None:
    loop = EventLoopThread("a loop")
    steps = list[str]()

    async def inner() -> None:
        steps.append("begun")
        try:
            await asyncio.Event().wait()
        finally:
            steps.append("put away")

    async def wraps(coroutine: Coroutine[None, None, None]) -> None:
        await coroutine

    async def outer() -> None:
        loop.end(wait=False)
        await asyncio.sleep(0)  # it stops after this turn, and what begins in it has not had one
        await asyncio.create_task(wraps(inner()))

    loop.start()
    with pytest.raises(CancelledError):
        loop.spawn(outer()).result(DEADLINE)
    loop.join()
    assert steps == ["begun", "put away"]
