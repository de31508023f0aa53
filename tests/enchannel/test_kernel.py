"""Opening, controlling and closing a kernel, and copies of it in a forked child."""

import asyncio
import faulthandler
import os
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable
from typing import Any

import pytest
import reactivex
from reactivex import operators as ops
from reactivex.subject import AsyncSubject

import enchannel as ec
from enchannel import (
    AnyMessage,
    ChannelClosed,
    ChannelName,
    ConnectionFailed,
    ConnectionLost,
    Kernel,
    KernelDied,
    KernelState,
    LinkState,
    NotConnected,
    NotSupported,
    RequestTimeout,
    Session,
    WouldDeadlock,
)
from enchannel._kernel.kernel import parts_of
from enchannel.abc import Link
from enchannel.backends import open_link
from enchannel.errors import EnchannelError
from enchannel.memory import InMemoryKernel
from enchannel.testing import Collector, FakeKernel
from tests.rigs import DEADLINE
from tests.rigs.messages import answered, busy, printed, reply_to, types
from tests.rigs.scripted import ScriptedLifecycle, ScriptedLink, settle
from tests.rigs.threads import Thread, in_thread, run_on_loop

SHELL, CONTROL = ChannelName.SHELL, ChannelName.CONTROL


def launched(*, interrupts_itself: bool = True) -> tuple[ScriptedLink, ScriptedLifecycle]:
    """Return the link and the lifecycle of an owned kernel."""
    lifecycle = ScriptedLifecycle(interrupts_itself=interrupts_itself)
    return ScriptedLink(lifecycle=lifecycle), lifecycle


def void(_: object) -> None: ...


# Opening.


def test_with_block_opens_and_closes() -> None:
    remote = ScriptedLink(id="ada")
    with remote.kernel() as kernel:
        assert kernel.id == "ada"
        assert not remote.gone.is_set()
    assert remote.closed == 1


def test_async_with_opens_and_closes() -> None:
    remote = ScriptedLink(id="ada")

    async def main() -> None:
        async with remote.kernel() as kernel:
            assert kernel.id == "ada"
        assert remote.closed == 1

    run_on_loop(main)


def test_await_opens_kernel() -> None:
    remote = ScriptedLink()

    async def main() -> Kernel:
        kernel = await remote.kernel()
        assert kernel.link_state.value is LinkState.CONNECTED
        return kernel

    run_on_loop(main).close()
    assert remote.closed == 1


def test_with_block_that_raises_closes() -> None:
    remote = ScriptedLink()
    with pytest.raises(ZeroDivisionError), remote.kernel():
        raise ZeroDivisionError
    assert remote.closed == 1


def test_repr_shows_link_and_state() -> None:
    remote = ScriptedLink(id="ada")
    with remote.kernel() as kernel:
        assert repr(kernel) == "<Kernel ada connected, idle>"
    assert repr(kernel) == "<Kernel ada closed, idle>"


def test_kernel_from_link_is_connected() -> None:
    remote, session, seen = ScriptedLink(id="ada"), Session(), Collector[AnyMessage]()
    with Kernel.from_link(remote.link, session=session, scheduler=remote.clock) as kernel:
        assert kernel.session is session
        assert (kernel.id, kernel.link_state.value) == ("ada", LinkState.CONNECTED)
        kernel.execute("6 * 7").subscribe(seen)
        remote.send(*answered(remote.last_request))
        seen.wait_for_end()
        assert remote.last_request.header.session == session.id
    assert remote.closed == 1


def test_kernel_from_link_shuts_owned_kernel_down() -> None:
    remote, lifecycle = launched()
    with Kernel.from_link(remote.link) as kernel:
        assert kernel.owned
    assert lifecycle.calls == ["shutdown"]


def test_kernel_from_link_on_event_loop() -> None:
    remote = ScriptedLink()

    async def main() -> None:
        kernel = Kernel.from_link(remote.link)
        assert kernel.link_state.value is LinkState.CONNECTED
        async with kernel as entered:
            assert entered is kernel
        assert remote.closed == 1

    run_on_loop(main)


def test_kernel_from_link_runs_code() -> None:
    session = Session()
    with InMemoryKernel() as remote:
        FakeKernel(remote)
        link = open_link(remote.target, session=session)
        with Kernel.from_link(link, session=session) as kernel:
            assert kernel.run("6 * 7").status == "ok"


def test_unsupported_channel_raises() -> None:
    with ScriptedLink(SHELL, ChannelName.IOPUB).kernel() as kernel:
        with pytest.raises(NotSupported, match="does not support the stdin channel"):
            _ = kernel.stdin


def failing_to_open(error: BaseException) -> Kernel:
    def open_link() -> Link:
        raise error

    return Kernel(open_link, Session(), label="ada")


