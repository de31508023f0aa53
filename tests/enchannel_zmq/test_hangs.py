"""Closing, interrupting, forking and exiting: nothing hangs, and nothing is left behind."""

import gc
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
from tempfile import TemporaryFile

import psutil
import pytest
import zmq
from reactivex import Observable

import enchannel as ec
from enchannel import ChannelName
from enchannel._kernel.kernel import parts_of
from enchannel.testing import Collector
from enchannel_zmq._io_thread import io_thread
from tests.enchannel_zmq.conftest import settle
from tests.rigs import ASLEEP, DEADLINE, LONG_STREAM_TIMEOUT, eventually
from tests.rigs.frames import KEY, parts, signed
from tests.rigs.processes import count_descriptors, interrupt_main_thread
from tests.rigs.wire_kernel import WireKernel

pytestmark = pytest.mark.kernel

# The kernel that starts and ends most quickly.
CHEAP = "xpython"
FLOOD = "while True: print('x' * 100, flush=True)"
OUTPUT_BEFORE_DEATH = 20_000


def pid_of(kernel: ec.Kernel) -> int:
    return int(kernel.run("__import__('os').getpid()", timeout=DEADLINE).text)


def is_gone(pid: int) -> bool:
    return eventually(lambda: not psutil.pid_exists(pid))


@pytest.fixture
def cheap() -> Iterator[ec.Kernel]:
    with ec.launch(CHEAP) as kernel:
        yield kernel


def test_finalizer_on_io_thread_stops_nothing(cheap: ec.Kernel) -> None:
    outcomes: list[object] = []
    finalized = threading.Event()

    class Finalized:
        def __init__(self, kernel: ec.Kernel) -> None:
            self.kernel = kernel
            self.itself = self  # so that only the garbage collector finalizes it

        def __del__(self) -> None:
            outcomes.append(threading.current_thread().name)
            try:
                self.kernel.run("1")
            except ec.WouldDeadlock as error:
                outcomes.append(error)
            self.kernel.close()
            finalized.set()

    def collect() -> None:
        gc.collect()

    kernel = ec.launch(CHEAP)
    pid, ended = pid_of(kernel), Collector[ec.LinkState]()
    kernel.link_state.subscribe(ended)
    io = io_thread.current
    assert io is not None
    gc.disable()
    try:
        Finalized(kernel)
        io.post(collect)
        assert finalized.wait(DEADLINE)
    finally:
        gc.enable()
        kernel.close()
    assert outcomes[0] == "enchannel-zmq I/O"
    assert isinstance(outcomes[1], ec.WouldDeadlock)
    assert cheap.run("6 * 7", timeout=DEADLINE).text == "42"
    ended.wait_for_end()
    assert is_gone(pid)


# Scripts, run in another process.

PREAMBLE = """
import contextlib, gc, os, sys, threading
import enchannel as ec
received = threading.Event()
"""
# Python's warning about forking with threads, which these tests do on purpose.
IGNORED = ("-W", "ignore:This process:DeprecationWarning")


def run_script(script: str, *arguments: str) -> str:
    """Run a script, check that it succeeds without a warning, and return its output.

    Each flushed line of its output renews the deadline.
    """
    command = [sys.executable, "-W", "error", *IGNORED, "-c", script, *arguments]
    with TemporaryFile("w+") as out, TemporaryFile("w+") as err:
        with subprocess.Popen(command, stdout=out, stderr=err) as running:
            try:
                has_ended = eventually(
                    lambda: running.poll() is not None, lambda: os.fstat(out.fileno()).st_size
                )
            finally:
                running.kill()
        err.seek(0)
        assert (has_ended, running.returncode, err.read()) == (True, 0, "")
        out.seek(0)
        return out.read()


# Subscribers that raise.


def observables_of(kernel: ec.Kernel) -> dict[str, Observable[object]]:
    """Return every kind of observable; each emits an item after ``cause_events``."""
    return {
        "shell": kernel.shell,
        "control": kernel.control,
        "stdin": kernel.stdin,
        "iopub": kernel.iopub,
        "heartbeat": kernel.heartbeat,
        "main": kernel.main,
        "link_state": kernel.link_state,
        "state": kernel.state,
        "errors": kernel.errors,
        "a request": kernel.execute("6 * 7"),
    }


OBSERVABLES = [
    *("shell", "control", "stdin", "iopub", "heartbeat", "main"),
    *("link_state", "state", "errors", "a request"),
]


def cause_events(kernel: ec.Kernel) -> None:
    """Cause a message on every channel, and an event on every other observable."""
    kernel.shell.on_next(ec.kernel_info_request())
    kernel.control.on_next(ec.kernel_info_request(channel="control"))
    kernel.heartbeat.on_next(b"a beat")
    parts_of(kernel).report(ec.EnchannelError("nothing is wrong"))
    kernel.shell.on_next(ec.execute_request("input('?')", allow_stdin=True))


