"""Comms: two-way connections to an object in the kernel, each a Subject."""

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
from enchannel._kernel.kernel import parts_of
from enchannel.errors import EnchannelError
from enchannel.testing import Collector
from tests.rigs.messages import types
from tests.rigs.scripted import ScriptedLink, settle
from tests.rigs.threads import Thread, run_on_loop

SHELL = ChannelName.SHELL


def comm_message(comm_id: str, **data: object) -> AnyMessage:
    """Return the comm_open message of a kernel."""
    return ec.comm_msg(comm_id, data, channel="iopub")


def opened_by_kernel(comm_id: str = "k1", **data: object) -> AnyMessage:
    return ec.comm_open(comm_id, "jupyter.widget", data, channel="iopub")


def closed_by_kernel(comm_id: str, **data: object) -> AnyMessage:
    return ec.comm_close(comm_id, data, channel="iopub")


def data(messages: list[AnyMessage]) -> list[object]:
    return [message.content["data"] for message in messages]


# Sending.


def test_comm_is_reactivex_subject() -> None:
    with ScriptedLink().kernel() as kernel:
        assert isinstance(kernel.comm("echo"), Subject)


def test_open_sends_comm_open() -> None:
    remote = ScriptedLink()
    with remote.kernel() as kernel:
        comm = kernel.comm("echo", {"volume": 11})
    assert types([remote.last_request]) == ["comm_open"]
    assert remote.last_request.content == {
        "comm_id": comm.id,
        "target_name": "echo",
        "data": {"volume": 11},
    }
    assert comm.target_name == "echo"


def test_each_comm_has_own_id() -> None:
    with ScriptedLink().kernel() as kernel:
        assert kernel.comm("echo").id != kernel.comm("echo").id
        assert kernel.comm("echo", comm_id="c1").id == "c1"


def test_on_next_sends_comm_msg() -> None:
    remote = ScriptedLink()
    with remote.kernel() as kernel:
        comm = kernel.comm("echo")
        comm.on_next({"say": "woo"})
        assert types([remote.last_request]) == ["comm_msg"]
        assert remote.last_request.content == {"comm_id": comm.id, "data": {"say": "woo"}}


def test_on_next_accepts_comm_msg() -> None:
    remote = ScriptedLink()
    with remote.kernel() as kernel:
        comm = kernel.comm("echo")
        message = ec.comm_msg(comm.id, {"say": "woo"})
        comm.on_next(message)
        assert remote.last_request.header.msg_id == message.header.msg_id


def test_send_with_buffers() -> None:
    remote = ScriptedLink()
    with remote.kernel() as kernel:
        kernel.comm("echo").send({"n": 1}, metadata={"version": "2"}, buffers=[b"abc", b""])
        assert [bytes(buffer) for buffer in remote.last_request.buffers] == [b"abc", b""]
        assert remote.last_request.metadata == {"version": "2"}


def test_send_for_other_comm_raises() -> None:
    remote = ScriptedLink()
    with remote.kernel() as kernel:
        comm = kernel.comm("echo")
        with pytest.raises(InvalidMessage, match=f"must be {comm.id!r}"):
            comm.on_next(ec.comm_msg("other", {}))
        assert types(remote.received[SHELL]) == ["comm_open"]


def test_send_of_non_json_raises() -> None:
    with ScriptedLink().kernel() as kernel:
        comm = kernel.comm("echo")
        with pytest.raises(InvalidMessage):
            comm.send({"a": object()})
        comm.send({"a": 1})


def test_failed_open_registers_no_comm() -> None:
    remote = ScriptedLink()
    with remote.kernel() as kernel:
        remote.send_error = ConnectionLost("it is down")
        with pytest.raises(ConnectionLost):
            kernel.comm("echo", comm_id="c1")
        remote.send_error = None
        assert parts_of(kernel).comms.by_id == {}


# Receiving.


def test_comm_receives_its_messages() -> None:
    remote, one, other = ScriptedLink(), Collector[AnyMessage](), Collector[AnyMessage]()
    with remote.kernel() as kernel:
        first, second = kernel.comm("echo"), kernel.comm("echo")
        first.subscribe(one)
        second.subscribe(other)
        remote.send(
            comm_message(first.id, n=1),
            comm_message(second.id, n=2),
            comm_message("a stranger's", n=3),
        )
    assert data(one.wait_for_end()) == [{"n": 1}]
    assert data(other.wait_for_end()) == [{"n": 2}]


