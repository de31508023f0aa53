"""A link whose kernel's process is known, without the process."""

import threading
from collections.abc import Callable, Iterator
from queue import SimpleQueue

import pytest
from reactivex import operators as ops

import enchannel as ec
from enchannel import ChannelName, ConnectionInfo
from enchannel.abc import KernelState, LinkState
from enchannel.errors import (
    ConnectionFailed,
    ConnectionLost,
    KernelDied,
    MessagesMayBeMissing,
)
from enchannel.testing import Collector
from enchannel_zmq import _loss_assessment
from enchannel_zmq._connection_phase import ConnectionPhase
from enchannel_zmq._link import ZmqLink
from enchannel_zmq._loss_assessment import FindDeath
from tests.rigs import DEADLINE, eventually
from tests.rigs.wire_kernel import CLIENT, WireKernel

RECONNECT_TIMEOUT = 0.2
MAX_RECEIVED = 1 << 20


@pytest.fixture
def wire() -> Iterator[WireKernel]:
    with WireKernel() as wire:
        yield wire


@pytest.fixture
def link(wire: WireKernel) -> Iterator[ZmqLink]:
    link = open_link(wire, lambda report: report(None))
    yield link
    link.close()


def open_link(wire: WireKernel, find_death: FindDeath | None) -> ZmqLink:
    link = ZmqLink(
        ConnectionInfo.from_dict(wire.info),
        CLIENT,
        kernel_id="1",
        max_received=MAX_RECEIVED,
        keepalive_timeout=DEADLINE,
        reconnect_timeout=RECONNECT_TIMEOUT,
        find_death=find_death,
    )
    link.open(DEADLINE)
    return link


def test_slow_restart_outlasts_earlier_deadline(wire: WireKernel, link: ZmqLink) -> None:
    """A deadline for reconnecting ends when the process dies; a restart has a timeout of its own."""
    events = Collector(link.events)
    wire.close_socket(ChannelName.IOPUB)
    events.wait_for(lambda event: event is LinkState.LOST)
    link.on_process_died(KernelDied("kernel 1 died"))
    events.wait_for(lambda event: event is KernelState.DEAD)
    wire.die()
    with pytest.raises(ConnectionFailed, match="no answer within"):
        link.reopen(2 * RECONNECT_TIMEOUT)
    assert events.error is None
    wire.restart()
    link.reopen(DEADLINE)
    assert events.items[-1] is LinkState.CONNECTED


def test_failed_reopen_leaves_link_suspended(wire: WireKernel, link: ZmqLink) -> None:
    link.suspend(KernelDied("kernel 1 was restarted"))
    wire.key = b"another"
    wire.die()
    wire.restart()
    with pytest.raises(ConnectionFailed, match="another key"):
        link.reopen(DEADLINE)
    assert link._connection.tracker.phase is ConnectionPhase.SUSPENDED
    assert link._connection._sockets.disconnected() == list(ChannelName)


def close_all_but_iopub(wire: WireKernel) -> None:
    for name in set(ChannelName) - {ChannelName.IOPUB}:
        wire.close_socket(name)


def find_killed(report: Callable[[KernelDied | None], None]) -> None:
    report(KernelDied("kernel 1 died by SIGKILL"))


@pytest.mark.parametrize(
    ("find_death", "reason"),
    [(find_killed, "kernel 1 died by SIGKILL"), (None, "kernel 1 closed its sockets")],
    ids=["launched", "connected"],
)
@pytest.mark.parametrize("transport", ["tcp", "ipc"])
def test_death_is_reported_after_unread_output(
    find_death: FindDeath | None, reason: str, transport: str
) -> None:
    """A socket with unread messages is lost last, so the loss of the others alone decides nothing."""
    with WireKernel(transport=transport) as wire:
        link = open_link(wire, find_death)
        try:
            events = Collector(link.events)
            iopub = link.link().pairs[ChannelName.IOPUB].incoming
            output = Collector(iopub.pipe(ec.of_message_type("stream")))
            close_all_but_iopub(wire)
            assert eventually(lambda: link._connection._loss.is_awaiting_output)
            for number in range(1_000):
                wire.send(ChannelName.IOPUB, "stream", {"text": str(number)})
            output.wait_until(lambda messages: len(messages) == 1_000)
            assert not [event for event in events.items if isinstance(event, Exception)]
            wire.close_socket(ChannelName.IOPUB)
            events.wait_for(lambda event: isinstance(event, Exception))
            (error,) = (event for event in events.items if isinstance(event, Exception))
            assert isinstance(error, KernelDied)
            assert str(error).startswith(reason)
        finally:
            link.close()


NOT_DECISIVE = [ChannelName.HEARTBEAT, ChannelName.IOPUB, ChannelName.STDIN]


