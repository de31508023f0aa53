"""Requests as cold observables, on_input, and run()."""

import asyncio
import inspect
import queue
import random
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import reactivex
from reactivex import Observable
from reactivex import operators as ops
from reactivex.scheduler.eventloop import AsyncIOScheduler
from reactivex.subject import Subject

import enchannel as ec
from enchannel import (
    AnyMessage,
    ChannelClosed,
    ChannelName,
    ConnectionLost,
    InvalidMessage,
    Kernel,
    KernelDied,
    KernelError,
    MessagesMayBeMissing,
    NotSupported,
    OutputMissing,
    RequestAborted,
    RequestFailed,
    RequestTimeout,
    Result,
    SubscriberRaised,
    WouldDeadlock,
)
from enchannel import messages as build
from enchannel._kernel.kernel import parts_of
from enchannel._rx.sink import CallbackSink
from enchannel._rx.waiting import Waiter
from enchannel.abc import LinkEvent
from enchannel.errors import EnchannelError, MessageNotForwarded
from enchannel.testing import Collector
from tests.rigs import DEADLINE, eventually
from tests.rigs.messages import answered, busy, idle, printed, reply_to, started, types
from tests.rigs.processes import interrupt_main_thread
from tests.rigs.scripted import ScriptedLifecycle, ScriptedLink, settle
from tests.rigs.threads import Thread, in_thread, run_on_loop, wait_until_blocked_in

SHELL, CONTROL, STDIN = ChannelName.SHELL, ChannelName.CONTROL, ChannelName.STDIN


def codes(remote: ScriptedLink) -> list[str]:
    return [message.content["code"] for message in remote.received[SHELL]]


def ids(remote: ScriptedLink) -> list[str]:
    return [message.header.msg_id for message in remote.received[SHELL]]


def answering(*outputs: str) -> ScriptedLink:
    """Return a link whose kernel answers every request at once."""
    remote = ScriptedLink()

    def answer(request: AnyMessage) -> None:
        remote.send(*answered(request, *(printed(text, request) for text in outputs)))

    remote.handler = answer
    return remote


def interruptible() -> tuple[ScriptedLink, ScriptedLifecycle]:
    """Return the link and the lifecycle of a kernel that can be interrupted."""
    lifecycle = ScriptedLifecycle()
    remote = ScriptedLink(lifecycle=lifecycle)

    def interrupted(name: str) -> None:
        if name == "interrupt":
            remote.send(raised(remote.last_request, "KeyboardInterrupt"), idle(remote.last_request))

    lifecycle.on_call = interrupted
    return remote, lifecycle


def raised(request: AnyMessage, ename: str, evalue: str = "") -> AnyMessage:
    return reply_to(request, status="error", ename=ename, evalue=evalue, traceback=[])


# Sending.


def test_request_is_cold() -> None:
    remote = ScriptedLink()
    with remote.kernel() as kernel:
        request = kernel.execute("6 * 7")
        assert codes(remote) == []
        request.subscribe()
        assert codes(remote) == ["6 * 7"]


def test_request_is_sent_on_channel_of_message() -> None:
    remote = ScriptedLink()
    with remote.kernel() as kernel:
        kernel.request(ec.interrupt_request()).subscribe()
        kernel.request(ec.kernel_info_request(channel="control")).subscribe()
    assert types(remote.received[CONTROL]) == ["interrupt_request", "kernel_info_request"]


def test_first_subscription_keeps_msg_id() -> None:
    remote, message = ScriptedLink(), ec.kernel_info_request()
    with remote.kernel() as kernel:
        kernel.request(message).subscribe()
    assert ids(remote) == [message.header.msg_id]


def test_each_subscription_sends_own_request() -> None:
    remote, message = ScriptedLink(), ec.kernel_info_request()
    with remote.kernel() as kernel:
        request = kernel.request(message)
        for _ in range(3):
            request.subscribe()
    assert len(set(ids(remote))) == 3
    assert ids(remote)[0] == message.header.msg_id


def test_each_subscription_has_own_date() -> None:
    remote = ScriptedLink()
    with remote.kernel() as kernel:
        session = kernel.session
        message = session.fill_headers(ec.kernel_info_request())
        request = kernel.request(message)
        request.subscribe()
        request.subscribe()
    first, second = (message.header for message in remote.received[SHELL])
    assert first.date == message.header.date
    assert second.date > first.date
    assert second.session == session.id


def test_same_message_twice_gets_two_ids() -> None:
    remote, message = ScriptedLink(), ec.kernel_info_request()
    seen = Collector[AnyMessage](), Collector[AnyMessage]()
    with remote.kernel() as kernel:
        for one in seen:
            kernel.request(message).subscribe(one)
        assert len(set(ids(remote))) == 2
        for sent in list(remote.received[SHELL]):
            remote.send(*answered(sent))
        assert [types(one.wait_for_end())[-1] for one in seen] == ["kernel_info_reply"] * 2


def test_invalid_message_fails_observable() -> None:
    remote, seen = ScriptedLink(), Collector[AnyMessage]()
    with remote.kernel() as kernel:
        kernel.request(ec.create_message("execute_request", {"code": 3})).subscribe(seen)
        assert isinstance(seen.wait_for_error(), InvalidMessage)
    assert remote.received[SHELL] == []


def test_unsupported_channel_fails_observable() -> None:
    seen: Collector[AnyMessage] = Collector()
    with ScriptedLink(SHELL, ChannelName.IOPUB).kernel() as kernel:
        kernel.request(ec.interrupt_request()).subscribe(seen)
        assert isinstance(seen.wait_for_error(), NotSupported)


def test_lost_link_fails_observable() -> None:
    remote, seen, down = ScriptedLink(), Collector[AnyMessage](), ConnectionLost("it is down")
    with remote.kernel() as kernel:
        remote.send_error = down
        kernel.kernel_info().subscribe(seen)
        assert seen.wait_for_error() is down


def test_closed_kernel_fails_observable() -> None:
    with ScriptedLink().kernel() as kernel:
        before = kernel.kernel_info()
    for request in (before, kernel.kernel_info(), kernel.execute("6 * 7")):
        seen: Collector[AnyMessage] = Collector()
        request.subscribe(seen)
        assert isinstance(seen.wait_for_error(), ChannelClosed)
    with pytest.raises(ChannelClosed):
        kernel.run("6 * 7")


# Answers.


def test_reply_is_last_item() -> None:
    remote, seen = ScriptedLink(), Collector[AnyMessage]()
    with remote.kernel() as kernel:
        kernel.execute("print(1)").subscribe(seen)
        asked = remote.last_request
        remote.send(busy(asked), printed("1", asked), reply_to(asked), idle(asked))
        assert types(seen.wait_for_end()) == ["status", "stream", "status", "execute_reply"]
        assert seen.completed


def test_idle_before_reply() -> None:
    remote, seen = ScriptedLink(), Collector[AnyMessage]()
    with remote.kernel() as kernel:
        kernel.execute("print(1)").subscribe(seen)
        asked = remote.last_request
        remote.send(busy(asked), printed("1", asked), idle(asked), reply_to(asked))
        assert types(seen.wait_for_end()) == ["status", "stream", "status", "execute_reply"]


def test_missing_reply_after_idle_times_out() -> None:
    remote, seen = ScriptedLink(), Collector[AnyMessage]()
    with remote.kernel() as kernel:
        kernel.execute("print(1)").subscribe(seen)
        remote.clock.advance_by(100)  # the code runs
        remote.send(
            busy(remote.last_request), printed("1", remote.last_request), idle(remote.last_request)
        )
        remote.clock.advance_by(9.9)
        settle(kernel)
        assert not seen.ended
        remote.clock.advance_by(0.2)
        error = seen.wait_for_error()
    assert isinstance(error, RequestTimeout)
    assert "no reply within 10 s" in str(error)


def test_output_after_reply() -> None:
    """Some kernels send output after the reply."""
    remote, seen = ScriptedLink(), Collector[AnyMessage]()
    with remote.kernel() as kernel:
        kernel.execute("print(1)").subscribe(seen)
        asked = remote.last_request
        remote.send(busy(asked), reply_to(asked), printed("1", asked), idle(asked))
        assert types(seen.wait_for_end()) == ["status", "stream", "status", "execute_reply"]


@pytest.mark.parametrize("missing", ["reply", "idle"])
def test_request_completes_with_reply_and_idle(missing: str) -> None:
    remote, seen = ScriptedLink(), Collector[AnyMessage]()
    with remote.kernel() as kernel:
        kernel.execute("6 * 7").subscribe(seen)
        reply, end = reply_to(remote.last_request), idle(remote.last_request)
        remote.send(busy(remote.last_request), reply if missing == "idle" else end)
        settle(kernel)
        assert not seen.ended
        remote.send(end if missing == "idle" else reply)
        seen.wait_for_end()


def test_request_ignores_other_messages() -> None:
    remote, seen, other = ScriptedLink(), Collector[AnyMessage](), ec.execute_request("other")
    with remote.kernel() as kernel:
        kernel.execute("6 * 7").subscribe(seen)
        asked = remote.last_request
        remote.send(*answered(other, printed("other", other)), printed("nobody's"))
        remote.send(*answered(asked))
        assert types(seen.wait_for_end()) == ["status", "status", "execute_reply"]


def test_late_output_stays_on_channel() -> None:
    remote, seen, iopub = ScriptedLink(), Collector[AnyMessage](), Collector[AnyMessage]()
    with remote.kernel() as kernel:
        kernel.iopub.pipe(ec.of_message_type("stream")).subscribe(iopub)
        kernel.execute("start_thread()").subscribe(seen)
        remote.send(*answered(remote.last_request), printed("late", remote.last_request))
        assert types(iopub.wait_for_count(1)) == ["stream"]
        assert "stream" not in types(seen.wait_for_end())


def test_reply_of_other_type_completes() -> None:
    """tslab answers comm_info_request with a complete_reply."""
    remote, seen = ScriptedLink(), Collector[AnyMessage]()
    with remote.kernel() as kernel:
        kernel.request(ec.comm_info_request()).subscribe(seen)
        wrong = ec.create_message("complete_reply", {"status": "ok"}, parent=remote.last_request)
        remote.send(wrong, idle(remote.last_request))
        assert types(seen.wait_for_end()) == ["status", "complete_reply"]


@pytest.mark.parametrize("kind", ["comm_close", "comm_msg", "comm_open"])
def test_comm_message_on_shell_is_not_reply(kind: str) -> None:
    """deno sends comm_close on shell."""
    remote, seen = ScriptedLink(), Collector[AnyMessage]()
    with remote.kernel() as kernel:
        kernel.execute("6 * 7").subscribe(seen)
        stray = ec.create_message(kind, {"comm_id": "c1"}, parent=remote.last_request)
        remote.send(stray, *answered(remote.last_request))
        assert types(seen.wait_for_end()) == [kind, "status", "status", "execute_reply"]


