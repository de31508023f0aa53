"""The connection file and the socket directory of a launched kernel."""

from __future__ import annotations

import logging
import os
import shutil
import socket
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from enchannel.errors import ConnectionFailed, LaunchFailed
from enchannel_zmq._connection_file import runtime_dir

if TYPE_CHECKING:
    from enchannel_zmq._kernel_manager import KernelProcessManager

__all__ = ["KernelTransport"]

log = logging.getLogger("enchannel.zmq")

DIRECTORY_PREFIX = "enchannel-"
# jupyter_client appends a number for each channel to the name of the sockets.
SOCKET_NAME = "kernel"
SOCKET_SUFFIX = "-99"


class KernelTransport:
    """The addresses and the encryption of a launched kernel's sockets.

    Args:
        transport: ``"ipc"``, ``"tcp"`` or ``"auto"``; see ``ZmqBackend.launch``.
        encryption: ``"auto"``, ``"required"`` or ``"disabled"``; see ``ZmqBackend.launch``.
    """

    def __init__(self, transport: str, encryption: str) -> None:
        self._transport = transport
        self._encryption = encryption
        self._directories: list[str] = []

    def prepare(self, manager: KernelProcessManager, spec: Any) -> None:
        """Create the directories, and set the manager's addresses.

        Args:
            manager: Writes the connection file when it starts the kernel.
            spec: The kernelspec.

        Raises:
            LaunchFailed: The encryption is not available, or no directory for the sockets or the connection
                file.
        """
        directory = self._connection_directory()
        manager.connection_file = os.path.join(directory, f"kernel-{manager.kernel_id}.json")
        encryption = self._encryption
        if self._transport == "ipc" or (self._transport == "auto" and _supports_ipc(spec)):
            path = self._make_socket_path()
            if path is not None:
                manager.transport, manager.ip = "ipc", path
                if encryption == "auto":
                    encryption = "disabled"  # since only this user can enter the directory
        manager.set_encryption(encryption)

    def remove(self) -> None:
        """Remove the directories of this kernel; the manager removes the connection file."""
        for directory in self._directories:
            shutil.rmtree(directory, ignore_errors=True)

    def _connection_directory(self) -> str:
        """Return Jupyter's runtime directory, or a temporary one if files cannot be created there."""
        try:
            return _writable_runtime_dir()
        except (OSError, ConnectionFailed) as error:
            try:
                directory = self._make_directory()
            except OSError:
                raise LaunchFailed(
                    f"creating a connection file failed: {error}, and no temporary directory is writable; "
                    "set JUPYTER_RUNTIME_DIR to a writable directory"
                ) from error
            log.warning(
                "the connection file is in %s, where other programs do not find it, because Jupyter's "
                "runtime directory cannot be used: %s; set JUPYTER_RUNTIME_DIR to a writable directory",
                directory,
                error,
            )
            return directory

    def _make_socket_path(self) -> str | None:
        """Return the beginning of the sockets' paths in a new directory; None if tcp has to do instead."""
        directory = None
        try:
            directory = self._make_directory()
            path = os.path.join(directory, SOCKET_NAME)
            _raise_unless_bindable(path + SOCKET_SUFFIX)
            return path
        except (OSError, UnicodeError) as error:
            if directory is not None:
                shutil.rmtree(directory, ignore_errors=True)
            if self._transport == "ipc":
                raise LaunchFailed(
                    f"creating a Unix domain socket in {directory or 'TMPDIR'} failed: {error}; "
                    'set TMPDIR to a short path on a local file system, or use transport="tcp"'
                ) from error
            log.info("using tcp, since Unix domain sockets cannot be created: %s", error)
            return None

    def _make_directory(self) -> str:
        directory = tempfile.mkdtemp(prefix=DIRECTORY_PREFIX)
        self._directories.append(directory)
        return directory


def _writable_runtime_dir() -> str:
    """Create the runtime directory.

    Raises:
        OSError: That failed, or files cannot be created in the directory.
        ConnectionFailed: The directory is unknown.
    """
    # Absolute, since the kernel may have another working directory.
    path = os.path.abspath(runtime_dir())
    Path(path).mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=path):
        return path


def _raise_unless_bindable(path: str) -> None:
    """Bind a Unix domain socket: paths that are too long fail, and file systems without sockets.

    Raises:
        OSError, UnicodeError: That failed, or ZeroMQ and JSON cannot represent the path.
    """
    path.encode()
    if sys.platform == "win32":
        raise OSError("Windows has no Unix domain sockets")
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(path)
    with suppress(OSError):
        os.unlink(path)


def _supports_ipc(spec: Any) -> bool:
    return sys.platform != "win32" and any("ipykernel" in word for word in spec.argv)
