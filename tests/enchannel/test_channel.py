"""Channels: Subjects that keep rules which a plain Subject does not."""

import asyncio
import sys
import threading
from collections.abc import Callable

import pytest
import reactivex
from reactivex import Observable, Observer, abc
from reactivex import operators as ops
from reactivex.scheduler import EventLoopScheduler, ImmediateScheduler, NewThreadScheduler
from reactivex.scheduler.eventloop import AsyncIOScheduler, AsyncIOThreadSafeScheduler
from reactivex.subject import Subject

import enchannel as ec
from enchannel import (
    AnyMessage,
    Channel,
    ChannelClosed,
    ChannelName,
    ChannelReadOnly,
    ConnectionLost,
    InvalidMessage,
    KernelDied,
    NotSupported,
    Session,
    SubscriberRaised,
)
from enchannel.errors import EnchannelError
from enchannel.testing import Collector
from tests.rigs import DEADLINE
from tests.rigs.messages import answered, printed, reply_to, text_of, texts
from tests.rigs.scripted import ScriptedLink, settle
from tests.rigs.threads import Thread, in_thread, run_on_loop

SHELL, IOPUB = ChannelName.SHELL, ChannelName.IOPUB


def numbered(count: int, request: AnyMessage | None = None) -> list[AnyMessage]:
    return [printed(str(number), request) for number in range(count)]


def is_stream(message: AnyMessage) -> bool:
    return message.header.msg_type == "stream"


def raising(error: BaseException) -> Callable[[object], None]:
    def on_next(_: object) -> None:
        raise error

    return on_next


# Sending.


def test_channel_is_reactivex_subject() -> None:
    with ScriptedLink().kernel() as kernel:
        for channel in (kernel.shell, kernel.iopub, kernel.main, kernel.heartbeat):
            assert isinstance(channel, Subject)
            assert isinstance(channel, Observable)
            assert isinstance(channel, Observer)


def test_send_fills_in_header() -> None:
    remote = ScriptedLink()
    with remote.kernel(session=Session(id="s1", username="ada")) as kernel:
        kernel.shell.on_next(ec.kernel_info_request())
    header = remote.last_request.header
    assert (header.session, header.username) == ("s1", "ada")
    assert header.date.endswith("Z")


def test_send_keeps_given_header_fields() -> None:
    remote, message = ScriptedLink(), ec.kernel_info_request()
    header = ec.Header(
        msg_id="m1",
        msg_type="kernel_info_request",
        session="s2",
        username="eve",
        date="today",
        version="5.3",
    )
    with remote.kernel() as kernel:
        kernel.shell.on_next(message.replace(header=header))
    assert remote.last_request.header == header


def test_send_of_invalid_message_raises() -> None:
    remote = ScriptedLink()
    with remote.kernel() as kernel:
        with pytest.raises(InvalidMessage, match=r"content\.code is missing"):
            kernel.shell.on_next(ec.create_message("execute_request", {}))
        kernel.shell.on_next(ec.kernel_info_request())
    assert len(remote.received[SHELL]) == 1


def test_send_on_wrong_channel_raises() -> None:
    with ScriptedLink().kernel() as kernel:
        with pytest.raises(InvalidMessage, match="input_reply must be sent on stdin, not on shell"):
            kernel.shell.on_next(ec.input_reply("Ada"))


def test_send_of_non_message_raises() -> None:
    with ScriptedLink().kernel() as kernel:
        for channel in (kernel.shell, kernel.main):
            with pytest.raises(
                InvalidMessage, match="on the shell channel must be a Message, not str"
            ):
                channel.on_next("6 * 7")  # type: ignore[arg-type]


def test_send_sets_channel_of_message() -> None:
    remote = ScriptedLink()
    with remote.kernel() as kernel:
        kernel.control.on_next(ec.kernel_info_request())
    (message,) = remote.received[ChannelName.CONTROL]
    assert message.channel is ChannelName.CONTROL