def test_second_reply_does_not_delay_completion() -> None:
    remote, seen = ScriptedLink(), Collector[AnyMessage]()
    with remote.kernel() as kernel:
        kernel.execute("6 * 7").subscribe(seen)
        first, second = (
            reply_to(remote.last_request, execution_count=1),
            reply_to(remote.last_request),
        )
        remote.send(first, second, idle(remote.last_request))
        assert seen.wait_for_end()[-1] == first


def test_reply_on_iopub_is_not_reply() -> None:
    """ipykernel broadcasts the reply to a shutdown."""
    remote, seen = ScriptedLink(), Collector[AnyMessage]()
    with remote.kernel() as kernel:
        kernel.request(ec.shutdown_request()).subscribe(seen)
        (asked,) = remote.received[CONTROL]
        copy = reply_to(asked).replace(channel="iopub")
        remote.send(copy, idle(asked))
        settle(kernel)
        assert not seen.ended
        remote.send(reply_to(asked))
        assert [m.channel for m in seen.wait_for_end()] == ["iopub", "iopub", "control"]


def test_requests_answered_in_any_order() -> None:
    remote, seen = ScriptedLink(), [Collector[AnyMessage]() for _ in range(3)]
    with remote.kernel() as kernel:
        for number, one in enumerate(seen):
            kernel.execute(str(number)).subscribe(one)
        for asked in reversed(remote.received[SHELL]):
            remote.send(*answered(asked, printed(asked.content["code"], asked)))
        for number, one in enumerate(seen):
            assert one.wait_for_end()[1].content["text"] == str(number)


def test_200_requests_keep_their_outputs() -> None:
    remote, shuffled = ScriptedLink(), random.Random(0)
    enough = threading.Semaphore(0)
    remote.handler = lambda _: enough.release()

    with remote.kernel() as kernel:

        def run_ten_times(thread: int) -> list[Result]:
            requests = [
                kernel.execute(f"{thread} {number}").pipe(ec.to_result()) for number in range(10)
            ]
            return ec.wait(reactivex.merge(*requests).pipe(ops.to_list()))

        threads = [Thread(lambda thread=thread: run_ten_times(thread)) for thread in range(20)]  # type: ignore[misc]
        for _ in range(200):
            assert enough.acquire(timeout=DEADLINE)
        answers = [
            iter([busy(m), *outputs(m), reply_to(m), idle(m)]) for m in remote.received[SHELL]
        ]
        # The answers are interleaved, each in its order.
        while answers:
            answer = shuffled.choice(answers)
            if (message := next(answer, None)) is None:
                answers.remove(answer)
            else:
                remote.send(message)
        texts = {result.text for thread in threads for result in thread.result()}
    expected = {f"{t} {n}\nwoo\n" for t in range(20) for n in range(10)}
    assert texts == expected


def outputs(request: AnyMessage) -> Iterator[AnyMessage]:
    yield printed(request.content["code"] + "\n", request)
    yield printed("woo\n", request)


def test_ended_request_leaves_nothing() -> None:
    remote = answering()
    with remote.kernel() as kernel:
        for _ in range(100):
            ec.wait(kernel.kernel_info())
        kernel.execute("6 * 7").subscribe().dispose()
        assert parts_of(kernel).requests.by_id == {}
        assert kernel.shell.observer_count == kernel.iopub.observer_count == 0
        remote.clock.advance_by(60)  # no timer is left
    late: Collector[EnchannelError] = Collector()
    kernel.errors.subscribe(late)
    assert late.wait_for_end() == []


# A missing idle status.


def test_missing_idle_fails_after_probe() -> None:
    remote, seen, errors = ScriptedLink(), Collector[AnyMessage](), Collector[EnchannelError]()
    with remote.kernel() as kernel:
        kernel.errors.subscribe(errors)
        kernel.execute("6 * 7").subscribe(seen)
        remote.send(
            busy(remote.last_request),
            printed("woo", remote.last_request),
            reply_to(remote.last_request),
        )
        remote.clock.advance_by(1.9)
        settle(kernel)
        assert not seen.ended
        remote.clock.advance_by(0.2)
        settle(kernel)
        assert not seen.ended
        execution, probe = remote.received[SHELL]
        assert probe.header.msg_type == "kernel_info_request"
        remote.send(*answered(probe))
        assert isinstance(seen.wait_for_error(), OutputMissing)
        assert types(seen.items) == ["status", "stream", "execute_reply"]
        (error,) = errors.wait_for_count(1)
    assert isinstance(error, MessagesMayBeMissing)
    assert "its reply, but no idle status" in str(error)
    assert f"execute_request {execution.header.msg_id[:8]}" in str(error)


def test_idle_grace_option() -> None:
    remote, seen = ScriptedLink(), Collector[AnyMessage]()
    with remote.kernel() as kernel:
        kernel.errors.subscribe(lambda _: None)
        kernel.execute("6 * 7", idle_grace=0.5).subscribe(seen)
        remote.send(reply_to(remote.last_request))
        remote.clock.advance_by(0.6)
        assert len(remote.received[SHELL]) == 2


def test_kernel_without_idle_completes() -> None:
    remote, seen, errors = ScriptedLink(), Collector[AnyMessage](), Collector[EnchannelError]()
    with remote.kernel() as kernel:
        kernel.errors.subscribe(errors)
        kernel.execute("6 * 7").subscribe(seen)
        remote.send(reply_to(remote.last_request))
        remote.clock.advance_by(2.1)
        remote.send(reply_to(remote.last_request))
        remote.clock.advance_by(5)
        seen.wait_for_end()
        assert seen.completed
        assert isinstance(errors.wait_for_count(1)[0], MessagesMayBeMissing)


def test_probe_waits_for_slow_output() -> None:
    remote, seen, errors = ScriptedLink(), Collector[AnyMessage](), Collector[EnchannelError]()
    with remote.kernel() as kernel:
        kernel.errors.subscribe(errors)
        kernel.kernel_info().subscribe()
        remote.send(*answered(remote.last_request))
        kernel.execute("print('b' * 200_000_000)").subscribe(seen)
        execution = remote.last_request
        remote.send(busy(execution), reply_to(execution))
        remote.clock.advance_by(25)
        remote.send(printed("b", execution))
        remote.clock.advance_by(25)
        remote.send(idle(execution), *answered(remote.last_request))
        seen.wait_for_end()
        assert seen.completed
    assert errors.wait_for_end() == []


def test_lost_output_is_in_the_result() -> None:
    remote = ScriptedLink()
    with remote.kernel() as kernel:
        kernel.errors.subscribe(lambda _: None)
        for check in (False, True):
            seen = Collector(kernel.execute("6 * 7").pipe(ec.to_result(check=check)))
            remote.send(busy(remote.last_request), reply_to(remote.last_request))
            remote.clock.advance_by(2.1)
            remote.send(*answered(remote.last_request))
            result: Result | None
            if check:
                error = seen.wait_for_error()
                assert isinstance(error, OutputMissing)
                result = error.result
            else:
                (result,) = seen.wait_for_end()
            assert result is not None
            assert result.status == "ok"
            assert result.output_missing


def test_late_output_is_awaited() -> None:
    remote, seen = ScriptedLink(idle_is_last=False), Collector[AnyMessage]()
    with remote.kernel() as kernel:
        kernel.execute("6 * 7").subscribe(seen)
        info, execution = remote.received[SHELL]
        remote.send(*answered(info, implementation="Deno kernel"), *answered(execution))
        settle(kernel)
        assert not seen.ended
        remote.send(printed("42", execution), *answered(remote.last_request))
        assert types(seen.wait_for_end())[-2:] == ["stream", "execute_reply"]


def test_kernel_with_idle_last_is_not_probed() -> None:
    remote, seen = ScriptedLink(idle_is_last=False), Collector[AnyMessage]()
    with remote.kernel() as kernel:
        kernel.execute("6 * 7").subscribe(seen)
        info, execution = remote.received[SHELL]
        remote.send(*answered(info, implementation="ipython"), *answered(execution))
        seen.wait_for_end()
        assert len(remote.received[SHELL]) == 2


def test_idle_within_grace_is_not_reported() -> None:
    remote, seen, errors = ScriptedLink(), Collector[AnyMessage](), Collector[EnchannelError]()
    with remote.kernel() as kernel:
        kernel.errors.subscribe(errors)
        kernel.execute("6 * 7").subscribe(seen)
        remote.send(busy(remote.last_request), reply_to(remote.last_request))
        remote.clock.advance_by(1.9)
        remote.send(idle(remote.last_request))
        seen.wait_for_end()
        remote.clock.advance_by(60)
    assert errors.wait_for_end() == []


def test_output_renews_idle_grace() -> None:
    remote, seen, errors = ScriptedLink(), Collector[AnyMessage](), Collector[EnchannelError]()
    with remote.kernel() as kernel:
        kernel.errors.subscribe(errors)
        kernel.execute("6 * 7").subscribe(seen)
        remote.send(busy(remote.last_request), reply_to(remote.last_request))
        for number in range(5):
            remote.clock.advance_by(1.5)
            remote.send(build.stream("stdout", str(number), parent=remote.last_request))
        remote.send(idle(remote.last_request))
        assert len(seen.wait_for_end()) == 8
    assert errors.wait_for_end() == []


# Timeouts.


def test_unknown_request_times_out() -> None:
    remote, seen = ScriptedLink(), Collector[AnyMessage]()
    with remote.kernel() as kernel:
        kernel.debug("initialize").subscribe(seen)
        remote.clock.advance_by(9.9)
        settle(kernel)
        assert not seen.ended
        remote.clock.advance_by(0.2)
        assert isinstance(seen.wait_for_error(), RequestTimeout)


@pytest.mark.parametrize(
    ("timeout", "kind"),
    [
        (0, ValueError),
        (-1, ValueError),
        (float("nan"), ValueError),
        (float("inf"), ValueError),
        ("3", TypeError),
    ],
)
def test_invalid_timeout_raises(timeout: Any, kind: type[Exception]) -> None:
    remote = ScriptedLink()
    with remote.kernel() as kernel:
        for ask in (kernel.execute, kernel.run, kernel.is_complete):
            with pytest.raises(kind, match="timeout must be a .*number of seconds or None"):
                ask("6 * 7", timeout=timeout)
    assert remote.received[SHELL] == []


def test_execute_has_no_default_timeout() -> None:
    remote, seen = ScriptedLink(SHELL, ChannelName.IOPUB), Collector[AnyMessage]()
    with remote.kernel() as kernel:
        kernel.execute("train()").subscribe(seen)
        remote.clock.advance_by(1_000_000)
        remote.send(*answered(remote.last_request))
        seen.wait_for_end()
        assert seen.completed


