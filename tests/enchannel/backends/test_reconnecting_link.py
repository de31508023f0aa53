"""``ReconnectingLink`` over a fake transport: phases, sending, reconnecting, giving up, closing."""

import itertools
import threading
from collections.abc import Callable

import pytest

from enchannel import ChannelName, KernelState, LinkState
from enchannel.backends import LinkPhase
from enchannel.backends._link_phase import PHASE_TRANSITIONS
from enchannel.errors import (
    AuthenticationFailed,
    ChannelClosed,
    ConnectionFailed,
    ConnectionLost,
    InvalidMessage,
    KernelDied,
    NotSupported,
)
from enchannel.messages import stream
from enchannel.testing import Collector
from tests.enchannel.backends.fake_link import HANGS, FakeLink, fake_link, loops
from tests.rigs import DEADLINE, eventually

BUSY = ConnectionFailed("the server is busy")


def wait_until_reconnected(link: FakeLink) -> None:
    link.received.wait_until(lambda events: LinkState.LOST in events)
    link.received.wait_until(lambda events: events[-1] is LinkState.CONNECTED)


# Phases.


def path_to(phase: LinkPhase) -> list[LinkPhase]:
    """Return the phases from NEW to a phase, by the table of transitions."""
    paths = [[LinkPhase.NEW]]
    for path in paths:
        if path[-1] is phase:
            return path
        paths += [[*path, following] for following in PHASE_TRANSITIONS[path[-1]]]
    raise AssertionError(f"{phase} cannot be reached")


@pytest.mark.parametrize("phase", LinkPhase, ids=lambda phase: phase.name)
def test_close_is_possible_in_every_phase(phase: LinkPhase) -> None:
    following = PHASE_TRANSITIONS[phase]
    assert (LinkPhase.CLOSED in following) is (phase is not LinkPhase.CLOSED)


@pytest.mark.parametrize(
    ("before", "after"), list(itertools.product(LinkPhase, repeat=2)), ids=lambda phase: phase.name
)
def test_phases_follow_the_table(before: LinkPhase, after: LinkPhase) -> None:
    lease = loops.lease()
    link = FakeLink(lease)
    for phase in path_to(before)[1:]:
        link._enter(phase)
    if before is LinkPhase.CLOSED:
        assert not link._enter(after)
    elif after in PHASE_TRANSITIONS[before]:
        assert link._enter(after)
        assert link.phase is after
    else:
        with pytest.raises(RuntimeError, match="a link cannot go from"):
            link._enter(after)
    lease.release()


# Opening.


def test_failed_open_disconnects() -> None:
    lease = loops.lease()
    link = FakeLink(lease, [BUSY])
    with pytest.raises(ConnectionFailed, match="the server is busy"):
        lease.resource.run(link.open())
    assert link.calls == ["disconnect"]
    lease.release()


def test_open_repeats_attempts_that_hang() -> None:
    lease = loops.lease()
    link = FakeLink(lease, [HANGS, HANGS])
    lease.resource.run(link.open(attempt_timeout=0.01))
    assert link.attempts == [LinkPhase.NEW] * 3
    link.close()


def test_kernel_that_ends_while_connecting_raises() -> None:
    class EndingLink(FakeLink):
        async def connect(self) -> None:
            self.end(KernelDied("the kernel is gone"))

    lease = loops.lease()
    link = EndingLink(lease)
    with pytest.raises(KernelDied, match="the kernel is gone"):
        lease.resource.run(link.open())
    assert link.calls == ["disconnect"]
    lease.release()


def test_open_link_sends_in_order() -> None:
    with fake_link() as link:
        for number in range(100):
            link.push(str(number))
        assert link.sent.wait_for_count(100) == [str(number) for number in range(100)]
        assert link.attempts == [LinkPhase.NEW]
        assert link.calls == ["on_connected(is_first=True)"]


def test_invalid_message_is_not_queued() -> None:
    with fake_link() as link:
        with pytest.raises(InvalidMessage):
            link.push("invalid")
        link.push("valid")
        assert link.sent.wait_for_count(1) == ["valid"]


def test_unsent_messages_are_counted() -> None:
    with fake_link() as link:
        link.let_send(False)
        for number in range(3):
            link.push(str(number))
        assert link.unsent() == 3
        assert link.pairs()[ChannelName.IOPUB].unsent() == 0
        link.let_send(True)
        link.sent.wait_for_count(3)
        assert eventually(lambda: link.unsent() == 0)


def test_unsupported_sending_raises() -> None:
    with fake_link() as link:
        link.unsupported = NotSupported("this link is read-only")
        with pytest.raises(NotSupported, match="read-only"):
            link.push("1")


def test_incoming_message_reaches_its_channel() -> None:
    with fake_link() as link:
        seen = Collector(link.pairs()[ChannelName.IOPUB].incoming)
        message = stream("stdout", "1")
        link.do(lambda: link.incoming[ChannelName.IOPUB].on_next(message))
        assert seen.wait_for_count(1) == [message]


# Reconnecting.


