"""The state of a kernel as a table: events, and the state after each."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import pytest

from enchannel._kernel.activity import KernelActivity
from enchannel.abc import KernelState

STARTING, IDLE, BUSY = KernelState.STARTING, KernelState.IDLE, KernelState.BUSY
RESTARTING, SILENT, DEAD = KernelState.RESTARTING, KernelState.SILENT, KernelState.DEAD

Event: TypeAlias = Callable[[KernelActivity], object]


# Events.


def opened(activity: KernelActivity) -> None:
    activity.on_open()


def status(execution_state: object, request_id: str = "a") -> Event:
    return lambda activity: activity.on_execution_state(request_id, execution_state)


def backend(state: KernelState) -> Event:
    return lambda activity: activity.on_backend_state(state)


def heartbeat(is_beating: bool, *, is_connected: bool = True) -> Event:
    return lambda activity: activity.on_heartbeat(is_beating, is_connected=is_connected)


def lost(activity: KernelActivity) -> None:
    activity.on_lost()


def died(activity: KernelActivity) -> None:
    activity.on_death()


def idle_missing(request_id: str = "a") -> Event:
    return lambda activity: activity.on_idle_missing(request_id)


def recovered(*in_flight: str) -> Event:
    return lambda activity: activity.on_recovered(in_flight)


busy, idle = status("busy"), status("idle")
missed, back = heartbeat(False), heartbeat(True)

TABLE: dict[str, list[tuple[Event, KernelState]]] = {
    "opened": [(opened, IDLE)],
    "request": [(opened, IDLE), (busy, BUSY), (idle, IDLE)],
    "two requests": [
        (opened, IDLE),
        (busy, BUSY),
        (status("busy", "b"), BUSY),
        (idle, BUSY),
        (status("idle", "b"), IDLE),
    ],
    "repeated statuses": [(opened, IDLE), (busy, BUSY), (busy, BUSY), (idle, IDLE), (idle, IDLE)],
    "unknown execution states": [(opened, IDLE), (status("woo"), IDLE), (status(None), IDLE)],
    "unhashable execution state": [(opened, IDLE), (busy, BUSY), (status(["idle"]), BUSY)],
    "kernel starts": [(opened, IDLE), (busy, BUSY), (status("starting", ""), IDLE)],
    "kernel restarts itself": [
        (opened, IDLE),
        (busy, BUSY),
        (status("restarting"), RESTARTING),
        (status("starting"), IDLE),
    ],
    "kernel dies": [(opened, IDLE), (busy, BUSY), (status("dead"), DEAD), (idle, IDLE)],
    "backend restarts": [
        (opened, IDLE),
        (busy, BUSY),
        (backend(RESTARTING), RESTARTING),
        (idle, RESTARTING),
        (busy, RESTARTING),
        (status("starting"), RESTARTING),
        (backend(IDLE), IDLE),
        (busy, BUSY),
    ],
    "restart fails": [(backend(RESTARTING), RESTARTING), (backend(DEAD), DEAD), (busy, BUSY)],
    "kernel dies in a restart": [(backend(RESTARTING), RESTARTING), (status("dead"), DEAD)],
    "backend starts": [(backend(STARTING), STARTING), (backend(IDLE), IDLE)],
    "dead kernel is not busy": [(busy, BUSY), (backend(DEAD), DEAD), (backend(IDLE), IDLE)],
    "idle of the backend": [(busy, BUSY), (backend(IDLE), IDLE), (idle, IDLE)],
    "death is reported before a state": [(busy, BUSY), (died, DEAD), (backend(DEAD), DEAD)],
    "death is reported in a restart": [(backend(RESTARTING), RESTARTING), (died, RESTARTING)],
    "death is reported as the kernel restarts": [
        (status("restarting"), RESTARTING),
        (died, RESTARTING),
    ],
    "death is reported, and a new process answers": [
        (busy, BUSY),
        (died, DEAD),
        (busy, BUSY),
        (idle, IDLE),
    ],
    "silent": [(opened, IDLE), (missed, SILENT), (back, IDLE)],
    "silent while busy": [(busy, BUSY), (missed, SILENT), (back, BUSY)],
    "silent sends idle": [(busy, BUSY), (missed, SILENT), (idle, IDLE), (back, IDLE)],
    "missed while lost": [(opened, IDLE), (heartbeat(False, is_connected=False), IDLE)],
    "missed while dead": [(backend(DEAD), DEAD), (missed, DEAD), (back, DEAD)],
    "missed in a restart": [(backend(RESTARTING), RESTARTING), (missed, RESTARTING)],
    "heartbeat goes on": [(busy, BUSY), (back, BUSY)],
    "lost while busy": [(busy, BUSY), (lost, BUSY), (recovered(), IDLE)],
    "lost while busy, then idle": [(busy, BUSY), (lost, BUSY), (status("idle", "b"), IDLE)],
    "idle is missing": [(busy, BUSY), (idle_missing(), IDLE)],
    "idle is missing, other runs": [
        (busy, BUSY),
        (status("busy", "b"), BUSY),
        (idle_missing(), BUSY),
        (idle_missing("b"), IDLE),
    ],
    "idle is missing while silent": [(busy, BUSY), (missed, SILENT), (idle_missing(), SILENT)],
    "recovered in flight": [(busy, BUSY), (recovered("a"), BUSY), (idle, IDLE)],
    "recovered without": [(busy, BUSY), (status("busy", "b"), BUSY), (recovered("b"), BUSY)],
    "recovered while dead": [(busy, BUSY), (backend(DEAD), DEAD), (recovered(), DEAD)],
}


@pytest.mark.parametrize("row", TABLE)
def test_activity_state_after_each_event(row: str) -> None:
    activity = KernelActivity(lambda state: None)
    for number, (event, state) in enumerate(TABLE[row]):
        event(activity)
        assert activity.state is state, f"event {number}"


@pytest.mark.parametrize("row", TABLE)
def test_activity_publishes_each_change_once(row: str) -> None:
    published = [STARTING]
    activity = KernelActivity(published.append)
    for event, _ in TABLE[row]:
        event(activity)
    assert published[-1] is activity.state
    assert all(old is not new for old, new in zip(published, published[1:], strict=False))


def test_activity_is_busy_until_all_are_idle() -> None:
    activity = KernelActivity(lambda state: None)
    for event, running in [
        (busy, {"a"}),
        (status("busy", "b"), {"a", "b"}),
        (idle, {"b"}),
        (status("idle", "b"), set()),
    ]:
        event(activity)
        assert {name for name in "ab" if activity.is_running(name)} == running
        assert activity.is_busy is bool(running)


@pytest.mark.parametrize(
    "event",
    [lost, status("starting"), status("restarting"), status("dead"), backend(RESTARTING)],
    ids=["lost", "starting", "restarting", "dead", "backend restarts"],
)
def test_activity_forgets_requests(event: Event) -> None:
    activity = KernelActivity(lambda state: None)
    busy(activity)
    event(activity)
    assert not activity.is_busy


def test_activity_heartbeat_returns_changes_only() -> None:
    activity = KernelActivity(lambda state: None)
    opened(activity)
    assert [event(activity) for event in (back, missed, missed, back)] == [None, SILENT, None, IDLE]


def test_activity_is_restarting_until_next_state() -> None:
    activity = KernelActivity(lambda state: None)
    seen = []
    for event in (status("restarting"), backend(RESTARTING), busy, backend(IDLE)):
        event(activity)
        seen.append(activity.is_restarting)
    assert seen == [False, True, True, False]


def test_requested_restart_changes_state_at_once() -> None:
    activity, states = KernelActivity(lambda state: states.append(state)), list[KernelState]()
    opened(activity)
    activity.on_restart_requested()
    busy(activity)
    backend(RESTARTING)(activity)
    backend(IDLE)(activity)
    activity.on_restart_ended(succeeded=True)
    assert states == [IDLE, RESTARTING, IDLE]


@pytest.mark.parametrize(("succeeded", "after"), [(True, IDLE), (False, DEAD)])
def test_unreported_restart_ends_with_its_request(succeeded: bool, after: KernelState) -> None:
    activity = KernelActivity(lambda state: None)
    backend(DEAD)(activity)
    activity.on_restart_requested()
    activity.on_restart_ended(succeeded=succeeded)
    assert activity.state is after
    assert not activity.is_restarting


def test_last_of_several_restarts_counts() -> None:
    activity, states = KernelActivity(lambda state: states.append(state)), list[KernelState]()
    opened(activity)
    for _ in range(2):
        activity.on_restart_requested()
    for _ in range(2):
        backend(RESTARTING)(activity)
        backend(IDLE)(activity)
        activity.on_restart_ended(succeeded=True)
    assert states == [IDLE, RESTARTING, IDLE]