def test_comm_receives_buffers() -> None:
    remote, seen = ScriptedLink(), Collector[AnyMessage]()
    with remote.kernel() as kernel:
        comm = kernel.comm("echo")
        comm.subscribe(seen)
        message = ec.comm_msg(comm.id, {}, buffers=[b"abc", b"", b"d"])
        remote.send(message.replace(channel="iopub"))
    assert [bytes(buffer) for buffer in seen.wait_for_end()[0].buffers] == [b"abc", b"", b"d"]


def test_sent_comm_msg_is_not_echoed() -> None:
    remote, seen = ScriptedLink(), Collector[AnyMessage]()
    with remote.kernel() as kernel:
        comm = kernel.comm("echo")
        comm.subscribe(seen)
        comm.send({"n": 1})
    assert seen.wait_for_end() == []


def test_first_subscriber_gets_early_messages() -> None:
    remote, first, second = ScriptedLink(), Collector[AnyMessage](), Collector[AnyMessage]()
    remote.handler = lambda message: remote.send(comm_message(message.content["comm_id"], n=1))
    with remote.kernel() as kernel:
        comm = kernel.comm("echo")
        remote.send(comm_message(comm.id, n=2))
        comm.subscribe(first)
        comm.subscribe(second)
        remote.send(comm_message(comm.id, n=3))
    assert data(first.wait_for_end()) == [{"n": 1}, {"n": 2}, {"n": 3}]
    assert data(second.wait_for_end()) == [{"n": 3}]


def test_comm_messages_stay_on_iopub() -> None:
    remote, seen = ScriptedLink(), Collector[AnyMessage]()
    with remote.kernel() as kernel:
        comm = kernel.comm("echo")
        kernel.iopub.pipe(ec.with_comm_id(comm.id)).subscribe(seen)
        remote.send(comm_message(comm.id, n=1))
    assert data(seen.wait_for_end()) == [{"n": 1}]


def test_raising_subscriber_ends_alone() -> None:
    remote, seen, errors = ScriptedLink(), Collector[AnyMessage](), Collector[EnchannelError]()

    def on_next(_: AnyMessage) -> None:
        raise ZeroDivisionError("oh")

    with remote.kernel() as kernel:
        kernel.errors.subscribe(errors)
        comm = kernel.comm("echo", comm_id="c1")
        comm.subscribe(on_next)
        comm.subscribe(seen)
        remote.send(comm_message("c1", n=1), comm_message("c1", n=2))
    assert data(seen.wait_for_end()) == [{"n": 1}, {"n": 2}]
    (error,) = errors.wait_for_end()
    assert isinstance(error, SubscriberRaised)
    assert "comm echo c1" in str(error)


def test_subscriber_may_send() -> None:
    remote, seen = ScriptedLink(), Collector[AnyMessage]()
    with remote.kernel() as kernel:
        comm = kernel.comm("echo")
        comm.subscribe(lambda message: comm.send({"n": message.content["data"]["n"] + 1}))
        comm.subscribe(seen)
        remote.send(comm_message(comm.id, n=1))
        seen.wait_for_count(1)
        settle(kernel)
        assert remote.last_request.content["data"] == {"n": 2}


def test_loop_scheduler_delivers_on_loop() -> None:
    remote, seen = ScriptedLink(), Collector[AnyMessage]()

    async def main() -> None:
        async with remote.kernel() as kernel:
            comm = kernel.comm("echo")
            comm.subscribe(seen, scheduler=AsyncIOScheduler(asyncio.get_running_loop()))
            await asyncio.to_thread(
                remote.send, *(comm_message(comm.id, n=number) for number in range(1000))
            )
            while len(seen.items) < 1000:
                await asyncio.sleep(0)

    run_on_loop(main)
    assert data(seen.items) == [{"n": number} for number in range(1000)]
    assert len(seen.threads) == 1


# Closing.


def test_close_sends_comm_close_once() -> None:
    remote, seen = ScriptedLink(), Collector[AnyMessage]()
    with remote.kernel() as kernel:
        comm = kernel.comm("echo")
        comm.subscribe(seen)
        comm.close({"why": "done"})
        comm.close()
        assert seen.wait_for_end() == []
        assert types(remote.received[SHELL]) == ["comm_open", "comm_close"]
        assert remote.last_request.content == {"comm_id": comm.id, "data": {"why": "done"}}


def test_send_on_closed_comm_raises() -> None:
    remote = ScriptedLink()
    with remote.kernel() as kernel:
        comm = kernel.comm("echo", comm_id="c1")
        comm.close()
        with pytest.raises(ChannelClosed, match="comm echo c1 is closed"):
            comm.send({})
        with pytest.raises(ChannelClosed):
            comm.on_next(ec.comm_msg("c1", {}))


