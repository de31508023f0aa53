"""A second shell beside the main one."""

import threading

import pytest

import enchannel as ec
from enchannel import AnyMessage, ChannelName, NotSupported, RequestTimeout, Subshell, WouldDeadlock
from enchannel._rx.waiting import Waiter
from enchannel.errors import EnchannelError
from tests.rigs.memory import (
    MemoryKernel,
    MemoryLifecycle,
    Seen,
    Thread,
    answered,
    busy,
    in_thread,
    loop_runs,
    printed,
    types,
    wait_until_it_waits,
)

SHELL, CONTROL = ChannelName.SHELL, ChannelName.CONTROL


def with_subshells(*features: str, lifecycle: MemoryLifecycle | None = None) -> MemoryKernel:
    """A kernel that makes subshells, s1 and so on, and says who ran what."""
    far = MemoryKernel(lifecycle=lifecycle)
    made = 0

    def answer(asked: AnyMessage) -> None:
        nonlocal made
        match asked.header.msg_type:
            case "kernel_info_request":
                said = {"implementation": "fake", "supported_features": list(features)}
                far.say(*answered(asked, **said))
            case "create_subshell_request":
                made += 1
                far.say(*answered(asked, subshell_id=f"s{made}"))
            case "execute_request":
                output = printed(f"in {asked.header.subshell_id}", asked)
                far.say(*answered(asked, output))
            case _:
                far.say(*answered(asked))

    far.on_sent = answer
    return far


def able(lifecycle: MemoryLifecycle | None = None) -> MemoryKernel:
    return with_subshells("debugger", "kernel subshells", lifecycle=lifecycle)


def test_its_requests_carry_its_id() -> None:
    far = able()
    with far.kernel() as kernel, kernel.subshell() as subshell:
        assert isinstance(subshell, Subshell)
        assert subshell.id == "s1"
        assert subshell.run("6 * 7").text == "in s1"
        assert ec.wait(subshell.execute("6 * 7").pipe(ec.to_result())).text == "in s1"
        ec.wait(subshell.complete("pri"))
        assert {message.header.subshell_id for message in far.sent[SHELL][1:]} == {"s1"}


def test_requests_of_the_kernel_stay_in_its_main_shell() -> None:
    with able().kernel() as kernel, kernel.subshell():
        assert kernel.run("6 * 7").text == "in None"


def test_requests_on_control_carry_no_id() -> None:
    far = able()
    with far.kernel() as kernel, kernel.subshell() as subshell:
        ec.wait(subshell.debug("initialize"))
        assert types(far.sent[CONTROL]) == ["create_subshell_request", "debug_request"]
        assert far.sent[CONTROL][-1].header.subshell_id is None


def test_the_same_message_is_sent_as_it_was_but_for_the_id() -> None:
    far, message = able(), ec.execute_request("6 * 7")
    with far.kernel() as kernel, kernel.subshell() as subshell:
        ec.wait(subshell.request(message))
    assert far.asked.header.msg_id == message.header.msg_id
    assert far.asked.content == message.content


def test_it_is_made_on_entering_and_deleted_on_leaving() -> None:
    far = able()
    with far.kernel() as kernel:
        subshell = kernel.subshell()
        assert far.sent[CONTROL] == []
        with subshell:
            assert types(far.sent[CONTROL]) == ["create_subshell_request"]
        assert types(far.sent[CONTROL])[1:] == ["delete_subshell_request"]
        assert far.sent[CONTROL][-1].content["subshell_id"] == "s1"


def test_it_is_deleted_when_its_block_raises() -> None:
    far = able()
    with far.kernel() as kernel:
        with pytest.raises(ZeroDivisionError), kernel.subshell():
            raise ZeroDivisionError
        assert types(far.sent[CONTROL])[1:] == ["delete_subshell_request"]


def test_outside_of_its_block_it_is_not_there() -> None:
    with able().kernel() as kernel:
        subshell = kernel.subshell()
        with pytest.raises(NotSupported, match="within its `with` block"):
            subshell.execute("6 * 7")
        with subshell:
            pass
        with pytest.raises(NotSupported):
            subshell.run("6 * 7")


def test_two_are_two() -> None:
    with able().kernel() as kernel, kernel.subshell() as one, kernel.subshell() as other:
        assert (one.run("1").text, other.run("1").text) == ("in s1", "in s2")


