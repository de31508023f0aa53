"""The border to jupyter_client: the manager that starts a kernelspec's process.

This module and ``_kernelspecs`` alone import jupyter_client; it is imported when a kernel is launched.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, cast

from jupyter_client.manager import AsyncKernelManager
from jupyter_client.provisioning.local_provisioner import LocalProvisioner
from traitlets import TraitError

from enchannel.errors import LaunchFailed
from enchannel_zmq._kernelspecs import Kernelspecs, describe
from enchannel_zmq._parent_death import with_parent_death_signal

__all__ = ["KernelProcessManager", "create_manager"]


class KernelProcessManager(AsyncKernelManager):
    """A manager that opens no socket to its kernel, since the link has its own.

    Attributes:
        keeps_connection_file: True leaves the connection file in place.
    """

    keeps_connection_file = False

    def __init__(
        self, *, kernel_name: str, kernel_id: str, kernel_spec_manager: Kernelspecs
    ) -> None:
        super().__init__(
            kernel_name=kernel_name, kernel_id=kernel_id, kernel_spec_manager=kernel_spec_manager
        )
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
            environ = cast("Mapping[str, str]", options.get("env", os.environ))
            return with_parent_death_signal(command, environ)
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
        LaunchFailed: No kernelspec has this name, or the kernelspec cannot be used.
    """
    try:
        specs = Kernelspecs()
        spec = specs.find(name)
        manager = KernelProcessManager(
            kernel_name=name, kernel_id=kernel_id, kernel_spec_manager=specs
        )
    except LaunchFailed:
        raise
    except Exception as error:  # jupyter_client and jupyter_core raise anything
        raise LaunchFailed(
            f"starting kernel {name!r} failed: finding kernelspecs failed: {describe(error)}"
        ) from error
    return manager, spec
