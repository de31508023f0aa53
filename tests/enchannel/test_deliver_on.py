"""Handing over to a loop, at its pace."""

import asyncio
import math
import threading
import weakref
from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import pytest
import reactivex
from reactivex import Observable, abc
from reactivex import operators as ops
from reactivex.scheduler import EventLoopScheduler, VirtualTimeScheduler
from reactivex.scheduler.eventloop import AsyncIOScheduler
from reactivex.subject import Subject

import enchannel as ec
from enchannel import AnyMessage, KernelDied, Message, MessagesMayBeMissing, SubscriberRaised
from enchannel import messages as build
from enchannel.errors import EnchannelError
from enchannel.testing import Collector
from tests.rigs import DEADLINE
from tests.rigs.messages import answered, busy, idle, printed, text_of, texts, types
from tests.rigs.scripted import ScriptedLink
from tests.rigs.threads import Thread, run_on_loop

FIRST, SECOND = ec.execute_request("1"), ec.execute_request("2")
Overflow = Literal["buffer", "latest", "coalesce", "error"]
OVERFLOWS: list[Overflow] = ["buffer", "latest", "coalesce", "error"]


class Loop(VirtualTimeScheduler):
    """A loop in virtual time, which counts how often it is woken."""

    def __init__(self) -> None:
        super().__init__()
        self.woken = 0

    def schedule_absolute(self, *args: Any, **options: Any) -> abc.DisposableBase:
        self.woken += 1
        return super().schedule_absolute(*args, **options)


def delivered(
    *items: Any, overflow: Overflow = "buffer", limit: int | None = None, end: bool = True
) -> Collector[Any]:
    """What a subscriber gets of items that all wait when the loop comes."""
    loop, source, seen = Loop(), Subject[Any](), Collector[Any]()
    source.pipe(ec.deliver_on(loop, overflow=overflow, limit=limit)).subscribe(seen)
    for item in items:
        source.on_next(item)
    if end:
        source.on_completed()
    assert seen.items == []
    loop.start()
    return seen


# Where and when.


def test_nothing_is_delivered_before_the_loop_comes() -> None:
    loop, source, seen = Loop(), Subject[int](), Collector[int]()
    source.pipe(ec.deliver_on(loop)).subscribe(seen)
    source.on_next(1)
    assert seen.items == []
    loop.start()
    assert seen.items == [1]


def test_one_turn_of_the_loop_delivers_all_that_has_arrived() -> None:
    loop, source, seen = Loop(), Subject[int](), Collector[int]()
    source.pipe(ec.deliver_on(loop)).subscribe(seen)
    for number in range(200):
        source.on_next(number)
    source.on_completed()
    loop.start()
    assert seen.items == list(range(200))
    assert seen.completed
    assert loop.woken == 1


def test_the_loop_gets_a_turn_every_few_hundred_items() -> None:
    loop, source, seen = Loop(), Subject[int](), Collector[int]()
    source.pipe(ec.deliver_on(loop)).subscribe(seen)
    for number in range(1000):
        source.on_next(number)
    loop.start()
    assert seen.items == list(range(1000))
    assert 2 <= loop.woken <= 10


@pytest.mark.parametrize("overflow", OVERFLOWS)
def test_the_end_comes_after_the_items(overflow: Overflow) -> None:
    seen = delivered(1, overflow=overflow)
    assert (seen.items, seen.completed) == ([1], True)


@pytest.mark.parametrize("overflow", OVERFLOWS)
def test_an_error_comes_after_the_items(overflow: Overflow) -> None:
    loop, source, seen = Loop(), Subject[int](), Collector[int]()
    source.pipe(ec.deliver_on(loop, overflow=overflow)).subscribe(seen)
    source.on_next(1)
    source.on_error(ZeroDivisionError())
    loop.start()
    assert seen.items == [1]
    assert isinstance(seen.error, ZeroDivisionError)


