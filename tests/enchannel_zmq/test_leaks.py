"""Resources are closed: after many rounds there are no more than after the first few."""

import gc
import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

import enchannel as ec
from enchannel_zmq._io_thread import io_thread
from tests.rigs import DEADLINE, LONG_STREAM_TIMEOUT, eventually
from tests.rigs.processes import count_descriptors
from tests.rigs.wire_kernel import WireKernel

pytestmark = pytest.mark.kernel

MEBIBYTE = 1 << 20
# The kernel that starts and ends most quickly.
CHEAP = "xpython"


@pytest.fixture(autouse=True)
def private_sockets(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Create sockets in a directory of their own, so that those of other test workers are not counted."""
    # Not pytest's tmp_path: the path of a socket must be short.
    with tempfile.TemporaryDirectory(prefix="ec-") as directory:
        monkeypatch.setattr(tempfile, "tempdir", directory)
        yield


@dataclass(frozen=True)
class Held:
    """Resources that a process can leak."""

    threads: int
    descriptors: int
    children: int
    files: int

    def __le__(self, other: "Held") -> bool:
        mine, others = vars(self), vars(other)
        return all(mine[name] <= others[name] for name in mine)


def held() -> Held:
    me = psutil.Process()
    runtime = Path(os.environ["JUPYTER_RUNTIME_DIR"])
    sockets = Path(tempfile.gettempdir()).glob("enchannel-*")
    return Held(
        threads=threading.active_count(),
        descriptors=count_descriptors(),
        children=len(me.children(recursive=True)),
        files=len([*runtime.iterdir(), *sockets]),
    )


def kibibytes() -> int:
    gc.collect()
    return psutil.Process().memory_info().rss // 1024


def leaks_nothing(
    warm_up: Callable[[], None], rounds: Callable[[], None], *, mebibytes: int
) -> None:
    warm_up()
    before, memory = held(), kibibytes()
    rounds()
    # libzmq and the system release some of it a moment later.
    assert eventually(lambda: held() <= before), f"{before} became {held()}"
    assert kibibytes() - memory < mebibytes * 1024


def connect_and_execute(target: object, times: int) -> None:
    for _ in range(times):
        with ec.connect(target, timeout=DEADLINE) as kernel:  # type: ignore[arg-type]
            kernel.iopub.subscribe(lambda message: None)
            assert kernel.run("6 * 7", timeout=DEADLINE).text == "42"


def test_200_connections_leave_nothing() -> None:
    with ec.launch() as kernel:
        sockets = socket_count()

        def some(times: int) -> Callable[[], None]:
            return lambda: connect_and_execute(kernel.id, times)

        leaks_nothing(some(20), some(200), mebibytes=8)
        assert eventually(lambda: socket_count() == sockets)


def socket_count() -> int:
    """Return the number of ZeroMQ sockets."""
    io = io_thread.current
    assert io is not None
    return len(io.context._sockets)


def test_200_single_connections_leave_no_thread() -> None:
    """Each connection starts and stops the I/O thread, since it is the only one."""
    with WireKernel() as wire:

        def some(times: int) -> Callable[[], None]:
            return lambda: connect_and_ask(wire, times)

        leaks_nothing(some(20), some(200), mebibytes=8)
        assert io_thread.current is None


def connect_and_ask(wire: WireKernel, times: int) -> None:
    for _ in range(times):
        with ec.connect(wire.info, timeout=DEADLINE) as kernel:
            assert kernel.run("6 * 7", timeout=DEADLINE).status == "ok"


def launch_and_execute() -> None:
    with ec.launch(CHEAP) as kernel:
        kernel.iopub.subscribe(lambda message: None)
        assert kernel.run("6 * 7", timeout=DEADLINE).text == "42"


# Each launch has a deadline of its own.
@pytest.mark.timeout(LONG_STREAM_TIMEOUT)
def test_50_launches_leave_nothing() -> None:
    def some(times: int) -> Callable[[], None]:
        def several_at_once() -> None:
            with ThreadPoolExecutor(4) as pool:
                for launched in [pool.submit(launch_and_execute) for _ in range(times)]:
                    launched.result()

        return several_at_once

    leaks_nothing(some(8), some(50), mebibytes=8)