def test_send_on_iopub_raises() -> None:
    with ScriptedLink().kernel() as kernel:
        for channel in (kernel.iopub, kernel.main):
            with pytest.raises(ChannelReadOnly):
                channel.on_next(printed("woo"))


def test_send_raises_error_of_backend() -> None:
    remote = ScriptedLink()
    with remote.kernel() as kernel:
        remote.send_error = ConnectionLost("the link is down")
        with pytest.raises(ConnectionLost):
            kernel.shell.on_next(ec.kernel_info_request())
        remote.send_error = None
        kernel.shell.on_next(ec.kernel_info_request())
    assert len(remote.received[SHELL]) == 1


def test_send_on_closed_channel_raises() -> None:
    with ScriptedLink().kernel() as kernel:
        channels = (kernel.shell, kernel.control, kernel.stdin, kernel.main)
    for channel in channels:
        with pytest.raises(ChannelClosed, match=f"the {channel.name} channel is closed"):
            channel.on_next(ec.kernel_info_request())


def test_sent_message_is_not_echoed() -> None:
    seen: Collector[AnyMessage] = Collector()
    with ScriptedLink().kernel() as kernel:
        kernel.shell.subscribe(seen)
        kernel.main.subscribe(seen)
        kernel.shell.on_next(ec.kernel_info_request())
    assert seen.wait_for_end() == []


# Piped sources.


def test_piped_source_is_sent() -> None:
    remote = ScriptedLink()
    requests = [ec.execute_request("1"), ec.execute_request("2")]
    with remote.kernel() as kernel:
        reactivex.from_iterable(requests).subscribe(kernel.shell)
    assert [message.content["code"] for message in remote.received[SHELL]] == ["1", "2"]


def test_piped_completion_is_ignored() -> None:
    remote, seen = ScriptedLink(), Collector[AnyMessage]()
    with remote.kernel() as kernel:
        kernel.shell.subscribe(seen)
        reactivex.just(ec.kernel_info_request()).subscribe(kernel.shell)
        kernel.shell.on_next(ec.kernel_info_request())
        settle(kernel)
        assert not seen.ended
    assert len(remote.received[SHELL]) == 2


def test_piped_error_is_reported() -> None:
    remote, seen, errors = ScriptedLink(), Collector[AnyMessage](), Collector[EnchannelError]()
    wrong = ZeroDivisionError("oh")
    with remote.kernel() as kernel:
        kernel.errors.subscribe(errors)
        kernel.shell.subscribe(seen)
        reactivex.throw(wrong).subscribe(kernel.shell)
        kernel.shell.on_next(ec.kernel_info_request())
        settle(kernel)
        assert not seen.ended
    assert [error.__cause__ for error in errors.items] == [wrong]
    assert len(remote.received[SHELL]) == 1


# Receiving.


def test_deliveries_never_overlap() -> None:
    """A backend may emit on many threads at once."""
    remote, inside, overlaps = ScriptedLink(), threading.Lock(), []
    count = 0

    def on_next(_: AnyMessage) -> None:
        nonlocal count
        if not inside.acquire(blocking=False):
            overlaps.append(threading.current_thread())
            return
        count += 1
        inside.release()

    with remote.kernel() as kernel:
        for channel in (kernel.shell, kernel.control, kernel.iopub, kernel.main):
            channel.subscribe(on_next)
        start = threading.Barrier(6)

        def emit_on(channel: ChannelName) -> None:
            start.wait(DEADLINE)
            for _ in range(200):
                remote.send(ec.create_message("woo", channel=channel))

        emitters = [
            Thread(lambda name=name: emit_on(name))  # type: ignore[misc]
            for name in (SHELL, ChannelName.CONTROL, IOPUB) * 2
        ]
        for emitter in emitters:
            emitter.result()
    assert not overlaps
    assert count == 2 * 6 * 200


