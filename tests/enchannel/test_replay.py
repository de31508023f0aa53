"""Replay of a recording: its messages, its pace, its beginning and end."""

import asyncio
import math
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from reactivex import operators as ops
from reactivex.subject import Subject
from reactivex.testing import TestScheduler

import enchannel as ec
from enchannel import (
    AnyMessage,
    ChannelName,
    ConnectionFailed,
    KernelState,
    LinkState,
    NotSupported,
    RecordingFailed,
)
from enchannel import messages as build
from enchannel._kernel.kernel import parts_of
from enchannel._recordings.format import RecordKind, encode_header, encode_record
from enchannel._rx.sink import attach
from enchannel.abc import Backend, Link, OpenContext
from enchannel.backends import encode_event
from enchannel.errors import (
    ChannelClosed,
    ChannelReadOnly,
    ConnectionLost,
    EnchannelError,
    KernelDied,
)
from enchannel.testing import Collector
from enchannel.wire import websocket
from tests.rigs import DEADLINE
from tests.rigs.messages import answered, printed, texts, types
from tests.rigs.scripted import ScriptedLink
from tests.rigs.threads import Thread, in_thread, run_on_loop


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "session.enchannel"


def write(
    path: Path,
    *items: tuple[float, Any],
    end: float | None = 10.0,
    failure: EnchannelError | None = None,
) -> str:
    """Write a recording with the given items and the error that ended it, and return its URL."""
    data = [encode_header("ada", "s1", "2024-02-29T12:30:00Z")]
    for time, item in items:
        if isinstance(item, ec.Message):
            record = encode_record(time, RecordKind.RECEIVED, websocket.encode(item))
        else:
            record = encode_record(time, RecordKind.EVENT, encode_event(item))
        data += record
    if end is not None:
        payload = b"" if failure is None else encode_event(failure)
        data += encode_record(end, RecordKind.END, payload)
    path.write_bytes(b"".join(data))
    return f"replay:{path}"


def numbers(count: int = 3) -> list[tuple[float, AnyMessage]]:
    """Return one message for each second."""
    return [(float(n), printed(str(n))) for n in range(1, count + 1)]


@pytest.fixture
def clock() -> TestScheduler:
    return TestScheduler()


# -- the content of a replay


def test_replay_emits_on_original_channels(path: Path) -> None:
    remote, request = ScriptedLink(), ec.execute_request("6 * 7")
    live, played = Collector[AnyMessage](), Collector[AnyMessage]()
    replies = answered(request, printed("woo", request))
    with remote.kernel() as kernel, ec.record(kernel, path):
        kernel.main.subscribe(live)
        kernel.shell.on_next(request)
        remote.send(*replies, ec.comm_msg("c1", {"a": 1}, buffers=[b"\0\xff"]))
        in_thread(lambda: remote.send(printed("more")))
    shells = Collector[AnyMessage]()
    with ec.connect(f"replay:{path}", start=(start := Subject[None]()), speed=math.inf) as kernel:
        kernel.main.subscribe(played)
        kernel.shell.subscribe(shells)
        start.on_next(None)
        assert played.wait_for_end() == live.wait_for_end()
        assert types(shells.wait_for_end()) == ["execute_reply", "comm_msg"]
        assert [m.raw for m in played.items] != [None] * len(played.items)
        assert kernel.id == remote.id


def test_operators_work_on_replay(path: Path) -> None:
    request = ec.execute_request("6 * 7")
    target = write(path, *((0.0, m) for m in answered(request, printed("woo", request))))
    with ec.connect(target, speed=math.inf) as kernel:
        outputs = kernel.main.pipe(ec.child_of(request), ec.to_result())
        assert ec.wait(outputs, timeout=DEADLINE).text == "woo\n"[:3]


def test_replay_emits_link_and_kernel_events(path: Path, clock: TestScheduler) -> None:
    died = KernelDied("kernel ada died of SIGKILL", exit_code=-9)
    target = write(
        path,
        (0.0, LinkState.CONNECTED),
        (0.0, KernelState.IDLE),
        (1.0, build.status("busy", parent=ec.execute_request("1"))),
        (2.0, LinkState.LOST),
        (2.0, died),
        (2.0, KernelState.DEAD),
        (3.0, LinkState.CONNECTED),
        (3.0, KernelState.IDLE),
    )
    errors, states, links = Collector[EnchannelError](), Collector[Any](), Collector[Any]()
    with ec.connect(target, scheduler=clock) as kernel:
        for observable, seen in (
            (kernel.errors, errors),
            (kernel.state, states),
            (kernel.link_state, links),
        ):
            observable.subscribe(seen, scheduler=clock)  # type: ignore[arg-type]
        kernel.iopub.subscribe(scheduler=clock)
        clock.advance_by(1.5)
        assert (states.items, links.items) == (["idle", "busy"], ["connected"])
        clock.advance_by(1)
        assert (states.items[2:], links.items[1:]) == (["dead"], ["lost"])
        (error,) = errors.items
        assert isinstance(error, KernelDied)
        assert (str(error), error.exit_code) == (str(died), -9)
        clock.advance_by(10)
        assert (states.items[3:], links.items[2:]) == (["idle"], ["connected", "closed"])
        assert states.completed


