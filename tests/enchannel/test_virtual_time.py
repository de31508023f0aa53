"""Delivery on a virtual-time scheduler: at its time, on the thread that advances it."""

import math
import threading
from datetime import timedelta

import pytest
from reactivex import operators as ops
from reactivex.scheduler import HistoricalScheduler, VirtualTimeScheduler
from reactivex.testing import TestScheduler

import enchannel as ec
from enchannel import AnyMessage
from enchannel.memory import InMemoryKernel
from enchannel.messages import kernel_info_request
from enchannel.testing import Collector
from tests.rigs.messages import printed, texts
from tests.rigs.scripted import ScriptedLink
from tests.rigs.threads import in_thread

KINDS = [VirtualTimeScheduler, TestScheduler, HistoricalScheduler]


@pytest.fixture(params=KINDS, ids=lambda kind: kind.__name__)
def clock(request: pytest.FixtureRequest) -> VirtualTimeScheduler:
    made: VirtualTimeScheduler = request.param()
    return made


def test_delivery_waits_for_virtual_time(clock: VirtualTimeScheduler) -> None:
    remote, seen = ScriptedLink(), Collector[AnyMessage]()
    with remote.kernel() as kernel:
        kernel.iopub.subscribe(seen, scheduler=clock)
        in_thread(lambda: remote.send(printed("one"), printed("two")))
        assert seen.items == []
        clock.advance_by(1)
        assert texts(seen.items) == ["one", "two"]
        assert seen.threads == {threading.current_thread()}
        remote.send(printed("three"))
        assert len(seen.items) == 2
        clock.start()
    assert texts(seen.items) == ["one", "two", "three"]


def test_delivery_happens_at_virtual_time(clock: VirtualTimeScheduler) -> None:
    remote, seen = ScriptedLink(), Collector[tuple[str, timedelta]]()
    begin = clock.now

    def stamped(message: AnyMessage) -> tuple[str, timedelta]:
        return message.content["text"], clock.now - begin

    with remote.kernel() as kernel:
        kernel.iopub.pipe(ops.map(stamped)).subscribe(seen, scheduler=clock)
        for second in (1, 2, 5):
            clock.schedule_relative(
                timedelta(seconds=second), lambda *_: remote.send(printed("sent"))
            )
        clock.start()
    assert [when.total_seconds() for _, when in seen.items] == [1, 2, 5]


def test_completion_is_delivered_in_order(clock: VirtualTimeScheduler) -> None:
    remote, seen = ScriptedLink(), Collector[AnyMessage]()
    with remote.kernel() as kernel:
        kernel.main.subscribe(seen, scheduler=clock)
        remote.send(printed("last"))
    assert not seen.ended
    clock.start()
    assert (texts(seen.items), seen.completed) == (["last"], True)


def test_requests_and_states_in_virtual_time(clock: VirtualTimeScheduler) -> None:
    remote, states, texts_seen = (
        ScriptedLink(),
        Collector[ec.KernelState](),
        Collector[AnyMessage](),
    )
    with remote.kernel() as kernel:
        kernel.state.subscribe(states, scheduler=clock)
        kernel.iopub.pipe(ec.deliver_on(clock, interval=2)).subscribe(texts_seen)
        remote.emit_event(ec.KernelState.DEAD)
        remote.send(printed("woo"))
        clock.advance_by(1)
        assert states.items == ["idle", "dead"]
        assert texts_seen.items == []
        clock.advance_by(1)
        assert texts(texts_seen.items) == ["woo"]


def test_start_returns_with_open_kernel(clock: VirtualTimeScheduler) -> None:
    seen = Collector[AnyMessage]()
    with InMemoryKernel() as end, ec.connect(end.target, scheduler=clock) as kernel:
        kernel.request(kernel_info_request(), timeout=5).subscribe(seen, scheduler=clock)
        clock.start()
        assert isinstance(seen.error, ec.RequestTimeout)
        assert kernel.heartbeat.is_beating is None
        assert kernel.heartbeat.silent_after == math.inf


def test_virtual_heartbeat_on_request(clock: VirtualTimeScheduler) -> None:
    remote = ScriptedLink()
    remote.heartbeat_handler = remote.send_heartbeat
    with remote.kernel(scheduler=clock, silent_after=3) as kernel:
        clock.advance_by(1)
        assert kernel.heartbeat.is_beating
        remote.heartbeat_handler = lambda beat: None
        clock.advance_by(5)
        assert kernel.state.value is ec.KernelState.SILENT