def timed_out(remote: ScriptedLink, *replies_sent: Callable[[AnyMessage], AnyMessage]) -> str:
    seen: Collector[AnyMessage] = Collector()
    with remote.kernel() as kernel:
        kernel.execute("6 * 7", timeout=3, idle_grace=60).subscribe(seen)
        remote.send(*(make(remote.last_request) for make in replies_sent))
        remote.clock.advance_by(4)
        error = seen.wait_for_error()
    assert isinstance(error, RequestTimeout)
    return str(error).partition(": ")[2]


def test_timeout_counts_messages() -> None:
    assert timed_out(ScriptedLink()) == "no messages received, the reply is missing"
    text = timed_out(ScriptedLink(), busy, idle)
    assert text == "2 messages received, the reply is missing"
    text = timed_out(ScriptedLink(), reply_to)
    assert text == "1 message received, the idle status is missing"


def test_timeout_names_busy_kernel() -> None:
    remote = ScriptedLink()
    remote.handler = lambda _: remote.send(busy(ec.execute_request("train()")))
    assert timed_out(remote).endswith("; the kernel is busy with another request")


def test_timeout_names_request_and_seconds() -> None:
    remote, seen = ScriptedLink(), Collector[AnyMessage]()
    with remote.kernel() as kernel:
        kernel.kernel_info(timeout=1.5).subscribe(seen)
        remote.clock.advance_by(2)
        text = str(seen.wait_for_error())
    name = f"kernel_info_request {remote.last_request.header.msg_id[:8]}"
    assert text.startswith(f"{name} was not answered within 1.5 s: ")


def test_messages_after_timeout_are_dropped() -> None:
    remote, seen = ScriptedLink(), Collector[AnyMessage]()
    with remote.kernel() as kernel:
        kernel.kernel_info(timeout=1).subscribe(seen)
        remote.clock.advance_by(2)
        remote.send(*answered(remote.last_request))
        settle(kernel)
        assert seen.items == []


# Loss of kernel or link.


@pytest.mark.parametrize("end", [KernelDied("killed", exit_code=-9), ConnectionLost("cut")])
def test_loss_fails_requests_in_flight(end: EnchannelError) -> None:
    remote, seen = ScriptedLink(), [Collector[AnyMessage]() for _ in range(3)]
    with remote.kernel() as kernel:
        kernel.errors.subscribe(lambda _: None)
        for one in seen:
            kernel.execute("6 * 7").subscribe(one)
        remote.send(busy(remote.last_request))
        remote.emit_event(ec.LinkState.LOST, end)
        assert [one.wait_for_error() for one in seen] == [end] * 3
        later: Collector[AnyMessage] = Collector()
        kernel.execute("6 * 7").subscribe(later)
        remote.send(*answered(remote.last_request))
        later.wait_for_end()
        assert later.completed


def test_unforwarded_message_fails_its_request_only() -> None:
    remote, refused, other = ScriptedLink(), Collector[AnyMessage](), Collector[AnyMessage]()
    reason = InvalidMessage("too large")
    with remote.kernel() as kernel:
        reported: Collector[EnchannelError] = Collector(kernel.errors)
        kernel.execute("6 * 7").subscribe(refused)
        event = MessageNotForwarded(remote.last_request.header.msg_id, reason)
        kernel.execute("6 * 7").subscribe(other)
        remote.emit_event(event)
        assert refused.wait_for_error() is reason
        assert reported.items == []
        remote.emit_event(event)
        remote.send(*answered(remote.last_request))
        other.wait_for_end()
        assert other.completed
        assert reported.items == [event]


def test_link_failure_fails_requests_in_flight() -> None:
    remote, seen, failure = ScriptedLink(), Collector[AnyMessage](), ConnectionLost("for good")
    with remote.kernel() as kernel:
        kernel.errors.subscribe(lambda _: None)
        kernel.execute("6 * 7").subscribe(seen)
        remote.fail(failure)
        assert seen.wait_for_error() is failure


@pytest.mark.parametrize("end", [KernelDied("killed", exit_code=-9), ConnectionLost("for good")])
def test_request_after_link_failure_fails_with_it(end: EnchannelError) -> None:
    remote, seen = ScriptedLink(), Collector[AnyMessage]()
    with remote.kernel() as kernel:
        kernel.errors.subscribe(lambda _: None)
        remote.fail(end)
        Collector(kernel.shell).wait_for_error()
        kernel.execute("6 * 7").subscribe(seen)
        error = seen.wait_for_error()
        assert (type(error), str(error), vars(error)) == (type(end), str(end), vars(end))
        with pytest.raises(type(end), match=str(end)):
            kernel.shell.on_next(ec.execute_request("6 * 7"))


def test_loss_after_completion_is_ignored() -> None:
    remote, seen = ScriptedLink(), Collector[AnyMessage]()
    with remote.kernel() as kernel:
        kernel.errors.subscribe(lambda _: None)
        kernel.execute("6 * 7").subscribe(seen)
        remote.send(*answered(remote.last_request))
        remote.emit_event(KernelDied("killed"))
        seen.wait_for_end()
        assert seen.completed
        assert seen.error is None


# With reactivex's operators.


def test_retry_sends_new_request() -> None:
    remote, seen = ScriptedLink(), Collector[AnyMessage]()

    def on_sent(request: AnyMessage) -> None:
        if len(remote.received[SHELL]) == 3:
            remote.send(*answered(request))
        else:
            remote.emit_event(KernelDied("killed"))

    remote.handler = on_sent
    with remote.kernel() as kernel:
        kernel.errors.subscribe(lambda _: None)
        kernel.execute("6 * 7").pipe(ops.retry(3)).subscribe(seen)
        seen.wait_for_end()
    assert seen.completed
    assert len(set(ids(remote))) == 3


def test_share_sends_one_request() -> None:
    remote, seen = ScriptedLink(), [Collector[AnyMessage]() for _ in range(3)]
    with remote.kernel() as kernel:
        shared = kernel.execute("6 * 7").pipe(ops.share())
        for one in seen:
            shared.subscribe(one)
        assert codes(remote) == ["6 * 7"]
        remote.send(*answered(remote.last_request))
        assert [types(one.wait_for_end())[-1] for one in seen] == ["execute_reply"] * 3


def test_concat_sends_in_turn() -> None:
    remote, seen = ScriptedLink(), Collector[AnyMessage]()
    sent, may = threading.Semaphore(0), list[str]()
    remote.handler = lambda _: sent.release()
    with remote.kernel() as kernel:
        reactivex.concat(*(kernel.execute(code) for code in "abc")).subscribe(seen)
        for _ in "abc":
            assert sent.acquire(timeout=DEADLINE)
            may.append("".join(codes(remote)))
            remote.send(*answered(remote.last_request))
        seen.wait_for_end()
    assert may == ["a", "ab", "abc"]
    assert seen.completed


def test_merge_sends_all_at_once() -> None:
    remote, seen = ScriptedLink(), Collector[AnyMessage]()
    with remote.kernel() as kernel:
        reactivex.merge(*(kernel.execute(code) for code in "abc")).subscribe(seen)
        assert codes(remote) == ["a", "b", "c"]
        for request in remote.received[SHELL]:
            remote.send(*answered(request))
        assert types(seen.wait_for_end()).count("execute_reply") == 3


def test_switch_latest_drops_previous_request() -> None:
    remote, asked, seen = ScriptedLink(), Subject[str](), Collector[AnyMessage]()
    with remote.kernel() as kernel:
        asked.pipe(ops.map(kernel.complete), ops.switch_latest()).subscribe(seen)
        asked.on_next("pri")
        asked.on_next("prin")
        first, second = remote.received[SHELL]
        remote.send(*answered(first, matches=["print"]), *answered(second, matches=["print"]))
        settle(kernel)
        replies = [m for m in seen.items if m.header.msg_type == "complete_reply"]
        assert [m.parent_header.msg_id for m in replies] == [second.header.msg_id]


def test_take_until_disposes_request() -> None:
    remote, stop, seen = ScriptedLink(), Subject[None](), Collector[AnyMessage]()
    with remote.kernel() as kernel:
        kernel.execute("train()").pipe(ops.take_until(stop)).subscribe(seen)
        stop.on_next(None)
        assert parts_of(kernel).requests.by_id == {}
    assert seen.completed


def test_to_result_of_request() -> None:
    with answering("wo", "o\n").kernel() as kernel:
        result = ec.wait(kernel.execute("print('woo')").pipe(ec.to_result()))
    assert (result.status, result.text) == ("ok", "woo\n")


# Disposing.


def test_dispose_does_not_interrupt_by_default() -> None:
    remote, lifecycle = interruptible()
    seen: Collector[AnyMessage] = Collector()
    with remote.kernel() as kernel:
        subscription = kernel.execute("train()").subscribe(seen)
        remote.send(busy(remote.last_request))
        seen.wait_for_count(1)
        subscription.dispose()
        remote.send(
            printed("1", remote.last_request),
            reply_to(remote.last_request),
            idle(remote.last_request),
        )
        settle(kernel)
        assert types(seen.items) == ["status"]
        assert lifecycle.calls == []


def test_dispose_interrupts_running_request() -> None:
    remote, lifecycle = interruptible()
    with remote.kernel() as kernel:
        subscription = kernel.execute("train()", interrupt_if_abandoned=True).subscribe()
        remote.send(busy(remote.last_request), started(remote.last_request))
        subscription.dispose()
        subscription.dispose()
        assert lifecycle.calls == ["interrupt"]


@pytest.mark.parametrize(
    "replies_sent",
    [
        pytest.param([], id="it is queued"),
        pytest.param([busy, idle], id="it has run, and the reply is on its way"),
        pytest.param([busy, reply_to, idle], id="it is complete"),
    ],
)
def test_dispose_does_not_interrupt_others(
    replies_sent: list[Callable[[AnyMessage], AnyMessage]],
) -> None:
    remote, lifecycle = interruptible()
    other = ec.execute_request("other")
    with remote.kernel() as kernel:
        subscription = kernel.execute("mine", interrupt_if_abandoned=True).subscribe()
        remote.send(busy(other), *(make(remote.last_request) for make in replies_sent))
        subscription.dispose()
        assert lifecycle.calls == []


def test_completion_does_not_interrupt() -> None:
    remote, lifecycle = interruptible()
    seen: Collector[AnyMessage] = Collector()
    with remote.kernel() as kernel:
        kernel.execute("6 * 7", interrupt_if_abandoned=True).subscribe(seen)
        remote.send(*answered(remote.last_request))
        seen.wait_for_end()
        assert lifecycle.calls == []