def test_replay_of_failed_link_fails(path: Path) -> None:
    remote = ScriptedLink()
    with remote.kernel() as kernel, ec.record(kernel, path):
        kernel.errors.subscribe()
        remote.send(printed("woo"))
        remote.fail(ConnectionLost("it did not come back"))
    seen, late = Collector[AnyMessage](), Collector[AnyMessage]()
    with ec.connect(f"replay:{path}", speed=math.inf) as kernel:
        kernel.errors.subscribe()
        kernel.iopub.subscribe(seen)
        assert isinstance(seen.wait_for_error(), ConnectionLost)
        kernel.main.subscribe(late)
        assert str(late.wait_for_error()) == "it did not come back"
    assert texts(seen.items) == ["woo"]


def test_channels_complete_for_late_subscribers(path: Path) -> None:
    target = write(path, *numbers())
    with ec.connect(target, speed=math.inf) as kernel:
        channels = (kernel.shell, kernel.control, kernel.stdin, kernel.iopub, kernel.main)
        seen = [Collector[AnyMessage]() for _ in channels]
        for channel, sees in zip(channels, seen, strict=True):
            channel.subscribe(sees)
        for sees in seen:
            sees.wait_for_end()
            assert sees.completed
        kernel.iopub.subscribe(late := Collector[AnyMessage]())
        assert late.wait_for_end() == []
        assert kernel.link_state.value is LinkState.CLOSED


def test_incomplete_recording_reports_error_at_end(path: Path) -> None:
    target = write(path, *numbers(), end=None)
    seen, errors = Collector[AnyMessage](), Collector[EnchannelError]()
    with ec.connect(target, speed=math.inf) as kernel:
        kernel.errors.subscribe(errors)
        kernel.iopub.subscribe(seen)
        assert texts(seen.wait_for_end()) == ["1", "2", "3"]
        (error,) = errors.wait_for_end()
    assert isinstance(error, RecordingFailed)
    assert "incomplete or damaged" in str(error)


def test_deleted_file_fails_channels(path: Path) -> None:
    target = write(path, *numbers())
    with ec.connect(target, speed=math.inf) as kernel:
        path.unlink()
        kernel.errors.subscribe()
        kernel.iopub.subscribe(seen := Collector[AnyMessage]())
        assert isinstance(seen.wait_for_error(), RecordingFailed)


def test_replay_has_no_heartbeat(path: Path) -> None:
    with ec.connect(write(path)) as kernel, pytest.raises(NotSupported):
        kernel.heartbeat  # noqa: B018


def test_replayed_input_request_is_not_answered(path: Path) -> None:
    errors, seen = Collector[EnchannelError](), Collector[AnyMessage]()
    question = build.input_request("? ", parent=ec.execute_request("1"))
    with ec.connect(write(path, (0.0, question)), speed=math.inf) as kernel:
        kernel.errors.subscribe(errors)
        kernel.iopub.subscribe(seen)
        seen.wait_for_end()
        assert errors.wait_for_end() == []


def test_replay_can_be_recorded(path: Path, tmp_path: Path) -> None:
    """The recorder alone does not begin playback."""
    target, copy = write(path, *numbers()), tmp_path / "copy"
    with ec.connect(target, speed=math.inf) as kernel, ec.record(kernel, copy):
        kernel.iopub.subscribe(seen := Collector[AnyMessage]())
        seen.wait_for_end()
    assert [
        r.message for r in ec.Recording(copy) if isinstance(r, ec.RecordedMessage)
    ] == seen.items


# -- time


