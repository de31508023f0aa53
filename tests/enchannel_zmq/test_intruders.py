"""Whatever comes, from whomever: it is a message that can be trusted, or it is told of and dropped.

What is unsigned, wrongly signed, seen before or cut short is in ``test_hostile_frames.py``.
"""

import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain

import psutil
import pytest

import enchannel as ec
from enchannel import ChannelName
from enchannel import messages as build
from enchannel.errors import RejectedFrame
from enchannel.testing import Collector
from enchannel.wire import websocket
from enchannel.wire.receiving import Receiver
from enchannel.wire.signing import Signer
from enchannel.wire.zmq import Decoder, encode
from tests.rigs import DEADLINE
from tests.rigs.frames import DELIMITER, KEY, parts, signature, signed
from tests.rigs.mutator import Mutator
from tests.rigs.wire_kernel import CLIENT, WireKernel
from tests.rigs.zmtp import RawPublisher, claim, encoded

MEBIBYTE, GIBIBYTE = 1 << 20, 1 << 30
MUTATIONS = 100_000
BATCH = 1_000
SEED = 20_261_122


def resident() -> int:
    """Bytes of memory that this process has."""
    size: int = psutil.Process().memory_info().rss
    return size


# Damaged frames, through every decoder.


def said() -> list[ec.AnyMessage]:
    """Messages of all sorts: what is damaged is like what a kernel says."""
    parent = ec.execute_request("6 * 7")
    figure = {"image/png": "iVBORw0KGgo=" * 30, "text/plain": "<Figure>"}
    made = [
        build.status("busy", parent=parent),
        build.stream("stdout", "wörds\n" * 9, parent=parent),
        build.display_data(figure, metadata={"image/png": {"width": 1.5}}, parent=parent),
        build.execute_reply(1, parent=parent),
        build.error("ZeroDivisionError", "division by zero", ["\x1b[31mhere"], parent=parent),
        ec.comm_msg("a-comm", {"state": {"value": 2**60, "nested": [1, [2, {"deep": None}]]}}),
        build.status("idle", parent=parent),
    ]
    return [
        message.replace(buffers=[b"\0" * n for n in range(number % 3)])
        for number, message in enumerate(made)
    ]