def test_lost_connection_is_restored() -> None:
    with fake_link() as link:
        link.break_connection()
        wait_until_reconnected(link)
        assert link.attempts == [LinkPhase.NEW, LinkPhase.RECONNECTING]
        assert link.received.items == [LinkState.LOST, LinkState.CONNECTED]
        assert link.calls[-2:] == ["on_connected(is_first=False)", "on_reconnected(it broke)"]
        link.push("after")
        assert link.sent.wait_for_count(1) == ["after"]


@pytest.mark.parametrize("failure", [BUSY, TimeoutError()], ids=["failed", "timed out"])
def test_failed_attempts_are_repeated(failure: Exception) -> None:
    with fake_link(None, failure, failure) as link:
        link.break_connection()
        wait_until_reconnected(link)
        assert len(link.attempts) == 4
        assert link.calls.count("disconnect") == 3


def test_hanging_attempt_is_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("enchannel.backends._backoff.ATTEMPT_TIMEOUT", 0.1)
    with fake_link(None, HANGS) as link:
        link.break_connection()
        wait_until_reconnected(link)
        assert len(link.attempts) == 3


def test_sending_while_reconnecting_raises() -> None:
    with fake_link(None, HANGS) as link:
        link.break_connection("the network is gone")
        link.received.wait_for_count(1)
        link.do(lambda: None)  # messages are refused after the state has changed
        with pytest.raises(ConnectionLost, match="the network is gone"):
            link.push("1")


def test_queued_message_is_not_sent_after_loss() -> None:
    with fake_link() as link:
        link.let_send(False)
        link.push("stuck")
        link.push("queued")
        link.break_connection()
        wait_until_reconnected(link)
        assert link.unsent() == 0
        link.let_send(True)
        link.push("after")
        assert link.sent.wait_for_count(1) == ["after"]


def test_message_encoded_before_loss_is_not_sent() -> None:
    """A sender that passed the check before the loss queues its frame after it."""
    encoding, lost = threading.Event(), threading.Event()

    class SlowLink(FakeLink):
        def encode(self, message: object) -> str:
            encoding.set()
            assert lost.wait(DEADLINE)
            return "late"

    lease = loops.lease()
    link = SlowLink(lease)
    lease.resource.run(link.open())
    sender = threading.Thread(target=link.push, args=("late",))
    sender.start()
    assert encoding.wait(DEADLINE)
    link.break_connection()
    wait_until_reconnected(link)
    lost.set()
    sender.join(DEADLINE)
    link.close()
    assert link.sent.items == []


def test_send_error_leaves_report_to_reader() -> None:
    with fake_link() as link:
        link.push("breaks")
        link.break_connection("it broke while sending")
        wait_until_reconnected(link)
        link.push("after")
        assert link.sent.wait_for_count(1) == ["after"]


# Giving up.


def test_unreachable_server_is_given_up() -> None:
    with fake_link(None, *[BUSY] * 100, reconnect_timeout=0.3) as link:
        link.break_connection()
        error = link.received.wait_for_error()
        assert isinstance(error, ConnectionLost)
        expected = "it broke; it could not be restored within 0.3 s: the server is busy"
        assert str(error) == expected
        assert link.phase is LinkPhase.ENDED
        with pytest.raises(ConnectionLost, match="could not be restored"):
            link.push("1")


GONE = KernelDied("gone")


@pytest.mark.parametrize("final", [AuthenticationFailed("no"), KernelDied("gone")])
def test_final_error_is_not_retried(final: Exception) -> None:
    with fake_link(None, final) as link:
        link.break_connection()
        assert link.received.wait_for_error() is final
        assert len(link.attempts) == 2


def test_peer_that_always_rejects_is_given_up() -> None:
    with fake_link() as link:
        for _ in range(4):
            connections = len(link.attempts)
            link.break_connection("the server closed it", is_rejection=True)
            assert eventually(lambda: len(link.attempts) > connections)  # noqa: B023
            link.received.wait_until(lambda events: events[-1] is LinkState.CONNECTED)
        link.break_connection("the server closed it", is_rejection=True)
        assert "check that no other client uses the same session" in str(
            link.received.wait_for_error()
        )


def test_unexpected_error_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    with fake_link(None, ZeroDivisionError("unexpected")) as link:
        link.break_connection()
        error = link.received.wait_for_error()
        assert "given up because of an unexpected error (ZeroDivisionError: unexpected)" in str(
            error
        )
    assert "ZeroDivisionError" in caplog.text


@pytest.mark.parametrize(
    ("outcome", "end", "expected"),
    [
        (None, lambda link: link.do(lambda: link.end(GONE)), [None]),
        (HANGS, FakeLink.break_connection, [None]),
        (GONE, FakeLink.break_connection, [None, ConnectionLost]),
    ],
    ids=["ended", "lost", "given up"],
)
def test_refusal_comes_after_its_state(
    outcome: Exception | str | None,
    end: Callable[[FakeLink], None],
    expected: list[type[Exception] | None],
) -> None:
    """Another thread that sends fails no earlier than the subscribers of the state know."""
    failures = list[type[Exception] | None]()

    def send(_: object) -> None:
        try:
            link.push("1")
        except (KernelDied, ConnectionLost) as error:
            failures.append(type(error))
        else:
            failures.append(None)

    with fake_link(None, outcome) as link:
        link.on_event = send
        end(link)
        link.received.wait_for_count(len(expected))
        link.do(lambda: None)
    assert failures == expected


