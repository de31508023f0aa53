"""A request is a cold observable: subscribing sends it, and what answers it are its items."""

import asyncio
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
    RequestAborted,
    RequestTimeout,
    Result,
    SubscriberRaised,
    WouldDeadlock,
)
from enchannel import messages as build
from enchannel._rx.waiting import Waiter
from enchannel.errors import EnchannelError
from tests.rigs import DEADLINE
from tests.rigs.memory import (
    MemoryKernel,
    MemoryLifecycle,
    Seen,
    Thread,
    answered,
    busy,
    idle,
    in_thread,
    loop_runs,
    printed,
    reply_to,
    settle,
    types,
    wait_until_it_waits,
)

SHELL, CONTROL, STDIN = ChannelName.SHELL, ChannelName.CONTROL, ChannelName.STDIN


def codes(far: MemoryKernel) -> list[str]:
    return [message.content["code"] for message in far.sent[SHELL]]


def ids(far: MemoryKernel) -> list[str]:
    return [message.header.msg_id for message in far.sent[SHELL]]


def answering(*outputs: str) -> MemoryKernel:
    """A kernel that answers all that it is asked, at once."""
    far = MemoryKernel()

    def answer(request: AnyMessage) -> None:
        far.say(*answered(request, *(printed(text, request) for text in outputs)))

    far.on_sent = answer
    return far


def interruptible() -> tuple[MemoryKernel, MemoryLifecycle]:
    """A kernel that takes interrupts, and does as it is told."""
    lifecycle = MemoryLifecycle()
    far = MemoryKernel(lifecycle=lifecycle)

    def interrupted(name: str) -> None:
        if name == "interrupt":
            far.say(raised(far.asked, "KeyboardInterrupt"), idle(far.asked))

    lifecycle.on_call = interrupted
    return far, lifecycle


def raised(request: AnyMessage, ename: str, evalue: str = "") -> AnyMessage:
    return reply_to(request, status="error", ename=ename, evalue=evalue, traceback=[])


# Sending.


def test_nothing_is_sent_before_somebody_subscribes() -> None:
    far = MemoryKernel()
    with far.kernel() as kernel:
        request = kernel.execute("6 * 7")
        assert codes(far) == []
        request.subscribe()
        assert codes(far) == ["6 * 7"]


def test_a_request_goes_where_its_message_says() -> None:
    far = MemoryKernel()
    with far.kernel() as kernel:
        kernel.request(ec.interrupt_request()).subscribe()
        kernel.request(ec.kernel_info_request(channel="control")).subscribe()
    assert types(far.sent[CONTROL]) == ["interrupt_request", "kernel_info_request"]


def test_the_first_subscription_sends_the_message_itself() -> None:
    far, message = MemoryKernel(), ec.kernel_info_request()
    with far.kernel() as kernel:
        kernel.request(message).subscribe()
    assert ids(far) == [message.header.msg_id]


def test_each_subscription_is_a_request_of_its_own() -> None:
    far, message = MemoryKernel(), ec.kernel_info_request()
    with far.kernel() as kernel:
        request = kernel.request(message)
        for _ in range(3):
            request.subscribe()
    assert len(set(ids(far))) == 3
    assert ids(far)[0] == message.header.msg_id


def test_each_subscription_is_dated_when_it_is_sent() -> None:
    far = MemoryKernel()
    with far.kernel() as kernel:
        session = kernel.session
        message = session.fill_headers(ec.kernel_info_request())
        request = kernel.request(message)
        request.subscribe()
        request.subscribe()
    first, second = (message.header for message in far.sent[SHELL])
    assert first.date == message.header.date
    assert second.date > first.date
    assert second.session == session.id


def test_one_message_may_be_asked_twice_at_once() -> None:
    far, message = MemoryKernel(), ec.kernel_info_request()
    seen = Seen[AnyMessage](), Seen[AnyMessage]()
    with far.kernel() as kernel:
        for one in seen:
            kernel.request(message).subscribe(one)
        assert len(set(ids(far))) == 2
        for sent in list(far.sent[SHELL]):
            far.say(*answered(sent))
        assert [types(one.all())[-1] for one in seen] == ["kernel_info_reply"] * 2


def test_what_may_not_be_sent_is_the_subscribers_error() -> None:
    far, seen = MemoryKernel(), Seen[AnyMessage]()
    with far.kernel() as kernel:
        kernel.request(ec.create_message("execute_request", {"code": 3})).subscribe(seen)
        assert isinstance(seen.failure(), InvalidMessage)
    assert far.sent[SHELL] == []


def test_a_channel_that_is_not_there_is_the_subscribers_error() -> None:
    seen: Seen[AnyMessage] = Seen()
    with MemoryKernel(SHELL, ChannelName.IOPUB).kernel() as kernel:
        kernel.request(ec.interrupt_request()).subscribe(seen)
        assert isinstance(seen.failure(), NotSupported)


def test_a_link_that_is_down_is_the_subscribers_error() -> None:
    far, seen, down = MemoryKernel(), Seen[AnyMessage](), ConnectionLost("it is down")
    with far.kernel() as kernel:
        far.refuses = down
        kernel.kernel_info().subscribe(seen)
        assert seen.failure() is down


def test_a_closed_kernel_is_the_subscribers_error() -> None:
    with MemoryKernel().kernel() as kernel:
        before = kernel.kernel_info()
    for request in (before, kernel.kernel_info(), kernel.execute("6 * 7")):
        seen: Seen[AnyMessage] = Seen()
        request.subscribe(seen)
        assert isinstance(seen.failure(), ChannelClosed)
    with pytest.raises(ChannelClosed):
        kernel.run("6 * 7")


# The answer.


def test_items_come_as_they_arrive_and_the_reply_last() -> None:
    far, seen = MemoryKernel(), Seen[AnyMessage]()
    with far.kernel() as kernel:
        kernel.execute("print(1)").subscribe(seen)
        asked = far.asked
        far.say(busy(asked), printed("1", asked), reply_to(asked), idle(asked))
        assert types(seen.all()) == ["status", "stream", "status", "execute_reply"]
        assert seen.completed


def test_the_idle_may_come_before_the_reply() -> None:
    far, seen = MemoryKernel(), Seen[AnyMessage]()
    with far.kernel() as kernel:
        kernel.execute("print(1)").subscribe(seen)
        asked = far.asked
        far.say(busy(asked), printed("1", asked), idle(asked), reply_to(asked))
        assert types(seen.all()) == ["status", "stream", "status", "execute_reply"]


