"""Several relays on one Redis, which is a real one."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from queue import SimpleQueue

import pytest
from reactivex import operators as ops

import enchannel as ec
from enchannel.errors import ConnectionFailed, KernelDied
from enchannel.memory import FarEnd
from enchannel_socketio import connect, disconnect, list_kernels, shutdown, spawn
from enchannel_socketio.relay import Bounds, store_of
from tests.enchannel_socketio.conftest import Running, running
from tests.rigs import DEADLINE, eventually
from tests.rigs.redis import RedisServer
from tests.rigs.relay import TOKEN

FLOOD = 20_000


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis"), password="the-password-of-redis") as redis:
        yield redis


@pytest.fixture(scope="module")
def relays(redis: RedisServer) -> Iterator[tuple[Running, Running]]:
    with ExitStack() as stack:
        one, other = (
            stack.enter_context(running(store=store_of(redis.url, Bounds(messages=50_000))))
            for _ in range(2)
        )
        yield one, other


@contextmanager
def spawned(relay: Running) -> Iterator[str]:
    kernel_id = spawn(relay.url, token=TOKEN)
    try:
        yield kernel_id
    finally:
        shutdown(relay.url, kernel_id, token=TOKEN)


def test_a_kernel_of_one_relay_is_driven_at_another(relays: tuple[Running, Running]) -> None:
    one, other = relays
    with spawned(one) as kernel_id:
        assert kernel_id in {model.id for model in list_kernels(other.url, token=TOKEN)}
        with (
            connect(one.url, kernel_id, token=TOKEN) as here,
            connect(other.url, kernel_id, token=TOKEN) as there,
        ):
            heard: SimpleQueue[ec.AnyMessage] = SimpleQueue()
            here.iopub.pipe(ec.of_message_type("execute_result")).subscribe(heard.put)
            assert there.run("x = 6 * 7; x").text == "42"
            assert heard.get(timeout=DEADLINE).content["data"]["text/plain"] == "42"
            assert there.run("input()", on_input=lambda prompt, password: "ada").text == "'ada'"
            with pytest.raises(ec.RequestTimeout):
                there.run("import time; time.sleep(60)", timeout=0.5)
            assert there.run("x").text == "42"
            ec.wait(there.restart(), timeout=DEADLINE)
            with pytest.raises(ec.KernelError):
                there.run("x")
            assert here.run("1").text == "1"


def test_who_was_at_one_goes_on_at_another(relays: tuple[Running, Running]) -> None:
    one, other = relays
    with spawned(one) as kernel_id:
        kernel = connect(one.url, kernel_id, token=TOKEN)
        kernel.run("1")
        position = disconnect(kernel)
        with connect(one.url, kernel_id, token=TOKEN) as kernel:
            kernel.run("print('meanwhile')")
        with connect(other.url, kernel_id, token=TOKEN, since=position) as kernel:
            texts = kernel.iopub.pipe(ec.of_message_type("stream"), ops.take(1))
            assert ec.wait(texts, timeout=DEADLINE).content["text"] == "meanwhile\n"


def test_a_kernel_is_shut_down_at_another(relays: tuple[Running, Running]) -> None:
    one, other = relays
    kernel_id = spawn(one.url, token=TOKEN)
    with connect(one.url, kernel_id, token=TOKEN) as kernel:
        shutdown(other.url, kernel_id, token=TOKEN)
        with pytest.raises(KernelDied, match="shut down"):
            ec.wait(kernel.iopub.pipe(ops.ignore_elements()), timeout=DEADLINE)
    for relay in relays:
        assert kernel_id not in {model.id for model in list_kernels(relay.url, token=TOKEN)}


class Numbers:
    """The numbers that a kernel says, in order."""

    def __init__(self, kernel: ec.Kernel) -> None:
        self.count = 0
        self.wrong: list[str] = []
        self.all_there = threading.Event()
        kernel.iopub.pipe(ec.of_message_type("stream")).subscribe(self._heard)

    def _heard(self, message: ec.AnyMessage) -> None:
        if message.content["text"] != f"{self.count}":
            self.wrong.append(message.content["text"])
        self.count += 1
        if self.count == FLOOD:
            self.all_there.set()


def test_a_flood_is_complete_at_both_though_redis_stands_still_and_falls_silent(
    relays: tuple[Running, Running], redis: RedisServer
) -> None:
    one, other = relays
    with FarEnd() as far:
        kernel_id = one.server.do(one.relay.share(far.target))
        with (
            connect(one.url, kernel_id, token=TOKEN) as here,
            connect(other.url, kernel_id, token=TOKEN) as there,
        ):
            both = Numbers(here), Numbers(there)
            for number in range(FLOOD):
                if number == FLOOD // 3:
                    redis.freeze()
                if number == FLOOD // 2:
                    redis.thaw()
                far.say(ec.stream("stdout", f"{number}"))
            for numbers in both:
                assert numbers.all_there.wait(DEADLINE), numbers.count
                assert not numbers.wrong
        shutdown(one.url, kernel_id, token=TOKEN)


def test_a_relay_that_is_killed_ends_its_kernels_for_all_who_watch(
    relays: tuple[Running, Running], redis: RedisServer
) -> None:
    script = """if True:
        import sys
        from enchannel_socketio.relay import Relay, RelayServer, store_of
        relay = Relay(token=sys.argv[1], store=store_of(sys.argv[2]))
        server = RelayServer(relay)
        server.run(lambda: print(server.url, flush=True))
    """
    _, other = relays
    with subprocess.Popen(
        [sys.executable, "-c", script, TOKEN, redis.url],
        stdout=subprocess.PIPE,
        encoding="utf-8",
    ) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        kernel_id = spawn(url, token=TOKEN)
        with connect(other.url, kernel_id, token=TOKEN) as kernel:
            pid = int(kernel.run("import os; os.getpid()").text)
            waiting = kernel.execute("import time; time.sleep(600)").pipe(ops.ignore_elements())
            ended: SimpleQueue[Exception] = SimpleQueue()
            waiting.subscribe(on_error=ended.put)
            process.kill()
            assert isinstance(ended.get(timeout=DEADLINE), KernelDied)
        with pytest.raises(KernelDied, match="ended with its relay"):
            with connect(other.url, kernel_id, token=TOKEN, since=0) as kernel:
                ec.wait(kernel.iopub.pipe(ops.ignore_elements()), timeout=DEADLINE)
        shutdown(other.url, kernel_id, token=TOKEN)
    with suppress(ProcessLookupError):  # ipykernel notices by itself, in time
        os.kill(pid, signal.SIGKILL)
    eventually(lambda: not os.path.exists(f"/proc/{pid}"))


def test_a_redis_that_is_not_there_or_does_not_know_us(
    redis: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    wrong = redis.url.replace("the-password", "a-password")
    for url in ("redis://:the-password-of-redis@127.0.0.1:9", wrong):
        with (
            pytest.raises(ConnectionFailed, match="Redis") as refused,
            running(store=store_of(url)),
        ):
            pass
        assert "password" not in f"{refused.value}{caplog.text}"


def test_a_redis_that_comes_back_has_the_rest(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    with (
        RedisServer(tmp_path_factory.mktemp("redis")) as redis,
        running(store=store_of(redis.url)) as relay,
        FarEnd() as far,
    ):
        kernel_id = relay.server.do(relay.relay.share(far.target))
        with connect(relay.url, kernel_id, token=TOKEN) as kernel:
            heard: SimpleQueue[ec.AnyMessage] = SimpleQueue()
            kernel.iopub.subscribe(heard.put)
            far.say(ec.stream("stdout", "before"))
            assert heard.get(timeout=DEADLINE).content["text"] == "before"
            redis.stop()
            far.say(ec.stream("stdout", "meanwhile"))
            redis.start()
            far.say(ec.stream("stdout", "after"))
            texts = [heard.get(timeout=DEADLINE).content["text"] for _ in range(2)]
            assert texts == ["meanwhile", "after"]
