"""``enchannel record``, ``run --record`` and ``replay``, in pipes."""

import io
import json
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

import enchannel as ec
from enchannel._cli.arguments import parse_arguments
from enchannel._cli.exit_code import ExitCode
from enchannel._cli.terminal.screen import Screen
from tests.enchannel.test_replay import write as by_hand
from tests.enchannel_cli.command import COMMAND, enchannel, refused
from tests.rigs import DEADLINE, eventually
from tests.rigs.messages import printed
from tests.rigs.threads import Thread

pytestmark = pytest.mark.kernel

SESSION = """
import sys
print('out'); print('err', file=sys.stderr)
print('hello', input('name? '))
display({'text/plain': 'shown'}, raw=True)
6 * 7
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "session.enchannel"


@contextmanager
def recording(kernel: ec.Kernel, file: Path) -> Iterator["subprocess.Popen[str]"]:
    """Start ``enchannel record``, and wait until it records."""
    with subprocess.Popen(
        [*COMMAND, "record", kernel.id, file],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    ) as process:
        try:
            assert process.stderr is not None
            began = process.stderr.readline()
            assert (
                began
                == f"enchannel: recording kernel {kernel.id} in {file}; press Ctrl-C to stop\n"
            )
            yield process
        finally:
            process.kill()


def types(file: Path) -> list[str]:
    return [
        recorded.message.header.msg_type
        for recorded in ec.Recording(file)
        if isinstance(recorded, ec.RecordedMessage)
    ]


# run --record


def test_recorded_run_is_replayed(file: Path) -> None:
    ran = enchannel("run", "--record", str(file), SESSION, stdin="Bob\n")
    assert (ran.stderr, ran.returncode) == ("err\n", 0)
    again = enchannel("replay", "--speed", "inf", str(file))
    assert (again.stderr, again.returncode) == ("err\n", 0)
    # The replayed answer is shown as on a terminal, and is not recorded.
    assert ran.stdout == "out\nname? hello Bob\nshown\n42\n"
    assert again.stdout == "out\nname? <redacted>\nhello Bob\nshown\n42\n"
    assert ec.Recording(file).verify()
    assert file.stat().st_mode & 0o777 == 0o600


def test_recorded_run_keeps_exit_code(file: Path) -> None:
    ran = enchannel("run", "--record", str(file), "print('before'); 1 / 0")
    again = enchannel("replay", "--speed", "inf", str(file))
    assert (ran.returncode, again.returncode) == (ExitCode.RAISED, 0)
    assert ran.stdout == again.stdout == "before\n"
    assert ran.stderr == again.stderr
    assert ran.stderr.count("ZeroDivisionError: division by zero") == 1


def test_death_is_replayed(file: Path) -> None:
    ran = enchannel("run", "--record", str(file), "import os; os._exit(7)")
    again = enchannel("replay", "--speed", "inf", str(file))
    assert ran.returncode == ExitCode.DIED
    assert "exit code 7" in again.stderr
    assert again.stderr in ran.stderr
    assert again.returncode == 0


def test_run_keeps_existing_file(file: Path) -> None:
    file.write_text("a thesis")
    ran = enchannel("run", "--record", str(file), "print('woo')")
    assert (ran.stdout, ran.returncode) == ("", ExitCode.USAGE)
    assert ran.stderr.startswith(f"enchannel: {file} already exists")
    assert file.read_text() == "a thesis"


def test_full_disk_ends_recording_only(running: ec.Kernel, file: Path) -> None:
    script = 'ulimit -f 16; exec "$0" -m enchannel run --existing "$1" --record "$2" "$3"'
    code = "for i in range(200): display({'text/plain': 'x' * 1000}, raw=True)\n'done'"
    ran = subprocess.run(
        ["bash", "-c", script, COMMAND[0], running.id, file, code],  # noqa: S607
        capture_output=True,
        encoding="utf-8",
        timeout=DEADLINE,
    )
    assert ran.stdout.endswith("'done'\n")
    assert ran.returncode == ExitCode.RAISED
    assert "cannot be written: File too large; it ended" in ran.stderr
    assert not ec.Recording(file).verify()


# record


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_signal_ends_recording(running: ec.Kernel, file: Path, how: signal.Signals) -> None:
    with recording(running, file) as process:
        running.run("print('woo')", timeout=DEADLINE)
        assert eventually(lambda: "stream" in types(file))
        process.send_signal(how)
        out, err = process.communicate(timeout=DEADLINE)
    count = len(types(file))
    assert (out, process.returncode) == ("", 0)
    assert err == f"enchannel: recorded {count} messages in {file}\n"
    assert ec.Recording(file).verify()
    assert running.run("6 * 7", timeout=DEADLINE).text == "42"
    assert enchannel("replay", "--speed", "inf", str(file)).stdout == "woo\n"


def test_end_of_kernel_ends_recording(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The recorder gives up after reconnect_timeout, which is short here."""
    monkeypatch.setattr(ec, "connect", partial(ec.connect, reconnect_timeout=0.1))
    shown = io.StringIO()
    with ec.launch() as kernel:

        def end() -> None:
            assert eventually(lambda: "press Ctrl-C to stop" in shown.getvalue())
            kernel.run("print('woo')", timeout=DEADLINE)
            kernel.close()

        ending = Thread(end)
        arguments = parse_arguments(["record", kernel.id, str(file)])
        assert arguments.command(arguments, Screen(shown, shown, {})) == ExitCode.OK
        ending.result()
    assert shown.getvalue().endswith(f"recorded {len(types(file))} messages in {file}\n")
    assert ec.Recording(file).verify()
    assert "stream" in types(file)