def test_subscribers_have_their_own_turns() -> None:
    loop, source, seen = Loop(), Subject[int](), (Collector[int](), Collector[int]())
    on_loop = source.pipe(ec.deliver_on(loop))
    on_loop.subscribe(seen[0])
    source.on_next(1)
    on_loop.subscribe(seen[1])
    source.on_next(2)
    loop.start()
    assert (seen[0].items, seen[1].items) == ([1, 2], [2])


def test_who_disposes_gets_nothing_of_what_waits() -> None:
    remote, loop, seen = ScriptedLink(), Loop(), Collector[AnyMessage]()
    with remote.kernel() as kernel:
        subscription = kernel.iopub.pipe(ec.deliver_on(loop)).subscribe(seen)
        remote.send(printed("woo"))
        subscription.dispose()
        assert kernel.iopub.observer_count == 0
        loop.start()
    assert seen.items == []


def test_who_disposes_in_a_turn_gets_nothing_more_of_it() -> None:
    loop, source, seen = Loop(), Subject[int](), list[int]()

    def on_next(item: int) -> None:
        seen.append(item)
        if item == 1:
            subscription.dispose()

    subscription = source.pipe(ec.deliver_on(loop)).subscribe(on_next)
    for number in range(4):
        source.on_next(number)
    loop.start()
    assert seen == [0, 1]


# At an interval.


def times(arrivals: dict[float, int], interval: float) -> list[tuple[float, int]]:
    """When each item is delivered, of so many that arrive at these times."""
    loop, source, seen = Loop(), Subject[int](), list[tuple[float, int]]()
    source.pipe(ec.deliver_on(loop, interval=interval)).subscribe(
        lambda item: seen.append((loop.now.timestamp(), item))
    )
    for time, count in arrivals.items():

        def arrive(*_: object, count: int = count) -> None:
            for number in range(count):
                source.on_next(number)

        VirtualTimeScheduler.schedule_absolute(loop, time, arrive)
    loop.start()
    return seen


def test_batches_keep_their_distance() -> None:
    delivered = times({0.0: 1, 0.2: 1, 0.4: 1, 0.9: 1, 1.1: 1, 1.9: 1}, interval=1.0)
    assert [time for time, _ in delivered] == [
        1.0,
        1.0,
        1.0,
        1.0,
        pytest.approx(2.1),
        pytest.approx(2.1),
    ]


def test_a_pause_begins_anew() -> None:
    delivered = times({0.0: 1, 5.0: 1}, interval=1.0)
    assert [time for time, _ in delivered] == [1.0, 6.0]


def test_what_arrives_while_a_batch_is_delivered_waits_for_the_next() -> None:
    loop, source, seen = Loop(), Subject[int](), list[float]()

    def on_next(item: int) -> None:
        seen.append(loop.now.timestamp())
        if item < 3:
            source.on_next(item + 1)

    source.pipe(ec.deliver_on(loop, interval=1.0)).subscribe(on_next)
    source.on_next(0)
    loop.start()
    assert seen == [1.0, 2.0, 3.0, 4.0]


def test_a_big_batch_is_delivered_at_once_whatever_the_interval() -> None:
    """The turns in between are the loop's, and not pauses: who keeps up a pace must keep up."""
    delivered = times({0.0: 5000}, interval=1.0)
    assert [item for _, item in delivered] == list(range(5000))
    assert delivered[-1][0] < 1.1


def test_an_interval_on_a_real_loop() -> None:
    seen, passed = list[int](), list[float]()

    async def main() -> None:
        loop, source, came = asyncio.get_running_loop(), Subject[int](), asyncio.Event()

        def on_next(item: int) -> None:
            seen.append(item)
            passed.append(loop.time())
            came.set()

        source.pipe(ec.deliver_on(AsyncIOScheduler(loop), interval=0.02)).subscribe(on_next)
        begun = loop.time()
        await asyncio.to_thread(reactivex.range(10).subscribe, source)
        while len(seen) < 10:
            await asyncio.wait_for(came.wait(), DEADLINE)
            came.clear()
        assert passed[0] - begun >= 0.019  # a loop may be early by its clock's resolution

    run_on_loop(main)
    assert seen == list(range(10))


