"""Delivery on an event loop: batches, intervals, limits and coalescing."""

import asyncio
import math
import threading
import weakref
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import reactivex
from reactivex import Observable, abc
from reactivex import operators as ops
from reactivex.scheduler import EventLoopScheduler, ThreadPoolScheduler, VirtualTimeScheduler
from reactivex.scheduler.eventloop import AsyncIOScheduler
from reactivex.subject import Subject

import enchannel as ec
from enchannel import (
    AnyMessage,
    KernelDied,
    Message,
    MessagesMayBeMissing,
    Overflow,
    SubscriberRaised,
)
from enchannel import messages as build
from enchannel.errors import EnchannelError
from enchannel.testing import Collector
from tests.rigs import DEADLINE, eventually
from tests.rigs.messages import answered, busy, idle, printed, text_of, texts, types
from tests.rigs.scripted import ScriptedLifecycle, ScriptedLink
from tests.rigs.threads import Thread, run_on_loop

FIRST, SECOND = ec.execute_request("1"), ec.execute_request("2")
OVERFLOWS: list[Overflow] = ["buffer", "latest", "coalesce", "error"]


class Loop(VirtualTimeScheduler):
    """A loop in virtual time that counts its wake-ups."""

    def __init__(self) -> None:
        super().__init__()
        self.woken = 0

    def schedule_absolute(self, *args: Any, **options: Any) -> abc.DisposableBase:
        self.woken += 1
        return super().schedule_absolute(*args, **options)


def delivered(
    *items: Any, overflow: Overflow = "buffer", limit: int | None = None, end: bool = True
) -> Collector[Any]:
    """Return the notifications for items that all wait when the loop runs."""
    loop, source, seen = Loop(), Subject[Any](), Collector[Any]()
    source.pipe(ec.deliver_on(loop, overflow=overflow, limit=limit)).subscribe(seen)
    for item in items:
        source.on_next(item)
    if end:
        source.on_completed()
    assert seen.items == []
    loop.start()
    return seen


# Threads and turns.


def test_delivery_waits_for_the_loop() -> None:
    loop, source, seen = Loop(), Subject[int](), Collector[int]()
    source.pipe(ec.deliver_on(loop)).subscribe(seen)
    source.on_next(1)
    assert seen.items == []
    loop.start()
    assert seen.items == [1]


def test_one_turn_delivers_all_waiting_items() -> None:
    loop, source, seen = Loop(), Subject[int](), Collector[int]()
    source.pipe(ec.deliver_on(loop)).subscribe(seen)
    for number in range(200):
        source.on_next(number)
    source.on_completed()
    loop.start()
    assert seen.items == list(range(200))
    assert seen.completed
    assert loop.woken == 1


def test_long_batch_yields_to_the_loop() -> None:
    loop, source, seen = Loop(), Subject[int](), Collector[int]()
    source.pipe(ec.deliver_on(loop)).subscribe(seen)
    for number in range(1000):
        source.on_next(number)
    loop.start()
    assert seen.items == list(range(1000))
    assert 2 <= loop.woken <= 10


@pytest.mark.parametrize("overflow", OVERFLOWS)
def test_completion_is_delivered_after_items(overflow: Overflow) -> None:
    seen = delivered(1, overflow=overflow)
    assert (seen.items, seen.completed) == ([1], True)


@pytest.mark.parametrize("overflow", OVERFLOWS)
def test_error_is_delivered_after_items(overflow: Overflow) -> None:
    loop, source, seen = Loop(), Subject[int](), Collector[int]()
    source.pipe(ec.deliver_on(loop, overflow=overflow)).subscribe(seen)
    source.on_next(1)
    source.on_error(ZeroDivisionError())
    loop.start()
    assert seen.items == [1]
    assert isinstance(seen.error, ZeroDivisionError)


def test_subscribers_have_separate_batches() -> None:
    loop, source, seen = Loop(), Subject[int](), (Collector[int](), Collector[int]())
    on_loop = source.pipe(ec.deliver_on(loop))
    on_loop.subscribe(seen[0])
    source.on_next(1)
    on_loop.subscribe(seen[1])
    source.on_next(2)
    loop.start()
    assert (seen[0].items, seen[1].items) == ([1, 2], [2])


