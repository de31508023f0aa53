"""A comm: a conversation with something in the kernel, which is a Subject of its own."""

import asyncio
from collections.abc import Callable

import pytest
import reactivex
from reactivex.scheduler.eventloop import AsyncIOScheduler
from reactivex.subject import Subject

import enchannel as ec
from enchannel import (
    AnyMessage,
    ChannelClosed,
    ChannelName,
    Comm,
    ConnectionLost,
    InvalidMessage,
    KernelDied,
    LinkState,
    SubscriberRaised,
)
from enchannel.errors import EnchannelError
from tests.rigs.memory import MemoryKernel, Seen, Thread, loop_runs, settle, types

SHELL = ChannelName.SHELL


def said(comm_id: str, **data: object) -> AnyMessage:
    """By the kernel."""
    return ec.comm_msg(comm_id, data, channel="iopub")


def opened_by_the_kernel(comm_id: str = "k1", **data: object) -> AnyMessage:
    return ec.comm_open(comm_id, "jupyter.widget", data, channel="iopub")


def closed_by_the_kernel(comm_id: str, **data: object) -> AnyMessage:
    return ec.comm_close(comm_id, data, channel="iopub")


def data(messages: list[AnyMessage]) -> list[object]:
    return [message.content["data"] for message in messages]


# What is said.


def test_is_a_subject_of_reactivex() -> None:
    with MemoryKernel().kernel() as kernel:
        assert isinstance(kernel.comm("echo"), Subject)


def test_opening_tells_the_kernel() -> None:
    far = MemoryKernel()
    with far.kernel() as kernel:
        comm = kernel.comm("echo", {"volume": 11})
    assert types([far.asked]) == ["comm_open"]
    assert far.asked.content == {
        "comm_id": comm.id,
        "target_name": "echo",
        "data": {"volume": 11},
    }
    assert comm.target_name == "echo"


def test_each_comm_has_an_id_of_its_own() -> None:
    with MemoryKernel().kernel() as kernel:
        assert kernel.comm("echo").id != kernel.comm("echo").id
        assert kernel.comm("echo", comm_id="c1").id == "c1"


def test_what_is_said_is_a_message_to_the_kernel() -> None:
    far = MemoryKernel()
    with far.kernel() as kernel:
        comm = kernel.comm("echo")
        comm.on_next({"say": "woo"})
        assert types([far.asked]) == ["comm_msg"]
        assert far.asked.content == {"comm_id": comm.id, "data": {"say": "woo"}}


def test_a_message_of_ones_own_can_be_said() -> None:
    far = MemoryKernel()
    with far.kernel() as kernel:
        comm = kernel.comm("echo")
        message = ec.comm_msg(comm.id, {"say": "woo"})
        comm.on_next(message)
        assert far.asked.header.msg_id == message.header.msg_id


def test_buffers_go_beside_the_data() -> None:
    far = MemoryKernel()
    with far.kernel() as kernel:
        kernel.comm("echo").send({"n": 1}, metadata={"version": "2"}, buffers=[b"abc", b""])
        assert [bytes(buffer) for buffer in far.asked.buffers] == [b"abc", b""]
        assert far.asked.metadata == {"version": "2"}


def test_a_message_for_another_comm_is_refused() -> None:
    far = MemoryKernel()
    with far.kernel() as kernel:
        comm = kernel.comm("echo")
        with pytest.raises(InvalidMessage, match=f"not for comm {comm.id}"):
            comm.on_next(ec.comm_msg("other", {}))
        assert types(far.sent[SHELL]) == ["comm_open"]


def test_what_is_no_json_is_refused() -> None:
    with MemoryKernel().kernel() as kernel:
        comm = kernel.comm("echo")
        with pytest.raises(InvalidMessage):
            comm.send({"a": object()})
        comm.send({"a": 1})


def test_a_comm_whose_opening_could_not_be_sent_is_none() -> None:
    far = MemoryKernel()
    with far.kernel() as kernel:
        far.refuses = ConnectionLost("it is down")
        with pytest.raises(ConnectionLost):
            kernel.comm("echo", comm_id="c1")
        far.refuses = None
        assert kernel._comms._open == {}