def test_a_reply_is_not_waited_for_for_ever_when_the_kernel_is_done() -> None:
    far, seen = MemoryKernel(), Seen[AnyMessage]()
    with far.kernel() as kernel:
        kernel.execute("print(1)").subscribe(seen)
        far.clock.advance_by(100)  # as long as the code takes
        far.say(busy(far.asked), printed("1", far.asked), idle(far.asked))
        far.clock.advance_by(9.9)
        settle(kernel)
        assert not seen.ended
        far.clock.advance_by(0.2)
        error = seen.failure()
    assert isinstance(error, RequestTimeout)
    assert "no reply came within 10 s" in str(error)


def test_outputs_may_come_after_the_reply() -> None:
    """As some kernels send them."""
    far, seen = MemoryKernel(), Seen[AnyMessage]()
    with far.kernel() as kernel:
        kernel.execute("print(1)").subscribe(seen)
        asked = far.asked
        far.say(busy(asked), reply_to(asked), printed("1", asked), idle(asked))
        assert types(seen.all()) == ["status", "stream", "status", "execute_reply"]


@pytest.mark.parametrize("missing", ["reply", "idle"])
def test_it_is_complete_with_reply_and_idle_and_not_before(missing: str) -> None:
    far, seen = MemoryKernel(), Seen[AnyMessage]()
    with far.kernel() as kernel:
        kernel.execute("6 * 7").subscribe(seen)
        reply, end = reply_to(far.asked), idle(far.asked)
        far.say(busy(far.asked), reply if missing == "idle" else end)
        settle(kernel)
        assert not seen.ended
        far.say(end if missing == "idle" else reply)
        seen.all()


def test_what_is_not_its_own_is_not_among_its_items() -> None:
    far, seen, other = MemoryKernel(), Seen[AnyMessage](), ec.execute_request("other")
    with far.kernel() as kernel:
        kernel.execute("6 * 7").subscribe(seen)
        asked = far.asked
        far.say(*answered(other, printed("other", other)), printed("nobody's"))
        far.say(*answered(asked))
        assert types(seen.all()) == ["status", "status", "execute_reply"]


def test_what_comes_after_completion_is_still_on_the_channel() -> None:
    far, seen, iopub = MemoryKernel(), Seen[AnyMessage](), Seen[AnyMessage]()
    with far.kernel() as kernel:
        kernel.iopub.pipe(ec.of_message_type("stream")).subscribe(iopub)
        kernel.execute("start_thread()").subscribe(seen)
        far.say(*answered(far.asked), printed("late", far.asked))
        assert types(iopub.first(1)) == ["stream"]
        assert "stream" not in types(seen.all())


def test_an_answer_of_another_type_is_still_the_answer() -> None:
    """tslab answers comm_info_request with a complete_reply."""
    far, seen = MemoryKernel(), Seen[AnyMessage]()
    with far.kernel() as kernel:
        kernel.comm_info().subscribe(seen)
        wrong = ec.create_message("complete_reply", {"status": "ok"}, parent=far.asked)
        far.say(wrong, idle(far.asked))
        assert types(seen.all()) == ["status", "complete_reply"]


@pytest.mark.parametrize("kind", ["comm_close", "comm_msg", "comm_open"])
def test_a_word_about_comms_on_shell_is_not_the_answer(kind: str) -> None:
    """deno closes comms there."""
    far, seen = MemoryKernel(), Seen[AnyMessage]()
    with far.kernel() as kernel:
        kernel.execute("6 * 7").subscribe(seen)
        stray = ec.create_message(kind, {"comm_id": "c1"}, parent=far.asked)
        far.say(stray, *answered(far.asked))
        assert types(seen.all()) == [kind, "status", "status", "execute_reply"]


def test_a_second_reply_does_not_hold_it_up() -> None:
    far, seen = MemoryKernel(), Seen[AnyMessage]()
    with far.kernel() as kernel:
        kernel.execute("6 * 7").subscribe(seen)
        first, second = reply_to(far.asked, execution_count=1), reply_to(far.asked)
        far.say(first, second, idle(far.asked))
        assert seen.all()[-1] == first


def test_a_copy_of_the_reply_on_iopub_is_not_the_answer() -> None:
    """ipykernel tells everybody of a shutdown."""
    far, seen = MemoryKernel(), Seen[AnyMessage]()
    with far.kernel() as kernel:
        kernel.request(ec.shutdown_request()).subscribe(seen)
        (asked,) = far.sent[CONTROL]
        copy = reply_to(asked).replace(channel="iopub")
        far.say(copy, idle(asked))
        settle(kernel)
        assert not seen.ended
        far.say(reply_to(asked))
        assert [m.channel for m in seen.all()] == ["iopub", "iopub", "control"]


def test_requests_are_answered_in_whatever_order() -> None:
    far, seen = MemoryKernel(), [Seen[AnyMessage]() for _ in range(3)]
    with far.kernel() as kernel:
        for number, one in enumerate(seen):
            kernel.execute(str(number)).subscribe(one)
        for asked in reversed(far.sent[SHELL]):
            far.say(*answered(asked, printed(asked.content["code"], asked)))
        for number, one in enumerate(seen):
            assert one.all()[1].content["text"] == str(number)


def test_two_hundred_requests_of_twenty_threads_have_their_own_outputs() -> None:
    far, shuffled = MemoryKernel(), random.Random(0)
    enough = threading.Semaphore(0)
    far.on_sent = lambda _: enough.release()

    with far.kernel() as kernel:

        def run_ten(thread: int) -> list[Result]:
            requests = [
                kernel.execute(f"{thread} {number}").pipe(ec.to_result()) for number in range(10)
            ]
            return ec.wait(reactivex.merge(*requests).pipe(ops.to_list()))

        threads = [Thread(lambda thread=thread: run_ten(thread)) for thread in range(20)]  # type: ignore[misc]
        for _ in range(200):
            assert enough.acquire(timeout=DEADLINE)
        answers = [iter([busy(m), *outputs(m), reply_to(m), idle(m)]) for m in far.sent[SHELL]]
        while answers:  # all of them interleaved, each in its order
            answer = shuffled.choice(answers)
            if (message := next(answer, None)) is None:
                answers.remove(answer)
            else:
                far.say(message)
        texts = {result.text for thread in threads for result in thread.result()}
    expected = {f"{t} {n}\nwoo\n" for t in range(20) for n in range(10)}
    assert texts == expected


