"""The table of a connection's phases."""

import pytest

from enchannel_zmq._connection_phase import TRANSITIONS, ConnectionPhase, PhaseEvent, PhaseTracker

LIFE = {
    "opened and closed": [
        (PhaseEvent.OPENED, ConnectionPhase.CONNECTING),
        (PhaseEvent.PROVEN, ConnectionPhase.READY),
        (PhaseEvent.CLOSED, ConnectionPhase.CLOSED),
    ],
    "a socket is lost and restored": [
        (PhaseEvent.OPENED, ConnectionPhase.CONNECTING),
        (PhaseEvent.PROVEN, ConnectionPhase.READY),
        (PhaseEvent.SOME_LOST, ConnectionPhase.PARTIAL),
        (PhaseEvent.PROVEN, ConnectionPhase.READY),
    ],
    "sockets are lost one after the other": [
        (PhaseEvent.OPENED, ConnectionPhase.CONNECTING),
        (PhaseEvent.PROVEN, ConnectionPhase.READY),
        (PhaseEvent.SOME_LOST, ConnectionPhase.PARTIAL),
        (PhaseEvent.ALL_LOST, ConnectionPhase.RECONNECTING),
        (PhaseEvent.TIMED_OUT, ConnectionPhase.GIVEN_UP),
    ],
    "the process outlives its sockets": [
        (PhaseEvent.OPENED, ConnectionPhase.CONNECTING),
        (PhaseEvent.PROVEN, ConnectionPhase.READY),
        (PhaseEvent.ALL_LOST, ConnectionPhase.RECONNECTING),
        (PhaseEvent.DIED, ConnectionPhase.SUSPENDED),
    ],
    "restarted": [
        (PhaseEvent.OPENED, ConnectionPhase.CONNECTING),
        (PhaseEvent.PROVEN, ConnectionPhase.READY),
        (PhaseEvent.SUSPENDED, ConnectionPhase.SUSPENDED),
        (PhaseEvent.OPENED, ConnectionPhase.CONNECTING),
        (PhaseEvent.PROVEN, ConnectionPhase.READY),
    ],
}

RECONNECTING = {ConnectionPhase.PARTIAL, ConnectionPhase.RECONNECTING}


def tracker_in(phase: ConnectionPhase) -> PhaseTracker:
    tracker = PhaseTracker()
    tracker.phase = phase
    return tracker


@pytest.mark.parametrize("name", LIFE)
def test_phases_follow_events(name: str) -> None:
    tracker = PhaseTracker()
    for event, expected in LIFE[name]:
        assert tracker.accepts(event)
        assert tracker.advance(event)
        assert tracker.phase is expected


@pytest.mark.parametrize("event", PhaseEvent)
def test_closed_phase_ignores_every_event(event: PhaseEvent) -> None:
    tracker = tracker_in(ConnectionPhase.CLOSED)
    assert not tracker.accepts(event)
    assert not tracker.advance(event)
    assert tracker.phase is ConnectionPhase.CLOSED


@pytest.mark.parametrize("phase", [phase for phase in ConnectionPhase if phase not in RECONNECTING])
def test_deadline_is_ignored_unless_reconnecting(phase: ConnectionPhase) -> None:
    assert not tracker_in(phase).accepts(PhaseEvent.TIMED_OUT)


def test_every_phase_can_be_left_and_reached() -> None:
    assert {phase for phase, _ in TRANSITIONS} == set(ConnectionPhase) - {ConnectionPhase.CLOSED}
    assert set(TRANSITIONS.values()) == set(ConnectionPhase) - {ConnectionPhase.NEW}
