"""``list_kernels`` and ``list_kernelspecs`` of this machine."""

import json
import logging
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import enchannel as ec
from enchannel_zmq._heartbeat_probe import is_alive
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


def connection_info(port: int) -> ec.ConnectionInfo:
    return ec.ConnectionInfo.from_dict({**CONNECTION, "hb_port": port})


@pytest.fixture
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Set an empty runtime directory."""
    directory = tmp_path / "runtime"
    directory.mkdir(mode=0o700)
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(directory))
    return directory


@pytest.fixture
def left_behind(runtime: Path) -> Path:
    """Return the connection file of a kernel that ended without removing it."""
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    path = runtime / "kernel-left-behind.json"
    path.write_text(json.dumps({**CONNECTION, "hb_port": port}))
    return path


def test_unknown_id_lists_dead_kernels_as_dead(left_behind: Path) -> None:
    with pytest.raises(ec.ConnectionFailed, match=r"connection files: left-behind \(dead\)$"):
        ec.connect("zzzz")


@pytest.mark.kernel
def test_local_kernels_are_listed(left_behind: Path) -> None:
    with ec.launch() as over_ipc, ec.launch(transport="tcp") as over_tcp:
        models = ec.list_kernels()
        assert [model.id for model in models] == [over_tcp.id, over_ipc.id, "left-behind"]
        assert [model.state for model in models] == ["alive", "alive", "dead"]
        assert {model.name for model in models} == {"python3"}
        with ec.connect(models[0].target) as kernel:
            assert kernel.id == over_tcp.id
            assert kernel.run("6 * 7", timeout=DEADLINE).text == "42"
    assert [model.id for model in ec.list_kernels()] == ["left-behind"]


def test_listed_kernel_has_no_key(left_behind: Path) -> None:
    (model,) = ec.list_kernels()
    assert model == ec.KernelModel(
        id="left-behind", name="python3", state="dead", target=str(left_behind)
    )
    assert "secret" not in repr(model)


def test_unreadable_connection_file_is_logged(
    runtime: Path, left_behind: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (runtime / "kernel-odd.json").write_text('{"shell_port": 1}')
    assert [model.id for model in ec.list_kernels()] == ["left-behind"]
    assert caplog.record_tuples == [
        (
            "enchannel.zmq",
            logging.WARNING,
            f"the connection file {runtime}/kernel-odd.json has no ip",
        )
    ]


def test_installed_kernelspecs_are_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, metadata in (("zed", {"debugger": True}), ("odd", {})):
        directory = tmp_path / "kernels" / name
        directory.mkdir(parents=True)
        spec = {"argv": ["x"], "display_name": name.title(), "language": "z", "metadata": metadata}
        (directory / "kernel.json").write_text(json.dumps(spec))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    specs = {spec.name: spec for spec in ec.list_kernelspecs()}
    assert list(specs) == sorted(specs)
    zed = ec.KernelspecModel(
        name="zed", display_name="Zed", language="z", metadata={"debugger": True}
    )
    assert specs["zed"] == zed
    assert hash(specs["zed"]) == hash(zed)
    assert specs["odd"].metadata == {}


def test_kernelspecs_without_jupyter_client_name_extra() -> None:
    script = """if True:
        import sys
        sys.modules["jupyter_client"] = None
        import enchannel as ec
        assert ec.list_kernels() is not None
        try:
            ec.list_kernelspecs()
        except ec.MissingDependency as error:
            print(error)
    """
    ended = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, encoding="utf-8", timeout=DEADLINE
    )
    assert 'pip install "enchannel[launch]"' in ended.stdout, ended.stderr


def test_other_program_at_port_is_not_alive() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        assert not is_alive(connection_info(other.getsockname()[1]))


def test_leftover_socket_file_is_not_alive(tmp_path: Path) -> None:
    if sys.platform == "win32":
        pytest.skip("needs Unix domain sockets")
    ip = os.fspath(tmp_path / "k")
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(f"{ip}-5")
    info = ec.ConnectionInfo.from_dict({**CONNECTION, "transport": "ipc", "ip": ip, "hb_port": 5})
    assert not is_alive(info)
