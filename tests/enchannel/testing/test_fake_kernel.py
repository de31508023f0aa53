"""``FakeKernel``, its faults and the quirks of real kernels."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager

import pytest
from reactivex.testing import TestScheduler

import enchannel as ec
from enchannel import AnyMessage, Kernel
from enchannel import messages as build
from enchannel.memory import InMemoryKernel
from enchannel.testing import QUIRKS, Collector, FakeKernel, Fault, echo, faults
from tests.rigs import DEADLINE


@contextmanager
def connected(
    handler: Callable[[AnyMessage], Iterator[AnyMessage]] = echo, *injected: Fault
) -> Iterator[tuple[Kernel, FakeKernel, InMemoryKernel]]:
    with InMemoryKernel() as remote:
        fake = FakeKernel(remote, handler)
        with ec.connect(remote.target) as kernel:
            fake.inject_faults(*injected)
            yield kernel, fake, remote


def calculator(request: AnyMessage) -> Iterator[AnyMessage]:
    if request.header.msg_type != "execute_request":
        yield from echo(request)
        return
    yield build.execute_input(request.content["code"], 1, parent=request)
    yield build.stream("stdout", "calculating\n")
    yield build.execute_result({"text/plain": "42"}, 1, parent=request)
    yield build.execute_reply(1, parent=request)


def asker(request: AnyMessage) -> Generator[AnyMessage, AnyMessage, None]:
    answer = yield build.input_request("who? ", parent=request)
    yield build.stream("stdout", f"hello {answer.content['value']}")
    yield build.execute_reply(1, parent=request)


def failing(request: AnyMessage) -> Iterator[AnyMessage]:
    yield build.error("E", "e", [], parent=request)
    yield build.execute_reply(
        1, status="error", ename="E", evalue="e", traceback=[], parent=request
    )


def counting(request: AnyMessage) -> Iterator[AnyMessage]:
    for number in range(10):
        yield build.stream("stdout", str(number))
    yield build.execute_reply(1, parent=request)


def test_fake_kernel_answers_by_function() -> None:
    with connected(calculator) as (kernel, fake, _):
        assert kernel.run("6 * 7", timeout=DEADLINE).text == "calculating\n42"
        assert [m.header.msg_type for m in fake.received] == ["execute_request"]


def test_fake_kernel_asks_for_input() -> None:
    with connected(asker) as (kernel, _, _):
        prompts: list[str] = []

        def answer(request: ec.InputPrompt) -> str:
            prompts.append(request.prompt)
            return "Ada"

        assert kernel.run("", on_input=answer, timeout=DEADLINE).text == "hello Ada"
        assert prompts == ["who? "]


def test_unanswered_input_is_reported_once() -> None:
    with connected(asker) as (kernel, fake, _):
        errors = Collector(kernel.errors)
        with pytest.raises(ec.RequestTimeout):
            kernel.run("1", timeout=0.1)
        # The request, and an interrupt, for which the handler requests input too.
        assert len(fake.received) < 5
        errors.wait_for_count(1)


def test_requests_wait_for_pending_input() -> None:
    with InMemoryKernel() as remote:
        FakeKernel(remote, asker)
        with ec.connect(remote.target) as ada, ec.connect(remote.target) as bob:
            prompts: list[str] = []

            def answer_as(name: str) -> ec.OnInput:
                def answer(request: ec.InputPrompt) -> str:
                    prompts.append(name)
                    return name

                return answer

            both = [
                Collector(client.execute("", on_input=answer_as(name)).pipe(ec.to_result()))
                for client, name in ((ada, "Ada"), (bob, "Bob"))
            ]
            assert [seen.wait_for_end()[-1].text for seen in both] == ["hello Ada", "hello Bob"]
            assert prompts == ["Ada", "Bob"]


def test_handler_may_return_list_or_raise() -> None:
    with InMemoryKernel() as remote, ec.connect(remote.target) as kernel:
        FakeKernel(remote, lambda request: [build.execute_reply(1, parent=request)])
        assert kernel.run("", timeout=DEADLINE).status == "ok"
        FakeKernel(remote, lambda request: [][0])
        with pytest.raises(ec.KernelError, match="IndexError"):
            kernel.run("", timeout=DEADLINE)
        assert kernel.state.value is ec.KernelState.IDLE


def test_fake_kernel_sends_unsolicited_messages() -> None:
    with connected() as (kernel, fake, _):
        seen = Collector(kernel.iopub)
        fake.send(build.stream("stdout", "psst"))
        (message,) = seen.wait_for_count(1)
        assert message.content["text"] == "psst"
        assert message.header.session == fake.session.id


@pytest.mark.parametrize("quirk", QUIRKS)
def test_client_copes_with_quirk(quirk: str) -> None:
    with connected(calculator, QUIRKS[quirk]()) as (kernel, _, _):
        for _ in range(2):
            result = kernel.run("6 * 7", timeout=DEADLINE, check=False)
            assert "calculating\n" in result.text
            assert "42" in result.text
        assert ec.wait(kernel.request(ec.inspect_request("x")), timeout=DEADLINE)
        assert kernel.state.value is ec.KernelState.IDLE


def test_error_of_handler_is_error_of_code() -> None:
    def broken(request: AnyMessage) -> Iterator[AnyMessage]:
        yield build.stream("stdout", "so far")
        raise LookupError("no such thing")

    with connected(broken) as (kernel, _, _):
        with pytest.raises(ec.KernelError, match="LookupError: no such thing") as raised:
            kernel.run("", timeout=DEADLINE)
        assert raised.value.result is not None
        assert raised.value.result.text.startswith("so far")


def test_error_without_name_raises() -> None:
    with connected(failing, QUIRKS["errors without a name"]()) as (kernel, _, _):
        with pytest.raises(ec.KernelError):
            kernel.run("", timeout=DEADLINE)


def numbers(kernel: Kernel) -> list[str]:
    """Run code; return the texts of its stream messages once it has ended."""
    seen: Collector[AnyMessage] = Collector(kernel.execute("", idle_grace=0.05))
    return [m.content["text"] for m in seen.wait_for_end() if m.header.msg_type == "stream"]


def test_dropped_messages_do_not_arrive() -> None:
    with connected(counting, faults.drop(faults.of_type("stream"), every=3)) as (kernel, _, _):
        assert numbers(kernel) == list("0134679")


def test_dropped_idle_is_reported() -> None:
    def is_idle(message: AnyMessage) -> bool:
        return bool(message.content.get("execution_state") == "idle")

    with connected(counting, faults.drop(is_idle)) as (kernel, _, _):
        errors = Collector(kernel.errors)
        assert numbers(kernel) == list("0123456789")
        (error,) = errors.wait_for_count(1)
        assert isinstance(error, ec.MessagesMayBeMissing)


def test_duplicated_messages_arrive_twice() -> None:
    with connected(counting, faults.duplicate(faults.of_type("stream"))) as (kernel, _, _):
        assert numbers(kernel) == [text for text in "0123456789" for _ in range(2)]


def test_swapped_messages_arrive_swapped() -> None:
    with connected(counting, faults.swap(faults.of_type("stream"))) as (kernel, _, _):
        assert numbers(kernel) == list("1032547698")


def test_silent_kernel_times_out() -> None:
    with connected(counting, faults.silence()) as (kernel, fake, _):
        with pytest.raises(ec.RequestTimeout):
            kernel.run("", timeout=0.05)
        fake.clear_faults()
        assert kernel.run("", timeout=DEADLINE).text == "0123456789"


def test_delayed_reply_arrives_by_the_clock() -> None:
    clock = TestScheduler()
    slow = faults.delay(5.0, clock, faults.of_type("execute_reply"))
    with connected(counting, slow) as (kernel, _, _):
        seen: Collector[AnyMessage] = Collector(kernel.execute(""))
        seen.wait_for_count(11)
        assert not seen.ended
        clock.advance_by(5.0)
        assert seen.wait_for_end()[-1].header.msg_type == "execute_reply"


def test_death_of_kernel_fails_request() -> None:
    with InMemoryKernel() as remote:
        fake = FakeKernel(remote, counting)
        with ec.connect(remote.target) as kernel:
            fake.inject_faults(faults.die_after(5, remote.die))
            seen: Collector[AnyMessage] = Collector(kernel.execute(""))
            assert isinstance(seen.wait_for_error(), ec.KernelDied)
            assert len(seen.items) == 5
            fake.clear_faults()
            remote.reconnect()
            assert kernel.run("", timeout=DEADLINE).text == "0123456789"


def test_faults_are_applied_in_order() -> None:
    both = faults.drop(faults.of_type("stream"), every=2), faults.duplicate()
    with connected(counting, *both) as (kernel, _, _):
        assert numbers(kernel) == [text for text in "02468" for _ in range(2)]


def test_virtual_time_stands_still() -> None:
    clock = TestScheduler()
    with InMemoryKernel() as remote, ec.connect(remote.target, scheduler=clock) as kernel:
        FakeKernel(remote, lambda request: iter(()))
        seen: Collector[AnyMessage] = Collector(kernel.kernel_info(timeout=10))
        clock.advance_by(9.9)
        assert not seen.ended
        clock.advance_by(0.2)
        assert isinstance(seen.wait_for_error(), ec.RequestTimeout)
