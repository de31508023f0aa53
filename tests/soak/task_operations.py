"""The operations that tasks of an event loop perform."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Coroutine
from contextlib import aclosing
from typing import Any, Literal

from reactivex.scheduler.eventloop import AsyncIOThreadSafeScheduler

import enchannel as ec
from tests.soak.catalog import Group, coroutine
from tests.soak.journal import Cause, Violation
from tests.soak.kernels import HANG_TIMEOUT
from tests.soak.languages import Feature
from tests.soak.operation import Operation, Tracked, stream_text
from tests.soak.thread_operations import SHORT_TIMEOUTS

__all__: list[str] = []


# -- without effect on others ---------------------------------------------------------------------------


@coroutine(Group.CALM)
async def arun(op: Operation) -> None:
    with op.judged() as attempt:
        result = await op.kernel.arun(op.lines(10), timeout=op.rng.choice([None, HANG_TIMEOUT * 2]))
    if attempt.error is None:
        op.check_lines(stream_text(result.outputs), 10, "arun")


@coroutine(Group.CALM)
async def arun_several(op: Operation) -> None:
    with op.judged() as attempt:
        results = await asyncio.gather(
            *(op.kernel.arun(op.lines(3)) for _ in range(op.rng.randrange(2, 8))),
            return_exceptions=True,
        )
        errors = [result for result in results if isinstance(result, BaseException)]
        for error in errors[1:]:
            op.judge(error, 0.0)
        if errors:
            raise errors[0]
    if attempt.error is None:
        for result in results:
            if isinstance(result, ec.Result):
                op.check_lines(stream_text(result.outputs), 3, "one of several arun")


@coroutine(Group.CALM)
async def await_result(op: Operation) -> None:
    with op.judged() as attempt:
        result = await ec.last_value(op.kernel.execute(op.lines(10)).pipe(ec.to_result()))
    if attempt.error is None:
        op.check_lines(stream_text(result.outputs), 10, "to_result() on a loop")


@coroutine(Group.CALM)
async def await_reply(op: Operation) -> None:
    with op.judged() as attempt:
        reply = await op.kernel.kernel_info(timeout=None)
    if attempt.error is None:
        op.check(reply.msg_type == "kernel_info_reply", f"kernel_info emitted {reply}")


@coroutine(Group.CALM)
async def iterate(op: Operation) -> None:
    with op.judged() as attempt:
        source = op.kernel.execute(op.lines(30)).pipe(ec.check(), ec.outputs())
        found = [output async for output in ec.aiter(source)]
    if attempt.error is None:
        op.check_lines(stream_text(found), 30, "aiter")


@coroutine(Group.CALM)
async def iterate_slowly(op: Operation) -> None:
    overflow: Literal["latest", "error"] = op.rng.choice(["latest", "error"])
    with op.judged(ec.MessagesMayBeMissing):
        source = op.kernel.execute(op.lines(30)).pipe(ec.check())
        async for _ in ec.aiter(source, limit=3, overflow=overflow):
            await asyncio.sleep(0.005)


@coroutine(Group.CALM)
async def iterate_partly(op: Operation) -> None:
    with op.judged():
        async with aclosing(ec.aiter(op.kernel.execute(op.lines(30)))) as messages:
            async for _ in messages:
                if op.rng.random() < 0.3:
                    break


@coroutine(Group.CALM)
async def drop_iterator(op: Operation) -> None:
    with op.judged():
        messages = ec.aiter(op.kernel.execute(op.lines(30)))
        await anext(messages)
        del messages
        gc.collect()


@coroutine(Group.CALM)
async def iterate_channel(op: Operation) -> None:
    with op.judged():
        channel = op.rng.choice([op.kernel.iopub, op.kernel.main, op.kernel.shell])
        running = asyncio.ensure_future(op.kernel.arun(op.lines(3)))
        try:
            async with aclosing(ec.aiter(channel)) as messages:
                async with asyncio.timeout(1):
                    await anext(messages)
        # The run may have ended before the iterator subscribed.
        except (TimeoutError, StopAsyncIteration):
            pass
        finally:
            await running


@coroutine(Group.CALM)
async def deliver_on_loop(op: Operation) -> None:
    scheduler = AsyncIOThreadSafeScheduler(asyncio.get_running_loop())
    deliver = ec.deliver_on(scheduler, overflow=op.rng.choice(["buffer", "coalesce"]))
    with op.judged() as attempt:
        source = op.kernel.execute(op.lines(50)).pipe(ec.check(), deliver, ec.outputs())
        tracked = Tracked(op, source)
        await ended(tracked)
    if attempt.error is None:
        op.check_lines(stream_text(tracked.items), 50, "deliver_on a loop")


@coroutine(Group.CALM)
async def subscribe_on_loop(op: Operation) -> None:
    scheduler = AsyncIOThreadSafeScheduler(asyncio.get_running_loop())
    with op.judged():
        tracked = Tracked(
            op,
            op.kernel.execute(op.lines(10)),
            scheduler=scheduler,
            dispose_after=op.rng.choice([None, 0, 1, 5]),
        )
        await ended(tracked)


@coroutine(Group.CALM, Feature.INPUT)
async def answer_later(op: Operation) -> None:
    async def on_input(_: object) -> str:
        await asyncio.sleep(0.01)
        return op.token

    with op.judged() as attempt:
        result = await op.kernel.arun("print(input('later'))", on_input=on_input)
    if attempt.error is None:
        text = stream_text(result.outputs)
        op.check(text.endswith(f"{op.token}\n"), f"the answered code printed {text!r}")


@coroutine(Group.CALM, Feature.SUBSHELL)
async def async_subshell(op: Operation) -> None:
    with op.judged():
        async with op.kernel.subshell() as shell:
            result = await shell.arun(op.lines(5))
            op.check_lines(stream_text(result.outputs), 5, "a subshell on a loop")


@coroutine(Group.CALM)
async def block_the_loop(op: Operation) -> None:
    for call in (op.kernel.close, lambda: op.kernel.run("1"), op.kernel.detach):
        try:
            call()
        except ec.WouldDeadlock:
            continue
        except ec.EnchannelError as error:
            op.judge(error, 0.0)
            continue
        op.report("a blocking call on a running loop did not raise")


# -- whose code raises ---------------------------------------------------------------------------------


@coroutine(Group.FAIL)
async def afail(op: Operation) -> None:
    failure = op.disturb(Cause.ERROR)
    with op.judged(ec.KernelError) as attempt:
        await ec.last_value(op.kernel.execute(op.language.failing).pipe(ec.check()))
        op.report("failing code did not raise")
    failure.end()
    await arun_clean(op, "after failing code", but_for=attempt.error)


# -- that stop code ------------------------------------------------------------------------------------


@coroutine(Group.STOP)
async def arun_until_timeout(op: Operation) -> None:
    timeout, code = op.rng.choice(SHORT_TIMEOUTS), op.rng.choice(op.language.endless)
    stop = op.disturb(Cause.INTERRUPT)
    op.note(f"timeout {timeout}, {code!r}")
    with op.judged(ec.RequestTimeout) as attempt:
        await op.kernel.arun(code, timeout=timeout)
        op.report("endless code ended")
    await arun_clean(op, "after a timeout", but_for=attempt.error)
    await settle(op, stop)


@coroutine(Group.STOP)
async def arun_cancelled(op: Operation) -> None:
    await cancel(op, op.kernel.arun(op.rng.choice(op.language.endless)))


@coroutine(Group.STOP)
async def await_cancelled(op: Operation) -> None:
    code = op.rng.choice(op.language.endless)
    await cancel(op, ec.last_value(op.kernel.execute(code, interrupt_if_abandoned=True)))


@coroutine(Group.STOP)
async def await_until_timeout(op: Operation) -> None:
    code = op.rng.choice(op.language.endless)
    source = op.kernel.execute(code, interrupt_if_abandoned=True).pipe(ec.check())
    stop = op.disturb(Cause.INTERRUPT)
    with op.judged(ec.RequestTimeout) as attempt:
        await ec.last_value(source, timeout=op.rng.choice(SHORT_TIMEOUTS))
        op.report("endless code ended")
    await arun_clean(op, "after a timeout", but_for=attempt.error)
    await settle(op, stop)


@coroutine(Group.STOP)
async def iterate_endless(op: Operation) -> None:
    source = op.kernel.execute(op.rng.choice(op.language.endless), interrupt_if_abandoned=True)
    count = op.rng.randrange(1, 3)
    stop = op.disturb(Cause.INTERRUPT)
    with op.judged() as attempt:
        messages = ec.aiter(source)
        for _ in range(count):
            await anext(messages)
        if op.rng.random() < 0.5:
            await messages.aclose()
        else:
            del messages
            gc.collect()
            # Python schedules the closing of a dropped iterator on the loop.
            await asyncio.sleep(0)
    await arun_clean(op, "after an iterator was left", but_for=attempt.error)
    await settle(op, stop)


@coroutine(Group.STOP)
async def await_interrupt(op: Operation) -> None:
    stop = op.disturb(Cause.INTERRUPT)
    with op.judged():
        await op.kernel.interrupt()
    await settle(op, stop)


# -- that end the process or a client ------------------------------------------------------------------


@coroutine(Group.END)
async def await_restart(op: Operation) -> None:
    # Threads hold the lock, too.
    if not op.shared.lethal.acquire(blocking=False):
        return
    try:
        death = op.disturb(Cause.DEATH)
        op.use(op.shared.owner)
        kernel = op.kernel
        running = asyncio.ensure_future(kernel.arun(op.language.endless[0]))
        await asyncio.sleep(op.rng.choice(SHORT_TIMEOUTS))
        with op.judged():
            await kernel.restart()
        with op.judged(ec.KernelDied, ec.ConnectionLost, since=op.began):
            await running
            op.report("a request completed though its kernel was restarted")
        await asyncio.to_thread(op.shared.recover)
        death.end()
    finally:
        op.shared.lethal.release()


# -- steps ---------------------------------------------------------------------------------------------


async def ended(tracked: Tracked[Any]) -> None:
    """Wait until a subscription has ended or was disposed of; raise its error."""
    async with asyncio.timeout(HANG_TIMEOUT):
        while not (tracked.has_ended or tracked.is_disposed):
            await asyncio.sleep(0.005)
    tracked.wait()


async def settle(op: Operation, stop: Any) -> None:
    """End a disturbance by code, once the kernel has answered a request behind that code."""
    with op.judged():
        await op.kernel.kernel_info(timeout=None)
    stop.end()


async def cancel(op: Operation, work: Coroutine[Any, Any, object]) -> None:
    """Cancel a task, at once or later, and check that nothing of it is left."""
    seconds = op.rng.choice([None, 0.0, *SHORT_TIMEOUTS])
    stop = op.disturb(Cause.INTERRUPT)
    op.note(f"cancels after {seconds} s")
    with op.judged(asyncio.CancelledError) as attempt:
        task = asyncio.ensure_future(work)
        if seconds is not None:
            await asyncio.sleep(seconds)
        task.cancel()
        done, _ = await asyncio.wait([task], timeout=HANG_TIMEOUT)
        if not done:
            raise Violation(f"{op.id}: a cancelled task did not end within {HANG_TIMEOUT:g} s")
        await task
        op.report("a cancelled task returned")
    await arun_clean(op, "after a cancellation", but_for=attempt.error)
    await settle(op, stop)


async def arun_clean(op: Operation, when: str, *, but_for: BaseException | None) -> None:
    """Run code of the same client, which nothing that this operation did before may affect."""
    if isinstance(but_for, (ec.KernelDied, ec.ConnectionLost, ec.ChannelClosed)):
        return
    with op.judged() as attempt:
        result = await op.kernel.arun(op.lines(2))
    if attempt.error is None:
        op.check_lines(stream_text(result.outputs), 2, f"arun {when}")
