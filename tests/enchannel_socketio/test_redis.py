"""Several relays with one Redis, with a real Redis server."""

import asyncio
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from queue import SimpleQueue
from typing import Any

import msgspec
import psutil
import pytest
import redis as redis_py
from reactivex import operators as ops
from redis.asyncio import Redis

import enchannel as ec
from enchannel import messages as build
from enchannel.backends import EventRecord
from enchannel.errors import (
    ConnectionFailed,
    KernelDied,
    MessagesMayBeMissing,
    NotSupported,
)
from enchannel.memory import InMemoryKernel
from enchannel_socketio import connect, disconnect, list_kernels, shutdown, spawn
from enchannel_socketio.relay import Bounds, _log_writer, _redis_store, make_store
from enchannel_socketio.relay._kernels import ServedKernel
from enchannel_socketio.relay._log import Entry
from enchannel_socketio.relay._redis_calls import call
from enchannel_socketio.relay._redis_commands import PeerKernel, command_stream_of
from enchannel_socketio.relay._redis_log import RedisLog
from enchannel_socketio.relay._redis_store import RedisStore
from tests.enchannel_socketio.conftest import Running, running
from tests.enchannel_socketio.test_log import all_of, entries, numbers
from tests.rigs import DEADLINE, eventually
from tests.rigs.processes import kill
from tests.rigs.redis import RedisServer
from tests.rigs.relay import TOKEN

FLOOD_SIZE = 20_000


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis"), password="the-password-of-redis") as redis:
        yield redis