@pytest.mark.parametrize("abandons", [True, False])
def test_timeout_interrupts_abandoned_request(abandons: bool) -> None:
    remote, lifecycle = interruptible()
    seen: Collector[AnyMessage] = Collector()
    with remote.kernel() as kernel:
        kernel.execute("train()", timeout=3, interrupt_if_abandoned=abandons).subscribe(seen)
        remote.send(busy(remote.last_request), started(remote.last_request))
        remote.clock.advance_by(3)
        assert isinstance(seen.wait_for_error(), RequestTimeout)
        assert lifecycle.calls == ["interrupt"] * abandons


def test_cancelled_await_interrupts_abandoned_request() -> None:
    remote, lifecycle = interruptible()
    remote.handler = lambda asked: remote.send(busy(asked), started(asked))

    async def main() -> None:
        async with remote.kernel() as kernel:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await kernel.execute("train()", interrupt_if_abandoned=True)
            assert lifecycle.calls == ["interrupt"]

    run_on_loop(main)


@pytest.mark.parametrize("ending", ["disposed", "timed out"])
def test_abandoned_request_is_interrupted_when_it_starts(ending: str) -> None:
    remote, lifecycle = interruptible()
    other = ec.execute_request("other")
    with remote.kernel() as kernel:
        kernel.errors.subscribe(lambda _: None)
        queued = kernel.execute("mine", timeout=3, interrupt_if_abandoned=True)
        subscription = queued.subscribe(on_error=lambda _: None)
        remote.send(busy(other))
        if ending == "disposed":
            subscription.dispose()
        else:
            remote.clock.advance_by(3)
        assert lifecycle.calls == []
        remote.send(idle(other), busy(remote.last_request))
        remote.clock.advance_by(1)
        assert lifecycle.calls == ["interrupt"]


@pytest.mark.parametrize("sent", ["nothing", "busy", "busy and execute_input"])
def test_request_abandoned_early_is_interrupted_once(sent: str) -> None:
    """ipykernel ignores an interrupt between the two messages."""
    remote, lifecycle = interruptible()
    with remote.kernel() as kernel:
        abandoned = kernel.execute("train()", interrupt_if_abandoned=True).subscribe()
        asked = remote.last_request
        messages = [busy(asked), started(asked)]
        before = {"nothing": 0, "busy": 1, "busy and execute_input": 2}[sent]
        remote.send(*messages[:before])
        abandoned.dispose()
        assert lifecycle.calls == ["interrupt"] * (before == 2)
        remote.send(*messages[before:])
        assert lifecycle.calls == ["interrupt"]
        assert ids(remote)[0] not in parts_of(kernel).requests.by_id


def test_dispose_between_arrival_and_handling_interrupts() -> None:
    """The decision is under one lock: a subscriber disposes while a status is handled."""
    remote, lifecycle = interruptible()
    with remote.kernel() as kernel:
        subscription = kernel.execute("train()", interrupt_if_abandoned=True).subscribe()
        asked = remote.last_request

        def dispose(message: AnyMessage | LinkEvent) -> None:
            subscription.dispose()

        parts_of(kernel).tap(CallbackSink(dispose))
        remote.send(busy(asked), started(asked))
        assert lifecycle.calls == ["interrupt"]


def test_code_after_interrupt_waits_for_it() -> None:
    remote, _ = interruptible()
    with remote.kernel() as kernel:
        kernel.execute("train()").subscribe(on_error=lambda _: None)
        remote.send(busy(remote.last_request), started(remote.last_request))
        kernel.interrupt()
        probe = remote.last_request
        seen: Collector[AnyMessage] = Collector(kernel.execute("next"))
        assert types(remote.received[SHELL]) == ["execute_request", "kernel_info_request"]
        remote.send(*answered(probe))
        assert codes_of_code(remote) == ["train()", "next"]
        remote.send(*answered(remote.last_request))
        seen.wait_for_end()


def test_code_after_failed_interrupt_is_sent() -> None:
    remote = ScriptedLink()
    with remote.kernel() as kernel:
        kernel.errors.subscribe(lambda _: None)
        kernel.interrupt(timeout=None)
        kernel.execute("next").subscribe(on_error=lambda _: None)
        assert remote.received[SHELL] == []
        remote.clock.advance_by(11)
        remote.send(*answered(remote.last_request))
        assert codes_of_code(remote) == ["next"]


def test_code_behind_abandoned_request_waits() -> None:
    """An interrupt that arrives late would hit the code that runs next."""
    remote, lifecycle = interruptible()
    with remote.kernel() as kernel:
        kernel.execute("train()", interrupt_if_abandoned=True).subscribe().dispose()
        abandoned = remote.last_request
        seen: Collector[AnyMessage] = Collector(kernel.execute("next"))
        kernel.is_complete("other").subscribe()
        assert types(remote.received[SHELL]) == ["execute_request", "is_complete_request"]
        remote.send(busy(abandoned), started(abandoned))
        assert lifecycle.calls == ["interrupt"]
        assert codes_of_code(remote) == ["train()"]
        remote.send(*answered(remote.last_request))
        assert codes_of_code(remote) == ["train()", "next"]
        remote.send(*answered(remote.last_request))
        seen.wait_for_end()


def test_code_behind_lost_request_is_sent() -> None:
    """An idle kernel that does not start an abandoned request may never have received it."""
    remote, lifecycle = interruptible()
    with remote.kernel() as kernel:
        kernel.execute("lost", interrupt_if_abandoned=True).subscribe().dispose()
        lost = remote.last_request
        kernel.execute("next").subscribe(on_error=lambda _: None)
        assert codes_of_code(remote) == ["lost"]
        remote.clock.advance_by(3)
        assert codes_of_code(remote) == ["lost", "next"]
        remote.send(busy(lost), started(lost))
        assert lifecycle.calls == ["interrupt"]


def test_code_behind_queued_request_waits() -> None:
    """A kernel that works on another request has not lost the abandoned one."""
    remote, lifecycle = interruptible()
    with remote.kernel() as kernel:
        kernel.execute("other").subscribe(on_error=lambda _: None)
        remote.send(busy(remote.last_request), started(remote.last_request))
        kernel.execute("queued", interrupt_if_abandoned=True).subscribe().dispose()
        kernel.execute("next").subscribe(on_error=lambda _: None)
        remote.clock.advance_by(60)
        assert codes_of_code(remote) == ["other", "queued"]
        assert lifecycle.calls == []


def test_code_behind_abandoned_request_that_ends_is_sent() -> None:
    remote, lifecycle = interruptible()
    with remote.kernel() as kernel:
        kernel.execute("quick()", interrupt_if_abandoned=True).subscribe().dispose()
        kernel.execute("next").subscribe(on_error=lambda _: None)
        kernel.execute("last").subscribe(on_error=lambda _: None)
        assert codes_of_code(remote) == ["quick()"]
        remote.send(reply_to(remote.last_request))
        assert codes_of_code(remote) == ["quick()", "next", "last"]
        assert lifecycle.calls == []


@pytest.mark.parametrize("ending", ["dispose", "timeout", "run"])
def test_waiting_code_that_ends_is_not_sent(ending: str) -> None:
    remote, _ = interruptible()
    with remote.kernel() as kernel:
        abandoned = kernel.execute("train()", interrupt_if_abandoned=True).subscribe()
        abandoned.dispose()
        request = remote.last_request
        if ending == "run":
            with pytest.raises(RequestTimeout, match="was not sent, because an interrupt"):
                kernel.run("next", timeout=0.01)
        else:
            seen: Collector[AnyMessage] = Collector()
            subscription = kernel.execute("next", timeout=1).subscribe(seen)
            if ending == "dispose":
                subscription.dispose()
            else:
                remote.clock.advance_by(2)
                assert "was not sent, because an interrupt" in str(seen.wait_for_error())
        remote.send(reply_to(request))
        assert codes_of_code(remote) == ["train()"]


@pytest.mark.parametrize("ending", ["death", "restart", "lost"])
def test_waiting_code_fails_with_kernel(ending: str) -> None:
    remote, _ = interruptible()
    with remote.kernel() as kernel:
        kernel.errors.subscribe(lambda _: None)
        kernel.execute("train()").subscribe(on_error=lambda _: None)
        kernel.interrupt()
        seen: Collector[AnyMessage] = Collector(kernel.execute("next"))
        match ending:
            case "death":
                remote.emit_event(KernelDied("killed"))
            case "restart":
                kernel.restart()
            case _:
                remote.emit_event(ConnectionLost("cut"))
        assert isinstance(seen.wait_for_error(), (KernelDied, ConnectionLost))
        assert codes_of_code(remote) == ["train()"]
        kernel.execute("after").subscribe(on_error=lambda _: None)
        assert codes_of_code(remote) == ["train()", "after"]


def test_code_is_sent_if_idle_kernel_ignores_probe() -> None:
    remote = ScriptedLink(lifecycle=ScriptedLifecycle())
    with remote.kernel() as kernel:
        kernel.execute("train()").subscribe(on_error=lambda _: None)
        remote.send(busy(remote.last_request))
        kernel.interrupt()
        kernel.execute("next").subscribe(on_error=lambda _: None)
        remote.clock.advance_by(100)
        assert codes_of_code(remote) == ["train()"]
        remote.send(idle(remote.received[SHELL][0]))
        remote.clock.advance_by(9)
        assert codes_of_code(remote) == ["train()"]
        remote.clock.advance_by(2)
        assert codes_of_code(remote) == ["train()", "next"]


def test_unknown_kernel_is_interrupted_after_start() -> None:
    """Deno ignores an interrupt for some milliseconds after execute_input."""
    lifecycle = ScriptedLifecycle()
    remote = ScriptedLink(lifecycle=lifecycle, idle_is_last=False)
    remote.handler = lambda asked: remote.send(*answered(asked, implementation="Deno kernel"))
    with remote.kernel() as kernel:
        kernel.run("1")
        for output in (False, True):
            remote.handler = lambda asked: remote.send(busy(asked), started(asked))
            kernel.execute("2", interrupt_if_abandoned=True).subscribe().dispose()
            code = remote.last_request
            if output:
                remote.send(printed("running", code))
            assert lifecycle.calls == ["interrupt"] * output
            remote.clock.advance_by(0.2)
            assert lifecycle.calls == ["interrupt"] * (1 + output)
            remote.handler = lambda asked: remote.send(*answered(asked))
            remote.send(*answered(remote.last_request))


def codes_of_code(remote: ScriptedLink) -> list[str]:
    return [
        message.content["code"]
        for message in remote.received[SHELL]
        if message.header.msg_type == "execute_request"
    ]


def test_aborted_request_fails_operators() -> None:
    remote = ScriptedLink()
    remote.handler = lambda asked: remote.send(*answered(asked, status="aborted"))
    with remote.kernel() as kernel:
        for operator in (ec.outputs(), ec.accumulate_outputs(), ec.execution_counts()):
            with pytest.raises(RequestAborted):
                ec.wait(kernel.execute("x").pipe(operator))
        assert kernel.run("x", check=False).status == "aborted"
        assert ec.wait(kernel.execute("x").pipe(ec.to_result(check=False))).status == "aborted"


