"""``enchannel kernels``."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import enchannel as ec
from enchannel._cli.exit_code import ExitCode
from tests.enchannel_cli.command import enchannel
from tests.enchannel_cli.conftest import SlowKernel
from tests.rigs import DEADLINE

CONNECTION = {
    "transport": "tcp",
    "ip": "127.0.0.1",
    "key": "secret",
    "kernel_name": "python3",
    "shell_port": 1,
    "iopub_port": 2,
    "stdin_port": 3,
    "control_port": 4,
}


@pytest.fixture
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Set an empty runtime directory."""
    directory = tmp_path / "runtime"
    directory.mkdir(mode=0o700)
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(directory))
    return directory


@pytest.fixture
def left_behind(runtime: Path) -> str:
    """Return the id of a kernel that ended without removing its connection file."""
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    path = runtime / "kernel-left-behind.json"
    path.write_text(json.dumps({**CONNECTION, "hb_port": port}))
    return "left-behind"


@pytest.mark.kernel
def test_running_kernel_is_alive(runtime: Path, left_behind: str) -> None:
    with ec.launch() as over_ipc, ec.launch(transport="tcp") as over_tcp:
        listing = json.loads(enchannel("kernels", "--json").stdout)
        table = enchannel("kernels").stdout
    states = {kernel["id"]: kernel["state"] for kernel in listing["running"]}
    assert states == {over_ipc.id: "alive", over_tcp.id: "alive", left_behind: "dead"}
    assert listing["running"][-1] == {
        "id": left_behind,
        "name": "python3",
        "state": "dead",
        "connections": None,
        "last_activity": None,
        "target": str(runtime / f"kernel-{left_behind}.json"),
    }
    rows = [line.split() for line in table.splitlines()]
    assert ["KERNEL", "KERNELSPEC", "STATE"] in rows
    assert [over_ipc.id, "python3", "alive"] in rows
    assert [left_behind, "python3", "dead"] in rows
    assert "secret" not in table + str(listing)


