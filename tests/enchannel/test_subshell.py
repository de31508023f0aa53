"""Subshells: shell requests that run beside the main shell."""

import threading

import pytest
from reactivex import never

import enchannel as ec
from enchannel import AnyMessage, ChannelName, NotSupported, RequestTimeout, Subshell, WouldDeadlock
from enchannel import messages as build
from enchannel._rx.waiting import Waiter
from enchannel.errors import EnchannelError
from enchannel.testing import Collector
from tests.rigs.messages import answered, busy, printed, started, types
from tests.rigs.scripted import ScriptedLifecycle, ScriptedLink
from tests.rigs.threads import Thread, in_thread, run_on_loop, wait_until_blocked_in

SHELL, CONTROL = ChannelName.SHELL, ChannelName.CONTROL


def with_subshells(*features: str, lifecycle: ScriptedLifecycle | None = None) -> ScriptedLink:
    """Return a link whose kernel creates subshells (s1, s2, …) and prints the subshell of each request."""
    remote = ScriptedLink(lifecycle=lifecycle)
    made = 0

    def answer(request: AnyMessage) -> None:
        nonlocal made
        match request.header.msg_type:
            case "kernel_info_request":
                info = {"implementation": "fake", "supported_features": list(features)}
                remote.send(*answered(request, **info))
            case "create_subshell_request":
                made += 1
                remote.send(*answered(request, subshell_id=f"s{made}"))
            case "execute_request":
                output = printed(f"in {request.header.subshell_id}", request)
                remote.send(*answered(request, output))
            case _:
                remote.send(*answered(request))

    remote.handler = answer
    return remote


def supporting(lifecycle: ScriptedLifecycle | None = None) -> ScriptedLink:
    return with_subshells("debugger", "kernel subshells", lifecycle=lifecycle)


def test_shell_request_has_subshell_id() -> None:
    remote = supporting()
    with remote.kernel() as kernel, kernel.subshell() as subshell:
        assert isinstance(subshell, Subshell)
        assert subshell.id == "s1"
        assert subshell.run("6 * 7").text == "in s1"
        assert ec.wait(subshell.execute("6 * 7").pipe(ec.to_result())).text == "in s1"
        ec.wait(subshell.complete("pri"))
        assert {message.header.subshell_id for message in remote.received[SHELL][1:]} == {"s1"}


def test_kernel_request_has_no_subshell_id() -> None:
    with supporting().kernel() as kernel, kernel.subshell():
        assert kernel.run("6 * 7").text == "in None"


def test_control_request_has_no_subshell_id() -> None:
    remote = supporting()
    with remote.kernel() as kernel, kernel.subshell() as subshell:
        ec.wait(subshell.debug("initialize"))
        assert types(remote.received[CONTROL]) == ["create_subshell_request", "debug_request"]
        assert remote.received[CONTROL][-1].header.subshell_id is None


def test_request_adds_only_subshell_id() -> None:
    remote, message = supporting(), ec.execute_request("6 * 7")
    with remote.kernel() as kernel, kernel.subshell() as subshell:
        ec.wait(subshell.request(message))
    assert remote.last_request.header.msg_id == message.header.msg_id
    assert remote.last_request.content == message.content


def test_with_block_creates_and_deletes() -> None:
    remote = supporting()
    with remote.kernel() as kernel:
        subshell = kernel.subshell()
        assert remote.received[CONTROL] == []
        with subshell:
            assert types(remote.received[CONTROL]) == ["create_subshell_request"]
        assert types(remote.received[CONTROL])[1:] == ["delete_subshell_request"]
        assert remote.received[CONTROL][-1].content["subshell_id"] == "s1"


def test_with_block_that_raises_deletes() -> None:
    remote = supporting()
    with remote.kernel() as kernel:
        with pytest.raises(ZeroDivisionError), kernel.subshell():
            raise ZeroDivisionError
        assert types(remote.received[CONTROL])[1:] == ["delete_subshell_request"]


def test_request_outside_of_block_raises() -> None:
    with supporting().kernel() as kernel:
        subshell = kernel.subshell()
        with pytest.raises(NotSupported, match="inside its `with` block"):
            subshell.execute("6 * 7")
        with subshell:
            pass
        with pytest.raises(NotSupported):
            subshell.run("6 * 7")


def test_two_subshells_have_two_ids() -> None:
    with supporting().kernel() as kernel, kernel.subshell() as one, kernel.subshell() as other:
        assert (one.run("1").text, other.run("1").text) == ("in s1", "in s2")


def test_async_with_creates_and_deletes() -> None:
    remote = supporting()

    async def main() -> None:
        async with remote.kernel() as kernel:
            async with kernel.subshell() as subshell:
                result = await subshell.execute("6 * 7").pipe(ec.to_result())
                assert result.text == "in s1"
            assert types(remote.received[CONTROL])[1:] == ["delete_subshell_request"]

    run_on_loop(main)


def test_with_block_on_loop_raises() -> None:
    async def main() -> None:
        async with supporting().kernel() as kernel:
            remedy = r"write `async with kernel\.subshell\(\) as subshell`"
            with pytest.raises(WouldDeadlock, match=remedy), kernel.subshell():
                raise AssertionError

    run_on_loop(main)


@pytest.mark.parametrize("features", [(), ("debugger",)])
def test_unsupported_subshell_raises(features: tuple[str, ...]) -> None:
    remote = with_subshells(*features)
    with remote.kernel() as kernel:
        with (
            pytest.raises(NotSupported, match="fake does not support subshells"),
            kernel.subshell(),
        ):
            raise AssertionError
        assert remote.received[CONTROL] == []