# On real loops.


def test_a_channel_is_delivered_on_an_asyncio_loop() -> None:
    remote, seen = ScriptedLink(), Collector[AnyMessage]()

    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with remote.kernel() as kernel:
            kernel.iopub.pipe(ec.deliver_on(AsyncIOScheduler(loop))).subscribe(seen)
            await asyncio.to_thread(
                remote.send, *(printed(str(number)) for number in range(20_000))
            )
        while not seen.completed:
            await asyncio.sleep(0)

    run_on_loop(main)
    assert texts(seen.items) == [str(number) for number in range(20_000)]
    assert seen.threads == {threading.current_thread()}


def test_the_loop_does_other_things_between_batches() -> None:
    order = list[object]()

    async def main() -> None:
        loop, source = asyncio.get_running_loop(), Subject[int]()
        source.pipe(ec.deliver_on(AsyncIOScheduler(loop))).subscribe(order.append)
        for number in range(1000):
            source.on_next(number)
        loop.call_soon(order.append, "other")
        while len(order) < 1001:
            await asyncio.sleep(0)

    run_on_loop(main)
    assert 0 < order.index("other") < 1000


def test_a_channel_is_delivered_on_an_event_loop_scheduler() -> None:
    remote, seen, scheduler = ScriptedLink(), Collector[AnyMessage](), EventLoopScheduler()
    with remote.kernel() as kernel:
        kernel.iopub.pipe(ec.deliver_on(scheduler)).subscribe(seen)
        remote.send(*(printed(str(number)) for number in range(1000)))
    assert texts(seen.wait_for_end()) == [str(number) for number in range(1000)]
    assert len(seen.threads) == 1
    assert {thread.name[:9] for thread in seen.threads} != {"enchannel"}
    scheduler.dispose()


def closed_asyncio_loop() -> tuple[abc.SchedulerBase, Callable[[], None]]:
    loop = asyncio.new_event_loop()
    return AsyncIOScheduler(loop), loop.close


def closed_event_loop() -> tuple[abc.SchedulerBase, Callable[[], None]]:
    scheduler = EventLoopScheduler()
    return scheduler, scheduler.dispose


@pytest.mark.parametrize("overflow", OVERFLOWS)
@pytest.mark.parametrize("make", [closed_asyncio_loop, closed_event_loop])
@pytest.mark.parametrize("interval", [0.0, 0.01])
def test_a_loop_that_is_gone_ends_the_subscription(
    make: Callable[[], tuple[abc.SchedulerBase, Callable[[], None]]],
    overflow: Overflow,
    interval: float,
) -> None:
    remote, seen = ScriptedLink(), Collector[AnyMessage]()
    scheduler, close = make()
    deliver = ec.deliver_on(scheduler, overflow=overflow, interval=interval)
    with remote.kernel() as kernel:
        kernel.iopub.pipe(deliver).subscribe(seen)
        close()
        remote.send(printed("1", FIRST), printed("2", SECOND))
        assert kernel.iopub.observer_count == 0


def test_a_request_can_be_delivered_on_a_loop() -> None:
    remote = ScriptedLink()
    remote.handler = lambda asked: void(
        Thread(lambda: remote.send(*answered(asked, printed("woo", asked))))
    )

    async def main() -> None:
        deliver: Any = ec.deliver_on(AsyncIOScheduler(asyncio.get_running_loop()))
        async with remote.kernel() as kernel:
            result = await kernel.execute("6 * 7").pipe(deliver, ec.to_result())
            assert result.text == "woo"

    run_on_loop(main)


