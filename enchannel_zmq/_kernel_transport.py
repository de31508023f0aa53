"""The connection file and the socket directory of a launched kernel."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from typing import TYPE_CHECKING, Any

from enchannel_zmq._connection_file import runtime_dir

if TYPE_CHECKING:
    from enchannel_zmq._kernel_manager import KernelProcessManager

__all__ = ["KernelTransport"]


class KernelTransport:
    """The addresses and the encryption of a launched kernel's sockets.

    Args:
        transport: ``"ipc"``, ``"tcp"`` or ``"auto"``; see ``ZmqBackend.launch``.
        encryption: ``"auto"``, ``"required"`` or ``"disabled"``; see ``ZmqBackend.launch``.
    """

    def __init__(self, transport: str, encryption: str) -> None:
        self._transport = transport
        self._encryption = encryption
        self._directory: str | None = None

    def prepare(self, manager: KernelProcessManager, spec: Any) -> None:
        """Create the directories, and set the manager's addresses.

        Args:
            manager: Writes the connection file when it starts the kernel.
            spec: The kernelspec.

        Raises:
            LaunchFailed: The encryption is not available.
        """
        directory = runtime_dir()
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        manager.connection_file = str(directory / f"kernel-{manager.kernel_id}.json")
        encryption = self._encryption
        if self._transport == "ipc" or (self._transport == "auto" and _supports_ipc(spec)):
            self._directory = tempfile.mkdtemp(prefix="enchannel-")
            manager.transport, manager.ip = "ipc", os.path.join(self._directory, "kernel")
            if encryption == "auto":
                encryption = "disabled"  # since only this user can enter the directory
        manager.set_encryption(encryption)

    def remove(self) -> None:
        """Remove the socket directory; the manager removes the connection file."""
        if self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)


def _supports_ipc(spec: Any) -> bool:
    return sys.platform != "win32" and any("ipykernel" in word for word in spec.argv)