def test_failed_open_raises() -> None:
    kernel = failing_to_open(ConnectionFailed("connection refused"))
    with pytest.raises(ConnectionFailed), kernel:
        raise AssertionError
    assert repr(kernel) == "<Kernel ada connecting, starting>"
    kernel.close()


def test_failed_open_raises_in_coroutine() -> None:
    async def main() -> None:
        async with failing_to_open(ConnectionFailed("connection refused")):
            raise AssertionError

    with pytest.raises(ConnectionFailed):
        run_on_loop(main)


USES: list[Callable[[Kernel], object]] = [
    lambda kernel: kernel.shell,
    lambda kernel: kernel.iopub,
    lambda kernel: kernel.main,
    lambda kernel: kernel.heartbeat,
    lambda kernel: kernel.id,
    lambda kernel: kernel.execute("6 * 7"),
    lambda kernel: kernel.kernel_info(),
    lambda kernel: kernel.interrupt(),
    lambda kernel: kernel.shutdown(),
    lambda kernel: kernel.restart(),
    lambda kernel: kernel.comm("woo"),
    lambda kernel: kernel.subshell(),
]


@pytest.mark.parametrize("use", USES)
def test_unopened_kernel_names_remedy(use: Callable[[Kernel], object]) -> None:
    async def main() -> None:
        use(ScriptedLink().kernel())

    with pytest.raises(NotConnected, match="async with"):
        run_on_loop(main)


def test_with_block_on_loop_raises() -> None:
    async def main() -> None:
        with ScriptedLink().kernel():
            raise AssertionError

    with pytest.raises(WouldDeadlock, match="async with"):
        run_on_loop(main)


def opening_slowly(remote: ScriptedLink) -> tuple[Kernel, threading.Event, threading.Event]:
    """Return a kernel, an event that is set when it starts to connect, and one that lets it finish."""
    begun, may = threading.Event(), threading.Event()

    def open_link() -> Link:
        begun.set()
        assert may.wait(DEADLINE)
        return remote.link

    return Kernel(open_link, Session(), scheduler=remote.clock), begun, may


def test_async_open_does_not_block_loop() -> None:
    remote = ScriptedLink()
    kernel, _, may = opening_slowly(remote)

    async def main() -> None:
        asyncio.get_running_loop().call_soon(may.set)
        async with kernel:
            pass

    run_on_loop(main)
    assert remote.closed == 1


def test_cancelled_open_closes_link() -> None:
    remote = ScriptedLink()
    kernel, begun, may = opening_slowly(remote)

    async def main() -> None:
        opening = asyncio.ensure_future(kernel.__aenter__())
        await asyncio.to_thread(begun.wait, DEADLINE)
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
        may.set()
        assert await asyncio.to_thread(remote.gone.wait, DEADLINE)

    run_on_loop(main)


def test_open_cancelled_after_result_closes_link() -> None:
    """The loop runs once between the result and the coroutine that waits for it."""
    remote = ScriptedLink()

    async def main() -> None:
        opening = asyncio.ensure_future(remote.kernel().__aenter__())
        while not opening._fut_waiter or not opening._fut_waiter.done():  # type: ignore[attr-defined]
            await asyncio.sleep(0)
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
        assert await asyncio.to_thread(remote.gone.wait, DEADLINE)

    run_on_loop(main)


def test_loop_closed_during_open_closes_link() -> None:
    remote = ScriptedLink()
    kernel, begun, may = opening_slowly(remote)
    loop = asyncio.new_event_loop()
    opening = loop.create_task(kernel.__aenter__())
    loop.run_until_complete(asyncio.sleep(0))
    assert begun.wait(DEADLINE)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        loop.run_until_complete(opening)
    loop.close()
    may.set()
    assert remote.gone.wait(DEADLINE)


def test_concurrent_opens_open_once() -> None:
    remote, opened, both = ScriptedLink(), list[str](), threading.Event()

    def open_link() -> Link:
        opened.append("once")
        assert both.wait(DEADLINE)
        return remote.link

    async def main() -> None:
        kernel = Kernel(open_link, Session(), scheduler=remote.clock)

        async def one() -> Kernel:
            return await kernel

        opening = [asyncio.ensure_future(one()) for _ in range(2)]
        while sum(thread.name == "enchannel call" for thread in threading.enumerate()) < 2:
            await asyncio.sleep(0)
        both.set()
        assert await asyncio.gather(*opening) == [kernel, kernel]
        await asyncio.to_thread(kernel.close)

    run_on_loop(main)
    assert (opened, remote.closed) == (["once"], 1)


def test_entering_open_kernel_is_noop() -> None:
    remote = ScriptedLink()
    with remote.kernel() as kernel, kernel as again:
        assert again is kernel
    assert remote.closed == 1


# Closing.