def test_dispose_drops_waiting_items() -> None:
    remote, loop, seen = ScriptedLink(), Loop(), Collector[AnyMessage]()
    with remote.kernel() as kernel:
        subscription = kernel.iopub.pipe(ec.deliver_on(loop)).subscribe(seen)
        remote.send(printed("woo"))
        subscription.dispose()
        assert kernel.iopub.observer_count == 0
        loop.start()
    assert seen.items == []


def test_dispose_during_batch_drops_the_rest() -> None:
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


# Intervals.


def times(arrivals: dict[float, int], interval: float) -> list[tuple[float, int]]:
    """Return the delivery time of each item, for batches of items that arrive at the given times."""
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


def test_batches_keep_the_interval() -> None:
    delivered = times({0.0: 1, 0.2: 1, 0.4: 1, 0.9: 1, 1.1: 1, 1.9: 1}, interval=1.0)
    assert [time for time, _ in delivered] == [
        1.0,
        1.0,
        1.0,
        1.0,
        pytest.approx(2.1),
        pytest.approx(2.1),
    ]


def test_interval_restarts_after_a_pause() -> None:
    delivered = times({0.0: 1, 5.0: 1}, interval=1.0)
    assert [time for time, _ in delivered] == [1.0, 6.0]


def test_item_during_batch_waits_for_the_next() -> None:
    loop, source, seen = Loop(), Subject[int](), list[float]()

    def on_next(item: int) -> None:
        seen.append(loop.now.timestamp())
        if item < 3:
            source.on_next(item + 1)

    source.pipe(ec.deliver_on(loop, interval=1.0)).subscribe(on_next)
    source.on_next(0)
    loop.start()
    assert seen == [1.0, 2.0, 3.0, 4.0]


def test_long_batch_ignores_the_interval() -> None:
    """The loop only runs its other tasks between the parts of a batch."""
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
        assert passed[0] - begun >= 0.019  # its clock's resolution

    run_on_loop(main)
    assert seen == list(range(10))


# Real loops.


def test_channel_on_asyncio_loop() -> None:
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


def test_loop_runs_other_tasks_between_batches() -> None:
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


def test_channel_on_event_loop_scheduler() -> None:
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


def closed_pool() -> tuple[abc.SchedulerBase, Callable[[], None]]:
    scheduler = ThreadPoolScheduler(1)
    return scheduler, lambda: scheduler.executor.shutdown(cancel_futures=True)


@pytest.mark.parametrize("overflow", OVERFLOWS)
@pytest.mark.parametrize("make", [closed_asyncio_loop, closed_event_loop, closed_pool])
@pytest.mark.parametrize("interval", [0.0, 0.01])
def test_closed_loop_ends_subscription(
    make: Callable[[], tuple[abc.SchedulerBase, Callable[[], None]]],
    overflow: Overflow,
    interval: float,
) -> None:
    remote, seen = ScriptedLink(), Collector[AnyMessage]()
    scheduler, close = make()
    deliver = ec.deliver_on(scheduler, overflow=overflow, interval=interval)
    errors = Collector[EnchannelError]()
    with remote.kernel() as kernel:
        kernel.errors.subscribe(errors)
        kernel.iopub.pipe(deliver).subscribe(seen)
        close()
        remote.send(printed("1", FIRST), printed("2", SECOND))
        assert kernel.iopub.observer_count == 0
        (error,) = errors.wait_for_count(1)
        assert isinstance(error, MessagesMayBeMissing)
        assert "1 item was not delivered" in str(error)


def test_error_for_closed_loop_is_reported() -> None:
    """A request whose only event is its error."""
    remote, errors = ScriptedLink(), Collector[EnchannelError]()
    scheduler, close = closed_asyncio_loop()
    with remote.kernel() as kernel:
        kernel.errors.subscribe(errors)
        kernel.execute("1").pipe(ec.deliver_on(scheduler)).subscribe()
        close()
        remote.fail(KernelDied("for good"))
        (error,) = errors.wait_for_end()
    assert isinstance(error, KernelDied)


def test_unheard_completion_is_not_reported() -> None:
    remote, errors = ScriptedLink(), Collector[EnchannelError]()
    scheduler, close = closed_asyncio_loop()
    with remote.kernel() as kernel:
        kernel.errors.subscribe(errors)
        kernel.iopub.pipe(ec.deliver_on(scheduler)).subscribe()
        close()
    assert errors.wait_for_end() == []