def test_channel_keeps_order() -> None:
    remote, seen = ScriptedLink(), Collector[AnyMessage]()
    with remote.kernel() as kernel:
        kernel.iopub.subscribe(seen)
        remote.send(*numbered(1000))
    assert texts(seen.wait_for_end()) == [str(number) for number in range(1000)]


def test_subscribers_run_on_delivery_thread() -> None:
    remote, seen = ScriptedLink(), Collector[AnyMessage]()
    with remote.kernel() as kernel:
        kernel.iopub.subscribe(seen)
        emitting_thread = Thread(lambda: remote.send(printed("woo")))
        emitting_thread.result()
        remote.send(printed("woo"))
    seen.wait_for_end()
    (thread,) = seen.threads
    assert thread not in (emitting_thread, threading.current_thread())
    assert thread.name.startswith("enchannel kernel")


def test_send_in_subscriber_keeps_order() -> None:
    """A plain Subject emits the answer to later subscribers before the message that it answers."""
    remote, first, second = ScriptedLink(), list[str](), Collector[AnyMessage]()
    remote.handler = lambda request: remote.send(reply_to(request))

    with remote.kernel() as kernel:

        def on_next(message: AnyMessage) -> None:
            first.append(message.header.msg_type)
            if message.header.msg_type == "question":
                kernel.shell.on_next(ec.kernel_info_request())
                first.append("sent")

        kernel.shell.subscribe(on_next)
        kernel.shell.subscribe(second)
        remote.send(ec.create_message("question"))
        second.wait_for_count(2)
    assert first == ["question", "sent", "kernel_info_reply"]
    assert [m.header.msg_type for m in second.items] == ["question", "kernel_info_reply"]


def test_slow_subscriber_does_not_delay_sending() -> None:
    remote, inside, go_on = ScriptedLink(), threading.Event(), threading.Event()

    def on_next(_: AnyMessage) -> None:
        inside.set()
        go_on.wait(DEADLINE)

    with remote.kernel() as kernel, ScriptedLink().kernel() as other:
        kernel.iopub.subscribe(on_next)
        remote.send(*numbered(3))  # does not wait for it
        assert inside.wait(DEADLINE)
        kernel.shell.on_next(ec.kernel_info_request())
        assert len(remote.received[SHELL]) == 1
        settle(other)
        go_on.set()


def test_raising_subscriber_ends_alone() -> None:
    remote, before, after = ScriptedLink(), Collector[AnyMessage](), Collector[AnyMessage]()
    raised = list[AnyMessage]()

    def on_next(message: AnyMessage) -> None:
        raised.append(message)
        raise ZeroDivisionError("oh")

    with remote.kernel() as kernel:
        kernel.errors.subscribe(lambda _: None)
        kernel.iopub.subscribe(before)
        kernel.iopub.subscribe(on_next)
        kernel.iopub.subscribe(after)
        remote.send(*numbered(3))
    assert texts(before.wait_for_end()) == texts(after.wait_for_end()) == ["0", "1", "2"]
    assert texts(raised) == ["0"]


def test_raising_subscriber_is_reported_with_item() -> None:
    remote, errors, wrong = ScriptedLink(), Collector[EnchannelError](), ZeroDivisionError("oh")
    item = printed("woo")
    with remote.kernel() as kernel:
        kernel.errors.subscribe(errors)
        kernel.iopub.subscribe(raising(wrong))
        remote.send(item)
    (error,) = errors.wait_for_end()
    assert isinstance(error, SubscriberRaised)
    assert error.__cause__ is wrong
    assert error.item is item
    assert "a subscriber of the iopub channel raised ZeroDivisionError: oh" in str(error)


def test_raising_subscriber_gets_on_error() -> None:
    remote, observer_errors = ScriptedLink(), Collector[AnyMessage]()
    with remote.kernel() as kernel:
        kernel.errors.subscribe(lambda _: None)
        kernel.iopub.subscribe(raising(ZeroDivisionError()), observer_errors.on_error)
        remote.send(printed("woo"))
        assert isinstance(observer_errors.wait_for_error(), SubscriberRaised)


