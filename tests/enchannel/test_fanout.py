"""The sinks of a hot source: attaching, dispatching, the terminal event, and a fork."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from enchannel._rx.delivery_thread import DeliveryThread
from enchannel._rx.fanout import COMPLETED, Fanout, KeyedFanout

FORKED = ValueError("forked")


class RecordingSink:
    """Records the events that it gets."""

    def __init__(self) -> None:
        self.events: list[object] = []

    def on_next(self, item: int) -> None:
        self.events.append(item)

    def on_error(self, error: Exception) -> None:
        self.events.append(error)

    def on_completed(self) -> None:
        self.events.append(COMPLETED)

    def call(self, function: Callable[[], None]) -> None: ...


@pytest.fixture
def delivery() -> DeliveryThread:
    return DeliveryThread("enchannel test")


@pytest.fixture(params=[Fanout, KeyedFanout])
def fanout(request: pytest.FixtureRequest, delivery: DeliveryThread) -> Fanout[int]:
    made: Fanout[int] = request.param(delivery)
    return made


def test_fanout_dispatches_to_all_sinks(fanout: Fanout[int]) -> None:
    first, second = RecordingSink(), RecordingSink()
    fanout.attach(first)
    fanout.dispatch(1)
    subscription = fanout.attach(second)
    fanout.dispatch(2)
    subscription.dispose()
    fanout.dispatch(3)
    assert (first.events, second.events) == ([1, 2, 3], [2])


def test_fanout_change_replaces_sinks(fanout: Fanout[int]) -> None:
    """A dispatch loop goes on with the tuple that it has read."""
    subscription = fanout.attach(RecordingSink())
    before = fanout.sinks
    fanout.attach(RecordingSink())
    subscription.dispose()
    assert len(before) == len(fanout.sinks) == 1
    assert before != fanout.sinks


def test_fanout_replays_before_new_items(fanout: Fanout[int]) -> None:
    sink = RecordingSink()
    fanout.attach(sink, lambda: (1, 2))
    fanout.dispatch(3)
    assert sink.events == [1, 2, 3]


@pytest.mark.parametrize("error", [None, ValueError("lost")])
def test_fanout_terminates_once(fanout: Fanout[int], error: Exception | None) -> None:
    early, late, terminal = RecordingSink(), RecordingSink(), error or COMPLETED
    fanout.attach(early)
    fanout.terminate(error)
    fanout.terminate(KeyError("too late"))
    fanout.dispatch(1)
    fanout.attach(late, lambda: (2,))
    assert (early.events, late.events) == ([terminal], [2, terminal])
    assert (fanout.terminal, fanout.sinks) == (terminal, ())


def test_fanout_clear_emits_nothing(fanout: Fanout[int]) -> None:
    sink = RecordingSink()
    fanout.attach(sink)
    fanout.clear()
    fanout.dispatch(1)
    assert (sink.events, fanout.terminal) == ([], None)


@pytest.mark.parametrize("fails", [True, False])
def test_fork_terminates_live_fanout(delivery: DeliveryThread, fails: bool) -> None:
    fanout: Fanout[int] = Fanout(delivery, fails_after_fork=fails)
    parents, late = RecordingSink(), RecordingSink()
    fanout.attach(parents)
    held = fanout.lock
    delivery.reset_after_fork(FORKED)
    fanout.attach(late)
    assert parents.events == []
    assert late.events == [FORKED if fails else COMPLETED]
    assert fanout.lock is not held


def test_fork_keeps_terminal_event(fanout: Fanout[int], delivery: DeliveryThread) -> None:
    fanout.terminate()
    delivery.reset_after_fork(FORKED)
    assert fanout.terminal is COMPLETED


def test_keyed_fanout_counts_and_forgets(delivery: DeliveryThread) -> None:
    fanout: KeyedFanout[int] = KeyedFanout(delivery)
    sinks = [RecordingSink() for _ in range(4)]
    fanout.attach(sinks[0])
    subscriptions = [
        fanout.attach_to_key(key, sink) for key, sink in zip("aab", sinks[1:], strict=True)
    ]
    assert (fanout.count, sorted(fanout.by_key)) == (4, ["a", "b"])
    for subscription in subscriptions:
        subscription.dispose()
        subscription.dispose()
    assert (fanout.count, fanout.by_key) == (1, {})


def test_keyed_fanout_terminates_all_keys(delivery: DeliveryThread) -> None:
    fanout: KeyedFanout[int] = KeyedFanout(delivery)
    plain, keyed, late = RecordingSink(), RecordingSink(), RecordingSink()
    fanout.attach(plain)
    fanout.attach_to_key("a", keyed)
    fanout.terminate(FORKED)
    fanout.attach_to_key("a", late)
    assert plain.events == keyed.events == late.events == [FORKED]
    assert fanout.count == 0