def test_abandonable_code_aborts_nothing_by_default() -> None:
    remote = answering()
    with remote.kernel() as kernel:
        kernel.run("a")
        ec.wait(kernel.execute("b", interrupt_if_abandoned=True))
        ec.wait(kernel.execute("c"))
        kernel.run("d", stop_on_error=True)
    aborts = [message.content["stop_on_error"] for message in remote.received[SHELL]]
    assert aborts == [False, False, True, True]


@pytest.mark.parametrize("max_output", [1.5, "3", True, -1])
def test_invalid_max_output_raises(max_output: Any) -> None:
    remote = answering()
    with remote.kernel() as kernel:
        with pytest.raises((TypeError, ValueError), match="max_output must be a number"):
            kernel.run("x", max_output=max_output)
        with pytest.raises((TypeError, ValueError), match="max_output must be a number"):
            ec.to_result(max_output=max_output)
    assert remote.received[SHELL] == []


def test_run_whose_reply_is_missing_says_so() -> None:
    remote = ScriptedLink()
    remote.handler = lambda asked: remote.send(busy(asked), started(asked), idle(asked))
    with remote.kernel() as kernel, pytest.raises(RequestTimeout, match="has ended, but its reply"):
        kernel.run("x", timeout=0.01)


@pytest.mark.parametrize(
    "raised", [RequestTimeout("mine"), KernelDied("other"), queue.Empty(), TimeoutError("mine")]
)
def test_run_raises_error_of_on_input_as_it_is(raised: Exception) -> None:
    """The error is told from one of the request by where it was raised, not by its class."""

    def on_input(_: object) -> str:
        raise raised

    remote = waiting_for_input()
    with remote.kernel() as kernel:
        with pytest.raises(type(raised)) as caught:
            kernel.run("input()", on_input=on_input)
        assert caught.value is raised
        with pytest.raises(type(raised)) as caught:
            run_on_loop(lambda: kernel.arun("input()", on_input=on_input))
        assert caught.value is raised


def waiting_for_input() -> ScriptedLink:
    """Return a link whose kernel requests input for each code, until it is interrupted."""
    remote, lifecycle = interruptible()

    def handle(message: AnyMessage) -> None:
        if message.header.msg_type == "execute_request":
            send_input_request(remote)
        else:
            remote.send(*answered(message))

    def on_interrupt(_: str) -> None:
        remote.send(*answered(remote.last_request, status="error"))

    remote.handler, lifecycle.on_call = handle, on_interrupt
    return remote


def test_run_with_exhausted_answers_raises() -> None:
    answers = iter(list[str]())
    with waiting_for_input().kernel() as kernel:
        with pytest.raises(RuntimeError, match="on_input raised StopIteration"):
            kernel.run("input()", on_input=lambda _: next(answers))


@pytest.mark.parametrize("end", [KernelDied("killed"), ConnectionLost("cut")])
def test_failed_request_does_not_interrupt(end: EnchannelError) -> None:
    remote, lifecycle = interruptible()
    seen: Collector[AnyMessage] = Collector()
    with remote.kernel() as kernel:
        kernel.errors.subscribe(lambda _: None)
        kernel.execute("train()", interrupt_if_abandoned=True).subscribe(seen)
        remote.send(busy(remote.last_request))
        remote.emit_event(end)
        seen.wait_for_error()
        assert lifecycle.calls == []


# Input.


def send_input_request(
    remote: ScriptedLink, prompt: str = "Name? ", password: bool = False
) -> None:
    if remote.last_request.header.msg_type != "execute_request":
        return
    remote.send(
        busy(remote.last_request),
        build.input_request(prompt, password=password, parent=remote.last_request),
    )


def replies(remote: ScriptedLink) -> list[str]:
    return [message.content["value"] for message in remote.received[STDIN]]


def never(request: ec.InputPrompt) -> str:
    raise AssertionError


def test_allow_stdin_follows_on_input() -> None:
    remote = ScriptedLink()
    with remote.kernel() as kernel:
        kernel.execute("1").subscribe()
        kernel.execute("2", on_input=never).subscribe()
        kernel.execute("3", allow_stdin=True).subscribe()
        kernel.execute("4", on_input=never, allow_stdin=False).subscribe()
        Thread(lambda: kernel.run("5"))
    asked = [message.content["allow_stdin"] for message in remote.received[SHELL][:4]]
    assert asked == [False, True, True, False]


def test_on_input_answers_input() -> None:
    remote, prompts_seen, seen = ScriptedLink(), list[tuple[str, bool]](), Collector[AnyMessage]()

    def on_input(request: ec.InputPrompt) -> str:
        prompts_seen.append((request.prompt, request.password))
        assert request.message.msg_type == "input_request"
        assert request.message.parent_header.msg_id == ids(remote)[0]
        return "Ada"

    with remote.kernel() as kernel:
        kernel.execute("input()", on_input=on_input).subscribe(seen)
        send_input_request(remote)
        settle(kernel)
        send_input_request(remote, "Password: ", password=True)
        settle(kernel)
        assert prompts_seen == [("Name? ", False), ("Password: ", True)]
        assert replies(remote) == ["Ada", "Ada"]
        assert "input_request" in types(seen.items)


def test_late_answer_is_dropped() -> None:
    """The code was interrupted during input(), and called it again."""
    remote, answers = ScriptedLink(), [Subject[str](), Subject[str]()]
    with remote.kernel() as kernel:
        left = iter(answers)
        kernel.execute("input()", on_input=lambda *_: next(left)).subscribe()
        send_input_request(remote, "Name? ")
        send_input_request(remote, "Password: ", password=True)
        settle(kernel)
        answers[0].on_next("Ada")
        assert replies(remote) == []
        answers[1].on_next("secret")
        assert replies(remote) == ["secret"]


def test_answers_keep_their_parents() -> None:
    remote = ScriptedLink()
    with remote.kernel() as kernel:
        kernel.execute("input()", on_input=lambda *_: "Ada").subscribe()
        remote.send(
            busy(remote.last_request),
            input_request := build.input_request("Name? ", parent=remote.last_request),
        )
        settle(kernel)
    (reply,) = remote.received[STDIN]
    assert reply.parent_header.msg_id == input_request.header.msg_id


@pytest.mark.parametrize("prompt", [None, 3, ["Name?"]])
def test_invalid_prompt_is_empty(prompt: object) -> None:
    remote, prompts = ScriptedLink(), list[str]()

    def on_input(request: ec.InputPrompt) -> str:
        prompts.append(request.prompt)
        return ""

    with remote.kernel() as kernel:
        kernel.execute("input()", on_input=on_input).subscribe()
        odd = ec.create_message(
            "input_request", {"prompt": prompt}, channel="stdin", parent=remote.last_request
        )
        remote.send(busy(remote.last_request), odd)
        settle(kernel)
    assert prompts == [""]


def test_on_input_runs_on_subscribers_thread() -> None:
    remote, threads = ScriptedLink(), list[threading.Thread]()

    def on_input(request: ec.InputPrompt) -> str:
        threads.append(threading.current_thread())
        return "Ada"

    remote.handler = lambda message: (
        send_input_request(remote)
        if message.channel is SHELL
        else remote.send(*answered(remote.last_request))
    )

    async def main() -> None:
        async with remote.kernel() as kernel:
            await kernel.execute("input()", on_input=on_input)

    with remote.kernel() as kernel:
        seen: Collector[AnyMessage] = Collector()
        kernel.execute("input()", on_input=on_input).subscribe(seen)
        seen.wait_for_end()
        ec.wait(kernel.execute("input()", on_input=on_input))
        kernel.run("input()", on_input=on_input)
        here = threading.current_thread()
        assert threads == [*seen.threads, here, here]
        assert here not in seen.threads

    remote = ScriptedLink()
    remote.handler = lambda message: (
        send_input_request(remote)
        if message.channel is SHELL
        else remote.send(*answered(remote.last_request))
    )
    run_on_loop(main)
    assert threads[-1] is here


def test_on_input_awaitable_answers() -> None:
    remote = ScriptedLink()
    remote.handler = lambda message: (
        send_input_request(remote)
        if message.channel is SHELL
        else remote.send(*answered(remote.last_request))
    )

    async def on_input(request: ec.InputPrompt) -> str:
        await asyncio.sleep(0)
        return "Ada"

    async def main() -> None:
        async with remote.kernel() as kernel:
            await kernel.execute("input()", on_input=on_input)
            await ec.last_value(kernel.execute("input()", on_input=on_input))
            async for _ in ec.aiter(kernel.execute("input()", on_input=on_input)):
                pass

    run_on_loop(main)
    assert replies(remote) == ["Ada"] * 3


def test_on_input_observable_answers_once() -> None:
    remote, answers = ScriptedLink(), Subject[str]()
    with remote.kernel() as kernel:
        kernel.execute("input()", on_input=lambda *_: answers).subscribe()
        send_input_request(remote)
        settle(kernel)
        answers.on_next("Ada")
        answers.on_next("Eve")
        assert replies(remote) == ["Ada"]


def test_on_input_eoferror_sends_end_of_file() -> None:
    remote = ScriptedLink()

    def answer_at_once(request: ec.InputPrompt) -> str:
        raise EOFError

    async def answer_later(request: ec.InputPrompt) -> str:
        raise EOFError

    async def main() -> None:
        async with remote.kernel() as kernel:
            remote.handler = lambda message: (
                send_input_request(remote)
                if message.channel is SHELL
                else remote.send(*answered(remote.last_request))
            )
            for on_input in (answer_at_once, answer_later, lambda *_: reactivex.throw(EOFError())):
                await ec.last_value(kernel.execute("input()", on_input=on_input))

    run_on_loop(main)
    assert replies(remote) == ["\x04"] * 3


def raise_in_on_input(request: ec.InputPrompt) -> str:
    raise ZeroDivisionError("oh")


def wait_for(kernel: Kernel, code: str, *, on_input: ec.OnInput) -> AnyMessage:
    return ec.wait(kernel.execute(code, on_input=on_input))


BLOCKING = [Kernel.run, wait_for]


def test_raising_subscriber_of_request_is_named() -> None:
    remote, seen = ScriptedLink(), Collector[AnyMessage]()

    def raising(_: AnyMessage) -> None:
        raise ZeroDivisionError("oh")

    with remote.kernel() as kernel:
        kernel.errors.subscribe(lambda _: None)
        kernel.execute("1").subscribe(raising, seen.on_error)
        remote.send(*answered(remote.last_request))
        assert "a subscriber of the request execute_request raised" in str(seen.wait_for_error())