def test_replay_keeps_original_pace(path: Path, clock: TestScheduler) -> None:
    seen = Collector[tuple[float, str]]()

    def stamped(message: AnyMessage) -> tuple[float, str]:
        return float(clock.clock), message.content["text"]

    with ec.connect(write(path, *numbers()), scheduler=clock, speed=4.0) as kernel:
        clock.advance_to(100)
        kernel.iopub.pipe(ops.map(stamped)).subscribe(seen, scheduler=clock)
        clock.advance_to(100.6)
        assert seen.items == [(100.25, "1"), (100.5, "2")]
        clock.advance_to(102)
        assert not seen.ended
        clock.advance_to(103)
        assert seen.completed
    assert seen.items[2:] == [(100.75, "3")]
    assert seen.threads == {threading.current_thread()}


def test_infinite_speed_takes_no_virtual_time(path: Path, clock: TestScheduler) -> None:
    seen = Collector[AnyMessage]()
    with ec.connect(write(path, *numbers(5000)), scheduler=clock, speed=math.inf) as kernel:
        kernel.iopub.subscribe(seen, scheduler=clock)
        clock.advance_by(1e-6)
    assert len(seen.items) == 5000
    assert seen.completed


def test_replay_runs_in_real_time(path: Path) -> None:
    """On a thread of its own, here at a thousand times the speed."""
    with ec.connect(write(path, *numbers(30), end=40), speed=1000.0) as kernel:
        kernel.iopub.subscribe(seen := Collector[AnyMessage]())
        assert texts(seen.wait_for_end()) == [str(n) for n in range(1, 31)]


@pytest.mark.parametrize("speed", [0, -1, math.nan])
def test_invalid_speed_raises(path: Path, speed: float) -> None:
    with pytest.raises(ValueError, match="must be above 0"):
        ec.connect(write(path), speed=speed)


def test_very_long_pause_is_waited_for(path: Path) -> None:
    """The pause is longer than a platform can wait at once."""
    target = write(path, (0.0, printed("0")), (1.8e13, printed("1")))
    with ec.connect(target) as kernel:
        kernel.iopub.subscribe(seen := Collector[AnyMessage]())
        assert texts(seen.wait_for_count(1)) == ["0"]
    assert texts(seen.wait_for_end()) == ["0"]


# -- the beginning


def test_replay_begins_with_first_subscriber(path: Path, clock: TestScheduler) -> None:
    first, second = Collector[AnyMessage](), Collector[AnyMessage]()
    with ec.connect(write(path, *numbers()), scheduler=clock) as kernel:
        kernel.state.subscribe()
        clock.advance_to(50)
        kernel.iopub.subscribe(first, scheduler=clock)
        clock.advance_to(51.5)
        kernel.main.subscribe(second, scheduler=clock)
        clock.advance_to(60)
    assert (texts(first.items), texts(second.items)) == (["1", "2", "3"], ["2", "3"])


def test_virtual_time_subscribers_miss_nothing(path: Path, clock: TestScheduler) -> None:
    first, second = Collector[AnyMessage](), Collector[AnyMessage]()
    with ec.connect(write(path, (0.0, printed("0"))), scheduler=clock) as kernel:
        kernel.iopub.subscribe(first, scheduler=clock)
        kernel.iopub.subscribe(second, scheduler=clock)
        clock.advance_by(1)
    assert texts(first.items) == texts(second.items) == ["0"]


@pytest.mark.parametrize("how", ["on_next", "on_completed"])
def test_replay_begins_with_start_observable(path: Path, how: str) -> None:
    target, start = write(path, *numbers()), Subject[None]()
    seen = [Collector[AnyMessage]() for _ in range(3)]
    with ec.connect(target, speed=math.inf, start=start) as kernel:
        for sees in seen:
            kernel.iopub.subscribe(sees)
        assert seen[0].items == []
        start.on_next(None) if how == "on_next" else start.on_completed()
        assert [texts(sees.wait_for_end()) for sees in seen] == [["1", "2", "3"]] * 3
        start.on_next(None)
        start.on_completed()


def test_failed_start_observable_fails_replay(path: Path) -> None:
    start = Subject[None]()
    with ec.connect(write(path), start=start) as kernel:
        kernel.errors.subscribe()
        kernel.iopub.subscribe(seen := Collector[AnyMessage]())
        start.on_error(ZeroDivisionError("oh"))
        assert isinstance(seen.wait_for_error(), ZeroDivisionError)


def test_replay_closes_without_beginning(path: Path) -> None:
    start = Subject[None]()
    with ec.connect(write(path), start=start):
        pass
    assert not start.observers
    start.on_next(None)


# -- closing


