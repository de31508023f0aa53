"""Floods, many requests at once, and many rounds, through a real server."""

import gc
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest

import enchannel as ec
from enchannel import AnyMessage
from enchannel.testing import Collector, FakeKernel
from enchannel_websocket._loop import loops
from tests.rigs import DEADLINE, LONG_STREAM_TIMEOUT, eventually
from tests.rigs.processes import count_descriptors
from tests.rigs.servers import JupyterServer
from tests.rigs.websocket import TOKEN, WebsocketRig

pytestmark = pytest.mark.kernel
MANY, ROUNDS = 20_000, 40
DISPLAYS = f"from IPython.display import display\nfor n in range({MANY}): display(n)"
MEBIBYTE = 1 << 20


@pytest.fixture
def kernel(server: JupyterServer) -> Iterator[ec.Kernel]:
    with ec.launch("python3", at=server.url, token=TOKEN) as kernel:
        yield kernel


@pytest.mark.timeout(LONG_STREAM_TIMEOUT)
def test_20_000_displays_arrive_in_order(kernel: ec.Kernel) -> None:
    # By default ipykernel drops output that exceeds the buffer of its ZeroMQ socket.
    kernel.run(
        "import ipykernel.kernelapp as app\n"
        "iopub = app.IPKernelApp.instance().iopub_thread\n"
        "iopub.schedule(lambda: setattr(iopub.socket, 'sndhwm', 0))",
        timeout=DEADLINE,
    )
    quick: Collector[AnyMessage] = Collector(kernel.iopub.pipe(ec.of_message_type("display_data")))
    begun, numbers = threading.Event(), []

    def slow(message: AnyMessage) -> None:
        if not begun.is_set():
            begun.set()
            # Thousands of messages arrive meanwhile.
            threading.Event().wait(1.0)
        numbers.append(message.content["data"]["text/plain"])

    kernel.iopub.pipe(ec.of_message_type("display_data")).subscribe(slow)
    execution: Collector[AnyMessage] = Collector(kernel.execute(DISPLAYS))
    execution.wait_for_end()
    expected = [str(number) for number in range(MANY)]
    assert [m.content["data"]["text/plain"] for m in quick.items] == expected
    assert eventually(lambda: len(numbers) == MANY, progress=lambda: len(numbers))
    assert numbers == expected
    assert sum(m.header.msg_type == "display_data" for m in execution.items) == MANY


def test_200_concurrent_runs_get_own_results(kernel: ec.Kernel) -> None:
    def run(number: int) -> str:
        return kernel.run(f"print({number}); {number} * 2", timeout=DEADLINE).text

    with ThreadPoolExecutor(20) as threads:
        answers = list(threads.map(run, range(200)))
    assert answers == [f"{number}\n{number * 2}" for number in range(200)]


def test_flooding_kernel_does_not_delay_others(server: JupyterServer, kernel: ec.Kernel) -> None:
    flood = Collector(kernel.iopub.pipe(ec.of_message_type("stream")))
    stuck = threading.Event()

    def get_stuck(message: AnyMessage) -> None:
        stuck.wait(DEADLINE)

    kernel.iopub.subscribe(get_stuck)
    kernel.shell.on_next(ec.execute_request("while True: print('x' * 100, flush=True)"))
    with WebsocketRig(server) as rig:
        FakeKernel(rig)
        with ec.connect(rig.target, timeout=DEADLINE) as other:
            assert other.run("quiet", timeout=DEADLINE).text == "quiet"
    stuck.set()
    flood.wait_until(len)


def test_repeated_connects_leak_nothing(server: JupyterServer) -> None:
    with WebsocketRig(server) as rig:
        FakeKernel(rig)

        def rounds(times: int) -> None:
            for _ in range(times):
                with ec.connect(rig.target, timeout=DEADLINE) as kernel:
                    kernel.iopub.subscribe(lambda message: None)
                    assert kernel.run("there", timeout=DEADLINE).text == "there"

        rounds(15)
        gc.collect()
        me = psutil.Process()
        threads, descriptors = threading.active_count(), count_descriptors()
        memory = me.memory_info().rss
        rounds(ROUNDS)
        gc.collect()
        assert eventually(lambda: threading.active_count() <= threads)
        assert eventually(lambda: count_descriptors() <= descriptors)
        assert me.memory_info().rss - memory < 16 * MEBIBYTE
        assert loops.current is None


def test_ten_connections_share_one_thread(server: JupyterServer) -> None:
    with WebsocketRig(server) as rig:
        FakeKernel(rig)
        kernels = [ec.connect(rig.target, timeout=DEADLINE) for _ in range(10)]
        names = [thread.name for thread in threading.enumerate()]
        assert names.count("enchannel-websocket I/O") == 1
        for number, kernel in enumerate(kernels):
            assert kernel.run(str(number), timeout=DEADLINE).text == str(number)
        for kernel in kernels:
            kernel.close()
        assert eventually(lambda: loops.current is None)
