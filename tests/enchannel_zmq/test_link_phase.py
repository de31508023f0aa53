"""The table of a link's phases."""

import pytest

from enchannel_zmq._link_phase import TRANSITIONS, LinkPhase, PhaseEvent, PhaseTracker

LIFE = {
    "opened and closed": [
        (PhaseEvent.OPENED, LinkPhase.CONNECTING),
        (PhaseEvent.PROVEN, LinkPhase.READY),
        (PhaseEvent.CLOSED, LinkPhase.CLOSED),
    ],
    "a socket is lost and restored": [
        (PhaseEvent.OPENED, LinkPhase.CONNECTING),
        (PhaseEvent.PROVEN, LinkPhase.READY),
        (PhaseEvent.SOME_LOST, LinkPhase.PARTIAL),
        (PhaseEvent.PROVEN, LinkPhase.READY),
    ],
    "sockets are lost one after the other": [
        (PhaseEvent.OPENED, LinkPhase.CONNECTING),
        (PhaseEvent.PROVEN, LinkPhase.READY),
        (PhaseEvent.SOME_LOST, LinkPhase.PARTIAL),
        (PhaseEvent.ALL_LOST, LinkPhase.RECONNECTING),
        (PhaseEvent.TIMED_OUT, LinkPhase.GIVEN_UP),
    ],
    "the process outlives its sockets": [
        (PhaseEvent.OPENED, LinkPhase.CONNECTING),
        (PhaseEvent.PROVEN, LinkPhase.READY),
        (PhaseEvent.ALL_LOST, LinkPhase.RECONNECTING),
        (PhaseEvent.DIED, LinkPhase.SUSPENDED),
    ],
    "restarted": [
        (PhaseEvent.OPENED, LinkPhase.CONNECTING),
        (PhaseEvent.PROVEN, LinkPhase.READY),
        (PhaseEvent.SUSPENDED, LinkPhase.SUSPENDED),
        (PhaseEvent.OPENED, LinkPhase.CONNECTING),
        (PhaseEvent.PROVEN, LinkPhase.READY),
    ],
}

RECONNECTING = {LinkPhase.PARTIAL, LinkPhase.RECONNECTING}


def tracker_in(phase: LinkPhase) -> PhaseTracker:
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
    tracker = tracker_in(LinkPhase.CLOSED)
    assert not tracker.accepts(event)
    assert not tracker.advance(event)
    assert tracker.phase is LinkPhase.CLOSED


@pytest.mark.parametrize("phase", [phase for phase in LinkPhase if phase not in RECONNECTING])
def test_deadline_is_ignored_unless_reconnecting(phase: LinkPhase) -> None:
    assert not tracker_in(phase).accepts(PhaseEvent.TIMED_OUT)


def test_every_phase_can_be_left_and_reached() -> None:
    assert {phase for phase, _ in TRANSITIONS} == set(LinkPhase) - {LinkPhase.CLOSED}
    assert set(TRANSITIONS.values()) == set(LinkPhase) - {LinkPhase.NEW}
