"""The timer thread. Where order matters, time stands still until a test sets it."""

import gc
import os
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest
from reactivex import abc

from enchannel._rx import timer as _timer
from enchannel._rx.timer import TimerScheduler, timer
from tests.rigs import DEADLINE
from tests.rigs.threads import Thread

FAR_SECONDS = 3600.0


class Calls:
    """Records the actions that a scheduler runs."""

    def __init__(self) -> None:
        self.made: list[object] = []
        self.threads: set[threading.Thread] = set()
        self._changed = threading.Condition()

    def action(self, scheduler: abc.SchedulerBase, state: object = None) -> None:
        with self._changed:
            self.made.append(state)
            self.threads.add(threading.current_thread())
            self._changed.notify_all()

    def first(self, count: int) -> list[object]:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.made) >= count, DEADLINE), self.made
        return self.made


@pytest.fixture
def scheduler(monkeypatch: pytest.MonkeyPatch) -> TimerScheduler:
    """Return a new scheduler whose thread ends soon when idle."""
    monkeypatch.setattr(_timer, "IDLE_TIMEOUT", 0.01)
    return TimerScheduler()


class Clock:
    """Stands in for the module ``time``."""

    def __init__(self, scheduler: TimerScheduler) -> None:
        self._scheduler = scheduler
        self._now = 0.0

    def monotonic(self) -> float:
        return self._now

    def set(self, now: float) -> None:
        self._now = now
        self._scheduler._wake()


