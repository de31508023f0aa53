"""kernel.link_state, kernel.state and kernel.errors."""

import asyncio
import gc
import logging
import threading
from pathlib import Path

import pytest
import reactivex
from reactivex import Observable
from reactivex.abc import ObserverBase
from reactivex.scheduler.eventloop import AsyncIOScheduler
from reactivex.subject import Subject

import enchannel as ec
from enchannel import (
    AnyMessage,
    ConnectionLost,
    InvalidSignature,
    KernelDied,
    KernelState,
    LinkState,
    MalformedFrame,
    NotSupported,
    SubscriberRaised,
)
from enchannel import messages as build
from enchannel._rx.sink import CallbackSink, attach
from enchannel.errors import EnchannelError
from enchannel.testing import Collector
from tests.rigs import DEADLINE
from tests.rigs.messages import answered, busy, idle, printed, reply_to, started
from tests.rigs.scripted import ScriptedLifecycle, ScriptedLink, settle
from tests.rigs.threads import in_thread

FIRST, SECOND = ec.execute_request("1"), ec.execute_request("2")


def logged(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    return [(record.name, record.getMessage()) for record in caplog.records]


# The state subjects.


def test_states_are_no_subjects() -> None:
    with ScriptedLink().kernel() as kernel:
        for state in (kernel.link_state, kernel.state):
            assert isinstance(state, ec.State)
            assert isinstance(state, Observable)
            assert not isinstance(state, ObserverBase | Subject)


def test_unopened_kernel_is_connecting() -> None:
    kernel = ScriptedLink().kernel()
    assert (kernel.link_state.value, kernel.state.value) == (
        LinkState.CONNECTING,
        KernelState.STARTING,
    )
    kernel.close()


def test_open_kernel_is_connected_and_idle() -> None:
    with ScriptedLink().kernel() as kernel:
        assert (kernel.link_state.value, kernel.state.value) == (
            LinkState.CONNECTED,
            KernelState.IDLE,
        )


def test_subscriber_gets_current_value_first() -> None:
    remote, link, state = ScriptedLink(), Collector[LinkState](), Collector[KernelState]()
    with remote.kernel() as kernel:
        remote.emit_event(LinkState.LOST)
        kernel.link_state.subscribe(link)
        remote.emit_event(LinkState.CONNECTED)
        remote.send(busy(FIRST))
        kernel.state.subscribe(state)
        remote.send(idle(FIRST))
    assert link.wait_for_end() == [LinkState.LOST, LinkState.CONNECTED, LinkState.CLOSED]
    assert state.wait_for_end() == [KernelState.BUSY, KernelState.IDLE]


def test_unchanged_value_is_not_emitted() -> None:
    remote, link = ScriptedLink(), Collector[LinkState]()
    with remote.kernel() as kernel:
        kernel.link_state.subscribe(link)
        remote.emit_event(LinkState.CONNECTED, LinkState.CONNECTED)
    assert link.wait_for_end() == [LinkState.CONNECTED, LinkState.CLOSED]


def test_late_subscriber_gets_last_value() -> None:
    with ScriptedLink().kernel() as kernel:
        pass
    link, state = Collector[LinkState](), Collector[KernelState]()
    kernel.link_state.subscribe(link)
    kernel.state.subscribe(state)
    assert (link.wait_for_end(), state.wait_for_end()) == ([LinkState.CLOSED], [KernelState.IDLE])
    assert link.completed
    assert state.completed


def test_state_changes_overtake_output() -> None:
    remote, order = ScriptedLink(), list[str]()
    inside, go_on = threading.Event(), threading.Event()

    def slow(message: AnyMessage) -> None:
        inside.set()
        go_on.wait(DEADLINE)
        order.append(message.content["text"])

    with remote.kernel() as kernel:
        kernel.iopub.subscribe(slow)
        kernel.link_state.subscribe(order.append)
        kernel.state.subscribe(order.append)
        settle(kernel)
        order.clear()
        remote.send(*(printed(str(number)) for number in range(100)))
        assert inside.wait(DEADLINE)
        remote.emit_event(LinkState.LOST, KernelState.DEAD)
        assert (kernel.link_state.value, kernel.state.value) == (LinkState.LOST, KernelState.DEAD)
        go_on.set()
    assert order[:3] == ["0", "lost", "dead"]
    assert len(order) == 103


def test_disposed_state_subscriber_gets_no_more() -> None:
    remote, link = ScriptedLink(), Collector[LinkState]()
    with remote.kernel() as kernel:
        subscription = kernel.link_state.subscribe(link)
        link.wait_for_count(1)
        subscription.dispose()
        remote.emit_event(LinkState.LOST)
    assert link.items == [LinkState.CONNECTED]


def test_subscribe_on_closed_loop_leaves_nothing() -> None:
    loop = asyncio.new_event_loop()
    loop.close()
    with ScriptedLink().kernel() as kernel:
        kernel.state.subscribe(Collector(), scheduler=AsyncIOScheduler(loop))
        assert kernel.state._fanout.sinks == ()


@pytest.mark.parametrize("name", ["on_next", "on_error", "on_completed", "dispose"])
def test_states_are_read_only(name: str) -> None:
    with ScriptedLink().kernel() as kernel:
        for state in (kernel.link_state, kernel.state):
            assert not hasattr(state, name)
            with pytest.raises(AttributeError, match="value"):
                state.value = state.value  # type: ignore[misc]
        assert kernel.link_state.value is LinkState.CONNECTED
        assert kernel.state.value is KernelState.IDLE


# Busy and idle.


def states_after(*messages: AnyMessage) -> list[KernelState]:
    remote, state = ScriptedLink(), Collector[KernelState]()
    with remote.kernel() as kernel:
        kernel.state.subscribe(state)
        remote.send(*messages)
    return state.wait_for_end()[1:]


BUSY, IDLE = KernelState.BUSY, KernelState.IDLE


def test_state_is_busy_until_idle() -> None:
    assert states_after(busy(FIRST), printed("woo", FIRST), idle(FIRST)) == [BUSY, IDLE]


def test_state_is_busy_until_all_are_idle() -> None:
    """Subshells and control work in parallel, so their statuses interleave."""
    interleaved = (busy(FIRST), busy(SECOND), idle(FIRST))
    assert states_after(*interleaved) == [BUSY]
    assert states_after(*interleaved, idle(SECOND)) == [BUSY, IDLE]


def test_state_is_busy_for_other_clients() -> None:
    stranger = ec.execute_request("1").replace(header=ec.Header(msg_id="x", session="stranger"))
    assert states_after(busy(stranger), idle(stranger)) == [BUSY, IDLE]


def test_status_without_parent_counts() -> None:
    assert states_after(busy(None), idle(None)) == [BUSY, IDLE]


def test_idle_without_busy_is_ignored() -> None:
    """The client connected while another client's request was running."""
    assert states_after(busy(FIRST), idle(SECOND)) == [BUSY]


def test_starting_kernel_is_idle() -> None:
    assert states_after(busy(FIRST), build.status("starting", parent=None)) == [BUSY, IDLE]


@pytest.mark.parametrize("execution_state", ["restarting", "dead"])
def test_states_from_server_are_used(execution_state: str) -> None:
    emitted = states_after(busy(FIRST), build.status(execution_state, parent=None))
    assert emitted == [BUSY, KernelState(execution_state)]


def test_restarted_kernel_is_not_busy() -> None:
    restarting = build.status("restarting", parent=None)
    emitted = states_after(busy(FIRST), restarting, busy(SECOND), idle(SECOND))
    assert emitted == [BUSY, KernelState.RESTARTING, BUSY, IDLE]


@pytest.mark.parametrize("state", ["terminating", "unknown", "", None, 3, ["busy"]])
def test_unknown_execution_state_is_ignored(state: object) -> None:
    odd = ec.create_message("status", {"execution_state": state}, channel="iopub", parent=FIRST)
    assert states_after(odd) == []


def test_status_on_other_channel_is_ignored() -> None:
    assert states_after(busy(FIRST).replace(channel="shell")) == []


def test_states_of_backend_are_published() -> None:
    remote, state = ScriptedLink(), Collector[KernelState]()
    with remote.kernel() as kernel:
        kernel.state.subscribe(state)
        remote.send(busy(FIRST))
        remote.emit_event(KernelState.RESTARTING, KernelState.STARTING)
        remote.send(idle(SECOND))
    assert state.wait_for_end()[1:] == [BUSY, KernelState.RESTARTING, KernelState.STARTING, IDLE]


def test_lost_idle_does_not_keep_busy() -> None:
    remote = ScriptedLink()
    with remote.kernel() as kernel:
        kernel.errors.subscribe(lambda _: None)
        kernel.execute("6 * 7").subscribe()
        remote.send(busy(remote.last_request), reply_to(remote.last_request))
        remote.clock.advance_by(5)
        assert kernel.state.value is IDLE


@pytest.mark.parametrize("end", [KernelDied("killed"), ConnectionLost("cut")])
def test_lost_requests_do_not_keep_busy(end: EnchannelError) -> None:
    remote = ScriptedLink()
    with remote.kernel() as kernel:
        kernel.errors.subscribe(lambda _: None)
        remote.send(busy(FIRST))
        remote.emit_event(LinkState.LOST, end, LinkState.CONNECTED)
        remote.send(busy(SECOND), idle(SECOND))
        assert kernel.state.value is IDLE


# The state at the end of a request. The functions are called on the thread on which the message arrives.


def test_request_ends_in_idle_kernel() -> None:
    remote, states = ScriptedLink(), list[KernelState]()
    with remote.kernel() as kernel:
        attach(
            kernel.execute("1"),
            CallbackSink(on_completed=lambda: states.append(kernel.state.value)),
        )
        remote.send(busy(remote.last_request), reply_to(remote.last_request))
        assert kernel.state.value is BUSY
        remote.send(idle(remote.last_request))
    assert states == [IDLE]


def test_request_dies_in_dead_kernel() -> None:
    """Also if the backend reports the state later, or never."""
    remote, states = ScriptedLink(), list[KernelState]()
    with remote.kernel() as kernel:
        kernel.errors.subscribe(lambda _: None)
        attach(
            kernel.execute("1"), CallbackSink(on_error=lambda _: states.append(kernel.state.value))
        )
        remote.send(busy(remote.last_request))
        remote.emit_event(LinkState.LOST, KernelDied("killed"))
    assert states == [KernelState.DEAD]


def test_recording_of_death_contains_dead(tmp_path: Path) -> None:
    remote, path = ScriptedLink(), tmp_path / "death.enchannel"
    with remote.kernel() as kernel:
        kernel.errors.subscribe(lambda _: None)
        with ec.record(kernel, path):
            request = Collector(kernel.execute("1"))
            remote.send(busy(remote.last_request))
            remote.emit_event(LinkState.LOST, KernelDied("killed"))
            request.wait_for_error()
    events = [item.event for item in ec.Recording(path) if isinstance(item, ec.RecordedEvent)]
    dead, error = events[-2:]
    assert dead is KernelState.DEAD
    assert isinstance(error, KernelDied)


# Errors.


def test_error_of_backend_is_reported() -> None:
    remote, errors = ScriptedLink(), Collector[EnchannelError]()
    emitted = [InvalidSignature("a stranger"), MalformedFrame("three frames")]
    with remote.kernel() as kernel:
        kernel.errors.subscribe(errors)
        remote.emit_event(*emitted)
    assert errors.wait_for_end() == emitted


def test_errors_complete_with_connection() -> None:
    remote, errors = ScriptedLink(), Collector[EnchannelError]()
    with remote.kernel() as kernel:
        kernel.errors.subscribe(errors)
        remote.emit_event(LinkState.LOST, KernelDied("killed"))
        remote.emit_event(MalformedFrame("after it"))
        errors.wait_for_count(2)
        assert not errors.ended
    errors.wait_for_end()
    assert errors.completed


def test_late_subscriber_gets_last_100_errors() -> None:
    remote, first, late = ScriptedLink(), Collector[EnchannelError](), Collector[EnchannelError]()
    with remote.kernel() as kernel:
        kernel.errors.subscribe(first)
        remote.emit_event(*(MalformedFrame(str(number)) for number in range(150)))
        kernel.errors.subscribe(late)
        remote.emit_event(MalformedFrame("150"))
    assert [str(error) for error in late.wait_for_end()] == [
        str(number) for number in range(50, 151)
    ]
    assert len(first.wait_for_end()) == 151


def test_errors_are_replayed_after_close() -> None:
    remote, late = ScriptedLink(), Collector[EnchannelError]()
    with remote.kernel() as kernel:
        kernel.errors.subscribe(lambda _: None)
        remote.emit_event(MalformedFrame("early"))
    kernel.errors.subscribe(late)
    assert [str(error) for error in late.wait_for_end()] == ["early"]


def test_errors_overtake_output() -> None:
    remote, order = ScriptedLink(), list[str]()
    inside, go_on = threading.Event(), threading.Event()

    def slow(message: AnyMessage) -> None:
        inside.set()
        go_on.wait(DEADLINE)
        order.append(message.content["text"])

    with remote.kernel() as kernel:
        kernel.iopub.subscribe(slow)
        kernel.errors.subscribe(lambda error: order.append(str(error)))
        remote.send(*(printed(str(number)) for number in range(3)))
        assert inside.wait(DEADLINE)
        remote.emit_event(MalformedFrame("error"))
        go_on.set()
    assert order == ["0", "error", "1", "2"]


def test_foreign_error_is_wrapped() -> None:
    with ScriptedLink().kernel() as kernel:
        errors, wrong = Collector[EnchannelError](), ZeroDivisionError("oh")
        kernel.errors.subscribe(errors)
        reactivex.throw(wrong).subscribe(kernel.shell)
        (error,) = errors.wait_for_count(1)
    assert type(error) is EnchannelError
    assert str(error) == "ZeroDivisionError: oh"
    assert error.__cause__ is wrong


def test_unobserved_error_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    remote = ScriptedLink()
    with remote.kernel():
        remote.emit_event(MalformedFrame("three frames"))
    assert logged(caplog) == [("enchannel", "three frames")]


def test_observed_error_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    remote = ScriptedLink()
    with remote.kernel() as kernel:
        kernel.errors.subscribe(lambda _: None)
        remote.emit_event(MalformedFrame("three frames"))
    assert logged(caplog) == []


def test_raising_subscriber_logs_traceback(
    caplog: pytest.LogCaptureFixture,
) -> None:
    remote, wrong = ScriptedLink(), ZeroDivisionError("oh")

    def on_next(_: object) -> None:
        raise wrong

    with remote.kernel() as kernel:
        kernel.iopub.subscribe(on_next)
        remote.send(printed("woo"))
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.exc_info is not None
    assert record.exc_info[1] is wrong


def test_raising_subscriber_of_errors_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    remote, others = ScriptedLink(), Collector[EnchannelError]()

    def on_next(_: object) -> None:
        raise ZeroDivisionError("oh")

    with remote.kernel() as kernel:
        kernel.errors.subscribe(on_next)
        kernel.errors.subscribe(others)
        remote.emit_event(MalformedFrame("1"), MalformedFrame("2"))
        settle(kernel)
    assert [str(error) for error in others.wait_for_end()] == ["1", "2"]
    (text,) = [text for _, text in logged(caplog)]
    assert text.startswith("a subscriber of kernel.errors raised ZeroDivisionError: oh")


DEATHS = [KernelDied("kernel ada died"), ConnectionLost("the connection was lost")]


@pytest.mark.parametrize("death", DEATHS)
def test_handled_death_is_not_logged(
    caplog: pytest.LogCaptureFixture, death: EnchannelError
) -> None:
    remote = ScriptedLink()
    with remote.kernel() as kernel:
        requests = [Collector(kernel.execute("1")), Collector(kernel.kernel_info())]
        remote.emit_event(death)
        for request in requests:
            assert request.wait_for_error() is death
        settle(kernel)
        assert logged(caplog) == []
        assert Collector(kernel.errors).wait_for_count(1) == [death]


@pytest.mark.parametrize("death", DEATHS)
def test_death_that_run_raises_is_not_logged(
    caplog: pytest.LogCaptureFixture, death: EnchannelError
) -> None:
    remote = ScriptedLink()
    remote.handler = lambda _: remote.emit_event(death)
    with remote.kernel() as kernel, pytest.raises(type(death)):
        kernel.run("1")
    assert logged(caplog) == []


def test_handled_output_missing_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    remote = ScriptedLink()
    with remote.kernel() as kernel:
        first = Collector(kernel.execute("0"))
        remote.send(*answered(remote.last_request))
        first.wait_for_end()
        seen = Collector(kernel.execute("1"))
        asked = remote.last_request
        remote.send(busy(asked), reply_to(asked))
        remote.clock.advance_by(100)
        assert isinstance(seen.wait_for_error(), ec.OutputMissing)
        settle(kernel)
        assert logged(caplog) == []


def test_comm_that_handles_death_logs_nothing(caplog: pytest.LogCaptureFixture) -> None:
    remote, death = ScriptedLink(), KernelDied("kernel ada died")
    with remote.kernel() as kernel:
        comm = Collector(kernel.comm("target"))
        remote.emit_event(death)
        assert comm.wait_for_error() is death
    assert logged(caplog) == []


def test_unhandled_death_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    remote, death = ScriptedLink(), KernelDied("kernel ada died")
    with remote.kernel() as kernel:
        handled = Collector(kernel.execute("1"))
        for _ in range(2):
            kernel.execute("1").subscribe(lambda _: None)
        remote.emit_event(death)
        handled.wait_for_error()
        settle(kernel)
    assert logged(caplog) == [("enchannel", "kernel ada died")]


def test_death_of_idle_kernel_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    remote = ScriptedLink(idle_is_last=False)
    with remote.kernel():
        remote.emit_event(KernelDied("kernel ada died"))
    assert logged(caplog) == [("enchannel", "kernel ada died")]


def test_failed_link_is_logged_unless_handled(caplog: pytest.LogCaptureFixture) -> None:
    why = ConnectionLost("the connection was lost")
    for handler in (lambda _: None, None):
        remote = ScriptedLink()
        with remote.kernel() as kernel:
            kernel.iopub.subscribe(lambda _: None, handler)
            remote.fail(why)
            kernel.close()
        expected = [] if handler else [("enchannel", "the connection was lost")]
        assert logged(caplog) == expected


def test_unhandled_request_error_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    remote = ScriptedLink()
    with remote.kernel() as kernel:
        kernel.kernel_info(timeout=5).subscribe(lambda _: None)
        remote.clock.advance_by(6)
        settle(kernel)
    (text,) = [text for _, text in logged(caplog)]
    assert "kernel_info_request" in text


def test_failed_automatic_interrupt_is_reported() -> None:
    """No caller holds the completion of an interrupt that the library makes itself."""
    remote, errors = ScriptedLink(), Collector[EnchannelError]()
    with remote.kernel() as kernel:
        kernel.errors.subscribe(errors)
        kernel.execute("1", interrupt_if_abandoned=True).subscribe().dispose()
        running = kernel.execute("2", interrupt_if_abandoned=True).subscribe()
        remote.send(busy(remote.last_request), started(remote.last_request))
        running.dispose()
        assert [m.header.msg_type for m in remote.received[ec.ChannelName.CONTROL]] == [
            "interrupt_request"
        ]
        remote.clock.advance_by(30)
        (error,) = errors.wait_for_count(1)
    assert "interrupt" in str(error)


def test_raising_automatic_interrupt_is_reported() -> None:
    remote, errors = ScriptedLink(lifecycle=ScriptedLifecycle()), Collector[EnchannelError]()
    refusal = NotSupported("this process takes no signals")

    def refuse(name: str) -> None:
        if name == "interrupt":
            raise refusal

    assert remote.lifecycle is not None
    remote.lifecycle.on_call = refuse
    with remote.kernel() as kernel:
        kernel.errors.subscribe(errors)
        running = kernel.execute("1", interrupt_if_abandoned=True).subscribe()
        remote.send(busy(remote.last_request), started(remote.last_request))
        running.dispose()
    assert errors.wait_for_end() == [refusal]


def test_death_of_kernel_is_reported() -> None:
    remote, errors, died = (
        ScriptedLink(),
        Collector[EnchannelError](),
        KernelDied("killed", exit_code=-9),
    )
    with remote.kernel() as kernel:
        kernel.errors.subscribe(errors)
        remote.emit_event(died)
    assert errors.wait_for_end() == [died]


def test_link_failure_fails_every_channel() -> None:
    remote, failure = ScriptedLink(), ConnectionLost("for good")
    seen = [Collector[AnyMessage]() for _ in range(5)]
    with remote.kernel() as kernel:
        channels = (kernel.shell, kernel.control, kernel.stdin, kernel.iopub, kernel.main)
        for channel, one in zip(channels, seen, strict=True):
            channel.subscribe(one)
        remote.fail(failure)
        assert [one.wait_for_error() for one in seen] == [failure] * 5
        assert kernel.link_state.value is LinkState.CLOSED


def test_link_failure_is_logged_if_unobserved() -> None:
    remote, late, failure = ScriptedLink(), Collector[EnchannelError](), ConnectionLost("for good")
    with remote.kernel() as kernel:
        remote.fail(failure)
        kernel.errors.subscribe(late)
        assert late.wait_for_end() == [failure]


def test_states_on_other_thread() -> None:
    remote, state = ScriptedLink(), Collector[KernelState]()
    with remote.kernel() as kernel:
        in_thread(lambda: kernel.state.subscribe(state))
        in_thread(lambda: remote.send(busy(FIRST)))
    assert state.wait_for_end() == [IDLE, BUSY]


def test_dropped_kernel_is_collected(caplog: pytest.LogCaptureFixture) -> None:
    kernel = ScriptedLink().kernel()
    del kernel
    gc.collect()
    assert logged(caplog) == []


def test_raising_subscriber_of_state_is_reported() -> None:
    remote, errors = ScriptedLink(), Collector[EnchannelError]()

    def on_next(state: KernelState) -> None:
        raise ZeroDivisionError("oh")

    with remote.kernel() as kernel:
        kernel.errors.subscribe(errors)
        kernel.state.subscribe(on_next)
        (error,) = errors.wait_for_count(1)
    assert isinstance(error, SubscriberRaised)
    assert error.item is IDLE