def test_raising_subscribers_harm_nothing(mortal: ec.Kernel) -> None:
    def raise_error(item: object) -> None:
        raise ZeroDivisionError

    with ec.connect(mortal.id, timeout=DEADLINE) as again:
        others = {name: Collector(source) for name, source in observables_of(again).items()}
        for source in observables_of(again).values():
            source.subscribe(raise_error, raise_error, lambda: raise_error(None))
        cause_events(again)
        for name, seen in others.items():
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
    """A subscriber that closes a kernel at its first call."""

    def __init__(self, kernel: ec.Kernel) -> None:
        self.done = threading.Event()
        self._kernel = kernel

    def __call__(self, item: object) -> None:
        if not self.done.is_set():
            self._kernel.close()
            self.done.set()


def check_close_in_subscriber(kernel: ec.Kernel, name: str) -> None:
    ends = [Collector(channel) for channel in (kernel.shell, kernel.iopub, kernel.main)]
    closing = Closing(kernel)
    observables_of(kernel)[name].subscribe(closing)
    with suppress(ec.ChannelClosed):  # raised if the kernel is closed meanwhile
        cause_events(kernel)
    assert closing.done.wait(DEADLINE)
    for end in ends:
        end.wait_for_end()
        assert end.error is None
    assert kernel.link_state.value is ec.LinkState.CLOSED
    with pytest.raises(ec.ChannelClosed):
        kernel.run("6 * 7")


@pytest.mark.parametrize("name", OBSERVABLES)
def test_subscriber_can_close_connection(cheap: ec.Kernel, name: str) -> None:
    check_close_in_subscriber(ec.connect(cheap.id, timeout=DEADLINE), name)
    request = ec.kernel_info_request(channel="control")
    assert ec.wait(cheap.request(request, timeout=DEADLINE)).content["status"] == "ok"


@pytest.mark.parametrize("name", OBSERVABLES)
def test_subscriber_can_close_launched_kernel(cheap: ec.Kernel, name: str) -> None:
    pid = pid_of(cheap)
    check_close_in_subscriber(cheap, name)
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


@pytest.mark.timeout(LONG_STREAM_TIMEOUT)
def test_process_survives_kernel_death_in_flood() -> None:
    """Left to itself, libzmq would abort the process when a connection is lost."""
    script = PREAMBLE + textwrap.dedent(f"""
            import signal
            for _ in range(10):
                with ec.launch({CHEAP!r}) as kernel:
                    pid = int(kernel.run('__import__("os").getpid()').text)
                    received.clear()
                    kernel.iopub.subscribe(lambda message: received.set())
                    kernel.errors.subscribe(lambda error: None)
                    ended = kernel.execute({FLOOD!r})
                    threading.Timer(0.1, lambda: os.kill(pid, signal.SIGKILL)).start()
                    with contextlib.suppress(ec.KernelDied):
                        ec.wait(ended)
                print("here", flush=True)
        """)
    assert run_script(script) == "here\n" * 10


def test_output_of_dead_kernel_is_delivered() -> None:
    there, lease = threading.Event(), io_thread.lease()

    def keep_busy() -> None:
        there.wait(DEADLINE)

    try:
        with WireKernel() as wire, ec.connect(wire.info, timeout=DEADLINE) as kernel:
            streams = Collector(kernel.iopub.pipe(ec.of_message_type("stream")))
            states = Collector(kernel.state)
            lease.resource.post(keep_busy)
            publish_and_die(wire, OUTPUT_BEFORE_DEATH)
            there.set()
            states.wait_until(lambda states: states[-1:] == ["dead"])
            streams.wait_until(lambda messages: len(messages) == OUTPUT_BEFORE_DEATH)
            texts = [message.content["text"] for message in streams.items]
            assert texts == [str(number) for number in range(OUTPUT_BEFORE_DEATH)]
    finally:
        there.set()
        lease.release()


def publish_and_die(wire: WireKernel, count: int) -> None:
    """Publish messages, and end once the system has them, as a killed process does."""
    messages = [signed(KEY, *parts("stream", {"text": str(n)})) for n in range(count)]

    def set_linger() -> None:
        wire.socket(ChannelName.IOPUB).set(zmq.LINGER, int(DEADLINE * 1000))

    wire.call(set_linger)
    wire.send_frames(ChannelName.IOPUB, *messages)
    wire.die()


# The end of the interpreter.

AT_EXIT = {
    "in a flood": """
        kernel.iopub.subscribe(lambda message: received.set())
        kernel.shell.on_next(ec.execute_request("while True: print('x' * 100, flush=True)"))
        received.wait()
    """,
    "while a thread waits": """
        code = "print('asleep', flush=True); import time; time.sleep(600)"
        kernel.iopub.pipe(ec.of_message_type("stream")).subscribe(lambda message: received.set())
        def run():
            with contextlib.suppress(ec.EnchannelError):
                kernel.run(code)
        threading.Thread(target=run, daemon=True).start()
        received.wait()
    """,
    "while a subscriber blocks": """
        def block(message):
            received.set()
            threading.Event().wait()
        kernel.iopub.subscribe(block)
        kernel.shell.on_next(ec.execute_request("6 * 7"))
        received.wait()
        from enchannel._kernel import connection
        assert connection.CLOSE_TIMEOUT == 10
        connection.CLOSE_TIMEOUT = 0.5
    """,
}