def outputs(request: AnyMessage) -> Iterator[AnyMessage]:
    yield printed(request.content["code"] + "\n", request)
    yield printed("woo\n", request)


def test_a_request_costs_nothing_when_it_is_over() -> None:
    far = answering()
    with far.kernel() as kernel:
        for _ in range(100):
            ec.wait(kernel.kernel_info())
        kernel.execute("6 * 7").subscribe().dispose()
        assert kernel._exchanges == {}
        assert kernel.shell.observer_count == kernel.iopub.observer_count == 0
        far.clock.advance_by(60)  # no timeout has been left behind
    late: Seen[EnchannelError] = Seen()
    kernel.errors.subscribe(late)
    assert late.all() == []


# An idle that does not come.


def test_a_reply_is_held_for_its_idle_for_two_seconds() -> None:
    far, seen, errors = MemoryKernel(), Seen[AnyMessage](), Seen[EnchannelError]()
    with far.kernel() as kernel:
        kernel.errors.subscribe(errors)
        kernel.execute("6 * 7").subscribe(seen)
        far.say(busy(far.asked), printed("woo", far.asked), reply_to(far.asked))
        far.clock.advance_by(1.9)
        settle(kernel)
        assert not seen.ended
        far.clock.advance_by(0.2)
        assert types(seen.all()) == ["status", "stream", "execute_reply"]
        assert seen.completed
        (error,) = errors.first(1)
    assert isinstance(error, MessagesMayBeMissing)
    assert "no idle came within 2 s" in str(error)
    assert f"execute_request {far.asked.header.msg_id[:8]}" in str(error)


def test_how_long_a_reply_is_held_can_be_said() -> None:
    far, seen = MemoryKernel(), Seen[AnyMessage]()
    with far.kernel() as kernel:
        kernel.errors.subscribe(lambda _: None)
        kernel.execute("6 * 7", idle_grace=0.5).subscribe(seen)
        far.say(reply_to(far.asked))
        far.clock.advance_by(0.6)
        seen.all()


def test_an_idle_that_comes_in_time_is_no_error() -> None:
    far, seen, errors = MemoryKernel(), Seen[AnyMessage](), Seen[EnchannelError]()
    with far.kernel() as kernel:
        kernel.errors.subscribe(errors)
        kernel.execute("6 * 7").subscribe(seen)
        far.say(busy(far.asked), reply_to(far.asked))
        far.clock.advance_by(1.9)
        far.say(idle(far.asked))
        seen.all()
        far.clock.advance_by(60)
    assert errors.all() == []


def test_an_idle_is_awaited_for_as_long_as_output_comes() -> None:
    far, seen, errors = MemoryKernel(), Seen[AnyMessage](), Seen[EnchannelError]()
    with far.kernel() as kernel:
        kernel.errors.subscribe(errors)
        kernel.execute("6 * 7").subscribe(seen)
        far.say(busy(far.asked), reply_to(far.asked))
        for number in range(5):
            far.clock.advance_by(1.5)
            far.say(build.stream("stdout", str(number), parent=far.asked))
        far.say(idle(far.asked))
        assert len(seen.all()) == 8
    assert errors.all() == []


# Time.


def test_a_kernel_that_does_not_know_a_request_times_out() -> None:
    far, seen = MemoryKernel(), Seen[AnyMessage]()
    with far.kernel() as kernel:
        kernel.debug("initialize").subscribe(seen)
        far.clock.advance_by(9.9)
        settle(kernel)
        assert not seen.ended
        far.clock.advance_by(0.2)
        assert isinstance(seen.failure(), RequestTimeout)


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), float("inf"), "3"])
def test_a_time_that_makes_no_sense_is_refused(timeout: Any) -> None:
    far = MemoryKernel()
    with far.kernel() as kernel:
        for ask in (kernel.execute, kernel.run, kernel.is_complete):
            with pytest.raises(ValueError, match=r"the timeout is .*, and has to be seconds"):
                ask("6 * 7", timeout=timeout)
    assert far.sent[SHELL] == []


def test_code_may_take_as_long_as_it_takes() -> None:
    far, seen = MemoryKernel(SHELL, ChannelName.IOPUB), Seen[AnyMessage]()
    with far.kernel() as kernel:
        kernel.execute("train()").subscribe(seen)
        far.clock.advance_by(1_000_000)
        far.say(*answered(far.asked))
        seen.all()
        assert seen.completed


def timed_out(far: MemoryKernel, *said: Callable[[AnyMessage], AnyMessage]) -> str:
    seen: Seen[AnyMessage] = Seen()
    with far.kernel() as kernel:
        kernel.execute("6 * 7", timeout=3, idle_grace=60).subscribe(seen)
        far.say(*(say(far.asked) for say in said))
        far.clock.advance_by(4)
        error = seen.failure()
    assert isinstance(error, RequestTimeout)
    return str(error).partition(": ")[2]


def test_a_timeout_says_what_had_arrived() -> None:
    assert timed_out(MemoryKernel()) == "nothing had arrived, the reply had not"
    had = timed_out(MemoryKernel(), busy, idle)
    assert had == "2 messages had arrived, the reply had not"
    had = timed_out(MemoryKernel(), reply_to)
    assert had == "1 message had arrived, its idle status had not"


def test_a_timeout_says_that_the_kernel_is_busy_with_another() -> None:
    far = MemoryKernel()
    far.on_sent = lambda _: far.say(busy(ec.execute_request("train()")))
    assert timed_out(far).endswith("; the kernel is busy with another")


def test_a_timeout_names_the_request_and_the_time() -> None:
    far, seen = MemoryKernel(), Seen[AnyMessage]()
    with far.kernel() as kernel:
        kernel.kernel_info(timeout=1.5).subscribe(seen)
        far.clock.advance_by(2)
        text = str(seen.failure())
    name = f"kernel_info_request {far.asked.header.msg_id[:8]}"
    assert text.startswith(f"{name} had no complete answer within 1.5 s: ")


def test_what_comes_after_a_timeout_is_not_delivered() -> None:
    far, seen = MemoryKernel(), Seen[AnyMessage]()
    with far.kernel() as kernel:
        kernel.kernel_info(timeout=1).subscribe(seen)
        far.clock.advance_by(2)
        far.say(*answered(far.asked))
        settle(kernel)
        assert seen.items == []


# The end of kernel or link.