def test_close_before_open() -> None:
    kernel = ScriptedLink().kernel()
    kernel.close()
    assert kernel.link_state.value is LinkState.CLOSED
    with pytest.raises(ChannelClosed):
        _ = kernel.shell


def test_open_after_close_raises() -> None:
    remote = ScriptedLink()
    kernel = remote.kernel()
    kernel.close()
    with pytest.raises(ChannelClosed), kernel:
        raise AssertionError


def test_close_during_open_closes_link() -> None:
    remote = ScriptedLink()
    kernel, begun, may = opening_slowly(remote)
    opening = Thread(kernel.__enter__)
    assert begun.wait(DEADLINE)
    kernel.close()
    may.set()
    with pytest.raises(ChannelClosed):
        opening.result()
    assert remote.closed == 1


def test_close_completes_every_channel() -> None:
    remote = ScriptedLink()
    seen = [Collector[object]() for _ in range(6)]
    with remote.kernel() as kernel:
        channels = (kernel.shell, kernel.control, kernel.stdin, kernel.iopub, kernel.main)
        for channel, one in zip(channels, seen, strict=False):
            channel.subscribe(one)
        kernel.heartbeat.subscribe(seen[5])
    for one in seen:
        one.wait_for_end()
        assert one.completed


def test_close_is_idempotent() -> None:
    remote = ScriptedLink()
    with remote.kernel() as kernel:
        kernel.close()
        kernel.close()
    assert remote.closed == 1


def test_close_on_many_threads_closes_once() -> None:
    remote = ScriptedLink()
    with remote.kernel() as kernel:
        start = threading.Barrier(8)

        def close() -> LinkState:
            start.wait(DEADLINE)
            kernel.close()
            return kernel.link_state.value

        threads = [Thread(close) for _ in range(8)]
        assert [thread.result() for thread in threads] == [LinkState.CLOSED] * 8
    assert remote.closed == 1


def test_close_ends_wait_on_other_thread() -> None:
    remote = ScriptedLink()
    with remote.kernel() as kernel:
        waiting = Thread(lambda: ec.wait(kernel.iopub.pipe(ec.of_message_type("woo"))))
        in_thread(kernel.close)
        with pytest.raises(Exception, match="completed without an item"):
            waiting.result()


def test_subscriber_closes_kernel() -> None:
    remote, seen = ScriptedLink(), Collector[AnyMessage]()
    with remote.kernel() as kernel:
        kernel.iopub.subscribe(lambda _: kernel.close())
        kernel.iopub.subscribe(seen)
        remote.send(printed("woo"))
        assert remote.gone.wait(DEADLINE)
        assert types(seen.wait_for_end()) == ["stream"]
    assert remote.closed == 1


def test_subscriber_closes_owned_kernel() -> None:
    remote, lifecycle = launched()
    with remote.kernel() as kernel:
        kernel.iopub.subscribe(lambda _: kernel.close())
        remote.send(printed("woo"))
        assert remote.gone.wait(DEADLINE)
    assert lifecycle.calls == ["shutdown"]


@pytest.mark.parametrize("name", ["shell", "control", "stdin", "iopub", "main"])
def test_channel_leads_to_its_kernel(name: str) -> None:
    remote = ScriptedLink()
    with remote.kernel() as kernel:
        channel: ec.Channel = getattr(kernel, name)
        assert isinstance(channel, ec.Channel)
        assert channel.kernel is kernel
        assert not hasattr(channel, "close")
        channel.kernel.close()
        assert kernel.link_state.value is LinkState.CLOSED
    assert remote.closed == 1


def test_close_fails_requests_in_flight() -> None:
    remote, seen = ScriptedLink(), Collector[AnyMessage]()
    with remote.kernel() as kernel:
        kernel.execute("6 * 7").subscribe(seen)
        remote.send(busy(remote.last_request))
    assert isinstance(seen.wait_for_error(), ChannelClosed)
    assert types(seen.items) == ["status"]


def test_close_waits_for_slow_subscriber() -> None:
    remote, seen = ScriptedLink(), list[str]()
    inside, go_on = threading.Event(), threading.Event()

    def slow(message: AnyMessage) -> None:
        inside.set()
        go_on.wait(DEADLINE)
        seen.append(message.content["text"])

    with remote.kernel() as kernel:
        kernel.iopub.subscribe(slow)
        remote.send(*(printed(str(number)) for number in range(100)))
        assert inside.wait(DEADLINE)
        closing = Thread(kernel.close)
        assert remote.gone.wait(DEADLINE)
        go_on.set()
        closing.result()
        assert seen == [str(number) for number in range(100)]


def test_close_shuts_owned_kernel_down() -> None:
    remote, lifecycle = launched()
    with remote.kernel() as kernel:
        assert kernel.owned
        assert lifecycle.calls == []
    assert lifecycle.calls == ["shutdown"]
    assert remote.closed == 1


