"""``enchannel relay``, and the other commands with a relay."""

import json
import os
import re
import signal
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass

import pytest

import enchannel as ec
from enchannel._cli.exit_code import ExitCode
from enchannel_socketio import shutdown, spawn
from tests.enchannel_cli.command import COMMAND, enchannel, refused
from tests.rigs import DEADLINE

pytestmark = pytest.mark.kernel

TOKEN = "the-token-of-the-relay"


@dataclass(frozen=True)
class Started:
    """A relay that has printed its link."""

    process: subprocess.Popen[str]
    link: str

    @property
    def url(self) -> str:
        return self.link.partition("/?")[0]

    @property
    def at(self) -> str:
        return f"socketio+{self.url}"

    def stop(self, signum: int = signal.SIGINT) -> tuple[int, str]:
        """Send a signal; return the exit code, and the output on stderr."""
        self.process.send_signal(signum)
        _, err = self.process.communicate(timeout=DEADLINE)
        return self.process.returncode, err


@contextmanager
def started(*arguments: str, token: str = TOKEN) -> Iterator[Started]:
    environ = {name: value for name, value in os.environ.items() if name != "ENCHANNEL_TOKEN"}
    with subprocess.Popen(
        [*COMMAND, "relay", "--port", "0", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        env=environ | ({"ENCHANNEL_TOKEN": token} if token else {}),
    ) as process:
        assert process.stdout is not None
        try:
            yield Started(process, process.stdout.readline().strip())
        finally:
            process.terminate()
            with suppress(ValueError):
                process.communicate(timeout=DEADLINE)


@pytest.fixture(scope="module")
def relay() -> Iterator[Started]:
    with started() as relay:
        yield relay


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENCHANNEL_TOKEN", TOKEN)


def test_printed_link_works_once(relay: Started) -> None:
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
    with opener.open(relay.link, timeout=DEADLINE) as answer:
        assert answer.url == f"{relay.url}/"
        assert b"<title>" in answer.read()
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.build_opener().open(relay.link, timeout=DEADLINE)
    refused.value.close()
    assert refused.value.code == 401


def test_run_on_relay(relay: Started) -> None:
    ended = enchannel("run", "--at", relay.at, "print('woo'); 6 * 7")
    assert (ended.returncode, ended.stdout) == (0, "woo\n42\n")
    assert enchannel("run", "--at", relay.at, "1 / 0").returncode == ExitCode.RAISED


def test_relay_kernels_are_listed_and_connected(relay: Started) -> None:
    with ExitStack() as stack:
        kernel_id = spawn(relay.url, token=TOKEN)
        stack.callback(shutdown, relay.url, kernel_id, token=TOKEN)
        listed = json.loads(enchannel("kernels", "--json", "--at", relay.at).stdout)
        assert "python3" in {spec["name"] for spec in listed["kernelspecs"]}
        (running,) = listed["running"]
        assert running["id"] == kernel_id
        for where in (
            ("--existing", running["target"]),
            ("--at", relay.at, "--existing", kernel_id[:8]),
        ):
            assert enchannel("run", *where, "6 * 7").stdout == "42\n"


def test_wrong_token_names_variable(relay: Started, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENCHANNEL_TOKEN", "another")
    ended = enchannel("kernels", "--at", relay.at)
    assert ended.returncode == ExitCode.NOT_CONNECTED
    assert "ENCHANNEL_TOKEN" in ended.stderr
    assert "another" not in ended.stderr


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_signal_ends_relay_and_kernels(signum: signal.Signals) -> None:
    with started() as relay:
        code = "import os; print(os.getpid(), flush=True); import time; time.sleep(600)"
        with subprocess.Popen(
            [*COMMAND, "run", "--at", relay.at, code],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
        ) as run:
            assert run.stdout is not None
            pid = int(run.stdout.readline())
            ended, err = relay.stop(signum)
            run.kill()
            run.communicate(timeout=DEADLINE)
        assert ended == ExitCode.OK
        assert "Traceback" not in err
        assert not os.path.exists(f"/proc/{pid}")


def test_random_token_is_printed() -> None:
    with started(token="") as relay:
        code, err = relay.stop()
    assert code == ExitCode.OK
    assert re.search(r"access token for programs: ENCHANNEL_TOKEN=\S{40,}", err)


def test_share_and_no_spawn() -> None:
    with ec.launch("python3") as kernel, started("--share", kernel.id, "--no-spawn") as relay:
        listed = json.loads(enchannel("kernels", "--json", "--at", relay.at).stdout)
        (running,) = listed["running"]
        enchannel("run", "--existing", running["target"], "x = 6 * 7")
        assert kernel.run("x").text == "42"
        refused = enchannel("run", "--at", relay.at, "1")
        assert refused.returncode == ExitCode.NOT_CONNECTED
        assert "does not launch kernels" in refused.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--share", "no-such-kernel"), "no-such-kernel"),
        (("--host", "192.0.2.1"), "192.0.2.1"),
        (("--certfile", "/nothing"), "certificate"),
        (("--keyfile", "/nothing"), "certificate"),
        (("--store", "mysql://localhost"), "redis://"),
        (("--store", ""), "a store must be"),
        (("--allow-host", "http://lab.example.org"), "--allow-host must be a host name"),
        (("--allow-origin", "lab.example.org"), "--allow-origin must be an origin"),
        (("--allow-origin", "*"), "--allow-origin must be an origin"),
        (("--host", "\xe9..x"), "must be a host name or an address"),
    ],
)
def test_invalid_options_are_reported(arguments: tuple[str, ...], words: str) -> None:
    ended = refused("relay", "--port", "0", *arguments)
    assert ended.returncode == ExitCode.NOT_CONNECTED
    assert words in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("port", ["99999", "65536", "-1", "22x", "1" * 5_000])
def test_invalid_port_is_refused(port: str) -> None:
    ended = enchannel("relay", "--port", port)
    assert ended.returncode == ExitCode.USAGE
    assert "argument --port: must be a port number from 0 to 65535, not" in ended.stderr


@pytest.mark.parametrize(
    "token", ["SEKRET\xe9 long enough token value", "SEKRET long enough token ", "SEKRET\n" * 3]
)
def test_token_unfit_for_header_is_refused(token: str) -> None:
    with started(token=token) as relay:
        assert relay.link == ""
        assert relay.process.wait(DEADLINE) == ExitCode.NOT_CONNECTED
        assert relay.process.stderr is not None
        err = relay.process.stderr.read()
    assert "ENCHANNEL_TOKEN must have only printable ASCII characters" in err
    assert "SEKRET" not in err


def test_short_token_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENCHANNEL_TOKEN", "short")
    ended = enchannel("relay", "--port", "0")
    assert ended.returncode == ExitCode.NOT_CONNECTED
    assert "ENCHANNEL_TOKEN must have at least 16 characters" in ended.stderr
