"""A link whose kernel's process is known, without the process."""

from collections.abc import Iterator

import pytest

from enchannel import ChannelName, ConnectionInfo
from enchannel.abc import KernelState, LinkState
from enchannel.errors import ConnectionFailed, KernelDied
from enchannel.testing import Collector
from enchannel_zmq._connection_phase import ConnectionPhase
from enchannel_zmq._link import ZmqLink
from tests.rigs import DEADLINE
from tests.rigs.wire_kernel import CLIENT, WireKernel

RECONNECT_TIMEOUT = 0.2


@pytest.fixture
def wire() -> Iterator[WireKernel]:
    with WireKernel() as wire:
        yield wire


@pytest.fixture
def link(wire: WireKernel) -> Iterator[ZmqLink]:
    link = ZmqLink(
        ConnectionInfo.from_dict(wire.info),
        CLIENT,
        kernel_id="1",
        max_received=1 << 20,
        keepalive_timeout=DEADLINE,
        reconnect_timeout=RECONNECT_TIMEOUT,
        find_death=lambda report: report(None),
    )
    link.open(DEADLINE)
    yield link
    link.close()


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
