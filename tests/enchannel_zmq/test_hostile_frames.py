"""Invalid frames are reported and dropped; the messages around them arrive in order."""

import logging
import uuid
from collections.abc import Callable, Iterator

import pytest

import enchannel as ec
from enchannel import ChannelName
from enchannel._kernel.in_flight import InFlightRequest
from enchannel._kernel.kernel import parts_of
from enchannel.testing import Collector
from tests.rigs import DEADLINE
from tests.rigs.frames import DELIMITER, KEY, parts, signed
from tests.rigs.wire_kernel import CLIENT, Welcome, WireKernel

CHANNELS = [ChannelName.IOPUB, ChannelName.SHELL, ChannelName.CONTROL, ChannelName.STDIN]
MEBIBYTE = 1 << 20


@pytest.fixture(params=["tcp", "ipc"])
def wire(request: pytest.FixtureRequest) -> Iterator[WireKernel]:
    with WireKernel(transport=request.param) as wire:
        yield wire


@pytest.fixture
def kernel(wire: WireKernel) -> Iterator[ec.Kernel]:
    with ec.connect(wire.info, session=CLIENT, timeout=DEADLINE, max_received=MEBIBYTE) as kernel:
        yield kernel


def good(number: int) -> list[bytes]:
    return signed(KEY, *parts("stream", {"name": "stdout", "text": str(number)}))


class Received:
    """The messages of one channel, and the reported errors."""

    def __init__(self, kernel: ec.Kernel, name: ChannelName) -> None:
        channels = {
            ChannelName.IOPUB: kernel.iopub,
            ChannelName.SHELL: kernel.shell,
            ChannelName.CONTROL: kernel.control,
            ChannelName.STDIN: kernel.stdin,
        }
        self.errors = Collector(kernel.errors)
        self.messages = Collector(channels[name])

    def texts(self, last: int) -> list[object]:
        """Wait for a message, and return the texts so far; errors are reported in order with them."""
        self.messages.wait_for(lambda message: message.content.get("text") == str(last))
        streams = [m for m in self.messages.items if m.header.msg_type == "stream"]
        return [message.content.get("text") for message in streams]


def signed_with(at: int, data: bytes) -> list[bytes]:
    """Return a correctly signed message with one invalid part."""
    made = parts("stream", metadata={"unique": uuid.uuid4().hex})
    return signed(KEY, *made[:at], data, *made[at + 1 :])


BAD: dict[str, tuple[type[ec.RejectedFrame], Callable[[], list[bytes]]]] = {
    "unsigned": (ec.InvalidSignature, lambda: signed(b"", *parts())),
    "wrongly signed": (ec.InvalidSignature, lambda: signed(b"another", *parts())),
    "changed": (ec.InvalidSignature, lambda: [*good(0)[:5], b'{"text": "changed"}']),
    "no delimiter": (ec.MalformedFrame, lambda: good(0)[1:]),
    "one frame": (ec.MalformedFrame, lambda: [b"x"]),
    "an empty frame": (ec.MalformedFrame, lambda: [b""]),
    "truncated": (ec.MalformedFrame, lambda: good(0)[:5]),
    "the delimiter alone": (ec.MalformedFrame, lambda: [DELIMITER]),
    "header is not JSON": (ec.MalformedFrame, lambda: signed_with(0, b"{")),
    "parent is a list": (ec.MalformedFrame, lambda: signed_with(1, b"[]")),
    "content is not JSON": (ec.MalformedFrame, lambda: signed_with(3, b"{'a': 1}")),
    "content is text": (ec.MalformedFrame, lambda: signed_with(3, b'"text"')),
    "content is a bomb": (ec.MalformedFrame, lambda: signed_with(3, b'{"a":' * 50_000)),
    "no msg_id": (ec.MalformedFrame, lambda: signed_with(0, b"{}")),
}


@pytest.mark.parametrize("name", CHANNELS)
@pytest.mark.parametrize("kind", BAD)
def test_bad_frames_are_reported_and_dropped(
    wire: WireKernel, kernel: ec.Kernel, name: ChannelName, kind: str
) -> None:
    kind_of_error, bad = BAD[kind]
    received = Received(kernel, name)
    wire.send_frames(name, good(0), bad(), good(1), bad(), good(2))
    assert received.texts(2) == ["0", "1", "2"]
    errors = received.errors.items
    assert [type(error) for error in errors] == [kind_of_error] * 2
    assert all(f"on {name.value}" in str(error) for error in errors)
    assert kernel.link_state.value is ec.LinkState.CONNECTED


@pytest.mark.parametrize("name", CHANNELS)
def test_replayed_frame_is_reported_and_dropped(
    wire: WireKernel, kernel: ec.Kernel, name: ChannelName
) -> None:
    received = Received(kernel, name)
    wire.send_frames(name, good(0), good(1), (once := good(2)), once, [*once, b"buffer"], good(3))
    assert received.texts(3) == ["0", "1", "2", "3"]
    assert [type(error) for error in received.errors.items] == [ec.ReplayedFrame] * 2


