"""Launching in unusual environments: long paths, no home directory, broken kernelspecs."""

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

import enchannel as ec
import enchannel_zmq
from tests.rigs import DEADLINE

needs_unix_sockets = pytest.mark.skipif(sys.platform == "win32", reason="no Unix domain sockets")
VALID = {"argv": [sys.executable, "-c", "pass"], "display_name": "Valid", "language": "python"}

BROKEN: dict[str, tuple[bytes | dict[str, Any] | list[Any], str]] = {
    "empty": (b"", "is not JSON"),
    "truncated": (b'{"argv": [', "is not JSON"),
    "nested": (b"[" * 100_000, "is not JSON"),
    "utf-16": (json.dumps(VALID).encode("utf-16"), "is not UTF-8"),
    "latin-1": (b'{"display_name": "\xe9"}', "is not UTF-8"),
    "list": ([1], "must be a JSON object, not list"),
    "argv-missing": ({**VALID, "argv": []}, "must have the command"),
    "argv-text": (
        {**VALID, "argv": "python"},
        "argv in .* must be a list of strings, not 'python'",
    ),
    "argv-number": ({**VALID, "argv": ["python", 3]}, "argv in .* must be a list of strings"),
    "env-number": (
        {**VALID, "env": {"THREADS": 4}},
        "env in .* must be an object with string values",
    ),
    "env-list": ({**VALID, "env": ["A=1"]}, "env in .* must be an object"),
    "name-null": ({**VALID, "display_name": None}, "display_name in .* must be a string, not None"),
    "mode": (
        {**VALID, "interrupt_mode": "never"},
        "interrupt_mode in .* must be 'signal' or 'message'",
    ),
    "metadata": ({**VALID, "metadata": [1]}, "metadata in .* must be an object"),
    "stanza": (
        {**VALID, "metadata": {"kernel_provisioner": 5}},
        "kernel_provisioner in .* must be an",
    ),
    "provisioner": (
        {**VALID, "metadata": {"kernel_provisioner": {"provisioner_name": "from-mars"}}},
        "requires the provisioner 'from-mars', which is not installed",
    ),
}


def install(directory: Path, name: str, content: bytes | dict[str, Any] | list[Any]) -> Path:
    """Write a kernelspec below a directory of JUPYTER_PATH."""
    path = directory / "kernels" / name / "kernel.json"
    path.parent.mkdir(parents=True)
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return path


@pytest.fixture
def jupyter_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("name", BROKEN)
def test_broken_kernelspec_fails_launch(jupyter_path: Path, name: str) -> None:
    content, reason = BROKEN[name]
    path = install(jupyter_path, name, content)
    with pytest.raises(ec.LaunchFailed, match=reason) as raised:
        ec.launch(name)
    assert str(path) in str(raised.value)


def test_broken_kernelspecs_are_listed(jupyter_path: Path) -> None:
    paths = {name: install(jupyter_path, name, content) for name, (content, _) in BROKEN.items()}
    install(jupyter_path, "valid", VALID)
    specs = {spec.name: spec for spec in ec.list_kernelspecs()}
    assert specs["valid"].error is None
    for name, path in paths.items():
        assert str(path) in (specs[name].error or "")


def test_broken_kernelspec_hides_no_other(jupyter_path: Path) -> None:
    install(jupyter_path, "broken", b"")
    with pytest.raises(ec.LaunchFailed, match="no kernelspec 'other'; installed: broken"):
        ec.launch("other")


def install_unreadable(directory: Path, kind: str) -> Path:
    """Make a ``kernel.json`` that is not a file, below a directory of JUPYTER_PATH."""
    path = directory / "kernels" / kind / "kernel.json"
    if kind in ("dangling-directory", "loop-directory"):
        path.parent.parent.mkdir()
        path.parent.symlink_to(directory / "gone" if kind == "dangling-directory" else path.parent)
        return path
    path.parent.mkdir(parents=True)
    match kind:
        case "dangling":
            path.symlink_to(directory / "gone")
        case "loop":
            path.symlink_to(path)
        case "directory":
            path.mkdir()
        case _:
            assert sys.platform != "win32"
            os.mkfifo(path)
    return path


UNREADABLE = {
    "dangling": "No such file or directory .a symbolic link to .*gone.; repair or remove the link",
    "dangling-directory": "No such file or directory",
    "loop-directory": "Too many levels of symbolic links",
    "loop": "Too many levels of symbolic links",
    "directory": "must be a regular file",
    "pipe": "must be a regular file",
}


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX only")
@pytest.mark.parametrize("kind", UNREADABLE)
def test_unreadable_kernelspec_is_reported(jupyter_path: Path, kind: str) -> None:
    path = install_unreadable(jupyter_path, kind)
    (spec,) = (spec for spec in ec.list_kernelspecs() if spec.name == kind)
    assert re.search(UNREADABLE[kind], spec.error or "")
    assert str(path) in (spec.error or "")
    with pytest.raises(ec.LaunchFailed, match=UNREADABLE[kind]):
        ec.launch(kind)