def test_raising_operator_ends_wait() -> None:
    def raising_operator(source: Observable[AnyMessage]) -> Observable[AnyMessage]:
        def subscribe(
            observer: abc.ObserverBase[AnyMessage], scheduler: abc.SchedulerBase | None = None
        ) -> abc.DisposableBase:
            return source.subscribe(
                raising(ZeroDivisionError()), observer.on_error, observer.on_completed
            )

        return Observable(subscribe)

    remote = ScriptedLink()
    with remote.kernel() as kernel:
        kernel.errors.subscribe(lambda _: None)
        remote.handler = lambda request: remote.send(*answered(request))
        with pytest.raises(SubscriberRaised):
            in_thread(lambda: ec.wait(kernel.execute("6 * 7").pipe(raising_operator)))


def test_subscriber_raising_systemexit_ends_alone() -> None:
    """``except Exception`` does not catch it, and other subscribers must still be called."""
    remote, seen, errors = ScriptedLink(), Collector[AnyMessage](), Collector[EnchannelError]()
    with remote.kernel() as kernel:
        kernel.errors.subscribe(errors)
        kernel.iopub.subscribe(lambda _: sys.exit(3))
        kernel.iopub.subscribe(seen)
        remote.send(*numbered(2))
        seen.wait_for_count(2)
    (error,) = errors.wait_for_end()
    assert isinstance(error.__cause__, SystemExit)


def test_unhandled_error_is_reported_once() -> None:
    """reactivex raises such an error at the producer."""
    remote, errors, lost = ScriptedLink(), Collector[EnchannelError](), ConnectionLost("for good")
    with remote.kernel() as kernel:
        kernel.errors.subscribe(errors)
        kernel.iopub.subscribe(lambda _: None)
        remote.end_channel(IOPUB, lost)
        assert errors.wait_for_count(1) == [lost]


def test_raising_on_error_is_reported() -> None:
    remote, errors, wrong = ScriptedLink(), Collector[EnchannelError](), ZeroDivisionError()
    with remote.kernel() as kernel:
        kernel.errors.subscribe(errors)
        kernel.iopub.subscribe(on_error=raising(wrong))
        remote.end_channel(IOPUB, ConnectionLost("for good"))
        (error,) = errors.wait_for_count(1)
    assert error.__cause__ is wrong


def test_raising_on_completed_is_reported() -> None:
    remote, errors, seen = ScriptedLink(), Collector[EnchannelError](), Collector[AnyMessage]()
    with remote.kernel() as kernel:
        kernel.errors.subscribe(errors)
        kernel.iopub.subscribe(on_completed=lambda: raising(ZeroDivisionError())(None))
        kernel.iopub.subscribe(seen)
        remote.end_channel(IOPUB)
        (error,) = errors.wait_for_count(1)
        seen.wait_for_end()
    assert isinstance(error.__cause__, ZeroDivisionError)


def test_subscriber_that_disposes_gets_no_more() -> None:
    remote, seen, subscriptions = ScriptedLink(), list[AnyMessage](), list[abc.DisposableBase]()
    subscribed = threading.Event()

    def on_next(message: AnyMessage) -> None:
        subscribed.wait(DEADLINE)
        seen.append(message)
        if len(seen) == 2:
            subscriptions[0].dispose()

    with remote.kernel() as kernel:
        subscriptions.append(kernel.iopub.subscribe(on_next))
        remote.send(*numbered(5))
        subscribed.set()
        settle(kernel)
        assert kernel.iopub.observer_count == 0
    assert texts(seen) == ["0", "1"]