def test_closed_replay_emits_nothing(path: Path, clock: TestScheduler) -> None:
    with ec.connect(write(path, *numbers()), scheduler=clock) as kernel:
        kernel.iopub.subscribe(seen := Collector[AnyMessage](), scheduler=clock)
        clock.advance_by(1.5)
    clock.advance_by(10)
    assert (texts(seen.items), seen.completed) == (["1"], True)


@pytest.mark.parametrize("where", ["in a subscriber", "on another thread"])
def test_close_during_flood(path: Path, where: str) -> None:
    target = write(path, *numbers(20_000))
    there, seen = threading.Event(), Collector[AnyMessage]()
    with ec.connect(target, speed=math.inf) as kernel:

        def on_next(message: AnyMessage) -> None:
            there.set()
            if where == "in a subscriber":
                kernel.close()

        kernel.iopub.subscribe(on_next)
        kernel.main.subscribe(seen)
        assert there.wait(DEADLINE)
        Thread(kernel.close).result()
        seen.wait_for_end()
    count = len(seen.items)
    assert texts(seen.items) == [str(n) for n in range(1, count + 1)] or count < 20_000


def test_slow_subscriber_gets_everything(path: Path) -> None:
    """Messages for it are queued, and other subscribers are not delayed."""
    target = write(path, *numbers(1000))
    gate, slow, start = threading.Event(), Collector[AnyMessage](), Subject[None]()
    with ec.connect(target, speed=math.inf, start=start) as kernel:
        ended = threading.Event()

        class End(Collector[LinkState]):
            def on_completed(self) -> None:
                ended.set()

            def call(self, function: Any) -> None: ...

        def wait(_: AnyMessage) -> None:
            gate.wait(DEADLINE)

        attach(kernel.link_state, End())
        kernel.iopub.pipe(ops.do_action(wait)).subscribe(slow)
        start.on_completed()
        assert ended.wait(DEADLINE)
        assert slow.items == []
        gate.set()
        assert len(slow.wait_for_end()) == 1000


# -- sending


@pytest.fixture
def kernel(path: Path) -> Iterator[ec.Kernel]:
    with ec.connect(write(path), start=Subject()) as kernel:
        yield kernel


def test_run_on_replay_raises(kernel: ec.Kernel) -> None:
    with pytest.raises(NotSupported, match="cannot be sent to a recording .of kernel ada"):
        kernel.run("6 * 7")
    with pytest.raises(NotSupported, match="recording"):
        ec.wait(kernel.kernel_info())


def test_await_on_replay_raises(path: Path) -> None:
    target = write(path)

    async def main() -> None:
        async with ec.connect(target) as kernel:
            with pytest.raises(NotSupported, match="recording"):
                await kernel.execute("6 * 7").pipe(ec.to_result())
            with pytest.raises(NotSupported, match="recording"):
                await ec.last_value(kernel.kernel_info())
            kernel.iopub.subscribe()
        await asyncio.sleep(0)

    run_on_loop(main)


def test_send_to_replay_raises(kernel: ec.Kernel) -> None:
    for channel in (kernel.shell, kernel.control, kernel.main):
        with pytest.raises(NotSupported, match="recording"):
            channel.on_next(ec.kernel_info_request())
    with pytest.raises(NotSupported, match="recording"):
        kernel.stdin.on_next(ec.input_reply("Ada"))
    with pytest.raises(NotSupported, match="recording"):
        kernel.comm("target")


def test_lifecycle_of_replay_raises(kernel: ec.Kernel) -> None:
    for outcome in (kernel.interrupt(), kernel.shutdown()):
        with pytest.raises(NotSupported, match="recording"):
            ec.wait(outcome, timeout=DEADLINE)
    with pytest.raises(NotSupported):
        kernel.restart()
    assert not kernel.owned


@pytest.mark.parametrize("failure", [None, ConnectionLost("the connection was lost")])
def test_finished_replay_raises_not_supported(path: Path, failure: EnchannelError | None) -> None:
    with ec.connect(write(path, failure=failure), speed=math.inf) as kernel:
        Collector(kernel.main).wait_for_end()
        for channel in (kernel.shell, kernel.control, kernel.main):
            with pytest.raises(NotSupported, match="recording"):
                channel.on_next(ec.kernel_info_request())
        with pytest.raises(NotSupported, match="recording"):
            kernel.stdin.on_next(ec.input_reply("Ada"))
        with pytest.raises(NotSupported, match="recording"):
            kernel.run("6 * 7")
        with pytest.raises(NotSupported, match="recording"):
            ec.wait(kernel.kernel_info())
        with pytest.raises(NotSupported, match="recording"):
            kernel.comm("target")
        with pytest.raises(ChannelReadOnly):
            kernel.iopub.on_next(ec.kernel_info_request())
        for outcome in (kernel.interrupt(), kernel.shutdown()):
            with pytest.raises(NotSupported, match="recording"):
                ec.wait(outcome, timeout=DEADLINE)
        with pytest.raises(NotSupported):
            kernel.restart()
        with pytest.raises(NotSupported), kernel.subshell():
            pass