@pytest.mark.parametrize("end", [KernelDied("killed", exit_code=-9), ConnectionLost("cut")])
def test_the_end_of_kernel_or_link_ends_all_that_is_open(end: EnchannelError) -> None:
    far, seen = MemoryKernel(), [Seen[AnyMessage]() for _ in range(3)]
    with far.kernel() as kernel:
        kernel.errors.subscribe(lambda _: None)
        for one in seen:
            kernel.execute("6 * 7").subscribe(one)
        far.say(busy(far.asked))
        far.tell(ec.LinkState.LOST, end)
        assert [one.failure() for one in seen] == [end] * 3
        later: Seen[AnyMessage] = Seen()
        kernel.execute("6 * 7").subscribe(later)
        far.say(*answered(far.asked))
        later.all()
        assert later.completed


def test_a_link_that_is_given_up_ends_all_that_is_open() -> None:
    far, seen, gone = MemoryKernel(), Seen[AnyMessage](), ConnectionLost("for good")
    with far.kernel() as kernel:
        kernel.errors.subscribe(lambda _: None)
        kernel.execute("6 * 7").subscribe(seen)
        far.give_up(gone)
        assert seen.failure() is gone


def test_a_request_that_is_complete_is_not_ended_again() -> None:
    far, seen = MemoryKernel(), Seen[AnyMessage]()
    with far.kernel() as kernel:
        kernel.errors.subscribe(lambda _: None)
        kernel.execute("6 * 7").subscribe(seen)
        far.say(*answered(far.asked))
        far.tell(KernelDied("killed"))
        seen.all()
        assert seen.completed
        assert seen.error is None


# With reactivex's operators.


def test_retry_asks_anew() -> None:
    far, seen = MemoryKernel(), Seen[AnyMessage]()

    def on_sent(request: AnyMessage) -> None:
        if len(far.sent[SHELL]) == 3:
            far.say(*answered(request))
        else:
            far.tell(KernelDied("killed"))

    far.on_sent = on_sent
    with far.kernel() as kernel:
        kernel.errors.subscribe(lambda _: None)
        kernel.execute("6 * 7").pipe(ops.retry(3)).subscribe(seen)
        seen.all()
    assert seen.completed
    assert len(set(ids(far))) == 3


def test_share_asks_once_for_all_who_watch() -> None:
    far, seen = MemoryKernel(), [Seen[AnyMessage]() for _ in range(3)]
    with far.kernel() as kernel:
        shared = kernel.execute("6 * 7").pipe(ops.share())
        for one in seen:
            shared.subscribe(one)
        assert codes(far) == ["6 * 7"]
        far.say(*answered(far.asked))
        assert [types(one.all())[-1] for one in seen] == ["execute_reply"] * 3


def test_concat_asks_one_after_the_other() -> None:
    far, seen = MemoryKernel(), Seen[AnyMessage]()
    sent, may = threading.Semaphore(0), list[str]()
    far.on_sent = lambda _: sent.release()
    with far.kernel() as kernel:
        reactivex.concat(*(kernel.execute(code) for code in "abc")).subscribe(seen)
        for _ in "abc":
            assert sent.acquire(timeout=DEADLINE)
            may.append("".join(codes(far)))
            far.say(*answered(far.asked))
        seen.all()
    assert may == ["a", "ab", "abc"]
    assert seen.completed


def test_merge_asks_all_at_once() -> None:
    far, seen = MemoryKernel(), Seen[AnyMessage]()
    with far.kernel() as kernel:
        reactivex.merge(*(kernel.execute(code) for code in "abc")).subscribe(seen)
        assert codes(far) == ["a", "b", "c"]
        for request in far.sent[SHELL]:
            far.say(*answered(request))
        assert types(seen.all()).count("execute_reply") == 3


def test_switch_forgets_the_last_for_the_next() -> None:
    far, asked, seen = MemoryKernel(), Subject[str](), Seen[AnyMessage]()
    with far.kernel() as kernel:
        asked.pipe(ops.map(kernel.complete), ops.switch_latest()).subscribe(seen)
        asked.on_next("pri")
        asked.on_next("prin")
        first, second = far.sent[SHELL]
        far.say(*answered(first, matches=["print"]), *answered(second, matches=["print"]))
        settle(kernel)
        replies = [m for m in seen.items if m.header.msg_type == "complete_reply"]
        assert [m.parent_header.msg_id for m in replies] == [second.header.msg_id]


def test_take_until_stops_listening() -> None:
    far, stop, seen = MemoryKernel(), Subject[None](), Seen[AnyMessage]()
    with far.kernel() as kernel:
        kernel.execute("train()").pipe(ops.take_until(stop)).subscribe(seen)
        stop.on_next(None)
        assert kernel._exchanges == {}
    assert seen.completed


def test_a_requests_messages_make_a_result() -> None:
    with answering("wo", "o\n").kernel() as kernel:
        result = ec.wait(kernel.execute("print('woo')").pipe(ec.to_result()))
    assert (result.status, result.text) == ("ok", "woo\n")


# Disposing.


def test_disposing_stops_listening_and_nothing_else() -> None:
    far, lifecycle = interruptible()
    seen: Seen[AnyMessage] = Seen()
    with far.kernel() as kernel:
        subscription = kernel.execute("train()").subscribe(seen)
        far.say(busy(far.asked))
        seen.first(1)
        subscription.dispose()
        far.say(printed("1", far.asked), reply_to(far.asked), idle(far.asked))
        settle(kernel)
        assert types(seen.items) == ["status"]
        assert lifecycle.calls == []


def test_disposing_interrupts_where_that_was_asked_for() -> None:
    far, lifecycle = interruptible()
    with far.kernel() as kernel:
        subscription = kernel.execute("train()", on_dispose="interrupt").subscribe()
        far.say(busy(far.asked))
        subscription.dispose()
        subscription.dispose()
        assert lifecycle.calls == ["interrupt"]


@pytest.mark.parametrize(
    "said",
    [
        pytest.param([], id="it is queued"),
        pytest.param([busy, idle], id="it has run, and the reply is on its way"),
        pytest.param([busy, reply_to, idle], id="it is complete"),
    ],
)
def test_disposing_does_not_interrupt_what_others_run(
    said: list[Callable[[AnyMessage], AnyMessage]],
) -> None:
    far, lifecycle = interruptible()
    other = ec.execute_request("other")
    with far.kernel() as kernel:
        subscription = kernel.execute("mine", on_dispose="interrupt").subscribe()
        far.say(busy(other), *(say(far.asked) for say in said))
        subscription.dispose()
        assert lifecycle.calls == []


