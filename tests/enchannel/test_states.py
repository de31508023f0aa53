"""What is told beside the messages: link, state, errors."""

import asyncio
import gc
import logging
import threading

import pytest
import reactivex
from reactivex.scheduler.eventloop import AsyncIOScheduler
from reactivex.subject import BehaviorSubject

import enchannel as ec
from enchannel import (
    AnyMessage,
    ChannelReadOnly,
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
from enchannel.errors import EnchannelError
from enchannel.testing import Collector
from tests.rigs import DEADLINE
from tests.rigs.messages import busy, idle, printed, reply_to
from tests.rigs.scripted import ScriptedLifecycle, ScriptedLink, settle
from tests.rigs.threads import in_thread

FIRST, SECOND = ec.execute_request("1"), ec.execute_request("2")


def logged(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    return [(record.name, record.getMessage()) for record in caplog.records]


# How link and state are watched.


def test_link_and_state_are_behavior_subjects() -> None:
    with ScriptedLink().kernel() as kernel:
        assert isinstance(kernel.link, BehaviorSubject)
        assert isinstance(kernel.state, BehaviorSubject)


def test_a_kernel_that_is_not_open_yet_is_connecting() -> None:
    kernel = ScriptedLink().kernel()
    assert (kernel.link.value, kernel.state.value) == (LinkState.CONNECTING, KernelState.STARTING)
    kernel.close()


def test_an_open_kernel_is_connected_and_idle() -> None:
    with ScriptedLink().kernel() as kernel:
        assert (kernel.link.value, kernel.state.value) == (LinkState.CONNECTED, KernelState.IDLE)


def test_a_subscriber_gets_the_present_value_first() -> None:
    remote, link, state = ScriptedLink(), Collector[LinkState](), Collector[KernelState]()
    with remote.kernel() as kernel:
        remote.emit_event(LinkState.LOST)
        kernel.link.subscribe(link)
        remote.emit_event(LinkState.CONNECTED)
        remote.send(busy(FIRST))
        kernel.state.subscribe(state)
        remote.send(idle(FIRST))
    assert link.wait_for_end() == [LinkState.LOST, LinkState.CONNECTED, LinkState.CLOSED]
    assert state.wait_for_end() == [KernelState.BUSY, KernelState.IDLE]


def test_the_same_value_is_not_told_twice() -> None:
    remote, link = ScriptedLink(), Collector[LinkState]()
    with remote.kernel() as kernel:
        kernel.link.subscribe(link)
        remote.emit_event(LinkState.CONNECTED, LinkState.CONNECTED)
    assert link.wait_for_end() == [LinkState.CONNECTED, LinkState.CLOSED]


def test_who_watches_after_the_end_gets_the_last_value_and_the_completion() -> None:
    with ScriptedLink().kernel() as kernel:
        pass
    link, state = Collector[LinkState](), Collector[KernelState]()
    kernel.link.subscribe(link)
    kernel.state.subscribe(state)
    assert (link.wait_for_end(), state.wait_for_end()) == ([LinkState.CLOSED], [KernelState.IDLE])
    assert link.completed
    assert state.completed


def test_news_of_link_and_state_pass_by_the_output_that_waits() -> None:
    remote, order = ScriptedLink(), list[str]()
    inside, go_on = threading.Event(), threading.Event()

    def slow(message: AnyMessage) -> None:
        inside.set()
        go_on.wait(DEADLINE)
        order.append(message.content["text"])

    with remote.kernel() as kernel:
        kernel.iopub.subscribe(slow)
        kernel.link.subscribe(order.append)
        kernel.state.subscribe(order.append)
        settle(kernel)
        order.clear()
        remote.send(*(printed(str(number)) for number in range(100)))
        assert inside.wait(DEADLINE)
        remote.emit_event(LinkState.LOST, KernelState.DEAD)
        assert (kernel.link.value, kernel.state.value) == (LinkState.LOST, KernelState.DEAD)
        go_on.set()
    assert order[:3] == ["0", "lost", "dead"]
    assert len(order) == 103  # and closed


def test_a_subscriber_that_disposes_is_told_no_more() -> None:
    remote, link = ScriptedLink(), Collector[LinkState]()
    with remote.kernel() as kernel:
        subscription = kernel.link.subscribe(link)
        link.wait_for_count(1)
        subscription.dispose()
        remote.emit_event(LinkState.LOST)
    assert link.items == [LinkState.CONNECTED]


def test_who_subscribes_with_a_loop_that_is_closed_leaves_nothing() -> None:
    loop = asyncio.new_event_loop()
    loop.close()
    with ScriptedLink().kernel() as kernel:
        kernel.state.subscribe(Collector(), scheduler=AsyncIOScheduler(loop))
        assert kernel.state._fanout.sinks == ()


def test_users_cannot_say_how_link_and_kernel_are() -> None:
    with ScriptedLink().kernel() as kernel:
        with pytest.raises(ChannelReadOnly, match="kernel.link is read-only"):
            kernel.link.on_next(LinkState.LOST)
        with pytest.raises(ChannelReadOnly, match=r"kernel\.state"):
            kernel.state.on_next(KernelState.DEAD)
        assert (kernel.link.value, kernel.state.value) == (LinkState.CONNECTED, KernelState.IDLE)


def test_what_is_piped_into_a_state_does_not_end_it() -> None:
    remote, errors, state = ScriptedLink(), Collector[EnchannelError](), Collector[KernelState]()
    with remote.kernel() as kernel:
        kernel.errors.subscribe(errors)
        kernel.state.subscribe(state)
        reactivex.empty().subscribe(kernel.state)
        reactivex.throw(ZeroDivisionError()).subscribe(kernel.state)
        remote.send(busy(FIRST))
    assert state.wait_for_end() == [KernelState.IDLE, KernelState.BUSY]
    assert [type(error.__cause__) for error in errors.wait_for_end()] == [ZeroDivisionError]


def test_disposing_of_a_state_ends_its_subscriptions_only() -> None:
    remote, link, later = ScriptedLink(), Collector[LinkState](), Collector[LinkState]()
    with remote.kernel() as kernel:
        kernel.link.subscribe(link)
        kernel.link.dispose()
        kernel.link.subscribe(later)
        remote.emit_event(LinkState.LOST)
    assert later.wait_for_end() == [LinkState.CONNECTED, LinkState.LOST, LinkState.CLOSED]
    assert link.items == [LinkState.CONNECTED]


# What makes a kernel busy.


def states_after(*messages: AnyMessage) -> list[KernelState]:
    remote, state = ScriptedLink(), Collector[KernelState]()
    with remote.kernel() as kernel:
        kernel.state.subscribe(state)
        remote.send(*messages)
    return state.wait_for_end()[1:]


BUSY, IDLE = KernelState.BUSY, KernelState.IDLE


def test_a_kernel_is_busy_from_busy_to_idle() -> None:
    assert states_after(busy(FIRST), printed("woo", FIRST), idle(FIRST)) == [BUSY, IDLE]


def test_a_kernel_is_busy_as_long_as_any_request_is_worked_on() -> None:
    """Subshells work beside each other, and control beside them: their words interleave."""
    interleaved = (busy(FIRST), busy(SECOND), idle(FIRST))
    assert states_after(*interleaved) == [BUSY]
    assert states_after(*interleaved, idle(SECOND)) == [BUSY, IDLE]


def test_requests_of_other_clients_make_a_kernel_busy_as_well() -> None:
    stranger = ec.execute_request("1").replace(header=ec.Header(msg_id="x", session="stranger"))
    assert states_after(busy(stranger), idle(stranger)) == [BUSY, IDLE]


def test_a_status_without_a_parent_counts() -> None:
    assert states_after(busy(None), idle(None)) == [BUSY, IDLE]


def test_an_idle_that_was_not_busy_changes_nothing() -> None:
    """As when we connect in the middle of somebody's request."""
    assert states_after(busy(FIRST), idle(SECOND)) == [BUSY]


def test_starting_means_that_it_is_up() -> None:
    assert states_after(busy(FIRST), build.status("starting", parent=None)) == [BUSY, IDLE]


@pytest.mark.parametrize("said", ["restarting", "dead"])
def test_what_a_server_says_of_the_kernel_is_believed(said: str) -> None:
    told = states_after(busy(FIRST), build.status(said, parent=None))
    assert told == [BUSY, KernelState(said)]


def test_a_kernel_that_restarted_works_on_nothing_from_before() -> None:
    restarting = build.status("restarting", parent=None)
    told = states_after(busy(FIRST), restarting, busy(SECOND), idle(SECOND))
    assert told == [BUSY, KernelState.RESTARTING, BUSY, IDLE]


@pytest.mark.parametrize("state", ["terminating", "unknown", "", None, 3, ["busy"]])
def test_a_word_that_nobody_knows_changes_nothing(state: object) -> None:
    odd = ec.create_message("status", {"execution_state": state}, channel="iopub", parent=FIRST)
    assert states_after(odd) == []


def test_a_status_that_does_not_come_on_iopub_changes_nothing() -> None:
    assert states_after(busy(FIRST).replace(channel="shell")) == []


def test_what_only_the_backend_can_know_is_a_state() -> None:
    remote, state = ScriptedLink(), Collector[KernelState]()
    with remote.kernel() as kernel:
        kernel.state.subscribe(state)
        remote.send(busy(FIRST))
        remote.emit_event(KernelState.RESTARTING, KernelState.STARTING)
        remote.send(idle(SECOND))
    assert state.wait_for_end()[1:] == [BUSY, KernelState.RESTARTING, KernelState.STARTING, IDLE]


def test_a_request_whose_idle_was_lost_does_not_keep_the_kernel_busy() -> None:
    remote = ScriptedLink()
    with remote.kernel() as kernel:
        kernel.errors.subscribe(lambda _: None)
        kernel.execute("6 * 7").subscribe()
        remote.send(busy(remote.last_request), reply_to(remote.last_request))
        remote.clock.advance_by(3)
        assert kernel.state.value is IDLE


@pytest.mark.parametrize("end", [KernelDied("killed"), ConnectionLost("cut")])
def test_what_will_not_be_answered_does_not_keep_the_kernel_busy(end: EnchannelError) -> None:
    remote = ScriptedLink()
    with remote.kernel() as kernel:
        kernel.errors.subscribe(lambda _: None)
        remote.send(busy(FIRST))
        remote.emit_event(LinkState.LOST, end, LinkState.CONNECTED)
        remote.send(busy(SECOND), idle(SECOND))
        assert kernel.state.value is IDLE


# Errors.


def test_what_goes_wrong_at_the_backend_is_an_error() -> None:
    remote, errors = ScriptedLink(), Collector[EnchannelError]()
    told = [InvalidSignature("a stranger"), MalformedFrame("three frames")]
    with remote.kernel() as kernel:
        kernel.errors.subscribe(errors)
        remote.emit_event(*told)
    assert errors.wait_for_end() == told


def test_errors_end_with_the_connection_and_not_before() -> None:
    remote, errors = ScriptedLink(), Collector[EnchannelError]()
    with remote.kernel() as kernel:
        kernel.errors.subscribe(errors)
        remote.emit_event(LinkState.LOST, KernelDied("killed"))
        remote.emit_event(MalformedFrame("after it"))
        errors.wait_for_count(2)
        assert not errors.ended
    errors.wait_for_end()
    assert errors.completed


def test_who_comes_late_hears_the_last_hundred_errors() -> None:
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


def test_who_comes_after_the_end_hears_the_errors_too() -> None:
    remote, late = ScriptedLink(), Collector[EnchannelError]()
    with remote.kernel() as kernel:
        kernel.errors.subscribe(lambda _: None)
        remote.emit_event(MalformedFrame("early"))
    kernel.errors.subscribe(late)
    assert [str(error) for error in late.wait_for_end()] == ["early"]


def test_errors_pass_by_the_output_that_waits() -> None:
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


def test_an_error_that_is_not_ours_is_wrapped() -> None:
    with ScriptedLink().kernel() as kernel:
        errors, wrong = Collector[EnchannelError](), ZeroDivisionError("oh")
        kernel.errors.subscribe(errors)
        reactivex.throw(wrong).subscribe(kernel.shell)
        (error,) = errors.wait_for_count(1)
    assert type(error) is EnchannelError
    assert str(error) == "ZeroDivisionError: oh"
    assert error.__cause__ is wrong


def test_what_nobody_hears_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    remote = ScriptedLink()
    with remote.kernel():
        remote.emit_event(MalformedFrame("three frames"))
    assert logged(caplog) == [("enchannel", "three frames")]


def test_what_somebody_hears_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    remote = ScriptedLink()
    with remote.kernel() as kernel:
        kernel.errors.subscribe(lambda _: None)
        remote.emit_event(MalformedFrame("three frames"))
    assert logged(caplog) == []


def test_a_subscriber_that_raises_is_logged_with_its_traceback(
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


def test_a_subscriber_of_errors_that_raises_is_logged(caplog: pytest.LogCaptureFixture) -> None:
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


def test_a_request_that_fails_with_nobody_to_handle_it_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    remote = ScriptedLink()
    with remote.kernel() as kernel:
        kernel.kernel_info(timeout=5).subscribe(lambda _: None)
        remote.clock.advance_by(6)
        settle(kernel)
    (text,) = [text for _, text in logged(caplog)]
    assert "kernel_info_request" in text


def test_an_interrupt_of_ours_that_fails_is_told() -> None:
    """Nobody has the observable of an interrupt that the library made by itself."""
    remote, errors = ScriptedLink(), Collector[EnchannelError]()
    with remote.kernel() as kernel:
        kernel.errors.subscribe(errors)
        kernel.execute("1", on_dispose="interrupt").subscribe().dispose()
        running = kernel.execute("2", on_dispose="interrupt").subscribe()
        remote.send(busy(remote.last_request))
        running.dispose()
        assert [m.header.msg_type for m in remote.received[ec.ChannelName.CONTROL]] == [
            "interrupt_request"
        ]
        remote.clock.advance_by(30)
        (error,) = errors.wait_for_count(1)
    assert "interrupt" in str(error)


def test_an_interrupt_of_ours_that_cannot_be_made_is_told() -> None:
    remote, errors = ScriptedLink(lifecycle=ScriptedLifecycle()), Collector[EnchannelError]()
    refusal = NotSupported("this process takes no signals")

    def refuse(name: str) -> None:
        if name == "interrupt":
            raise refusal

    assert remote.lifecycle is not None
    remote.lifecycle.on_call = refuse
    with remote.kernel() as kernel:
        kernel.errors.subscribe(errors)
        running = kernel.execute("1", on_dispose="interrupt").subscribe()
        remote.send(busy(remote.last_request))
        running.dispose()
    assert errors.wait_for_end() == [refusal]


def test_the_death_of_a_kernel_is_told() -> None:
    remote, errors, died = (
        ScriptedLink(),
        Collector[EnchannelError](),
        KernelDied("killed", exit_code=-9),
    )
    with remote.kernel() as kernel:
        kernel.errors.subscribe(errors)
        remote.emit_event(died)
    assert errors.wait_for_end() == [died]


def test_why_a_link_was_given_up_is_told_on_every_channel() -> None:
    remote, gone = ScriptedLink(), ConnectionLost("for good")
    seen = [Collector[AnyMessage]() for _ in range(5)]
    with remote.kernel() as kernel:
        channels = (kernel.shell, kernel.control, kernel.stdin, kernel.iopub, kernel.main)
        for channel, one in zip(channels, seen, strict=True):
            channel.subscribe(one)
        remote.fail(gone)
        assert [one.wait_for_error() for one in seen] == [gone] * 5
        assert kernel.link.value is LinkState.CLOSED


def test_why_a_link_was_given_up_is_told_where_nobody_listens() -> None:
    remote, late, gone = ScriptedLink(), Collector[EnchannelError](), ConnectionLost("for good")
    with remote.kernel() as kernel:
        remote.fail(gone)
        kernel.errors.subscribe(late)
        assert late.wait_for_end() == [gone]


def test_watching_from_another_thread_is_the_same() -> None:
    remote, state = ScriptedLink(), Collector[KernelState]()
    with remote.kernel() as kernel:
        in_thread(lambda: kernel.state.subscribe(state))
        in_thread(lambda: remote.send(busy(FIRST)))
    assert state.wait_for_end() == [IDLE, BUSY]


def test_a_kernel_that_was_dropped_leaves_nothing(caplog: pytest.LogCaptureFixture) -> None:
    kernel = ScriptedLink().kernel()
    del kernel
    gc.collect()
    assert logged(caplog) == []


def test_raised_by_a_subscriber_of_state_is_an_error() -> None:
    remote, errors = ScriptedLink(), Collector[EnchannelError]()

    def on_next(state: KernelState) -> None:
        raise ZeroDivisionError("oh")

    with remote.kernel() as kernel:
        kernel.errors.subscribe(errors)
        kernel.state.subscribe(on_next)
        (error,) = errors.wait_for_count(1)
    assert isinstance(error, SubscriberRaised)
    assert error.item is IDLE