def test_same_message_on_two_channels_arrives(wire: WireKernel, kernel: ec.Kernel) -> None:
    control, iopub = Received(kernel, ChannelName.CONTROL), Received(kernel, ChannelName.IOPUB)
    wire.send_frames(ChannelName.CONTROL, once := good(0))
    wire.send_frames(ChannelName.IOPUB, once)
    assert control.texts(0) == iopub.texts(0) == ["0"]
    assert iopub.errors.items == []


@pytest.mark.parametrize("name", CHANNELS)
def test_invalid_text_is_reported_and_delivered(
    wire: WireKernel, kernel: ec.Kernel, name: ChannelName
) -> None:
    received = Received(kernel, name)
    wire.send_frames(
        name,
        signed(KEY, *parts()[:3], b'{"text": "\xff"}'),
        signed(KEY, *parts()[:3], b'{"text": "\\ud800"}'),
        good(0),
    )
    assert received.texts(0) == ["�", "�", "0"]
    first, second = received.errors.items
    assert isinstance(first, ec.MalformedFrame)
    assert f"on {name.value}" in str(first)
    assert "UTF-8" in str(first)
    assert "surrogates" in str(second)


def test_flood_of_bad_frames_is_dropped(wire: WireKernel, kernel: ec.Kernel) -> None:
    received = Received(kernel, ChannelName.IOPUB)
    flood = [[b"topic", *signed(b"another", *parts())] for _ in range(1_000)]
    wire.send_frames(ChannelName.IOPUB, good(0), *flood[:500], good(1), *flood[500:], good(2))
    assert received.texts(2) == ["0", "1", "2"]
    assert [type(error) for error in received.errors.items] == [ec.InvalidSignature] * 1_000
    assert kernel.run("1", timeout=DEADLINE).status == "ok"
    assert len(Collector(kernel.errors).wait_until(lambda errors: len(errors) == 100)) == 100


def test_forged_reply_is_dropped(wire: WireKernel, kernel: ec.Kernel) -> None:
    wire.handlers["execute_request"] = lambda request: None
    seen, errors = Collector(kernel.execute("1")), Collector(kernel.errors)
    request = wire.next_request("execute_request")
    reply = parts("execute_reply", {"status": "error"}, parent=request.raw_header)
    wire.send_frames(ChannelName.SHELL, signed(b"another", *reply), signed(b"", *reply))
    wire.answer_execute(request)
    assert seen.wait_for_end()[-1].content["status"] == "ok"
    assert [type(error) for error in errors.items] == [ec.InvalidSignature] * 2


def test_odd_heartbeats_arrive_as_bytes(wire: WireKernel, kernel: ec.Kernel) -> None:
    beats, errors = Collector(kernel.heartbeat), Collector(kernel.errors)
    for beat in (b"", b"\xff\x00", DELIMITER, b"x" * 100_000):
        kernel.heartbeat.on_next(beat)
        assert beats.wait_for(lambda answer, beat=beat: answer == beat) == beat  # type: ignore[misc]
    assert errors.items == []


@pytest.mark.parametrize("name", [ChannelName.IOPUB, ChannelName.STDIN])
def test_frame_over_limit_reconnects_channel(
    wire: WireKernel, kernel: ec.Kernel, name: ChannelName
) -> None:
    received, links = Received(kernel, name), Collector(kernel.link_state)
    wire.send_frames(name, good(0))
    received.texts(0)
    wire.send_frames(name, [*good(1), bytes(MEBIBYTE + 1)])
    links.wait_until(lambda states: states[1:] == ["lost", "connected"])
    [error] = received.errors.wait_until(len)
    assert isinstance(error, ec.MessagesMayBeMissing)
    assert f"on {name.value}" in str(error)
    assert f"max_received={MEBIBYTE}" in str(error)
    wire.send_frames(name, good(2))
    assert received.texts(2) == ["0", "2"]
    assert kernel.run("1", timeout=DEADLINE).status == "ok"


@pytest.mark.parametrize("name", [ChannelName.SHELL, ChannelName.CONTROL])
def test_reply_over_limit_ends_request(
    wire: WireKernel, kernel: ec.Kernel, name: ChannelName
) -> None:
    wire.handlers.clear()
    links, errors = Collector(kernel.link_state), Collector(kernel.errors)
    seen = Collector(kernel.request(ec.create_message("big_request", channel=name), timeout=None))
    wire.next_request("big_request")
    wire.send_frames(name, [*good(1), bytes(MEBIBYTE + 1)])
    seen.wait_for_end()
    assert isinstance(seen.error, ec.ConnectionLost)
    assert name.value in str(seen.error)
    links.wait_until(lambda states: states[1:] == ["lost", "connected"])
    assert [type(error) for error in errors.items] == [ec.ConnectionLost]
    wire.handlers["execute_request"] = wire.answer_execute
    wire.handlers["kernel_info_request"] = wire.answer_kernel_info
    assert kernel.run("1", timeout=DEADLINE).status == "ok"