def damaged_multiparts(key: bytes) -> Iterator[list[bytes]]:
    """Half of them signed again after it: by a kernel that is out of its mind."""
    mutator, signer = Mutator(SEED + len(key)), Signer(KEY)
    good = [[b"topic", *map(bytes, encode(message, signer))] for message in said()]
    for number in range(MUTATIONS // 2):
        frames = mutator.frames(good[number % 7], good[number % 5])
        if mutator.chance() and len(frames) > 6 and frames[1] == DELIMITER:
            frames[2] = signature(KEY, frames[3:7])
        yield frames


def damaged_pieces() -> Iterator[bytes]:
    mutator = Mutator(SEED)
    good = [websocket.encode(message) for message in said()]
    for number in range(MUTATIONS):
        yield mutator.damaged(good[number % 7], good[number % 5])


def by_decoder(key: bytes) -> Iterator[object]:
    decoder = Decoder(ChannelName.IOPUB, Signer(key))
    for frames in damaged_multiparts(key):
        try:
            yield decoder.decode(frames)
        except RejectedFrame as error:
            yield error


class Nothing(Exception):
    """There is no frame."""


class Frame:
    """As pyzmq's."""

    def __init__(self, data: bytes, more: bool) -> None:
        self.bytes, self.more = data, more
        self.buffer = memoryview(data)

    def __len__(self) -> int:
        return len(self.bytes)


class Queue:
    """What a socket has received."""

    def __init__(self) -> None:
        self._frames: list[Frame] = []
        self._last_goes_on = False

    def put(self, multiparts: Iterable[Sequence[bytes]]) -> None:
        frames = [Frame(f, n < len(m)) for m in multiparts for n, f in enumerate(m, 1)]
        self._frames = frames[::-1]

    def receive(self, as_bytes: bool) -> object:
        if not self._frames:
            raise Nothing
        frame = self._frames.pop()
        self._last_goes_on = frame.more
        return frame.bytes if as_bytes else frame

    def goes_on(self) -> bool:
        return self._last_goes_on


def by_receiver(key: bytes) -> Iterator[object]:
    queue = Queue()
    receiver = Receiver(ChannelName.IOPUB, Signer(key), queue.receive, Nothing, queue.goes_on)
    damaged = damaged_multiparts(key)
    while batch := [frames for frames, _ in zip(damaged, range(BATCH), strict=False)]:
        queue.put(batch)
        drained = False
        while not drained:
            messages, drained = receiver.messages()
            yield from messages


def by_websocket() -> Iterator[object]:
    for piece in damaged_pieces():
        try:
            yield websocket.decode(piece)
        except RejectedFrame as error:
            yield error


DECODERS: dict[str, Callable[[], Iterator[object]]] = {
    "the plain words": lambda: chain(by_decoder(KEY), by_decoder(b"")),
    "the hot path": lambda: chain(by_receiver(KEY), by_receiver(b"")),
    "websocket": by_websocket,
}


@pytest.mark.timeout(6 * DEADLINE)  # it is work, and no wait: on a busy machine it takes its time
@pytest.mark.parametrize("decoder", DECODERS)
def test_damaged_frames_decode_or_are_rejected(decoder: str) -> None:
    before, counts = resident(), Counter[str]()
    for read in DECODERS[decoder]():
        assert isinstance(read, ec.Message | RejectedFrame)
        counts["message" if isinstance(read, ec.Message) else "rejected"] += 1
    assert counts["message"] > MUTATIONS / 100, counts
    assert counts["rejected"] > MUTATIONS / 100, counts
    assert resident() - before < 100 * MEBIBYTE


# Bombs, over a real socket.

BOMBS: dict[str, Callable[[], bytes]] = {
    "deep": lambda: b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "deep lists": lambda: b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "a long number": lambda: b'{"a": ' + b"9" * 1_000_000 + b"}",
    "a long fraction": lambda: b'{"a": 0.' + b"9" * 1_000_000 + b"}",
    "a huge exponent": lambda: b'{"a": 1e' + b"9" * 1_000_000 + b"}",
    "many huge exponents": lambda: b'{"a": [' + b"1e999999999," * 100_000 + b"1]}",
    "many keys": lambda: json.dumps(dict.fromkeys(map(str, range(1_000_000)))).encode(),
    "one key again and again": lambda: b'{"a":1' + b',"a":1' * 1_000_000 + b"}",
}


@pytest.mark.parametrize("kind", BOMBS)
def test_message_after_json_bomb_arrives(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    with (
        WireKernel(transport="ipc") as wire,
        ec.connect(wire.info, session=CLIENT, timeout=DEADLINE) as kernel,
    ):
        errors, streams = (
            Collector(kernel.errors),
            Collector(kernel.iopub.pipe(ec.of_message_type("stream"))),
        )
        before, began = resident(), time.monotonic()
        bomb = signed(KEY, *parts("bomb")[:3], BOMBS[kind]())
        wire.send(ChannelName.IOPUB, bomb, signed(KEY, *parts("stream", {"text": "after it"})))
        streams.wait_for(lambda message: message.content["text"] == "after it")
        assert time.monotonic() - began < DEADLINE
        assert resident() - before < 400 * MEBIBYTE
        assert all(isinstance(error, ec.MalformedFrame) for error in errors.items)
        assert "unexpected" not in caplog.text
        assert kernel.link.value is ec.LinkState.CONNECTED


# Lengths that are claimed, on the bare stream of ZMTP.


@pytest.mark.parametrize(
    ("size", "limit"),
    [
        (GIBIBYTE, GIBIBYTE),  # allowed, and never sent
        (GIBIBYTE + 1, GIBIBYTE),
        (GIBIBYTE, MEBIBYTE),
        ((1 << 63) - 1, GIBIBYTE),
        ((1 << 64) - 1, GIBIBYTE),
    ],
)
def test_claimed_frame_length_takes_no_memory(size: int, limit: int) -> None:
    hello = signed(KEY, *parts("status", {"execution_state": "idle"}))
    with (
        WireKernel(absent=[ChannelName.IOPUB]) as wire,
        RawPublisher(wire.info["iopub_port"], hello) as publisher,
        ec.connect(wire.info, timeout=DEADLINE, max_received=limit) as kernel,
    ):
        errors, streams = (
            Collector(kernel.errors),
            Collector(kernel.iopub.pipe(ec.of_message_type("stream"))),
        )
        before = resident()
        subscriber = publisher.subscribers.get(timeout=DEADLINE)
        subscriber.sendall(claim(size) + b"x" * 10_000)
        assert resident() - before < 64 * MEBIBYTE
        if size <= limit:
            subscriber.close()
        errors.wait_for(lambda error: isinstance(error, ec.MessagesMayBeMissing))
        again = publisher.subscribers.get(timeout=DEADLINE)
        Collector(kernel.link).wait_until(lambda states: states[-1:] == [ec.LinkState.CONNECTED])
        again.sendall(encoded(signed(KEY, *parts("stream", {"text": "after it"}))))
        streams.wait_for(lambda message: message.content["text"] == "after it")
        assert resident() - before < 64 * MEBIBYTE