def test_dispose_drops_queued_items() -> None:
    remote, seen, inside, go_on = (
        ScriptedLink(),
        list[AnyMessage](),
        threading.Event(),
        threading.Event(),
    )

    def on_next(message: AnyMessage) -> None:
        seen.append(message)
        inside.set()
        go_on.wait(DEADLINE)

    with remote.kernel() as kernel:
        subscription = kernel.iopub.subscribe(on_next)
        remote.send(*numbered(5))
        assert inside.wait(DEADLINE)
        subscription.dispose()
        go_on.set()
    assert texts(seen) == ["0"]


# Termination.


def test_late_subscriber_gets_completion() -> None:
    with ScriptedLink().kernel() as kernel:
        pass
    seen: Collector[AnyMessage] = Collector()
    kernel.iopub.subscribe(seen)
    assert seen.wait_for_end() == []
    assert seen.completed


def test_late_subscriber_after_others_completes() -> None:
    with ScriptedLink().kernel() as kernel:
        kernel.iopub.subscribe(Collector())
    for _ in range(3):
        seen: Collector[str] = Collector()
        kernel.iopub.pipe(ops.map(str)).subscribe(seen)
        assert seen.wait_for_end() == []


def test_late_subscriber_gets_error() -> None:
    remote, died = ScriptedLink(), KernelDied("for good")
    with remote.kernel() as kernel:
        remote.fail(died)
        for channel in (kernel.shell, kernel.iopub, kernel.main):
            seen: Collector[AnyMessage] = Collector()
            channel.subscribe(seen)
            assert seen.wait_for_error() is died


def test_incoming_end_terminates_channel() -> None:
    remote, seen = ScriptedLink(), Collector[AnyMessage]()
    with remote.kernel() as kernel:
        kernel.iopub.subscribe(seen)
        remote.send(printed("woo"))
        remote.end_channel(IOPUB)
        assert texts(seen.wait_for_end()) == ["woo"]
        assert not remote.closed


def test_repr_shows_closed() -> None:
    with ScriptedLink().kernel() as kernel:
        assert repr(kernel.shell) == "<Channel shell>"
    assert repr(kernel.shell) == "<Channel shell (closed)>"


# Event loops.


@pytest.mark.parametrize("scheduler", [AsyncIOScheduler, AsyncIOThreadSafeScheduler])
def test_loop_scheduler_delivers_on_loop(
    scheduler: type[AsyncIOScheduler],
) -> None:
    remote = ScriptedLink()
    seen: Collector[AnyMessage] = Collector()

    async def main() -> None:
        ended = asyncio.Event()
        async with remote.kernel() as kernel:
            kernel.iopub.subscribe(
                seen.on_next,
                seen.on_error,
                ended.set,
                scheduler=scheduler(asyncio.get_running_loop()),
            )
            await asyncio.to_thread(remote.send, *numbered(20_000))
        await ended.wait()

    run_on_loop(main)
    assert texts(seen.items) == [str(number) for number in range(20_000)]
    assert seen.threads == {threading.current_thread()}


def test_loop_stays_responsive_in_flood() -> None:
    remote, order = ScriptedLink(), list[str]()

    async def main() -> None:
        async with remote.kernel() as kernel:
            kernel.iopub.subscribe(
                lambda message: order.append(message.content["text"]),
                scheduler=AsyncIOScheduler(asyncio.get_running_loop()),
            )
            remote.send(*numbered(1000))
            asyncio.get_running_loop().call_soon(order.append, "other")
        while len(order) < 1001:
            await asyncio.sleep(0)

    run_on_loop(main)
    assert 0 < order.index("other") < 1000


def test_loop_scheduler_passes_operators() -> None:
    remote, seen = ScriptedLink(), Collector[str]()

    async def main() -> None:
        async with remote.kernel() as kernel:
            kernel.iopub.pipe(ec.of_message_type("stream"), ops.map(text_of)).subscribe(
                seen, scheduler=AsyncIOScheduler(asyncio.get_running_loop())
            )
            await asyncio.to_thread(remote.send, *numbered(3))
        while not seen.completed:
            await asyncio.sleep(0)

    run_on_loop(main)
    assert seen.items == ["0", "1", "2"]
    assert seen.threads == {threading.current_thread()}


