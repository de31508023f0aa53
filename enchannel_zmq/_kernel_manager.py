"""The border to jupyter_client: kernelspecs, and the manager that starts a kernelspec's process.

The only module that imports jupyter_client; it is imported when a kernel is launched or kernelspecs are
listed.
"""

from __future__ import annotations

from typing import Any

from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel
from jupyter_client.manager import AsyncKernelManager
from traitlets import TraitError

from enchannel import KernelspecModel
from enchannel.errors import LaunchFailed
from enchannel.frozen import FrozenDict
from enchannel_zmq._extras import PYTHON_KERNEL

__all__ = ["KernelProcessManager", "create_manager", "read_kernelspecs"]


class KernelProcessManager(AsyncKernelManager):
    """A manager that opens no socket to its kernel, since the link has its own."""

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