def test_comm_of_finished_replay_raises_not_supported(path: Path) -> None:
    opened, start = build.comm_open("c1", "target"), Subject[None]()
    with ec.connect(write(path, (1.0, opened)), speed=math.inf, start=start) as kernel:
        comms, played = Collector(kernel.comms("target")), Collector(kernel.main)
        start.on_next(None)
        (comm,) = comms.wait_until(len)
        played.wait_for_end()
        with pytest.raises(NotSupported, match="recording"):
            comm.send({})


def test_closed_replay_refuses_messages(kernel: ec.Kernel) -> None:
    link, shell = parts_of(kernel).connection.require_link(), kernel.shell
    kernel.close()
    with pytest.raises(ChannelClosed):
        kernel.run("6 * 7")
    with pytest.raises(ChannelClosed):
        shell.on_next(ec.kernel_info_request())
    pair = link.pair(ChannelName.SHELL)
    assert pair is not None
    with pytest.raises(ChannelClosed):
        pair.outgoing.on_next(ec.kernel_info_request())
    link.close()


# -- opening


def test_replay_opens_path_or_url(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(path)
    monkeypatch.chdir(path.parent)
    for target, options in (
        (f"replay:{path}", {}),
        (f"replay:{path.name}", {}),
        (path, {"backend": "replay"}),
        (str(path), {"backend": "replay"}),
    ):
        with ec.connect(target, **options) as kernel:  # type: ignore[arg-type]
            assert kernel.id == "ada"


def test_replay_takes_str_or_path(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(path)
    write(path.parent / "replay:odd.enchannel")
    monkeypatch.chdir(path.parent)
    for target in (path, str(path), path.name, "replay:odd.enchannel"):
        with ec.replay(target) as kernel:
            assert (kernel.id, kernel.owned) == ("ada", False)


def test_replay_passes_options_to_backend(path: Path, clock: TestScheduler) -> None:
    write(path, *numbers())
    start, seen = Subject[int](), Collector[AnyMessage]()
    with ec.replay(path, speed=2.0, start=start, scheduler=clock) as kernel:
        kernel.iopub.subscribe(seen, scheduler=clock)
        clock.advance_by(10)
        assert seen.items == []
        start.on_next(1)
        clock.advance_by(1.1)
        assert texts(seen.items) == ["1", "2"]


def test_replay_on_loop_opens_when_awaited(path: Path) -> None:
    write(path, *numbers())

    async def main() -> list[AnyMessage]:
        async with ec.replay(path, speed=math.inf) as kernel:
            return [message async for message in ec.aiter(kernel.iopub)]

    assert texts(run_on_loop(main)) == ["1", "2", "3"]


def test_invalid_replay_speed_raises_on_loop(path: Path) -> None:
    """At the call, not where the kernel is awaited."""
    write(path)

    async def main() -> None:
        with pytest.raises(ValueError, match="speed must be above 0, not -1"):
            ec.replay(path, speed=-1)

    run_on_loop(main)


def test_invalid_recording_raises_on_replay(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("woo")
    with pytest.raises(ConnectionFailed, match="is not a recording"):
        ec.replay(tmp_path / "text")

    async def main() -> None:
        with pytest.raises(ConnectionFailed, match="cannot be read: No such file"):
            await ec.replay("nowhere")

    run_on_loop(main)


def test_invalid_recording_raises_on_connect(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("woo")
    with pytest.raises(ConnectionFailed, match="is not a recording"):
        ec.connect(f"replay:{tmp_path / 'text'}")
    with pytest.raises(ConnectionFailed, match="cannot be read: No such file"):
        ec.connect("replay:nowhere")


def test_scheduler_is_passed_in_context() -> None:
    remote, given = ScriptedLink(), list[object]()

    class Timed(Backend):
        contract = 1

        def open(self, target: Any, context: OpenContext) -> Link:
            given.append(context.scheduler)
            return remote.link

    ec.connect("x", backend=Timed(), scheduler=remote.clock).close()
    ec.connect("x", backend=Timed()).close()
    assert given == [remote.clock, None]