@pytest.fixture(scope="module")
def relays(redis: RedisServer) -> Iterator[tuple[Running, Running]]:
    with ExitStack() as stack:
        one, other = (
            stack.enter_context(running(store=make_store(redis.url, Bounds(messages=50_000))))
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


@contextmanager
def shared(relay: Running) -> Iterator[tuple[str, InMemoryKernel]]:
    """Share an in-memory kernel whose messages the test sends."""
    with InMemoryKernel() as remote:
        kernel_id = relay.server.call(relay.relay.share(remote.target))
        try:
            yield kernel_id, remote
        finally:
            shutdown(relay.url, kernel_id, token=TOKEN)


@contextmanager
def client_of(redis: RedisServer) -> Iterator[redis_py.Redis]:
    with redis_py.Redis.from_url(redis.url) as client:
        yield client


def at(relay: Running, kernel_id: str) -> ServedKernel:
    """Return a kernel of another relay, as seen by this one."""
    return relay.server.call(relay.relay._store.other_kernels())[kernel_id]


def test_kernel_is_usable_at_other_relay(relays: tuple[Running, Running]) -> None:
    one, other = relays
    with spawned(one) as kernel_id:
        assert kernel_id in {model.id for model in list_kernels(other.url, token=TOKEN)}
        with (
            connect(one.url, kernel_id, token=TOKEN) as here,
            connect(other.url, kernel_id, token=TOKEN) as there,
        ):
            received: SimpleQueue[ec.AnyMessage] = SimpleQueue()
            here.iopub.pipe(ec.of_message_type("execute_result")).subscribe(received.put)
            assert there.run("x = 6 * 7; x").text == "42"
            assert received.get(timeout=DEADLINE).content["data"]["text/plain"] == "42"
            assert there.run("input()", on_input=lambda request: "ada").text == "'ada'"
            with pytest.raises(ec.RequestTimeout):
                there.run("import time; time.sleep(60)", timeout=0.5)
            assert there.run("x").text == "42"
            sleeping = there.execute("print('asleep'); import time; time.sleep(60)")

            def wake(message: ec.AnyMessage) -> None:
                there.interrupt().subscribe()

            waking = sleeping.pipe(ec.of_message_type("stream"), ops.do_action(wake))
            assert ec.wait(waking, timeout=DEADLINE).content["text"] == "asleep\n"
            assert there.run("x").text == "42"
            ec.wait(there.restart(), timeout=DEADLINE)
            with pytest.raises(ec.KernelError):
                there.run("x")
            assert here.run("1").text == "1"


def test_failed_command_raises_at_other_relay(
    relays: tuple[Running, Running],
) -> None:
    one, other = relays
    with shared(one) as (kernel_id, remote):
        kernel = at(other, kernel_id)
        with pytest.raises(NotSupported):
            other.server.call(kernel.send(build.stream("stdout", "not on iopub")))
        for number in range(1_000):
            remote.send(build.stream("stdout", f"{number}"))
        assert other.server.call(kernel.position()) == one.server.call(
            _own(one, kernel_id).position()
        )


def _own(relay: Running, kernel_id: str) -> ServedKernel:
    return relay.server.call(relay.relay._directory.find(kernel_id))


def test_abandoned_command_is_not_executed(redis: RedisServer) -> None:
    async def main(client: Redis) -> None:
        kernel = PeerKernel("a-kernel", "", RedisLog(client, "a-kernel", Bounds()), client)
        sending = asyncio.create_task(kernel.send(ec.execute_request("'too late'")))
        while not await client.xlen(command_stream_of("a-kernel")):
            await asyncio.sleep(0)
        kernel.is_over = True
        with pytest.raises(KernelDied, match="ended when its relay stopped"):
            await sending
        assert not await client.xlen(command_stream_of("a-kernel"))
        assert await client.ttl(command_stream_of("a-kernel")) > 0

    run(redis, main)


def test_client_continues_at_other_relay(relays: tuple[Running, Running]) -> None:
    one, other = relays
    with spawned(one) as kernel_id:
        with connect(one.url, kernel_id, token=TOKEN) as kernel:
            kernel.run("1")
            position = disconnect(kernel)
        with connect(one.url, kernel_id, token=TOKEN) as kernel:
            kernel.run("print('meanwhile')")
        with connect(other.url, kernel_id, token=TOKEN, since=position) as kernel:
            texts = kernel.iopub.pipe(ec.of_message_type("stream"), ops.take(1))
            assert ec.wait(texts, timeout=DEADLINE).content["text"] == "meanwhile\n"


def test_kernel_is_shut_down_by_other_relay(relays: tuple[Running, Running]) -> None:
    one, other = relays
    kernel_id = spawn(one.url, token=TOKEN)
    with connect(one.url, kernel_id, token=TOKEN) as kernel:
        shutdown(other.url, kernel_id, token=TOKEN)
        with pytest.raises(KernelDied, match="shut down"):
            ec.wait(kernel.iopub.pipe(ops.ignore_elements()), timeout=DEADLINE)
    for relay in relays:
        assert kernel_id not in {model.id for model in list_kernels(relay.url, token=TOKEN)}


def test_shut_down_kernel_leaves_no_keys(
    relays: tuple[Running, Running], redis: RedisServer
) -> None:
    one, other = relays
    with spawned(one) as kernel_id:
        with connect(other.url, kernel_id, token=TOKEN) as kernel:
            kernel.run("1")
            kernel.run("input()", on_input=lambda request: "a secret")
        with client_of(redis) as client:
            assert (
                client.xlen(command_stream_of(kernel_id)) == 0
            )  # the answer to input() was deleted
    for relay in relays:
        list_kernels(relay.url, token=TOKEN)
        store = relay.relay._store
        assert isinstance(store, RedisStore)
        assert kernel_id not in store._logs | store._peers | store._own | store._executors
    with client_of(redis) as client:
        keys: Any = client.keys("*")
        assert {key.rpartition(b":")[2] for key in keys if kernel_id.encode() in key} == {b"log"}
        assert all(client.ttl(key) > 0 for key in keys)


class Numbers:
    """Collects the numbers that a kernel prints, in order."""

    def __init__(self, kernel: ec.Kernel) -> None:
        self.count = 0
        self.wrong: list[str] = []
        self.all_there = threading.Event()
        kernel.iopub.pipe(ec.of_message_type("stream")).subscribe(self._on_message)

    def _on_message(self, message: ec.AnyMessage) -> None:
        if message.content["text"] != f"{self.count}":
            self.wrong.append(message.content["text"])
        self.count += 1
        if self.count == FLOOD_SIZE:
            self.all_there.set()


def test_flood_survives_stalled_redis(relays: tuple[Running, Running], redis: RedisServer) -> None:
    one, other = relays
    with InMemoryKernel() as remote:
        kernel_id = one.server.call(one.relay.share(remote.target))
        with (
            connect(one.url, kernel_id, token=TOKEN) as here,
            connect(other.url, kernel_id, token=TOKEN) as there,
        ):
            both = Numbers(here), Numbers(there)
            for number in range(FLOOD_SIZE):
                if number == FLOOD_SIZE // 3:
                    redis.freeze()
                if number == FLOOD_SIZE // 2:
                    redis.thaw()
                remote.send(build.stream("stdout", f"{number}"))
            for numbers in both:
                assert eventually(
                    numbers.all_there.is_set,
                    progress=lambda numbers=numbers: numbers.count,  # type: ignore[misc]
                ), f"{numbers.count} of {FLOOD_SIZE} arrived"
                assert not numbers.wrong
        shutdown(one.url, kernel_id, token=TOKEN)


def test_killed_relay_ends_kernels_for_watchers(
    relays: tuple[Running, Running], redis: RedisServer
) -> None:
    script = """if True:
        import sys
        from enchannel_socketio.relay import Relay, RelayServer, make_store
        relay = Relay(token=sys.argv[1], store=make_store(sys.argv[2]))
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
        with pytest.raises(KernelDied, match="ended when its relay stopped"):
            with connect(other.url, kernel_id, token=TOKEN, since=0) as kernel:
                ec.wait(kernel.iopub.pipe(ops.ignore_elements()), timeout=DEADLINE)
        shutdown(other.url, kernel_id, token=TOKEN)
    with suppress(psutil.NoSuchProcess):  # ipykernel may have ended by itself
        kill(pid)
    assert eventually(lambda: not psutil.pid_exists(pid))


def test_unreachable_redis_raises(redis: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    wrong = redis.url.replace("the-password", "a-password")
    for url in ("redis://:the-password-of-redis@127.0.0.1:9", wrong):
        with (
            pytest.raises(ConnectionFailed, match="Redis") as refused,
            running(store=make_store(url)),
        ):
            pass
        assert "password" not in f"{refused.value}{caplog.text}"


@pytest.mark.parametrize(
    ("raised", "translated"),
    [
        (
            redis_py.AuthenticationError("the-password"),
            "the Redis store of the relay rejected the credentials; check its URL",
        ),
        (
            redis_py.TimeoutError("redis://:the-password@host"),
            "could not connect to the Redis store of the relay (TimeoutError)",
        ),
        (
            ConnectionResetError("the-password"),
            "could not connect to the Redis store of the relay (ConnectionResetError)",
        ),
    ],
)
def test_call_translates_errors_of_redis(raised: Exception, translated: str) -> None:
    async def fail() -> None:
        raise raised

    with pytest.raises(ConnectionFailed) as failed:
        asyncio.run(call(fail()))
    assert str(failed.value) == translated
    assert failed.value.__cause__ is None


@pytest.mark.parametrize("raised", [ConnectionFailed("translated already"), KernelDied("died")])
def test_call_passes_own_errors_on(raised: Exception) -> None:
    """Calls are nested, and a ConnectionFailed is an OSError as those of sockets are."""

    async def fail() -> None:
        raise raised

    with pytest.raises(type(raised)) as failed:
        asyncio.run(call(call(fail())))
    assert failed.value is raised


def test_changed_password_is_reported(
    tmp_path_factory: pytest.TempPathFactory, caplog: pytest.LogCaptureFixture
) -> None:
    """The announcement of a relay is a nested call; its error keeps the cause."""
    with (
        RedisServer(tmp_path_factory.mktemp("redis"), password="before") as redis,
        running(store=make_store(redis.url)),
        client_of(redis) as client,
    ):
        client.config_set("requirepass", "after")
        client.client_kill_filter(_type="normal", skipme=True)
        assert eventually(lambda: "retrying until Redis answers" in caplog.text)
        client.config_set("requirepass", "before")
        assert eventually(lambda: "Redis answers again" in caplog.text)
    retries = [record for record in caplog.messages if record.startswith("retrying")]
    assert set(retries) == {
        "retrying until Redis answers: "
        "the Redis store of the relay rejected the credentials; check its URL"
    }


def test_open_of_frozen_redis_times_out(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The TimeoutError of asyncio has no text."""
    monkeypatch.setattr(_redis_store, "OPEN_TIMEOUT", 0.1)
    with RedisServer(tmp_path_factory.mktemp("redis")) as redis:
        redis.freeze()
        with pytest.raises(ConnectionFailed) as failed, running(store=make_store(redis.url)):
            pass
        assert str(failed.value).endswith(": the Redis store of the relay did not answer in time")


def test_log_continues_after_redis_restart(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    with (
        RedisServer(tmp_path_factory.mktemp("redis")) as redis,
        running(store=make_store(redis.url)) as relay,
        InMemoryKernel() as remote,
    ):
        kernel_id = relay.server.call(relay.relay.share(remote.target))
        with connect(relay.url, kernel_id, token=TOKEN) as kernel:
            received: SimpleQueue[ec.AnyMessage] = SimpleQueue()
            kernel.iopub.subscribe(received.put)
            remote.send(build.stream("stdout", "before"))
            assert received.get(timeout=DEADLINE).content["text"] == "before"
            redis.stop()
            remote.send(build.stream("stdout", "meanwhile"))
            redis.start()
            remote.send(build.stream("stdout", "after"))
            texts = [received.get(timeout=DEADLINE).content["text"] for _ in range(2)]
            assert texts == ["meanwhile", "after"]


def test_emptied_redis_is_filled_again(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    with (
        RedisServer(tmp_path_factory.mktemp("redis")) as redis,
        running(store=make_store(redis.url)) as one,
        running(store=make_store(redis.url)) as other,
    ):
        with shared(one) as (kernel_id, remote):
            redis.stop()
            redis.start()
            assert eventually(
                lambda: kernel_id in {model.id for model in list_kernels(other.url, token=TOKEN)}
            )
            with connect(other.url, kernel_id, token=TOKEN) as kernel:
                received: SimpleQueue[ec.AnyMessage] = SimpleQueue()
                kernel.iopub.subscribe(received.put)
                remote.send(build.stream("stdout", "again"))
                assert received.get(timeout=DEADLINE).content["text"] == "again"


def test_share_works_without_redis(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    with (
        RedisServer(tmp_path_factory.mktemp("redis")) as redis,
        running(store=make_store(redis.url)) as one,
        running(store=make_store(redis.url)) as other,
    ):
        redis.stop()
        with shared(one) as (kernel_id, _):
            assert [model.id for model in list_kernels(one.url, token=TOKEN)] == [kernel_id]
            redis.start()
            assert eventually(
                lambda: [model.id for model in list_kernels(other.url, token=TOKEN)] == [kernel_id]
            )


def test_forget_is_retried(
    relays: tuple[Running, Running], redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    forget = RedisStore._forget
    away = iter((True, True, False))

    async def trying(self: RedisStore, kernel_id: str, seconds: int) -> None:
        if next(away, False):
            raise redis_py.ConnectionError("away")
        await forget(self, kernel_id, seconds)

    monkeypatch.setattr(RedisStore, "_forget", trying)
    one, other = relays
    with shared(one) as (kernel_id, _):
        at(other, kernel_id)
    assert eventually(
        lambda: kernel_id not in {model.id for model in list_kernels(other.url, token=TOKEN)}
    )


def test_pending_messages_are_bounded(
    relays: tuple[Running, Running], redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_log_writer, "PENDING_BOUNDS", Bounds(messages=100))
    one, _ = relays
    with shared(one) as (kernel_id, remote), connect(one.url, kernel_id, token=TOKEN) as kernel:
        texts: list[str] = []
        reported: list[Exception] = []
        done = threading.Event()

        def on_stream(message: ec.AnyMessage) -> None:
            texts.append(message.content["text"])
            if texts[-1] == "the end":
                done.set()

        kernel.errors.subscribe(reported.append)
        kernel.iopub.pipe(ec.of_message_type("stream")).subscribe(on_stream)
        redis.freeze()
        for number in range(1_000):
            remote.send(build.stream("stdout", f"{number}"))
        redis.thaw()
        assert eventually(lambda: bool(reported))
        remote.send(build.stream("stdout", "the end"))
        assert done.wait(DEADLINE)
        *kept, _ = texts
        assert kept[:100] == [f"{number}" for number in range(100)]
        assert kept == sorted(kept, key=int)
        assert {type(error) for error in reported} == {MessagesMayBeMissing}
        missing = [int(str(error).partition(" ")[0]) for error in reported]
        assert sum(missing) == 1_000 - len(kept) > 0


def test_relay_reported_dead_continues(relays: tuple[Running, Running], redis: RedisServer) -> None:
    one, other = relays
    gone = KernelDied("kernel a-kernel ended when its relay stopped")
    with shared(one) as (kernel_id, remote):
        with client_of(redis) as client:
            key = f"enchannel:relay:{kernel_id}"
            last = _own(one, kernel_id).log
            position = one.server.call(last.positions())[1]
            client.xadd(f"{key}:log", {"e": _encoded(gone)}, id=f"{position + 1}-0")
            client.set(f"{key}:ended", b"1")
            assert eventually(lambda: not client.exists(f"{key}:ended"))
            assert eventually(lambda: not client.xrange(f"{key}:log", f"{position + 1}"))
        assert eventually(lambda: not at(other, kernel_id).is_over)  # type: ignore[attr-defined]
        with connect(other.url, kernel_id, token=TOKEN, since=0) as kernel:
            received: SimpleQueue[ec.AnyMessage] = SimpleQueue()
            kernel.iopub.subscribe(received.put)
            remote.send(build.stream("stdout", "alive"))
            assert received.get(timeout=DEADLINE).content["text"] == "alive"


def _encoded(error: KernelDied) -> bytes:
    return msgspec.msgpack.encode(Entry.of_event(EventRecord.of_end(error)))


def test_unknown_data_in_redis_is_ignored(
    relays: tuple[Running, Running], redis: RedisServer
) -> None:
    one, other = relays
    with shared(one) as (kernel_id, remote), client_of(redis) as client:
        client.hset("enchannel:relay:kernels", "strange", b'{"id": "strange", "new": 1}')
        client.xadd(command_stream_of(kernel_id), {"what": "ever"})
        client.xadd(command_stream_of(kernel_id), {"op": "dance", "body": "", "reply": "a-reply"})
        answer: Any = client.blpop(["a-reply"], timeout=DEADLINE)
        assert b"NotSupported" in answer[1]
        for relay in relays:
            assert kernel_id in {model.id for model in list_kernels(relay.url, token=TOKEN)}
        client.hdel("enchannel:relay:kernels", "strange")
        at(other, kernel_id)


NOT_JSON = msgspec.msgpack.encode(Entry("msg", "iopub", "", b"{"))


@pytest.mark.parametrize("fields", [{"what": "ever"}, {"e": b"?"}, {"e": NOT_JSON}])
@pytest.mark.parametrize(
    "key", ["*", "LAST-1", f"{(1 << 52) + 1}-0", f"{(1 << 64) - 1}-{(1 << 64) - 1}"]
)
def test_log_continues_after_foreign_entry(
    relays: tuple[Running, Running], redis: RedisServer, key: str, fields: dict[Any, Any]
) -> None:
    one, other = relays
    with shared(one) as (kernel_id, remote), client_of(redis) as client:
        with (
            connect(one.url, kernel_id, token=TOKEN) as here,
            connect(other.url, kernel_id, token=TOKEN) as there,
        ):
            received: tuple[SimpleQueue[ec.AnyMessage], ...] = (SimpleQueue(), SimpleQueue())
            for kernel, queue in zip((here, there), received, strict=True):
                kernel.iopub.pipe(ec.of_message_type("stream")).subscribe(queue.put)
            for number in range(3):
                last = one.server.call(_own(one, kernel_id).position())
                with suppress(redis_py.ResponseError):  # no id is greater
                    client.xadd(
                        f"enchannel:relay:{kernel_id}:log",
                        fields,
                        id=key.replace("LAST", f"{last}"),
                    )
                remote.send(build.stream("stdout", f"{number}"))
                for queue in received:
                    assert queue.get(timeout=DEADLINE).content["text"] == f"{number}"
        with connect(other.url, kernel_id, token=TOKEN, since=0) as late:
            remote.send(build.stream("stdout", "late"))
            texts: SimpleQueue[str] = SimpleQueue()
            late.iopub.subscribe(lambda message: texts.put(message.content.get("text", "")))
            while texts.get(timeout=DEADLINE) != "late":
                pass


def test_log_continues_after_key_of_other_type(
    relays: tuple[Running, Running], redis: RedisServer
) -> None:
    one, _ = relays
    with shared(one) as (kernel_id, remote), client_of(redis) as client:
        with connect(one.url, kernel_id, token=TOKEN) as kernel:
            received: SimpleQueue[ec.AnyMessage] = SimpleQueue()
            kernel.iopub.subscribe(received.put)
            client.set(f"enchannel:relay:{kernel_id}:log", "a string")
            remote.send(build.stream("stdout", "again"))
            assert received.get(timeout=DEADLINE).content["text"] == "again"


def test_end_is_appended_after_highest_id(redis: RedisServer) -> None:
    async def main(client: Redis) -> None:
        ours = RedisLog(client, "a-kernel", Bounds(), is_writer=True)
        theirs = RedisLog(client, "a-kernel", Bounds())
        await ours.append(entries(1))
        assert numbers((await theirs.read(0, 10)).entries) == [1]
        await client.xadd(ours.key, {"what": "ever"}, id=f"{(1 << 64) - 1}-0")
        await theirs.end(KernelDied("now"))
        (end,) = (await theirs.read(1, 10)).entries
        assert end.is_end
        await theirs.close()
        await ours.close()

    run(redis, main)


def test_command_with_invalid_reply_key_is_dropped(
    relays: tuple[Running, Running], redis: RedisServer
) -> None:
    one, other = relays
    with shared(one) as (kernel_id, remote), client_of(redis) as client:
        received: SimpleQueue[ec.AnyMessage] = SimpleQueue()
        remote.on_message(received.put)
        client.xadd(
            command_stream_of(kernel_id),
            {"op": "send", "body": "?", "reply": "enchannel:relay:kernels"},
        )
        other.server.call(at(other, kernel_id).send(ec.execute_request("6 * 7")))
        assert received.get(timeout=DEADLINE).content["code"] == "6 * 7"


def test_kernel_with_foreign_id_is_not_listed(
    relays: tuple[Running, Running], redis: RedisServer
) -> None:
    one, _ = relays
    with client_of(redis) as client:
        for record in (b'{"id":"other","name":"","owner":"x"}', b'{"id":"\xff"}', b"\xff"):
            client.hset("enchannel:relay:kernels", "strange", record)
            assert not {"strange", "other"} & {
                model.id for model in list_kernels(one.url, token=TOKEN)
            }
        client.hdel("enchannel:relay:kernels", "strange")


def test_append_with_lost_reply_is_not_repeated(
    redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    transaction = Redis.transaction
    lost = iter((True, True, False))

    async def losing(self: Redis, *arguments: Any, **options: Any) -> Any:
        done = await transaction(self, *arguments, **options)
        if next(lost, False):
            raise redis_py.ConnectionError("lost")
        return done

    async def main(client: Redis) -> None:
        ours = RedisLog(client, "a-kernel", Bounds(messages=5), is_writer=True)
        monkeypatch.setattr(Redis, "transaction", losing)
        await ours.append(entries(1, 2, 3))
        await ours.append(entries(4, 5, 6, 7))
        monkeypatch.undo()
        assert await ours.positions() == (3, 7)
        theirs = RedisLog(client, "a-kernel", Bounds())
        assert await theirs.positions() == (3, 7)
        assert await all_of(theirs, 2, 7) == [3, 4, 5, 6, 7]
        await theirs.close()
        await ours.close()

    run(redis, main)


def test_end_is_appended_once(
    redis: RedisServer,
) -> None:
    gone = KernelDied("its relay has ended")

    async def main(client: Redis) -> None:
        ours = RedisLog(client, "a-kernel", Bounds(), is_writer=True)
        watched, *others = [RedisLog(client, "a-kernel", Bounds()) for _ in range(9)]
        await ours.append(entries(1, 2))
        assert numbers((await watched.read(0, 10)).entries) == [1, 2]
        await asyncio.gather(*(other.end(gone) for other in others))
        assert (await watched.positions()) == (1, 3)
        (end,) = (await watched.read(2, 10)).entries
        assert end == Entry.of_event(EventRecord.of_end(gone))
        await ours.append(entries(4, 5))  # removes the false end
        assert (await watched.read(3, 10)).first == 4
        assert await all_of(watched, 3, 5) == [4, 5]
        late = RedisLog(client, "a-kernel", Bounds())
        assert numbers((await late.read(0, 10)).entries) == [1, 2]
        assert await all_of(late, 3, 5) == [4, 5]  # the false end was removed
        await ours.take_back()
        await others[0].end(gone)
        assert (await ours.positions(), await late.positions()) == ((1, 5), (1, 6))
        for log in (ours, watched, late):
            await log.close()

    run(redis, main)


def test_end_is_appended_after_removed_end(redis: RedisServer) -> None:
    async def main(client: Redis) -> None:
        ours = RedisLog(client, "a-kernel", Bounds(), is_writer=True)
        theirs = RedisLog(client, "a-kernel", Bounds())
        await ours.append(entries(1))
        assert await client.ttl(ours.key) > 0
        await theirs.end(KernelDied("not yet"))
        await ours.take_back()  # without further entries
        await theirs.end(KernelDied("now"))
        assert await theirs.positions() == (1, 3)
        assert numbers((await theirs.read(0, 10)).entries) == [1]
        (end,) = (await theirs.read(2, 10)).entries
        assert end == Entry.of_event(EventRecord.of_end(KernelDied("now")))
        for log in (ours, theirs):
            await log.close()

    run(redis, main)


def test_entries_dropped_before_read_are_a_gap(redis: RedisServer) -> None:
    async def main(client: Redis) -> None:
        ours = RedisLog(client, "a-kernel", Bounds(), is_writer=True)
        theirs = RedisLog(client, "a-kernel", Bounds())
        await ours.append(entries(1))
        assert numbers((await theirs.read(0, 10)).entries) == [1]  # the log is followed from now on
        waiting = asyncio.create_task(theirs.read(1, 10))
        pipeline = client.pipeline()
        for position, entry in enumerate(entries(2, 3, 4), 2):
            pipeline.xadd(ours.key, {"e": msgspec.msgpack.encode(entry)}, id=f"{position}-0")
        pipeline.xdel(ours.key, "2-0", "3-0")
        await pipeline.execute()
        stretch = await waiting
        assert (stretch.first, numbers(stretch.entries)) == (4, [4])
        assert (await theirs.read(2, 10)).first == 4
        await theirs.close()
        await ours.close()

    run(redis, main)


def test_unreadable_entry_is_reported(redis: RedisServer) -> None:
    async def main(client: Redis) -> None:
        ours = RedisLog(client, "a-kernel", Bounds(), is_writer=True)
        theirs = RedisLog(client, "a-kernel", Bounds())
        await ours.append(entries(1))
        waiting = asyncio.create_task(theirs.read(1, 10))
        await client.xadd(ours.key, {"e": b"?"}, id="2-0")
        (flawed,) = (await waiting).entries
        assert b"cannot be read" in flawed.json
        await ours.append(entries(3))
        assert numbers((await theirs.read(2, 10)).entries) == [3]
        await theirs.close()
        await ours.close()

    run(redis, main)


@pytest.mark.parametrize(
    "url",
    [
        "redis://:the/secret@host:1/0",
        "redis://user:secret@host:port/0",
        "redis://:secret@host:1/0?socket_timeout=secret",
        "redis://:secret@127.0.0.1:9/0?whatever=secret",
        "redis+sentinel://:secret@host/0",
        "REDIS://:secret@host/0",
    ],
)
def test_errors_hide_credentials_of_url(url: str) -> None:
    with (
        pytest.raises((ConnectionFailed, NotSupported)) as refused,
        running(store=make_store(url)),
    ):
        pass
    assert "secret" not in f"{refused.value}"
    assert refused.value.__cause__ is None


def test_store_repr_hides_password() -> None:
    store = make_store("redis://user:secret@host/0")
    assert isinstance(store, RedisStore)
    assert "secret" not in f"{store!r} {store._redis!r}"


def run(redis: RedisServer, main: Callable[[Redis], Awaitable[None]]) -> None:
    """Run with a client of a Redis without keys of the kernel."""

    async def in_time() -> None:
        async with asyncio.timeout(DEADLINE), Redis.from_url(redis.url) as client:
            if keys := await client.keys("*a-kernel*"):
                await client.delete(*keys)
            await main(client)

    asyncio.run(in_time())
