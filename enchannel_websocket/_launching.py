"""Starting a kernel on a server: through the API for kernels, or for sessions."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from enchannel.errors import LaunchFailed, NotSupported
from enchannel_websocket._http import ServerRefused
from enchannel_websocket._server import JupyterClient

__all__ = ["KernelSettings", "StartedKernel"]

METHOD_NOT_ALLOWED = 405


@dataclass(frozen=True, slots=True)
class StartedKernel:
    """The ids of a kernel that was started, and of its session if it was started in one."""

    kernel_id: str
    session_id: str | None = None


@dataclass(frozen=True, slots=True)
class KernelSettings:
    """The arguments of ``launch`` that describe the kernel to start.

    Attributes:
        name: Name of the kernelspec.
        cwd: Working directory, below the server's root.
        env: Environment variables, which only gateways accept.
        notebook: Path of the notebook that the kernel belongs to.
    """

    name: str
    cwd: Path | None
    env: Mapping[str, str] | None
    notebook: str | None

    def __post_init__(self) -> None:
        """Refuse settings that a server ignores for the kernel of a notebook.

        Raises:
            ValueError: ``notebook`` was passed with ``cwd`` or ``extra_env``.
        """
        if self.notebook is None:
            return
        if self.cwd is not None:
            raise ValueError(
                f"cwd cannot be combined with notebook={self.notebook!r}: the kernel starts in the "
                "directory of the notebook"
            )
        if self.env:
            raise ValueError(
                f"extra_env cannot be combined with notebook={self.notebook!r}: servers start the kernel "
                "of a notebook without environment variables"
            )

    async def check_cwd(self, server: JupyterClient) -> NotSupported | None:
        """Find out whether the working directory exists; return why that is unknown, if it is.

        Servers start a kernel in their root if it does not exist.

        Raises:
            LaunchFailed: It does not exist.
        """
        if self.cwd is None:
            return None
        exists = await server.has_directory(self.cwd.as_posix().strip("/"))
        if exists:
            return None
        cwd = repr(self.cwd.as_posix())
        if exists is None:
            return NotSupported(
                f"{server} does not tell whether the directory cwd={cwd} exists; if it does not, the "
                "kernel runs in another one"
            )
        raise LaunchFailed(
            f"kernel {self.name!r} could not be started: the directory cwd={cwd} does not exist below the "
            f"root of {server}; pass a path from there"
        )

    async def start_on(self, server: JupyterClient) -> StartedKernel:
        """Start the kernel.

        Raises:
            LaunchFailed: It could not be started.
            NotSupported: The server does not accept environment variables.
        """
        names = [spec.name for spec in await server.kernelspecs()]
        if self.name not in names:
            known = ", ".join(names) or "none"
            raise LaunchFailed(f"no kernelspec {self.name!r} on {server}; installed: {known}")
        if self.env and not await server.is_gateway():
            raise NotSupported(
                f"{server} does not accept environment variables for kernels; only gateways do"
            )
        try:
            if self.notebook is not None:
                return await self._start_session(server, self.notebook)
            try:
                return StartedKernel(await server.start(self._model()))
            except ServerRefused as error:
                if error.status != METHOD_NOT_ALLOWED:
                    raise
            # jupyverse starts kernels in sessions only, and in the directory of their path.
            directory = f"{self.cwd.as_posix()}/" if self.cwd is not None else ""
            return await self._start_session(server, f"{directory}{uuid.uuid4()}")
        except ServerRefused as error:
            raise LaunchFailed(f"kernel {self.name!r} could not be started: {error}") from error

    async def _start_session(self, server: JupyterClient, path: str) -> StartedKernel:
        running = await server.kernel_at(path)
        if running is not None:
            raise LaunchFailed(
                f"{path} already has a kernel; connect to {server}/api/kernels/{running}"
            )
        name = path.rpartition("/")[2]
        session_id, kernel_id = await server.start_session(
            {"path": path, "name": name, "type": "notebook", "kernel": {"name": self.name}}
        )
        return StartedKernel(kernel_id, session_id)

    def _model(self) -> dict[str, Any]:
        model: dict[str, Any] = {"name": self.name}
        if self.cwd is not None:
            model["path"] = self.cwd.as_posix()
        if self.env:
            model["env"] = dict(self.env)
        return model
