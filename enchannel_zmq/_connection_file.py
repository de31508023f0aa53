"""Connection files: finding them, checking their owner, and reading them."""

from __future__ import annotations

import json
import os
import stat
import sys
from pathlib import Path

from enchannel import ConnectionInfo
from enchannel.errors import ConnectionFailed
from enchannel_zmq._heartbeat_probe import is_alive

__all__ = ["connection_files", "find_connection_file", "read_connection_file", "runtime_dir"]

# Far more than the fields of any connection file.
MAX_FILE_BYTES = 1 << 20


def runtime_dir() -> Path:
    """Return Jupyter's runtime directory, which has the connection files of running kernels.

    Raises:
        ConnectionFailed: The directory is unknown, since this user has no home directory.
    """
    if runtime := os.environ.get("JUPYTER_RUNTIME_DIR"):
        return Path(runtime)
    if data := os.environ.get("JUPYTER_DATA_DIR"):
        return Path(data, "runtime")
    share = os.environ.get("APPDATA" if sys.platform == "win32" else "XDG_DATA_HOME")
    if share and sys.platform != "darwin":
        return Path(share, "jupyter", "runtime")
    try:
        home = Path.home()
    except RuntimeError:  # no HOME, and a user id without an entry in the user database
        raise ConnectionFailed(
            "Jupyter's runtime directory is unknown, since this user has no home directory; "
            "set JUPYTER_RUNTIME_DIR or HOME"
        ) from None
    if sys.platform == "darwin":
        return home / "Library" / "Jupyter" / "runtime"
    if sys.platform == "win32":
        return home / "jupyter" / "runtime"
    return home / ".local" / "share" / "jupyter" / "runtime"


def connection_files() -> list[Path]:
    """Return the connection files in the runtime directory, newest first; none if it is unknown."""
    try:
        directory = runtime_dir()
    except ConnectionFailed:
        return []
    found = [path for path in directory.glob("*.json") if _is_connection_file(path)]
    return sorted(found, key=_modified, reverse=True)


def find_connection_file(target: str | os.PathLike[str]) -> Path:
    """Return the path of a connection file.

    Args:
        target: A path, which is returned as it is; or a file name, a kernel id, or an unambiguous prefix of
            either, which is looked up in the runtime directory.

    Raises:
        ConnectionFailed: No file or several files match, or others can write the file.
    """
    path = Path(target)
    # Unlike the methods of Path, these functions never raise.
    if os.path.exists(path) and not os.path.isdir(path):
        return path
    if os.path.isdir(path) and path.name != str(target):
        raise ConnectionFailed(f"target must be a connection file, not the directory {target}")
    if path.name != str(target):
        raise _file_not_found(target)
    files = connection_files()
    name = path.name
    exact = [p for p in files if name in (p.name, p.stem, kernel_id_of(p))]
    matching = exact or [
        p for p in files if name and (p.name.startswith(name) or kernel_id_of(p).startswith(name))
    ]
    if not matching:
        known = ", ".join(map(_described, files)) or "none"
        raise ConnectionFailed(
            f"no connection file and no running kernel matches {name!r}; connection files: {known}"
        )
    if len(matching) > 1:
        several = ", ".join(map(_described, matching))
        raise ConnectionFailed(
            f"{name!r} matches several kernels; use more characters of an id: {several}"
        )
    _raise_if_untrusted(matching[0])
    return matching[0]


def read_connection_file(path: Path) -> ConnectionInfo:
    """Read a connection file.

    Raises:
        ConnectionFailed: The file is missing, unreadable, empty, too large or not JSON, is not a regular
            file, or has an invalid field.
    """
    try:
        data = _read(path)
    except ConnectionFailed:
        raise
    except FileNotFoundError:
        raise _file_not_found(path) from None
    except OSError as error:
        raise ConnectionFailed(
            f"reading the connection file {path} failed: {error.strerror}"
        ) from None
    if not data.strip():
        raise ConnectionFailed(
            f"the connection file {path} is empty; a kernel that is starting writes it soon, so try again"
        )
    fields = _parse(data)
    if fields is _NOT_JSON:
        raise ConnectionFailed(f"the connection file {path} is not JSON")
    if not isinstance(fields, dict):
        raise ConnectionFailed(f"the connection file {path} is not a JSON object")
    return ConnectionInfo.from_dict(fields, source=f"the connection file {path}")


def kernel_id_of(path: Path) -> str:
    """Return the kernel id in a connection file's name."""
    return path.stem.removeprefix("kernel-")


def _read(path: Path) -> bytes:
    # A pipe or a device may never end, or not even open.
    mode = path.stat().st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise ConnectionFailed(f"the connection file {path} is not a regular file")
    with path.open("rb") as file:
        data = file.read(MAX_FILE_BYTES + 1)
    if len(data) > MAX_FILE_BYTES:
        raise ConnectionFailed(
            f"the connection file {path} has more than {MAX_FILE_BYTES >> 20} MiB; it is another file"
        )
    return data


_NOT_JSON = object()


def _file_not_found(path: str | os.PathLike[str]) -> ConnectionFailed:
    return ConnectionFailed(f"connection file not found: {path}")


def _parse(data: bytes) -> object:
    """Return the JSON value, or _NOT_JSON.

    It raises nothing, because a parser's error holds the text, and so the key.
    """
    try:
        return json.loads(data.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        return _NOT_JSON


def _is_connection_file(path: Path) -> bool:
    """Return True for a kernel's file; servers keep files of their own in the same directory."""
    try:
        fields = _parse(_read(path))
    except OSError:
        return False
    return isinstance(fields, dict) and "shell_port" in fields


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:  # removed meanwhile, since its kernel ended
        return 0.0


def _described(path: Path) -> str:
    """Return the kernel id in a file's name, and whether the kernel is dead."""
    try:
        is_dead = not is_alive(read_connection_file(path))
    except ConnectionFailed:
        is_dead = False
    return f"{kernel_id_of(path)} (dead)" if is_dead else kernel_id_of(path)


def _raise_if_untrusted(path: Path) -> None:
    if sys.platform == "win32":
        return
    status = path.stat()
    if status.st_uid != os.getuid():
        raise ConnectionFailed(
            f"the connection file {path} is not trusted: another user owns it; pass its path to use it"
        )
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise ConnectionFailed(
            f"the connection file {path} is not trusted: other users can write it; "
            "`chmod 600` it if you know where it comes from"
        )