@pytest.fixture
def clock(scheduler: TimerScheduler, monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock(scheduler)
    monkeypatch.setattr(_timer, "time", clock)
    return clock


@pytest.fixture
def calls() -> Calls:
    return Calls()


def test_actions_run_in_due_order(scheduler: TimerScheduler, calls: Calls, clock: Clock) -> None:
    for due in (0.6, 0.2, 0.4, 0.8):
        scheduler.schedule_relative(due, calls.action, due)
    clock.set(0.7)
    assert calls.first(3) == [0.2, 0.4, 0.6]
    clock.set(0.9)
    assert calls.first(4) == [0.2, 0.4, 0.6, 0.8]


def test_action_waits_until_due(scheduler: TimerScheduler, calls: Calls) -> None:
    begun = time.monotonic()
    scheduler.schedule_relative(0.02, calls.action)
    calls.first(1)
    assert time.monotonic() - begun >= 0.02


def test_simultaneous_actions_run_in_call_order(scheduler: TimerScheduler, calls: Calls) -> None:
    for number in range(100):
        scheduler.schedule(calls.action, number)
    assert calls.first(100) == list(range(100))


def test_earlier_action_shortens_the_wait(scheduler: TimerScheduler, calls: Calls) -> None:
    remote = scheduler.schedule_relative(FAR_SECONDS, calls.action, "remote")
    scheduler.schedule_relative(0.01, calls.action, "near")
    assert calls.first(1) == ["near"]
    remote.dispose()


def test_action_may_schedule_another(scheduler: TimerScheduler, calls: Calls) -> None:
    def action(_: abc.SchedulerBase, state: object = None) -> None:
        scheduler.schedule_relative(0.01, calls.action, "second")

    scheduler.schedule(action)
    assert calls.first(1) == ["second"]


def test_due_time_types(scheduler: TimerScheduler, calls: Calls) -> None:
    scheduler.schedule_relative(timedelta(milliseconds=10), calls.action, "relative")
    scheduler.schedule_absolute(datetime.now(UTC) + timedelta(seconds=0.05), calls.action, "then")
    assert calls.first(2) == ["relative", "then"]


def test_past_due_action_runs_at_once(scheduler: TimerScheduler, calls: Calls) -> None:
    scheduler.schedule_relative(-5, calls.action, "past")
    assert calls.first(1) == ["past"]


def test_cancelled_action_does_not_run(
    scheduler: TimerScheduler, calls: Calls, clock: Clock
) -> None:
    scheduler.schedule_relative(0.2, calls.action, "cancelled").dispose()
    scheduler.schedule_relative(0.4, calls.action, "kept")
    clock.set(1.0)
    assert calls.first(1) == ["kept"]


def test_second_or_late_cancel_is_a_no_op(scheduler: TimerScheduler, calls: Calls) -> None:
    first = scheduler.schedule(calls.action, "first")
    calls.first(1)
    first.dispose()
    first.dispose()
    scheduler.schedule(calls.action, "second")
    assert calls.first(2) == ["first", "second"]


def test_cancelled_actions_are_purged(scheduler: TimerScheduler) -> None:
    """Each request has a timeout, and nearly all timeouts are cancelled."""

    def count_pending() -> int:
        calls = Calls()
        scheduler.schedule(calls.action)
        calls.first(1)  # the timer thread has handled everything scheduled before
        return len(scheduler._due) + len(scheduler._inbox)

    kept = scheduler.schedule_relative(FAR_SECONDS, Calls().action)
    for _ in range(10_000):
        scheduler.schedule_relative(FAR_SECONDS, Calls().action).dispose()
    assert count_pending() < 200
    kept.dispose()
    for _ in range(100):
        scheduler.schedule_relative(FAR_SECONDS, Calls().action).dispose()
    assert count_pending() < 200


def test_sleeping_timer_purges_cancelled_actions(scheduler: TimerScheduler) -> None:
    kept = scheduler.schedule_relative(FAR_SECONDS, Calls().action)
    purged = Calls()

    class Canary:
        def __del__(self) -> None:
            purged.action(scheduler)

    canary = Canary()
    cancelled = scheduler.schedule_relative(FAR_SECONDS, lambda *_, kept=canary: None)
    del canary
    cancelled.dispose()
    for _ in range(1000):
        scheduler.schedule_relative(FAR_SECONDS, Calls().action).dispose()
    purged.first(1)
    kept.dispose()


def test_purge_keeps_other_actions(scheduler: TimerScheduler, calls: Calls) -> None:
    for number in range(50):
        scheduler.schedule_relative(0.1, calls.action, number)
    for _ in range(1000):
        scheduler.schedule_relative(FAR_SECONDS, calls.action, "cancelled").dispose()
    assert calls.first(50) == list(range(50))


def test_actions_run_on_one_thread(scheduler: TimerScheduler, calls: Calls) -> None:
    def schedule() -> None:
        for number in range(50):
            scheduler.schedule_relative(number / 10_000, calls.action)

    kept = scheduler.schedule_relative(FAR_SECONDS, calls.action)  # keeps the thread alive
    for thread in [Thread(schedule) for _ in range(4)]:
        thread.result()
    calls.first(200)
    kept.dispose()
    assert [thread.name for thread in calls.threads] == ["enchannel timer"]


def test_idle_timer_thread_ends(scheduler: TimerScheduler, calls: Calls) -> None:
    scheduler.schedule(calls.action)
    calls.first(1)
    (thread,) = calls.threads
    thread.join(DEADLINE)
    assert not thread.is_alive()


def test_timer_thread_ends_after_cancellations(scheduler: TimerScheduler, calls: Calls) -> None:
    scheduler.schedule(calls.action)
    cancelled = scheduler.schedule_relative(0.02, calls.action)
    calls.first(1)
    cancelled.dispose()
    (thread,) = calls.threads
    thread.join(DEADLINE)
    assert not thread.is_alive()


def test_timer_thread_restarts(scheduler: TimerScheduler, calls: Calls) -> None:
    scheduler.schedule(calls.action, "first")
    calls.first(1)
    (thread,) = calls.threads
    thread.join(DEADLINE)
    scheduler.schedule(calls.action, "second")
    assert calls.first(2) == ["first", "second"]
    assert len(calls.threads) == 2


def test_timer_thread_does_not_block_exit(scheduler: TimerScheduler, calls: Calls) -> None:
    scheduler.schedule(calls.action)
    calls.first(1)
    assert all(thread.daemon for thread in calls.threads)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_forked_process_has_its_own_timer() -> None:
    if sys.platform == "win32":
        pytest.skip("Windows has no fork")
    calls = Calls()
    timer().schedule(calls.action)
    calls.first(1)  # starts the parent's thread
    child = os.fork()
    if child == 0:
        made = threading.Event()
        timer().schedule(lambda *_: made.set())
        os._exit(7 if made.wait(DEADLINE) else 1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 7


def test_raising_action_does_not_end_timer(
    scheduler: TimerScheduler, calls: Calls, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise SystemExit("woo")

    scheduler.schedule(fail)
    scheduler.schedule(calls.action, "next")
    assert calls.first(1) == ["next"]
    assert "woo" in caplog.text


@pytest.mark.parametrize("seconds", [1e10, 1e300])
def test_long_delay_does_not_end_timer(
    scheduler: TimerScheduler, calls: Calls, seconds: float
) -> None:
    far = scheduler.schedule_relative(seconds, calls.action, "far")
    scheduler.schedule_relative(0.01, calls.action, "near")
    assert calls.first(1) == ["near"]
    scheduler.schedule_relative(0.02, calls.action, "later")
    assert calls.first(2) == ["near", "later"]
    far.dispose()


def test_finalizer_may_schedule_and_cancel(scheduler: TimerScheduler, calls: Calls) -> None:
    """The collector runs finalizers in the middle of any call, also while the timer changes its heap."""
    scheduled = count()

    class Finalized:
        def __init__(self) -> None:
            self.itself = self
            self.timeout = scheduler.schedule_relative(FAR_SECONDS, calls.action, "cancelled")

        def __del__(self) -> None:
            self.timeout.dispose()
            scheduler.schedule(calls.action, next(scheduled))

    made = 0
    thresholds = gc.get_threshold()
    gc.set_threshold(3)
    try:
        for _ in range(300):
            Finalized()
            made += 1
            scheduler.schedule_relative(FAR_SECONDS, calls.action, "cancelled").dispose()
    finally:
        gc.set_threshold(*thresholds)
    gc.collect()
    # Tells a timer that stands still from finalizers that did not run.
    assert next(scheduled) == made
    assert sorted(map(str, calls.first(made))) == sorted(map(str, range(made)))


def test_timer_starts_again_after_thread_limit(
    scheduler: TimerScheduler, calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        scheduler.schedule(calls.action, "first")
    scheduler.schedule(calls.action, "second")
    assert calls.first(2) == ["first", "second"]
