"""All messages of a kernel arrive, in order, even with slow subscribers."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
import zmq

import enchannel as ec
from enchannel import ChannelName
from enchannel.testing import Collector
from enchannel_zmq._io_thread import io_thread
from tests.rigs import DEADLINE, LONG_STREAM_TIMEOUT, eventually
from tests.rigs.frames import KEY, parts, signed
from tests.rigs.wire_kernel import WireKernel

FLOOD_MESSAGES = 50_000
BIG_MESSAGES = 5_000
# Seconds for which the slow subscriber takes a millisecond for each message.
SLOW_DURATION = 5.0
# Seconds for which the paused subscriber returns from no call.
PAUSE_DURATION = 10.0
TRANSPORTS: dict[str, dict[str, Any]] = {
    "ipc": {"transport": "ipc"},
    "tcp": {"transport": "tcp", "encryption": "disabled"},
    "curve": {"transport": "tcp", "encryption": "required"},
}
# The last step of display(), which takes a seventh of its time. ipykernel lets libzmq queue 1,000 messages
# for each client and drops the rest: at this rate the kernel would drop some, even if the client reads as
# fast as it can. Here it queues all of them.
FLOOD = f"""
from threading import Event
from ipykernel.kernelapp import IPKernelApp
iopub, without_limit = IPKernelApp.instance().iopub_thread, Event()
def keep_all():
    iopub.socket.sndhwm = 0
    without_limit.set()
iopub.schedule(keep_all)
without_limit.wait()
kernel = get_ipython().kernel
parent = kernel.get_parent("shell")
for number in range({FLOOD_MESSAGES}):
    content = {{"data": {{"text/plain": str(number)}}, "metadata": {{}}, "transient": {{}}}}
    kernel.session.send(kernel.iopub_socket, "display_data", content, parent=parent, ident=b"display_data")
"""


def fast(began: float) -> None:
    """Return at once."""


def slow(began: float) -> None:
    if time.monotonic() < began + SLOW_DURATION:
        threading.Event().wait(0.001)


def paused(began: float) -> None:
    threading.Event().wait(max(0.0, began + PAUSE_DURATION - time.monotonic()))


class Reader:
    """A subscriber that spends some time on each message, on its own connection."""

    def __init__(self, kernel: ec.Kernel, work: Callable[[float], None]) -> None:
        self.numbers: list[int] = []
        self.over = threading.Event()
        self._work = work
        self._began = time.monotonic()
        kernel.iopub.subscribe(self._read)

    def _read(self, message: ec.AnyMessage) -> None:
        kind = message.header.msg_type
        if kind == "display_data":
            self._work(self._began)
            self.numbers.append(int(message.content["data"]["text/plain"]))
        elif kind == "status" and message.content["execution_state"] == "idle":
            self.over.set()


@pytest.fixture
def flooded() -> Iterator[dict[str, Reader]]:
    """Start readers of each kind over each transport, with kernels that flood at the same time."""
    with ExitStack() as stack:
        kernels = {
            name: stack.enter_context(ec.launch(**options)) for name, options in TRANSPORTS.items()
        }
        readers = {
            f"{work.__name__} over {name}": Reader(
                stack.enter_context(ec.connect(kernel.id, timeout=DEADLINE)), work
            )
            for name, kernel in kernels.items()
            for work in (fast, slow, paused)
        }
        for kernel in kernels.values():
            kernel.shell.on_next(ec.execute_request(FLOOD))
        yield readers


@pytest.mark.kernel
@pytest.mark.timeout(LONG_STREAM_TIMEOUT)
def test_50_000_displays_arrive_complete_and_in_order(flooded: dict[str, Reader]) -> None:
    readers = flooded.values()
    assert eventually(
        lambda: all(reader.over.is_set() for reader in readers),
        progress=lambda: [len(reader.numbers) for reader in readers],
    ), {name: len(reader.numbers) for name, reader in flooded.items() if not reader.over.is_set()}
    wrong = {
        name: f"{len(reader.numbers)} of {FLOOD_MESSAGES}"
        for name, reader in flooded.items()
        if reader.numbers != list(range(FLOOD_MESSAGES))
    }
    assert wrong == {}


def test_kernel_is_read_while_io_thread_is_busy() -> None:
    """libzmq continues to read, so a busy I/O thread makes no kernel drop messages."""
    there, lease = threading.Event(), io_thread.lease()

    def keep_busy() -> None:
        there.wait(DEADLINE)

    try:
        with WireKernel() as wire, ec.connect(wire.info, timeout=DEADLINE) as kernel:
            seen = Collector(kernel.iopub.pipe(ec.of_message_type("stream")))
            lease.resource.post(keep_busy)
            publish_and_drop_nothing(wire, BIG_MESSAGES)
            there.set()
            seen.wait_until(lambda messages: len(messages) == BIG_MESSAGES)
            texts = [message.content["text"] for message in seen.items]
            assert texts == [str(number) for number in range(BIG_MESSAGES)]
    finally:
        there.set()
        lease.release()


def publish_and_drop_nothing(wire: WireKernel, count: int) -> None:
    """Publish with libzmq's default limits; wait, and finally fail, instead of dropping messages."""
    # In total more than the system buffers between two processes.
    padding = bytes(10_000)

    def publish() -> None:
        iopub = wire.socket(ChannelName.IOPUB)
        iopub.set_hwm(1_000)
        iopub.set(zmq.XPUB_NODROP, 1)
        iopub.set(zmq.SNDTIMEO, int(DEADLINE / 2 * 1000))
        for number in range(count):
            made = signed(KEY, *parts("stream", {"text": str(number)}), buffers=[padding])
            iopub.send_multipart([b"stream", *made])

    wire.call(publish)
