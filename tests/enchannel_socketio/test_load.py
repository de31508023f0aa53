"""Many watchers of one flood: each receives all of it, in order, and leaves nothing behind."""

import asyncio
import gc
import threading
from contextlib import ExitStack

import psutil
import pytest

import enchannel as ec
from enchannel import messages as build
from enchannel.memory import InMemoryKernel
from enchannel_socketio import connect
from tests.enchannel_socketio.conftest import Running, running, sharing
from tests.enchannel_socketio.watching import watch_together
from tests.rigs import DEADLINE, LONG_STREAM_TIMEOUT, eventually
from tests.rigs.processes import count_descriptors
from tests.rigs.relay import TOKEN

WATCHERS, MESSAGES = 200, 20_000


@pytest.mark.timeout(LONG_STREAM_TIMEOUT)
def test_200_watchers_receive_whole_flood() -> None:
    with (
        running() as relay,
        InMemoryKernel() as remote,
        sharing(relay, remote.target) as kernel_id,
    ):
        flood = [build.stream("stdout", f"{number}") for number in range(MESSAGES)]

        def send() -> None:
            for message in flood:
                remote.send(message)

        sender = threading.Thread(target=send)
        seen = asyncio.run(
            watch_together(
                relay.url, kernel_id, watchers=WATCHERS, until=MESSAGES, flood=sender.start
            )
        )
        sender.join(DEADLINE)
        assert [watched.at - watched.begin for watched in seen] == [MESSAGES] * WATCHERS
        assert eventually(lambda: relay.server.call(watchers_of(relay, kernel_id)) == 0)


async def watchers_of(relay: Running, kernel_id: str) -> int:
    return (await relay.relay._directory.find(kernel_id)).watchers


def test_disconnected_clients_leave_nothing(relay: Running) -> None:
    with InMemoryKernel() as remote, sharing(relay, remote.target) as kernel_id:

        def come_and_go() -> None:
            with connect(relay.url, kernel_id, token=TOKEN):
                pass

        come_and_go()
        gc.collect()
        process = psutil.Process()
        descriptors, threads = count_descriptors(), process.num_threads()
        for _ in range(20):
            come_and_go()
        assert eventually(lambda: relay.server.call(watchers_of(relay, kernel_id)) == 0)
        assert eventually(lambda: count_descriptors() <= descriptors)
        assert eventually(lambda: process.num_threads() <= threads)


def test_unwatched_flood_stays_within_bounds(relay: Running) -> None:
    with InMemoryKernel() as remote, sharing(relay, remote.target) as kernel_id:
        message = build.stream("stdout", "x" * 100_000)
        for _ in range(4_000):  # 400 MB
            remote.send(message)
        kernel = relay.server.call(relay.relay._directory.find(kernel_id))
        relay.server.call(kernel.position())
        first, last = relay.server.call(kernel.log.positions())
        assert last - first < 3_000


def test_30_kernels_are_watched_at_once(relay: Running) -> None:
    received: list[list[str]] = [[] for _ in range(30)]
    done = [threading.Event() for _ in received]
    with ExitStack() as stack:
        remotes = [stack.enter_context(InMemoryKernel()) for _ in received]
        ids = [stack.enter_context(sharing(relay, remote.target)) for remote in remotes]
        kernels = [stack.enter_context(connect(relay.url, id, token=TOKEN)) for id in ids]
        for number, kernel in enumerate(kernels):
            texts = kernel.iopub.pipe(ec.of_message_type("stream"))

            def on_text(message: ec.AnyMessage, number: int = number) -> None:
                received[number].append(message.content["text"])
                if len(received[number]) == 100:
                    done[number].set()

            texts.subscribe(on_text)
        for count in range(100):
            for number, remote in enumerate(remotes):
                remote.send(build.stream("stdout", f"{number} {count}"))
        assert eventually(
            lambda: all(event.is_set() for event in done), progress=lambda: sum(map(len, received))
        )
        assert received == [[f"{number} {count}" for count in range(100)] for number in range(30)]
