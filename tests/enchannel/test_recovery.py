"""Requests in flight when a resuming link breaks: they are answered after it, or fail."""

from collections.abc import Callable, Iterator

import pytest
from msgspec.structs import replace

import enchannel as ec
from enchannel import AnyMessage, ChannelName, LinkState
from enchannel import messages as build
from enchannel._kernel.kernel import parts_of
from enchannel.abc import Capabilities
from enchannel.errors import ConnectionLost, EnchannelError, MessagesMayBeMissing
from enchannel.testing import Collector, FakeKernel, MemoryRig, echo
from tests.rigs.messages import answered, busy, idle, reply_to, types
from tests.rigs.scripted import ScriptedLink, settle


class Forgetful:
    """A fake kernel that never receives some requests."""

    def __init__(self, rig: MemoryRig) -> None:
        self.forgets = True
        self.received: list[AnyMessage] = []
        self._kernel = FakeKernel(rig, echo)
        rig.on_message(self._on_message)

    def _on_message(self, message: AnyMessage) -> None:
        self.received.append(message)
        if not self.forgets:
            self._kernel.receive(message)

    def answer(self, request: AnyMessage) -> None:
        self._kernel.receive(request)


@pytest.fixture
def rig() -> Iterator[MemoryRig]:
    with MemoryRig(capabilities=Capabilities(can_resume=True)) as rig:
        yield rig


@pytest.fixture
def remote(rig: MemoryRig) -> Forgetful:
    return Forgetful(rig)


@pytest.fixture
def kernel(rig: MemoryRig, remote: Forgetful) -> Iterator[ec.Kernel]:
    with ec.connect(rig.target) as kernel:
        yield kernel


def test_reply_after_reconnect_completes_request(
    rig: MemoryRig, remote: Forgetful, kernel: ec.Kernel
) -> None:
    seen, errors = Collector[AnyMessage](), Collector[EnchannelError]()
    kernel.errors.subscribe(errors)
    kernel.execute("6 * 7").subscribe(seen)
    (request,) = remote.received
    rig.disconnect()
    assert kernel.link_state.value is LinkState.LOST
    rig.reconnect()
    remote.answer(request)
    assert types(seen.wait_for_end()) == ["status", "stream", "status", "execute_reply"]
    (reported,) = errors.wait_for_count(1)
    assert isinstance(reported, MessagesMayBeMissing)


PARTS: dict[str, Callable[[AnyMessage], list[AnyMessage]]] = {
    "nothing": lambda asked: [],
    "idle without a reply": lambda asked: [busy(asked), idle(asked)],
    "a reply without idle": lambda asked: [busy(asked), reply_to(asked)],
}


@pytest.mark.parametrize("received", PARTS.values(), ids=PARTS)
def test_request_in_part_answered_waits_for_link(
    received: Callable[[AnyMessage], list[AnyMessage]],
) -> None:
    """A server that ends interrupts its kernels, so the answer may have begun."""
    remote, why = ScriptedLink(), ConnectionLost("it could not be restored within 60 s")
    with remote.kernel() as kernel:
        warm_up = Collector(kernel.execute("0"))
        remote.send(*answered(remote.last_request))
        warm_up.wait_for_end()
        seen = Collector(kernel.execute("1"))
        remote.send(*received(remote.last_request))
        remote.emit_event(LinkState.LOST)
        remote.send_error = ConnectionLost("the connection broke")
        remote.clock.advance_by(300)
        settle(kernel)
        assert seen.error is None
        remote.fail(why)
        assert seen.wait_for_error() is why


def test_timeout_while_link_is_lost_says_so() -> None:
    remote = ScriptedLink()
    with remote.kernel() as kernel:
        seen = Collector(kernel.kernel_info(timeout=5))
        remote.emit_event(LinkState.LOST)
        remote.clock.advance_by(6)
        assert str(seen.wait_for_error()).endswith("the reply is missing; the connection is lost")