def test_frame_at_limit_arrives(wire: WireKernel, kernel: ec.Kernel) -> None:
    messages = Collector(kernel.iopub)
    buffers = [bytes(MEBIBYTE), b"", bytes(MEBIBYTE)]
    wire.send(ChannelName.IOPUB, "comm_msg", {"comm_id": "c", "data": {}}, buffers=buffers)
    message = messages.wait_for(lambda message: message.buffers)
    assert [len(buffer) for buffer in message.buffers] == [MEBIBYTE, 0, MEBIBYTE]


@pytest.mark.parametrize("then", [*CHANNELS[1:], None], ids=str)
def test_gradual_loss_ends_open_requests(
    wire: WireKernel, kernel: ec.Kernel, then: ChannelName | None
) -> None:
    """Otherwise the request would wait for a reply that the new sockets never receive."""
    wire.handlers.pop("execute_request")
    seen, links = Collector(kernel.execute("1")), Collector(kernel.link_state)
    wire.next_request("execute_request")
    wire.close_socket(ChannelName.IOPUB)
    links.wait_until(lambda states: states[-1:] == ["lost"])
    assert seen.error is None
    if then is None:
        wire.die()
    else:
        wire.close_socket(then)
    seen.wait_for_end()
    assert isinstance(seen.error, ec.KernelDied)
    wire.restart()
    links.wait_until(lambda states: states[-1:] == ["connected"])
    wire.handlers["execute_request"] = wire.answer_execute
    assert kernel.run("1", timeout=DEADLINE).status == "ok"


def test_wrong_key_after_restart_is_reported(wire: WireKernel, kernel: ec.Kernel) -> None:
    errors, links = Collector(kernel.errors), Collector(kernel.link_state)
    wire.die()
    links.wait_until(lambda states: states[-1:] == ["lost"])
    wire.key = b"another"
    wire.restart()
    error = errors.wait_for(lambda error: isinstance(error, ec.InvalidSignature))
    assert "on iopub" in str(error)
    assert kernel.link_state.value is ec.LinkState.LOST
    wire.die()
    wire.key = KEY
    wire.restart()
    links.wait_until(lambda states: states[-1:] == ["connected"])
    assert kernel.run("1", timeout=DEADLINE).status == "ok"


@pytest.mark.parametrize("welcome", Welcome)
def test_key_is_in_no_text(caplog: pytest.LogCaptureFixture, welcome: Welcome) -> None:
    caplog.set_level(logging.DEBUG)
    with WireKernel(welcome=welcome) as wire:
        with ec.connect(wire.info, session=CLIENT, timeout=DEADLINE) as kernel:
            for _, bad in BAD.values():
                wire.send_frames(ChannelName.IOPUB, bad())
            wire.send_frames(ChannelName.IOPUB, once := good(0), once, good(1))
            messages = Collector(kernel.iopub)
            kernel.run("1", timeout=DEADLINE)
            received = Collector(kernel.errors)
            received.wait_for(lambda error: isinstance(error, ec.ReplayedFrame))  # the last error
            errors = received.items
            links = Collector(kernel.link_state)
            wire.die()
            links.wait_until(lambda states: states[-1:] == ["lost"])
            with pytest.raises(ec.EnchannelError) as raised:
                kernel.run("1")
            exposed = [*messages.items, *errors, raised.value, kernel, kernel.iopub, kernel.main]
    exposed += [*caplog.messages, caplog.text]
    assert any("has a signature that does not match" in text for text in caplog.messages)
    for thing in exposed:
        shown = (
            f"{thing} {thing!r} {getattr(thing, 'args', '')} {getattr(thing, '__context__', '')}"
        )
        assert KEY.decode() not in shown
        assert repr(KEY) not in shown


def test_unhandled_message_drops_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with WireKernel() as wire, ec.connect(wire.info, timeout=DEADLINE) as kernel:
        received = Received(kernel, ChannelName.IOPUB)
        dispatcher = parts_of(kernel).dispatcher
        handle = dispatcher._handle

        def failing(message: ec.AnyMessage, request: InFlightRequest | None) -> None:
            if message.header.msg_type == "comm_msg":
                raise RecursionError("too deep")
            handle(message, request)

        monkeypatch.setattr(dispatcher, "_handle", failing)
        odd = signed(KEY, *parts("comm_msg", {"comm_id": "c", "data": {}}))
        wire.send_frames(
            ChannelName.IOPUB, *(good(n) for n in range(10)), odd, *map(good, range(10, 20))
        )
        assert received.texts(19) == [str(number) for number in range(20)]
        assert "too deep" in str(received.errors.wait_for(lambda error: True))
