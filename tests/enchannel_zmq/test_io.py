"""The I/O thread."""

import sys
import threading
from collections.abc import Iterator

import pytest

from enchannel_zmq._io_thread import IoThread
from tests.rigs import DEADLINE


@pytest.fixture
def frequent_thread_switches() -> Iterator[None]:
    """Switch threads as often as possible."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


@pytest.mark.usefixtures("frequent_thread_switches")
def test_every_post_wakes_io_thread() -> None:
    """If the waker's flag were cleared before it is read, the thread would hang within a second."""
    io = IoThread()
    io.start()
    seen: list[None] = []

    def post() -> None:
        for _ in range(10_000):
            io.post(lambda: seen.append(None))

    try:
        for _ in range(20):
            threads = [threading.Thread(target=post) for _ in range(3)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert io.call(lambda: None, DEADLINE), (
                "the I/O thread did not wake up for a posted call"
            )
    finally:
        io.stop()
    assert len(seen) == 600_000


def test_io_thread_survives_exception(caplog: pytest.LogCaptureFixture) -> None:
    io = IoThread()
    io.start()
    try:
        io.post(lambda: 1 / 0)  # type: ignore[arg-type]
        assert io.call(lambda: None, DEADLINE)
    finally:
        io.stop()
    assert "ZeroDivisionError" in caplog.text