def test_last_messages_of_closed_kernel_are_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    """A program may end its loop first, and its kernel sends a status as it shuts down."""
    lifecycle = ScriptedLifecycle()
    remote = ScriptedLink(lifecycle=lifecycle)
    scheduler, close = closed_asyncio_loop()
    with remote.kernel() as kernel:
        kernel.iopub.pipe(ec.deliver_on(scheduler)).subscribe()
        close()
        lifecycle.on_call = lambda _: remote.send(busy(None))
    assert caplog.records == []


def test_request_on_loop() -> None:
    remote = ScriptedLink()
    remote.handler = lambda request: void(
        Thread(lambda: remote.send(*answered(request, printed("woo", request))))
    )

    async def main() -> None:
        deliver: Any = ec.deliver_on(AsyncIOScheduler(asyncio.get_running_loop()))
        async with remote.kernel() as kernel:
            result = await kernel.execute("6 * 7").pipe(deliver, ec.to_result())
            assert result.text == "woo"

    run_on_loop(main)


Pipe = Callable[[Observable[Any], Any], Observable[Any]]
PIPES: dict[str, Pipe] = {
    "alone": lambda cell, deliver: cell.pipe(deliver),
    "first": lambda cell, deliver: cell.pipe(deliver, ec.outputs()),
    "last": lambda cell, deliver: cell.pipe(ec.outputs(), deliver),
    "behind check": lambda cell, deliver: cell.pipe(ec.check(), deliver),
    "behind a result": lambda cell, deliver: cell.pipe(ec.to_result(), deliver),
    "behind reactivex": lambda cell, deliver: cell.pipe(ops.map(str), ops.share(), deliver),
    "delayed": lambda cell, deliver: cell.pipe(ops.delay(0.01), deliver),
    "throttled": lambda cell, deliver: cell.pipe(ops.throttle_first(0.01), deliver),
    "delayed twice": lambda cell, deliver: cell.pipe(deliver, ops.delay(0.01), deliver),
    "twice": lambda cell, deliver: cell.pipe(deliver, ops.map(str), deliver),
    "later": lambda cell, deliver: in_own_time(0.01).pipe(ops.flat_map(lambda _: cell), deliver),
    "retried": lambda cell, deliver: reactivex.concat(in_own_time(0.01), cell).pipe(deliver),
}
"""Operators around ``deliver_on``; the last two subscribe to the request on another thread, later."""


def in_own_time(seconds: float) -> Observable[int]:
    return reactivex.timer(seconds)


@pytest.mark.parametrize("pipe", PIPES.values(), ids=PIPES)
@pytest.mark.parametrize("wait", [ec.last_value, None], ids=["last_value", "subscribe"])
def test_on_input_is_called_where_pipe_ends(pipe: Pipe, wait: Any) -> None:
    remote, threads = ScriptedLink(), list[threading.Thread]()
    remote.handler = lambda message: void(Thread(lambda: answer_with_input(remote, message)))

    def on_input(request: ec.InputPrompt) -> str:
        threads.append(threading.current_thread())
        return "Ada"

    async def main() -> None:
        deliver = ec.deliver_on(AsyncIOScheduler(asyncio.get_running_loop()))
        async with remote.kernel() as kernel:
            done = pipe(kernel.execute("input()", on_input=on_input), deliver)
            if wait is not None:
                await wait(done.pipe(ops.default_if_empty(None)))
            else:
                ended = asyncio.Event()
                done.subscribe(on_error=lambda _: ended.set(), on_completed=ended.set)
                await ended.wait()

    run_on_loop(main)
    assert threads == [threading.current_thread()]


def test_on_input_behind_operators_is_called_by_wait() -> None:
    remote, threads = ScriptedLink(), list[threading.Thread]()
    remote.handler = lambda message: answer_with_input(remote, message)

    def on_input(request: ec.InputPrompt) -> str:
        threads.append(threading.current_thread())
        return "Ada"

    with remote.kernel() as kernel:
        ec.wait(kernel.execute("input()", on_input=on_input).pipe(ec.to_result()), timeout=DEADLINE)
    assert threads == [threading.current_thread()]


def answer_with_input(remote: ScriptedLink, message: AnyMessage) -> None:
    """Answer an execution with an input request, and the input with the rest."""
    if message.channel == "shell":
        remote.send(busy(message), build.input_request("Name? ", parent=message))
    else:
        remote.send(*answered(remote.last_request))