@pytest.mark.parametrize("content", [{}, {"supported_features": None}])
def test_kernel_without_features_raises(content: dict[str, object]) -> None:
    remote = ScriptedLink()
    remote.handler = lambda request: remote.send(*answered(request, **content))
    with remote.kernel() as kernel:
        with (
            pytest.raises(NotSupported, match="this kernel does not support subshells"),
            kernel.subshell(),
        ):
            raise AssertionError


@pytest.mark.parametrize(
    "content", [{"status": "error", "evalue": "no more threads"}, {"subshell_id": None}, {}]
)
def test_failed_creation_raises(content: dict[str, object]) -> None:
    remote = ScriptedLink()

    def answer(request: AnyMessage) -> None:
        features = {"supported_features": ["kernel subshells"]}
        info = request.header.msg_type == "kernel_info_request"
        remote.send(*answered(request, **(features if info else content)))

    remote.handler = answer
    with remote.kernel() as kernel:
        with (
            pytest.raises(
                NotSupported, match="subshell failed: (no more threads|the reply has no id)"
            ),
            kernel.subshell(),
        ):
            raise AssertionError


def test_failed_deletion_is_reported() -> None:
    remote, late = supporting(), Collector[EnchannelError]()
    here = threading.current_thread()

    def advance_clock() -> None:
        wait_until_blocked_in(here, Waiter.wait)
        remote.clock.advance_by(60)

    def fail_to_delete(request: AnyMessage) -> None:
        if request.header.msg_type == "delete_subshell_request":
            Thread(advance_clock)
        else:
            answer(request)

    answer, remote.handler = remote.handler, fail_to_delete
    with remote.kernel() as kernel:
        with pytest.raises(ZeroDivisionError), kernel.subshell():
            raise ZeroDivisionError
        kernel.errors.subscribe(late)
        (error,) = late.wait_for_count(1)
    assert isinstance(error, RequestTimeout)
    assert "delete_subshell_request" in str(error)


def test_leaving_block_of_closed_kernel() -> None:
    with supporting().kernel() as kernel, kernel.subshell():
        kernel.close()


def test_request_of_left_subshell_fails() -> None:
    """ipykernel drops its reply."""
    remote = supporting()
    with remote.kernel() as kernel:
        with kernel.subshell() as subshell:
            answer = remote.handler
            remote.handler = lambda request: remote.send(busy(request), started(request))
            seen = Collector(subshell.execute("train()"))
            other = Collector(kernel.execute("go on"))
            remote.handler = answer
        assert isinstance(seen.wait_for_error(), ec.ChannelClosed)
        assert not other.ended
        states = [kernel.state.value]
        remote.send(*answered(remote.received[SHELL][-1]))
        other.wait_for_end()
        assert [*states, kernel.state.value] == [ec.KernelState.BUSY, ec.KernelState.IDLE]


def test_run_timeout_in_subshell_interrupts_nothing() -> None:
    """An interrupt does not reach a subshell, but would stop the code in the main shell."""
    lifecycle = ScriptedLifecycle()
    remote = supporting(lifecycle)
    with remote.kernel() as kernel, kernel.subshell() as subshell:
        answer = remote.handler
        remote.handler = lambda request: remote.send(busy(request), started(request))
        with pytest.raises(RequestTimeout, match="goes on, because an interrupt does not reach"):
            subshell.run("train()", timeout=0.01)
        abandoned = subshell.execute("train()", interrupt_if_abandoned=True).subscribe()
        abandoned.dispose()
        assert lifecycle.calls == []
        remote.handler = answer
        assert subshell.run("6 * 7").text == "in s1"


def raise_key_error(_: ec.InputPrompt) -> str:
    raise KeyError


def test_abandoned_input_in_subshell_gets_end_of_file() -> None:
    lifecycle = ScriptedLifecycle()
    remote = supporting(lifecycle)
    with remote.kernel() as kernel, kernel.subshell() as subshell:
        answer = remote.handler

        def request_input(request: AnyMessage) -> None:
            if request.channel is SHELL:
                prompt = build.input_request("Name? ", parent=request)
                remote.send(busy(request), started(request), prompt)

        remote.handler = request_input
        for on_input in (lambda _: never(), None):
            kernel.errors.subscribe(lambda _: None)
            subshell.execute("input()", on_input=on_input, allow_stdin=True).subscribe().dispose()
        with pytest.raises(KeyError):
            subshell.run("input()", on_input=raise_key_error)
        answers = [message.content["value"] for message in remote.received[ChannelName.STDIN]]
        assert answers == ["\x04"] * 3
        assert lifecycle.calls == []
        remote.handler = answer


def test_two_subshells_keep_outputs_apart() -> None:
    remote = supporting()
    with remote.kernel() as kernel, kernel.subshell() as subshell:
        remote.handler = lambda _: None
        seen = Collector[AnyMessage](), Collector[AnyMessage]()
        kernel.execute("slow").subscribe(seen[0])
        subshell.execute("fast").subscribe(seen[1])
        slow, fast = remote.received[SHELL][-2:]
        remote.send(busy(slow), *answered(fast, printed("fast", fast)))
        assert types(seen[1].wait_for_end()) == ["status", "stream", "status", "execute_reply"]
        assert kernel.state.value == "busy"
        in_thread(lambda: remote.send(*answered(slow)[1:]))
        seen[0].wait_for_end()
        assert kernel.state.value == "idle"
        remote.handler = lambda request: remote.send(*answered(request))
