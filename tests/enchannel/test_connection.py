"""The phases of a connection. Opening and closing kernels: test_kernel.py."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from enchannel import ChannelClosed, ConnectionFailed, Kernel, LinkState, Session
from enchannel._kernel.connection import TRANSITIONS, Phase
from enchannel._kernel.kernel import parts_of
from enchannel.abc import Link
from tests.rigs.scripted import ScriptedLink


def phase_of(kernel: Kernel) -> Phase:
    return parts_of(kernel).connection.phase


def test_phases_of_kernel_with_block() -> None:
    phases = list[Phase]()

    def open_link() -> Link:
        phases.append(phase_of(kernel))
        return remote.link

    remote = ScriptedLink()
    kernel = Kernel(open_link, Session())
    kernel.link_state.subscribe(on_completed=lambda: phases.append(phase_of(kernel)))
    phases.append(phase_of(kernel))
    with kernel:
        phases.append(phase_of(kernel))
    assert phases[:3] == [Phase.NEW, Phase.OPENING, Phase.OPEN]
    assert phases[3] in (Phase.CLOSING, Phase.CLOSED)  # on the delivery thread
    assert phase_of(kernel) is Phase.CLOSED


def test_failed_open_can_be_repeated() -> None:
    remote, failures = ScriptedLink(), [ConnectionFailed("not yet")]

    def open_link() -> Link:
        if failures:
            raise failures.pop()
        return remote.link

    kernel = Kernel(open_link, Session())
    with pytest.raises(ConnectionFailed):
        kernel.__enter__()
    assert phase_of(kernel) is Phase.NEW
    with kernel:
        assert phase_of(kernel) is Phase.OPEN


def test_given_up_link_leaves_connection_open() -> None:
    """The process of an owned kernel may still run, so ``close`` has work to do."""
    remote = ScriptedLink()
    with remote.kernel() as kernel:
        kernel.errors.subscribe(lambda _: None)
        remote.fail(ConnectionFailed("given up"))
        assert kernel.link_state.value is LinkState.CLOSED
        assert phase_of(kernel) is Phase.OPEN
    assert remote.closed == 1


def new() -> Kernel:
    return ScriptedLink().kernel()


def opened() -> Kernel:
    return new().__enter__()


def closed() -> Kernel:
    kernel = new()
    kernel.close()
    return kernel


@pytest.mark.parametrize(
    ("make", "after"),
    [(opened, Phase.FORKED), (closed, Phase.CLOSED)],
)
def test_fork_changes_open_connections_only(make: Callable[[], Kernel], after: Phase) -> None:
    kernel = make()
    parts_of(kernel).connection.reset_after_fork()
    assert phase_of(kernel) is after
    kernel.close()
    assert phase_of(kernel) is after
    with pytest.raises(ChannelClosed):
        kernel.interrupt()


def test_every_phase_is_reachable() -> None:
    reached, todo = {Phase.NEW}, [Phase.NEW]
    while todo:
        for phase in TRANSITIONS[todo.pop()] - reached:
            reached.add(phase)
            todo.append(phase)
    assert reached == set(Phase) == set(TRANSITIONS)


def test_illegal_transition_is_refused() -> None:
    kernel = closed()
    with pytest.raises(AssertionError, match=r"from Phase\.CLOSED to Phase\.OPEN"):
        parts_of(kernel).connection._move_to(Phase.OPEN)