def test_on_input_raising_ends_and_interrupts() -> None:
    remote, lifecycle = interruptible()
    seen, errors = Collector[AnyMessage](), Collector[EnchannelError]()
    with remote.kernel() as kernel:
        kernel.errors.subscribe(errors)
        kernel.execute(
            "input()", on_input=raise_in_on_input, interrupt_if_abandoned=True
        ).subscribe(seen)
        send_input_request(remote)
        assert isinstance(seen.wait_for_error(), SubscriberRaised)
        assert lifecycle.calls == ["interrupt"]
    (error,) = errors.wait_for_end()
    assert isinstance(error.__cause__, ZeroDivisionError)
    assert remote.received[STDIN] == []


@pytest.mark.parametrize("run", BLOCKING)
def test_on_input_error_is_raised_by_wait(run: Callable[..., object]) -> None:
    remote, lifecycle = interruptible()
    remote.handler = lambda message: send_input_request(remote)
    with remote.kernel() as kernel:
        with pytest.raises(ZeroDivisionError):
            run(kernel, "input()", on_input=raise_in_on_input)
        assert lifecycle.calls == ["interrupt"]


def test_on_input_error_is_raised_by_await() -> None:
    remote, lifecycle = interruptible()
    remote.handler = lambda message: send_input_request(remote)

    async def main() -> None:
        async with remote.kernel() as kernel:
            with pytest.raises(ZeroDivisionError):
                await ec.last_value(kernel.execute("input()", on_input=raise_in_on_input))
            assert lifecycle.calls == ["interrupt"]

    run_on_loop(main)


@pytest.mark.parametrize("answer", [None, 3, b"Ada", ["Ada"]])
def test_on_input_non_text_fails_and_interrupts(answer: Any) -> None:
    remote, lifecycle = interruptible()
    seen: Collector[AnyMessage] = Collector()
    with remote.kernel() as kernel:
        kernel.errors.subscribe(lambda _: None)
        kernel.execute("input()", on_input=lambda *_: answer).subscribe(seen)
        send_input_request(remote)
        error = seen.wait_for_error()
        assert isinstance(error.__cause__, InvalidMessage)
        assert lifecycle.calls == ["interrupt"]


LATE_FAILURES: list[Observable[Any]] = [
    reactivex.throw(ZeroDivisionError("oh")),
    reactivex.just(3),
    reactivex.empty(),
]


@pytest.mark.parametrize("answers", LATE_FAILURES)
def test_on_input_empty_observable_interrupts(answers: Observable[Any]) -> None:
    remote, lifecycle = interruptible()
    with remote.kernel() as kernel:
        kernel.errors.subscribe(lambda _: None)
        kernel.execute("input()", on_input=lambda *_: answers).subscribe()
        send_input_request(remote)
        settle(kernel)
        assert lifecycle.calls == ["interrupt"]


def test_on_input_failing_observable_is_reported() -> None:
    remote, errors = ScriptedLink(), Collector[EnchannelError]()
    on_input: Any = lambda *_: reactivex.just(3)  # noqa: E731
    with remote.kernel() as kernel:
        kernel.errors.subscribe(errors)
        kernel.execute("input()", on_input=on_input).subscribe()
        send_input_request(remote)
        (error,) = errors.wait_for_count(1)
    assert isinstance(error, InvalidMessage)


async def fails(request: ec.InputPrompt) -> str:
    raise ZeroDivisionError("oh")


async def answers_a_number(request: ec.InputPrompt) -> Any:
    return 3


@pytest.mark.parametrize("on_input", [fails, answers_a_number])
def test_on_input_failing_coroutine_interrupts(on_input: Any) -> None:
    remote, lifecycle = interruptible()
    errors: Collector[EnchannelError] = Collector()
    remote.handler = lambda message: send_input_request(remote)

    async def main() -> None:
        async with remote.kernel() as kernel:
            kernel.errors.subscribe(errors)
            reply = await ec.last_value(kernel.execute("input()", on_input=on_input))
            assert reply.content["ename"] == "KeyboardInterrupt"
            assert lifecycle.calls == ["interrupt"]

    run_on_loop(main)
    assert len(errors.wait_for_end()) == 1


def test_on_input_cancelled_coroutine_interrupts() -> None:
    remote, lifecycle = interruptible()
    remote.handler = lambda message: send_input_request(remote)

    async def on_input(request: ec.InputPrompt) -> str:
        raise asyncio.CancelledError

    async def main() -> None:
        async with remote.kernel() as kernel:
            await ec.last_value(kernel.execute("input()", on_input=on_input))
            assert lifecycle.calls == ["interrupt"]

    run_on_loop(main)


@pytest.mark.parametrize("run", BLOCKING)
def test_on_input_awaitable_needs_loop(run: Callable[..., object]) -> None:
    remote, lifecycle = interruptible()
    remote.handler = lambda message: send_input_request(remote)
    with remote.kernel() as kernel:
        with pytest.raises(WouldDeadlock, match=r"without .* loop; use `await kernel\.arun\(…\)`"):
            run(kernel, "input()", on_input=fails)
        assert lifecycle.calls == ["interrupt"]


def test_pending_answer_on_closed_loop_interrupts() -> None:
    """A loop that is closed drops its tasks without cancelling them."""
    remote, lifecycle = interruptible()
    remote.handler = lambda message: send_input_request(remote)
    loop, errors, coroutines = asyncio.new_event_loop(), Collector[EnchannelError](), list[Any]()

    async def answer() -> str:
        loop.call_soon(loop.stop)
        await asyncio.Event().wait()
        raise AssertionError

    def on_input(request: ec.InputPrompt) -> Any:
        coroutines.append(answer())
        return coroutines[0]

    with remote.kernel() as kernel:
        kernel.errors.subscribe(errors)
        request = kernel.execute("input()", on_input=on_input)
        request.subscribe(scheduler=AsyncIOScheduler(loop))
        loop.run_forever()
        loop.close()
        error = errors.wait_for_count(1)[0]
        coroutines[0].close()
        assert "the event loop that ran the answer of on_input has stopped" in str(error)
        assert eventually(lambda: lifecycle.calls == ["interrupt"])


def test_dispose_during_input_interrupts() -> None:
    """The code would wait for input for ever."""
    remote, lifecycle = interruptible()
    answers: Subject[str] = Subject()
    with remote.kernel() as kernel:
        subscription = kernel.execute("input()", on_input=lambda *_: answers).subscribe()
        send_input_request(remote)
        settle(kernel)
        subscription.dispose()
        assert lifecycle.calls == ["interrupt"]
        answers.on_next("too late")
        assert remote.received[STDIN] == []


def test_dispose_after_answer_does_not_interrupt() -> None:
    remote, lifecycle = interruptible()
    with remote.kernel() as kernel:
        subscription = kernel.execute("input()", on_input=lambda *_: "Ada").subscribe()
        send_input_request(remote)
        settle(kernel)
        subscription.dispose()
        assert lifecycle.calls == []


def test_dispose_cancels_on_input_coroutine() -> None:
    remote, lifecycle = interruptible()
    remote.handler = lambda message: send_input_request(remote)

    async def main() -> None:
        asked, cancelled = asyncio.Event(), asyncio.Event()

        async def on_input(request: ec.InputPrompt) -> str:
            asked.set()
            try:
                await asyncio.Event().wait()
            finally:
                cancelled.set()
            return ""

        async with remote.kernel() as kernel:
            waiting = asyncio.ensure_future(
                ec.last_value(kernel.execute("input()", on_input=on_input))
            )
            await asked.wait()
            waiting.cancel()
            await cancelled.wait()
            assert lifecycle.calls == ["interrupt"]

    run_on_loop(main)


def test_timeout_during_input_interrupts() -> None:
    remote, lifecycle = interruptible()
    seen: Collector[AnyMessage] = Collector()
    with remote.kernel() as kernel:
        request = kernel.execute("input()", timeout=5, on_input=lambda *_: reactivex.never())
        request.subscribe(seen)
        send_input_request(remote)
        settle(kernel)
        remote.clock.advance_by(6)
        assert isinstance(seen.wait_for_error(), RequestTimeout)
        assert lifecycle.calls == ["interrupt"]


def test_input_after_dispose_interrupts() -> None:
    remote, lifecycle = interruptible()
    errors: Collector[EnchannelError] = Collector()
    with remote.kernel() as kernel:
        kernel.errors.subscribe(errors)
        kernel.execute("input()", on_input=never).subscribe().dispose()
        send_input_request(remote)
        assert lifecycle.calls == ["interrupt"]
    assert "because no on_input was given" in str(errors.wait_for_end()[0])


def test_unanswered_input_interrupts() -> None:
    remote, lifecycle = interruptible()
    errors: Collector[EnchannelError] = Collector()
    with remote.kernel() as kernel:
        kernel.errors.subscribe(errors)
        kernel.execute("input()", allow_stdin=True).subscribe()
        send_input_request(remote)
        assert lifecycle.calls == ["interrupt"]
    assert "because no on_input was given" in str(errors.wait_for_end()[0])


@pytest.mark.parametrize("name", ["stdin", "main"])
def test_stdin_subscriber_answers_input(name: str) -> None:
    remote, lifecycle = interruptible()
    with remote.kernel() as kernel:
        channel: ec.Channel = getattr(kernel, name)

        def answer(input_request: AnyMessage) -> None:
            if input_request.header.msg_type == "input_request":
                channel.on_next(ec.input_reply("Ada", parent=input_request))

        channel.subscribe(answer)
        kernel.execute("input()", allow_stdin=True).subscribe()
        send_input_request(remote)
        settle(kernel)
        assert replies(remote) == ["Ada"]
        assert lifecycle.calls == []


def test_on_input_runs_on_loop() -> None:
    remote, threads = ScriptedLink(), list[threading.Thread]()

    def on_input(request: ec.InputPrompt) -> str:
        threads.append(threading.current_thread())
        return "Ada"

    async def main() -> None:
        async with remote.kernel() as kernel:
            scheduler = AsyncIOScheduler(asyncio.get_running_loop())
            kernel.execute("input()", on_input=on_input).subscribe(scheduler=scheduler)
            await asyncio.to_thread(send_input_request, remote)
            while not remote.received[STDIN]:
                await asyncio.sleep(0)

    run_on_loop(main)
    assert threads == [threading.current_thread()]


# Run.


def test_run_returns_result() -> None:
    remote = ScriptedLink()

    def answer(asked: AnyMessage) -> None:
        value = build.execute_result({"text/plain": "42"}, 3, parent=asked)
        remote.send(*answered(asked, printed("woo\n", asked), value, execution_count=3))

    remote.handler = answer
    with remote.kernel() as kernel:
        result = kernel.run("print('woo'); 6 * 7")
    assert codes(remote) == ["print('woo'); 6 * 7"]
    assert (result.status, result.text, result.execution_count) == ("ok", "woo\n42", 3)
    assert result.reply is not None
    assert result.duration > 0


