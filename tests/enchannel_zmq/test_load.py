"""Load: bursts, floods, and many kernels at the same time."""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from threading import Event

import pytest
from reactivex import operators as ops

import enchannel as ec
from enchannel import ChannelName
from enchannel.testing import Collector
from enchannel_zmq._channel_socket import ChannelSocket
from enchannel_zmq._io_thread import io_thread
from tests.rigs import DEADLINE
from tests.rigs.frames import KEY, parts, signed
from tests.rigs.threads import Thread
from tests.rigs.wire_kernel import CLIENT, WireKernel

BURST_MESSAGES = 10_000


def test_burst_is_sent_complete_and_in_order() -> None:
    with WireKernel() as wire, ec.connect(wire.info, timeout=DEADLINE) as kernel:
        wire.handlers.clear()
        sent = [ec.kernel_info_request(channel="control") for _ in range(BURST_MESSAGES)]
        for message in sent:
            kernel.control.on_next(message)
        received = [wire.next_request("kernel_info_request").header["msg_id"] for _ in sent]
        assert received == [message.header.msg_id for message in sent]


def flood(count: int) -> list[list[bytes]]:
    return [
        [b"stream", *signed(KEY, *parts("stream", {"name": "stdout", "text": str(number)}))]
        for number in range(count)
    ]


def test_flood_arrives_complete_and_in_order() -> None:
    with WireKernel() as wire, ec.connect(wire.info, timeout=DEADLINE) as kernel:
        seen = Collector(kernel.iopub.pipe(ec.of_message_type("stream")))
        wire.send_frames(ChannelName.IOPUB, *flood(BURST_MESSAGES))
        seen.wait_until(lambda messages: len(messages) == BURST_MESSAGES)
        assert [m.content["text"] for m in seen.items] == [str(n) for n in range(BURST_MESSAGES)]


def test_flooding_kernel_delays_no_other() -> None:
    with ExitStack() as stack:
        wires = [stack.enter_context(WireKernel()) for _ in range(20)]
        flooding, *quiet = (
            stack.enter_context(ec.connect(wire.info, timeout=DEADLINE)) for wire in wires
        )
        read_on = Event()
        stack.callback(read_on.set)

        def pause(_: ec.AnyMessage) -> None:
            read_on.wait(DEADLINE)

        paused = flooding.iopub.pipe(ec.of_message_type("stream"), ops.do_action(pause))
        streams = Collector(paused)
        wires[0].send_frames(ChannelName.IOPUB, *flood(BURST_MESSAGES))
        for kernel in quiet:
            assert kernel.run("1", timeout=DEADLINE).status == "ok"
        assert streams.items == []
        read_on.set()
        streams.wait_until(lambda messages: len(messages) == BURST_MESSAGES)
        assert [m.content["text"] for m in streams.items] == [str(n) for n in range(BURST_MESSAGES)]


KEEPALIVE_TIMEOUT = 1.0


def wait_for_io_thread() -> None:
    """Wait until the I/O thread has made all posted calls."""
    assert io_thread.current is not None
    for _ in range(2):
        assert io_thread.current.call(lambda: None, DEADLINE)


@contextmanager
def not_reading(wire: WireKernel) -> Iterator[None]:
    """Keep the kernel from reading during the block."""
    begun, go_on = Event(), Event()

    def busy() -> None:
        begun.set()
        go_on.wait(DEADLINE)

    thread = Thread(lambda: wire.call(busy))
    assert begun.wait(DEADLINE)
    try:
        yield
    finally:
        go_on.set()
        thread.result()


def test_messages_unread_beyond_keepalive_arrive() -> None:
    with (
        WireKernel(rcvhwm=1) as wire,
        ec.connect(wire.info, timeout=DEADLINE, keepalive_timeout=KEEPALIVE_TIMEOUT) as kernel,
    ):
        lost = Event()
        kernel.link_state.subscribe(
            lambda state: lost.set() if state is ec.LinkState.LOST else None
        )
        sent = [ec.comm_msg("c", {"text": "x" * 10_000}) for _ in range(3_000)]
        with not_reading(wire):
            for message in sent:
                kernel.shell.on_next(message)
            assert not lost.wait(3 * KEEPALIVE_TIMEOUT)
            assert kernel.shell.unsent > 0
        received = [wire.next_request("comm_msg").header["msg_id"] for _ in sent]
        assert received == [message.header.msg_id for message in sent]


def test_full_send_queue_hides_no_reply(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    full, replied, read = Event(), Event(), Event()
    attempt = ChannelSocket._try_send

    def trying(socket: ChannelSocket, frames: Sequence[bytes | memoryview]) -> bool:
        tried = attempt(socket, frames)
        if tried or socket.name is not ChannelName.SHELL or full.is_set():
            return tried
        full.set()  # from here on a single reply is the socket's only event
        assert replied.wait(DEADLINE)
        # Until the reply has arrived. Checking for it would consume the event.
        Event().wait(0.2)
        return attempt(socket, frames)

    with (
        WireKernel(rcvhwm=1) as wire,
        ec.connect(
            wire.info, session=CLIENT, timeout=DEADLINE, keepalive_timeout=DEADLINE
        ) as kernel,
    ):
        replies = Collector(kernel.shell)
        kernel.shell.on_next(ec.kernel_info_request())
        replies.wait_until(len)
        monkeypatch.setattr(ChannelSocket, "_try_send", trying)

        def busy() -> None:
            assert full.wait(DEADLINE)
            wire.send(ChannelName.SHELL, "execute_reply", {"status": "ok"})
            replied.set()
            read.wait(DEADLINE)

        thread = Thread(lambda: wire.call(busy))
        try:
            # One by one, because a successful send rechecks the socket.
            while not full.is_set():
                kernel.shell.on_next(ec.comm_msg("c", {"text": "x" * 100_000}))
                wait_for_io_thread()
            replies.wait_until(lambda messages: len(messages) == 2)
        finally:
            read.set()
        thread.result()


def test_descriptor_check_counts_all_in_use() -> None:
    if sys.platform == "win32":
        pytest.skip("there is no limit of descriptors on Windows")
    import resource

    _, most = limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    with WireKernel() as wire, ExitStack() as stack:
        opened = [os.open(os.devnull, os.O_RDONLY) for _ in range(50)]
        for descriptor in opened[1:]:
            stack.callback(os.close, descriptor)
        os.close(opened[0])  # leaves a free number far below the others
        stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, limits)
        resource.setrlimit(resource.RLIMIT_NOFILE, (opened[-1] + 10, most))
        with pytest.raises(ec.ConnectionFailed, match="file descriptors are in use"):
            ec.connect(wire.info, timeout=DEADLINE)
