"""A relay with real kernels, and clients that share them."""

import asyncio
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from queue import SimpleQueue
from typing import Any
from urllib.request import Request, urlopen

import pytest
from reactivex import Observable
from reactivex import operators as ops
from starlette.applications import Starlette
from starlette.routing import Mount

import enchannel as ec
from enchannel import AnyMessage, KernelState, LinkState, Session
from enchannel import messages as build
from enchannel.errors import (
    ConnectionFailed,
    ConnectionLost,
    KernelDied,
    LaunchFailed,
    MessagesMayBeMissing,
    NotSupported,
)
from enchannel.memory import InMemoryKernel
from enchannel.testing import Collector
from enchannel_socketio import (
    RelayKernelModel,
    connect,
    disconnect,
    list_kernels,
    list_kernelspecs,
    shutdown,
    spawn,
)
from enchannel_socketio.relay import Bounds, MemoryStore, Relay, RelayServer
from enchannel_socketio.relay._watcher import DEFAULT_CREDIT
from tests.enchannel_socketio.conftest import Running, running, sharing, spawned
from tests.rigs import DEADLINE, eventually
from tests.rigs.messages import busy, idle, reply_to
from tests.rigs.processes import KILL_EXIT_CODE, kill
from tests.rigs.proxy import Proxy
from tests.rigs.relay import TOKEN
from tests.rigs.servers import free_port


@pytest.fixture(scope="module")
def shared_kernel(relay: Running) -> Iterator[str]:
    with spawned(relay) as kernel_id:
        yield kernel_id


class Texts:
    """Collects the printed texts of a kernel."""

    def __init__(self, kernel: ec.Kernel) -> None:
        self.all: list[str] = []
        self._changed = threading.Condition()
        kernel.iopub.pipe(ec.of_message_type("stream")).subscribe(self._on_message)

    def _on_message(self, message: AnyMessage) -> None:
        if message.content["name"] != "stdout":  # debuggers write warnings to stderr
            return
        with self._changed:
            self.all.append(message.content["text"])
            self._changed.notify_all()

    def until(self, text: str) -> str:
        with self._changed:
            assert self._changed.wait_for(lambda: text in "".join(self.all), DEADLINE), self.all
            return "".join(self.all)


class Failure:
    """Waits for the end of an observable, usually an error."""

    def __init__(self, observable: Observable[Any]) -> None:
        self._errors: list[Exception] = []
        self._ended = threading.Event()
        observable.subscribe(on_error=self._failed, on_completed=self._ended.set)

    def _failed(self, error: Exception) -> None:
        self._errors.append(error)
        self._ended.set()

    def wait(self) -> Exception:
        assert not self.completed()
        return self._errors[0]

    def completed(self) -> bool:
        """Wait for the end; return True if there was no error."""
        assert self._ended.wait(DEADLINE)
        return not self._errors


def test_spawn_connect_disconnect_shutdown(relay: Running) -> None:
    with spawned(relay) as kernel_id:
        with connect(relay.url, kernel_id, token=TOKEN) as kernel:
            assert kernel.run("print('woo'); 6 * 7").text == "woo\n42"
            assert disconnect(kernel) > 0
        assert kernel_id in relay.kernel_ids()
        shutdown(relay.url, kernel_id, token=TOKEN)
        with pytest.raises(ConnectionFailed, match="does not exist"):
            connect(relay.url, kernel_id, token=TOKEN)


def test_connect_by_url_with_token(relay: Running, shared_kernel: str) -> None:
    url = relay.url.replace("http://", "socketio+http://")
    with ec.connect(f"{url}/{shared_kernel}?token={TOKEN}") as kernel:
        assert kernel.run("6 * 7").text == "42"
        assert not kernel.owned


def test_launched_kernel_ends_with_block(relay: Running) -> None:
    with ec.launch(
        "python3", at=f"socketio+{relay.url}", token=TOKEN, cwd="/", extra_env={"A": "B"}
    ) as kernel:
        assert kernel.run("import os; os.getcwd(), os.environ['A']").text == "('/', 'B')"
        assert kernel.id in {model.id for model in list_kernels(relay.url, token=TOKEN)}
    assert kernel.id not in {model.id for model in list_kernels(relay.url, token=TOKEN)}


