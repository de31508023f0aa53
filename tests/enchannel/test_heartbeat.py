"""The heartbeat channel, and the kernel state that it causes."""

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
from enchannel._kernel.heartbeat import pause, unpause
from enchannel.errors import EnchannelError
from enchannel.testing import Collector
from tests.rigs import DEADLINE
from tests.rigs.messages import busy, idle, printed
from tests.rigs.scripted import ScriptedLink
from tests.rigs.threads import Thread

SILENT_AFTER = 3.0  # a ping each second


def beating() -> ScriptedLink:
    """Return a link whose kernel echoes at once, until a test replaces ``heartbeat_handler``."""
    remote = ScriptedLink()
    remote.heartbeat_handler = remote.send_heartbeat
    return remote


def stop(remote: ScriptedLink) -> None:
    remote.heartbeat_handler = lambda beat: None


def state_of(kernel: Kernel) -> KernelState:
    return kernel.state.value


def states(kernel: Kernel) -> Collector[KernelState]:
    seen: Collector[KernelState] = Collector()
    kernel.state.subscribe(seen)
    return seen


def test_heartbeat_pings_thrice_per_silent_after() -> None:
    remote = ScriptedLink()
    with remote.kernel(silent_after=SILENT_AFTER) as kernel:
        assert isinstance(kernel.heartbeat, Heartbeat)
        assert kernel.heartbeat.silent_after == SILENT_AFTER
        assert len(remote.heartbeats) == 1  # immediately
        remote.clock.advance_by(3.5)
        assert len(remote.heartbeats) == 4


@pytest.mark.parametrize("moment", [0.1, 0.6, 0.99])
def test_heartbeats_share_time_grid(moment: float) -> None:
    remote, moments = ScriptedLink(), list[float]()
    remote.heartbeat_handler = lambda beat: moments.append(
        remote.clock.to_seconds(remote.clock.now)
    )
    remote.clock.advance_by(moment)
    with remote.kernel(silent_after=SILENT_AFTER):
        remote.clock.advance_by(10)
    at_once, *later = moments
    assert at_once == pytest.approx(moment)
    assert [at * 4 for at in later] == pytest.approx([round(at * 4) for at in later])
    assert len(later) == 10


def test_beating_kernel_is_not_silent() -> None:
    remote = beating()
    with remote.kernel(silent_after=SILENT_AFTER) as kernel:
        remote.clock.advance_by(60)
        assert kernel.heartbeat.is_beating
        assert kernel.state.value is KernelState.IDLE


def test_kernel_is_silent_after_missed_pings() -> None:
    remote = beating()
    with remote.kernel(silent_after=SILENT_AFTER) as kernel:
        remote.clock.advance_by(1.5)
        stop(remote)
        remote.clock.advance_by(3)
        assert state_of(kernel) is KernelState.IDLE
        remote.clock.advance_by(1)
        assert state_of(kernel) is KernelState.SILENT
        assert kernel.heartbeat.is_beating is False


def test_kernel_that_never_beat_is_not_silent() -> None:
    remote = ScriptedLink()
    with remote.kernel(silent_after=SILENT_AFTER) as kernel:
        remote.clock.advance_by(60)
        assert kernel.state.value is KernelState.IDLE
        assert kernel.heartbeat.is_beating is None


def test_kernel_that_beats_again_is_idle_or_busy() -> None:
    remote = beating()
    with remote.kernel(silent_after=SILENT_AFTER) as kernel:
        state = states(kernel)
        stop(remote)
        remote.send(busy(None))
        remote.clock.advance_by(5)
        remote.send_heartbeat()
        remote.send(idle(None))
        assert kernel.heartbeat.is_beating
    assert state.wait_for_end() == [
        KernelState.IDLE,
        KernelState.BUSY,
        KernelState.SILENT,
        KernelState.BUSY,
        KernelState.IDLE,
    ]


def test_kernel_is_silent_repeatedly() -> None:
    remote = beating()
    with remote.kernel(silent_after=SILENT_AFTER) as kernel:
        state = states(kernel)
        for _ in range(2):
            stop(remote)
            remote.clock.advance_by(5)
            remote.heartbeat_handler = remote.send_heartbeat
            remote.clock.advance_by(1)
    assert state.wait_for_end() == [
        KernelState.IDLE,
        KernelState.SILENT,
        KernelState.IDLE,
        KernelState.SILENT,
        KernelState.IDLE,
    ]


def test_one_missed_ping_is_ignored() -> None:
    remote, count = ScriptedLink(), 0

    def echo_every_third(beat: bytes) -> None:
        nonlocal count
        count += 1
        if count % 3 == 1:
            remote.send_heartbeat(beat)

    remote.heartbeat_handler = echo_every_third
    with remote.kernel(silent_after=SILENT_AFTER) as kernel:
        state = states(kernel)
        remote.clock.advance_by(60)
    assert state.wait_for_end() == [KernelState.IDLE]


@pytest.mark.parametrize("known", [KernelState.DEAD, KernelState.RESTARTING])
def test_dead_kernel_is_not_silent(known: KernelState) -> None:
    remote = beating()
    with remote.kernel(silent_after=SILENT_AFTER) as kernel:
        stop(remote)
        remote.emit_event(known)
        remote.clock.advance_by(60)
        assert kernel.state.value is known


def test_lost_kernel_is_not_silent() -> None:
    remote = beating()
    with remote.kernel(silent_after=SILENT_AFTER) as kernel:
        stop(remote)
        remote.emit_event(LinkState.LOST)
        remote.clock.advance_by(60)
        assert kernel.state.value is KernelState.IDLE


