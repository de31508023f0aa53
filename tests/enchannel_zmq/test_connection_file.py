"""Connection files: finding them by name, checking their owner, and reading them."""

import json
import os
import sys
import traceback
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import enchannel as ec
import enchannel_zmq
from enchannel import ConnectionInfo
from tests.rigs.frames import KEY

SECRET = KEY.decode()
FIELDS: dict[str, Any] = {
    "transport": "tcp",
    "ip": "127.0.0.1",
    "shell_port": 1,
    "iopub_port": 2,
    "stdin_port": 3,
    "control_port": 4,
    "hb_port": 5,
    "key": SECRET,
    "signature_scheme": "hmac-sha256",
}


@pytest.fixture
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Create a runtime directory, and change to another directory."""
    directory = tmp_path / "runtime"
    directory.mkdir()
    elsewhere = tmp_path / "cwd"
    elsewhere.mkdir()
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(directory))
    monkeypatch.chdir(elsewhere)
    return directory


def write(path: Path, *, age: float = 0.0, mode: int = 0o600, **changes: Any) -> Path:
    path.write_text(json.dumps({**FIELDS, **changes}))
    path.chmod(mode)
    os.utime(path, (1e9 - age, 1e9 - age))
    return path


def refusal(target: str | os.PathLike[str]) -> str:
    """Return the error text; check that neither the error nor its causes reveal the key."""
    with pytest.raises(ec.ConnectionFailed) as raised:
        enchannel_zmq.read_connection_file(enchannel_zmq.find_connection_file(target))
    assert type(raised.value) is ec.ConnectionFailed
    error: BaseException | None = raised.value
    while error is not None:
        assert SECRET not in f"{error!r} {error.args} {vars(error)} {getattr(error, 'doc', '')}"
        assert SECRET.encode() not in getattr(error, "object", b"")
        error = error.__context__
    return str(raised.value)


# -- contents --------------------------------------------------------------------------------------


def test_connection_file_is_read(tmp_path: Path) -> None:
    path = write(tmp_path / "k.json", kernel_name="python3", jupyter_session="a.ipynb")
    read = enchannel_zmq.read_connection_file(path)
    assert read == ConnectionInfo.from_dict(
        {**FIELDS, "kernel_name": "python3", "jupyter_session": "a.ipynb"}
    )


def test_byte_order_mark_of_file_is_ignored(tmp_path: Path) -> None:
    path = write(tmp_path / "k.json")
    expected = enchannel_zmq.read_connection_file(path)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert enchannel_zmq.read_connection_file(path) == expected


def test_directory_target_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path) == f"target must be a connection file, not the directory {tmp_path}"


def test_missing_file_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "k.json"
    assert refusal(path) == f"connection file not found: {path}"
    with pytest.raises(ec.ConnectionFailed, match="connection file not found"):
        enchannel_zmq.read_connection_file(path)


@pytest.mark.parametrize("text", ["", " \n", "\0"])
def test_empty_file_is_reported(tmp_path: Path, text: str) -> None:
    path = tmp_path / "k.json"
    path.write_text(text)
    error_text = refusal(path)
    assert str(path) in error_text
    assert "is empty; a kernel that is starting writes it" in error_text or text == "\0"


@pytest.mark.parametrize(
    "data",
    [
        f'{{"key": "{SECRET}"'.encode(),
        f'{{"key": "{SECRET}"}} {SECRET}'.encode(),
        f'{{"key": "{SECRET}", "x": "\xff"}}'.encode("latin-1"),
        f'{{"key": "{SECRET}"}}'.encode("utf-16"),
        f'{{"key": "{SECRET}", "x": {"[" * 100_000}'.encode(),
        f'{{"key": "{SECRET}", "x": {"9" * 5_000}}}'.encode(),
        b"\x00" * 100,
        KEY,
    ],
)
def test_file_without_json_is_reported(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "k.json"
    path.write_bytes(data)
    assert refusal(path) == f"the connection file {path} is not JSON"


@pytest.mark.parametrize("value", [[FIELDS], SECRET, 5, None, True])
def test_json_that_is_not_an_object_is_reported(tmp_path: Path, value: object) -> None:
    path = tmp_path / "k.json"
    path.write_text(json.dumps(value))
    assert refusal(path) == f"the connection file {path} is not a JSON object"


@pytest.mark.parametrize(
    "changes",
    [
        {"shell_port": None},
        {"hb_port": "a"},
        {"transport": "udp"},
        {"signature_scheme": "hmac-none"},
        {"key": 5},
        {"key": SECRET + "\ud800"},
        {"ip": ""},
    ],
    ids=str,
)
def test_invalid_field_is_named(tmp_path: Path, changes: dict[str, Any]) -> None:
    [name] = changes
    path = write(tmp_path / "k.json", **changes)
    error_text = refusal(path)
    assert name in error_text or name.replace("_", " ") in error_text
    assert str(path) in error_text


@given(data=st.binary() | st.text().map(lambda text: text.encode("utf-8", "replace")))
def test_any_content_raises_connection_failed(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "anything.json"
    path.write_bytes(data)
    with pytest.raises(ec.ConnectionFailed):
        enchannel_zmq.read_connection_file(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this platform has no named pipes")
def test_file_without_end_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(ec.ConnectionFailed, match=f"file {path} is not a regular file"):
            enchannel_zmq.read_connection_file(path)


def test_huge_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "kernel-1.json"
    path.write_text("[" + " " * (1 << 20) + "]")
    with pytest.raises(ec.ConnectionFailed, match="has more than 1 MiB"):
        enchannel_zmq.read_connection_file(path)


def test_reading_directory_is_reported(tmp_path: Path) -> None:
    assert str(tmp_path) in refusal(tmp_path)
    with pytest.raises(ec.ConnectionFailed, match="reading the connection file .* failed"):
        enchannel_zmq.read_connection_file(tmp_path)


@pytest.mark.parametrize("target", ["x" * 5_000, "\0", "", "a\nb"])
def test_odd_name_is_refused(runtime: Path, target: str) -> None:
    assert "matches" in refusal(target)


def test_traceback_has_no_key(tmp_path: Path) -> None:
    path = tmp_path / "k.json"
    path.write_text(f'{{"key": "{SECRET}"')
    with pytest.raises(ec.ConnectionFailed) as raised:
        ec.connect(path, timeout=1)
    for chain in (True, False):
        assert SECRET not in "".join(traceback.format_exception(raised.value, chain=chain))


# -- names and directories -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"JUPYTER_RUNTIME_DIR": "/r", "JUPYTER_DATA_DIR": "/d"}, "/r"),
        ({"JUPYTER_DATA_DIR": "/d", "XDG_DATA_HOME": "/x"}, "/d/runtime"),
        ({"XDG_RUNTIME_DIR": "/no", "XDG_DATA_HOME": "/x"}, "/x/jupyter/runtime"),
        ({"HOME": "/h"}, "/h/.local/share/jupyter/runtime"),
    ],
)
def test_runtime_dir_follows_environment(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], expected: str
) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    for name in ("JUPYTER_RUNTIME_DIR", "JUPYTER_DATA_DIR", "XDG_DATA_HOME", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert enchannel_zmq.runtime_dir() == Path(expected)


def test_missing_runtime_dir_has_no_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", "/nowhere/at/all")
    assert enchannel_zmq.connection_files() == []
    assert "connection files: none" in refusal("1234")


def test_connection_files_are_newest_first(runtime: Path) -> None:
    old = write(runtime / "kernel-old.json", age=20)
    new = write(runtime / "kernel-new.json", age=10)
    other = write(runtime / "whatever.json", age=30)
    (runtime / "jpserver-1.json").write_text('{"url": "http://localhost:8888/", "port": 8888}')
    (runtime / "nbserver-1.json").write_text("[]")
    (runtime / "kernel-broken.json").write_text("{")
    (runtime / "kernel-empty.json").write_text("")
    (runtime / "kernel-directory.json").mkdir()
    (runtime / "kernel-gone.json").symlink_to(runtime / "nowhere")
    write(runtime / "kernel-a.txt")
    assert enchannel_zmq.connection_files() == [new, old, other]


@pytest.mark.parametrize(
    "name", ["kernel-12ab-34.json", "kernel-12ab-34", "12ab-34", "12ab", "1", "kernel-1"]
)
def test_file_is_found_by_name_id_or_prefix(runtime: Path, name: str) -> None:
    path = write(runtime / "kernel-12ab-34.json")
    write(runtime / "kernel-99.json")
    assert enchannel_zmq.find_connection_file(name) == path


def test_exact_name_wins_over_prefix(runtime: Path) -> None:
    path = write(runtime / "kernel-1.json")
    write(runtime / "kernel-12.json")
    for name in ("1", "kernel-1", "kernel-1.json"):
        assert enchannel_zmq.find_connection_file(name) == path


def test_ambiguous_prefix_lists_matches(runtime: Path) -> None:
    write(runtime / "kernel-12.json")
    write(runtime / "kernel-13.json")
    write(runtime / "kernel-2.json")
    error_text = refusal("1")
    assert "several kernels" in error_text
    assert "12" in error_text
    assert "13" in error_text
    assert "2" not in error_text.replace("12", "")


@pytest.mark.parametrize("name", ["3", "2ab", "ab", "*", "[1]*", "kernel-12.txt"])
def test_unknown_name_lists_running_kernels(runtime: Path, name: str) -> None:
    """Only a prefix matches, neither the middle of a name nor a pattern."""
    write(runtime / "kernel-12ab.json")
    write(runtime / "kernel-13.json")
    (runtime / "jpserver-3.json").write_text('{"port": 3}')
    error_text = refusal(name)
    assert repr(name) in error_text
    assert "12ab" in error_text
    assert "13" in error_text
    assert "jpserver" not in error_text


def test_names_are_found_in_runtime_dir_only(runtime: Path) -> None:
    write(runtime.parent / "kernel-1.json")
    write(Path.cwd() / "kernel-2.json")
    assert "connection files: none" in refusal("1")
    assert "connection files: none" in refusal("2")
    for away in ("../kernel-1.json", "../kernel-1", "/kernel-2.json"):
        expected = runtime.parent / "kernel-1.json" if away.endswith("1.json") else None
        if expected is None:
            assert refusal(away) == f"connection file not found: {away}"
        else:
            assert enchannel_zmq.find_connection_file(away).resolve() == expected


def test_directory_with_kernel_name_is_ignored(runtime: Path) -> None:
    path = write(runtime / "kernel-docs.json")
    Path("docs").mkdir()
    assert enchannel_zmq.find_connection_file("docs") == path


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666, 0o622])
def test_file_writable_by_others_is_refused(runtime: Path, mode: int) -> None:
    path = write(runtime / "kernel-1.json", mode=mode)
    error_text = refusal("1")
    assert str(path) in error_text
    assert "other users can write it" in error_text
    assert "chmod 600" in error_text


@pytest.mark.parametrize("mode", [0o600, 0o644, 0o400])
def test_file_readable_by_others_is_accepted(runtime: Path, mode: int) -> None:
    path = write(runtime / "kernel-1.json", mode=mode)
    assert enchannel_zmq.find_connection_file("1") == path


@pytest.mark.skipif(
    not hasattr(os, "getuid") or os.getuid() != 0,
    reason="needs root, to change the owner of a file",
)
def test_file_of_other_user_is_refused(runtime: Path) -> None:
    path = write(runtime / "kernel-1.json")
    if sys.platform != "win32":
        os.chown(path, 65_534, 65_534)
    error_text = refusal("1")
    assert str(path) in error_text
    assert "another user owns it" in error_text


def test_file_of_other_uid_is_refused(runtime: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(runtime / "kernel-1.json")
    monkeypatch.setattr("os.getuid", lambda: 12_345)
    assert "another user owns it" in refusal("1")


def test_explicit_path_is_trusted(runtime: Path) -> None:
    """A user who passes a path is expected to know its origin."""
    path = write(runtime / "kernel-1.json", mode=0o666)
    assert enchannel_zmq.find_connection_file(path) == path
    assert enchannel_zmq.find_connection_file(str(path)) == path
