"""Waiting for an observable: in a thread, in a coroutine, in an ``async for``."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import Any, Literal

import pytest
import reactivex
from reactivex import Observable
from reactivex import operators as ops
from reactivex.internal.exceptions import SequenceContainsNoElementsError
from reactivex.subject import ReplaySubject, Subject

import enchannel as ec
from enchannel import (
    AnyMessage,
    KernelDied,
    KernelError,
    MessagesMayBeMissing,
    RequestTimeout,
    WouldDeadlock,
)
from enchannel._kernel.kernel import parts_of
from enchannel._rx.waiting import Waiter
from enchannel.testing import Collector
from tests.rigs import DEADLINE
from tests.rigs.messages import answered, busy, idle, printed, reply_to, started, text_of, types
from tests.rigs.scripted import ScriptedLink, settle
from tests.rigs.threads import Thread, in_thread, run_on_loop, wait_until_blocked_in


def answering(*outputs: str) -> ScriptedLink:
    """Yield a kernel that answers on another thread, as backends do."""
    remote = ScriptedLink()

    def answer(request: AnyMessage) -> None:
        remote.send(*answered(request, *(printed(text, request) for text in outputs)))

    def in_a_thread(request: AnyMessage) -> None:
        Thread(lambda: answer(request))

    remote.handler = in_a_thread
    return remote


async def collected(observable: Observable[Any]) -> list[Any]:
    return [item async for item in ec.aiter(observable)]


# Waiting in a thread.


def test_wait_returns_last_item() -> None:
    assert ec.wait(reactivex.of(1, 2, 3)) == 3


@pytest.mark.parametrize("timeout", [1e12, 1e300])
def test_wait_accepts_any_long_timeout(timeout: float) -> None:
    assert ec.wait(reactivex.timer(0.01), timeout=timeout) == 0


def test_wait_raises_error_of_observable() -> None:
    with pytest.raises(ZeroDivisionError):
        ec.wait(reactivex.throw(ZeroDivisionError()))


def test_wait_without_items_raises() -> None:
    with pytest.raises(SequenceContainsNoElementsError, match="default_if_empty"):
        ec.wait(reactivex.empty())


def test_wait_may_return_none() -> None:
    assert ec.wait(reactivex.just(None)) is None


def test_wait_receives_from_another_thread() -> None:
    with answering().kernel() as kernel:
        assert ec.wait(kernel.kernel_info()).header.msg_type == "kernel_info_reply"


def test_wait_works_behind_operators_and_subjects() -> None:
    with answering("woo").kernel() as kernel:
        texts = kernel.execute("print('woo')").pipe(
            ec.of_message_type("stream"), ops.map(text_of), ops.share()
        )
        assert ec.wait(texts) == "woo"


def test_wait_timeout_disposes_subscription() -> None:
    remote = ScriptedLink()
    with remote.kernel() as kernel:
        with pytest.raises(RequestTimeout, match="did not complete within 0.01 s"):
            ec.wait(kernel.execute("train()"), timeout=0.01)
        assert parts_of(kernel).requests.by_id == {}
        with pytest.raises(RequestTimeout):
            ec.wait(kernel.iopub, timeout=0)
        with pytest.raises(RequestTimeout):
            ec.wait(kernel.iopub.pipe(ec.of_message_type("woo")), timeout=0)
        assert kernel.iopub.observer_count == 0


def test_wait_on_event_loop_raises() -> None:
    async def main() -> None:
        with pytest.raises(WouldDeadlock, match=r"use `await enchannel\.last_value\(…\)`"):
            ec.wait(reactivex.just(1))

    run_on_loop(main)


def test_wait_in_subscriber_raises() -> None:
    remote, errors = ScriptedLink(), Collector[Exception]()
    with remote.kernel() as kernel:
        kernel.errors.subscribe(errors)
        kernel.iopub.subscribe(lambda _: void(ec.wait(kernel.kernel_info())))
        remote.send(printed("woo"))
        (error,) = errors.wait_for_count(1)
    assert isinstance(error.__cause__, WouldDeadlock)
    assert "subscribe to the observable instead" in str(error.__cause__)
    assert "use `await enchannel.last_value(…)` on an event loop" in str(error.__cause__)


def void(_: object) -> None: ...


def test_wait_works_on_other_threads() -> None:
    with answering().kernel() as kernel:
        assert in_thread(lambda: ec.wait(kernel.kernel_info())).channel == "shell"


def test_wait_ends_with_connection() -> None:
    remote = ScriptedLink()
    with remote.kernel() as kernel:
        waiting = Thread(lambda: ec.wait(kernel.iopub))
        wait_until_blocked_in(waiting, Waiter.wait)
        remote.send(printed("woo"))
        in_thread(kernel.close)
        assert waiting.result().content["text"] == "woo"


# Waiting in a coroutine.


async def plain_await(observable: Observable[Any]) -> Any:
    return await observable


LASTS: list[Callable[[Observable[Any]], Awaitable[Any]]] = [ec.last_value, plain_await]


@pytest.mark.parametrize("last", LASTS)
def test_await_returns_last_item(last: Callable[[Observable[Any]], Awaitable[Any]]) -> None:
    async def main() -> None:
        async with answering("woo").kernel() as kernel:
            reply = await last(kernel.execute("print('woo')"))
            assert reply.header.msg_type == "execute_reply"

    run_on_loop(main)


@pytest.mark.parametrize("last", LASTS)
def test_await_behind_operators_wakes_loop(
    last: Callable[[Observable[Any]], Awaitable[Any]],
) -> None:
    """The ``__await__`` of reactivex sets its future on another thread, which does not wake the loop."""

    async def main() -> None:
        async with answering("woo").kernel() as kernel:
            cell = kernel.execute("print('woo')")
            assert (await last(cell.pipe(ec.to_result()))).text == "woo"
            texts = cell.pipe(
                ec.of_message_type("stream"),
                ops.map(text_of),
                ops.filter(bool),
                ops.to_list(),
            )
            assert await last(texts) == ["woo"]

    run_on_loop(main)


@pytest.mark.parametrize("last", LASTS)
def test_await_behind_child_of_wakes_loop(
    last: Callable[[Observable[Any]], Awaitable[Any]],
) -> None:
    async def main() -> None:
        async with answering("woo").kernel() as kernel:
            request = ec.execute_request("print('woo')")
            children = kernel.iopub.pipe(ec.child_of(request), ec.until_idle())
            waiting = asyncio.ensure_future(asyncio.wait_for(last(children), DEADLINE))
            while not kernel.iopub.observer_count:
                await asyncio.sleep(0)
            kernel.shell.on_next(request)
            assert (await waiting).content["execution_state"] == "idle"

    run_on_loop(main)


def test_last_value_behind_share_wakes_loop() -> None:
    """``share`` calls all subscribers on the thread of the first one."""

    async def main() -> None:
        remote = ScriptedLink()
        async with remote.kernel() as kernel:
            shared = kernel.execute("6 * 7").pipe(ops.share())
            shared.subscribe(lambda _: None)
            waiting = asyncio.ensure_future(ec.last_value(shared))
            await asyncio.sleep(0)
            Thread(lambda: remote.send(*answered(remote.last_request)))
            assert (await waiting).header.msg_type == "execute_reply"

    run_on_loop(main)


def test_last_value_behind_subject_wakes_loop() -> None:
    async def main() -> None:
        async with answering().kernel() as kernel:
            subject = ReplaySubject[AnyMessage]()
            kernel.kernel_info().subscribe(subject)
            assert (await ec.last_value(subject)).header.msg_type == "kernel_info_reply"

    run_on_loop(main)


def test_last_value_of_foreign_observables() -> None:
    async def main() -> None:
        assert await ec.last_value(reactivex.of(1, 2, 3)) == 3
        assert await ec.last_value(reactivex.just(None)) is None  # type: ignore[func-returns-value]
        with pytest.raises(SequenceContainsNoElementsError, match="default_if_empty"):
            await ec.last_value(reactivex.empty())
        with pytest.raises(ZeroDivisionError):
            await ec.last_value(reactivex.throw(ZeroDivisionError()))

    run_on_loop(main)


@pytest.mark.parametrize("last", LASTS)
def test_await_raises_error_of_request(
    last: Callable[[Observable[Any]], Awaitable[Any]],
) -> None:
    async def main() -> None:
        remote = ScriptedLink()
        remote.handler = lambda _: void(Thread(lambda: remote.emit_event(KernelDied("killed"))))
        async with remote.kernel() as kernel:
            kernel.errors.subscribe(lambda _: None)
            for cell in (kernel.execute("1"), kernel.execute("2").pipe(ec.to_result())):
                with pytest.raises(KernelDied):
                    await last(cell)
            remote.handler = lambda request: remote.send(
                busy(request), reply_to(request, status="error", ename="Oh"), idle(request)
            )
            with pytest.raises(KernelError):
                await last(kernel.execute("3").pipe(ec.to_result()))

    run_on_loop(main)


def test_last_value_timeout_disposes_subscription() -> None:
    async def main() -> None:
        async with ScriptedLink().kernel() as kernel:
            with pytest.raises(RequestTimeout, match="did not complete within 0.01 s"):
                await ec.last_value(kernel.execute("train()"), timeout=0.01)
            assert parts_of(kernel).requests.by_id == {}

    run_on_loop(main)


def test_last_value_raises_timeout_of_observable() -> None:
    async def main() -> None:
        with pytest.raises(TimeoutError):
            await ec.last_value(reactivex.throw(TimeoutError("the observable's")), timeout=DEADLINE)

    run_on_loop(main)


@pytest.mark.parametrize("last", LASTS)
def test_cancelled_await_disposes_subscription(
    last: Callable[[Observable[Any]], Awaitable[Any]],
) -> None:
    async def main() -> None:
        remote = ScriptedLink()
        async with remote.kernel() as kernel:
            for cell in (kernel.execute("train()"), kernel.execute("2").pipe(ec.to_result())):
                sent = len(remote.received[ec.ChannelName.SHELL])

                async def waits(cell: Observable[Any] = cell) -> None:
                    await last(cell)

                waiting = asyncio.ensure_future(waits())
                while len(remote.received[ec.ChannelName.SHELL]) == sent:
                    await asyncio.sleep(0)
                waiting.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await waiting
                await asyncio.sleep(0)
                assert parts_of(kernel).requests.by_id == {}

    run_on_loop(main)


def test_cancelled_await_interrupts_on_request() -> None:
    async def main() -> None:
        remote = ScriptedLink()
        remote.handler = lambda request: remote.send(busy(request), started(request))
        async with remote.kernel() as kernel:
            cell = kernel.execute("train()", interrupt_if_abandoned=True)
            with pytest.raises(RequestTimeout):
                await ec.last_value(cell, timeout=0.01)
            assert types(remote.received[ec.ChannelName.CONTROL]) == ["interrupt_request"]

    run_on_loop(main)


def test_many_coroutines_await_at_once() -> None:
    async def main() -> None:
        async with answering("woo").kernel() as kernel:
            cells = [kernel.execute(str(number)).pipe(ec.to_result()) for number in range(100)]
            results = await asyncio.gather(*(ec.last_value(cell) for cell in cells))
            assert [result.text for result in results] == ["woo"] * 100

    run_on_loop(main)


# Iterating.


def test_aiter_yields_each_item() -> None:
    async def main() -> None:
        async with answering("1", "2").kernel() as kernel:
            items = await collected(kernel.execute("print(1, 2)"))
            assert types(items) == ["status", "stream", "stream", "status", "execute_reply"]
            assert await collected(reactivex.of(1, 2, 3)) == [1, 2, 3]
            assert await collected(reactivex.empty()) == []

    run_on_loop(main)


def test_aiter_queues_fast_items() -> None:
    async def main() -> None:
        remote = ScriptedLink()
        async with remote.kernel() as kernel:
            remote.handler = lambda request: remote.send(
                *answered(request, *(printed(str(number), request) for number in range(1000)))
            )
            texts = list[str]()
            async for message in ec.aiter(kernel.execute("1").pipe(ec.of_message_type("stream"))):
                texts.append(message.content["text"])
                if len(texts) % 100 == 0:
                    await asyncio.sleep(0)
            assert texts == [str(number) for number in range(1000)]

    run_on_loop(main)


def test_aiter_yields_items_before_an_error() -> None:
    async def main() -> None:
        remote, seen = ScriptedLink(), list[AnyMessage]()

        def die(request: AnyMessage) -> None:
            remote.send(busy(request))
            remote.emit_event(KernelDied("killed"))

        remote.handler = die
        async with remote.kernel() as kernel:
            kernel.errors.subscribe(lambda _: None)

            async def watch() -> None:
                async for message in ec.aiter(kernel.execute("1")):
                    seen.append(message)

            with pytest.raises(KernelDied):
                await watch()
            assert types(seen) == ["status"]

    run_on_loop(main)


def test_aiter_subscribes_on_first_item() -> None:
    async def main() -> None:
        remote = ScriptedLink()
        async with remote.kernel() as kernel:
            messages = ec.aiter(kernel.execute("1"))
            await asyncio.sleep(0)
            assert remote.received[ec.ChannelName.SHELL] == []
            remote.handler = lambda request: remote.send(*answered(request))
            assert len([message async for message in messages]) == 3

    run_on_loop(main)


def test_leaving_aiter_disposes_subscription() -> None:
    async def main() -> None:
        remote = ScriptedLink()
        remote.handler = lambda request: remote.send(busy(request), started(request))
        async with remote.kernel() as kernel:
            async for _ in ec.aiter(kernel.execute("train()", interrupt_if_abandoned=True)):
                break
            while parts_of(kernel).requests.by_id.keys() & {remote.last_request.header.msg_id}:
                await asyncio.sleep(0)
            assert types(remote.received[ec.ChannelName.CONTROL]) == ["interrupt_request"]

    run_on_loop(main)


def test_cancelled_aiter_disposes_subscription() -> None:
    async def main() -> None:
        async with ScriptedLink().kernel() as kernel:
            watching = asyncio.ensure_future(collected(kernel.iopub))
            while not kernel.iopub.observer_count:
                await asyncio.sleep(0)
            watching.cancel()
            with pytest.raises(asyncio.CancelledError):
                await watching
            assert kernel.iopub.observer_count == 0

    run_on_loop(main)


def test_aiter_ends_with_connection() -> None:
    async def main() -> None:
        remote = ScriptedLink()
        async with remote.kernel() as kernel:
            watching = asyncio.ensure_future(collected(kernel.iopub))
            while not kernel.iopub.observer_count:
                await asyncio.sleep(0)
            remote.send(printed("woo"))
        assert types(await watching) == ["stream"]

    run_on_loop(main)


def test_dropped_aiter_disposes_subscription() -> None:
    async def main() -> None:
        subject = Subject[int]()
        items = ec.aiter(subject)
        first = asyncio.ensure_future(anext(items))
        await asyncio.sleep(0)
        subject.on_next(1)
        assert await first == 1
        assert subject.observers
        del items, first
        while subject.observers:
            await asyncio.sleep(0)

    run_on_loop(main)


def test_closed_aiter_disposes_subscription() -> None:
    async def main() -> None:
        subject = Subject[int]()
        async with aclosing(ec.aiter(subject)) as items:
            first = asyncio.ensure_future(anext(items))
            await asyncio.sleep(0)
            subject.on_next(1)
            assert await first == 1
            assert subject.observers
        assert subject.observers == []
        with pytest.raises(StopAsyncIteration):
            await anext(items)

    run_on_loop(main)


def test_item_after_loop_disposes_aiter_subscription() -> None:
    """A loop that was closed without ``shutdown_asyncgens`` does not close the iterator."""
    subject = Subject[int]()
    loop = asyncio.new_event_loop()
    items = ec.aiter(subject)

    async def first() -> int:
        asyncio.get_running_loop().call_soon(subject.on_next, 1)
        return await anext(items)

    assert loop.run_until_complete(first()) == 1
    loop.call_soon(loop.stop)
    subject.on_next(2)  # wakes the loop, which is closed before it runs
    loop.close()
    assert subject.observers
    subject.on_next(3)
    assert subject.observers == []


@pytest.mark.parametrize(
    ("limit", "kept"), [(None, [1, 1000]), (1, [1, 1000]), (3, [1, 998, 999, 1000])]
)
def test_latest_aiter_keeps_limit_items(limit: int | None, kept: list[int]) -> None:
    assert slowly_collected(limit=limit, overflow="latest") == kept


def test_error_aiter_fails_after_limit_items() -> None:
    received = list[int]()
    with pytest.raises(MessagesMayBeMissing, match="more than 3 items waited for the async iter"):
        slowly_collected(received, limit=3, overflow="error")
    assert received == [1, 2, 3, 4]


@pytest.mark.parametrize("limit", [None, 999])
def test_error_aiter_yields_limit_items(limit: int | None) -> None:
    assert slowly_collected(limit=limit, overflow="error") == list(range(1, 1001))


def slowly_collected(
    received: list[int] | None = None,
    *,
    limit: int | None = None,
    overflow: Literal["buffer", "latest", "error"],
) -> list[int]:
    """Collect 1 to 1000, of which all but the first arrive while the consumer works."""
    numbers: list[int] = [] if received is None else received

    async def main() -> None:
        source = Subject[int]()
        asyncio.get_running_loop().call_soon(source.on_next, 1)
        async for number in ec.aiter(source, limit=limit, overflow=overflow):
            numbers.append(number)
            if number == 1:
                in_thread(lambda: reactivex.range(2, 1001).subscribe(source))

    run_on_loop(main)
    return numbers


def test_overflow_ends_aiter_subscription() -> None:
    async def main() -> None:
        source = Subject[int]()
        items = ec.aiter(source, limit=1, overflow="error")
        first = asyncio.ensure_future(anext(items))
        await asyncio.sleep(0)
        for number in range(3):
            source.on_next(number)
        assert await first == 0
        with pytest.raises(MessagesMayBeMissing):
            await anext(items)
        assert source.observers == []

    run_on_loop(main)


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"limit": 0}, ValueError, "limit must be a positive number of items or None, not 0"),
        ({"limit": 1.5}, TypeError, "limit must be an int or None, not 1.5"),
        ({"limit": 5}, ValueError, 'limit must be None with overflow="buffer"'),
        ({"overflow": "coalesce"}, ValueError, "one of buffer, latest, error, not 'coalesce'"),
    ],
)
def test_aiter_rejects_invalid_options(
    options: dict[str, Any], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        ec.aiter(reactivex.of(1), **options)


def test_waiting_wakes_loop_rarely() -> None:
    """last_value wakes it once, and aiter only while it sleeps."""
    woken = 0

    async def main() -> None:
        nonlocal woken
        loop = asyncio.get_running_loop()
        call_soon_threadsafe = loop.call_soon_threadsafe

        def counted(*args: Any, **options: Any) -> asyncio.Handle:
            nonlocal woken
            woken += 1
            return call_soon_threadsafe(*args, **options)

        remote = ScriptedLink()
        remote.handler = lambda request: remote.send(
            *answered(request, *(printed("x", request),) * 1000)
        )
        async with remote.kernel() as kernel:
            loop.call_soon_threadsafe = counted  # type: ignore[method-assign,assignment]
            await ec.last_value(kernel.execute("1"))
            assert woken == 1
            assert len(await collected(kernel.execute("2"))) == 1003
            assert woken == 2
            await kernel.execute("3").pipe(ec.to_result())
            assert woken < 20

    run_on_loop(main)


def test_closed_loop_does_not_disturb_others() -> None:
    remote, others = ScriptedLink(), Collector[AnyMessage]()
    with remote.kernel() as kernel:
        loop = asyncio.new_event_loop()
        waiting = loop.create_task(collected(kernel.iopub))
        while not kernel.iopub.observer_count:
            loop.run_until_complete(asyncio.sleep(0))
        loop.close()
        kernel.iopub.subscribe(others)
        remote.send(printed("woo"))
        settle(kernel)
        assert types(others.items) == ["stream"]
        coroutine = waiting.get_coro()
        assert coroutine is not None
        coroutine.close()
        waiting._log_destroy_pending = False  # type: ignore[attr-defined]


def test_immediate_item_needs_no_thread() -> None:
    subject = Subject[int]()

    async def main() -> None:
        waiting = asyncio.ensure_future(ec.last_value(subject))
        await asyncio.sleep(0)
        subject.on_next(1)
        subject.on_completed()
        assert await waiting == 1

    run_on_loop(main)
    assert threading.current_thread() is threading.main_thread()