def test_raising_subscriber_on_loop_is_reported() -> None:
    remote, errors, other = ScriptedLink(), Collector[EnchannelError](), Collector[AnyMessage]()

    async def main() -> None:
        async with remote.kernel() as kernel:
            kernel.errors.subscribe(errors)
            scheduler = AsyncIOScheduler(asyncio.get_running_loop())
            kernel.iopub.subscribe(raising(ZeroDivisionError("oh")), scheduler=scheduler)
            kernel.iopub.subscribe(other, scheduler=scheduler)
            remote.send(*numbered(2))
            while len(other.items) < 2:
                await asyncio.sleep(0)

    run_on_loop(main)
    assert [type(error) for error in errors.wait_for_end()] == [SubscriberRaised]
    assert texts(other.items) == ["0", "1"]


def test_closed_loop_ends_subscription() -> None:
    remote, seen, other = ScriptedLink(), Collector[AnyMessage](), Collector[AnyMessage]()
    loop = asyncio.new_event_loop()
    with remote.kernel() as kernel:
        kernel.iopub.subscribe(seen, scheduler=AsyncIOScheduler(loop))
        kernel.iopub.subscribe(other)
        loop.close()
        remote.send(*numbered(3))
        assert kernel.iopub.observer_count == 1
    assert texts(other.wait_for_end()) == ["0", "1", "2"]
    assert seen.items == []


def test_loop_closed_during_batch_is_noticed() -> None:
    """Items for a closed loop must not accumulate."""
    remote, seen = ScriptedLink(), Collector[AnyMessage]()
    loop = asyncio.new_event_loop()
    with remote.kernel() as kernel:
        kernel.iopub.subscribe(seen, scheduler=AsyncIOScheduler(loop))
        remote.send(printed("scheduled"))
        loop.close()
        remote.send(printed("too late"))
        assert kernel.iopub.observer_count == 0
    assert seen.items == []


def test_event_loop_scheduler_delivers_there() -> None:
    remote, seen = ScriptedLink(), Collector[AnyMessage]()
    threads = list[threading.Thread]()

    def own_thread(target: Callable[[], None]) -> threading.Thread:
        threads.append(threading.Thread(target=target, daemon=True))
        return threads[0]

    scheduler = EventLoopScheduler(own_thread)
    with remote.kernel() as kernel:
        kernel.iopub.subscribe(seen, scheduler=scheduler)
        remote.send(*numbered(1000))
    assert texts(seen.wait_for_end()) == [str(number) for number in range(1000)]
    assert seen.threads == set(threads)
    scheduler.dispose()


def test_disposed_scheduler_ends_subscription() -> None:
    remote, seen, other = ScriptedLink(), Collector[AnyMessage](), Collector[AnyMessage]()
    scheduler = EventLoopScheduler()
    with remote.kernel() as kernel:
        kernel.iopub.subscribe(seen, scheduler=scheduler)
        kernel.iopub.subscribe(other)
        scheduler.dispose()
        remote.send(*numbered(2))
        assert kernel.iopub.observer_count == 1
    assert texts(other.wait_for_end()) == ["0", "1"]
    assert seen.items == []


@pytest.mark.parametrize("scheduler", [ImmediateScheduler(), NewThreadScheduler()])
def test_other_schedulers_do_not_move_delivery(scheduler: abc.SchedulerBase) -> None:
    """reactivex passes on schedulers that are meant for another operator."""
    remote, seen = ScriptedLink(), Collector[AnyMessage]()
    with remote.kernel() as kernel:
        kernel.iopub.subscribe(seen, scheduler=scheduler)
        remote.send(printed("woo"))
    seen.wait_for_end()
    assert [thread.name[:16] for thread in seen.threads] == ["enchannel kernel"]