# What is heard.


def test_a_comm_hears_what_is_said_on_it() -> None:
    far, one, other = MemoryKernel(), Seen[AnyMessage](), Seen[AnyMessage]()
    with far.kernel() as kernel:
        first, second = kernel.comm("echo"), kernel.comm("echo")
        first.subscribe(one)
        second.subscribe(other)
        far.say(said(first.id, n=1), said(second.id, n=2), said("a stranger's", n=3))
    assert data(one.all()) == [{"n": 1}]
    assert data(other.all()) == [{"n": 2}]


def test_buffers_come_beside_the_data() -> None:
    far, seen = MemoryKernel(), Seen[AnyMessage]()
    with far.kernel() as kernel:
        comm = kernel.comm("echo")
        comm.subscribe(seen)
        message = ec.comm_msg(comm.id, {}, buffers=[b"abc", b"", b"d"])
        far.say(message.replace(channel="iopub"))
    assert [bytes(buffer) for buffer in seen.all()[0].buffers] == [b"abc", b"", b"d"]


def test_a_comm_does_not_hear_itself() -> None:
    far, seen = MemoryKernel(), Seen[AnyMessage]()
    with far.kernel() as kernel:
        comm = kernel.comm("echo")
        comm.subscribe(seen)
        comm.send({"n": 1})
    assert seen.all() == []


def test_what_comes_before_the_first_subscriber_is_kept_for_it() -> None:
    far, first, second = MemoryKernel(), Seen[AnyMessage](), Seen[AnyMessage]()
    far.on_sent = lambda message: far.say(said(message.content["comm_id"], n=1))
    with far.kernel() as kernel:
        comm = kernel.comm("echo")
        far.say(said(comm.id, n=2))
        comm.subscribe(first)
        comm.subscribe(second)
        far.say(said(comm.id, n=3))
    assert data(first.all()) == [{"n": 1}, {"n": 2}, {"n": 3}]
    assert data(second.all()) == [{"n": 3}]


def test_messages_of_comms_are_also_on_iopub() -> None:
    far, seen = MemoryKernel(), Seen[AnyMessage]()
    with far.kernel() as kernel:
        comm = kernel.comm("echo")
        kernel.iopub.pipe(ec.with_comm_id(comm.id)).subscribe(seen)
        far.say(said(comm.id, n=1))
    assert data(seen.all()) == [{"n": 1}]


def test_a_subscriber_that_raises_loses_only_its_own_subscription() -> None:
    far, seen, errors = MemoryKernel(), Seen[AnyMessage](), Seen[EnchannelError]()

    def on_next(_: AnyMessage) -> None:
        raise ZeroDivisionError("oh")

    with far.kernel() as kernel:
        kernel.errors.subscribe(errors)
        comm = kernel.comm("echo", comm_id="c1")
        comm.subscribe(on_next)
        comm.subscribe(seen)
        far.say(said("c1", n=1), said("c1", n=2))
    assert data(seen.all()) == [{"n": 1}, {"n": 2}]
    (error,) = errors.all()
    assert isinstance(error, SubscriberRaised)
    assert "comm echo c1" in str(error)


def test_a_subscriber_may_answer() -> None:
    far, seen = MemoryKernel(), Seen[AnyMessage]()
    with far.kernel() as kernel:
        comm = kernel.comm("echo")
        comm.subscribe(lambda message: comm.send({"n": message.content["data"]["n"] + 1}))
        comm.subscribe(seen)
        far.say(said(comm.id, n=1))
        seen.first(1)
        settle(kernel)
        assert far.asked.content["data"] == {"n": 2}


def test_a_subscriber_with_a_loops_scheduler_is_called_on_that_loop() -> None:
    far, seen = MemoryKernel(), Seen[AnyMessage]()

    async def main() -> None:
        async with far.kernel() as kernel:
            comm = kernel.comm("echo")
            comm.subscribe(seen, scheduler=AsyncIOScheduler(asyncio.get_running_loop()))
            await asyncio.to_thread(far.say, *(said(comm.id, n=number) for number in range(1000)))
            while len(seen.items) < 1000:
                await asyncio.sleep(0)

    loop_runs(main)
    assert data(seen.items) == [{"n": number} for number in range(1000)]
    assert len(seen.threads) == 1