def test_comm_close_of_kernel_is_last_item() -> None:
    """A kernel also sends comm_close to refuse an unknown target."""
    remote, seen = ScriptedLink(), Collector[AnyMessage]()
    with remote.kernel() as kernel:
        comm = kernel.comm("echo")
        comm.subscribe(seen)
        remote.send(
            comm_message(comm.id, n=1),
            closed_by_kernel(comm.id, why="no"),
            comm_message(comm.id, n=2),
        )
        assert types(seen.wait_for_end()) == ["comm_msg", "comm_close"]
        assert seen.items[-1].content["data"] == {"why": "no"}
        assert seen.completed
        with pytest.raises(ChannelClosed):
            comm.send({})
        comm.close()
        assert types(remote.received[SHELL]) == ["comm_open"]


def test_comm_close_on_shell_completes() -> None:
    """deno sends comm_close on shell."""
    remote, seen = ScriptedLink(), Collector[AnyMessage]()
    with remote.kernel() as kernel:
        comm = kernel.comm("echo")
        comm.subscribe(seen)
        remote.send(ec.comm_close(comm.id, {}))
        assert types(seen.wait_for_end()) == ["comm_close"]


def test_late_subscriber_gets_early_and_end() -> None:
    remote, first, late = ScriptedLink(), Collector[AnyMessage](), Collector[AnyMessage]()
    with remote.kernel() as kernel:
        comm = kernel.comm("echo")
        remote.send(comm_message(comm.id, n=1), closed_by_kernel(comm.id))
        comm.subscribe(first)
        comm.subscribe(late)
        assert types(first.wait_for_end()) == ["comm_msg", "comm_close"]
        assert late.wait_for_end() == []
        assert late.completed


@pytest.mark.parametrize("end", [KernelDied("killed"), ConnectionLost("cut")])
def test_lost_kernel_fails_comm(end: EnchannelError) -> None:
    remote, seen, late = ScriptedLink(), Collector[AnyMessage](), Collector[AnyMessage]()
    with remote.kernel() as kernel:
        kernel.errors.subscribe(lambda _: None)
        comm = kernel.comm("echo")
        comm.subscribe(seen)
        remote.emit_event(LinkState.LOST, end)
        comm.subscribe(late)
        assert seen.wait_for_error() is late.wait_for_error() is end
        remote.emit_event(LinkState.CONNECTED)
        with pytest.raises(ChannelClosed):
            comm.send({})
        comm.close()
        assert types(remote.received[SHELL]) == ["comm_open"]


def test_close_of_kernel_completes_comm() -> None:
    seen: Collector[AnyMessage] = Collector()
    with ScriptedLink().kernel() as kernel:
        kernel.comm("echo").subscribe(seen)
    assert seen.wait_for_end() == []
    assert seen.completed


@pytest.mark.parametrize("source", [reactivex.empty(), reactivex.throw(ZeroDivisionError())])
def test_piped_terminal_events_are_ignored(source: reactivex.Observable[AnyMessage]) -> None:
    remote, seen = ScriptedLink(), Collector[AnyMessage]()
    with remote.kernel() as kernel:
        kernel.errors.subscribe(lambda _: None)
        comm = kernel.comm("echo")
        comm.subscribe(seen)
        source.subscribe(comm)
        remote.send(comm_message(comm.id, n=1))
        assert data(seen.wait_for_count(1)) == [{"n": 1}]


def test_dispose_keeps_comm_open() -> None:
    remote, seen, later = ScriptedLink(), Collector[AnyMessage](), Collector[AnyMessage]()
    with remote.kernel() as kernel:
        comm = kernel.comm("echo")
        comm.subscribe(seen)
        comm.dispose()
        comm.subscribe(later)
        remote.send(comm_message(comm.id, n=1))
    assert data(later.wait_for_end()) == [{"n": 1}]
    assert seen.items == []


def test_concurrent_subscribe_and_dispose() -> None:
    remote, seen = ScriptedLink(), Collector[AnyMessage]()
    with remote.kernel() as kernel:
        comm = kernel.comm("echo")

        def subscribe_and_dispose() -> None:
            for _ in range(500):
                comm.subscribe(Collector()).dispose()

        threads = [Thread(subscribe_and_dispose) for _ in range(4)]
        comm.subscribe(seen)
        for thread in threads:
            thread.result()
        remote.send(comm_message(comm.id, n=1))
        assert data(seen.wait_for_count(1)) == [{"n": 1}]