def test_completing_does_not_interrupt() -> None:
    far, lifecycle = interruptible()
    seen: Seen[AnyMessage] = Seen()
    with far.kernel() as kernel:
        kernel.execute("6 * 7", on_dispose="interrupt").subscribe(seen)
        far.say(*answered(far.asked))
        seen.all()
        assert lifecycle.calls == []


# What the kernel asks.


def asked_for_input(far: MemoryKernel, prompt: str = "Name? ", password: bool = False) -> None:
    far.say(busy(far.asked), build.input_request(prompt, password=password, parent=far.asked))


def replies(far: MemoryKernel) -> list[str]:
    return [message.content["value"] for message in far.sent[STDIN]]


def never(prompt: str, password: bool) -> str:
    raise AssertionError


def test_code_may_ask_only_where_somebody_answers() -> None:
    far = MemoryKernel()
    with far.kernel() as kernel:
        kernel.execute("1").subscribe()
        kernel.execute("2", on_input=never).subscribe()
        kernel.execute("3", allow_stdin=True).subscribe()
        kernel.execute("4", on_input=never, allow_stdin=False).subscribe()
        Thread(lambda: kernel.run("5"))
    asked = [message.content["allow_stdin"] for message in far.sent[SHELL][:4]]
    assert asked == [False, True, True, False]


def test_a_question_is_answered_with_what_on_input_returns() -> None:
    far, questions, seen = MemoryKernel(), list[tuple[str, bool]](), Seen[AnyMessage]()

    def on_input(prompt: str, password: bool) -> str:
        questions.append((prompt, password))
        return "Ada"

    with far.kernel() as kernel:
        kernel.execute("input()", on_input=on_input).subscribe(seen)
        asked_for_input(far)
        settle(kernel)
        asked_for_input(far, "Password: ", password=True)
        settle(kernel)
        assert questions == [("Name? ", False), ("Password: ", True)]
        assert replies(far) == ["Ada", "Ada"]
        assert "input_request" in types(seen.items)


def test_an_answer_that_comes_too_late_answers_no_other_question() -> None:
    """The code was interrupted while it asked, and asked something else."""
    far, answers = MemoryKernel(), [Subject[str](), Subject[str]()]
    with far.kernel() as kernel:
        left = iter(answers)
        kernel.execute("input()", on_input=lambda *_: next(left)).subscribe()
        asked_for_input(far, "Name? ")
        asked_for_input(far, "Password: ", password=True)
        settle(kernel)
        answers[0].on_next("Ada")
        assert replies(far) == []
        answers[1].on_next("secret")
        assert replies(far) == ["secret"]


def test_an_answer_belongs_to_its_question() -> None:
    far = MemoryKernel()
    with far.kernel() as kernel:
        kernel.execute("input()", on_input=lambda *_: "Ada").subscribe()
        far.say(busy(far.asked), question := build.input_request("Name? ", parent=far.asked))
        settle(kernel)
    (reply,) = far.sent[STDIN]
    assert reply.parent_header.msg_id == question.header.msg_id


@pytest.mark.parametrize("prompt", [None, 3, ["Name?"]])
def test_an_odd_prompt_is_no_prompt(prompt: object) -> None:
    far, prompts = MemoryKernel(), list[str]()

    def on_input(prompt: str, password: bool) -> str:
        prompts.append(prompt)
        return ""

    with far.kernel() as kernel:
        kernel.execute("input()", on_input=on_input).subscribe()
        odd = ec.create_message(
            "input_request", {"prompt": prompt}, channel="stdin", parent=far.asked
        )
        far.say(busy(far.asked), odd)
        settle(kernel)
    assert prompts == [""]


def test_on_input_is_called_where_the_subscriber_is() -> None:
    far, threads = MemoryKernel(), list[threading.Thread]()

    def on_input(prompt: str, password: bool) -> str:
        threads.append(threading.current_thread())
        return "Ada"

    far.on_sent = lambda message: (
        asked_for_input(far) if message.channel is SHELL else far.say(*answered(far.asked))
    )

    async def main() -> None:
        async with far.kernel() as kernel:
            await kernel.execute("input()", on_input=on_input)

    with far.kernel() as kernel:
        seen: Seen[AnyMessage] = Seen()
        kernel.execute("input()", on_input=on_input).subscribe(seen)
        seen.all()
        ec.wait(kernel.execute("input()", on_input=on_input))
        kernel.run("input()", on_input=on_input)
        here = threading.current_thread()
        assert threads == [*seen.threads, here, here]
        assert here not in seen.threads

    far = MemoryKernel()
    far.on_sent = lambda message: (
        asked_for_input(far) if message.channel is SHELL else far.say(*answered(far.asked))
    )
    loop_runs(main)
    assert threads[-1] is here


def test_an_awaitable_answers_when_it_is_done() -> None:
    far = MemoryKernel()
    far.on_sent = lambda message: (
        asked_for_input(far) if message.channel is SHELL else far.say(*answered(far.asked))
    )

    async def on_input(prompt: str, password: bool) -> str:
        await asyncio.sleep(0)
        return "Ada"

    async def main() -> None:
        async with far.kernel() as kernel:
            await kernel.execute("input()", on_input=on_input)
            await ec.last_value(kernel.execute("input()", on_input=on_input))
            async for _ in ec.aiter(kernel.execute("input()", on_input=on_input)):
                pass

    loop_runs(main)
    assert replies(far) == ["Ada"] * 3


def test_an_observable_answers_with_its_first_item() -> None:
    far, answers = MemoryKernel(), Subject[str]()
    with far.kernel() as kernel:
        kernel.execute("input()", on_input=lambda *_: answers).subscribe()
        asked_for_input(far)
        settle(kernel)
        answers.on_next("Ada")
        answers.on_next("Eve")
        assert replies(far) == ["Ada"]


def test_the_end_of_the_file_is_told_as_ipython_understands_it() -> None:
    far = MemoryKernel()

    def at_once(prompt: str, password: bool) -> str:
        raise EOFError

    async def when_done(prompt: str, password: bool) -> str:
        raise EOFError

    async def main() -> None:
        async with far.kernel() as kernel:
            far.on_sent = lambda message: (
                asked_for_input(far) if message.channel is SHELL else far.say(*answered(far.asked))
            )
            for on_input in (at_once, when_done, lambda *_: reactivex.throw(EOFError())):
                await ec.last_value(kernel.execute("input()", on_input=on_input))

    loop_runs(main)
    assert replies(far) == ["\x04"] * 3