def test_broken_kernelspec_is_listed_with_reason(tmp_path: Path, runtime: Path) -> None:
    path = tmp_path / "kernels" / "bad" / "kernel.json"
    path.parent.mkdir(parents=True)
    path.write_text("{")
    environ = {"JUPYTER_PATH": str(tmp_path)}
    ended = enchannel("kernels", environ=environ)
    assert (ended.stderr, ended.returncode) == ("", 0)
    (line,) = (line for line in ended.stdout.splitlines() if line.startswith("bad "))
    assert f"broken: the kernelspec {path} is not JSON" in line
    ended = enchannel("run", "--kernel", "bad", "1", environ=environ)
    assert f"the kernelspec {path} is not JSON" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_unusual_kernelspec_name_is_one_row(tmp_path: Path, runtime: Path) -> None:
    path = tmp_path / "kernels" / "with space" / "kernel.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"argv": ["x"], "display_name": "Odd", "language": "odd"}))
    ended = enchannel("kernels", environ={"JUPYTER_PATH": str(tmp_path)})
    assert (ended.stderr, ended.returncode) == ("", 0)
    (line,) = (line for line in ended.stdout.splitlines() if line.startswith("with space "))
    assert line.split() == ["with", "space", "odd", "Odd"]


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX only")
@pytest.mark.parametrize("home", ["/proc", "/no/such", os.devnull])
def test_unusable_home_hides_no_kernelspec(
    home: str, tmp_path: Path, runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("IPYTHONDIR", raising=False)
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    ended = enchannel("kernels", environ={"HOME": home, "TMPDIR": str(temporary)})
    assert (ended.stderr, ended.returncode) == ("", 0)
    assert any(line.startswith("python3 ") for line in ended.stdout.splitlines())
    assert list(temporary.iterdir()) == []


def test_kernelspecs_are_listed(slow_kernel: SlowKernel, runtime: Path) -> None:
    environ = {"JUPYTER_PATH": slow_kernel.jupyter_path}
    listing = json.loads(enchannel("kernels", "--json", environ=environ).stdout)
    slow = {"name": "slow", "display_name": "Slow", "language": "python", "metadata": {}}
    assert {**slow, "error": None} in listing["kernelspecs"]
    assert listing["running"] == []
    ended = enchannel("kernels", environ=environ)
    assert ["slow", "python", "Slow"] in [line.split() for line in ended.stdout.splitlines()]
    assert ended.stdout.endswith("\nno running kernels\n")
    assert (ended.stderr, ended.returncode) == ("", 0)


def test_missing_jupyter_client_names_extra(left_behind: str) -> None:
    script = """if True:
        import sys
        sys.modules["jupyter_client"] = None
        from enchannel.__main__ import main
        sys.exit(main(sys.argv[1:]))
    """
    for arguments in (["kernels"], ["kernels", "--json"]):
        ended = subprocess.run(
            [sys.executable, "-c", script, *arguments],
            capture_output=True,
            encoding="utf-8",
            timeout=DEADLINE,
        )
        assert ended.returncode == 0
        assert left_behind in ended.stdout
        assert 'pip install "enchannel[launch]"' in ended.stderr
    assert json.loads(ended.stdout)["kernelspecs"] is None


LISTER = """
from datetime import UTC, datetime

from enchannel import KernelModel, KernelspecModel
from enchannel.abc import Lister


class TcpKernelModel(KernelModel):
    ...


class TcpBackend(Lister):
    contract = 1

    def open(self, target, context):
        raise NotImplementedError

    def list_kernels(self, context, *, colour="red"):
        when = datetime(2030, 1, 2, tzinfo=UTC)
        target = f"{context.at}/ada"
        return (TcpKernelModel(id="ada", state="idle", last_activity=when, target=target),)

    def list_kernelspecs(self, context):
        return (KernelspecModel(name="julia", language="julia", metadata={"debugger": True}),)


backend = TcpBackend()
"""


@pytest.fixture
def lister(tmp_path: Path) -> dict[str, str]:
    """Return the environment in which a backend for ``tcp://`` is installed."""
    (tmp_path / "tcp_lister.py").write_text(LISTER)
    information = tmp_path / "tcp_lister-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: tcp-lister\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text("[enchannel.backends]\ntcp=tcp_lister:backend\n")
    return {"PYTHONPATH": str(tmp_path), "TZ": "UTC"}


def test_other_backend_is_listed(lister: dict[str, str]) -> None:
    ended = enchannel("kernels", "--at", "tcp://there", environ=lister)
    assert (ended.stderr, ended.returncode) == ("", 0)
    rows = [line.split() for line in ended.stdout.splitlines()]
    assert ["KERNEL", "STATE", "LAST", "ACTIVITY"] in rows
    assert ["ada", "idle", "2030-01-02", "00:00:00"] in rows
    assert ["julia", "julia"] in rows
    listing = json.loads(
        enchannel("kernels", "--json", "--at", "tcp://there", environ=lister).stdout
    )
    assert listing["kernelspecs"] == [
        {
            "name": "julia",
            "display_name": "",
            "language": "julia",
            "metadata": {"debugger": True},
            "error": None,
        }
    ]
    assert listing["running"] == [
        {
            "id": "ada",
            "name": "",
            "state": "idle",
            "connections": None,
            "last_activity": "2030-01-02T00:00:00+00:00",
            "target": "tcp://there/ada",
        }
    ]


@pytest.mark.parametrize(
    "arguments",
    [
        ("run", "--at", "tcp://there", "--existing", "tcp://there/ada", "1"),
        ("run", "--at", "memory://there", "--existing", "ada", "1"),
        ("kernels", "--at", "memory://there"),
    ],
)
def test_invalid_kernel_of_server_is_reported(
    lister: dict[str, str], arguments: tuple[str, ...]
) -> None:
    ended = enchannel(*arguments, environ=lister)
    assert (ended.stdout, ended.returncode) == ("", ExitCode.NOT_CONNECTED)
    assert ended.stderr.startswith("enchannel: ")
    assert ended.stderr.count("\n") == 1


def test_invalid_connection_file_is_reported(runtime: Path, left_behind: str) -> None:
    (runtime / "kernel-odd.json").write_text('{"shell_port": 1}')
    ended = enchannel("kernels")
    assert ended.returncode == 0
    assert left_behind in ended.stdout
    assert ended.stderr == f"enchannel: the connection file {runtime}/kernel-odd.json has no ip\n"


def test_table_has_no_escape_sequences(runtime: Path, left_behind: str) -> None:
    odd = {**CONNECTION, "hb_port": 1, "kernel_name": "a\x1b[2J\nb"}
    (runtime / "kernel-odd.json").write_text(json.dumps(odd))
    assert ["odd", "a", "b", "dead"] in [
        line.split() for line in enchannel("kernels").stdout.splitlines()
    ]
