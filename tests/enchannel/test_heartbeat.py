"""Bytes that come back: what it says of a kernel when they do, and when they do not."""

import threading

import pytest

from enchannel import (
    ChannelClosed,
    ChannelName,
    ConnectionLost,
    Heartbeat,
    InvalidMessage,
    Kernel,
    KernelDied,
    KernelState,
    LinkState,
    NotSupported,
)
from enchannel.errors import EnchannelError
from tests.rigs import DEADLINE
from tests.rigs.memory import MemoryKernel, Seen, Thread, busy, idle, printed

TIME_TO_DEAD = 3.0  # a beat each second


def beating() -> MemoryKernel:
    """A kernel that beats at once, until a test takes its ``on_beat`` away."""
    far = MemoryKernel()
    far.on_beat = far.beat
    return far


def stop(far: MemoryKernel) -> None:
    far.on_beat = lambda beat: None


def how(kernel: Kernel) -> KernelState:
    return kernel.state.value


def states(kernel: Kernel) -> Seen[KernelState]:
    seen: Seen[KernelState] = Seen()
    kernel.state.subscribe(seen)
    return seen


def test_asks_three_times_in_the_time_to_dead() -> None:
    far = MemoryKernel()
    with far.kernel(silent_after=TIME_TO_DEAD) as kernel:
        assert isinstance(kernel.heartbeat, Heartbeat)
        assert kernel.heartbeat.silent_after == TIME_TO_DEAD
        assert len(far.beats) == 1  # at once
        far.clock.advance_by(3.5)
        assert len(far.beats) == 4


@pytest.mark.parametrize("moment", [0.1, 0.6, 0.99])
def test_kernels_beat_at_the_same_few_moments(moment: float) -> None:
    far, moments = MemoryKernel(), list[float]()
    far.on_beat = lambda beat: moments.append(far.clock.to_seconds(far.clock.now))
    far.clock.advance_by(moment)
    with far.kernel(silent_after=TIME_TO_DEAD):
        far.clock.advance_by(10)
    at_once, *later = moments
    assert at_once == pytest.approx(moment)
    assert [at * 4 for at in later] == pytest.approx([round(at * 4) for at in later])
    assert len(later) == 10


def test_a_kernel_that_beats_is_not_silent() -> None:
    far = beating()
    with far.kernel(silent_after=TIME_TO_DEAD) as kernel:
        far.clock.advance_by(60)
        assert kernel.heartbeat.is_beating
        assert kernel.state.value is KernelState.IDLE


def test_a_kernel_that_stops_beating_is_silent_after_the_time_to_dead() -> None:
    far = beating()
    with far.kernel(silent_after=TIME_TO_DEAD) as kernel:
        far.clock.advance_by(1.5)
        stop(far)
        far.clock.advance_by(3)
        assert how(kernel) is KernelState.IDLE
        far.clock.advance_by(1)
        assert how(kernel) is KernelState.SILENT
        assert kernel.heartbeat.is_beating is False


def test_a_kernel_that_never_beat_is_not_silent() -> None:
    far = MemoryKernel()
    with far.kernel(silent_after=TIME_TO_DEAD) as kernel:
        far.clock.advance_by(60)
        assert kernel.state.value is KernelState.IDLE
        assert kernel.heartbeat.is_beating is None


def test_a_kernel_that_beats_again_is_what_it_was() -> None:
    far = beating()
    with far.kernel(silent_after=TIME_TO_DEAD) as kernel:
        state = states(kernel)
        stop(far)
        far.say(busy(None))
        far.clock.advance_by(5)
        far.beat()
        far.say(idle(None))
        assert kernel.heartbeat.is_beating
    assert state.all() == [
        KernelState.IDLE,
        KernelState.BUSY,
        KernelState.SILENT,
        KernelState.BUSY,
        KernelState.IDLE,
    ]


def test_a_kernel_that_stops_again_is_silent_again() -> None:
    far = beating()
    with far.kernel(silent_after=TIME_TO_DEAD) as kernel:
        state = states(kernel)
        for _ in range(2):
            stop(far)
            far.clock.advance_by(5)
            far.on_beat = far.beat
            far.clock.advance_by(1)
    assert state.all() == [
        KernelState.IDLE,
        KernelState.SILENT,
        KernelState.IDLE,
        KernelState.SILENT,
        KernelState.IDLE,
    ]


def test_one_missed_beat_is_nothing() -> None:
    far, count = MemoryKernel(), 0

    def every_third(beat: bytes) -> None:
        nonlocal count
        count += 1
        if count % 3 == 1:
            far.beat(beat)

    far.on_beat = every_third
    with far.kernel(silent_after=TIME_TO_DEAD) as kernel:
        state = states(kernel)
        far.clock.advance_by(60)
    assert state.all() == [KernelState.IDLE]


@pytest.mark.parametrize("known", [KernelState.DEAD, KernelState.RESTARTING])
def test_a_kernel_that_is_known_to_be_dead_is_not_silent(known: KernelState) -> None:
    far = beating()
    with far.kernel(silent_after=TIME_TO_DEAD) as kernel:
        stop(far)
        far.tell(known)
        far.clock.advance_by(60)
        assert kernel.state.value is known


def test_a_kernel_whose_link_is_lost_is_not_silent() -> None:
    far = beating()
    with far.kernel(silent_after=TIME_TO_DEAD) as kernel:
        stop(far)
        far.tell(LinkState.LOST)
        far.clock.advance_by(60)
        assert kernel.state.value is KernelState.IDLE


