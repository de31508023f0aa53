"""Much at once: bursts, floods, and many kernels beside each other."""

from contextlib import ExitStack
from threading import Event

from reactivex import operators as ops

import enchannel as ec
from enchannel import ChannelName
from tests.rigs import DEADLINE
from tests.rigs.frames import KEY, parts, signed
from tests.rigs.watch import Seen
from tests.rigs.wire_kernel import WireKernel

BURST = 10_000


def test_a_burst_is_sent_whole_and_in_order() -> None:
    with WireKernel() as wire, ec.connect(wire.info, timeout=DEADLINE) as kernel:
        wire.answers.clear()
        said = [ec.kernel_info_request(channel="control") for _ in range(BURST)]
        for message in said:
            kernel.control.on_next(message)
        heard = [wire.next_request("kernel_info_request").header["msg_id"] for _ in said]
        assert heard == [message.header.msg_id for message in said]


def flood(count: int) -> list[list[bytes]]:
    return [
        [b"stream", *signed(KEY, *parts("stream", {"name": "stdout", "text": str(number)}))]
        for number in range(count)
    ]


def test_a_flood_arrives_whole_and_in_order() -> None:
    with WireKernel() as wire, ec.connect(wire.info, timeout=DEADLINE) as kernel:
        seen = Seen(kernel.iopub.pipe(ec.of_message_type("stream")))
        wire.send(ChannelName.IOPUB, *flood(BURST))
        seen.until(lambda messages: len(messages) == BURST)
        assert [m.content["text"] for m in seen.items] == [str(n) for n in range(BURST)]


def test_a_kernel_that_floods_keeps_no_other_waiting() -> None:
    with ExitStack() as stack:
        wires = [stack.enter_context(WireKernel()) for _ in range(20)]
        loud, *quiet = (
            stack.enter_context(ec.connect(wire.info, timeout=DEADLINE)) for wire in wires
        )
        read_on = Event()
        stack.callback(read_on.set)

        def pause(_: ec.AnyMessage) -> None:
            read_on.wait(DEADLINE)

        said = loud.iopub.pipe(ec.of_message_type("stream"), ops.do_action(pause))
        streams = Seen(said)
        wires[0].send(ChannelName.IOPUB, *flood(BURST))
        for kernel in quiet:
            assert kernel.run("1", timeout=DEADLINE).status == "ok"
        assert streams.items == []
        read_on.set()
        streams.until(lambda messages: len(messages) == BURST)
        assert [m.content["text"] for m in streams.items] == [str(n) for n in range(BURST)]