def broken(prompt: str, password: bool) -> str:
    raise ZeroDivisionError("oh")


def wait_for(kernel: Kernel, code: str, *, on_input: ec.OnInput) -> AnyMessage:
    return ec.wait(kernel.execute(code, on_input=on_input))


BLOCKING = [Kernel.run, wait_for]


def test_an_on_input_that_raises_ends_the_subscription_and_interrupts_once() -> None:
    far, lifecycle = interruptible()
    seen, errors = Seen[AnyMessage](), Seen[EnchannelError]()
    with far.kernel() as kernel:
        kernel.errors.subscribe(errors)
        kernel.execute("input()", on_input=broken, on_dispose="interrupt").subscribe(seen)
        asked_for_input(far)
        assert isinstance(seen.failure(), SubscriberRaised)
        assert lifecycle.calls == ["interrupt"]
    (error,) = errors.all()
    assert isinstance(error.__cause__, ZeroDivisionError)
    assert far.sent[STDIN] == []


@pytest.mark.parametrize("run", BLOCKING)
def test_an_on_input_that_raises_raises_where_one_waits(run: Callable[..., object]) -> None:
    far, lifecycle = interruptible()
    far.on_sent = lambda message: asked_for_input(far)
    with far.kernel() as kernel:
        with pytest.raises(ZeroDivisionError):
            run(kernel, "input()", on_input=broken)
        assert lifecycle.calls == ["interrupt"]


def test_an_on_input_that_raises_raises_in_the_coroutine_that_waits() -> None:
    far, lifecycle = interruptible()
    far.on_sent = lambda message: asked_for_input(far)

    async def main() -> None:
        async with far.kernel() as kernel:
            with pytest.raises(ZeroDivisionError):
                await ec.last_value(kernel.execute("input()", on_input=broken))
            assert lifecycle.calls == ["interrupt"]

    loop_runs(main)


@pytest.mark.parametrize("answer", [None, 3, b"Ada", ["Ada"]])
def test_an_answer_that_is_no_text_is_an_error_and_interrupts(answer: Any) -> None:
    far, lifecycle = interruptible()
    seen: Seen[AnyMessage] = Seen()
    with far.kernel() as kernel:
        kernel.errors.subscribe(lambda _: None)
        kernel.execute("input()", on_input=lambda *_: answer).subscribe(seen)
        asked_for_input(far)
        error = seen.failure()
        assert isinstance(error.__cause__, InvalidMessage)
        assert lifecycle.calls == ["interrupt"]


LATE_FAILURES: list[Observable[Any]] = [
    reactivex.throw(ZeroDivisionError("oh")),
    reactivex.just(3),
    reactivex.empty(),
]


@pytest.mark.parametrize("answers", LATE_FAILURES)
def test_an_observable_that_does_not_answer_interrupts(answers: Observable[Any]) -> None:
    far, lifecycle = interruptible()
    with far.kernel() as kernel:
        kernel.errors.subscribe(lambda _: None)
        kernel.execute("input()", on_input=lambda *_: answers).subscribe()
        asked_for_input(far)
        settle(kernel)
        assert lifecycle.calls == ["interrupt"]


def test_an_observable_that_fails_is_told() -> None:
    far, errors = MemoryKernel(), Seen[EnchannelError]()
    on_input: Any = lambda *_: reactivex.just(3)  # noqa: E731
    with far.kernel() as kernel:
        kernel.errors.subscribe(errors)
        kernel.execute("input()", on_input=on_input).subscribe()
        asked_for_input(far)
        (error,) = errors.first(1)
    assert isinstance(error, InvalidMessage)


async def fails(prompt: str, password: bool) -> str:
    raise ZeroDivisionError("oh")


async def answers_a_number(prompt: str, password: bool) -> Any:
    return 3


@pytest.mark.parametrize("on_input", [fails, answers_a_number])
def test_a_coroutine_that_does_not_answer_interrupts_and_is_told(on_input: Any) -> None:
    far, lifecycle = interruptible()
    errors: Seen[EnchannelError] = Seen()
    far.on_sent = lambda message: asked_for_input(far)

    async def main() -> None:
        async with far.kernel() as kernel:
            kernel.errors.subscribe(errors)
            reply = await ec.last_value(kernel.execute("input()", on_input=on_input))
            assert reply.content["ename"] == "KeyboardInterrupt"
            assert lifecycle.calls == ["interrupt"]

    loop_runs(main)
    assert len(errors.all()) == 1


def test_a_coroutine_that_is_cancelled_interrupts() -> None:
    far, lifecycle = interruptible()
    far.on_sent = lambda message: asked_for_input(far)

    async def on_input(prompt: str, password: bool) -> str:
        raise asyncio.CancelledError

    async def main() -> None:
        async with far.kernel() as kernel:
            await ec.last_value(kernel.execute("input()", on_input=on_input))
            assert lifecycle.calls == ["interrupt"]

    loop_runs(main)


@pytest.mark.parametrize("run", BLOCKING)
def test_an_awaitable_where_there_is_no_loop_is_refused(run: Callable[..., object]) -> None:
    far, lifecycle = interruptible()
    far.on_sent = lambda message: asked_for_input(far)
    with far.kernel() as kernel:
        with pytest.raises(WouldDeadlock, match="no event loop here"):
            run(kernel, "input()", on_input=fails)
        assert lifecycle.calls == ["interrupt"]


def test_who_goes_while_the_kernel_asks_interrupts_it() -> None:
    """It would wait for its input for ever."""
    far, lifecycle = interruptible()
    answers: Subject[str] = Subject()
    with far.kernel() as kernel:
        subscription = kernel.execute("input()", on_input=lambda *_: answers).subscribe()
        asked_for_input(far)
        settle(kernel)
        subscription.dispose()
        assert lifecycle.calls == ["interrupt"]
        answers.on_next("too late")
        assert far.sent[STDIN] == []


def test_who_goes_when_the_kernel_has_its_answer_does_not_interrupt() -> None:
    far, lifecycle = interruptible()
    with far.kernel() as kernel:
        subscription = kernel.execute("input()", on_input=lambda *_: "Ada").subscribe()
        asked_for_input(far)
        settle(kernel)
        subscription.dispose()
        assert lifecycle.calls == []