def test_close_sends_nothing_if_not_owned() -> None:
    remote = ScriptedLink()
    with remote.kernel() as kernel:
        assert not kernel.owned
    assert remote.received[CONTROL] == remote.received[SHELL] == []


def test_detach_leaves_owned_kernel_running() -> None:
    remote, lifecycle = launched()
    with remote.kernel() as kernel:
        kernel.detach()
        assert not kernel.owned
    assert lifecycle.calls == ["release"]
    assert remote.closed == 1


def test_detach_closes_link_if_not_owned() -> None:
    remote = ScriptedLink()
    with remote.kernel() as kernel:
        kernel.detach()
        assert remote.closed == 1


def test_async_close_does_not_block_loop() -> None:
    remote, lifecycle = launched()
    lifecycle.outcomes["shutdown"] = ended = AsyncSubject[None]()

    async def main() -> None:
        async with remote.kernel():
            asyncio.get_running_loop().call_later(0.01, ended.on_next, None)
            asyncio.get_running_loop().call_later(0.01, ended.on_completed)

    run_on_loop(main)
    assert lifecycle.calls == ["shutdown"]
    assert remote.closed == 1


def test_failed_shutdown_is_reported_on_close() -> None:
    remote, lifecycle = launched()
    stuck, late = RequestTimeout("it does not end"), Collector[EnchannelError]()
    lifecycle.outcomes["shutdown"] = reactivex.throw(stuck)
    with remote.kernel() as kernel:
        kernel.errors.subscribe(late)
    assert late.wait_for_end() == [stuck]
    assert remote.closed == 1


def test_shutdown_that_raises_closes_link() -> None:
    """Ctrl-C while the kernel shuts down has the same effect."""
    remote, lifecycle = launched()
    lifecycle.outcomes["shutdown"] = reactivex.throw(ZeroDivisionError())
    with pytest.raises(ZeroDivisionError), remote.kernel() as kernel:
        pass
    assert remote.closed == 1
    assert kernel.link_state.value is LinkState.CLOSED


def test_interpreter_exit_closes_kernels() -> None:
    script = """if True:
        from tests.rigs.scripted import ScriptedLink, ScriptedLifecycle

        class Lifecycle(ScriptedLifecycle):
            def shutdown(self):
                print("shut down", flush=True)
                return super().shutdown()

        kernel = ScriptedLink(lifecycle=Lifecycle()).kernel().__enter__()
        kernel.iopub.subscribe(print)
    """
    run = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, encoding="utf-8", timeout=DEADLINE
    )
    assert (run.stdout, run.stderr, run.returncode) == ("shut down\n", "", 0)


# Interrupting, restarting, shutting down.


def test_interrupt_starts_without_subscriber() -> None:
    remote, lifecycle = launched()
    with remote.kernel() as kernel:
        kernel.interrupt()
        assert lifecycle.calls == ["interrupt"]
        assert remote.received[CONTROL] == []


@pytest.mark.parametrize("remote", [ScriptedLink(), launched(interrupts_itself=False)[0]])
def test_interrupt_by_message(remote: ScriptedLink) -> None:
    with remote.kernel() as kernel:
        kernel.interrupt()
        assert types(remote.received[CONTROL]) == ["interrupt_request"]


def test_interrupt_is_not_repeated_on_subscribe() -> None:
    remote, lifecycle = launched()
    with remote.kernel() as kernel:
        interrupt = kernel.interrupt()
        assert [ec.wait(interrupt), ec.wait(interrupt)] == [None, None]
        assert lifecycle.calls == ["interrupt"]


def test_interrupt_by_message_completes_on_reply() -> None:
    remote, seen = ScriptedLink(), Collector[None]()
    with remote.kernel() as kernel:
        kernel.interrupt().subscribe(seen)
        (request,) = remote.received[CONTROL]
        settle(kernel)
        assert not seen.ended
        remote.send(*answered(request))
        assert seen.wait_for_end() == [None]


def test_unanswered_interrupt_times_out() -> None:
    remote, seen = ScriptedLink(), Collector[None]()
    with remote.kernel() as kernel:
        kernel.interrupt().subscribe(seen)
        remote.clock.advance_by(11)
        assert isinstance(seen.wait_for_error(), RequestTimeout)


def test_action_replays_outcome() -> None:
    remote, lifecycle = launched()
    failure = NotSupported("this process takes no signals")
    lifecycle.outcomes["interrupt"] = reactivex.throw(failure)
    with remote.kernel() as kernel:
        interrupt, restart = kernel.interrupt(), kernel.restart()
        settle(kernel)
        for _ in range(2):
            failed, done = Collector[None](), Collector[None]()
            interrupt.subscribe(failed)
            restart.subscribe(done)
            assert failed.wait_for_error() is failure
            assert done.wait_for_end() == [None]


