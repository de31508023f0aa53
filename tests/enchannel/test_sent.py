"""kernel.sent, taps, and the first subscriber of a link."""

import dataclasses
from typing import Any

import pytest
import reactivex

import enchannel as ec
from enchannel import AnyMessage, ChannelName, KernelState, LinkState
from enchannel import messages as build
from enchannel._kernel.kernel import parts_of
from enchannel._rx.sink import attach
from enchannel.abc import Capabilities
from enchannel.errors import ConnectionLost, EnchannelError
from enchannel.testing import Collector
from tests.rigs.messages import answered, printed, texts, types
from tests.rigs.scripted import ScriptedLink, settle


def test_sent_emits_messages_of_all_channels() -> None:
    remote, seen = ScriptedLink(), Collector[AnyMessage]()
    with remote.kernel(session=ec.Session(id="s1", username="ada")) as kernel:
        kernel.sent.subscribe(seen)
        kernel.execute("6 * 7").subscribe()
        kernel.control.on_next(ec.kernel_info_request())
        kernel.main.on_next(ec.input_reply("Ada"))
    sent = [remote.received[name][0] for name in (ChannelName.SHELL, ChannelName.CONTROL)]
    assert seen.wait_for_end() == [*sent, remote.received[ChannelName.STDIN][0]]
    assert {message.header.session for message in seen.items} == {"s1"}
    assert all(message.header.date for message in seen.items)


def test_sent_emits_before_backend_sends() -> None:
    order = list[str]()
    remote = ScriptedLink()
    remote.handler = lambda message: order.append("sent")

    class Sink(Collector[AnyMessage]):
        def on_next(self, value: AnyMessage) -> None:
            order.append("seen")

        def call(self, function: Any) -> None: ...

    with remote.kernel() as kernel:
        attach(kernel.sent, Sink())
        kernel.shell.on_next(ec.kernel_info_request())
    assert order == ["seen", "sent"]


def test_sent_omits_invalid_messages_only() -> None:
    remote, seen = ScriptedLink(), Collector[AnyMessage]()
    remote.send_error = ConnectionLost("the link is down")
    with remote.kernel() as kernel:
        kernel.sent.subscribe(seen)
        with pytest.raises(ec.InvalidMessage):
            kernel.shell.on_next(ec.create_message("execute_request", {}))
        with pytest.raises(ConnectionLost):
            kernel.shell.on_next(ec.kernel_info_request())
    assert types(seen.wait_for_end()) == ["kernel_info_request"]


def test_sent_subscriber_ends_alone() -> None:
    remote, seen, raised = ScriptedLink(), Collector[AnyMessage](), list[object]()

    def wrong(message: AnyMessage) -> None:
        raised.append(message)
        raise ZeroDivisionError

    with remote.kernel() as kernel:
        kernel.errors.subscribe()
        subscription = kernel.sent.subscribe(seen)
        kernel.sent.subscribe(wrong)
        kernel.shell.on_next(ec.kernel_info_request())
        settle(kernel)
        subscription.dispose()
        kernel.shell.on_next(ec.kernel_info_request())
        settle(kernel)
    assert (len(seen.items), len(raised)) == (1, 1)


def test_sent_terminates_with_channels() -> None:
    remote, seen, late = ScriptedLink(), Collector[AnyMessage](), Collector[AnyMessage]()
    lost = ConnectionLost("gone")
    with remote.kernel() as kernel:
        kernel.sent.subscribe(seen)
        remote.fail(lost)
        assert seen.wait_for_error() is lost
        kernel.sent.subscribe(late)
        assert late.wait_for_error() is lost


def test_tap_does_not_count_as_subscriber() -> None:
    """A tap does not answer input(), so an unanswered input request still interrupts the kernel."""
    remote, seen, errors = ScriptedLink(), Collector[Any](), Collector[EnchannelError]()
    woo = printed("woo")
    seen.call = lambda function: None  # type: ignore[attr-defined]
    lost = ConnectionLost("the link is down")
    with remote.kernel() as kernel:
        kernel.errors.subscribe(errors)
        watching = parts_of(kernel).tap(seen)  # type: ignore[arg-type]
        question = build.input_request("? ", parent=ec.execute_request("1"))
        remote.send(woo, question)
        remote.emit_event(LinkState.LOST, lost, KernelState.DEAD)
        errors.wait_for_count(2)
        watching.dispose()
        remote.send(printed("more"))
    assert seen.items == [woo, question, LinkState.LOST, lost, KernelState.DEAD]
    assert "because no on_input was given" in str(errors.items[0])


# The link.


def with_link(remote: ScriptedLink, **changes: Any) -> ec.Kernel:
    remote.link = dataclasses.replace(remote.link, **changes)
    return remote.kernel()


@pytest.mark.parametrize(
    "listen",
    [
        lambda kernel: kernel.iopub.subscribe(),
        lambda kernel: kernel.main.subscribe(),
        lambda kernel: kernel.shell.pipe(ec.child_of("parent")).subscribe(),
        lambda kernel: kernel.stdin.pipe(ec.of_message_type("input_request")).subscribe(),
    ],
    ids=["channel", "main", "child_of", "of_message_type"],
)
def test_on_first_subscriber_is_called_once(listen: Any) -> None:
    remote, calls, seen = ScriptedLink(), list[object](), Collector[AnyMessage]()

    def on_first() -> None:
        calls.append(None)
        remote.send(printed("first"))

    with with_link(remote, on_first_subscriber=on_first) as kernel:
        for other in (
            kernel.errors,
            kernel.link_state,
            kernel.state,
            kernel.sent,
            kernel.heartbeat,
        ):
            other.subscribe(reactivex.Observer())
        assert calls == []
        listen(kernel)
        assert calls == [None]
        kernel.iopub.subscribe(seen)
        kernel.main.subscribe(seen)
    assert calls == [None]
    assert seen.wait_for_end() == []


def test_first_subscriber_gets_all_messages() -> None:
    remote, seen = ScriptedLink(), Collector[AnyMessage]()
    with with_link(remote, on_first_subscriber=lambda: remote.send(printed("first"))) as kernel:
        kernel.iopub.subscribe(seen)
    assert texts(seen.wait_for_end()) == ["first"]


def test_completed_link_completes_channels() -> None:
    remote = ScriptedLink()
    ends = [Collector[Any]() for _ in range(4)]
    with remote.kernel() as kernel:
        observables: list[reactivex.Observable[Any]] = [
            kernel.iopub,
            kernel.main,
            kernel.sent,
            kernel.errors,
        ]
        for observable, end in zip(observables, ends, strict=True):
            observable.subscribe(end)
        request = Collector[AnyMessage]()
        kernel.execute("1").subscribe(request)
        remote.complete_events()
        for end in ends:
            end.wait_for_end()
            assert end.completed
        assert isinstance(request.wait_for_error(), ec.ChannelClosed)
        assert kernel.link_state.value is LinkState.CLOSED
    assert remote.closed == 1


def test_receive_only_link_ignores_input_request() -> None:
    remote, seen = ScriptedLink(), Collector[AnyMessage]()
    with with_link(remote, capabilities=Capabilities(can_send=False)) as kernel:
        kernel.iopub.subscribe(seen)
        remote.send(
            build.input_request("? ", parent=ec.execute_request("1")),
            *answered(ec.execute_request("1")),
        )
        seen.wait_for_count(2)
    assert remote.received[ChannelName.CONTROL] == remote.received[ChannelName.SHELL] == []