def test_on_input_is_called_on_the_loop() -> None:
    remote, threads = ScriptedLink(), list[threading.Thread]()

    def on_sent(message: AnyMessage) -> None:
        if message.channel == "shell":
            remote.send(busy(message), build.input_request("Name? ", parent=message))
        else:
            remote.send(*answered(remote.last_request))

    def on_input(request: ec.InputPrompt) -> str:
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


# Subscribers that raise.


def broken(_: object) -> None:
    raise ZeroDivisionError("oh")


def test_raising_subscriber_is_reported_on_errors() -> None:
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


def test_raising_subscriber_of_pipe_is_reported() -> None:
    remote, loop, errors = ScriptedLink(), Loop(), Collector[EnchannelError]()
    with remote.kernel() as kernel:
        kernel.errors.subscribe(errors)
        deliver = ec.deliver_on(loop)
        kernel.iopub.pipe(ec.outputs(), deliver).subscribe(broken)
        remote.send(printed("1"))
        assert eventually(lambda: deliver.backlog == 1)
        loop.start()
        (error,) = errors.wait_for_count(1)
        assert isinstance(error.__cause__, ZeroDivisionError)


def test_raising_foreign_subscriber_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    loop, source = Loop(), Subject[int]()
    source.pipe(ec.deliver_on(loop)).subscribe(broken)
    source.on_next(1)
    loop.start()
    (record,) = caplog.records
    assert record.name == "enchannel"
    assert "ZeroDivisionError: oh" in record.getMessage()


def test_backlog_counts_waiting_items() -> None:
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


def test_batch_continues_after_keyboard_interrupt() -> None:
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
    loop.stop()  # it seems to run
    loop.start()
    assert seen == [number for number in range(1000) if number != 300]


def test_loop_that_raises_ends_subscription() -> None:
    class Closed(Loop):
        def schedule_absolute(self, *args: Any, **options: Any) -> abc.DisposableBase:
            raise RuntimeError("closed")

    source = Subject[int]()
    source.pipe(ec.deliver_on(Closed())).subscribe()
    source.on_next(1)
    assert not source.observers


def test_concurrent_items_lose_no_wake_up() -> None:
    """Two threads emit items while the loop finishes its batches."""
    scheduler, sources, seen = (
        EventLoopScheduler(),
        (Subject[int](), Subject[int]()),
        Collector[int](),
    )
    deliver = ec.deliver_on(scheduler)
    reactivex.merge(*sources).pipe(deliver).subscribe(seen)

    def emit(source: Subject[int]) -> None:
        for number in range(2000):
            source.on_next(number)
            if number % 10 == 0:
                seen.wait_for_count(number)

    for thread in [Thread(partial(emit, source)) for source in sources]:
        thread.result()
    seen.wait_for_count(4000)
    scheduler.dispose()


# Overflow policies.


def test_buffer_keeps_all_items() -> None:
    seen = delivered(*range(1000))
    assert seen.items == list(range(1000))


def test_latest_keeps_newest_item() -> None:
    seen = delivered(*range(1000), overflow="latest")
    assert (seen.items, seen.completed) == ([999], True)


def test_latest_keeps_limit_items() -> None:
    assert delivered(*range(1000), overflow="latest", limit=3).items == [997, 998, 999]
    assert delivered(1, 2, overflow="latest", limit=3).items == [1, 2]


def test_latest_continues_after_delivery() -> None:
    loop, source, seen = Loop(), Subject[int](), Collector[int]()
    source.pipe(ec.deliver_on(loop, overflow="latest")).subscribe(seen)
    for number in range(6):
        source.on_next(number)
        if number % 3 == 2:
            loop.start()
    assert seen.items == [2, 5]


def test_error_policy_fails_after_limit_items() -> None:
    seen = delivered(*range(1000), overflow="error", limit=3)
    assert seen.items == [0, 1, 2]
    assert isinstance(seen.error, MessagesMayBeMissing)
    assert "more than 3 items waited" in str(seen.error)


def test_error_policy_accepts_limit_items() -> None:
    seen = delivered(1, 2, 3, overflow="error", limit=4)  # and the completion
    assert (seen.items, seen.completed) == ([1, 2, 3], True)
    assert delivered(*range(1000), overflow="error").items == list(range(1000))


def test_error_policy_stops_queueing() -> None:
    """Items that will never be delivered must not use memory while the consumer hangs."""

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