# The main channel.


def test_main_receives_all_channels() -> None:
    remote, seen = ScriptedLink(), Collector[AnyMessage]()
    messages = [
        ec.create_message("woo", channel=name)
        for name in (IOPUB, SHELL, ChannelName.STDIN, ChannelName.CONTROL)
    ]
    with remote.kernel() as kernel:
        kernel.main.subscribe(seen)
        remote.send(*messages)
    assert seen.wait_for_end() == messages


def test_main_sends_on_channel_of_message() -> None:
    remote = ScriptedLink()
    with remote.kernel() as kernel:
        kernel.main.on_next(ec.execute_request("6 * 7"))
        kernel.main.on_next(ec.interrupt_request())
        kernel.main.on_next(ec.input_reply("Ada"))
    assert {name: [m.header.msg_type for m in sent] for name, sent in remote.received.items()} == {
        SHELL: ["execute_request"],
        ChannelName.CONTROL: ["interrupt_request"],
        ChannelName.STDIN: ["input_reply"],
        IOPUB: [],
    }


def test_main_names_unsupported_channel() -> None:
    with ScriptedLink(SHELL, IOPUB).kernel() as kernel:
        with pytest.raises(NotSupported, match="does not support the control channel"):
            kernel.main.on_next(ec.interrupt_request())


def test_main_leaves_messages_on_channels() -> None:
    remote, on_main, on_iopub = ScriptedLink(), Collector[AnyMessage](), Collector[AnyMessage]()
    with remote.kernel() as kernel:
        kernel.main.subscribe(on_main)
        kernel.iopub.subscribe(on_iopub)
        remote.send(printed("woo"))
    assert texts(on_main.wait_for_end()) == texts(on_iopub.wait_for_end()) == ["woo"]


# Disposing.


@pytest.mark.parametrize("name", ["shell", "iopub", "main"])
def test_channel_dispose_keeps_requests(name: str) -> None:
    remote, seen, answer = ScriptedLink(), Collector[AnyMessage](), Collector[AnyMessage]()
    with remote.kernel() as kernel:
        channel: Channel = getattr(kernel, name)
        kernel.execute("6 * 7").subscribe(answer)
        channel.subscribe(seen)
        channel.pipe(ec.child_of(remote.last_request)).subscribe(seen)
        channel.dispose()
        remote.send(*answered(remote.last_request))
        assert [m.header.msg_type for m in answer.wait_for_end()] == [
            "status",
            "status",
            "execute_reply",
        ]
    assert seen.items == []


def test_disposed_channel_stays_usable() -> None:
    remote, seen = ScriptedLink(), Collector[AnyMessage]()
    with remote.kernel() as kernel:
        kernel.shell.dispose()
        kernel.shell.subscribe(seen)
        kernel.shell.on_next(ec.kernel_info_request())
        remote.send(reply_to(remote.last_request))
        seen.wait_for_count(1)


# Children.


@pytest.mark.parametrize("of", [lambda m: m, lambda m: m.header, lambda m: m.header.msg_id])
def test_child_of_accepts_message_header_id(
    of: Callable[[AnyMessage], AnyMessage],
) -> None:
    remote, seen, request = ScriptedLink(), Collector[AnyMessage](), ec.execute_request("6 * 7")
    with remote.kernel() as kernel:
        kernel.iopub.pipe(ec.child_of(of(request))).subscribe(seen)
        remote.send(printed("other"), printed("mine", request))
    assert texts(seen.wait_for_end()) == ["mine"]


def test_child_of_thousand_parents() -> None:
    remote, watchers = ScriptedLink(), list[tuple[AnyMessage, Collector[AnyMessage]]]()
    with remote.kernel() as kernel:
        for number in range(1000):
            request, seen = ec.execute_request(str(number)), Collector[AnyMessage]()
            kernel.iopub.pipe(ec.child_of(request)).subscribe(seen)
            watchers.append((request, seen))
        for text in ("a", "b"):
            remote.send(
                *(printed(text + request.content["code"], request) for request, _ in watchers)
            )
    for request, seen in watchers:
        code = request.content["code"]
        assert texts(seen.wait_for_end()) == ["a" + code, "b" + code]