def test_heartbeat_continues_after_reconnect() -> None:
    remote, errors = beating(), Collector[EnchannelError]()
    with remote.kernel(silent_after=SILENT_AFTER) as kernel:
        kernel.errors.subscribe(errors)
        remote.send_error = ConnectionLost("the link is down")
        remote.clock.advance_by(60)
        remote.send_error = None
        sent = len(remote.heartbeats)
        remote.clock.advance_by(2.5)
        assert len(remote.heartbeats) - sent in (2, 3)
        assert kernel.state.value is KernelState.IDLE
    assert errors.wait_for_end() == []


def test_paused_heartbeat_sends_nothing() -> None:
    remote = beating()
    with remote.kernel(silent_after=SILENT_AFTER) as kernel:
        pause(kernel.heartbeat)
        stop(remote)
        sent = len(remote.heartbeats)
        remote.clock.advance_by(60)
        assert len(remote.heartbeats) == sent
        assert kernel.state.value is KernelState.IDLE


def test_unpause_resets_missed_pings() -> None:
    remote = beating()
    with remote.kernel(silent_after=SILENT_AFTER) as kernel:
        stop(remote)
        remote.clock.advance_by(2.5)
        pause(kernel.heartbeat)
        remote.clock.advance_by(60)
        unpause(kernel.heartbeat)
        remote.clock.advance_by(2.5)
        assert state_of(kernel) is KernelState.IDLE
        remote.clock.advance_by(1)
        assert state_of(kernel) is KernelState.SILENT


def test_unpause_is_idempotent() -> None:
    remote = ScriptedLink()
    with remote.kernel(silent_after=SILENT_AFTER) as kernel:
        unpause(kernel.heartbeat)
        pause(kernel.heartbeat)
        unpause(kernel.heartbeat)
        unpause(kernel.heartbeat)
        sent = len(remote.heartbeats)
        remote.clock.advance_by(10)
        assert len(remote.heartbeats) - sent == 10


def test_heartbeat_sends_and_receives_bytes() -> None:
    remote, seen = beating(), Collector[bytes]()
    with remote.kernel() as kernel:
        pause(kernel.heartbeat)
        kernel.heartbeat.subscribe(seen)
        kernel.heartbeat.on_next(b"marco")
        kernel.heartbeat.on_next(bytearray(b"polo"))  # type: ignore[arg-type]
    assert seen.wait_for_end() == [b"marco", b"polo"]


def test_heartbeat_refuses_non_bytes() -> None:
    with ScriptedLink().kernel() as kernel:
        with pytest.raises(
            InvalidMessage, match="on the heartbeat channel must be bytes, not Message"
        ):
            kernel.heartbeat.on_next(printed("woo"))  # type: ignore[arg-type]


def test_heartbeat_completes_with_connection() -> None:
    remote, seen = ScriptedLink(), Collector[bytes]()
    with remote.kernel(silent_after=SILENT_AFTER) as kernel:
        heartbeat = kernel.heartbeat
        heartbeat.subscribe(seen)
    seen.wait_for_end()
    assert seen.completed
    with pytest.raises(ChannelClosed):
        heartbeat.on_next(b"marco")
    sent = len(remote.heartbeats)
    unpause(heartbeat)
    remote.clock.advance_by(60)
    assert len(remote.heartbeats) == sent


def test_link_failure_fails_heartbeat() -> None:
    remote, seen, failure = ScriptedLink(), Collector[bytes](), KernelDied("for good")
    with remote.kernel() as kernel:
        kernel.heartbeat.subscribe(seen)
        remote.fail(failure)
        assert seen.wait_for_error() is failure


def test_unsupported_heartbeat_raises() -> None:
    remote = ScriptedLink(ChannelName.SHELL, ChannelName.IOPUB)
    with remote.kernel() as kernel:
        with pytest.raises(NotSupported, match="does not support the heartbeat channel"):
            _ = kernel.heartbeat
        remote.clock.advance_by(60)
        assert kernel.state.value is KernelState.IDLE


def test_slow_subscriber_does_not_cause_silent() -> None:
    remote, inside, go_on = beating(), threading.Event(), threading.Event()

    def slow(_: object) -> None:
        inside.set()
        go_on.wait(DEADLINE)

    with remote.kernel(silent_after=SILENT_AFTER) as kernel:
        kernel.iopub.subscribe(slow)
        remote.send(printed("woo"))
        assert inside.wait(DEADLINE)
        remote.clock.advance_by(60)
        assert kernel.state.value is KernelState.IDLE
        go_on.set()


def test_echo_may_arrive_on_any_thread() -> None:
    remote, threads, seen = ScriptedLink(), list[Thread[None]](), Collector[bytes]()
    remote.heartbeat_handler = lambda beat: threads.append(
        Thread(lambda: remote.send_heartbeat(beat))
    )
    with remote.kernel(silent_after=SILENT_AFTER) as kernel:
        threads.pop().result()
        kernel.heartbeat.subscribe(seen)
        for _ in range(10):
            remote.clock.advance_by(1)
            threads.pop().result()
        assert kernel.heartbeat.is_beating
        assert state_of(kernel) is KernelState.IDLE
    assert seen.wait_for_end() == [b"ping"] * 10


def test_stopped_kernel_gets_few_pings() -> None:
    remote = beating()
    with remote.kernel(silent_after=SILENT_AFTER) as kernel:
        stop(remote)
        remote.clock.advance_by(1_000)
        assert state_of(kernel) is KernelState.SILENT
        assert len(remote.heartbeats) < 100
        remote.send_heartbeat()
        assert state_of(kernel) is KernelState.IDLE
        before = len(remote.heartbeats)
        remote.heartbeat_handler = remote.send_heartbeat
        remote.clock.advance_by(10)
        assert len(remote.heartbeats) - before == 10