def test_on_input_is_called_on_the_loop_that_is_delivered_on() -> None:
    remote, threads = ScriptedLink(), list[threading.Thread]()

    def on_sent(message: AnyMessage) -> None:
        if message.channel == "shell":
            remote.send(busy(message), build.input_request("Name? ", parent=message))
        else:
            remote.send(*answered(remote.last_request))

    def on_input(prompt: str, password: bool) -> str:
        threads.append(threading.current_thread())
        return "Ada"

    async def main() -> None:
        scheduler = AsyncIOScheduler(asyncio.get_running_loop())
        async with remote.kernel() as kernel:
            cell = kernel.execute("input()", on_input=on_input).pipe(ec.deliver_on(scheduler))
            await ec.last_value(cell)

    remote.handler = lambda message: void(Thread(lambda: on_sent(message)))
    run_on_loop(main)
    assert threads == [threading.current_thread()]


def void(_: object) -> None: ...


# A subscriber that raises.


def broken(_: object) -> None:
    raise ZeroDivisionError("oh")


def test_a_subscriber_that_raises_is_told_on_errors() -> None:
    remote, loop, errors, other = (
        ScriptedLink(),
        Loop(),
        Collector[EnchannelError](),
        Collector[AnyMessage](),
    )
    with remote.kernel() as kernel:
        kernel.errors.subscribe(errors)
        on_loop = kernel.iopub.pipe(ec.deliver_on(loop))
        on_loop.subscribe(broken)
        on_loop.subscribe(other)
        remote.send(printed("1"), printed("2"))
        loop.start()
        assert texts(other.items) == ["1", "2"]
        assert kernel.iopub.observer_count == 1
    (error,) = errors.wait_for_end()
    assert isinstance(error, SubscriberRaised)
    assert isinstance(error.__cause__, ZeroDivisionError)


def test_a_subscriber_of_another_observable_that_raises_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    loop, source = Loop(), Subject[int]()
    source.pipe(ec.deliver_on(loop)).subscribe(broken)
    source.on_next(1)
    loop.start()
    (record,) = caplog.records
    assert record.name == "enchannel"
    assert "ZeroDivisionError: oh" in record.getMessage()


def test_what_waits_is_counted() -> None:
    loop, source = Loop(), Subject[int]()
    deliver = ec.deliver_on(loop)
    first = source.pipe(deliver).subscribe()
    source.on_next(1)
    source.pipe(deliver, ops.map(str)).subscribe()
    source.on_next(2)
    assert deliver.backlog == 3
    first.dispose()
    assert deliver.backlog == 1
    loop.start()
    assert deliver.backlog == 0


def test_a_loop_that_survives_ctrl_c_gets_the_rest() -> None:
    loop, source, seen = Loop(), Subject[int](), list[int]()

    def on_next(item: int) -> None:
        if item == 300:
            raise KeyboardInterrupt
        seen.append(item)

    source.pipe(ec.deliver_on(loop)).subscribe(on_next)
    for number in range(1000):
        source.on_next(number)
    with pytest.raises(KeyboardInterrupt):
        loop.start()
    loop.stop()  # it thinks that it runs
    loop.start()
    assert seen == [number for number in range(1000) if number != 300]


def test_a_loop_that_cannot_say_that_it_is_closed_may_raise() -> None:
    class Closed(Loop):
        def schedule_absolute(self, *args: Any, **options: Any) -> abc.DisposableBase:
            raise RuntimeError("closed")

    source = Subject[int]()
    source.pipe(ec.deliver_on(Closed())).subscribe()
    source.on_next(1)
    assert not source.observers


def test_no_wake_up_is_lost() -> None:
    """Two threads that say something, and a loop that always has just finished."""
    scheduler, sources, seen = (
        EventLoopScheduler(),
        (Subject[int](), Subject[int]()),
        Collector[int](),
    )
    deliver = ec.deliver_on(scheduler)
    reactivex.merge(*sources).pipe(deliver).subscribe(seen)

    def say(source: Subject[int]) -> None:
        for number in range(2000):
            source.on_next(number)
            if number % 10 == 0:
                seen.wait_for_count(number)

    for thread in [Thread(partial(say, source)) for source in sources]:
        thread.result()
    seen.wait_for_count(4000)
    scheduler.dispose()