def test_position_resumes_without_compat_functions(relay: Running, shared_kernel: str) -> None:
    at = f"socketio+{relay.url}"
    with ec.connect(shared_kernel, at=at, token=TOKEN, timeout=DEADLINE) as kernel:
        kernel.run("print('seen')", timeout=DEADLINE)
    position = kernel.position
    assert position is not None
    with ec.connect(shared_kernel[:8], at=at, token=TOKEN, timeout=DEADLINE) as kernel:
        kernel.run("print('missed')", timeout=DEADLINE)
    assert kernel.position is not None
    assert kernel.position > position
    with ec.connect(shared_kernel, at=at, token=TOKEN, since=position, timeout=DEADLINE) as kernel:
        assert Texts(kernel).until("missed\n") == "missed\n"


def test_unconnected_kernel_has_no_position(relay: Running, shared_kernel: str) -> None:
    async def main() -> None:
        kernel = ec.connect(shared_kernel, at=f"socketio+{relay.url}", token=TOKEN)
        with pytest.raises(ec.NotConnected):
            print(kernel.position)

    asyncio.run(main())


def test_disconnect_leaves_launched_kernel_running(relay: Running) -> None:
    with ExitStack() as stack:
        kernel = ec.launch("python3", at=f"socketio+{relay.url}", token=TOKEN)
        stack.callback(shutdown, relay.url, kernel.id, token=TOKEN)
        kernel.run("a = 42", timeout=DEADLINE)
        position = disconnect(kernel)
        with connect(relay.url, kernel.id, token=TOKEN, since=position) as again:
            assert again.run("a", timeout=DEADLINE).text == "42"


def test_disconnect_needs_kernel_on_relay() -> None:
    with (
        InMemoryKernel(id="elsewhere"),
        ec.connect("memory:elsewhere") as kernel,
        pytest.raises(ValueError, match="kernel must be on a relay"),
    ):
        disconnect(kernel)


def test_compat_functions_are_refused_on_loop(relay: Running, shared_kernel: str) -> None:
    def calls(kernel: ec.Kernel) -> Iterator[tuple[str, Callable[[], object]]]:
        yield (
            "asyncio.to_thread(enchannel_socketio.spawn, …)",
            lambda: spawn(relay.url, token=TOKEN),
        )
        yield (
            "asyncio.to_thread(enchannel_socketio.shutdown, …)",
            lambda: shutdown(relay.url, shared_kernel, token=TOKEN),
        )
        yield "enchannel.alist_kernels(…)", lambda: list_kernels(relay.url, token=TOKEN)
        yield "enchannel.alist_kernelspecs(…)", lambda: list_kernelspecs(relay.url, token=TOKEN)
        yield "kernel.adetach()", lambda: disconnect(kernel)

    async def main() -> None:
        async with connect(relay.url, shared_kernel, token=TOKEN) as kernel:
            for twin, call in calls(kernel):
                with pytest.raises(
                    ec.WouldDeadlock, match=re.escape(f"event loop; use `await {twin}")
                ):
                    call()
            result = await kernel.execute("6 * 7").pipe(ec.to_result())
            assert result.text == "42"

    asyncio.run(main())
    assert [model.id for model in list_kernels(relay.url, token=TOKEN)] == [shared_kernel]


def test_kernels_of_relay_are_listed(relay: Running, shared_kernel: str) -> None:
    at = f"socketio+{relay.url}"
    with connect(relay.url, shared_kernel, token=TOKEN) as kernel:
        kernel.run("1", timeout=DEADLINE)
        (model,) = ec.list_kernels(at, token=TOKEN)
        assert isinstance(model, RelayKernelModel)
        assert model.last == kernel.position
    assert (model.id, model.name, model.state) == (shared_kernel, "python3", "idle")
    assert (model.connections, model.access, model.has_lifecycle) == (1, "full", True)
    with ec.connect(model.target, token=TOKEN) as kernel:
        assert kernel.id == shared_kernel
    specs = {spec.name: spec for spec in ec.list_kernelspecs(at, token=TOKEN)}
    assert specs["python3"].display_name == "Python 3 (ipykernel)"
    assert specs["python3"].language == "python"


def test_watch_token_finds_its_kernel_only(relay: Running, shared_kernel: str) -> None:
    path = f"{relay.url}/kernels/{shared_kernel}/watch"
    request = Request(path, method="POST", headers={"Authorization": f"Bearer {TOKEN}"})  # noqa: S310
    with urlopen(request, timeout=DEADLINE) as answer:  # noqa: S310  # of the relay of this test
        token = json.load(answer)["token"]
    at = f"socketio+{relay.url}"
    with spawned(relay):
        (model,) = ec.list_kernels(at, token=token)
        assert isinstance(model, RelayKernelModel)
        assert (model.id, model.access) == (shared_kernel, "watch")
        with ec.connect(shared_kernel[:8], at=at, token=token) as kernel:
            assert kernel.id == shared_kernel