def test_run_waits_for_output_after_reply() -> None:
    remote = ScriptedLink()

    def answer(asked: AnyMessage) -> None:
        remote.send(busy(asked), reply_to(asked), printed("late", asked), idle(asked))

    remote.handler = answer
    with remote.kernel() as kernel:
        assert kernel.run("print('late')").text == "late"


def failing() -> ScriptedLink:
    remote = ScriptedLink()

    def answer(asked: AnyMessage) -> None:
        remote.send(busy(asked), printed("before\n", asked))
        remote.send(raised(asked, "ZeroDivisionError", "division by zero"), idle(asked))

    remote.handler = answer
    return remote


def test_run_raises_kernel_error() -> None:
    with failing().kernel() as kernel:
        with pytest.raises(KernelError, match="ZeroDivisionError: division by zero") as caught:
            kernel.run("print('before'); 1 / 0")
    assert caught.value.ename == "ZeroDivisionError"
    assert caught.value.result is not None
    assert caught.value.result.text == "before\n"


def test_run_unchecked_returns_error() -> None:
    with failing().kernel() as kernel:
        result = kernel.run("print('before'); 1 / 0", check=False)
    assert result.status == "error"
    assert result.error is not None
    assert result.error.evalue == "division by zero"


def test_run_aborted_raises() -> None:
    remote = ScriptedLink()
    remote.handler = lambda asked: remote.send(*answered(asked, status="aborted"))
    with remote.kernel() as kernel:
        with pytest.raises(RequestAborted):
            kernel.run("6 * 7")
        assert kernel.run("6 * 7", check=False).status == "aborted"


def test_run_truncates_at_max_output() -> None:
    with answering("0123456789", "more").kernel() as kernel:
        result = kernel.run("chat()", max_output=12)
        assert (result.text, result.truncated) == ("0123456789mo", True)
        result = kernel.run("chat()", max_output=14)
        assert (result.text, result.truncated) == ("0123456789more", False)
        with pytest.raises(
            ValueError, match="max_output must be a number of characters or None, not -1"
        ):
            kernel.run("chat()", max_output=-1)


def test_run_timeout_interrupts_and_has_result() -> None:
    remote, lifecycle = interruptible()
    remote.handler = lambda asked: remote.send(
        busy(asked), started(asked), printed("so far", asked)
    )
    with remote.kernel() as kernel:
        with pytest.raises(
            RequestTimeout, match=r"within 0.01 s and was interrupted; 1 output"
        ) as it:
            kernel.run("train()", timeout=0.01)
        assert lifecycle.calls == ["interrupt"]
    assert it.value.result is not None
    assert it.value.result.text == "so far"
    assert it.value.result.status == "incomplete"


def test_queued_run_timeout_interrupts_later() -> None:
    remote, lifecycle = interruptible()
    remote.handler = lambda asked: remote.send(busy(ec.execute_request("other")))
    with remote.kernel() as kernel:
        with pytest.raises(RequestTimeout, match="has not started"):
            kernel.run("train()", timeout=0.01)
        assert lifecycle.calls == []


def test_answering_input_keeps_run_timeout() -> None:
    remote, _ = interruptible()
    remote.handler = lambda _: void(Thread(lambda: send_input_request(remote)))
    with remote.kernel() as kernel:
        kernel.errors.subscribe(lambda _: None)
        with pytest.raises(RequestTimeout):
            kernel.run("while True: input()", timeout=0.05, on_input=lambda *_: "again")


@pytest.mark.parametrize(
    "end", [KernelDied("killed", exit_code=-9, stderr="oh"), ConnectionLost("cut")]
)
def test_run_of_dying_kernel_has_result(end: KernelDied | ConnectionLost) -> None:
    remote = ScriptedLink()

    def die(asked: AnyMessage) -> None:
        remote.send(busy(asked), printed("so far", asked))
        remote.emit_event(end)

    remote.handler = die
    with remote.kernel() as kernel:
        kernel.errors.subscribe(lambda _: None)
        with pytest.raises(type(end)) as caught:
            kernel.run("os._exit(1)")
    assert caught.value.result is not None
    assert caught.value.result.text == "so far"
    assert vars(caught.value) == vars(end) | {"result": caught.value.result}
    assert end.result is None


def test_runs_that_fail_together_keep_results() -> None:
    remote, sent = ScriptedLink(), threading.Semaphore(0)
    remote.handler = lambda _: sent.release()
    with remote.kernel() as kernel:
        kernel.errors.subscribe(lambda _: None)
        runs = [Thread(lambda code=code: kernel.run(code)) for code in "abc"]  # type: ignore[misc]
        for _ in runs:
            assert sent.acquire(timeout=DEADLINE)
        for asked in remote.received[SHELL]:
            remote.send(printed(asked.content["code"], asked))
        remote.emit_event(KernelDied("killed"))
        texts = list[str]()
        for run in runs:
            with pytest.raises(KernelDied) as caught:
                run.result()
            assert caught.value.result is not None
            texts.append(caught.value.result.text)
    assert texts == ["a", "b", "c"]


def test_run_without_reply_has_result() -> None:
    """A request that gets its idle status and no reply fails also when the run has no timeout."""
    remote = ScriptedLink()

    def answer_partly(asked: AnyMessage) -> None:
        remote.send(busy(asked), printed("so far", asked), idle(asked))
        Thread(lambda: remote.clock.advance_by(11))

    remote.handler = answer_partly
    with remote.kernel() as kernel, pytest.raises(RequestTimeout, match="but no reply") as caught:
        kernel.run("1")
    assert caught.value.result is not None
    assert caught.value.result.text == "so far"


def test_stubborn_run_is_interrupted_once() -> None:
    """A second interrupt would hit the cleanup of code that handles the first."""
    lifecycle = ScriptedLifecycle()
    remote = ScriptedLink(lifecycle=lifecycle)
    remote.handler = lambda asked: remote.send(busy(asked), started(asked))
    with remote.kernel() as kernel:
        with pytest.raises(RequestTimeout, match="was interrupted"):
            kernel.run("train()", timeout=0.01)
        assert lifecycle.calls == ["interrupt"]


EXECUTE_KEYWORDS: dict[str, Any] = {
    "silent": True,
    "store_history": False,
    "user_expressions": {"x": "1"},
    "allow_stdin": True,
    "stop_on_error": False,
}


def test_run_and_arun_have_keywords_of_execute() -> None:
    remote = answering()
    with remote.kernel() as kernel:
        run_on_loop(lambda: kernel.arun("x", **EXECUTE_KEYWORDS, idle_grace=3))
        kernel.run("x", **EXECUTE_KEYWORDS, idle_grace=3)
        ec.wait(kernel.execute("x", **EXECUTE_KEYWORDS))
    contents = [message.content for message in remote.received[SHELL]]
    assert contents == [{"code": "x", **EXECUTE_KEYWORDS}] * 3
    run, arun, execute = (
        set(inspect.signature(method).parameters)
        for method in (Kernel.run, Kernel.arun, Kernel.execute)
    )
    assert run == arun == execute - {"interrupt_if_abandoned"} | {"check", "max_output"}


# arun.


def arun(remote: ScriptedLink, code: str, **options: Any) -> Result:
    async def main() -> Result:
        async with remote.kernel() as kernel:
            kernel.errors.subscribe(lambda _: None)
            return await kernel.arun(code, **options)

    return run_on_loop(main)


def test_arun_returns_result() -> None:
    result = arun(answering("wo", "o\n"), "print('woo')")
    assert (result.status, result.text) == ("ok", "woo\n")
    assert result.duration > 0
    assert arun(answering("a" * 20), "chat()", max_output=12).truncated


def test_arun_checks_result() -> None:
    def failing() -> ScriptedLink:
        remote = ScriptedLink()
        remote.handler = lambda asked: remote.send(
            busy(asked), printed("before", asked), raised(asked, "ValueError"), idle(asked)
        )
        return remote

    with pytest.raises(KernelError) as caught:
        arun(failing(), "1 / 0")
    assert caught.value.result is not None
    assert caught.value.result.text == "before"
    assert arun(failing(), "1 / 0", check=False).status == "error"


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"timeout": 0}, ValueError),
        ({"timeout": "x"}, TypeError),
        ({"max_output": -1}, ValueError),
        ({"max_output": "x"}, TypeError),
    ],
)
def test_arun_rejects_invalid_options(options: dict[str, Any], error: type[Exception]) -> None:
    remote = ScriptedLink()
    with pytest.raises(error, match=next(iter(options))):
        arun(remote, "1", **options)
    assert remote.received[SHELL] == []


def test_arun_timeout_interrupts_and_has_result() -> None:
    remote, lifecycle = interruptible()
    remote.handler = lambda asked: remote.send(
        busy(asked), started(asked), printed("so far", asked)
    )
    with pytest.raises(
        RequestTimeout, match=r"within 0.01 s and was interrupted; 1 output"
    ) as caught:
        arun(remote, "train()", timeout=0.01)
    assert lifecycle.calls[0] == "interrupt"
    assert caught.value.result is not None
    assert caught.value.result.text == "so far"


def test_queued_arun_timeout_interrupts_later() -> None:
    remote, lifecycle = interruptible()
    other = ec.execute_request("other")
    remote.handler = lambda asked: remote.send(busy(other))

    async def main() -> None:
        async with remote.kernel() as kernel:
            with pytest.raises(RequestTimeout, match="has not started"):
                await kernel.arun("train()", timeout=0.01)
            assert lifecycle.calls == []
            remote.send(idle(other), busy(remote.last_request))
            remote.clock.advance_by(1)
            assert lifecycle.calls == ["interrupt"]

    run_on_loop(main)


def test_cancelled_arun_interrupts_and_waits_for_end() -> None:
    lifecycle = ScriptedLifecycle()
    remote = ScriptedLink(lifecycle=lifecycle)
    remote.handler = lambda asked: remote.send(busy(asked), started(asked))
    ended = list[str]()

    def end_later(name: str) -> None:
        if name == "interrupt":
            asyncio.get_running_loop().call_later(0.05, end)

    def end() -> None:
        ended.append("code")
        code = remote.received[SHELL][0]
        remote.send(raised(code, "KeyboardInterrupt"), idle(code))

    lifecycle.on_call = end_later

    async def main() -> None:
        async with remote.kernel() as kernel:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await kernel.arun("train()")
            ended.append("arun")
            assert lifecycle.calls == ["interrupt"]
            assert ids(remote)[0] not in parts_of(kernel).requests.by_id

    run_on_loop(main)
    assert ended == ["code", "arun"]


def test_arun_cancelled_twice_ends_at_once() -> None:
    lifecycle = ScriptedLifecycle()
    remote = ScriptedLink(lifecycle=lifecycle)

    async def main() -> None:
        async with remote.kernel() as kernel:
            running = asyncio.ensure_future(kernel.arun("train()"))
            await asyncio.sleep(0)
            remote.send(busy(remote.last_request), started(remote.last_request))
            for _ in range(2):
                running.cancel()
                await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert running.cancelled()
            assert lifecycle.calls == ["interrupt"]
            assert ids(remote)[0] not in parts_of(kernel).requests.by_id

    run_on_loop(main)