# What becomes of what the consumer cannot take.


def test_the_buffer_keeps_everything_whatever_the_limit() -> None:
    seen = delivered(*range(1000), limit=3)
    assert seen.items == list(range(1000))


def test_the_latest_is_the_newest_item() -> None:
    seen = delivered(*range(1000), overflow="latest")
    assert (seen.items, seen.completed) == ([999], True)


def test_the_latest_may_be_several() -> None:
    assert delivered(*range(1000), overflow="latest", limit=3).items == [997, 998, 999]
    assert delivered(1, 2, overflow="latest", limit=3).items == [1, 2]


def test_the_latest_comes_again_and_again() -> None:
    loop, source, seen = Loop(), Subject[int](), Collector[int]()
    source.pipe(ec.deliver_on(loop, overflow="latest")).subscribe(seen)
    for number in range(6):
        source.on_next(number)
        if number % 3 == 2:
            loop.start()
    assert seen.items == [2, 5]


def test_too_many_are_an_error_after_those_that_there_was_room_for() -> None:
    seen = delivered(*range(1000), overflow="error", limit=3)
    assert seen.items == [0, 1, 2]
    assert isinstance(seen.error, MessagesMayBeMissing)
    assert "more than 3 items waited" in str(seen.error)


def test_as_many_as_the_limit_are_no_error() -> None:
    seen = delivered(1, 2, 3, overflow="error", limit=4)  # with its completion
    assert (seen.items, seen.completed) == ([1, 2, 3], True)
    assert delivered(*range(1000), overflow="error").items == list(range(1000))


def test_after_too_many_nothing_more_is_taken() -> None:
    """What nobody will get must not pile up while the consumer hangs."""

    class Item:
        pass

    loop, source, seen = Loop(), Subject[Item](), Collector[Item]()
    source.pipe(ec.deliver_on(loop, overflow="error", limit=3)).subscribe(seen)
    items = [Item() for _ in range(10)]
    known = [weakref.ref(item) for item in items]
    while items:
        source.on_next(items.pop(0))
    assert [item() is not None for item in known] == [True] * 3 + [False] * 7
    loop.start()
    assert len(seen.items) == 3
    assert isinstance(seen.error, MessagesMayBeMissing)


def test_too_many_are_told_once() -> None:
    told = list[Exception]()
    loop, source = Loop(), Subject[int]()
    limited = ec.deliver_on(loop, overflow="error", limit=1)(source)
    limited.subscribe(on_error=told.append)
    for number in range(10):
        source.on_next(number)
    loop.start()
    source.on_next(11)
    loop.start()
    assert len(told) == 1
    assert not source.observers


# Coalescing.


def coalesced(*messages: Any) -> list[Any]:
    return delivered(*messages, overflow="coalesce").items


def out(text: str, request: AnyMessage = FIRST) -> AnyMessage:
    return printed(text, request)


def err(text: str, request: AnyMessage = FIRST) -> AnyMessage:
    return build.stream("stderr", text, parent=request)


def test_text_that_waits_is_joined() -> None:
    (message,) = coalesced(*(out(str(number)) for number in range(1000)))
    assert text_of(message) == "".join(map(str, range(1000)))
    assert message.content["name"] == "stdout"
    assert message.parent_header.msg_id == FIRST.header.msg_id


def test_text_that_does_not_wait_is_not_touched() -> None:
    message = out("woo")
    assert coalesced(message)[0] is message


def test_text_of_another_stream_or_request_is_not_joined() -> None:
    messages = [out("a"), err("b"), out("c"), out("d", SECOND)]
    assert coalesced(*messages) == messages