def test_action_reaches_all_subscribers() -> None:
    remote, lifecycle = launched()
    lifecycle.outcomes["restart"] = answer = AsyncSubject[None]()
    with remote.kernel() as kernel:
        restart, seen = kernel.restart(), [Collector[None]() for _ in range(3)]
        for one in seen:
            restart.subscribe(one)
        restart.subscribe(Collector()).dispose()
        answer.on_next(None)
        answer.on_completed()
        assert [one.wait_for_end() for one in seen] == [[None]] * 3


def test_action_can_be_awaited() -> None:
    remote, lifecycle = launched()
    lifecycle.outcomes["restart"] = answer = AsyncSubject[None]()

    async def main() -> None:
        async with remote.kernel() as kernel:
            restart = kernel.restart()
            answer.on_next(None)
            answer.on_completed()
            await restart

    run_on_loop(main)


ACTIONS = {"interrupt": 10, "restart": 60, "shutdown": 60}


def begin(kernel: Kernel, name: str, **options: float | None) -> ec.Action:
    action = getattr(kernel, name)(**options)
    assert isinstance(action, ec.Action)
    return action


@pytest.mark.parametrize(("name", "default"), ACTIONS.items())
@pytest.mark.parametrize("timeout", [None, 3, "default"])
def test_action_fails_after_timeout(name: str, default: float, timeout: Any) -> None:
    remote, lifecycle = launched()
    lifecycle.outcomes[name] = reactivex.never()
    options = {} if timeout == "default" else {"timeout": timeout}
    seconds = default if timeout == "default" else timeout
    with remote.kernel() as kernel:
        seen, action = Collector[None](), begin(kernel, name, **options)
        action.subscribe(seen)
        remote.clock.advance_by(1000 if seconds is None else seconds - 0.1)
        settle(kernel)
        assert not seen.ended
        remote.clock.advance_by(0.2)
        if seconds is not None:
            error = seen.wait_for_error()
            assert isinstance(error, RequestTimeout)
            assert str(error).startswith(f"kernel.{name}() did not finish within {seconds} s")
        lifecycle.outcomes.clear()


@pytest.mark.parametrize("name", ACTIONS)
@pytest.mark.parametrize(
    ("timeout", "error"),
    [(0, ValueError), (-1, ValueError), (float("nan"), ValueError), ("soon", TypeError)],
)
def test_action_refuses_invalid_timeout(name: str, timeout: Any, error: type[Exception]) -> None:
    remote, lifecycle = launched()
    with remote.kernel() as kernel:
        with pytest.raises(error, match="timeout must be"):
            begin(kernel, name, timeout=timeout)
        assert lifecycle.calls == []


@pytest.mark.parametrize("name", ACTIONS)
def test_finished_action_has_no_timeout(name: str) -> None:
    remote, _ = launched()
    with remote.kernel() as kernel:
        kernel.errors.subscribe(errors := Collector[EnchannelError]())
        action = begin(kernel, name, timeout=3)
        remote.clock.advance_by(10)
        assert ec.wait(action, timeout=DEADLINE) is None
    assert errors.wait_for_end() == []


@pytest.mark.parametrize("name", ACTIONS)
@pytest.mark.parametrize("is_late", [True, False])
def test_unseen_failure_of_action_is_reported(name: str, is_late: bool) -> None:
    remote, lifecycle = launched()
    failure = EnchannelError("permission denied")
    lifecycle.outcomes[name] = outcome = AsyncSubject[None]()
    if not is_late:
        outcome.on_error(failure)
    with remote.kernel() as kernel:
        kernel.errors.subscribe(errors := Collector[EnchannelError]())
        action = begin(kernel, name)
        action.subscribe(Collector()).dispose()
        if is_late:
            outcome.on_error(failure)
        lifecycle.outcomes.clear()
        assert errors.wait_for_count(1) == [failure]
        with pytest.raises(EnchannelError, match="permission denied"):
            ec.wait(action, timeout=DEADLINE)
    assert errors.wait_for_end() == [failure]


@pytest.mark.parametrize("name", ACTIONS)
def test_seen_failure_of_action_is_not_reported(name: str) -> None:
    remote, lifecycle = launched()
    failure = EnchannelError("permission denied")
    lifecycle.outcomes[name] = outcome = AsyncSubject[None]()
    with remote.kernel() as kernel:
        kernel.errors.subscribe(errors := Collector[EnchannelError]())
        begin(kernel, name).subscribe(seen := Collector[None]())
        outcome.on_error(failure)
        assert seen.wait_for_error() is failure
        lifecycle.outcomes.clear()
    assert errors.wait_for_end() == []