@pytest.mark.parametrize("first", NOT_DECISIVE)
def test_one_channel_lost_first_asks_for_process(wire: WireKernel, first: ChannelName) -> None:
    """A dying kernel closes one socket after the other, in any order."""
    asked: SimpleQueue[Callable[[KernelDied | None], None]] = SimpleQueue()
    link = open_link(wire, asked.put)
    try:
        events = Collector(link.events)
        wire.close_socket(first)
        report = asked.get(timeout=DEADLINE)
        wire.die()
        find_killed(report)
        events.wait_for(lambda event: isinstance(event, Exception))
        (error,) = (event for event in events.items if isinstance(event, Exception))
        assert str(error) == "kernel 1 died by SIGKILL"
    finally:
        link.close()


@pytest.mark.parametrize("first", NOT_DECISIVE)
def test_one_channel_closed_first_is_no_loss(
    wire: WireKernel, first: ChannelName, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_loss_assessment, "ASSESSMENT_DELAY", 0.0)
    link = open_link(wire, None)
    try:
        events = Collector(link.events)
        wire.close_socket(first)
        assert eventually(lambda: first in link._connection._sockets.disconnected())
        link._io.call(lambda: None, DEADLINE)
        wire.die()
        events.wait_for(lambda event: isinstance(event, Exception))
        (error,) = (event for event in events.items if isinstance(event, Exception))
        assert str(error).startswith("kernel 1 closed its sockets")
    finally:
        link.close()


def test_restored_channel_is_reported_once_restored(wire: WireKernel) -> None:
    link = open_link(wire, None)
    try:
        events = Collector(link.events)
        wire.send(ChannelName.IOPUB, "stream", {"text": "x" * MAX_RECEIVED})
        events.wait_for(lambda event: isinstance(event, MessagesMayBeMissing))
        *states, missing = events.items[:4]
        assert states == [LinkState.CONNECTED, LinkState.LOST, LinkState.CONNECTED]
        assert "was lost on iopub and is restored" in str(missing)
    finally:
        link.close()


def test_heartbeat_cut_off_loses_no_message(wire: WireKernel) -> None:
    link = open_link(wire, None)
    try:
        events = Collector(link.events)
        wire.send_frames(ChannelName.HEARTBEAT, [b"", b"x" * (MAX_RECEIVED + 1)])
        events.wait_for(lambda event: event is KernelState.IDLE)
        connected, lost = LinkState.CONNECTED, LinkState.LOST
        assert events.items == [connected, lost, connected, KernelState.IDLE]
    finally:
        link.close()


@pytest.mark.parametrize("has_died", [True, False], ids=["died", "cut"])
def test_sending_fails_after_state_is_emitted(
    wire: WireKernel, link: ZmqLink, has_died: bool
) -> None:
    """Another thread that sends meets the error no earlier than the subscribers of the state."""
    shell, first_failure = link.link().pairs[ChannelName.SHELL].outgoing, list[object]()

    def send(event: object) -> None:
        try:
            shell.on_next(CLIENT.fill_headers(ec.kernel_info_request()))
        except (KernelDied, ConnectionLost):
            first_failure.append(event)

    events = Collector(link.events.pipe(ops.do_action(send)))
    if has_died:
        link.on_process_died(KernelDied("kernel 1 died"))
    else:
        wire.close_socket(ChannelName.SHELL)
    events.wait_for(lambda event: isinstance(event, Exception))
    assert isinstance(first_failure[0], Exception)


def test_death_is_reported_despite_inherited_sockets(wire: WireKernel) -> None:
    """A child process of the kernel that has inherited its sockets keeps the connections open."""
    link = open_link(wire, find_killed)
    try:
        events = Collector(link.events)
        close_all_but_iopub(wire)
        events.wait_for(lambda event: event is KernelState.DEAD)
    finally:
        link.close()


def test_cut_connection_of_listening_kernel_is_no_death(wire: WireKernel) -> None:
    """A message larger than ``max_received`` cuts off one channel of a kernel that lives."""
    link = open_link(wire, None)
    try:
        events = Collector(link.events)
        wire.send(ChannelName.SHELL, "execute_reply", {"text": "x" * MAX_RECEIVED})
        events.wait_for(lambda event: isinstance(event, ConnectionLost))
        events.wait_for(lambda event: event is LinkState.CONNECTED)
        assert KernelState.DEAD not in events.items
    finally:
        link.close()


def test_lost_sockets_of_running_process_reconnect(wire: WireKernel, link: ZmqLink) -> None:
    events = Collector(link.events)
    close_all_but_iopub(wire)
    events.wait_for(lambda event: isinstance(event, ConnectionLost))
    assert KernelState.DEAD not in events.items


def test_reopened_link_forgets_question_about_old_process(wire: WireKernel) -> None:
    """A restart can come while the operating system is being asked, and leave the question open."""
    asked = threading.Event()
    link = open_link(wire, lambda report: asked.set())
    try:
        close_all_but_iopub(wire)
        assert asked.wait(DEADLINE)
        link.suspend(KernelDied("kernel 1 was restarted"))
        wire.die()
        reopened = threading.Thread(target=link.reopen, args=(DEADLINE,))
        reopened.start()
        failures = link._connection._diagnostics._failures
        assert eventually(lambda: len(failures) == len(ChannelName))
        wire.restart()
        reopened.join(DEADLINE)
        assert link._connection.tracker.phase is ConnectionPhase.READY
    finally:
        link.close()
