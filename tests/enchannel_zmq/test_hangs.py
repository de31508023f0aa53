"""Whatever happens, and wherever it happens, nothing waits for ever and nothing is left."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest
import zmq
from reactivex import Observable

import enchannel as ec
from enchannel import ChannelName
from enchannel.testing import Collector
from enchannel_zmq._io_thread import io_thread
from tests.enchannel_zmq.conftest import settle
from tests.rigs import ASLEEP, DEADLINE, eventually
from tests.rigs.frames import KEY, parts, signed
from tests.rigs.wire_kernel import WireKernel

pytestmark = pytest.mark.kernel

CHEAP = "xpython"  # the kernel that starts and ends most quickly
FLOOD = "while True: print('x' * 100, flush=True)"
LAST_WORDS = 20_000


def pid_of(kernel: ec.Kernel) -> int:
    return int(kernel.run("__import__('os').getpid()", timeout=DEADLINE).text)


def is_gone(pid: int) -> bool:
    return eventually(lambda: not psutil.pid_exists(pid))


@pytest.fixture
def cheap() -> Iterator[ec.Kernel]:
    with ec.launch(CHEAP) as kernel:
        yield kernel


# A script, as another process.

BEGIN = """
import contextlib, gc, os, sys, threading
import enchannel as ec
heard = threading.Event()
"""
# Python's own word about forking with threads; what happens then is what these tests are about.
IGNORED = ("-W", "ignore:This process:DeprecationWarning")


def ended(script: str, *arguments: str) -> str:
    """What a script printed that ended as it should."""
    done = subprocess.run(
        [sys.executable, "-W", "error", *IGNORED, "-c", script, *arguments],
        capture_output=True,
        encoding="utf-8",
        timeout=DEADLINE,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


# A subscriber that raises.


def everything_of(kernel: ec.Kernel) -> dict[str, Observable[object]]:
    """All that one can subscribe to, and that has something to say once ``stir`` was called."""
    return {
        "shell": kernel.shell,
        "control": kernel.control,
        "stdin": kernel.stdin,
        "iopub": kernel.iopub,
        "heartbeat": kernel.heartbeat,
        "main": kernel.main,
        "link": kernel.link,
        "state": kernel.state,
        "errors": kernel.errors,
        "a request": kernel.execute("6 * 7"),
    }


EVERYTHING = [
    *("shell", "control", "stdin", "iopub", "heartbeat", "main"),
    *("link", "state", "errors", "a request"),
]


def stir(kernel: ec.Kernel) -> None:
    """Have something said on every channel, and something to be told of."""
    kernel.shell.on_next(ec.kernel_info_request())
    kernel.control.on_next(ec.kernel_info_request(channel="control"))
    kernel.heartbeat.on_next(b"a beat of ours")
    kernel.errors.report(ec.EnchannelError("nothing is wrong"))
    kernel.shell.on_next(ec.execute_request("input('?')", allow_stdin=True))


def test_raising_subscribers_harm_nothing(mortal: ec.Kernel) -> None:
    def careless(item: object) -> None:
        raise ZeroDivisionError

    with ec.connect(mortal.id, timeout=DEADLINE) as again:
        careful = {name: Collector(source) for name, source in everything_of(again).items()}
        for source in everything_of(again).values():
            source.subscribe(careless, careless, lambda: careless(None))
        stir(again)
        for name, seen in careful.items():
            assert seen.wait_until(len), name
        raised = Collector(again.errors).wait_until(
            lambda errors: sum(isinstance(e, ec.SubscriberRaised) for e in errors) >= 9
        )
        for name in ("shell", "control", "stdin", "iopub", "heartbeat", "main"):
            assert any(f"of the {name} channel raised" in str(error) for error in raised)
        again.stdin.on_next(ec.input_reply("answered"))
        assert again.run("6 * 7", timeout=DEADLINE).text == "42"
    assert mortal.run("6 * 7", timeout=DEADLINE).text == "42"


# Closing.


class Closing:
    """Closes a kernel in a subscriber, the first time that it is called."""

    def __init__(self, kernel: ec.Kernel) -> None:
        self.done = threading.Event()
        self._kernel = kernel

    def __call__(self, item: object) -> None:
        if not self.done.is_set():
            self._kernel.close()
            self.done.set()


def close_in_a_subscriber(kernel: ec.Kernel, name: str) -> None:
    ends = [Collector(channel) for channel in (kernel.shell, kernel.iopub, kernel.main)]
    closing = Closing(kernel)
    everything_of(kernel)[name].subscribe(closing)
    with suppress(ec.ChannelClosed):  # it may be, at any moment
        stir(kernel)
    assert closing.done.wait(DEADLINE)
    for end in ends:
        end.wait_for_end()
        assert end.error is None
    assert kernel.link.value is ec.LinkState.CLOSED
    with pytest.raises(ec.ChannelClosed):
        kernel.run("6 * 7")


@pytest.mark.parametrize("name", EVERYTHING)
def test_subscriber_can_close_connection(cheap: ec.Kernel, name: str) -> None:
    close_in_a_subscriber(ec.connect(cheap.id, timeout=DEADLINE), name)
    request = ec.kernel_info_request(channel="control")
    assert ec.wait(cheap.request(request, timeout=DEADLINE)).content["status"] == "ok"


@pytest.mark.parametrize("name", EVERYTHING)
def test_subscriber_can_close_launched_kernel(cheap: ec.Kernel, name: str) -> None:
    pid = pid_of(cheap)
    close_in_a_subscriber(cheap, name)
    assert is_gone(pid)


@pytest.mark.parametrize("owned", [True, False], ids=["launched", "connected"])
def test_concurrent_close_ends_waiting_request(cheap: ec.Kernel, owned: bool) -> None:
    kernel = cheap if owned else ec.connect(cheap.id, timeout=DEADLINE)
    asleep = kernel.execute(ASLEEP)
    streams = Collector(kernel.iopub.pipe(ec.of_message_type("stream")))
    with ThreadPoolExecutor(5) as pool:
        waiting = pool.submit(ec.wait, asleep, timeout=DEADLINE)
        streams.wait_until(len)
        for closing in [pool.submit(kernel.close) for _ in range(4)]:
            closing.result(DEADLINE)
        with pytest.raises((ec.ChannelClosed, ec.KernelDied)):
            waiting.result(DEADLINE)
    kernel.close()


@pytest.mark.parametrize("owned", [True, False], ids=["launched", "connected"])
def test_close_during_flood_returns(cheap: ec.Kernel, owned: bool) -> None:
    kernel = cheap if owned else ec.connect(cheap.id, timeout=DEADLINE)
    streams = Collector(kernel.iopub.pipe(ec.of_message_type("stream")))
    kernel.shell.on_next(ec.execute_request(FLOOD))
    streams.wait_until(lambda messages: len(messages) > 1_000)
    began = time.monotonic()
    kernel.close()
    assert time.monotonic() - began < DEADLINE
    assert streams.completed


def test_process_survives_kernel_death_in_flood() -> None:
    """libzmq would, if it were left to it what to do about a connection that is gone: it aborts."""
    script = BEGIN + textwrap.dedent(f"""
            import signal
            for _ in range(10):
                with ec.launch({CHEAP!r}) as kernel:
                    pid = int(kernel.run('__import__("os").getpid()').text)
                    heard.clear()
                    kernel.iopub.subscribe(lambda message: heard.set())
                    kernel.errors.subscribe(lambda error: None)
                    ended = kernel.execute({FLOOD!r})
                    threading.Timer(0.1, lambda: os.kill(pid, signal.SIGKILL)).start()
                    with contextlib.suppress(ec.KernelDied):
                        ec.wait(ended)
            print("here")
        """)
    assert ended(script) == "here\n"


def test_output_of_dead_kernel_is_delivered() -> None:
    there, lease = threading.Event(), io_thread.lease()

    def keep_busy() -> None:
        there.wait(DEADLINE)

    try:
        with WireKernel() as wire, ec.connect(wire.info, timeout=DEADLINE) as kernel:
            streams = Collector(kernel.iopub.pipe(ec.of_message_type("stream")))
            states = Collector(kernel.state)
            lease.resource.post(keep_busy)
            speak_and_die(wire, LAST_WORDS)
            there.set()
            states.wait_until(lambda states: states[-1:] == ["dead"])
            streams.wait_until(lambda messages: len(messages) == LAST_WORDS)
            said = [message.content["text"] for message in streams.items]
            assert said == [str(number) for number in range(LAST_WORDS)]
    finally:
        there.set()
        lease.release()


def speak_and_die(wire: WireKernel, count: int) -> None:
    """As a process does that is killed when the system has taken what it had said."""
    messages = [signed(KEY, *parts("stream", {"text": str(n)})) for n in range(count)]

    def speak() -> None:
        wire._sockets[ChannelName.IOPUB][1].set(zmq.LINGER, int(DEADLINE * 1000))

    wire.do(speak)
    wire.send(ChannelName.IOPUB, *messages)
    wire.die()


# The end of the interpreter.

AT_THE_END = {
    "in a flood": """
        kernel.iopub.subscribe(lambda message: heard.set())
        kernel.shell.on_next(ec.execute_request("while True: print('x' * 100, flush=True)"))
        heard.wait()
    """,
    "while a thread waits": """
        code = "print('asleep', flush=True); import time; time.sleep(600)"
        kernel.iopub.pipe(ec.of_message_type("stream")).subscribe(lambda message: heard.set())
        def run():
            with contextlib.suppress(ec.EnchannelError):
                kernel.run(code)
        threading.Thread(target=run, daemon=True).start()
        heard.wait()
    """,
    "while a subscriber is stuck": """
        def stuck(message):
            heard.set()
            threading.Event().wait()
        kernel.iopub.subscribe(stuck)
        kernel.shell.on_next(ec.execute_request("6 * 7"))
        heard.wait()
        from enchannel._kernel import kernel as _kernel
        _kernel.CLOSING = 0.5  # instead of 10 seconds, which it is given to finish
    """,
}


@pytest.mark.parametrize("when", AT_THE_END)
def test_interpreter_exit_ends_launched_kernel(when: str) -> None:
    script = (
        BEGIN
        + f"kernel = ec.launch({CHEAP!r})\n"
        + "print(kernel.run('__import__(\"os\").getpid()').text)\n"
        + textwrap.dedent(AT_THE_END[when])
    )
    assert not psutil.pid_exists(int(ended(script)))


@pytest.mark.parametrize("when", AT_THE_END)
def test_interpreter_exit_leaves_connected_kernel(cheap: ec.Kernel, when: str) -> None:
    pid = pid_of(cheap)
    connect = f"kernel = ec.connect({cheap.id!r})\n"
    ended(BEGIN + connect + textwrap.dedent(AT_THE_END[when]))
    assert psutil.pid_exists(pid)


# A fork.

IN_THE_CHILD = {
    "ends": "",
    "collects": "del kernel, watcher; gc.collect()",
    "closes": "kernel.close(); watcher.close(); kernel.detach()",
    "uses": """
        for use in (lambda: kernel.run("1"), lambda: watcher.shell, kernel.interrupt, kernel.restart):
            try:
                use()
            except ec.ChannelClosed:
                continue
            raise AssertionError
    """,
    "has kernels of its own": f"""
        with ec.connect(name, timeout={DEADLINE}) as again:
            assert again.run("6 * 7", timeout={DEADLINE}).text == "42"
        with ec.launch({CHEAP!r}) as own:
            assert own.run("6 * 7", timeout={DEADLINE}).text == "42"
    """,
}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.parametrize("how", IN_THE_CHILD)
def test_forked_child_harms_nothing(how: str) -> None:
    script = (
        BEGIN
        + textwrap.dedent(f"""
            kernel = ec.launch({CHEAP!r})
            name = kernel.id
            watcher = ec.connect(name)
            pid = kernel.run('__import__("os").getpid()').text
            kernel.iopub.subscribe(lambda message: None)
            child = os.fork()
            if child:
                assert os.waitpid(child, 0)[1] == 0
                print(pid, *(k.run("6 * 7", timeout={DEADLINE}).text for k in (kernel, watcher)))
                watcher.close()
                kernel.close()
                sys.exit()
        """)
        + textwrap.dedent(IN_THE_CHILD[how])
    )
    pid, *answers = ended(script).split()
    assert answers == ["42", "42"]
    assert not psutil.pid_exists(int(pid))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_repeated_fork_in_flood_never_hangs() -> None:
    """The child has the locks as they were, and not the threads that held them."""
    script = BEGIN + textwrap.dedent(f"""
            kernel = ec.launch({CHEAP!r})
            kernel.iopub.subscribe(lambda message: heard.set())
            kernel.shell.on_next(ec.execute_request({FLOOD!r}))
            heard.wait()
            for _ in range(6):
                child = os.fork()
                if not child:
                    repr(kernel), kernel.state.value, kernel.close()
                    kernel.errors.subscribe(lambda error: None)
                    sys.exit()
                assert os.waitpid(child, 0)[1] == 0
            kernel.close()
            print("closed")
        """)
    assert ended(script) == "closed\n"


# Ctrl-C.


@contextmanager
def ctrl_c(when: Callable[[], object]) -> Iterator[None]:
    """Press it when something was waited for, which the block does not survive."""
    main, left = threading.main_thread().ident, threading.Event()
    assert main is not None

    def press() -> None:
        when()
        signal.pthread_kill(main, signal.SIGINT)
        # CPython has a moment, just before it blocks, in which a signal does not wake it up.
        while not left.wait(2.0):
            signal.pthread_kill(main, signal.SIGINT)

    pressing = threading.Thread(target=press)
    before = signal.getsignal(signal.SIGINT)
    try:
        with pytest.raises(KeyboardInterrupt):  # noqa: PT012  # it may come anywhere in there
            pressing.start()  # here: what it waits for may have happened already
            yield
    finally:
        while signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
            with suppress(KeyboardInterrupt):  # it was pressed again, just now
                signal.signal(signal.SIGINT, signal.SIG_IGN)
        left.set()
        pressing.join()
        signal.signal(signal.SIGINT, before)


def test_ctrl_c_ends_run_and_its_code(mortal: ec.Kernel) -> None:
    streams = Collector(mortal.iopub.pipe(ec.of_message_type("stream")))
    # not just anything: it may warn of something before it begins
    with ctrl_c(lambda: streams.wait_for(lambda said: "asleep" in said.content["text"])):
        mortal.run(ASLEEP)
    settle(mortal)
    assert mortal.run("6 * 7", timeout=DEADLINE).text == "42"


def test_timed_out_queued_code_is_interrupted(
    mortal: ec.Kernel,
) -> None:
    begun = Collector(mortal.iopub.pipe(ec.of_message_type("stream")))
    first = Collector(mortal.execute("print('on', flush=True)\nimport time; time.sleep(0.5)"))
    begun.wait_until(len)
    with pytest.raises(ec.RequestTimeout, match="has not started"):
        mortal.run(ASLEEP, timeout=0.05)
    first.wait_for_end()
    settle(mortal)
    assert mortal.run("6 * 7", timeout=DEADLINE).text == "42"


def test_ctrl_c_ends_wait_but_not_the_code(cheap: ec.Kernel) -> None:
    streams = Collector(cheap.iopub.pipe(ec.of_message_type("stream")))
    code = Collector(cheap.execute("print('asleep', flush=True)\nimport time\ntime.sleep(0.5)"))
    with ctrl_c(lambda: streams.wait_until(len)):
        ec.wait(cheap.iopub)
    assert code.wait_for_end()[-1].content["status"] == "ok"
    assert cheap.run("6 * 7", timeout=DEADLINE).text == "42"


def test_ctrl_c_during_connect_leaves_nothing() -> None:
    def attempt() -> None:
        with WireKernel(mute=[ChannelName.IOPUB]) as wire:
            with ctrl_c(lambda: wire.next_request("kernel_info_request")):
                ec.connect(wire.info, timeout=600)

    attempt()
    before = psutil.Process().num_fds()
    attempt()
    assert eventually(lambda: psutil.Process().num_fds() <= before)
    assert eventually(lambda: not zeromq_threads()), zeromq_threads()


def zeromq_threads() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith("enchannel-zmq")]


def test_ctrl_c_during_launch_ends_process(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    (tmp_path / "sitecustomize.py").write_text(
        f"open({str(gate)!r}, 'w').close()\nimport threading; threading.Event().wait()"
    )
    children = set(psutil.Process().children(recursive=True))
    with ctrl_c(gate.read_text):
        ec.launch(env={"PYTHONPATH": str(tmp_path)}, timeout=600)
    assert set(psutil.Process().children(recursive=True)) <= children
    assert eventually(lambda: not zeromq_threads()), zeromq_threads()


STUBBORN = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
while True:
    try:
        print("no", flush=True)
        time.sleep(600)
    except KeyboardInterrupt:
        pass
"""


def test_ctrl_c_during_close_ends_process() -> None:
    kernel = ec.launch(shutdown_timeout=600)
    pid = pid_of(kernel)
    streams = Collector(kernel.iopub.pipe(ec.of_message_type("stream")))
    kernel.shell.on_next(ec.execute_request(STUBBORN))
    streams.wait_until(len)
    with ctrl_c(lambda: streams.wait_until(lambda messages: len(messages) > 1)):
        kernel.close()
    assert is_gone(pid)
    assert eventually(lambda: not zeromq_threads()), zeromq_threads()
    assert streams.wait_for_end()
