"""``enchannel run`` in pipes, with real kernels and real faults."""

import base64
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

import enchannel as ec
from enchannel._cli.exit_code import ExitCode
from tests.enchannel_cli.command import COMMAND, enchannel, refused
from tests.rigs import DEADLINE
from tests.rigs.idle import LOST_IDLE

pytestmark = pytest.mark.kernel


def test_run_prints_output_and_result() -> None:
    ended = enchannel("run", "print('woo'); 6 * 7")
    assert (ended.stdout, ended.stderr, ended.returncode) == ("woo\n42\n", "", 0)


class TestOutput:
    """The kernel is left running."""

    @pytest.fixture(autouse=True)
    def connection(self, running: ec.Kernel) -> Iterator[None]:
        self.kernel = running
        yield
        assert running.run("6 * 7", timeout=DEADLINE).text == "42"

    def run(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return enchannel("run", "--existing", self.kernel.id, *arguments, stdin=stdin)

    def test_stderr_of_code_goes_to_stderr(self) -> None:
        ended = self.run("import sys; print('out'); print('err', file=sys.stderr)")
        assert (ended.stdout, ended.stderr, ended.returncode) == ("out\n", "err\n", 0)

    def test_error_prints_plain_traceback(self) -> None:
        ended = self.run("print('before'); 1 / 0")
        assert (ended.stdout, ended.returncode) == ("before\n", ExitCode.RAISED)
        assert ended.stderr.endswith("ZeroDivisionError: division by zero\n")
        assert "Traceback (most recent call last)" in ended.stderr
        assert "\x1b" not in ended.stderr

    def test_stream_in_pipe_is_unchanged(self) -> None:
        ended = self.run(r"print('50%\r100% \x1b[31mred\x1b[2J é')")
        assert ended.stdout == "50%\r100% \x1b[31mred\x1b[2J é\n"

    def test_displays_are_printed_as_text(self) -> None:
        ended = self.run(
            "d = display({'text/plain': 'one'}, raw=True, display_id=True); "
            "d.update({'text/plain': 'two'}, raw=True); "
            "display({'image/png': '', 'text/html': ''}, raw=True)"
        )
        assert ended.stdout == "one\ntwo\n<image/png, text/html>\n"

    def test_ipython_help_is_printed(self) -> None:
        assert "Prints the values" in self.run("print?").stdout

    def test_next_input_is_printed(self) -> None:
        ended = self.run("get_ipython().set_next_input('x = 42')")
        assert ended.stdout == "x = 42\n"

    def test_lost_output_has_own_exit_code(self) -> None:
        ended = self.run(LOST_IDLE)
        assert (ended.stdout, ended.returncode) == ("in time\n", ExitCode.OUTPUT_MISSING)
        assert "output may be missing" in ended.stderr

    def test_large_output_is_complete(self) -> None:
        ended = self.run("for i in range(100_000): print(i)")
        assert ended.stdout == "".join(f"{i}\n" for i in range(100_000))

    def test_connection_takes_start_of_id(self) -> None:
        ended = enchannel("run", "--existing", self.kernel.id[:8], "6 * 7")
        assert ended.stdout == "42\n"

    def test_code_may_begin_with_dash(self) -> None:
        assert self.run("--", "-42").stdout == "-42\n"

    def test_code_is_read_from_file(self, tmp_path: Path) -> None:
        path = tmp_path / "code.py"
        path.write_bytes(b"# coding: latin-1\nprint('\xe9')\n")
        assert self.run(str(path)).stdout == "é\n"

    def test_code_is_read_from_stdin(self) -> None:
        ended = self.run("-", stdin="x = 6\nprint('é')\nx * 7\n")
        assert (ended.stdout, ended.returncode) == ("é\n42\n", 0)

    def test_input_reads_stdin_to_its_end(self) -> None:
        code = "from getpass import getpass; print([input('a? '), getpass('b? ')]); input('c? ')"
        ended = self.run(code, stdin="Bob\nsecret")
        assert ended.stdout == "a? b? ['Bob', 'secret']\nc? "
        assert ended.returncode == ExitCode.RAISED
        assert "EOFError" in ended.stderr

    def test_input_of_code_from_stdin_raises_eof(self) -> None:
        ended = self.run("-", stdin="input()\n'no answer'\n")
        assert ended.returncode == ExitCode.RAISED
        assert "EOFError" in ended.stderr

    def test_json_has_messages_of_all_channels(self) -> None:
        code = "print(input('name? ')); 6 * 7"
        ended = self.run("--json", code, stdin="Bob\n")
        messages = [json.loads(line) for line in ended.stdout.splitlines()]
        assert (ended.returncode, ended.stderr) == (0, "")
        fields = ["channel", "header", "parent_header", "metadata", "content", "buffers"]
        assert all(list(message) == fields for message in messages)
        assert len({message["parent_header"]["msg_id"] for message in messages}) == 1
        seen = [(message["channel"], message["header"]["msg_type"]) for message in messages]
        assert seen.count(("iopub", "status")) == 2
        for one in (
            ("iopub", "execute_input"),
            ("stdin", "input_request"),
            ("iopub", "stream"),
            ("iopub", "execute_result"),
        ):
            assert seen.count(one) == 1
        assert seen[-1] == ("shell", "execute_reply")
        streams = [m["content"] for m in messages if m["header"]["msg_type"] == "stream"]
        assert streams == [{"name": "stdout", "text": "Bob\n"}]

    def test_json_has_error_and_exit_code(self) -> None:
        ended = self.run("--json", "1 / 0")
        assert (ended.returncode, ended.stderr) == (ExitCode.RAISED, "")
        errors = [
            m["content"]["ename"]
            for m in map(json.loads, ended.stdout.splitlines())
            if m["header"]["msg_type"] == "error"
        ]
        assert errors == ["ZeroDivisionError"]

    def test_json_has_buffers_in_base64(self) -> None:
        code = (
            "k = get_ipython().kernel; k.session.send(k.iopub_socket, 'display_data', "
            "{'data': {}, 'metadata': {}}, parent=k.get_parent(), buffers=[b'\\x00\\xff', b''])"
        )
        messages = map(json.loads, self.run("--json", f"{code};").stdout.splitlines())
        (shown,) = [m for m in messages if m["header"]["msg_type"] == "display_data"]
        assert [base64.b64decode(buffer) for buffer in shown["buffers"]] == [b"\x00\xff", b""]

    def test_timeout_interrupts_code(self) -> None:
        ended = self.run("--timeout", "1", "import time\nprint('began')\ntime.sleep(1000)")
        assert (ended.stdout, ended.returncode) == ("began\n", ExitCode.TIMED_OUT)
        assert "KeyboardInterrupt" in ended.stderr
        assert ended.stderr.endswith("did not finish within 1 s, and was interrupted\n")

    def test_run_into_closed_pipe_is_quiet(self) -> None:
        code = "while True: print('y')"
        with subprocess.Popen(
            [*COMMAND, "run", "--existing", self.kernel.id, code],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            assert process.stdout.readline() == b"y\n"
            process.stdout.close()
            assert process.stderr.read() == b""
        assert process.returncode == ExitCode.PIPE_CLOSED

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
    def test_full_disk_is_reported(self) -> None:
        with open("/dev/full", "w") as full:
            ended = subprocess.run(
                [*COMMAND, "run", "--existing", self.kernel.id, "print('x')"],
                stdout=full,
                stderr=subprocess.PIPE,
                encoding="utf-8",
                timeout=DEADLINE,
            )
        assert (ended.returncode, ended.stderr) == (
            ExitCode.RAISED,
            "enchannel: No space left on device\n",
        )


def test_dying_kernel_is_reported() -> None:
    code = "import os; print('last words'); input(); os.kill(os.getpid(), 9)"
    ended = enchannel("run", code, stdin="\n")
    assert (ended.stdout, ended.returncode) == ("last words\n", ExitCode.DIED)
    assert ended.stderr.startswith("enchannel: kernel ")
    assert ended.stderr.endswith(" died by SIGKILL\n")


def test_timeout_kills_uninterruptible_code() -> None:
    code = """if True:
        import os, threading
        print(os.getpid(), flush=True)
        while True:
            try:
                threading.Event().wait()
            except KeyboardInterrupt:
                print('no', flush=True)
    """
    ended = enchannel("run", "--timeout", "1", code)
    pid, no = ended.stdout.split()
    assert (no, ended.returncode) == ("no", ExitCode.TIMED_OUT)
    assert not psutil.pid_exists(int(pid))


def test_unknown_kernelspec_is_reported() -> None:
    ended = enchannel("run", "--kernel", "nope", "1")
    assert (ended.stdout, ended.returncode) == ("", ExitCode.NOT_CONNECTED)
    assert ended.stderr.startswith(
        "enchannel: starting a kernel failed: no kernelspec 'nope'; installed: "
    )
    assert ended.stderr.count("\n") == 1


@pytest.mark.parametrize("target", ["nobody", "./no/such.json"])
def test_missing_connection_is_reported(target: str) -> None:
    ended = refused("run", "--existing", target, "1")
    assert (ended.stdout, ended.returncode) == ("", ExitCode.NOT_CONNECTED)
    assert target.rpartition("/")[2] in ended.stderr
    assert "Traceback" not in ended.stderr


def test_invalid_connection_file_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "kernel-1.json"
    path.write_text("{}")
    ended = refused("run", "--existing", str(path), "1")
    assert ended.returncode == ExitCode.NOT_CONNECTED
    assert ended.stderr == f"enchannel: the connection file {path} has no ip\n"


def test_unknown_scheme_is_reported() -> None:
    ended = refused("run", "--existing", "gopher://host/kernel", "1")
    assert ended.returncode == ExitCode.NOT_CONNECTED
    assert "no backend 'gopher'" in ended.stderr


def test_missing_file_is_reported() -> None:
    ended = enchannel("run", "missing.py")
    assert (ended.stdout, ended.returncode) == ("", ExitCode.USAGE)
    assert ended.stderr == "enchannel: file missing.py does not exist\n"


def test_directory_is_refused(tmp_path: Path) -> None:
    ended = refused("run", str(tmp_path))
    assert (ended.stdout, ended.returncode) == ("", ExitCode.USAGE)
    assert ended.stderr == f"enchannel: {tmp_path} is a directory\n"


def test_binary_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "code.py"
    path.write_bytes(b"x = '\xff'")
    ended = refused("run", str(path))
    assert ended.returncode == ExitCode.USAGE
    assert ended.stderr.startswith(f"enchannel: {path} is not text")
