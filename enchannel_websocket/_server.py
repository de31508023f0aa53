"""A Jupyter server's REST API: kernels, sessions and kernelspecs. Runs on the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from enchannel.errors import KernelDied
from enchannel_websocket._http import HttpClient, ServerRefused
from enchannel_websocket._socket import KernelSocket, open_socket

__all__ = ["JupyterClient", "KernelModel"]

INTERNAL_ERROR = 500
# Pauses between attempts to shut down a kernel, in seconds; None: no further attempt.
SHUTDOWN_RETRY_PAUSES = (0.2, 0.5, 1.0, 2.0, 4.0, None)


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelModel:
    """A kernel as its server describes it.

    Attributes:
        id: The kernel's id on that server.
        name: Name of its kernelspec.
        state: Its execution state as the server reports it: ``"idle"``, ``"busy"``, ``"starting"``, ….
        connections: Number of clients.
        last_activity: Time of its last activity, as ISO 8601.
        url: Its URL for ``enchannel.connect``, without a token.
    """

    id: str
    name: str
    state: str
    connections: int
    last_activity: str
    url: str


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
        """Return all running kernels."""
        with self._expecting_jupyter():
            return tuple(map(self._model, await self.request_json("GET", "/api/kernels")))

    async def kernelspecs(self) -> Mapping[str, Mapping[str, Any]]:
        """Return the contents of each ``kernel.json``, by name."""
        with self._expecting_jupyter():
            specs = (await self.request_json("GET", "/api/kernelspecs"))["kernelspecs"]
            return {name: dict(entry["spec"]) for name, entry in specs.items()}

    async def is_gateway(self) -> bool:
        """Return True if it is a Kernel Gateway or an Enterprise Gateway, which have no status endpoint."""
        await self.log_in()
        answer = await self.send("GET", "/api/status")
        return answer.status_code == 404

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
                last_activity=str(model.get("last_activity", "")),
                url=f"{self.base}/api/kernels/{kernel_id}",
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
