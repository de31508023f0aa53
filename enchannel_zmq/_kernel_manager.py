"""The border to jupyter_client: kernelspecs, and the manager that starts a kernelspec's process.

The only module that imports jupyter_client; it is imported when a kernel is launched or kernelspecs are
listed.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel
from jupyter_client.manager import AsyncKernelManager
from jupyter_client.provisioning.local_provisioner import LocalProvisioner
from traitlets import TraitError

from enchannel import KernelspecModel
from enchannel.errors import LaunchFailed
from enchannel.frozen import FrozenDict
from enchannel_zmq._extras import PYTHON_KERNEL
from enchannel_zmq._parent_death import with_parent_death_signal

__all__ = ["KernelProcessManager", "create_manager", "read_kernelspecs"]


class KernelProcessManager(AsyncKernelManager):
    """A manager that opens no socket to its kernel, since the link has its own.

    Attributes:
        keeps_connection_file: True leaves the connection file in place.
    """

    keeps_connection_file = False

    def __init__(self, *, kernel_name: str, kernel_id: str) -> None:
        super().__init__(kernel_name=kernel_name, kernel_id=kernel_id)
        self._creator = os.getpid()

    def cleanup_connection_file(self) -> None:
        """Remove the connection file; the finalizer calls this as well."""
        # A forked child has a copy of this manager, and its parent the kernel.
        if not self.keeps_connection_file and os.getpid() == self._creator:
            super().cleanup_connection_file()

    def format_kernel_cmd(self, extra_arguments: list[str] | None = None) -> list[str]:
        """Return the command of the kernel, which ends with this process unless it is independent."""
        command = super().format_kernel_cmd(extra_arguments)
        options: Mapping[str, Any] = self._launch_args or {}
        # Other provisioners run the command elsewhere.
        if type(self.provisioner) is LocalProvisioner and not options.get("independent"):
            return with_parent_death_signal(command, options.get("env", os.environ))
        return command

    def set_encryption(self, encryption: str) -> None:
        """Choose the CURVE encryption of the kernel's sockets.

        Raises:
            LaunchFailed: This machine or this jupyter_client does not support it.
        """
        try:
            self.transport_encryption = encryption
        except TraitError as error:
            raise LaunchFailed(
                f"starting kernel {self.kernel_name!r} failed: encryption={encryption!r} is not "
                f"available: {error}"
            ) from error

    def _connect_control_socket(self) -> None: ...
    def _close_control_socket(self) -> None: ...


def create_manager(name: str, kernel_id: str) -> tuple[KernelProcessManager, Any]:
    """Return a manager for a new process of a kernelspec, and the kernelspec.

    Args:
        name: Name of the kernelspec.
        kernel_id: Id of the new kernel.

    Raises:
        LaunchFailed: No kernelspec has this name.
    """
    specs = KernelSpecManager()
    try:
        spec = specs.get_kernel_spec(name)
    except NoSuchKernel:
        known = ", ".join(sorted(specs.find_kernel_specs())) or "none"
        remedy = '; pip install "enchannel[kernel]"' if name == PYTHON_KERNEL else ""
        raise LaunchFailed(
            f"starting a kernel failed: no kernelspec {name!r}; installed: {known}{remedy}"
        ) from None
    return KernelProcessManager(kernel_name=name, kernel_id=kernel_id), spec


def read_kernelspecs() -> tuple[KernelspecModel, ...]:
    """Return the installed kernelspecs by name, without those that cannot be read."""
    found = KernelSpecManager().get_all_specs()
    specs = {name: entry["spec"] for name, entry in sorted(found.items())}
    return tuple(
        KernelspecModel(
            name=name,
            display_name=spec["display_name"],
            language=spec["language"],
            metadata=FrozenDict(spec["metadata"]),
        )
        for name, spec in specs.items()
    )