def test_who_goes_cancels_the_coroutine_that_would_answer() -> None:
    far, lifecycle = interruptible()
    far.on_sent = lambda message: asked_for_input(far)

    async def main() -> None:
        asked, cancelled = asyncio.Event(), asyncio.Event()

        async def on_input(prompt: str, password: bool) -> str:
            asked.set()
            try:
                await asyncio.Event().wait()
            finally:
                cancelled.set()
            return ""

        async with far.kernel() as kernel:
            waiting = asyncio.ensure_future(
                ec.last_value(kernel.execute("input()", on_input=on_input))
            )
            await asked.wait()
            waiting.cancel()
            await cancelled.wait()
            assert lifecycle.calls == ["interrupt"]

    loop_runs(main)


def test_a_request_that_times_out_while_the_kernel_asks_interrupts_it() -> None:
    far, lifecycle = interruptible()
    seen: Seen[AnyMessage] = Seen()
    with far.kernel() as kernel:
        request = kernel.execute("input()", timeout=5, on_input=lambda *_: reactivex.never())
        request.subscribe(seen)
        asked_for_input(far)
        settle(kernel)
        far.clock.advance_by(6)
        assert isinstance(seen.failure(), RequestTimeout)
        assert lifecycle.calls == ["interrupt"]


def test_a_question_to_who_has_gone_already_interrupts() -> None:
    far, lifecycle = interruptible()
    errors: Seen[EnchannelError] = Seen()
    with far.kernel() as kernel:
        kernel.errors.subscribe(errors)
        kernel.execute("input()", on_input=never).subscribe().dispose()
        asked_for_input(far)
        assert lifecycle.calls == ["interrupt"]
    assert "asked for input and nobody answers" in str(errors.all()[0])


def test_a_question_that_nobody_answers_interrupts_and_is_told() -> None:
    far, lifecycle = interruptible()
    errors: Seen[EnchannelError] = Seen()
    with far.kernel() as kernel:
        kernel.errors.subscribe(errors)
        kernel.execute("input()", allow_stdin=True).subscribe()
        asked_for_input(far)
        assert lifecycle.calls == ["interrupt"]
    assert "asked for input and nobody answers" in str(errors.all()[0])


@pytest.mark.parametrize("name", ["stdin", "main"])
def test_who_subscribes_to_stdin_answers_by_himself(name: str) -> None:
    far, lifecycle = interruptible()
    with far.kernel() as kernel:
        channel: ec.Channel = getattr(kernel, name)

        def answer(question: AnyMessage) -> None:
            if question.header.msg_type == "input_request":
                channel.on_next(ec.input_reply("Ada", parent=question))

        channel.subscribe(answer)
        kernel.execute("input()", allow_stdin=True).subscribe()
        asked_for_input(far)
        settle(kernel)
        assert replies(far) == ["Ada"]
        assert lifecycle.calls == []


def test_on_input_on_a_loop_answers_there() -> None:
    far, threads = MemoryKernel(), list[threading.Thread]()

    def on_input(prompt: str, password: bool) -> str:
        threads.append(threading.current_thread())
        return "Ada"

    async def main() -> None:
        async with far.kernel() as kernel:
            scheduler = AsyncIOScheduler(asyncio.get_running_loop())
            kernel.execute("input()", on_input=on_input).subscribe(scheduler=scheduler)
            await asyncio.to_thread(asked_for_input, far)
            while not far.sent[STDIN]:
                await asyncio.sleep(0)

    loop_runs(main)
    assert threads == [threading.current_thread()]


# Run.


def test_run_gives_a_result() -> None:
    far = MemoryKernel()

    def answer(asked: AnyMessage) -> None:
        value = build.execute_result({"text/plain": "42"}, 3, parent=asked)
        far.say(*answered(asked, printed("woo\n", asked), value, execution_count=3))

    far.on_sent = answer
    with far.kernel() as kernel:
        result = kernel.run("print('woo'); 6 * 7")
    assert codes(far) == ["print('woo'); 6 * 7"]
    assert (result.status, result.text, result.execution_count) == ("ok", "woo\n42", 3)
    assert result.reply is not None
    assert result.duration > 0


def test_run_waits_for_outputs_after_the_reply() -> None:
    far = MemoryKernel()

    def answer(asked: AnyMessage) -> None:
        far.say(busy(asked), reply_to(asked), printed("late", asked), idle(asked))

    far.on_sent = answer
    with far.kernel() as kernel:
        assert kernel.run("print('late')").text == "late"


def failing() -> MemoryKernel:
    far = MemoryKernel()

    def answer(asked: AnyMessage) -> None:
        far.say(busy(asked), printed("before\n", asked))
        far.say(raised(asked, "ZeroDivisionError", "division by zero"), idle(asked))

    far.on_sent = answer
    return far


def test_run_raises_what_the_code_raised() -> None:
    with failing().kernel() as kernel:
        with pytest.raises(KernelError, match="ZeroDivisionError: division by zero") as caught:
            kernel.run("print('before'); 1 / 0")
    assert caught.value.ename == "ZeroDivisionError"
    assert caught.value.result is not None
    assert caught.value.result.text == "before\n"


def test_run_without_check_says_what_the_code_raised() -> None:
    with failing().kernel() as kernel:
        result = kernel.run("print('before'); 1 / 0", check=False)
    assert result.status == "error"
    assert result.error is not None
    assert result.error.evalue == "division by zero"


def test_code_that_was_not_run_is_not_success() -> None:
    far = MemoryKernel()
    far.on_sent = lambda asked: far.say(*answered(asked, status="aborted"))
    with far.kernel() as kernel:
        with pytest.raises(RequestAborted):
            kernel.run("6 * 7")
        assert kernel.run("6 * 7", check=False).status == "aborted"


def test_run_keeps_as_much_output_as_it_may() -> None:
    with answering("0123456789", "more").kernel() as kernel:
        result = kernel.run("chat()", max_output=12)
        assert (result.text, result.truncated) == ("0123456789mo", True)
        result = kernel.run("chat()", max_output=14)
        assert (result.text, result.truncated) == ("0123456789more", False)
        with pytest.raises(ValueError, match="max_output is -1"):
            kernel.run("chat()", max_output=-1)


def test_a_run_that_takes_too_long_is_interrupted_and_has_what_had_arrived() -> None:
    far, lifecycle = interruptible()
    far.on_sent = lambda asked: far.say(busy(asked), printed("so far", asked))
    with far.kernel() as kernel:
        with pytest.raises(
            RequestTimeout, match=r"within 0.01 s, and was interrupted; 1 output"
        ) as it:
            kernel.run("train()", timeout=0.01)
        assert lifecycle.calls == ["interrupt"]
    assert it.value.result is not None
    assert it.value.result.text == "so far"
    assert it.value.result.status == "incomplete"