def test_launch_of_unknown_kernelspec_raises(relay: Running) -> None:
    with pytest.raises(LaunchFailed, match="no-such"):
        ec.launch("no-such", at=f"socketio+{relay.url}", token=TOKEN)


def test_since_beyond_log_is_clamped(relay: Running, shared_kernel: str) -> None:
    with connect(relay.url, shared_kernel, token=TOKEN, since=10**9) as kernel:
        reported: SimpleQueue[Exception] = SimpleQueue()
        kernel.errors.subscribe(reported.put)
        assert kernel.run("6 * 7", timeout=DEADLINE).text == "42"
        assert "it was replaced by a new one" in str(reported.get(timeout=DEADLINE))


@pytest.mark.parametrize(
    ("since", "error", "text"),
    [
        (-1, ValueError, "since must be a position in the relay's log, 0 or more, not -1"),
        ("5", TypeError, "since must be an int or None, not str"),
        (1.5, TypeError, "since must be an int or None, not float"),
        (True, TypeError, "since must be an int or None, not bool"),
    ],
)
def test_invalid_since_raises(
    relay: Running, shared_kernel: str, since: Any, error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=f"{text}$"):
        connect(relay.url, shared_kernel, token=TOKEN, since=since)


def test_connect_with_asyncio(relay: Running, shared_kernel: str) -> None:
    async def main() -> str:
        async with connect(relay.url, shared_kernel, token=TOKEN) as kernel:
            result = await kernel.execute("6 * 7").pipe(ec.to_result())
            return result.text

    assert asyncio.run(main()) == "42"


def test_reconnected_client_gets_missed_messages(relay: Running, shared_kernel: str) -> None:
    code = "import time\nfor i in range(100): print(i, flush=True); time.sleep(0.002)\nprint('end')"
    with connect(relay.url, shared_kernel, token=TOKEN) as first:
        texts = Texts(first)
        first.shell.on_next(ec.execute_request(code))
        texts.until("10\n")
        position = disconnect(first)
    received = "".join(texts.all)
    with connect(relay.url, shared_kernel, token=TOKEN) as watching:
        # Queued behind it.
        watching.run("1")
    with connect(relay.url, shared_kernel, token=TOKEN, since=position) as again:
        rest = Texts(again).until("end\n")
        assert received + rest == "".join(f"{i}\n" for i in range(100)) + "end\n"
        assert again.run("6 * 7").text == "42"
        assert disconnect(again) > position


def test_late_client_gets_whole_log(relay: Running) -> None:
    with spawned(relay) as kernel_id:
        with connect(relay.url, kernel_id, token=TOKEN) as kernel:
            kernel.run("print('early')")
        with connect(relay.url, kernel_id, token=TOKEN, since=0) as late:
            assert Texts(late).until("early\n") == "early\n"


def test_dropped_log_entries_are_reported() -> None:
    with (
        running(store=MemoryStore(Bounds(messages=10))) as relay,
        InMemoryKernel() as remote,
        sharing(relay, remote.target) as kernel_id,
    ):
        for number in range(50):
            remote.send(build.stream("stdout", f"{number}"))
        flush(relay, kernel_id)
        with connect(relay.url, kernel_id, token=TOKEN, since=0) as late:
            late.iopub.subscribe(lambda message: None)
            reported = ec.wait(late.errors.pipe(ops.first()), timeout=DEADLINE)
            assert isinstance(reported, MessagesMayBeMissing)
            assert f"40 messages of kernel {kernel_id} were removed from" in str(reported)


def flush(relay: Running, kernel_id: str) -> None:
    """Wait until all messages that the kernel has sent are in the log."""
    kernel = relay.server.call(relay.relay._directory.find(kernel_id))
    relay.server.call(kernel.position())


class AnsweringKernel(InMemoryKernel):
    """A kernel that answers ``kernel_info_request``, at the relay as for a client of its own.

    Attributes:
        executions: The other requests.
    """

    def __init__(self) -> None:
        super().__init__()
        self.executions: SimpleQueue[AnyMessage] = SimpleQueue()
        self.on_message(self._on_request)

    def send(self, message: AnyMessage) -> None:
        for link in self._links:
            link.receive(message.channel, message)

    def answer(self, request: AnyMessage) -> None:
        for message in (busy(request), reply_to(request), idle(request)):
            self.send(Session(username="kernel").fill_headers(message))

    def _on_request(self, request: AnyMessage) -> None:
        if request.msg_type == "kernel_info_request":
            self.answer(request)
        else:
            self.executions.put(request)