def test_it_goes_on_asking_when_the_link_is_back() -> None:
    far, errors = beating(), Seen[EnchannelError]()
    with far.kernel(silent_after=TIME_TO_DEAD) as kernel:
        kernel.errors.subscribe(errors)
        far.refuses = ConnectionLost("the link is down")
        far.clock.advance_by(60)
        far.refuses = None
        asked = len(far.beats)
        far.clock.advance_by(2.5)
        assert len(far.beats) - asked in (2, 3)
        assert kernel.state.value is KernelState.IDLE
    assert errors.all() == []


def test_while_paused_it_does_not_ask_and_no_kernel_is_silent() -> None:
    far = beating()
    with far.kernel(silent_after=TIME_TO_DEAD) as kernel:
        kernel.heartbeat.pause()
        stop(far)
        asked = len(far.beats)
        far.clock.advance_by(60)
        assert len(far.beats) == asked
        assert kernel.state.value is KernelState.IDLE


def test_it_starts_to_count_anew_after_a_pause() -> None:
    far = beating()
    with far.kernel(silent_after=TIME_TO_DEAD) as kernel:
        stop(far)
        far.clock.advance_by(2.5)
        kernel.heartbeat.pause()
        far.clock.advance_by(60)
        kernel.heartbeat.unpause()
        far.clock.advance_by(2.5)
        assert how(kernel) is KernelState.IDLE
        far.clock.advance_by(1)
        assert how(kernel) is KernelState.SILENT


def test_unpausing_twice_does_not_ask_twice_as_often() -> None:
    far = MemoryKernel()
    with far.kernel(silent_after=TIME_TO_DEAD) as kernel:
        kernel.heartbeat.unpause()
        kernel.heartbeat.pause()
        kernel.heartbeat.unpause()
        kernel.heartbeat.unpause()
        asked = len(far.beats)
        far.clock.advance_by(10)
        assert len(far.beats) - asked == 10


def test_one_can_ask_oneself_and_see_what_comes_back() -> None:
    far, seen = beating(), Seen[bytes]()
    with far.kernel() as kernel:
        kernel.heartbeat.pause()
        kernel.heartbeat.subscribe(seen)
        kernel.heartbeat.on_next(b"marco")
        kernel.heartbeat.on_next(bytearray(b"polo"))  # type: ignore[arg-type]
    assert seen.all() == [b"marco", b"polo"]


def test_only_bytes_can_be_sent() -> None:
    with MemoryKernel().kernel() as kernel:
        with pytest.raises(InvalidMessage, match="a Message was sent on the heartbeat channel"):
            kernel.heartbeat.on_next(printed("woo"))  # type: ignore[arg-type]


def test_it_ends_with_the_connection() -> None:
    far, seen = MemoryKernel(), Seen[bytes]()
    with far.kernel(silent_after=TIME_TO_DEAD) as kernel:
        heartbeat = kernel.heartbeat
        heartbeat.subscribe(seen)
    seen.all()
    assert seen.completed
    with pytest.raises(ChannelClosed):
        heartbeat.on_next(b"marco")
    asked = len(far.beats)
    heartbeat.unpause()
    far.clock.advance_by(60)
    assert len(far.beats) == asked


def test_a_link_that_was_given_up_is_its_error() -> None:
    far, seen, gone = MemoryKernel(), Seen[bytes](), KernelDied("for good")
    with far.kernel() as kernel:
        kernel.heartbeat.subscribe(seen)
        far.give_up(gone)
        assert seen.failure() is gone


def test_a_backend_without_a_heartbeat_has_none() -> None:
    far = MemoryKernel(ChannelName.SHELL, ChannelName.IOPUB)
    with far.kernel() as kernel:
        with pytest.raises(NotSupported, match="no heartbeat"):
            _ = kernel.heartbeat
        far.clock.advance_by(60)
        assert kernel.state.value is KernelState.IDLE


def test_a_slow_subscriber_does_not_make_a_kernel_silent() -> None:
    far, inside, go_on = beating(), threading.Event(), threading.Event()

    def slow(_: object) -> None:
        inside.set()
        go_on.wait(DEADLINE)

    with far.kernel(silent_after=TIME_TO_DEAD) as kernel:
        kernel.iopub.subscribe(slow)
        far.say(printed("woo"))
        assert inside.wait(DEADLINE)
        far.clock.advance_by(60)
        assert kernel.state.value is KernelState.IDLE
        go_on.set()


def test_a_beat_may_come_on_any_thread() -> None:
    far, threads, seen = MemoryKernel(), list[Thread[None]](), Seen[bytes]()
    far.on_beat = lambda beat: threads.append(Thread(lambda: far.beat(beat)))
    with far.kernel(silent_after=TIME_TO_DEAD) as kernel:
        threads.pop().result()
        kernel.heartbeat.subscribe(seen)
        for _ in range(10):
            far.clock.advance_by(1)
            threads.pop().result()
        assert kernel.heartbeat.is_beating
        assert how(kernel) is KernelState.IDLE
    assert seen.all() == [b"ping"] * 10


def test_a_kernel_that_is_stopped_for_long_is_asked_seldom_and_is_heard_again() -> None:
    far = beating()
    with far.kernel(silent_after=TIME_TO_DEAD) as kernel:
        stop(far)
        far.clock.advance_by(1_000)
        assert how(kernel) is KernelState.SILENT
        assert len(far.beats) < 100
        far.beat()
        assert how(kernel) is KernelState.IDLE
        before = len(far.beats)
        far.on_beat = far.beat
        far.clock.advance_by(10)
        assert len(far.beats) - before == 10
