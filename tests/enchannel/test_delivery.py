"""The thread that calls subscribers."""

import threading

import pytest

from enchannel._rx.delivery_thread import DeliveryThread
from tests.rigs import DEADLINE, eventually


def test_put_without_thread_waits_for_next(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    delivery, called = DeliveryThread("enchannel test"), list[int]()
    with monkeypatch.context() as no_threads:

        def refuse(thread: threading.Thread) -> None:
            raise RuntimeError("can't start new thread")

        no_threads.setattr(threading.Thread, "start", refuse)
        delivery.put(called.append, 1)
    assert "so delivery is delayed" in caplog.text
    delivery.put(called.append, 2)
    assert eventually(lambda: called == [1, 2])
    delivery.end()
    assert delivery.join(DEADLINE)