def test_request_whose_reply_was_dropped_fails() -> None:
    limit = 2 * DEFAULT_CREDIT
    with (
        running(store=MemoryStore(Bounds(messages=limit))) as relay,
        AnsweringKernel() as remote,
        sharing(relay, remote.target) as kernel_id,
        Proxy(int(relay.url.rpartition(":")[2])) as proxy,
        connect(f"http://127.0.0.1:{proxy.port}", kernel_id, token=TOKEN) as kernel,
    ):
        failed = Failure(kernel.execute("1"))
        request = remote.executions.get(timeout=DEADLINE)
        # Without acknowledgements, the client receives messages up to its credit.
        proxy.pause()
        for number in range(DEFAULT_CREDIT + 100):
            remote.send(build.stream("stdout", f"{number}"))
        remote.answer(request)
        for number in range(limit):
            remote.send(build.stream("stdout", f"{number}"))
        flush(relay, kernel_id)
        proxy.resume()
        error = failed.wait()
        assert isinstance(error, ConnectionLost)
        assert "the request or its answer was lost" in str(error)
        answered = Failure(kernel.execute("1"))
        remote.answer(remote.executions.get(timeout=DEADLINE))
        assert answered.completed()


def counting(state: LinkState, times: int) -> Callable[[list[LinkState]], bool]:
    return lambda states: states.count(state) == times


def test_broken_connection_loses_nothing(relay: Running, shared_kernel: str) -> None:
    with Proxy(int(relay.url.rpartition(":")[2])) as proxy:
        url = f"http://127.0.0.1:{proxy.port}"
        with connect(url, shared_kernel, token=TOKEN) as kernel:
            states = Collector(kernel.link_state)
            errors: list[Exception] = []
            kernel.errors.subscribe(errors.append)
            texts = Texts(kernel)
            execution = kernel.execute(
                "import time\nfor i in range(300): print(i, flush=True); time.sleep(0.002)\n'done'"
            )
            result: list[ec.Result] = []
            done = threading.Event()
            execution.pipe(ec.to_result()).subscribe(result.append, on_completed=done.set)
            for times, number in enumerate((50, 100, 150), 1):
                texts.until(f"\n{number}\n")
                proxy.cut()
                states.wait_until(counting(LinkState.LOST, times))
                proxy.restore()
                states.wait_until(counting(LinkState.CONNECTED, times + 1))
            assert done.wait(DEADLINE)
            assert result[0].text == "".join(f"{i}\n" for i in range(300)) + "'done'"
            assert not errors


def test_replies_go_to_their_client_only(relay: Running, shared_kernel: str) -> None:
    with (
        connect(relay.url, shared_kernel, token=TOKEN) as one,
        connect(relay.url, shared_kernel, token=TOKEN) as other,
    ):
        theirs = Texts(other)
        replies: SimpleQueue[AnyMessage] = SimpleQueue()
        other.shell.subscribe(replies.put)
        one.run("x = 6 * 7; print('from one')")
        theirs.until("from one\n")
        assert other.run("x").text == "42"
        assert replies.get(timeout=DEADLINE).parent_header.session == other.session.id


def test_input_request_goes_to_requesting_client(relay: Running, shared_kernel: str) -> None:
    with (
        connect(relay.url, shared_kernel, token=TOKEN) as one,
        connect(relay.url, shared_kernel, token=TOKEN) as other,
    ):
        requests: list[AnyMessage] = []
        other.stdin.subscribe(requests.append)
        assert one.run("input('name? ')", on_input=lambda request: "ada").text == "'ada'"
        other.run("1")
        assert not requests


def test_buffers_arrive_in_both_directions(relay: Running, shared_kernel: str) -> None:
    code = """if True:
        from ipykernel.comm import Comm
        from comm import get_comm_manager
        def opened(comm, message):
            comm.on_msg(lambda m: comm.send({}, buffers=[bytes(m["buffers"][0])[::-1], b""]))
        get_comm_manager().register_target("echo", opened)
    """
    with connect(relay.url, shared_kernel, token=TOKEN) as kernel:
        kernel.run(code)
        comm = kernel.comm("echo")
        received: SimpleQueue[AnyMessage] = SimpleQueue()
        comm.subscribe(received.put)
        comm.send({}, buffers=[b"abc"])
        assert [bytes(buffer) for buffer in received.get(timeout=DEADLINE).buffers] == [b"cba", b""]


