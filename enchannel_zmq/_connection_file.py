"""Connection files: where they are, whose they are, what they say."""

from __future__ import annotations

import json
import os
import stat
import sys
from pathlib import Path

from enchannel import ConnectionInfo
from enchannel.errors import ConnectionFailed

__all__ = ["connection_files", "find_connection_file", "read_connection_file", "runtime_dir"]


def runtime_dir() -> Path:
    """Jupyter's runtime directory, where the connection files of running kernels are."""
    if runtime := os.environ.get("JUPYTER_RUNTIME_DIR"):
        return Path(runtime)
    if data := os.environ.get("JUPYTER_DATA_DIR"):
        return Path(data, "runtime")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Jupyter" / "runtime"
    if sys.platform == "win32":
        return Path(os.environ.get("APPDATA", Path.home()), "jupyter", "runtime")
    share = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(share, "jupyter", "runtime")


def connection_files() -> list[Path]:
    """Those in the runtime directory, the newest first."""
    found = [path for path in runtime_dir().glob("*.json") if _is_connection_file(path)]
    return sorted(found, key=_modified, reverse=True)


def find_connection_file(target: str | os.PathLike[str]) -> Path:
    """A path as it is; else what the runtime directory has by that name.

    Args:
        target: A path, a file's name, a kernel's id, or a beginning of either that only one has.

    Raises:
        ConnectionFailed: there is none, or more than one; or it is not the user's own.
    """
    path = Path(target)
    if os.path.exists(path) and not os.path.isdir(path):  # unlike a Path's these never raise
        return path
    if os.path.isdir(path) and path.name != str(target):
        raise ConnectionFailed(f"{target} is a directory, and no connection file")
    if path.name != str(target):
        raise ConnectionFailed(f"there is no connection file {target}")
    files = connection_files()
    name = path.name
    exact = [p for p in files if name in (p.name, p.stem, kernel_id_of(p))]
    matching = exact or [
        p for p in files if name and (p.name.startswith(name) or kernel_id_of(p).startswith(name))
    ]
    if not matching:
        known = ", ".join(kernel_id_of(p) for p in files) or "none"
        raise ConnectionFailed(
            f"no file and no running kernel is called {name!r}; there are: {known}"
        )
    if len(matching) > 1:
        several = ", ".join(kernel_id_of(p) for p in matching)
        raise ConnectionFailed(f"{name!r} is the beginning of more than one kernel: {several}")
    _demand_ownership(matching[0])
    return matching[0]


def read_connection_file(path: Path) -> ConnectionInfo:
    """What a connection file says.

    Raises:
        ConnectionFailed: it is missing, empty, not JSON, or lacks something; the text says what.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise ConnectionFailed(f"there is no connection file {path}") from None
    except OSError as error:
        raise ConnectionFailed(
            f"the connection file {path} cannot be read: {error.strerror}"
        ) from None
    if not data.strip():
        raise ConnectionFailed(
            f"the connection file {path} is empty; a kernel that starts fills it in a moment"
        )
    fields = _parsed(data)
    if fields is _NOT_JSON:
        raise ConnectionFailed(f"the connection file {path} is not JSON")
    if not isinstance(fields, dict):
        raise ConnectionFailed(f"the connection file {path} is not a JSON object")
    return ConnectionInfo.from_dict(fields, source=f"the connection file {path}")


def kernel_id_of(path: Path) -> str:
    """The id in a connection file's name."""
    return path.stem.removeprefix("kernel-")


_NOT_JSON = object()


def _parsed(data: bytes) -> object:
    """What is in a file. Nothing is raised from here: a parser's error holds the text, and so the key."""
    try:
        return json.loads(data.decode())
    except (ValueError, RecursionError):
        return _NOT_JSON


def _is_connection_file(path: Path) -> bool:
    """Servers keep files of their own there, which have no ports of a kernel."""
    try:
        fields = _parsed(path.read_bytes())
    except OSError:
        return False
    return isinstance(fields, dict) and "shell_port" in fields


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:  # its kernel ended just now
        return 0.0


def _demand_ownership(path: Path) -> None:
    if not hasattr(os, "getuid"):
        return
    status = path.stat()
    if status.st_uid != os.getuid():
        raise ConnectionFailed(f"the connection file {path} is another user's: it is not trusted")
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise ConnectionFailed(
            f"the connection file {path} may be written by others: it is not trusted; "
            f"`chmod 600` it if you know where it comes from"
        )