def test_what_is_no_text_is_kept_in_its_place() -> None:
    value = build.execute_result({"text/plain": "42"}, 1, parent=FIRST)
    messages = coalesced(busy(FIRST), out("a"), out("b"), value, out("c"), out("d"), idle(FIRST))
    assert types(messages) == ["status", "stream", "execute_result", "stream", "status"]
    assert (text_of(messages[1]), text_of(messages[3])) == ("ab", "cd")


def test_what_is_no_message_is_kept() -> None:
    assert coalesced(1, 1, "a", None) == [1, 1, "a", None]


@pytest.mark.parametrize("content", [{"name": "stdout"}, {"name": "stdout", "text": ["a"]}])
def test_odd_text_is_kept_as_it_is(content: dict[str, Any]) -> None:
    odd = ec.create_message("stream", content, channel="iopub", parent=FIRST)
    messages = [out("a"), odd, odd, out("b")]
    assert coalesced(*messages) == messages


def test_text_goes_on_being_joined_turn_after_turn() -> None:
    loop, source, seen = Loop(), Subject[AnyMessage](), Collector[AnyMessage]()
    source.pipe(ec.deliver_on(loop, overflow="coalesce")).subscribe(seen)
    for turn in ("ab", "cd"):
        for text in turn:
            source.on_next(out(text))
        loop.start()
    assert texts(seen.items) == ["ab", "cd"]


def test_text_is_joined_once_however_much_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Joining each message with all before it would take a time that grows with the square."""
    made, replace = 0, Message.replace

    def counted(message: AnyMessage, **changes: Any) -> AnyMessage:
        nonlocal made
        made += 1
        return replace(message, **changes)

    messages = [out("x") for _ in range(1000)]
    monkeypatch.setattr(Message, "replace", counted)
    (message,) = coalesced(*messages)
    assert len(text_of(message)) == 1000
    assert made == 1


def test_coalesced_text_makes_the_same_result() -> None:
    remote, loop, plain, joined = (
        ScriptedLink(),
        Loop(),
        Collector[ec.Result](),
        Collector[ec.Result](),
    )
    with remote.kernel() as kernel:
        kernel.iopub.pipe(ec.until_idle(), ec.to_result()).subscribe(plain)
        deliver: Any = ec.deliver_on(loop, overflow="coalesce")
        kernel.iopub.pipe(deliver, ec.until_idle(), ec.to_result()).subscribe(joined)
        outputs = [
            out("a"),
            out("b"),
            err("c"),
            err("d"),
            build.clear_output(parent=FIRST),
            out("e"),
        ]
        remote.send(*answered(FIRST, *outputs))
        loop.start()
        assert joined.wait_for_end()[0].outputs == plain.wait_for_end()[0].outputs


# With the rest.


def test_goes_behind_other_operators() -> None:
    remote, loop, seen = ScriptedLink(), Loop(), Collector[str]()
    with remote.kernel() as kernel:
        on_loop: Observable[str] = kernel.iopub.pipe(
            ec.of_message_type("stream"), ops.map(text_of), ec.deliver_on(loop)
        )
        on_loop.subscribe(seen)
        remote.send(busy(FIRST), out("woo"))
        remote.fail(KernelDied("for good"))
        kernel.errors.subscribe(lambda _: None)
    loop.start()
    assert seen.items == ["woo"]
    assert isinstance(seen.error, KernelDied)


def test_a_source_that_ends_at_once_is_delivered() -> None:
    loop, seen = Loop(), Collector[int]()
    reactivex.of(1, 2, 3).pipe(ec.deliver_on(loop)).subscribe(seen)
    loop.start()
    assert seen.wait_for_end() == [1, 2, 3]


@pytest.mark.parametrize(
    "odd",
    [
        {"interval": -1},
        {"interval": math.nan},
        {"interval": math.inf},
        {"limit": 0},
        {"limit": -1},
        {"overflow": "oldest"},
    ],
    ids=str,
)
def test_what_makes_no_sense_is_refused_at_once(odd: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(odd))):
        ec.deliver_on(EventLoopScheduler(), **odd)