def test_unseen_timeout_of_action_is_reported() -> None:
    remote, lifecycle = launched()
    lifecycle.outcomes["restart"] = reactivex.never()
    with remote.kernel() as kernel:
        kernel.errors.subscribe(errors := Collector[EnchannelError]())
        kernel.restart(timeout=3)
        remote.clock.advance_by(4)
        (error,) = errors.wait_for_count(1)
        assert isinstance(error, RequestTimeout)


def test_action_cut_off_by_close_is_not_reported() -> None:
    remote = ScriptedLink()
    with remote.kernel() as kernel:
        kernel.errors.subscribe(errors := Collector[EnchannelError]())
        interrupt, shutdown = kernel.interrupt(), kernel.shutdown()
    assert errors.wait_for_end() == []
    for action in (interrupt, shutdown):
        with pytest.raises(ChannelClosed):
            ec.wait(action, timeout=DEADLINE)


def test_disposed_action_goes_on() -> None:
    remote, lifecycle = launched()
    lifecycle.outcomes["restart"] = outcome = AsyncSubject[None]()
    with remote.kernel() as kernel:
        restart = kernel.restart()
        restart.subscribe(Collector()).dispose()
        outcome.on_next(None)
        outcome.on_completed()
        assert ec.wait(restart, timeout=DEADLINE) is None
        assert lifecycle.calls == ["restart"]


def test_restart_of_connected_kernel_raises() -> None:
    remote = ScriptedLink()
    with remote.kernel() as kernel:
        with pytest.raises(NotSupported, match="was connected to, not launched"):
            kernel.restart()
    assert remote.received[CONTROL] == []


def test_restart_starts_without_subscriber() -> None:
    remote, lifecycle = launched()
    with remote.kernel() as kernel:
        kernel.restart()
        assert lifecycle.calls == ["restart"]


def test_shutdown_of_owned_kernel_ends_process() -> None:
    remote, lifecycle = launched()
    with remote.kernel() as kernel:
        kernel.shutdown()
        assert lifecycle.calls == ["shutdown"]
        assert not remote.closed


def test_shutdown_of_connected_kernel_by_message() -> None:
    remote, seen = ScriptedLink(), Collector[None]()
    with remote.kernel() as kernel:
        kernel.shutdown().subscribe(seen)
        (request,) = remote.received[CONTROL]
        assert request.header.msg_type == "shutdown_request"
        assert request.content["restart"] is False
        remote.send(*answered(request))
        assert seen.wait_for_end() == [None]


def test_death_after_shutdown_request_is_its_success() -> None:
    """A kernel may end before its reply is read."""
    remote, seen = ScriptedLink(), Collector[None]()
    with remote.kernel() as kernel:
        kernel.shutdown().subscribe(seen)
        remote.emit_event(LinkState.LOST, KernelDied("as it was asked to"))
        assert seen.wait_for_end() == [None]


@pytest.mark.parametrize("ask", [Kernel.restart, Kernel.shutdown])
def test_requested_end_is_not_reported(ask: Callable[[Kernel], object]) -> None:
    (remote, _), errors, seen = launched(), Collector[EnchannelError](), Collector[AnyMessage]()
    with remote.kernel() as kernel:
        kernel.errors.subscribe(errors)
        kernel.execute("6 * 7").subscribe(seen)
        ask(kernel)
        remote.emit_event(LinkState.LOST, KernelDied("as it was asked to"))
        assert isinstance(seen.wait_for_error(), KernelDied)
    assert errors.wait_for_end() == []


def test_death_after_restart_is_reported() -> None:
    (remote, _), errors, died = launched(), Collector[EnchannelError](), KernelDied("by itself")
    with remote.kernel() as kernel:
        kernel.errors.subscribe(errors)
        kernel.restart()
        remote.emit_event(LinkState.LOST, KernelDied("as it was asked to"), LinkState.CONNECTED)
        remote.emit_event(LinkState.LOST, died)
    assert errors.wait_for_end() == [died]


def test_restart_fails_requests_in_flight() -> None:
    (remote, lifecycle), seen = launched(), Collector[AnyMessage]()
    lifecycle.outcomes["restart"] = AsyncSubject()
    with remote.kernel() as kernel:
        kernel.execute("6 * 7").subscribe(seen)
        kernel.restart()
        assert isinstance(seen.wait_for_error(), KernelDied)


def test_restart_is_visible_when_requests_fail() -> None:
    (remote, lifecycle), states = launched(), list[KernelState]()
    lifecycle.outcomes["restart"] = AsyncSubject()
    with remote.kernel() as kernel:
        seen = Collector(
            kernel.execute("6 * 7").pipe(
                ops.do_action(on_error=lambda _: states.append(kernel.state.value))
            )
        )
        kernel.restart()
        seen.wait_for_error()
        with pytest.raises(KernelDied, match="is being restarted"):
            kernel.run("6 * 7")
        states.append(kernel.state.value)
    assert states == [KernelState.RESTARTING, KernelState.RESTARTING]


