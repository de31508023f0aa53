"""The I/O thread itself."""

import sys
import threading
from collections.abc import Iterator

import pytest

from enchannel_zmq._io_thread import IoThread
from tests.rigs import DEADLINE


@pytest.fixture
def often_switching() -> Iterator[None]:
    """Threads that give way in the middle of everything."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


@pytest.mark.usefixtures("often_switching")
def test_every_post_wakes_io_thread() -> None:
    """A bell whose flag was cleared before it was read rang for the last time within a second."""
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
            assert io.call(lambda: None, DEADLINE), "the I/O thread sleeps on what was posted"
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
