"""Damaged and hostile input: decoded as a trusted message, or reported and dropped.

Unsigned, wrongly signed, replayed and truncated frames are in ``test_hostile_frames.py``.
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
DAMAGED_FRAMES = 100_000
BATCH_FRAMES = 1_000
RANDOM_SEED = 20_261_122


def resident_bytes() -> int:
    """Return the resident memory of this process in bytes."""
    size: int = psutil.Process().memory_info().rss
    return size


# Damaged frames, in every decoder.


def sample_messages() -> list[ec.AnyMessage]:
    """Return messages of many types, like those of a kernel, to be damaged."""
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
    """Yield damaged messages, half of them signed afterwards, as by a faulty kernel."""
    mutator, signer = Mutator(RANDOM_SEED + len(key)), Signer(KEY)
    good = [[b"topic", *map(bytes, encode(message, signer))] for message in sample_messages()]
    for number in range(DAMAGED_FRAMES // 2):
        frames = mutator.frames(good[number % 7], good[number % 5])
        if mutator.chance() and len(frames) > 6 and frames[1] == DELIMITER:
            frames[2] = signature(KEY, frames[3:7])
        yield frames


def damaged_pieces() -> Iterator[bytes]:
    mutator = Mutator(RANDOM_SEED)
    good = [websocket.encode(message) for message in sample_messages()]
    for number in range(DAMAGED_FRAMES):
        yield mutator.damaged(good[number % 7], good[number % 5])


def by_decoder(key: bytes) -> Iterator[object]:
    decoder = Decoder(ChannelName.IOPUB, Signer(key))
    for frames in damaged_multiparts(key):
        try:
            yield decoder.decode(frames)
        except RejectedFrame as error:
            yield error


class Nothing(Exception):
    """Raised if there is no frame."""


class Frame:
    """A frame with the interface of pyzmq's."""

    def __init__(self, data: bytes, more: bool) -> None:
        self.bytes, self.more = data, more
        self.buffer = memoryview(data)

    def __len__(self) -> int:
        return len(self.bytes)


class Queue:
    """The received frames of a socket."""

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
    while batch := [frames for frames, _ in zip(damaged, range(BATCH_FRAMES), strict=False)]:
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
    "readable decoder": lambda: chain(by_decoder(KEY), by_decoder(b"")),
    "fast decoder": lambda: chain(by_receiver(KEY), by_receiver(b"")),
    "websocket": by_websocket,
}


# Computation rather than waiting, so it takes longer on a busy machine.
@pytest.mark.timeout(6 * DEADLINE)
@pytest.mark.parametrize("decoder", DECODERS)
def test_damaged_frames_decode_or_are_rejected(decoder: str) -> None:
    before, counts = resident_bytes(), Counter[str]()
    for read in DECODERS[decoder]():
        assert isinstance(read, ec.Message | RejectedFrame)
        counts["message" if isinstance(read, ec.Message) else "rejected"] += 1
    assert counts["message"] > DAMAGED_FRAMES / 100, counts
    assert counts["rejected"] > DAMAGED_FRAMES / 100, counts
    assert resident_bytes() - before < 100 * MEBIBYTE


# JSON bombs, over a real socket.

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
        before, began = resident_bytes(), time.monotonic()
        bomb = signed(KEY, *parts("bomb")[:3], BOMBS[kind]())
        wire.send_frames(
            ChannelName.IOPUB, bomb, signed(KEY, *parts("stream", {"text": "after it"}))
        )
        streams.wait_for(lambda message: message.content["text"] == "after it")
        assert time.monotonic() - began < DEADLINE
        assert resident_bytes() - before < 400 * MEBIBYTE
        assert all(isinstance(error, ec.MalformedFrame) for error in errors.items)
        assert "unexpected" not in caplog.text
        assert kernel.link_state.value is ec.LinkState.CONNECTED


# Claimed lengths, in raw ZMTP.


@pytest.mark.parametrize(
    ("size", "limit"),
    [
        (GIBIBYTE, GIBIBYTE),  # allowed, but never sent
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
        before = resident_bytes()
        subscriber = publisher.subscribers.get(timeout=DEADLINE)
        subscriber.sendall(claim(size) + b"x" * 10_000)
        assert resident_bytes() - before < 64 * MEBIBYTE
        if size <= limit:
            subscriber.close()
        errors.wait_for(lambda error: isinstance(error, ec.MessagesMayBeMissing))
        again = publisher.subscribers.get(timeout=DEADLINE)
        Collector(kernel.link_state).wait_until(
            lambda states: states[-1:] == [ec.LinkState.CONNECTED]
        )
        again.sendall(encoded(signed(KEY, *parts("stream", {"text": "after it"}))))
        streams.wait_for(lambda message: message.content["text"] == "after it")
        assert resident_bytes() - before < 64 * MEBIBYTE
