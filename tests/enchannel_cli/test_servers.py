"""``--at``: kernels on real Jupyter servers, and servers that deny access or do not answer."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import pytest

import commutable as cm
from enchannel._cli.exit_code import ExitCode
from tests.enchannel_cli.command import COMMAND, enchannel, refused
from tests.enchannel_cli.conftest import SlowKernel
from tests.enchannel_cli.terminal import CODE_THAT_SURVIVES_CTRL_C, CTRL_C, Terminal
from tests.rigs import DEADLINE, eventually
from tests.rigs.servers import HOST, JupyterServer

pytestmark = pytest.mark.kernel

TOKEN = "the-token-of-the-server"
PASSWORD = "correct horse"
UNREACHABLE_URL = f"http://{HOST}:9"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JupyterServer]:
    options: dict[str, dict[str, object]] = {
        "ServerApp": {"allow_remote_access": True},
        "KernelRestarter": {"silent_after": 0.2},
    }
    kernels = tmp_path_factory.mktemp("kernels")
    with JupyterServer(token=TOKEN, options=options, jupyter_path=kernels) as server:
        yield server


@pytest.fixture(scope="module")
def password_server() -> Iterator[JupyterServer]:
    with JupyterServer(password=PASSWORD) as server:
        yield server


@pytest.fixture(scope="module")
def kernel_id(server: JupyterServer) -> str:
    """Start a kernel on the server."""
    return server.start_kernel()


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the token, as most tests need it."""
    monkeypatch.setenv("JUPYTER_TOKEN", TOKEN)
    monkeypatch.delenv("JUPYTER_PASSWORD", raising=False)


@pytest.fixture
def no_new_kernels(server: JupyterServer, kernel_id: str) -> Iterator[None]:
    """Fail a test that leaves a kernel on the server, or shuts down another kernel."""
    yield
    is_unchanged = eventually(lambda: running(server) == [kernel_id])
    # The next test must not fail as well.
    for left in {*running(server)} - {kernel_id}:
        server.delete_kernel(left)
    assert is_unchanged


def running(server: JupyterServer) -> list[str]:
    """Return the ids of the running kernels."""
    ids: list[str] = []

    def is_listed() -> bool:
        try:
            ids[:] = [kernel["id"] for kernel in server.request("GET", "api/kernels")]
        except HTTPError as error:
            # jupyter_server cannot list a kernel between its start and its first state.
            if error.code != HTTPStatus.INTERNAL_SERVER_ERROR:
                raise
            return False
        return True

    assert eventually(is_listed)
    return ids


def has_no_token(ended: "subprocess.CompletedProcess[str]") -> bool:
    return TOKEN not in ended.stdout + ended.stderr


def assert_refused(ended: "subprocess.CompletedProcess[str]", *words: str) -> None:
    """Assert that the command printed one line with all of these words."""
    assert (ended.stdout, ended.returncode) == ("", ExitCode.NOT_CONNECTED)
    assert ended.stderr.startswith("enchannel: ")
    assert ended.stderr.count("\n") == 1
    assert [word for word in words if word not in ended.stderr] == []