def test_killed_recorder_leaves_valid_file(running: ec.Kernel, file: Path) -> None:
    with recording(running, file) as process:
        running.run("print('woo')", timeout=DEADLINE)
        assert eventually(lambda: "stream" in types(file))
        process.kill()
        process.wait(DEADLINE)
    ended = enchannel("replay", "--speed", "inf", str(file))
    assert (ended.stdout, ended.returncode) == ("woo\n", ExitCode.RAISED)
    assert ended.stderr == (
        f"enchannel: {file} is incomplete or damaged: the rest cannot be read\n"
    )


def test_record_keeps_existing_file(running: ec.Kernel, file: Path) -> None:
    file.write_text("a thesis")
    refused = enchannel("record", running.id, str(file))
    assert (refused.returncode, refused.stdout) == (ExitCode.USAGE, "")
    assert refused.stderr.count("\n") == 1
    assert file.read_text() == "a thesis"


def test_ctrl_c_while_record_connects(tmp_path: Path, file: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        ports = {f"{name}_port": port for name in ("shell", "iopub", "stdin", "control", "hb")}
        connection = tmp_path / "connection.json"
        connection.write_text(
            json.dumps({"transport": "tcp", "ip": "127.0.0.1", "key": "secret", **ports})
        )
        connection.chmod(0o600)
        with subprocess.Popen(
            [*COMMAND, "record", connection, file], stderr=subprocess.PIPE, encoding="utf-8"
        ) as process:
            listener.accept()[0].close()
            process.send_signal(signal.SIGINT)
            assert process.communicate(timeout=DEADLINE)[1] == ""
    assert process.returncode == ExitCode.INTERRUPTED
    assert not file.exists()


def test_unknown_kernel_is_reported(file: Path) -> None:
    ended = enchannel("record", "no-such-kernel", str(file))
    assert (ended.returncode, ended.stdout) == (ExitCode.NOT_CONNECTED, "")
    assert not file.exists()


# replay


def write(file: Path, code: str) -> None:
    with ec.launch() as kernel, ec.record(kernel, file):
        kernel.run(code, check=False, timeout=DEADLINE)


def test_replay_json_has_both_directions(file: Path) -> None:
    write(file, "print('woo'); 6 * 7")
    ended = enchannel("replay", "--speed", "inf", "--json", str(file))
    lines = [json.loads(line) for line in ended.stdout.splitlines()]
    assert (ended.returncode, ended.stderr) == (0, "")
    fields = ["time", "direction", "channel", "header", "parent_header"]
    assert all(list(line)[:5] == fields for line in lines)
    assert [line["header"]["msg_type"] for line in lines] == types(file)
    sent = [line["header"]["msg_type"] for line in lines if line["direction"] == "sent"]
    # The first execution asks once for the implementation of the kernel.
    assert sorted(sent) == ["execute_request", "kernel_info_request"]
    assert [line["time"] for line in lines] == sorted(line["time"] for line in lines)


def printed_at(**texts: float) -> list[tuple[float, ec.AnyMessage]]:
    request = ec.execute_request("1")
    return [(at, printed(f"{text}\n", request)) for text, at in texts.items()]


def test_replay_keeps_delays(file: Path) -> None:
    by_hand(file, *printed_at(one=0.0, two=0.6), end=0.6)
    begin = time.monotonic()
    assert enchannel("replay", "--speed", "2", str(file)).stdout == "one\ntwo\n"
    assert time.monotonic() - begin > 0.3


def test_ctrl_c_ends_replay(file: Path) -> None:
    by_hand(file, *printed_at(one=0.0, two=1000.0))
    with subprocess.Popen(
        [*COMMAND, "replay", file], stdout=subprocess.PIPE, encoding="utf-8"
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "one\n"
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=DEADLINE)[0] == ""
    assert process.returncode == ExitCode.INTERRUPTED


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (None, "No such file"),
        (b"", "is not a recording"),
        (b"a thesis", "is not a recording"),
        (b"enchannel recording 9 00000000 {}\n", "newer enchannel"),
    ],
)
def test_invalid_recording_is_reported(file: Path, data: bytes | None, why: str) -> None:
    if data is not None:
        file.write_bytes(data)
    run = enchannel if data is None else refused
    ended = run("replay", str(file))
    assert (ended.returncode, ended.stdout) == (ExitCode.USAGE, "")
    assert ended.stderr.startswith("enchannel: ")
    assert ended.stderr.count("\n") == 1
    assert why in ended.stderr


def test_replay_into_closed_pipe_is_quiet(file: Path) -> None:
    by_hand(file, *printed_at(**{"y" * 80 + str(n): 0.0 for n in range(3000)}))
    with subprocess.Popen(
        [*COMMAND, "replay", "--speed", "inf", file],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == ExitCode.PIPE_CLOSED
