"""The thread that calls subscribers."""

import threading
from collections.abc import Callable

import pytest
import reactivex
from reactivex import operators as ops

import enchannel as ec
from enchannel import AnyMessage, SubscriberRaised
from enchannel._rx.delivery_thread import DeliveryThread
from enchannel.testing import Collector
from tests.rigs import DEADLINE, eventually
from tests.rigs.messages import printed
from tests.rigs.scripted import ScriptedLink
from tests.rigs.threads import Thread

REQUEST = ec.execute_request("1")


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


def test_late_subscriber_is_called_without_lock() -> None:
    """A late subscriber may wait for another one, on any thread."""
    seen: list[ec.LinkState] = []
    done = threading.Event()
    with ScriptedLink().kernel() as kernel:
        pass

    def on_state(state: ec.LinkState) -> None:
        subscribing = Thread(lambda: kernel.link_state.subscribe(seen.append))
        subscribing.result()
        done.set()

    kernel.link_state.subscribe(on_state)
    assert done.wait(DEADLINE)
    assert eventually(lambda: seen == [ec.LinkState.CLOSED])


def test_unexpected_exception_does_not_end_thread(caplog: pytest.LogCaptureFixture) -> None:
    delivery, called = DeliveryThread("enchannel test"), list[int]()

    def fail(number: int) -> None:
        raise SystemExit(number)

    delivery.put(fail, 1)
    delivery.put(called.append, 2)
    delivery.put_urgent(fail, 3)
    delivery.put(called.append, 4)
    assert eventually(lambda: called == [2, 4])
    delivery.end()
    assert delivery.join(DEADLINE)
    assert caplog.text.count("delivery caught an unexpected exception and continues") == 2


# Subscribers that raise anything, at any event.


class Unreadable(Exception):
    def __str__(self) -> str:
        raise SystemExit("no text")


RAISED = [ValueError("woo"), SystemExit(3), KeyboardInterrupt(), GeneratorExit(), Unreadable()]


def raising(error: BaseException) -> Callable[..., None]:
    def fail(*_: object) -> None:
        raise error

    return fail


@pytest.mark.parametrize("error", RAISED, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("event", ["next", "next and error", "error", "completed"])
def test_raising_subscriber_harms_no_other(event: str, error: BaseException) -> None:
    remote, other, later = ScriptedLink(), Collector[AnyMessage](), Collector[AnyMessage]()
    with remote.kernel() as kernel:
        errors = Collector(kernel.errors)
        fail = raising(error)
        if event == "error":
            failing = kernel.iopub.pipe(ops.flat_map(lambda _: reactivex.throw(ValueError("woo"))))
            failing.subscribe(on_error=fail)
        elif event == "completed":
            kernel.iopub.pipe(ops.take(1)).subscribe(on_completed=fail)
        else:
            kernel.iopub.subscribe(fail, fail if event == "next and error" else None)
        kernel.iopub.subscribe(other)
        remote.send(printed("one", REQUEST), printed("two", REQUEST))
        other.wait_for_count(2)
        kernel.iopub.subscribe(later)
        remote.send(printed("three", REQUEST))
        later.wait_for_count(1)
        reported = errors.wait_for(lambda reported: isinstance(reported, SubscriberRaised))
        assert type(error).__name__ in str(reported)