def test_error_policy_fails_once() -> None:
    errors = list[Exception]()
    loop, source = Loop(), Subject[int]()
    limited = ec.deliver_on(loop, overflow="error", limit=1)(source)
    limited.subscribe(on_error=errors.append)
    for number in range(10):
        source.on_next(number)
    loop.start()
    source.on_next(11)
    loop.start()
    assert len(errors) == 1
    assert not source.observers


# Coalescing.


def coalesced(*messages: Any) -> list[Any]:
    return delivered(*messages, overflow="coalesce").items


def out(text: str, request: AnyMessage = FIRST) -> AnyMessage:
    return printed(text, request)


def err(text: str, request: AnyMessage = FIRST) -> AnyMessage:
    return build.stream("stderr", text, parent=request)


def test_coalesce_joins_waiting_text() -> None:
    (message,) = coalesced(*(out(str(number)) for number in range(1000)))
    assert text_of(message) == "".join(map(str, range(1000)))
    assert message.content["name"] == "stdout"
    assert message.parent_header.msg_id == FIRST.header.msg_id


def test_coalesce_keeps_single_message() -> None:
    message = out("woo")
    assert coalesced(message)[0] is message


def test_coalesce_separates_streams_and_requests() -> None:
    messages = [out("a"), err("b"), out("c"), out("d", SECOND)]
    assert coalesced(*messages) == messages


def test_coalesce_keeps_order_of_other_messages() -> None:
    value = build.execute_result({"text/plain": "42"}, 1, parent=FIRST)
    messages = coalesced(busy(FIRST), out("a"), out("b"), value, out("c"), out("d"), idle(FIRST))
    assert types(messages) == ["status", "stream", "execute_result", "stream", "status"]
    assert (text_of(messages[1]), text_of(messages[3])) == ("ab", "cd")


def test_coalesce_joins_stream_outputs() -> None:
    result = build.execute_result({}, 1, parent=FIRST)
    messages = [out("a"), out("b"), err("c"), result, out("d"), out("e")]
    outputs: list[ec.Output] = []
    reactivex.of(*messages).pipe(ec.outputs()).subscribe(outputs.append)
    joined = coalesced(*outputs)
    assert [output.get("text") for output in joined] == ["ab", "c", None, "de"]
    assert [type(output) for output in joined] == [type(outputs[0])] * 4


def test_coalesce_keeps_items_of_other_types() -> None:
    assert coalesced(1, 1, "a", None) == [1, 1, "a", None]


@pytest.mark.parametrize("content", [{"name": "stdout"}, {"name": "stdout", "text": ["a"]}])
def test_coalesce_keeps_invalid_text(content: dict[str, Any]) -> None:
    odd = ec.create_message("stream", content, channel="iopub", parent=FIRST)
    messages = [out("a"), odd, odd, out("b")]
    assert coalesced(*messages) == messages


def test_coalesce_continues_after_delivery() -> None:
    loop, source, seen = Loop(), Subject[AnyMessage](), Collector[AnyMessage]()
    source.pipe(ec.deliver_on(loop, overflow="coalesce")).subscribe(seen)
    for turn in ("ab", "cd"):
        for text in turn:
            source.on_next(out(text))
        loop.start()
    assert texts(seen.items) == ["ab", "cd"]


def test_coalesce_joins_in_linear_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Joining each message with all previous ones would take quadratic time."""
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


def test_coalesced_messages_give_the_same_result() -> None:
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


# Combinations.


def test_deliver_on_works_behind_operators() -> None:
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


def test_immediate_completion_is_delivered() -> None:
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
def test_invalid_argument_raises_value_error(odd: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(odd))):
        ec.deliver_on(EventLoopScheduler(), **odd)


def test_limit_that_is_not_int_raises_type_error() -> None:
    with pytest.raises(TypeError, match=r"limit must be an int or None, not 1\.5"):
        ec.deliver_on(EventLoopScheduler(), limit=1.5, overflow="latest")  # type: ignore[arg-type]


@pytest.mark.parametrize("overflow", ["buffer", "coalesce"])
def test_limit_that_is_ignored_raises_value_error(overflow: Overflow) -> None:
    with pytest.raises(ValueError, match=f'limit must be None with overflow="{overflow}"'):
        ec.deliver_on(EventLoopScheduler(), limit=5, overflow=overflow)
