"""A session with a real kernel, recorded and then replayed without one."""

import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from reactivex.subject import Subject

import enchannel as ec
from enchannel import AnyMessage, Direction, KernelState, LinkState
from enchannel.testing import Collector
from tests.enchannel_zmq.test_death import SUICIDE
from tests.rigs import DEADLINE

pytestmark = pytest.mark.kernel

CHANNELS = ("shell", "control", "stdin", "iopub")
COMM = """
def opened(comm, message):
    comm.on_msg(lambda m: comm.send({"got": m["content"]["data"]}, buffers=[b"\\x00\\xff", *m["buffers"]]))
get_ipython().kernel.comm_manager.register_target("echo", opened)
"""


def watch(kernel: ec.Kernel) -> dict[str, Collector[Any]]:
    """Collect everything that a subscriber from the start can observe."""
    channels = (kernel.shell, kernel.control, kernel.stdin, kernel.iopub)
    seen: dict[str, Collector[Any]] = {
        str(channel.name): Collector(channel) for channel in channels
    }
    return {
        **seen,
        "link": Collector(kernel.link_state),
        "state": Collector(kernel.state),
        "errors": Collector(kernel.errors),
    }


def session(kernel: ec.Kernel) -> None:
    """Run code with outputs, input, an error, a comm with buffers, and the kernel's death."""
    kernel.run("import sys; print('woo'); print('oh', file=sys.stderr); 6 * 7", timeout=DEADLINE)
    answer = "open sesame"
    kernel.run(
        "import getpass; word = len(getpass.getpass('? '))",
        on_input=lambda request: answer,
        timeout=DEADLINE,
    )
    kernel.run("1 / 0", check=False, timeout=DEADLINE)
    kernel.run("display({'text/html': '<b>é</b>'}, raw=True)", timeout=DEADLINE)
    kernel.run(COMM, timeout=DEADLINE)
    comm = kernel.comm("echo")
    answers = Collector(comm)
    comm.send({"a": 1}, buffers=[b"there"])
    answers.wait_until(lambda messages: messages)
    with pytest.raises(ec.KernelDied):
        kernel.run(SUICIDE, timeout=DEADLINE)


def decode_error(error: ec.EnchannelError) -> tuple[object, ...]:
    return type(error), str(error), getattr(error, "exit_code", None), getattr(error, "stderr", "")


def test_replay_equals_live_session(tmp_path: Path) -> None:
    path = tmp_path / "session.enchannel"
    with ec.launch() as kernel:
        # The kernel sends its status "starting" at any time before its first reply.
        kernel.run("", timeout=DEADLINE)
        live, sent = watch(kernel), Collector(kernel.sent)
        with ec.record(kernel, path) as recorder:
            session(kernel)
            live["state"].wait_until(lambda states: states[-1:] == [KernelState.DEAD])
    for seen in live.values():
        seen.wait_for_end()

    start = Subject[None]()
    with ec.connect(f"replay:{path}", speed=math.inf, start=start) as replay:
        played = watch(replay)
        start.on_completed()
        for seen in played.values():
            seen.wait_for_end()
    for name in CHANNELS:
        assert played[name].items == live[name].items, name
        assert [m.raw for m in played[name].items] == [m.raw for m in live[name].items]
    assert played["link"].items == live["link"].items
    assert played["state"].items == live["state"].items
    assert list(map(decode_error, played["errors"].items)) == list(
        map(decode_error, live["errors"].items)
    )
    assert [type(error) for error in played["errors"].items] == [ec.KernelDied]

    recording = ec.Recording(path)
    assert recording.verify()
    assert recording.kernel_id == kernel.id
    again = [r.message for r in recording if r.direction is Direction.SENT]
    assert [m.header for m in again] == [m.header for m in sent.items]
    received = sum(len(live[name].items) for name in CHANNELS)
    assert recorder.messages == received + len(sent.items)
    data = path.read_bytes()
    assert b"open sesame" not in data
    assert b"there" in data


def test_replay_has_outputs_of_session(tmp_path: Path) -> None:
    path = tmp_path / "session.enchannel"
    code = "for i in range(300): print(i)"
    with ec.launch() as kernel, ec.record(kernel, path):
        requests = Collector(kernel.sent.pipe(ec.of_message_type("execute_request")))
        live = kernel.run(code, timeout=DEADLINE)
        (request,) = requests.wait_until(lambda messages: messages)
    with ec.connect(f"replay:{path}", speed=math.inf) as replay:
        played = ec.wait(replay.main.pipe(ec.child_of(request), ec.to_result()), timeout=DEADLINE)
    assert (played.text, played.status) == (live.text, live.status)


def test_replay_has_restarts(tmp_path: Path) -> None:
    path = tmp_path / "session.enchannel"
    with ec.launch() as kernel:
        # Closed after the kernel, to record its shutdown.
        recorder = ec.record(kernel, path)
        states = Collector(kernel.state)
        kernel.run("1", timeout=DEADLINE)
        ec.wait(kernel.restart(), timeout=DEADLINE)
        kernel.run("2", timeout=DEADLINE)
    states.wait_for_end()
    recorder.close()
    with ec.connect(f"replay:{path}", speed=math.inf) as replay:
        played, links = Collector(replay.state), Collector(replay.link_state)
        Collector(replay.main).wait_for_end()
        played.wait_for_end()
        links.wait_for_end()
        with pytest.raises(ec.NotSupported):
            replay.run("3")
    assert KernelState.RESTARTING in played.items
    assert played.items == states.items
    assert links.items[-1] is LinkState.CLOSED


def test_replay_of_dead_kernel_refuses(tmp_path: Path) -> None:
    path = tmp_path / "session.enchannel"
    with ec.launch() as kernel, ec.record(kernel, path):
        with pytest.raises(ec.KernelDied):
            kernel.run(SUICIDE, timeout=DEADLINE)
    with ec.connect(f"replay:{path}", start=Subject()) as replay:
        with pytest.raises(ec.NotSupported, match="messages cannot be sent to a recording"):
            replay.run("6 * 7")


def test_killed_recorder_leaves_written_records(tmp_path: Path) -> None:
    path = tmp_path / "session.enchannel"
    script = """if True:
        import sys, threading
        import enchannel as ec
        kernel = ec.connect(sys.argv[1])
        recorder = ec.record(kernel, sys.argv[2])
        kernel.execute("while True: print('y' * 80, flush=True)").subscribe()
        while recorder.messages < 500:
            threading.Event().wait(0.01)
        print(flush=True)
        threading.Event().wait()
    """
    with ec.launch() as kernel:
        kernel.run("", timeout=DEADLINE)
        with subprocess.Popen(
            [sys.executable, "-c", script, kernel.id, path], stdout=subprocess.PIPE
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline()
            process.kill()
        ec.wait(kernel.interrupt(), timeout=DEADLINE)
    messages: list[AnyMessage] = [
        r.message for r in ec.Recording(path) if isinstance(r, ec.RecordedMessage)
    ]
    assert len(messages) >= 500
    assert {
        m.content["text"].replace("y", "").strip() for m in messages if "text" in m.content
    } == {""}
    assert not ec.Recording(path).verify()
    assert os.stat(path).st_mode & 0o777 == 0o600