@pytest.mark.parametrize("end", ["well", "badly"])
def test_restart_refuses_requests_until_done(end: str) -> None:
    """The old process would answer the requests."""
    remote, lifecycle = launched()
    lifecycle.outcomes["restart"] = restarted = AsyncSubject[None]()
    remote.handler = lambda request: remote.send(*answered(request))
    with remote.kernel() as kernel:
        kernel.restart().subscribe(on_error=lambda _: None)
        with pytest.raises(KernelDied, match="is being restarted"):
            kernel.run("6 * 7")
        assert remote.received[SHELL] == []
        if end == "well":
            restarted.on_next(None)
            restarted.on_completed()
        else:
            restarted.on_error(NotSupported("not now"))
        assert kernel.run("6 * 7").status == "ok"


@pytest.mark.parametrize("act", [Kernel.interrupt, Kernel.restart, Kernel.shutdown])
def test_lifecycle_of_closed_kernel_raises(act: Callable[[Kernel], object]) -> None:
    remote, lifecycle = launched()
    with remote.kernel() as kernel:
        pass
    with pytest.raises(ChannelClosed, match="this kernel is closed"):
        act(kernel)
    assert lifecycle.calls == ["shutdown"]


def test_channels_stay_open_after_death() -> None:
    remote, seen = ScriptedLink(), Collector[AnyMessage]()
    with remote.kernel() as kernel:
        kernel.errors.subscribe(lambda _: None)
        kernel.iopub.subscribe(seen)
        remote.emit_event(LinkState.LOST, KernelDied("killed"), KernelState.DEAD)
        remote.emit_event(LinkState.CONNECTED)
        remote.send(printed("woo"))
        kernel.shell.on_next(ec.kernel_info_request())
        assert types(seen.wait_for_count(1)) == ["stream"]
        assert types(remote.received[SHELL]) == ["kernel_info_request"]


@pytest.mark.parametrize("error", [KernelDied("killed"), ConnectionLost("cut")])
def test_error_of_many_requests_reported_once(error: EnchannelError) -> None:
    remote, errors, seen = ScriptedLink(), Collector[EnchannelError](), Collector[AnyMessage]()
    with remote.kernel() as kernel:
        kernel.errors.subscribe(errors)
        for number in range(10):
            kernel.execute(str(number)).subscribe(lambda _: None)
        kernel.execute("10").subscribe(seen)
        remote.emit_event(error)
        assert seen.wait_for_error() is error
    assert errors.wait_for_end() == [error]


# In a forked child.


def in_child(function: Callable[[], object]) -> int:
    """Call a function in a forked process; return 7 if it returned."""
    if sys.platform == "win32":
        raise NotImplementedError
    child = os.fork()
    if child == 0:
        code = 1
        try:
            function()
            code = 7
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


forks = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here"),
    pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning"),
]


def fork_test(test: Callable[[], None]) -> Callable[[], None]:
    for mark in forks:
        test = mark(test)
    return test


def refused(use: Callable[[], object]) -> None:
    with pytest.raises(ChannelClosed, match="the process that this one was forked from"):
        use()


@fork_test
def test_forked_kernel_refuses() -> None:
    remote = ScriptedLink()
    with remote.kernel() as kernel:
        shell, main, heartbeat = kernel.shell, kernel.main, kernel.heartbeat
        request = kernel.execute("6 * 7")
        kernel.iopub.subscribe(lambda _: None)
        remote.send(printed("starts the thread"))
        settle(kernel)

        def child() -> None:
            refused(lambda: shell.on_next(ec.kernel_info_request()))
            refused(lambda: main.on_next(ec.kernel_info_request()))
            refused(lambda: heartbeat.on_next(b"ping"))
            refused(lambda: kernel.run("6 * 7"))
            refused(lambda: kernel.shell)
            refused(kernel.interrupt)
            refused(lambda: ec.wait(request))
            assert remote.received[SHELL] == []

        assert in_child(child) == 7


@fork_test
def test_forked_kernel_refuses_during_interrupt() -> None:
    remote, lifecycle = launched()
    lifecycle.outcomes["interrupt"] = AsyncSubject()
    with remote.kernel() as kernel:
        kernel.interrupt()

        def child() -> None:
            refused(lambda: kernel.run("6 * 7"))
            assert remote.received[SHELL] == []

        assert in_child(child) == 7