def test_a_run_that_waited_for_another_interrupts_nobody() -> None:
    far, lifecycle = interruptible()
    far.on_sent = lambda asked: far.say(busy(ec.execute_request("other")))
    with far.kernel() as kernel:
        with pytest.raises(RequestTimeout, match="has not begun"):
            kernel.run("train()", timeout=0.01)
        assert lifecycle.calls == []


def test_answering_a_question_does_not_give_a_run_more_time() -> None:
    far, _ = interruptible()
    far.on_sent = lambda _: void(Thread(lambda: asked_for_input(far)))
    with far.kernel() as kernel:
        kernel.errors.subscribe(lambda _: None)
        with pytest.raises(RequestTimeout):
            kernel.run("while True: input()", timeout=0.05, on_input=lambda *_: "again")


@pytest.mark.parametrize(
    "end", [KernelDied("killed", exit_code=-9, stderr="oh"), ConnectionLost("cut")]
)
def test_a_run_whose_kernel_goes_has_what_had_arrived(end: KernelDied | ConnectionLost) -> None:
    far = MemoryKernel()

    def die(asked: AnyMessage) -> None:
        far.say(busy(asked), printed("so far", asked))
        far.tell(end)

    far.on_sent = die
    with far.kernel() as kernel:
        kernel.errors.subscribe(lambda _: None)
        with pytest.raises(type(end)) as caught:
            kernel.run("os._exit(1)")
    assert caught.value.result is not None
    assert caught.value.result.text == "so far"
    assert vars(caught.value) == vars(end) | {"result": caught.value.result}
    assert end.result is None


def test_runs_that_end_together_have_results_of_their_own() -> None:
    far, sent = MemoryKernel(), threading.Semaphore(0)
    far.on_sent = lambda _: sent.release()
    with far.kernel() as kernel:
        kernel.errors.subscribe(lambda _: None)
        runs = [Thread(lambda code=code: kernel.run(code)) for code in "abc"]  # type: ignore[misc]
        for _ in runs:
            assert sent.acquire(timeout=DEADLINE)
        for asked in far.sent[SHELL]:
            far.say(printed(asked.content["code"], asked))
        far.tell(KernelDied("killed"))
        texts = list[str]()
        for run in runs:
            with pytest.raises(KernelDied) as caught:
                run.result()
            assert caught.value.result is not None
            texts.append(caught.value.result.text)
    assert texts == ["a", "b", "c"]


def test_run_on_a_loop_would_block_it() -> None:
    async def main() -> None:
        async with MemoryKernel().kernel() as kernel:
            with pytest.raises(WouldDeadlock, match="await it instead"):
                kernel.run("6 * 7")

    loop_runs(main)


def test_run_in_a_subscriber_would_wait_for_itself() -> None:
    far, errors = MemoryKernel(), Seen[EnchannelError]()
    with far.kernel() as kernel:
        kernel.errors.subscribe(errors)
        kernel.iopub.subscribe(lambda _: void(kernel.run("6 * 7")))
        far.say(printed("woo"))
        (error,) = errors.first(1)
    assert isinstance(error.__cause__, WouldDeadlock)
    assert "subscribe instead" in str(error.__cause__)
    assert far.sent[SHELL] == []


def void(_: object) -> None: ...


def test_run_needs_no_thread() -> None:
    with answering("woo").kernel() as kernel:
        kernel.run("6 * 7")
        assert kernel._delivery._thread is None


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="there are no such signals here")
def test_ctrl_c_interrupts_the_kernel_too() -> None:
    far, lifecycle = interruptible()
    main, left = threading.main_thread(), threading.Event()
    assert main is threading.current_thread()

    def press_when_it_waits() -> None:
        wait_until_it_waits(main, Waiter.wait)
        assert main.ident is not None
        signal.pthread_kill(main.ident, signal.SIGINT)
        if not left.wait(1.0):
            # CPython has a moment, just before it blocks, in which a signal does not wake it up.
            kernel._exchanges[far.asked.header.msg_id]._sink.call(lambda: None)

    far.on_sent = lambda asked: far.say(busy(asked))
    with far.kernel() as kernel:
        pressing = Thread(press_when_it_waits)
        with pytest.raises(KeyboardInterrupt):
            kernel.run("train()")
        left.set()
        pressing.result()
        assert lifecycle.calls == ["interrupt"]
        assert kernel._exchanges == {}


def test_a_wait_that_is_interrupted_stops_listening() -> None:
    far, lifecycle = interruptible()

    def interrupted(prompt: str, password: bool) -> str:
        raise KeyboardInterrupt

    far.on_sent = lambda asked: asked_for_input(far)
    with far.kernel() as kernel:
        with pytest.raises(KeyboardInterrupt):
            ec.wait(kernel.execute("input()", on_input=interrupted))
        assert kernel._exchanges == {}
        assert lifecycle.calls == ["interrupt"]


# What can be asked.


def sent_by(ask: Callable[[Kernel], Observable[AnyMessage]]) -> AnyMessage:
    far = MemoryKernel()
    with far.kernel() as kernel:
        ask(kernel).subscribe()
    return (far.sent[SHELL] + far.sent[CONTROL])[0]


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
def test_each_request_has_a_method(
    ask: Callable[[Kernel], Observable[AnyMessage]], message: AnyMessage
) -> None:
    sent = sent_by(ask)
    assert sent.replace(header=message.header) == message
    assert sent.header.msg_type == message.header.msg_type


def test_debug_requests_are_numbered() -> None:
    far = MemoryKernel()
    with far.kernel() as kernel:
        kernel.debug("initialize", {"clientID": "x"}).subscribe()
        kernel.debug("attach").subscribe()
    first, second = far.sent[CONTROL]
    assert (first.content["command"], first.content["arguments"]) == (
        "initialize",
        {"clientID": "x"},
    )
    assert second.content["seq"] == first.content["seq"] + 1


def test_the_answer_to_a_request_is_its_last_item() -> None:
    with answering().kernel() as kernel:
        assert ec.wait(kernel.kernel_info()).header.msg_type == "kernel_info_reply"
        assert in_thread(lambda: ec.wait(kernel.is_complete("1"))).channel is SHELL