@pytest.mark.parametrize("when", AT_EXIT)
def test_interpreter_exit_ends_launched_kernel(when: str) -> None:
    script = (
        PREAMBLE
        + f"kernel = ec.launch({CHEAP!r})\n"
        + "print(kernel.run('__import__(\"os\").getpid()').text)\n"
        + textwrap.dedent(AT_EXIT[when])
    )
    assert not psutil.pid_exists(int(run_script(script)))


@pytest.mark.parametrize("when", AT_EXIT)
def test_interpreter_exit_leaves_connected_kernel(cheap: ec.Kernel, when: str) -> None:
    pid = pid_of(cheap)
    connect = f"kernel = ec.connect({cheap.id!r})\n"
    run_script(PREAMBLE + connect + textwrap.dedent(AT_EXIT[when]))
    assert psutil.pid_exists(pid)


# Forks.

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
    "has own kernels": f"""
        with ec.connect(name, timeout={DEADLINE}) as again:
            assert again.run("6 * 7", timeout={DEADLINE}).text == "42"
        with ec.launch({CHEAP!r}) as own:
            assert own.run("6 * 7", timeout={DEADLINE}).text == "42"
    """,
}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork")
@pytest.mark.parametrize("how", IN_THE_CHILD)
def test_forked_child_harms_nothing(how: str) -> None:
    script = (
        PREAMBLE
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
    pid, *answers = run_script(script).split()
    assert answers == ["42", "42"]
    assert not psutil.pid_exists(int(pid))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork")
def test_repeated_fork_in_flood_never_hangs() -> None:
    """The child has copies of held locks, without the threads that held them."""
    script = PREAMBLE + textwrap.dedent(f"""
            kernel = ec.launch({CHEAP!r})
            kernel.iopub.subscribe(lambda message: received.set())
            kernel.shell.on_next(ec.execute_request({FLOOD!r}))
            received.wait()
            for _ in range(6):
                child = os.fork()
                if not child:
                    repr(kernel), kernel.state.value, kernel.close()
                    kernel.errors.subscribe(lambda error: None)
                    sys.exit()
                assert os.waitpid(child, 0)[1] == 0
                print("forked", flush=True)
            kernel.close()
            print("closed")
        """)
    assert run_script(script) == "forked\n" * 6 + "closed\n"


# Ctrl-C.


@contextmanager
def ctrl_c(when: Callable[[], object]) -> Iterator[None]:
    """Press Ctrl-C once a function returns; the block must raise KeyboardInterrupt."""
    left = threading.Event()

    def press() -> None:
        when()
        interrupt_main_thread()
        # Repeated, because a signal does not wake CPython if it arrives just before a blocking call.
        while not left.wait(2.0):
            interrupt_main_thread()

    pressing = threading.Thread(target=press)
    before = signal.getsignal(signal.SIGINT)
    try:
        with pytest.raises(KeyboardInterrupt):  # noqa: PT012  # it may come anywhere in there
            # Started in here, because the function may return at once.
            pressing.start()
            yield
    finally:
        while signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
            with suppress(KeyboardInterrupt):  # pressed again just now
                signal.signal(signal.SIGINT, signal.SIG_IGN)
        left.set()
        pressing.join()
        signal.signal(signal.SIGINT, before)


def test_ctrl_c_ends_run_and_its_code(mortal: ec.Kernel) -> None:
    streams = Collector(mortal.iopub.pipe(ec.of_message_type("stream")))
    # The code's own output, since ipykernel may print a warning before it starts.
    with ctrl_c(lambda: streams.wait_for(lambda message: "asleep" in message.content["text"])):
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
    before = count_descriptors()
    attempt()
    assert eventually(lambda: count_descriptors() <= before)
    assert eventually(lambda: not zeromq_threads()), zeromq_threads()


def zeromq_threads() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith("enchannel-zmq")]


def test_ctrl_c_during_launch_ends_process(tmp_path: Path) -> None:
    if sys.platform == "win32":
        pytest.skip("there are no named pipes in the file system")
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    (tmp_path / "sitecustomize.py").write_text(
        f"open({str(gate)!r}, 'w').close()\nimport threading; threading.Event().wait()"
    )
    children = set(psutil.Process().children(recursive=True))
    with ctrl_c(gate.read_text):
        ec.launch(extra_env={"PYTHONPATH": str(tmp_path)}, timeout=600)
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
    with ec.launch(shutdown_timeout=600) as kernel:
        pid = pid_of(kernel)
        streams = Collector(kernel.iopub.pipe(ec.of_message_type("stream")))
        kernel.shell.on_next(ec.execute_request(STUBBORN))
        streams.wait_until(len)
        with ctrl_c(lambda: streams.wait_until(lambda messages: len(messages) > 1)):
            kernel.close()
        assert is_gone(pid)
        assert eventually(lambda: not zeromq_threads()), zeromq_threads()
        assert streams.wait_for_end()