def test_a_coroutine_has_it_with_async_with() -> None:
    far = able()

    async def main() -> None:
        async with far.kernel() as kernel:
            async with kernel.subshell() as subshell:
                result = await subshell.execute("6 * 7").pipe(ec.to_result())
                assert result.text == "in s1"
            assert types(far.sent[CONTROL])[1:] == ["delete_subshell_request"]

    loop_runs(main)


def test_with_on_a_loop_would_block_it() -> None:
    async def main() -> None:
        async with able().kernel() as kernel:
            with pytest.raises(WouldDeadlock), kernel.subshell():
                raise AssertionError

    loop_runs(main)


@pytest.mark.parametrize("features", [(), ("debugger",)])
def test_a_kernel_that_does_not_advertise_them_has_none(features: tuple[str, ...]) -> None:
    far = with_subshells(*features)
    with far.kernel() as kernel:
        with pytest.raises(NotSupported, match="fake has no subshells"), kernel.subshell():
            raise AssertionError
        assert far.sent[CONTROL] == []


@pytest.mark.parametrize("content", [{}, {"supported_features": None}])
def test_a_kernel_that_says_nothing_of_features_has_none(content: dict[str, object]) -> None:
    far = MemoryKernel()
    far.on_sent = lambda asked: far.say(*answered(asked, **content))
    with far.kernel() as kernel:
        with pytest.raises(NotSupported, match="this kernel has no subshells"), kernel.subshell():
            raise AssertionError


@pytest.mark.parametrize(
    "content", [{"status": "error", "evalue": "no more threads"}, {"subshell_id": None}, {}]
)
def test_a_kernel_that_makes_none_is_told(content: dict[str, object]) -> None:
    far = MemoryKernel()

    def answer(asked: AnyMessage) -> None:
        features = {"supported_features": ["kernel subshells"]}
        info = asked.header.msg_type == "kernel_info_request"
        far.say(*answered(asked, **(features if info else content)))

    far.on_sent = answer
    with far.kernel() as kernel:
        with (
            pytest.raises(NotSupported, match="made no subshell: (no more threads|no id)"),
            kernel.subshell(),
        ):
            raise AssertionError


def test_a_subshell_that_cannot_be_deleted_is_told_and_hides_no_error() -> None:
    far, late = able(), Seen[EnchannelError]()
    here = threading.current_thread()

    def pass_the_time() -> None:
        wait_until_it_waits(here, Waiter.wait)
        far.clock.advance_by(60)

    def does_not_delete(asked: AnyMessage) -> None:
        if asked.header.msg_type == "delete_subshell_request":
            Thread(pass_the_time)
        else:
            answer(asked)

    answer, far.on_sent = far.on_sent, does_not_delete
    with far.kernel() as kernel:
        with pytest.raises(ZeroDivisionError), kernel.subshell():
            raise ZeroDivisionError
        kernel.errors.subscribe(late)
        (error,) = late.first(1)
    assert isinstance(error, RequestTimeout)
    assert "delete_subshell_request" in str(error)


def test_leaving_it_after_the_kernel_was_closed_is_no_error() -> None:
    with able().kernel() as kernel, kernel.subshell():
        kernel.close()


def test_a_run_that_takes_too_long_is_interrupted() -> None:
    lifecycle = MemoryLifecycle()
    far = able(lifecycle)
    with far.kernel() as kernel, kernel.subshell() as subshell:
        answer = far.on_sent
        far.on_sent = lambda asked: far.say(busy(asked))
        lifecycle.on_call = lambda _: far.say(*answered(far.asked, status="error"))
        with pytest.raises(RequestTimeout):
            subshell.run("train()", timeout=0.01)
        assert lifecycle.calls == ["interrupt"]
        far.on_sent = answer


def test_two_at_work_at_once_do_not_mix() -> None:
    far = able()
    with far.kernel() as kernel, kernel.subshell() as subshell:
        far.on_sent = lambda _: None
        seen = Seen[AnyMessage](), Seen[AnyMessage]()
        kernel.execute("slow").subscribe(seen[0])
        subshell.execute("fast").subscribe(seen[1])
        slow, fast = far.sent[SHELL][-2:]
        far.say(busy(slow), *answered(fast, printed("fast", fast)))
        assert types(seen[1].all()) == ["status", "stream", "status", "execute_reply"]
        assert kernel.state.value == "busy"
        in_thread(lambda: far.say(*answered(slow)[1:]))
        seen[0].all()
        assert kernel.state.value == "idle"
        far.on_sent = lambda asked: far.say(*answered(asked))