def test_relay_interrupts_and_restarts(relay: Running) -> None:
    with spawned(relay) as kernel_id:
        with (
            connect(relay.url, kernel_id, token=TOKEN) as one,
            connect(relay.url, kernel_id, token=TOKEN) as other,
        ):
            with pytest.raises(ec.RequestTimeout):
                one.run("import time; x = 7; time.sleep(60)", timeout=0.5)
            assert one.run("x").text == "7"
            # The code is killed, or interrupted by the shutdown request.
            ended = threading.Event()
            other.execute("import time; time.sleep(60)").subscribe(
                on_error=lambda error: ended.set(), on_completed=ended.set
            )
            ec.wait(one.restart(), timeout=DEADLINE)
            assert ended.wait(DEADLINE)
            with pytest.raises(ec.KernelError, match="x"):
                one.run("x")
            assert other.run("6 * 7").text == "42"


def is_idle(state: KernelState) -> bool:
    return state is KernelState.IDLE


def test_kernel_death_reaches_all_clients(relay: Running) -> None:
    with (
        spawned(relay) as kernel_id,
        connect(relay.url, kernel_id, token=TOKEN) as one,
        connect(relay.url, kernel_id, token=TOKEN) as other,
    ):
        pid = int(one.run("import os; os.getpid()").text)
        dead = threading.Event()
        other.state.subscribe(lambda state: dead.set() if state is KernelState.DEAD else None)
        waiting = Failure(one.execute("import time; time.sleep(60)"))
        kill(pid)
        died = waiting.wait()
        assert dead.wait(DEADLINE)
        assert isinstance(died, KernelDied)
        assert died.exit_code == KILL_EXIT_CODE
        with pytest.raises(KernelDied):
            other.run("1")
        lives = one.state.pipe(ops.filter(is_idle))
        ec.wait(other.restart(), timeout=DEADLINE)
        ec.wait(lives.pipe(ops.take(1)), timeout=DEADLINE)
        assert one.run("6 * 7").text == "42"


@pytest.mark.parametrize("name", ["kernel", "error", "KernelDied", "died"])
def test_death_of_kernel_named_like_field(relay: Running, name: str) -> None:
    with InMemoryKernel(id=name) as remote, sharing(relay, remote.target) as kernel_id:
        with connect(relay.url, kernel_id, token=TOKEN) as kernel:
            dead = threading.Event()
            kernel.state.subscribe(lambda state: dead.set() if state is KernelState.DEAD else None)
            failed = Failure(kernel.execute("1"))
            remote.die()
            assert str(failed.wait()) == f"kernel {kernel_id} died"
            assert dead.wait(DEADLINE)
            ended = Failure(kernel.iopub)
            remote.disconnect_permanently()
            text = f"the connection to kernel {kernel_id} was lost permanently"
            assert str(ended.wait()) == text


def test_shutdown_by_another_client_ends_channels(relay: Running) -> None:
    with spawned(relay) as kernel_id, connect(relay.url, kernel_id, token=TOKEN) as kernel:
        failed = Failure(kernel.iopub)
        running = Failure(kernel.execute("while True: print('x' * 100)"))
        shutdown(relay.url, kernel_id, token=TOKEN)
        for ended in (failed, running):
            assert str(ended.wait()) == f"kernel {kernel_id} was shut down"
        with pytest.raises(ec.EnchannelError):
            kernel.run("1")


def test_client_gives_up_on_closed_relay() -> None:
    with running() as relay:
        kernel_id = spawn(relay.url, token=TOKEN)
        kernel = connect(relay.url, kernel_id, token=TOKEN, reconnect_timeout=0.3)
        failed = Failure(kernel.iopub)
    with kernel:
        assert isinstance(failed.wait(), (ConnectionLost, KernelDied))


def test_shared_kernel_survives_relay(relay: Running) -> None:
    with ec.launch("python3") as ours:
        with (
            sharing(relay, ours.id) as shared,
            connect(relay.url, shared, token=TOKEN) as theirs,
        ):
            theirs.run("x = 6 * 7")
            with pytest.raises(NotSupported):
                ec.wait(theirs.restart())
            with pytest.raises(ec.RequestTimeout):
                theirs.run("import time; time.sleep(60)", timeout=0.5)
        assert ours.run("x").text == "42"