def test_child_of_channel_uses_index() -> None:
    """The cost of a message does not grow with the number of other watchers."""
    remote, looked_up = ScriptedLink(), list[str]()

    class Sink(Collector[AnyMessage]):
        def __init__(self, parent: str) -> None:
            super().__init__()
            self.parent = parent

        def on_next(self, value: AnyMessage) -> None:
            looked_up.append(self.parent)

        def call(self, function: Callable[[], None]) -> None: ...

    requests = [ec.execute_request(str(number)) for number in range(1000)]
    with remote.kernel() as kernel:
        for request in requests:
            kernel.iopub._attach_child(request.header.msg_id, Sink(request.header.msg_id))
        remote.send(printed("woo", requests[500]))
    assert looked_up == [requests[500].header.msg_id]


def test_child_of_after_operator_filters() -> None:
    remote, seen, request = ScriptedLink(), Collector[AnyMessage](), ec.execute_request("6 * 7")
    with remote.kernel() as kernel:
        kernel.iopub.pipe(ops.filter(is_stream), ec.child_of(request)).subscribe(seen)
        remote.send(printed("other"), *answered(request, printed("mine", request)))
    assert texts(seen.wait_for_end()) == ["mine"]


def test_child_of_filters_any_observable() -> None:
    seen, request = Collector[AnyMessage](), ec.execute_request("6 * 7")
    messages = [printed("other"), printed("mine", request)]
    reactivex.from_iterable(messages).pipe(ec.child_of(request)).subscribe(seen)
    assert texts(seen.items) == ["mine"]
    assert seen.completed


def test_child_of_same_parent_is_independent() -> None:
    remote, seen, request = ScriptedLink(), Collector[AnyMessage](), ec.execute_request("6 * 7")
    with remote.kernel() as kernel:
        children = kernel.iopub.pipe(ec.child_of(request))
        disposed = children.subscribe(Collector())
        children.subscribe(seen)
        disposed.dispose()
        remote.send(printed("mine", request))
    assert texts(seen.wait_for_end()) == ["mine"]


def test_child_index_is_empty_after_dispose() -> None:
    with ScriptedLink().kernel() as kernel:
        for _ in range(100):
            request = ec.execute_request("6 * 7")
            kernel.iopub.pipe(ec.child_of(request)).subscribe(Collector()).dispose()
        assert kernel.iopub.observer_count == 0
        assert kernel.iopub._fanout.by_key == {}


def test_late_child_of_gets_error() -> None:
    remote, died, seen = ScriptedLink(), KernelDied("for good"), Collector[AnyMessage]()
    with remote.kernel() as kernel:
        children = kernel.iopub.pipe(ec.child_of("m1"))
        watching = Collector[AnyMessage]()
        children.subscribe(watching)
        remote.fail(died)
        children.subscribe(seen)
        assert watching.wait_for_error() is seen.wait_for_error() is died


def test_concurrent_subscribe_and_dispose() -> None:
    remote, seen = ScriptedLink(), Collector[AnyMessage]()
    with remote.kernel() as kernel:

        def subscribe_and_dispose() -> None:
            for number in range(200):
                kernel.iopub.subscribe(Collector()).dispose()
                kernel.iopub.pipe(ec.child_of(str(number % 3))).subscribe(Collector()).dispose()

        threads = [Thread(subscribe_and_dispose) for _ in range(4)]
        kernel.iopub.subscribe(seen)
        for thread in threads:
            thread.result()
        assert kernel.iopub.observer_count == 1
        in_thread(lambda: remote.send(printed("woo")))
    assert texts(seen.wait_for_end()) == ["woo"]
