"""``EventLoopThread``: running coroutines from other threads, their outcome, and stopping."""

import asyncio
import logging
import threading
from collections.abc import Coroutine, Iterator
from concurrent.futures import CancelledError

import pytest

from enchannel.backends import EventLoopThread
from enchannel.errors import ChannelClosed, EnchannelError
from enchannel.testing import Collector
from tests.enchannel_zmq.test_hangs import ctrl_c
from tests.rigs import DEADLINE, eventually


@pytest.fixture
def loop() -> Iterator[EventLoopThread]:
    loop = EventLoopThread("enchannel-test loop")
    loop.start()
    yield loop
    loop.stop(wait=True)


def test_new_task_takes_a_step_before_stop() -> None:
    loop = EventLoopThread("enchannel-test loop")
    steps = list[str]()

    async def inner() -> None:
        steps.append("started")
        try:
            await asyncio.Event().wait()
        finally:
            steps.append("cleaned up")

    async def wraps(coroutine: Coroutine[None, None, None]) -> None:
        await coroutine

    async def outer() -> None:
        loop.stop(wait=False)
        # The loop stops after this iteration, so a task created in the next one has had no step yet.
        await asyncio.sleep(0)
        await asyncio.create_task(wraps(inner()))

    loop.start()
    with pytest.raises(CancelledError):
        loop.spawn(outer()).result(DEADLINE)
    loop.join()
    assert steps == ["started", "cleaned up"]


def test_run_returns_result_or_raises(loop: EventLoopThread) -> None:
    async def divide(by: int) -> int:
        return 84 // by

    assert loop.run(divide(2)) == 42
    assert loop.run(divide(2), shielded=True) == 42
    with pytest.raises(ZeroDivisionError):
        loop.run(divide(0))


@pytest.mark.parametrize("shielded", [False, True])
def test_ctrl_c_in_run_cancels_unless_shielded(loop: EventLoopThread, shielded: bool) -> None:
    waiting, ended = threading.Event(), list[str]()
    release = asyncio.Event()

    async def wait() -> None:
        waiting.set()
        try:
            await release.wait()
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise
        ended.append("finished")

    with ctrl_c(lambda: waiting.wait(DEADLINE)):
        loop.run(wait(), shielded=shielded)
    loop.call(release.set)
    assert eventually(lambda: bool(ended))
    assert ended == ["finished" if shielded else "cancelled"]


def test_observable_replays_outcome(loop: EventLoopThread) -> None:
    async def succeed() -> None: ...

    async def fail() -> None:
        raise EnchannelError("failed")

    done = loop.to_observable(succeed())
    assert Collector(done).wait_for_end() == [None]
    assert Collector(done).wait_for_end() == [None]
    assert str(Collector(loop.to_observable(fail())).wait_for_error()) == "failed"


def test_observable_of_stopped_loop_fails() -> None:
    loop = EventLoopThread("enchannel-test loop")
    loop.start()
    waiting = Collector(loop.to_observable(asyncio.sleep(DEADLINE)))
    loop.stop(wait=True)
    assert isinstance(waiting.wait_for_error(), ChannelClosed)


def test_spawn_logged_logs_failure(loop: EventLoopThread, caplog: pytest.LogCaptureFixture) -> None:
    async def fail() -> None:
        raise EnchannelError("failed")

    loop.spawn_logged(fail(), logging.getLogger("enchannel.test"), "counting")
    assert eventually(lambda: "counting failed: failed" in caplog.text)


def test_run_in_thread_raises_its_exception(loop: EventLoopThread) -> None:
    names = list[str]()

    def fail() -> None:
        names.append(threading.current_thread().name)
        raise EnchannelError("failed")

    with pytest.raises(EnchannelError, match="failed"):
        loop.run(loop.run_in_thread(fail, name="enchannel-test worker"))
    loop.run(loop.run_in_thread(lambda: None, name="enchannel-test worker"))
    assert names == ["enchannel-test worker"]


def test_closed_loop_refuses_calls() -> None:
    loop = EventLoopThread("enchannel-test loop")
    loop.start()
    loop.stop(wait=True)
    with pytest.raises(RuntimeError):
        loop.call(lambda: None)


def test_stop_on_loop_thread_does_not_wait() -> None:
    loop = EventLoopThread("enchannel-test loop")
    loop.start()
    here = list[bool]()

    def stop() -> None:
        here.append(loop.is_current_thread)
        loop.stop(wait=True)

    loop.call(stop)
    assert eventually(lambda: here == [True])
    loop.join()
    assert not loop.is_current_thread