# The end.


def test_closing_tells_the_kernel_once_and_completes() -> None:
    far, seen = MemoryKernel(), Seen[AnyMessage]()
    with far.kernel() as kernel:
        comm = kernel.comm("echo")
        comm.subscribe(seen)
        comm.close({"why": "done"})
        comm.close()
        assert seen.all() == []
        assert types(far.sent[SHELL]) == ["comm_open", "comm_close"]
        assert far.asked.content == {"comm_id": comm.id, "data": {"why": "done"}}


def test_nothing_is_said_on_a_closed_comm() -> None:
    far = MemoryKernel()
    with far.kernel() as kernel:
        comm = kernel.comm("echo", comm_id="c1")
        comm.close()
        with pytest.raises(ChannelClosed, match="comm echo c1 is closed"):
            comm.send({})
        with pytest.raises(ChannelClosed):
            comm.on_next(ec.comm_msg("c1", {}))


def test_the_kernels_closing_is_the_last_item() -> None:
    """That is also how a kernel refuses a target that it does not know."""
    far, seen = MemoryKernel(), Seen[AnyMessage]()
    with far.kernel() as kernel:
        comm = kernel.comm("echo")
        comm.subscribe(seen)
        far.say(said(comm.id, n=1), closed_by_the_kernel(comm.id, why="no"), said(comm.id, n=2))
        assert types(seen.all()) == ["comm_msg", "comm_close"]
        assert seen.items[-1].content["data"] == {"why": "no"}
        assert seen.completed
        with pytest.raises(ChannelClosed):
            comm.send({})
        comm.close()
        assert types(far.sent[SHELL]) == ["comm_open"]


def test_a_closing_on_shell_counts_as_well() -> None:
    """deno closes there."""
    far, seen = MemoryKernel(), Seen[AnyMessage]()
    with far.kernel() as kernel:
        comm = kernel.comm("echo")
        comm.subscribe(seen)
        far.say(ec.comm_close(comm.id, {}))
        assert types(seen.all()) == ["comm_close"]


def test_who_subscribes_after_the_end_hears_what_nobody_heard_and_the_end() -> None:
    far, first, late = MemoryKernel(), Seen[AnyMessage](), Seen[AnyMessage]()
    with far.kernel() as kernel:
        comm = kernel.comm("echo")
        far.say(said(comm.id, n=1), closed_by_the_kernel(comm.id))
        comm.subscribe(first)
        comm.subscribe(late)
        assert types(first.all()) == ["comm_msg", "comm_close"]
        assert late.all() == []
        assert late.completed


@pytest.mark.parametrize("end", [KernelDied("killed"), ConnectionLost("cut")])
def test_the_end_of_kernel_or_link_is_its_error(end: EnchannelError) -> None:
    far, seen, late = MemoryKernel(), Seen[AnyMessage](), Seen[AnyMessage]()
    with far.kernel() as kernel:
        kernel.errors.subscribe(lambda _: None)
        comm = kernel.comm("echo")
        comm.subscribe(seen)
        far.tell(LinkState.LOST, end)
        comm.subscribe(late)
        assert seen.failure() is late.failure() is end
        far.tell(LinkState.CONNECTED)
        with pytest.raises(ChannelClosed):
            comm.send({})
        comm.close()
        assert types(far.sent[SHELL]) == ["comm_open"]


def test_the_end_of_the_connection_completes_it() -> None:
    seen: Seen[AnyMessage] = Seen()
    with MemoryKernel().kernel() as kernel:
        kernel.comm("echo").subscribe(seen)
    assert seen.all() == []
    assert seen.completed


@pytest.mark.parametrize("source", [reactivex.empty(), reactivex.throw(ZeroDivisionError())])
def test_what_is_piped_in_does_not_end_it(source: reactivex.Observable[AnyMessage]) -> None:
    far, seen = MemoryKernel(), Seen[AnyMessage]()
    with far.kernel() as kernel:
        kernel.errors.subscribe(lambda _: None)
        comm = kernel.comm("echo")
        comm.subscribe(seen)
        source.subscribe(comm)
        far.say(said(comm.id, n=1))
        assert data(seen.first(1)) == [{"n": 1}]