@pytest.mark.parametrize("end", [KernelDied("killed", exit_code=-9), ConnectionLost("cut")])
def test_arun_of_dying_kernel_has_result(end: KernelDied | ConnectionLost) -> None:
    remote = ScriptedLink()

    def die(asked: AnyMessage) -> None:
        remote.send(busy(asked), printed("so far", asked))
        remote.emit_event(end)

    remote.handler = die
    with pytest.raises(type(end)) as caught:
        arun(remote, "os._exit(1)")
    assert caught.value.result is not None
    assert caught.value.result.text == "so far"
    assert end.result is None


def test_arun_answers_input_on_loop() -> None:
    remote, threads = ScriptedLink(), list[threading.Thread]()

    def on_sent(message: AnyMessage) -> None:
        if message.channel is STDIN:
            remote.send(*answered(remote.received[SHELL][-1])[1:])
        else:
            send_input_request(remote)

    async def answer(*_: object) -> str:
        threads.append(threading.current_thread())
        return "Ada"

    remote.handler = on_sent

    async def main() -> Result:
        async with remote.kernel() as kernel:
            result = await kernel.arun("input()", on_input=answer)
        assert threads == [threading.current_thread()]
        return result

    assert run_on_loop(main).status == "ok"
    assert replies(remote) == ["Ada"]


def test_arun_raises_error_of_on_input() -> None:
    remote, lifecycle = interruptible()
    remote.handler = lambda asked: send_input_request(remote)
    with pytest.raises(ZeroDivisionError):
        arun(remote, "input()", on_input=lambda *_: str(1 / 0))
    assert "interrupt" in lifecycle.calls


def test_dropped_arun_interrupts() -> None:
    """A loop that is closed drops its tasks without cancelling them."""
    remote, lifecycle = interruptible()
    with remote.kernel() as kernel:
        running = kernel.arun("train()")
        loop = asyncio.new_event_loop()
        task = loop.create_task(running)
        loop.run_until_complete(asyncio.sleep(0))
        remote.send(busy(remote.last_request), started(remote.last_request))
        loop.close()
        running.close()
        assert lifecycle.calls == ["interrupt"]
        assert ids(remote)[0] not in parts_of(kernel).requests.by_id
        assert not task.done()


def test_run_on_loop_raises() -> None:
    async def main() -> None:
        async with ScriptedLink().kernel() as kernel:
            with pytest.raises(WouldDeadlock, match=r"use `await kernel\.arun\(…\)`"):
                kernel.run("6 * 7")

    run_on_loop(main)


def test_run_in_subscriber_raises() -> None:
    remote, errors = ScriptedLink(), Collector[EnchannelError]()
    with remote.kernel() as kernel:
        kernel.errors.subscribe(errors)
        kernel.iopub.subscribe(lambda _: void(kernel.run("6 * 7")))
        remote.send(printed("woo"))
        (error,) = errors.wait_for_count(1)
    assert isinstance(error.__cause__, WouldDeadlock)
    assert "subscribe to `kernel.execute(…)` instead" in str(error.__cause__)
    assert "use `await kernel.arun(…)` on an event loop" in str(error.__cause__)
    assert remote.received[SHELL] == []


def void(_: object) -> None: ...


def test_run_starts_no_thread() -> None:
    with answering("woo").kernel() as kernel:
        kernel.run("6 * 7")
        assert not parts_of(kernel).delivery.is_started


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="there are no such signals here")
def test_ctrl_c_during_run_interrupts_kernel() -> None:
    remote, lifecycle = interruptible()
    main, left = threading.main_thread(), threading.Event()
    assert main is threading.current_thread()

    def interrupt_when_blocked() -> None:
        wait_until_blocked_in(main, Waiter.wait)
        interrupt_main_thread()
        if not left.wait(1.0):
            # A signal that arrives just before CPython blocks does not wake it up.
            parts_of(kernel).requests.by_id[remote.last_request.header.msg_id]._sink.call(
                lambda: None
            )

    remote.handler = lambda asked: remote.send(busy(asked), started(asked))
    with remote.kernel() as kernel:
        interrupting = Thread(interrupt_when_blocked)
        with pytest.raises(KeyboardInterrupt):
            kernel.run("train()")
        left.set()
        interrupting.result()
        assert lifecycle.calls == ["interrupt"]
        assert ids(remote)[0] not in parts_of(kernel).requests.by_id


def test_interrupted_wait_disposes_request() -> None:
    remote, lifecycle = interruptible()

    def interrupted(request: ec.InputPrompt) -> str:
        raise KeyboardInterrupt

    remote.handler = lambda asked: send_input_request(remote)
    with remote.kernel() as kernel:
        with pytest.raises(KeyboardInterrupt):
            ec.wait(kernel.execute("input()", on_input=interrupted))
        assert ids(remote)[0] not in parts_of(kernel).requests.by_id
        assert lifecycle.calls == ["interrupt"]


# The methods.


def sent_by(ask: Callable[[Kernel], Observable[AnyMessage]]) -> AnyMessage:
    remote = ScriptedLink()
    with remote.kernel() as kernel:
        ask(kernel).subscribe()
    return (remote.received[SHELL] + remote.received[CONTROL])[0]


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda k: k.kernel_info(), ec.kernel_info_request()),
        (lambda k: k.complete("pri"), ec.complete_request("pri")),
        (lambda k: k.complete("pri", 2), ec.complete_request("pri", 2)),
        (lambda k: k.inspect("print"), ec.inspect_request("print")),
        (
            lambda k: k.inspect("print", 2, detail_level=1),
            ec.inspect_request("print", 2, detail_level=1),
        ),
        (lambda k: k.history(n=3), ec.history_request("tail", n=3)),
        (lambda k: k.history("search", pattern="im*"), ec.history_request("search", pattern="im*")),
        (
            lambda k: k.history("range", session=-1, start=2, stop=5, output=True, raw=False),
            ec.history_request("range", session=-1, start=2, stop=5, output=True, raw=False),
        ),
        (
            lambda k: k.history("search", pattern="im*", n=3, unique=True),
            ec.history_request("search", pattern="im*", n=3, unique=True),
        ),
        (lambda k: k.is_complete("if x:"), ec.is_complete_request("if x:")),
        (lambda k: k.comm_info("jupyter.widget"), ec.comm_info_request("jupyter.widget")),
        (lambda k: k.execute("1"), ec.execute_request("1")),
        (
            lambda k: k.execute(
                "1",
                silent=True,
                store_history=False,
                user_expressions={"x": "2"},
                allow_stdin=True,
                stop_on_error=False,
            ),
            ec.execute_request(
                "1",
                silent=True,
                store_history=False,
                user_expressions={"x": "2"},
                allow_stdin=True,
                stop_on_error=False,
            ),
        ),
    ],
)
def test_each_request_type_has_a_method(
    ask: Callable[[Kernel], Observable[AnyMessage]], message: AnyMessage
) -> None:
    sent = sent_by(ask)
    assert sent.replace(header=message.header) == message
    assert sent.header.msg_type == message.header.msg_type


@pytest.mark.parametrize(
    "ask",
    [
        lambda k: k.kernel_info(),
        lambda k: k.complete("pri"),
        lambda k: k.inspect("print"),
        lambda k: k.history(n=3),
        lambda k: k.is_complete("if x:"),
        lambda k: k.comm_info(),
        lambda k: k.debug("initialize"),
    ],
)
def test_typed_request_emits_reply_only(ask: Callable[[Kernel], Observable[AnyMessage]]) -> None:
    remote = ScriptedLink()

    def answer(request: AnyMessage) -> None:
        remote.send(*answered(request, printed("beside it", request)))

    remote.handler = answer
    with remote.kernel() as kernel:
        request = ask(kernel)
        seen, again = Collector(request), Collector(request)
        (reply,) = seen.wait_for_end()
        assert seen.completed
        sent = (remote.received[SHELL] + remote.received[CONTROL])[0]
        assert reply.msg_type == sent.msg_type.removesuffix("_request") + "_reply"
        assert reply.parent_header.msg_id == sent.msg_id
        assert len(again.wait_for_end()) == 1


def test_typed_request_fails_on_reply_of_other_type() -> None:
    remote, seen = ScriptedLink(), Collector[AnyMessage]()
    with remote.kernel() as kernel:
        kernel.comm_info().subscribe(seen)
        wrong = ec.create_message("complete_reply", {"status": "ok"}, parent=remote.last_request)
        remote.send(wrong, idle(remote.last_request))
        error = seen.wait_for_error()
    assert isinstance(error, RequestFailed)
    assert "with complete_reply instead of comm_info_reply" in str(error)
    assert seen.items == []


def test_typed_request_without_reply_fails() -> None:
    remote, timed_out = ScriptedLink(), Collector[AnyMessage]()
    with remote.kernel() as kernel:
        died = Collector(kernel.complete("pri"))
        kernel.complete("pri", timeout=3).subscribe(timed_out)
        remote.clock.advance_by(3)
        assert isinstance(timed_out.wait_for_error(), RequestTimeout)
        kernel.errors.subscribe(lambda _: None)
        remote.emit_event(KernelDied("killed"))
        assert isinstance(died.wait_for_error(), KernelDied)


def test_typed_reply_is_checked() -> None:
    remote = ScriptedLink()
    remote.handler = lambda asked: remote.send(
        busy(asked), raised(asked, "ValueError", "no"), idle(asked)
    )
    with remote.kernel() as kernel:
        assert ec.wait(kernel.inspect("x")).content["status"] == "error"
        with pytest.raises(KernelError, match="ValueError: no"):
            ec.wait(kernel.inspect("x").pipe(ec.check()))


def test_history_rejects_unknown_keyword() -> None:
    unknown: Any = {"last": 3}
    with ScriptedLink().kernel() as kernel, pytest.raises(TypeError, match="last"):
        kernel.history("tail", **unknown)


def test_debug_requests_have_increasing_seq() -> None:
    remote = ScriptedLink()
    with remote.kernel() as kernel:
        kernel.debug("initialize", {"clientID": "x"}).subscribe()
        kernel.debug("attach").subscribe()
    first, second = remote.received[CONTROL]
    assert (first.content["command"], first.content["arguments"]) == (
        "initialize",
        {"clientID": "x"},
    )
    assert second.content["seq"] == first.content["seq"] + 1


def test_wait_returns_reply() -> None:
    with answering().kernel() as kernel:
        assert ec.wait(kernel.kernel_info()).header.msg_type == "kernel_info_reply"
        assert in_thread(lambda: ec.wait(kernel.is_complete("1"))).channel is SHELL