def test_slow_watcher_delays_no_others(relay: Running) -> None:
    with InMemoryKernel() as remote, sharing(relay, remote.target) as kernel_id:
        with (
            Proxy(int(relay.url.rpartition(":")[2])) as proxy,
            connect(f"http://127.0.0.1:{proxy.port}", kernel_id, token=TOKEN) as slow,
            connect(relay.url, kernel_id, token=TOKEN) as quick,
        ):
            counts = {slow: 0, quick: 0}
            done = {slow: threading.Event(), quick: threading.Event()}

            def watch(kernel: ec.Kernel) -> None:
                def received(message: AnyMessage) -> None:
                    assert message.content["text"] == f"{counts[kernel]}"
                    counts[kernel] += 1
                    if counts[kernel] == 5_000:
                        done[kernel].set()

                kernel.iopub.pipe(ec.of_message_type("stream")).subscribe(received)

            watch(slow)
            watch(quick)
            # Its acknowledgements do not arrive.
            proxy.pause()
            for number in range(5_000):
                remote.send(build.stream("stdout", f"{number}"))
            assert eventually(done[quick].is_set, progress=lambda: counts[quick])
            # No more than its credit has been sent.
            assert counts[slow] <= 1_100
            proxy.resume()
            assert eventually(done[slow].is_set, progress=lambda: counts[slow])


def test_mounted_relay_serves_kernels() -> None:
    relay = Relay(token=TOKEN)
    app = Starlette(routes=[Mount("/jupyter/kernels", relay)], lifespan=relay.lifespan)
    with serving(app, free_port()) as url:
        base = f"{url}/jupyter/kernels"
        kernel_id = spawn(base, token=TOKEN)
        with connect(base, kernel_id, token=TOKEN) as kernel:
            assert kernel.run("6 * 7").text == "42"


@contextmanager
def serving(app: Starlette, port: int) -> Iterator[str]:
    """Run an application under uvicorn."""
    import uvicorn

    server = uvicorn.Server(
        uvicorn.Config(app, port=port, ws="websockets-sansio", log_config=None, lifespan="on")
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            thread.join(0.01)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(DEADLINE)


def test_port_in_use_raises(relay: Running) -> None:
    port = int(relay.url.rpartition(":")[2])
    with pytest.raises(ConnectionFailed, match=str(port)):
        RelayServer(Relay(), port=port)


def test_unreachable_share_fails_relay_start() -> None:
    server = RelayServer(Relay(share=["no-such-kernel"]))
    with pytest.raises(ConnectionFailed, match="no-such-kernel"), server:
        pass


FLOODS = "kernel.execute('while True: print(1)').subscribe()"


@pytest.mark.parametrize("end", ["", "raise KeyError", FLOODS])
def test_interpreter_exit_ends_launched_kernel(relay: Running, end: str) -> None:
    script = f"""if True:
        import sys
        import enchannel as ec
        kernel = ec.launch("python3", at=sys.argv[1], token=sys.argv[2])
        print(kernel.run("6 * 7").text)
        {end}
    """
    before = relay.kernel_ids()
    ended = subprocess.run(
        [sys.executable, "-c", script, f"socketio+{relay.url}", TOKEN],
        capture_output=True,
        encoding="utf-8",
        timeout=DEADLINE,
    )
    assert ended.stdout == "42\n"
    assert ended.stderr.count("Traceback") == end.count("raise")
    assert relay.kernel_ids() == before


def test_kernels_end_with_killed_relay(relay: Running) -> None:
    script = """if True:
        import os, signal, sys, threading
        from enchannel_socketio import spawn, connect
        from enchannel_socketio.relay import Relay, RelayServer
        relay = Relay(token=sys.argv[1])
        server = RelayServer(relay)
        def drive():
            kernel = connect(server.url, spawn(server.url, token=sys.argv[1]), token=sys.argv[1])
            print(kernel.run("import os; os.getpid()").text, flush=True)
            sys.stdin.readline()
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)
        server.run(lambda: threading.Thread(target=drive, daemon=True).start())
    """
    with subprocess.Popen(
        [sys.executable, "-c", script, TOKEN],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    ) as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        _, errors = process.communicate("\n", DEADLINE)
    assert "Traceback" not in errors
    assert not os.path.exists(f"/proc/{pid}")