def test_disposing_ends_subscriptions_and_not_the_comm() -> None:
    far, seen, later = MemoryKernel(), Seen[AnyMessage](), Seen[AnyMessage]()
    with far.kernel() as kernel:
        comm = kernel.comm("echo")
        comm.subscribe(seen)
        comm.dispose()
        comm.subscribe(later)
        far.say(said(comm.id, n=1))
    assert data(later.all()) == [{"n": 1}]
    assert seen.items == []


def test_subscribing_and_disposing_on_many_threads_loses_nobody() -> None:
    far, seen = MemoryKernel(), Seen[AnyMessage]()
    with far.kernel() as kernel:
        comm = kernel.comm("echo")

        def come_and_go() -> None:
            for _ in range(500):
                comm.subscribe(Seen()).dispose()

        threads = [Thread(come_and_go) for _ in range(4)]
        comm.subscribe(seen)
        for thread in threads:
            thread.result()
        far.say(said(comm.id, n=1))
        assert data(seen.first(1)) == [{"n": 1}]


# Opened by the kernel.


def test_what_the_kernel_opened_can_be_taken_up() -> None:
    far, seen = MemoryKernel(), Seen[AnyMessage]()
    with far.kernel() as kernel:
        kernel.iopub.pipe(ec.of_message_type("comm_open")).subscribe(
            lambda message: void(kernel.comm(message).subscribe(seen))
        )
        far.say(opened_by_the_kernel("k1"))
        settle(kernel)
        far.say(said("k1", n=1), closed_by_the_kernel("k1"))
        assert types(seen.all()) == ["comm_msg", "comm_close"]
        assert far.sent[SHELL] == []


def void(_: object) -> None: ...


def test_what_the_kernel_opened_can_be_answered() -> None:
    far = MemoryKernel()
    with far.kernel() as kernel:
        comm = kernel.comm(opened_by_the_kernel("k1"))
        assert (comm.id, comm.target_name) == ("k1", "jupyter.widget")
        comm.send({"n": 1})
        comm.close()
    assert types(far.sent[SHELL]) == ["comm_msg", "comm_close"]


def test_taking_up_twice_gives_the_same_comm() -> None:
    with MemoryKernel().kernel() as kernel:
        message = opened_by_the_kernel("k1")
        assert kernel.comm(message) is kernel.comm(message)


@pytest.mark.parametrize(
    "message",
    [
        ec.comm_msg("k1", {}),
        ec.create_message("comm_open", {"target_name": "echo"}, channel="iopub"),
        ec.create_message("comm_open", {"comm_id": 3}, channel="iopub"),
    ],
)
def test_what_opens_no_comm_is_refused(message: AnyMessage) -> None:
    with MemoryKernel().kernel() as kernel:
        with pytest.raises(InvalidMessage, match="opens no comm"):
            kernel.comm(message)


ODD: list[Callable[[], AnyMessage]] = [
    lambda: ec.create_message("comm_msg", {}, channel="iopub"),
    lambda: ec.create_message("comm_msg", {"comm_id": ["c1"]}, channel="iopub"),
    lambda: ec.create_message("comm_info_reply", {"comms": {}}),
]


@pytest.mark.parametrize("odd", ODD)
def test_odd_messages_harm_no_comm(odd: Callable[[], AnyMessage]) -> None:
    far, seen = MemoryKernel(), Seen[AnyMessage]()
    with far.kernel() as kernel:
        comm = kernel.comm("echo")
        comm.subscribe(seen)
        far.say(odd(), said(comm.id, n=1))
    assert data(seen.all()) == [{"n": 1}]


def test_repr_names_target_and_id() -> None:
    with MemoryKernel().kernel() as kernel:
        comm: Comm = kernel.comm("echo", comm_id="c1")
        assert repr(comm) == "<Comm echo c1>"
