"""The limit of requests in flight: later requests wait, in order, and each of them ends."""

from typing import Any

import pytest

import enchannel as ec
from enchannel import AnyMessage, ChannelName
from enchannel.messages import kernel_info_request
from enchannel.testing import Collector
from tests.rigs.messages import busy, idle, reply_to
from tests.rigs.scripted import ScriptedLink


def sent(remote: ScriptedLink) -> list[str]:
    return [message.content["code"] for message in remote.received[ChannelName.SHELL]]


def execute(kernel: ec.Kernel, *codes: str, **options: Any) -> list[Collector[AnyMessage]]:
    seen = [Collector[AnyMessage]() for _ in codes]
    for code, collector in zip(codes, seen, strict=True):
        kernel.execute(code, **options).subscribe(collector)
    return seen


def answer(remote: ScriptedLink, number: int) -> None:
    request = remote.received[ChannelName.SHELL][number]
    remote.send(busy(request), reply_to(request), idle(request))


def test_requests_over_limit_wait_in_order() -> None:
    remote = ScriptedLink()
    with remote.kernel(max_in_flight=2) as kernel:
        seen = execute(kernel, *"abcde")
        assert sent(remote) == ["a", "b"]
        assert kernel.waiting_requests == 3
        assert "3 requests waiting" in repr(kernel)
        for number in range(5):
            answer(remote, number)
        assert sent(remote) == list("abcde")
        for collector in seen:
            collector.wait_for_end()
            assert collector.completed
        assert kernel.waiting_requests == 0


def test_requests_without_limit_are_sent() -> None:
    remote = ScriptedLink()
    with remote.kernel(max_in_flight=None) as kernel:
        execute(kernel, *map(str, range(300)))
        assert len(sent(remote)) == 300


def test_disposed_waiting_request_is_not_sent() -> None:
    remote = ScriptedLink()
    with remote.kernel(max_in_flight=1) as kernel:
        execute(kernel, "a")
        kernel.execute("b", interrupt_if_abandoned=True).subscribe().dispose()
        execute(kernel, "c")
        answer(remote, 0)
        assert sent(remote) == ["a", "c"]


def test_timeout_of_waiting_request_names_number() -> None:
    remote = ScriptedLink()
    with remote.kernel(max_in_flight=1) as kernel:
        execute(kernel, "a", "b")
        (late,) = execute(kernel, "c", timeout=3)
        remote.clock.advance_by(4)
        error = late.wait_for_error()
        assert isinstance(error, ec.RequestTimeout)
        assert "waits behind 2 requests" in str(error)
        answer(remote, 0)
        assert sent(remote) == ["a", "b"]


def test_timeout_of_waiting_run_names_number() -> None:
    remote = ScriptedLink()
    with remote.kernel(max_in_flight=1) as kernel:
        execute(kernel, "a")
        with pytest.raises(
            ec.RequestTimeout, match="was not sent, because it waits behind 1 request"
        ):
            kernel.run("b", timeout=0.01)
        answer(remote, 0)
        assert sent(remote) == ["a"]


def test_waiting_requests_end_with_kernel() -> None:
    remote = ScriptedLink()
    with remote.kernel(max_in_flight=1) as kernel:
        kernel.errors.subscribe()
        seen = execute(kernel, "a", "b", "c")
        remote.emit_event(ec.KernelDied("woo"))
        for collector in seen:
            assert isinstance(collector.wait_for_error(), ec.KernelDied)
        assert sent(remote) == ["a"]


def test_waiting_requests_end_with_close() -> None:
    remote = ScriptedLink()
    with remote.kernel(max_in_flight=1) as kernel:
        seen = execute(kernel, "a", "b")
    for collector in seen:
        assert isinstance(collector.wait_for_error(), ec.ChannelClosed)
    assert sent(remote) == ["a"]


def test_waiting_code_is_aborted_with_sent_code() -> None:
    remote = ScriptedLink()
    with remote.kernel(max_in_flight=1) as kernel:
        _, waiting = execute(kernel, "a", "b")
        request = remote.last_request
        remote.send(busy(request), reply_to(request, status="aborted"), idle(request))
        assert isinstance(waiting.wait_for_error(), ec.RequestAborted)
        assert sent(remote) == ["a"]


def test_limit_counts_each_channel_and_subshell() -> None:
    remote = ScriptedLink()
    with remote.kernel(max_in_flight=1) as kernel:
        execute(kernel, "a", "b")
        kernel.request(kernel_info_request(channel=ChannelName.CONTROL)).subscribe()
        kernel.shell.on_next(ec.execute_request("raw"))
        assert sent(remote) == ["a", "raw"]
        assert len(remote.received[ChannelName.CONTROL]) == 1


@pytest.mark.parametrize(("value", "error"), [(0, ValueError), (2.0, TypeError), (True, TypeError)])
def test_invalid_limit_raises(value: Any, error: type[Exception]) -> None:
    for make in (ec.connect, ec.launch):
        with pytest.raises(error, match="max_in_flight must be"):
            make("x", max_in_flight=value)
    with pytest.raises(error, match="max_in_flight must be"):
        ec.Kernel.from_link(ScriptedLink().link, max_in_flight=value)