def test_directory_without_kernelspec_is_left_out(jupyter_path: Path) -> None:
    (jupyter_path / "kernels" / "empty").mkdir(parents=True)
    (jupyter_path / "kernels" / "file").write_text("")
    assert not {"empty", "file"} & {spec.name for spec in ec.list_kernelspecs()}
    with pytest.raises(ec.LaunchFailed, match="no kernelspec 'empty'"):
        ec.launch("empty")


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX only")
def test_dangling_kernelspec_hides_no_valid_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    monkeypatch.setenv("JUPYTER_PATH", os.pathsep.join(map(str, (first, second))))
    install_unreadable(first, "dangling")
    install(second, "dangling", VALID)
    (spec,) = (spec for spec in ec.list_kernelspecs() if spec.name == "dangling")
    assert (spec.display_name, spec.error) == ("Valid", None)


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX only")
@pytest.mark.parametrize("variable", ["HOME", "IPYTHONDIR", "XDG_CONFIG_HOME"])
def test_kernelspecs_of_ipython_are_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.delenv("IPYTHONDIR", raising=False)
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    if variable != "HOME":
        monkeypatch.setenv(variable, str(tmp_path / "set"))
    directories = {"HOME": ".ipython", "IPYTHONDIR": "set", "XDG_CONFIG_HOME": "set/ipython"}
    install(tmp_path / directories[variable], "old", VALID)
    assert "old" in {spec.name for spec in ec.list_kernelspecs()}


@pytest.mark.kernel
@pytest.mark.filterwarnings("error")
def test_kernelspec_with_bom_and_unknown_fields_starts(jupyter_path: Path) -> None:
    argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    spec = {**VALID, "argv": argv, "codemirror_mode": "python", "resource_dir": "elsewhere"}
    install(jupyter_path, "with-bom", json.dumps(spec).encode("utf-8-sig"))
    with ec.launch("with-bom") as kernel:
        assert kernel.run("6 * 7", timeout=DEADLINE).text == "42"


def test_missing_program_names_kernelspec(jupyter_path: Path) -> None:
    path = install(jupyter_path, "gone", {**VALID, "argv": ["/no/such/python", "-c", "pass"]})
    with pytest.raises(
        ec.LaunchFailed, match="No such file or directory: '/no/such/python'"
    ) as raised:
        ec.launch("gone")
    assert str(path.parent) in str(raised.value)


@pytest.fixture
def long_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Set a temporary directory whose path is too long for the path of a socket."""
    directory = tmp_path / ("x" * 100)
    directory.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(directory))
    return directory


@pytest.mark.kernel
@needs_unix_sockets
def test_auto_transport_is_tcp_in_long_directory(long_directory: Path) -> None:
    with ec.launch() as kernel:
        path = enchannel_zmq.find_connection_file(kernel.id)
        assert enchannel_zmq.read_connection_file(path).transport == "tcp"
        assert kernel.run("6 * 7", timeout=DEADLINE).text == "42"
    assert list(long_directory.iterdir()) == []


@needs_unix_sockets
def test_ipc_in_long_directory_names_remedy(long_directory: Path) -> None:
    with pytest.raises(
        ec.LaunchFailed, match=r"path too long; set TMPDIR to a short path"
    ) as raised:
        ec.launch(transport="ipc")
    assert str(long_directory) in str(raised.value)
    assert list(long_directory.iterdir()) == []


@pytest.mark.kernel
def test_launch_without_writable_runtime_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A user without a home has a file or / as HOME, where no directory can be created."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "file" / "runtime"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "t"))
    (tmp_path / "t").mkdir()
    with ec.launch() as kernel:
        assert kernel.run("6 * 7", timeout=DEADLINE).text == "42"
    assert "set JUPYTER_RUNTIME_DIR to a writable directory" in caplog.text
    assert list((tmp_path / "t").iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="no user database")
def test_launch_without_home_names_remedy(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import pwd\ndef getpwuid(uid): raise KeyError(uid)\npwd.getpwuid = getpwuid\n"
    )
    script = """if True:
        import enchannel as ec
        assert ec.list_kernels() == ()
        for act in (ec.launch, ec.list_kernelspecs, lambda: ec.connect("some-id")):
            try:
                act()
            except ec.EnchannelError as error:
                print(error)
    """
    environ = {name: value for name, value in os.environ.items() if not name.startswith("JUPYTER")}
    environ.pop("HOME", None)
    ended = subprocess.run(
        [sys.executable, "-c", script],
        env={**environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        encoding="utf-8",
        timeout=DEADLINE,
    )
    assert ended.stdout.count("set HOME") == 2, ended.stderr
    assert "no running kernel matches 'some-id'" in ended.stdout
