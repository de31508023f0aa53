"""A Jupyter server's REST API: kernels, sessions and kernelspecs. Runs on the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from enchannel import KernelModel, KernelspecModel
from enchannel.backends import find_kernel
from enchannel.errors import AuthenticationFailed, KernelDied
from enchannel.frozen import FrozenDict
from enchannel_websocket._http import HttpClient, ServerRefused
from enchannel_websocket._socket import KernelSocket, open_socket

__all__ = ["JupyterClient"]

INTERNAL_ERROR = 500
# Characters of a kernel's id, which is a UUID.
ID_LENGTH = 36
# Pauses between attempts to shut down a kernel, in seconds; None: no further attempt.
SHUTDOWN_RETRY_PAUSES = (0.2, 0.5, 1.0, 2.0, 4.0, None)


class JupyterClient(HttpClient):
    """One Jupyter server, or a gateway with the same API. For the arguments see ``HttpClient``."""

    async def kernel(self, kernel_id: str) -> KernelModel:
        """Return one kernel.

        Raises:
            KernelDied: It does not exist.
        """
        path = f"/api/kernels/{_quoted(kernel_id)}"
        found = await self.request_json("GET", path, missing=self._missing(kernel_id))
        if found is None:  # jupyverse's answer for a kernel that does not exist
            raise self._missing(kernel_id)
        return self._model(found)

    async def kernels(self) -> tuple[KernelModel, ...]:
        """Return all running kernels, the most recently active first."""
        with self._expecting_jupyter():
            models = map(self._model, await self.request_json("GET", "/api/kernels"))
            return tuple(sorted(models, key=_activity, reverse=True))

    async def find_kernel(self, beginning: str) -> KernelModel:
        """Return the kernel whose id has an unambiguous beginning.

        Raises:
            ConnectionFailed: No kernel or several kernels match.
            KernelDied: The id is complete, and its kernel does not exist.
        """
        # A whole id also works at a gateway that does not list its kernels.
        if len(beginning) >= ID_LENGTH:
            return await self.kernel(beginning)
        return find_kernel(await self.kernels(), beginning, str(self))

    async def kernelspecs(self) -> tuple[KernelspecModel, ...]:
        """Return the kernelspecs by name."""
        with self._expecting_jupyter():
            found = (await self.request_json("GET", "/api/kernelspecs"))["kernelspecs"]
            specs = {name: entry["spec"] for name, entry in sorted(found.items())}
            return tuple(
                KernelspecModel(
                    name=name,
                    display_name=str(spec.get("display_name", "")),
                    language=str(spec.get("language", "")),
                    metadata=FrozenDict(spec.get("metadata") or {}),
                )
                for name, spec in specs.items()
            )

    async def is_gateway(self) -> bool:
        """Return True if it is a Kernel Gateway or an Enterprise Gateway, which have no status endpoint."""
        await self.log_in()
        answer = await self.send("GET", "/api/status")
        return answer.status_code == 404

    async def has_directory(self, path: str) -> bool | None:
        """Return True if a directory exists below the server's root; None if the server does not tell.

        Gateways have no API for files, and servers hide names that begin with a dot.
        """
        try:
            found = await self.request_json(
                "GET", f"/api/contents/{quote(path)}?content=0", missing=LookupError(path)
            )
        except LookupError:
            is_hidden = any(name.startswith(".") for name in path.split("/"))
            return None if is_hidden or not await self._has_files() else False
        except (ServerRefused, AuthenticationFailed):
            return None
        with self._expecting_jupyter():
            return bool(found["type"] == "directory")

    async def _has_files(self) -> bool:
        try:
            await self.request("GET", "/api/contents?content=0")
        except (ServerRefused, AuthenticationFailed):
            return False
        return True

    async def start(self, model: Mapping[str, Any]) -> str:
        """Start a kernel and return its id."""
        with self._expecting_jupyter():
            return str((await self.request_json("POST", "/api/kernels", model))["id"])

    async def start_session(self, model: Mapping[str, Any]) -> tuple[str, str]:
        """Start a kernel for a notebook; return the ids of the session and of the kernel."""
        with self._expecting_jupyter():
            session = await self.request_json("POST", "/api/sessions", model)
            return str(session["id"]), str(session["kernel"]["id"])

    async def kernel_at(self, path: str) -> str | None:
        """Return the id of a notebook's kernel; None if it has none."""
        with self._expecting_jupyter():
            for session in await self.request_json("GET", "/api/sessions"):
                if session.get("path") == path:
                    return str(session["kernel"]["id"])
        return None

    async def kernel_of_session(self, session_id: str) -> str:
        """Return the id of a session's kernel.

        Raises:
            KernelDied: The session does not exist.
        """
        path = f"/api/sessions/{_quoted(session_id)}"
        missing = self._missing(session_id, "session")
        with self._expecting_jupyter():
            session = await self.request_json("GET", path, missing=missing)
            return str(session["kernel"]["id"])

    async def interrupt(self, kernel_id: str) -> None:
        """Interrupt a kernel."""
        path = f"/api/kernels/{_quoted(kernel_id)}/interrupt"
        await self.request("POST", path, missing=self._missing(kernel_id))

    async def restart(self, kernel_id: str) -> None:
        """Restart a kernel; return when the server has seen the new process alive."""
        path = f"/api/kernels/{_quoted(kernel_id)}/restart"
        await self.request("POST", path, missing=self._missing(kernel_id))

    async def shut_down(self, kernel_id: str, session_id: str | None = None) -> None:
        """Shut down a kernel, with the session that it was started in; a no-op if it does not exist."""
        # This may clean up after an error, whose text names the request that failed.
        pending = self.pending
        if session_id is None:
            path = f"/api/kernels/{_quoted(kernel_id)}"
        else:
            path = f"/api/sessions/{_quoted(session_id)}"
        for pause in SHUTDOWN_RETRY_PAUSES:
            try:
                await self.request("DELETE", path, missing=self._missing(kernel_id))
            except KernelDied:
                break
            except ServerRefused as refused:
                # A server cannot shut down a kernel that has died while it restarts it.
                if refused.status < INTERNAL_ERROR or pause is None:
                    raise
                await asyncio.sleep(pause)
            else:
                break
        self.pending = pending

    async def open_socket(
        self, kernel_id: str, session_id: str, *, max_received: int, legacy: bool
    ) -> KernelSocket:
        """Open a kernel's WebSocket.

        Raises:
            KernelDied: The kernel does not exist.
        """
        return await open_socket(
            self,
            kernel_id,
            session_id,
            max_received=max_received,
            legacy=legacy,
            missing=self._missing(kernel_id),
        )

    def _model(self, model: Any) -> KernelModel:
        with self._expecting_jupyter():
            kernel_id = str(model["id"])
            return KernelModel(
                id=kernel_id,
                name=str(model.get("name", "")),
                state=str(model.get("execution_state", "")),
                connections=int(model.get("connections") or 0),
                last_activity=_parse_time(model.get("last_activity")),
                target=f"{self.base}/api/kernels/{kernel_id}",
            )

    @contextmanager
    def _expecting_jupyter(self) -> Iterator[None]:
        """Translate errors of reading an answer that has another structure than Jupyter's."""
        try:
            yield
        except (KeyError, TypeError, ValueError, AttributeError, IndexError):
            raise self.not_jupyter("sent an invalid response") from None

    def _missing(self, what: str, kind: str = "kernel") -> KernelDied:
        return KernelDied(
            f"{kind} {what} does not exist on {self}: it was shut down or culled, or the server "
            "was restarted"
        )


def _quoted(text: str) -> str:
    return quote(text, safe="")


def _parse_time(text: object) -> datetime | None:
    """Return a time in ISO 8601, which is UTC unless it names another time zone; None if it is invalid."""
    try:
        time = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return time if time.tzinfo is not None else time.replace(tzinfo=UTC)


def _activity(kernel: KernelModel) -> datetime:
    return kernel.last_activity or datetime.min.replace(tzinfo=UTC)