def test_run_timeout_while_link_is_lost_says_so() -> None:
    remote = ScriptedLink()

    def start_and_lose(asked: AnyMessage) -> None:
        remote.send(busy(asked))
        remote.emit_event(LinkState.LOST)

    remote.handler = start_and_lose
    with remote.kernel() as kernel, pytest.raises(ec.RequestTimeout) as failed:
        kernel.run("train()", timeout=0.01)
    assert "within 0.01 s and may run on, because the connection is lost" in str(failed.value)


@pytest.mark.parametrize("received", PARTS.values(), ids=PARTS)
def test_rest_of_answer_completes_after_reconnect(
    received: Callable[[AnyMessage], list[AnyMessage]],
) -> None:
    remote = ScriptedLink()
    with remote.kernel() as kernel:
        seen = Collector(kernel.execute("1"))
        asked = remote.last_request
        remote.send(*received(asked))
        remote.emit_event(LinkState.LOST)
        remote.clock.advance_by(300)
        remote.emit_event(LinkState.CONNECTED)
        remote.send(*answered(asked))
        seen.wait_for_end()


def test_unanswered_request_fails_after_probe(
    rig: MemoryRig, remote: Forgetful, kernel: ec.Kernel
) -> None:
    lost = [Collector(kernel.execute("1")), Collector(kernel.execute("2"))]
    rig.disconnect()
    remote.forgets = False
    rig.reconnect()
    for seen in lost:
        assert isinstance(seen.wait_for_error(), ConnectionLost)
    assert kernel.run("6 * 7").text == "6 * 7"
    assert kernel.state.value == "idle"


def test_probe_per_channel_and_subshell(
    rig: MemoryRig, remote: Forgetful, kernel: ec.Kernel
) -> None:
    message = ec.execute_request("1")
    below = message.replace(header=replace(message.header, subshell_id="below"))
    seen = [
        Collector(kernel.request(below, timeout=None)),
        Collector(kernel.request(ec.kernel_info_request(channel="control"), timeout=None)),
    ]
    rig.disconnect()
    rig.reconnect()
    received = remote.received[len(seen) :]
    assert {(m.channel, m.header.subshell_id) for m in received} == {
        (ChannelName.SHELL, "below"),
        (ChannelName.CONTROL, None),
    }
    remote.answer(received[0])
    assert isinstance(seen[0].wait_for_error(), ConnectionLost)
    assert not seen[1].ended
    remote.answer(received[1])
    assert isinstance(seen[1].wait_for_error(), ConnectionLost)


def test_second_reconnect_probes_again(
    rig: MemoryRig, remote: Forgetful, kernel: ec.Kernel
) -> None:
    lost = Collector(kernel.execute("1"))
    for _ in range(3):
        rig.disconnect()
        rig.reconnect()
    assert not lost.ended
    remote.forgets = False
    rig.disconnect()
    rig.reconnect()
    assert isinstance(lost.wait_for_error(), ConnectionLost)
    assert not parts_of(kernel).requests.by_id


def test_no_probe_without_requests(rig: MemoryRig, remote: Forgetful, kernel: ec.Kernel) -> None:
    rig.disconnect()
    rig.reconnect()
    assert remote.received == []


def test_reconnect_ends_busy_for_others(
    rig: MemoryRig, remote: Forgetful, kernel: ec.Kernel
) -> None:
    other = ec.Session().fill_headers(ec.execute_request("1"))
    rig.send(ec.Session().fill_headers(build.status("busy", parent=other)))
    assert kernel.state.value == "busy"
    rig.disconnect()
    rig.reconnect()
    assert kernel.state.value == "idle"


def test_requests_fail_while_link_is_lost(
    rig: MemoryRig, remote: Forgetful, kernel: ec.Kernel
) -> None:
    rig.disconnect()
    with pytest.raises(ConnectionLost):
        kernel.run("1")
    rig.reconnect()
    remote.forgets = False
    assert kernel.run("1").text == "1"