@pytest.mark.usefixtures("no_new_kernels")
class TestRun:
    @pytest.fixture(autouse=True)
    def at(self, server: JupyterServer) -> None:
        self.server = server

    def run(self, *arguments: str, stdin: str = "") -> "subprocess.CompletedProcess[str]":
        return enchannel("run", "--at", self.server.url, *arguments, stdin=stdin)

    def terminal(self, *arguments: str) -> Terminal:
        return Terminal("run", "--at", f"{self.server.url}/tree?token={TOKEN}", *arguments)

    def test_run_prints_output_and_result(self) -> None:
        ended = self.run("print('woo'); import os; os.getcwd()")
        cwd = (self.server.home / "work").resolve()
        assert (ended.stdout, ended.stderr, ended.returncode) == (f"woo\n'{cwd}'\n", "", 0)

    def test_url_printed_by_jupyter_has_the_token(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("JUPYTER_TOKEN", "another server's")
        ended = enchannel("run", "--at", f"{self.server.url}/lab?token={TOKEN}", "6 * 7")
        assert (ended.stdout, ended.stderr, ended.returncode) == ("42\n", "", 0)

    def test_error_prints_traceback(self) -> None:
        ended = self.run("print('before'); 1 / 0")
        assert (ended.stdout, ended.returncode) == ("before\n", ExitCode.RAISED)
        assert ended.stderr.endswith("ZeroDivisionError: division by zero\n")

    def test_input_reads_lines_of_stdin(self) -> None:
        ended = self.run("print('hello', input('name? '))", stdin="Bob\n")
        assert (ended.stdout, ended.stderr, ended.returncode) == ("name? hello Bob\n", "", 0)

    def test_unknown_kernelspec_is_reported(self) -> None:
        ended = self.run("--kernel", "nope", "1")
        assert_refused(ended, "no kernelspec 'nope'", self.server.url, "installed: python3")

    def test_dying_kernel_is_reported(self) -> None:
        ended = self.run("import os; os.kill(os.getpid(), 9)")
        assert (ended.stdout, ended.returncode) == ("", ExitCode.DIED)
        assert ended.stderr.startswith("enchannel: kernel ")
        assert ended.stderr.count("\n") == 1

    def test_timeout_interrupts_code(self) -> None:
        ended = self.run("--timeout", "1", "print('began')\nwhile True: pass")
        assert (ended.stdout, ended.returncode) == ("began\n", ExitCode.TIMED_OUT)
        assert "KeyboardInterrupt" in ended.stderr

    def test_ctrl_c_interrupts_code(self) -> None:
        with self.terminal("print('go', flush=True)\nwhile True: pass") as terminal:
            terminal.wait_for("go")
            terminal.press(CTRL_C)
            shown, exit_code = terminal.wait()
        assert "KeyboardInterrupt" in shown
        assert exit_code == ExitCode.RAISED

    def test_second_ctrl_c_ends_kernel(self) -> None:
        with self.terminal(CODE_THAT_SURVIVES_CTRL_C) as terminal:
            terminal.press_ctrl_c_twice()
            assert terminal.wait()[1] == ExitCode.INTERRUPTED

    def test_ctrl_c_while_kernel_starts(self, kernel_id: str) -> None:
        assert self.server.jupyter_path is not None
        SlowKernel(self.server.jupyter_path)
        with self.terminal("--kernel", "slow", "1") as terminal:
            before = terminal.wait_for(f"starting slow on {self.server.url}")
            assert eventually(lambda: len(running(self.server)) == 2)
            terminal.press(CTRL_C)
            shown, exit_code = terminal.wait()
        assert exit_code == ExitCode.INTERRUPTED
        assert "Traceback" not in shown
        assert TOKEN not in before + shown

    def test_recording_has_no_token(self, tmp_path: Path) -> None:
        file = tmp_path / "session.enchannel"
        url = f"{self.server.url}/lab?token={TOKEN}"
        ended = enchannel("run", "--at", url, "--record", str(file), "6 * 7")
        assert (ended.stdout, ended.stderr, ended.returncode) == ("42\n", "", 0)
        assert enchannel("replay", "--speed", "inf", str(file)).stdout == "42\n"
        assert TOKEN.encode() not in file.read_bytes()


@pytest.mark.usefixtures("no_new_kernels")
class TestRunningKernel:
    """The kernel is left running, with its variables."""

    @pytest.fixture(autouse=True)
    def kernel(self, server: JupyterServer, kernel_id: str) -> None:
        self.server, self.id = server, kernel_id
        self.url = f"{server.url}/api/kernels/{kernel_id}"

    def test_kernel_is_found_by_url(self) -> None:
        url = f"{self.url}?token={TOKEN}"
        first = enchannel("run", "--existing", url, "x = 6", environ={"JUPYTER_TOKEN": ""})
        then = enchannel("run", "--existing", self.url, "x * 7")
        assert (first.stdout, first.stderr, first.returncode) == ("", "", 0)
        assert (then.stdout, then.stderr, then.returncode) == ("42\n", "", 0)

    def test_kernel_is_found_by_start_of_id(self) -> None:
        at = f"{self.server.url}/lab?token={TOKEN}"
        options = ("--at", at, "--existing", self.id[:8])
        ended = enchannel("run", *options, "6 * 7", environ={"JUPYTER_TOKEN": ""})
        assert (ended.stdout, ended.stderr, ended.returncode) == ("42\n", "", 0)

    def test_unknown_id_lists_running_kernels(self) -> None:
        ended = enchannel("run", "--at", self.server.url, "--existing", "nope", "1")
        assert_refused(ended, "'nope'", self.server.url, self.id)

    def test_unknown_url_is_reported(self) -> None:
        ended = enchannel("run", "--existing", f"{self.server.url}/api/kernels/nope", "1")
        assert_refused(ended, "nope", self.server.url)

    @pytest.mark.parametrize("by_url", [True, False])
    def test_kernel_is_recorded(self, tmp_path: Path, by_url: bool) -> None:
        file = tmp_path / "session.enchannel"
        which = (f"{self.url}?token={TOKEN}",) if by_url else ("--at", self.server.url, self.id)
        with subprocess.Popen(
            [*COMMAND, "record", *which, file], stderr=subprocess.PIPE, encoding="utf-8"
        ) as process:
            assert process.stderr is not None
            began = process.stderr.readline()
            assert (
                began == f"enchannel: recording kernel {self.id} in {file}; press Ctrl-C to stop\n"
            )
            assert enchannel("run", "--existing", self.url, "print('woo')").stdout == "woo\n"
            assert eventually(lambda: b"woo" in file.read_bytes())
            process.terminate()
            err = process.communicate(timeout=DEADLINE)[1]
        assert process.returncode == 0
        assert err.endswith(f"in {file}\n")
        assert enchannel("replay", "--speed", "inf", str(file)).stdout == "woo\n"
        assert TOKEN.encode() not in file.read_bytes() + err.encode()

    def test_kernel_is_listed(self) -> None:
        ended = enchannel("kernels", "--at", f"{self.server.url}/lab?token={TOKEN}")
        rows = [line.split() for line in ended.stdout.splitlines()]
        assert (ended.stderr, ended.returncode) == ("", 0)
        assert ["KERNELSPEC", "LANGUAGE", "NAME"] in rows
        assert ["python3", "python", "Python", "3", "(ipykernel)"] in rows
        assert ["KERNEL", "KERNELSPEC", "STATE", "CONNECTIONS", "LAST", "ACTIVITY"] in rows
        assert [row[:2] for row in rows if self.id in row] == [[self.id, "python3"]]
        assert has_no_token(ended)

    def test_kernel_is_listed_in_json(self) -> None:
        ended = enchannel("kernels", "--json", "--at", f"{self.server.url}/?token={TOKEN}")
        listing = json.loads(ended.stdout)
        (python3,) = [spec for spec in listing["kernelspecs"] if spec["name"] == "python3"]
        assert python3["display_name"] == "Python 3 (ipykernel)"
        assert python3["language"] == "python"
        (kernel,) = listing["running"]
        assert kernel.pop("state") in ("starting", "busy", "idle")
        assert datetime.fromisoformat(kernel.pop("last_activity")).tzinfo is not None
        assert kernel == {
            "id": self.id,
            "name": "python3",
            "connections": 0,
            "target": self.url,
        }
        assert has_no_token(ended)


# servers that deny access or do not answer


def refusals(
    url: str, run: Callable[..., "subprocess.CompletedProcess[str]"] = refused
) -> Iterator["subprocess.CompletedProcess[str]"]:
    """Run each command that connects to a server."""
    yield run("run", "--at", url, "1")
    yield run("run", "--at", url, "--existing", "1a2b", "1")
    yield run("kernels", "--at", url)
    yield run("record", "--at", url, "1a2b", os.devnull)


def test_wrong_token_is_refused(server: JupyterServer) -> None:
    for ended in refusals(f"{server.url}/lab?token=wrong-one", enchannel):
        assert_refused(ended, server.url, "does not accept the token")
        assert "wrong-one" not in ended.stderr
        assert has_no_token(ended)


def test_missing_token_names_options(
    server: JupyterServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("JUPYTER_TOKEN")
    for ended in refusals(server.url):
        assert_refused(ended, server.url, "?token=", "JUPYTER_TOKEN", "--ask-password")
        assert "password=" not in ended.stderr


def test_unreachable_server_is_reported() -> None:
    for ended in refusals(f"{UNREACHABLE_URL}/lab?token={TOKEN}"):
        assert_refused(ended, UNREACHABLE_URL, "could not connect to")
        assert has_no_token(ended)


def test_url_without_host_is_refused() -> None:
    for ended in refusals(f"http:///lab?token={TOKEN}"):
        assert_refused(ended, "a server URL must begin with", "and a host")
        assert has_no_token(ended)


def test_http_to_other_host_needs_allow_http(server: JupyterServer) -> None:
    url = server.url.replace(HOST, "0.0.0.0")  # noqa: S104  # another name of this machine
    for ended in refusals(url):
        assert_refused(ended, "in the clear", "--allow-http")
    ended = enchannel("kernels", "--allow-http", "--at", url)
    assert (ended.stderr, ended.returncode) == ("", 0)


def test_invalid_url_is_not_repeated() -> None:
    ended = refused("kernels", "--at", f"localhost:8888/lab?token={TOKEN}")
    assert (ended.stdout, ended.returncode) == ("", ExitCode.USAGE)
    assert "a server URL must begin with http:// or https://" in ended.stderr
    assert has_no_token(ended)


def test_certificate_is_trusted_by_ssl_cert_file() -> None:
    with JupyterServer(token=TOKEN, tls=True) as server:
        for ended in refusals(server.url):
            assert_refused(ended, "certificate", "SSL_CERT_FILE")
        environ = {"SSL_CERT_FILE": str(server.certificate)}
        ended = enchannel("run", "--at", server.url, "6 * 7", environ=environ)
        assert (ended.stdout, ended.stderr, ended.returncode) == ("42\n", "", 0)


@pytest.mark.parametrize("library", ["httpx", "websockets"])
def test_missing_library_names_extra(library: str) -> None:
    script = """if True:
        import sys
        sys.modules[sys.argv.pop(1)] = None
        from enchannel.__main__ import main
        sys.exit(main(sys.argv[1:]))
    """
    for arguments in (["run", "1"], ["run", "--existing", "1a2b", "1"], ["kernels"]):
        ended = subprocess.run(
            [sys.executable, "-c", script, library, *arguments, "--at", UNREACHABLE_URL],
            capture_output=True,
            encoding="utf-8",
            timeout=DEADLINE,
        )
        assert_refused(ended, library, 'pip install "enchannel[websocket]"')


def test_lost_server_may_keep_kernel() -> None:
    with (
        JupyterServer(token=TOKEN) as server,
        Terminal("run", "--at", server.url, "input('ready? ')") as terminal,
    ):
        terminal.wait_for("ready? ")
        (kernel_id,) = running(server)
        server.kill()
        terminal.process.terminate()
        shown, exit_code = terminal.wait()
    assert f"kernel {kernel_id} could not be shut down, and may still run" in shown
    assert exit_code == 128 + signal.SIGTERM


# a server with a password


def test_ask_password_reads_terminal(password_server: JupyterServer) -> None:
    options = ("--at", password_server.url, "--ask-password")
    with Terminal("run", *options, "6 * 7") as terminal:
        terminal.wait_for(f"password for {password_server.url}: ")
        terminal.press(f"{PASSWORD}\n")
        shown, exit_code = terminal.wait()
    assert exit_code == 0
    assert shown.endswith("42\r\n")
    assert PASSWORD not in shown


def test_password_is_read_from_environment(
    password_server: JupyterServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("JUPYTER_TOKEN")
    for password, exit_code in ((PASSWORD, 0), ("battery staple", ExitCode.NOT_CONNECTED)):
        environ = {"JUPYTER_PASSWORD": password}
        ended = enchannel("kernels", "--at", password_server.url, environ=environ)
        assert ended.returncode == exit_code
        assert password not in ended.stdout + ended.stderr
    assert "does not accept the password" in ended.stderr


def test_ctrl_c_at_ask_password() -> None:
    with Terminal("kernels", "--at", UNREACHABLE_URL, "--ask-password") as terminal:
        terminal.wait_for("password for ")
        terminal.press(CTRL_C)
        shown, exit_code = terminal.wait()
    assert exit_code == ExitCode.INTERRUPTED
    assert "Traceback" not in shown


def test_ask_password_needs_terminal() -> None:
    ended: Any = subprocess.run(
        [*COMMAND, "kernels", "--at", UNREACHABLE_URL, "--ask-password"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=DEADLINE,
        # A new session has no terminal.
        start_new_session=True,
    )
    assert_refused(ended, "--ask-password requires a terminal", "JUPYTER_PASSWORD")


@pytest.mark.usefixtures("no_new_kernels")
def test_notebook_runs_on_server(server: JupyterServer, tmp_path: Path) -> None:
    path, done = tmp_path / "a.ipynb", tmp_path / "done.ipynb"
    cells = [cm.code_cell("print('woo')"), cm.code_cell("1 / 0"), cm.code_cell("'never'")]
    cm.save(cm.Notebook(cells), path)
    ended = enchannel("run", str(path), "--output", str(done), "--at", server.url)
    assert ended.returncode == ExitCode.RAISED
    assert "cell 2 of 3" in ended.stderr
    saved = [cell.outputs.text for cell in cm.load(done).cells if isinstance(cell, cm.CodeCell)]
    assert saved[0] == "woo\n"
    assert "ZeroDivisionError" in saved[1]
    assert saved[2] == ""