# Suspending and ending.


def test_suspended_link_refuses_until_resumed() -> None:
    with fake_link() as link:
        link.let_send(False)
        link.push("queued")
        link.do(lambda: link.suspend(KernelDied("the kernel restarts")))
        assert link.phase is LinkPhase.SUSPENDED
        with pytest.raises(KernelDied, match="the kernel restarts"):
            link.push("1")
        link.let_send(True)
        link.do(link.resume)
        link.push("after")
        link.sent.wait_until(lambda sent: sent[-1] == "after")
        assert link.sent.items in (["after"], ["queued", "after"])


def test_suspending_can_keep_queued_messages() -> None:
    with fake_link() as link:
        link.let_send(False)
        link.push("stuck")
        link.push("queued")
        link.do(lambda: link.suspend(KernelDied("dead"), discard=False))
        link.let_send(True)
        assert link.sent.wait_for_count(2) == ["stuck", "queued"]


def test_resume_does_not_open_a_lost_link() -> None:
    with fake_link(None, HANGS) as link:
        link.break_connection()
        link.received.wait_for_count(1)
        link.do(link.resume)
        with pytest.raises(ConnectionLost):
            link.push("1")


def test_end_fails_events() -> None:
    gone = KernelDied("the kernel is gone")
    with fake_link() as link:
        link.do(lambda: link.end(gone))
        assert link.received.wait_for_error() is gone
        assert link.received.items == [KernelState.DEAD]
        link.do(lambda: link.end(KernelDied("again")))
        link.do(lambda: link.suspend(KernelDied("again")))
        with pytest.raises(KernelDied, match="the kernel is gone"):
            link.push("1")


def test_end_can_keep_channels() -> None:
    gone = KernelDied("the kernel was shut down")
    with fake_link() as link:
        link.do(lambda: link.end(gone, keep_channels=True))
        assert link.received.items == [LinkState.LOST, KernelState.DEAD, gone]
        assert not link.received.ended
        with pytest.raises(KernelDied, match="the kernel was shut down"):
            link.push("1")


# Deferring.


def test_deferred_link_connects_on_first_message() -> None:
    with fake_link(deferred=True) as link:
        assert link.attempts == []
        link.push("1")
        assert link.sent.wait_for_count(1) == ["1"]
        assert link.attempts == [LinkPhase.DEFERRED]


def test_deferred_link_connects_once() -> None:
    with fake_link(deferred=True) as link:
        link.begin_soon()
        link.begin_soon()
        assert eventually(lambda: link.phase is LinkPhase.OPEN)
        assert link.attempts == [LinkPhase.DEFERRED]


def test_deferred_link_that_fails_reconnects() -> None:
    with fake_link(BUSY, deferred=True) as link:
        link.push("lost")
        wait_until_reconnected(link)
        assert link.attempts == [LinkPhase.DEFERRED, LinkPhase.RECONNECTING]
        link.push("after")
        assert link.sent.wait_for_count(1) == ["after"]


# Closing.


def close_on_loop(link: FakeLink) -> None:
    link.do(link.close)


@pytest.mark.parametrize("close", [FakeLink.close, close_on_loop], ids=["caller", "event loop"])
def test_close_sends_queued_messages(close: Callable[[FakeLink], None]) -> None:
    with fake_link() as link:
        for number in range(100):
            link.push(str(number))
        close(link)
        assert link.received.wait_for_end() == []
        assert link.received.completed
        assert len(link.sent.items) == 100
        assert eventually(lambda: link.calls[-3:] == ["flush", "disconnect", "close_client"])


def test_close_does_not_wait_for_a_stuck_peer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("enchannel.backends._reconnecting_link.FLUSH_TIMEOUT", 0.1)
    with fake_link() as link:
        link.let_send(False)
        link.push("stuck")
        link.close()
        assert link.received.completed
        assert "flush" not in link.calls


def test_close_while_reconnecting_does_not_flush() -> None:
    with fake_link(None, HANGS) as link:
        link.break_connection()
        link.received.wait_for_count(1)
        link.close()
        assert link.received.completed
        assert "flush" not in link.calls


def test_close_is_idempotent_on_many_threads() -> None:
    with fake_link() as link:
        threads = [threading.Thread(target=link.close) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(DEADLINE)
        assert link.calls.count("close_client") == 1


def test_closed_link_raises_and_emits_nothing() -> None:
    with fake_link() as link:
        link.close()
        with pytest.raises(ChannelClosed, match="the connection to kernel k-1 is closed"):
            link.push("1")
        link.emit(KernelState.IDLE)
        link.suspend(KernelDied("late"))
        assert link.received.items == []


def test_last_closed_link_stops_the_loop() -> None:
    with fake_link() as one, fake_link() as other:
        assert one.thread is other.thread
    assert eventually(lambda: loops.current is None)
