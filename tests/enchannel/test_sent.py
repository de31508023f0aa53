"""What we say, as it goes; and who is told that somebody listens."""

import dataclasses
from typing import Any

import pytest
import reactivex

import enchannel as ec
from enchannel import AnyMessage, ChannelName, KernelState, LinkState
from enchannel import messages as build
from enchannel.abc import Capabilities
from enchannel.errors import ConnectionLost, EnchannelError
from tests.rigs.memory import MemoryKernel, Seen, answered, printed, settle, texts, types


def test_what_we_say_is_seen_as_it_goes_on_all_channels() -> None:
    far, seen = MemoryKernel(), Seen[AnyMessage]()
    with far.kernel(session=ec.Session(id="s1", username="ada")) as kernel:
        kernel.sent.subscribe(seen)
        kernel.execute("6 * 7").subscribe()
        kernel.control.on_next(ec.kernel_info_request())
        kernel.main.on_next(ec.input_reply("Ada"))
    sent = [far.sent[name][0] for name in (ChannelName.SHELL, ChannelName.CONTROL)]
    assert seen.all() == [*sent, far.sent[ChannelName.STDIN][0]]
    assert {message.header.session for message in seen.items} == {"s1"}
    assert all(message.header.date for message in seen.items)


def test_it_is_seen_before_the_backend_can_be_answered() -> None:
    order = list[str]()
    far = MemoryKernel()
    far.on_sent = lambda message: order.append("sent")

    class Sink(Seen[AnyMessage]):
        def on_next(self, value: AnyMessage) -> None:
            order.append("seen")

        def call(self, function: Any) -> None: ...

    with far.kernel() as kernel:
        kernel.sent.attach(Sink())
        kernel.shell.on_next(ec.kernel_info_request())
    assert order == ["seen", "sent"]


def test_what_may_not_be_sent_is_not_seen_and_what_the_backend_refuses_is() -> None:
    far, seen = MemoryKernel(), Seen[AnyMessage]()
    far.refuses = ConnectionLost("the link is down")
    with far.kernel() as kernel:
        kernel.sent.subscribe(seen)
        with pytest.raises(ec.InvalidMessage):
            kernel.shell.on_next(ec.create_message("execute_request", {}))
        with pytest.raises(ConnectionLost):
            kernel.shell.on_next(ec.kernel_info_request())
    assert types(seen.all()) == ["kernel_info_request"]


def test_who_disposes_or_raises_sees_no_more() -> None:
    far, seen, raised = MemoryKernel(), Seen[AnyMessage](), list[object]()

    def wrong(message: AnyMessage) -> None:
        raised.append(message)
        raise ZeroDivisionError

    with far.kernel() as kernel:
        kernel.errors.subscribe()
        subscription = kernel.sent.subscribe(seen)
        kernel.sent.subscribe(wrong)
        kernel.shell.on_next(ec.kernel_info_request())
        settle(kernel)
        subscription.dispose()
        kernel.shell.on_next(ec.kernel_info_request())
        settle(kernel)
    assert (len(seen.items), len(raised)) == (1, 1)


def test_it_ends_as_the_channels_do() -> None:
    far, seen, late = MemoryKernel(), Seen[AnyMessage](), Seen[AnyMessage]()
    lost = ConnectionLost("gone")
    with far.kernel() as kernel:
        kernel.sent.subscribe(seen)
        far.give_up(lost)
        assert seen.failure() is lost
        kernel.sent.subscribe(late)
        assert late.failure() is lost


def test_a_witness_sees_what_arrives_and_counts_as_nobody() -> None:
    """A question that nobody answers is still one that interrupts the kernel."""
    far, seen, errors = MemoryKernel(), Seen[Any](), Seen[EnchannelError]()
    woo = printed("woo")
    seen.call = lambda function: None  # type: ignore[attr-defined]
    lost = ConnectionLost("the link is down")
    with far.kernel() as kernel:
        kernel.errors.subscribe(errors)
        watching = kernel._witness(seen)  # type: ignore[arg-type]
        question = build.input_request("? ", parent=ec.execute_request("1"))
        far.say(woo, question)
        far.tell(LinkState.LOST, lost, KernelState.DEAD)
        errors.first(2)
        watching.dispose()
        far.say(printed("more"))
    assert seen.items == [woo, question, LinkState.LOST, lost, KernelState.DEAD]
    assert "nobody answers" in str(errors.items[0])


# The link.


def with_link(far: MemoryKernel, **changes: Any) -> ec.Kernel:
    far.link = dataclasses.replace(far.link, **changes)
    return far.kernel()


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
def test_a_link_is_told_once_that_somebody_listens(listen: Any) -> None:
    far, told, seen = MemoryKernel(), list[object](), Seen[AnyMessage]()

    def listened() -> None:
        told.append(None)
        far.say(printed("first"))

    with with_link(far, on_first_subscriber=listened) as kernel:
        for other in (kernel.errors, kernel.link, kernel.state, kernel.sent, kernel.heartbeat):
            other.subscribe(reactivex.Observer())
        assert told == []
        listen(kernel)
        assert told == [None]
        kernel.iopub.subscribe(seen)
        kernel.main.subscribe(seen)
    assert told == [None]
    assert seen.all() == []


def test_the_first_subscriber_misses_nothing() -> None:
    far, seen = MemoryKernel(), Seen[AnyMessage]()
    with with_link(far, on_first_subscriber=lambda: far.say(printed("first"))) as kernel:
        kernel.iopub.subscribe(seen)
    assert texts(seen.all()) == ["first"]


def test_a_link_that_completes_by_itself_ends_the_channels() -> None:
    far = MemoryKernel()
    ends = [Seen[Any]() for _ in range(4)]
    with far.kernel() as kernel:
        for observable, end in zip(
            (kernel.iopub, kernel.main, kernel.sent, kernel.errors), ends, strict=True
        ):
            observable.subscribe(end)
        request = Seen[AnyMessage]()
        kernel.execute("1").subscribe(request)
        far._status.on_completed()
        for end in ends:
            end.all()
            assert end.completed
        assert isinstance(request.failure(), ec.ChannelClosed)
        assert kernel.link.value is LinkState.CLOSED
    assert far.closed == 1


def test_where_nobody_listens_a_question_is_nobodys_to_answer() -> None:
    far, seen = MemoryKernel(), Seen[AnyMessage]()
    with with_link(far, capabilities=Capabilities(can_send=False)) as kernel:
        kernel.iopub.subscribe(seen)
        far.say(
            build.input_request("? ", parent=ec.execute_request("1")),
            *answered(ec.execute_request("1")),
        )
        seen.first(2)
    assert far.sent[ChannelName.CONTROL] == far.sent[ChannelName.SHELL] == []