@fork_test
def test_forked_observables_terminate() -> None:
    remote = ScriptedLink()
    with remote.kernel() as kernel:
        iopub, request = kernel.iopub, kernel.execute("6 * 7")
        iopub.subscribe(lambda _: None)
        remote.send(printed("starts the thread"))
        settle(kernel)

        def child() -> None:
            for observable in (iopub, iopub.pipe(ec.child_of("m1")), request):
                seen: Collector[AnyMessage] = Collector()
                observable.subscribe(seen)
                assert isinstance(seen.wait_for_error(), ChannelClosed)
            link: Collector[LinkState] = Collector()
            kernel.link_state.subscribe(link)
            link.wait_for_count(1)

        assert in_child(child) == 7


@fork_test
def test_forked_comm_and_action_fail() -> None:
    remote, lifecycle = launched()
    lifecycle.outcomes["interrupt"] = interrupted = AsyncSubject[None]()
    with remote.kernel() as kernel:
        comm, action = kernel.comm("woo"), kernel.interrupt()
        comm.subscribe(lambda _: None)

        def child() -> None:
            sent = len(remote.received[SHELL])
            refused(lambda: ec.wait(comm, timeout=1))
            refused(lambda: ec.wait(action, timeout=1))
            refused(lambda: comm.send({}))
            comm.close()
            assert len(remote.received[SHELL]) == sent

        assert in_child(child) == 7
        interrupted.on_next(None)
        interrupted.on_completed()
        assert ec.wait(action, timeout=DEADLINE) is None


@fork_test
def test_fork_replaces_locks_of_comm_and_action() -> None:
    remote, lifecycle = launched()
    lifecycle.outcomes["interrupt"] = AsyncSubject()
    held, done = threading.Event(), threading.Event()
    with remote.kernel() as kernel:
        comm, action = kernel.comm("woo"), kernel.interrupt()

        def hold() -> None:
            with comm._fanout.lock, action._fanout.lock:
                held.set()
                assert done.wait(DEADLINE)

        holding = Thread(hold)
        assert held.wait(DEADLINE)

        def child() -> None:
            for observable in (comm, action):
                seen: Collector[object] = Collector()
                faulthandler.dump_traceback_later(DEADLINE, exit=True)
                observable.subscribe(seen)
                assert isinstance(seen.wait_for_error(), ChannelClosed)

        code = in_child(child)
        done.set()
        holding.result()
    assert code == 7


@fork_test
def test_fork_replaces_held_locks_of_kernel() -> None:
    remote = ScriptedLink()
    held, done = threading.Event(), threading.Event()
    with remote.kernel() as kernel:

        def hold() -> None:
            with (
                parts_of(kernel).connection._lock,
                kernel.iopub._fanout.lock,
                kernel.errors._fanout.lock,
                kernel.link_state._fanout.lock,
            ):
                held.set()
                assert done.wait(DEADLINE)

        holding = Thread(hold)
        iopub = kernel.iopub
        assert held.wait(DEADLINE)

        def child() -> None:
            seen, errors, link = (
                Collector[AnyMessage](),
                Collector[EnchannelError](),
                Collector[LinkState](),
            )
            iopub.subscribe(seen)
            kernel.errors.subscribe(errors)
            kernel.link_state.subscribe(link)
            seen.wait_for_error()
            link.wait_for_count(1)
            kernel.close()

        code = in_child(child)
        done.set()
        holding.result()
    assert code == 7


@fork_test
def test_close_in_forked_child_is_noop() -> None:
    remote, lifecycle = launched()
    seen: Collector[AnyMessage] = Collector()
    with remote.kernel() as kernel:
        kernel.iopub.subscribe(seen)

        def child() -> None:
            kernel.close()
            kernel.detach()
            with kernel:
                pass
            assert remote.closed == 0
            assert lifecycle.calls == []

        assert in_child(child) == 7
        remote.send(printed("woo"))
        assert types(seen.wait_for_count(1)) == ["stream"]
        remote.handler = lambda request: remote.send(*answered(request))
        assert kernel.run("6 * 7").status == "ok"


@fork_test
def test_exit_of_forked_child_closes_nothing() -> None:
    remote, lifecycle = launched()
    with remote.kernel():

        def child() -> None:
            from enchannel._kernel.connection import close_all

            close_all()
            assert lifecycle.calls == []

        assert in_child(child) == 7


def test_reply_may_arrive_on_any_thread() -> None:
    remote = ScriptedLink()
    remote.handler = lambda request: void(Thread(lambda: remote.send(*answered(request))))
    with remote.kernel() as kernel:
        reply = ec.wait(kernel.kernel_info())
    assert reply.header.msg_type == "kernel_info_reply"
    assert reply_to(remote.last_request).parent_header == reply.parent_header


def test_closed_kernel_cannot_be_entered() -> None:
    kernel = ScriptedLink().kernel()
    with kernel:
        pass
    with pytest.raises(ChannelClosed, match="this kernel is closed"), kernel:
        pass

    async def main() -> None:
        with pytest.raises(ChannelClosed, match="this kernel is closed"):
            async with kernel:
                pass

    run_on_loop(main)
