"""The table of a link's phases."""

import pytest

from enchannel_zmq._link_phase import TRANSITIONS, LinkPhase, PhaseEvent, next_phase

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


@pytest.mark.parametrize("name", LIFE)
def test_phases_follow_events(name: str) -> None:
    phase: LinkPhase | None = LinkPhase.NEW
    for event, expected in LIFE[name]:
        assert phase is not None
        phase = next_phase(phase, event)
        assert phase is expected


@pytest.mark.parametrize("event", PhaseEvent)
def test_closed_phase_ignores_every_event(event: PhaseEvent) -> None:
    assert next_phase(LinkPhase.CLOSED, event) is None


@pytest.mark.parametrize("phase", set(LinkPhase) - RECONNECTING)
def test_deadline_is_ignored_unless_reconnecting(phase: LinkPhase) -> None:
    assert next_phase(phase, PhaseEvent.TIMED_OUT) is None


def test_every_phase_can_be_left_and_reached() -> None:
    assert {phase for phase, _ in TRANSITIONS} == set(LinkPhase) - {LinkPhase.CLOSED}
    assert set(TRANSITIONS.values()) == set(LinkPhase) - {LinkPhase.NEW}