# Opened by the kernel.


def test_comm_opened_by_kernel_is_emitted() -> None:
    remote, seen = ScriptedLink(), Collector[AnyMessage]()
    with remote.kernel() as kernel:
        opened = Collector(kernel.comms("jupyter.widget"))
        remote.send(
            opened_by_kernel("k1", state=1),
            comm_message("k1", n=1),
            ec.comm_open("k2", "other", channel="iopub"),
            opened_by_kernel("k1", state=2),
        )
        (comm,) = opened.wait_for_count(1)
        assert (comm.id, comm.target_name) == ("k1", "jupyter.widget")
        comm.subscribe(seen)
        remote.send(closed_by_kernel("k1"))
        assert types(seen.wait_for_end()) == ["comm_open", "comm_msg", "comm_close"]
        assert data(seen.items)[:2] == [{"state": 1}, {"n": 1}]
        assert remote.received[SHELL] == []
        settle(kernel)
        assert len(opened.items) == 1
    assert opened.completed


def test_comm_opened_by_kernel_can_send() -> None:
    remote = ScriptedLink()
    with remote.kernel() as kernel:
        opened = Collector(kernel.comms())
        remote.send(opened_by_kernel("k1"))
        (comm,) = opened.wait_for_count(1)
        comm.send({"n": 1})
        comm.close()
    assert types(remote.received[SHELL]) == ["comm_msg", "comm_close"]


def test_comm_opened_by_kernel_is_shared() -> None:
    remote = ScriptedLink()
    with remote.kernel() as kernel:
        seen = [Collector(kernel.comms(name)) for name in ("jupyter.widget", None)]
        remote.send(opened_by_kernel("k1"))
        (first,), (second,) = (one.wait_for_count(1) for one in seen)
        assert first is second


def test_comm_opened_without_subscriber_is_ignored() -> None:
    remote = ScriptedLink()
    with remote.kernel() as kernel:
        opened = Collector(kernel.comms())
        opened.subscription.dispose()
        remote.send(opened_by_kernel("k1"))
        assert parts_of(kernel).comms.by_id == {}


def test_comms_continue_after_restart() -> None:
    remote = ScriptedLink()
    with remote.kernel() as kernel:
        kernel.errors.subscribe(lambda _: None)
        opened = Collector(kernel.comms())
        remote.send(opened_by_kernel("k1"))
        remote.emit_event(ec.KernelDied("killed"))
        remote.send(opened_by_kernel("k1"))
        first, second = opened.wait_for_count(2)
        assert first is not second
    assert opened.completed


def test_open_and_close_send_metadata_and_buffers() -> None:
    remote = ScriptedLink()
    with remote.kernel() as kernel:
        comm = kernel.comm(
            "jupyter.widget", {"state": {}}, metadata={"version": "2.1.0"}, buffers=[b"abc"]
        )
        assert remote.last_request.metadata == {"version": "2.1.0"}
        assert [bytes(buffer) for buffer in remote.last_request.buffers] == [b"abc"]
        comm.close({"n": 1}, metadata={"last": True}, buffers=[b"", b"d"])
        assert remote.last_request.content["data"] == {"n": 1}
        assert remote.last_request.metadata == {"last": True}
        assert [bytes(buffer) for buffer in remote.last_request.buffers] == [b"", b"d"]


ODD: list[Callable[[], AnyMessage]] = [
    lambda: ec.create_message("comm_msg", {}, channel="iopub"),
    lambda: ec.create_message("comm_msg", {"comm_id": ["c1"]}, channel="iopub"),
    lambda: ec.create_message("comm_info_reply", {"comms": {}}),
    lambda: ec.create_message("comm_open", {"target_name": "echo"}, channel="iopub"),
    lambda: ec.create_message("comm_open", {"comm_id": "c2"}, channel="iopub"),
]


@pytest.mark.parametrize("odd", ODD)
def test_malformed_comm_messages_are_ignored(odd: Callable[[], AnyMessage]) -> None:
    remote, seen = ScriptedLink(), Collector[AnyMessage]()
    with remote.kernel() as kernel:
        comm = kernel.comm("echo")
        comm.subscribe(seen)
        kernel.comms().subscribe(lambda _: None)
        remote.send(odd(), comm_message(comm.id, n=1))
    assert data(seen.wait_for_end()) == [{"n": 1}]


def test_repr_names_target_and_id() -> None:
    with ScriptedLink().kernel() as kernel:
        comm: Comm = kernel.comm("echo", comm_id="c1")
        assert repr(comm) == "<Comm echo c1>"
