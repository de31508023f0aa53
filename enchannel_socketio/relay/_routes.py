"""The HTTP routes of a relay: launch, list, interrupt, restart and shut down kernels; serve the page."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

import enchannel as ec
from enchannel.errors import EnchannelError, LaunchFailed, MissingDependency, NotSupported
from enchannel_socketio.relay._access_control import GRANT
from enchannel_socketio.relay._directory import KernelDirectory, NoSuchKernel, TooManyKernels
from enchannel_socketio.relay._kernels import ServedKernel
from enchannel_socketio.relay._tokens import Grant, Tokens

__all__ = ["routes"]

log = logging.getLogger("enchannel.socketio.relay")

PAGE = Path(__file__).parent / "page"
OTHER_KERNEL = "this token is for watching another kernel"


class SpawnOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a spawn request.

    Attributes:
        cwd: The working directory of the kernel.
        env: Additional environment variables of the kernel.
    """

    cwd: str | None = None
    env: dict[str, str] = {}


def routes(
    directory: KernelDirectory,
    tokens: Tokens,
    max_message: int,
    shut_down: Callable[[str], Awaitable[None]],
) -> Starlette:
    """Return the application behind the access control.

    Args:
        directory: The kernels.
        tokens: Issues tokens.
        max_message: The maximum size of a client's message, in bytes.
        shut_down: Shuts down a kernel, and deletes its log.
    """
    served = _Routes(directory, tokens, max_message, shut_down)
    return Starlette(
        routes=[
            Route("/", served.page),
            Mount("/page", StaticFiles(directory=PAGE, check_dir=False)),
            Route("/spawn/{name}", served.spawn, methods=["POST"]),
            Route("/shutdown/{id}", served.shut_down, methods=["POST"]),
            Route("/kernels", served.kernels),
            Route("/kernels/{id}", served.kernel),
            Route("/kernels/{id}/interrupt", served.interrupt, methods=["POST"]),
            Route("/kernels/{id}/restart", served.restart, methods=["POST"]),
            Route("/kernels/{id}/watch", served.watch, methods=["POST"]),
            Route("/kernelspecs", served.kernelspecs),
            Route("/link", served.link, methods=["POST"]),
        ],
        exception_handlers={
            HTTPException: _on_http_exception,
            NoSuchKernel: _respond_with(404),
            TooManyKernels: _respond_with(429),
            NotSupported: _respond_with(501),
            LaunchFailed: _respond_with(502),
            EnchannelError: _respond_with(502),
            TimeoutError: _respond_with(504),
            Exception: _on_unexpected_error,
        },
    )


class _Routes:
    def __init__(
        self,
        directory: KernelDirectory,
        tokens: Tokens,
        max_message: int,
        shut_down: Callable[[str], Awaitable[None]],
    ) -> None:
        self._directory = directory
        self._tokens = tokens
        self._max_message = max_message
        self._shut_down = shut_down

    async def page(self, request: Request) -> Response:
        return FileResponse(PAGE / "index.html")

    async def spawn(self, request: Request) -> Response:
        _require_full_access(request)
        options = await _spawn_options(request)
        kernel = await self._directory.spawn(
            request.path_params["name"],
            cwd=None if options.cwd is None else Path(options.cwd),
            env=options.env or None,
        )
        return JSONResponse({"id": kernel.id}, 201)

    async def shut_down(self, request: Request) -> Response:
        _require_full_access(request)
        kernel = await self._find(request)
        await self._shut_down(kernel.id)
        return JSONResponse({"kernelId": kernel.id})

    async def kernels(self, request: Request) -> Response:
        grant = _grant_of(request)
        kernels = [kernel for kernel in await self._directory.all() if grant.can_watch(kernel.id)]
        return JSONResponse(
            {
                "kernels": [await self._model(kernel, grant) for kernel in kernels],
                "access": str(grant),
                "can_spawn": grant.is_full and self._directory.allow_spawn,
            }
        )

    async def kernel(self, request: Request) -> Response:
        grant = _grant_of(request)
        kernel = await self._find(request)
        if not grant.can_watch(kernel.id):
            raise HTTPException(403, OTHER_KERNEL)
        limits = [self._max_message, kernel.max_message]
        max_message = min(limit for limit in limits if limit is not None)
        return JSONResponse(await self._model(kernel, grant) | {"max_message": max_message})

    async def interrupt(self, request: Request) -> Response:
        return await self._act_on_kernel(request, lambda kernel: kernel.interrupt())

    async def restart(self, request: Request) -> Response:
        return await self._act_on_kernel(request, lambda kernel: kernel.restart())

    async def watch(self, request: Request) -> Response:
        _require_full_access(request)
        kernel = await self._find(request)
        one_time_token = self._tokens.issue_one_time_token(Grant(kernel.id))
        return JSONResponse(
            {
                "token": self._tokens.watch_token(kernel.id),
                "url": f"/?token={one_time_token}",
            },
            201,
        )

    async def link(self, request: Request) -> Response:
        _require_full_access(request)
        one_time_token = self._tokens.issue_one_time_token(Grant())
        return JSONResponse({"url": f"/?token={one_time_token}"}, 201)

    async def kernelspecs(self, request: Request) -> Response:
        _require_full_access(request)
        return JSONResponse({"kernelspecs": await asyncio.to_thread(_kernelspecs)})

    async def _act_on_kernel(
        self, request: Request, action: Callable[[ServedKernel], Awaitable[None]]
    ) -> Response:
        _require_full_access(request)
        kernel = await self._find(request)
        await action(kernel)
        return JSONResponse({"position": await kernel.position()})

    async def _find(self, request: Request) -> ServedKernel:
        grant = _grant_of(request)
        kernel_id = request.path_params["id"]
        # Checked before the look-up: a watch token does not tell which other kernels exist.
        if not grant.can_watch(kernel_id):
            raise HTTPException(403, OTHER_KERNEL)
        return await self._directory.find(kernel_id)

    async def _model(self, kernel: ServedKernel, grant: Grant) -> dict[str, Any]:
        first, last = await kernel.log.positions()
        return {
            "id": kernel.id,
            "name": kernel.name,
            "state": kernel.state.value,
            "watchers": kernel.watchers,
            "first": first,
            "last": last,
            "access": str(grant),
            "lifecycle": kernel.has_lifecycle,
        }


def _grant_of(request: Request) -> Grant:
    grant: Grant = request.scope[GRANT]
    return grant


def _require_full_access(request: Request) -> None:
    if not _grant_of(request).is_full:
        raise HTTPException(403, "full access required; this token is for watching only")


async def _spawn_options(request: Request) -> SpawnOptions:
    body = await request.body()
    if not body:
        return SpawnOptions()
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise HTTPException(415, "the body must be application/json")
    try:
        return msgspec.json.decode(body, type=SpawnOptions)
    except (msgspec.MsgspecError, UnicodeError) as error:
        raise HTTPException(400, f"invalid body: {error}") from None


def _kernelspecs() -> list[dict[str, str]]:
    """Return the installed kernelspecs that can be used; none without jupyter_client."""
    try:
        specs = ec.list_kernelspecs()
    except MissingDependency:
        return []
    return [
        {"name": spec.name, "display_name": spec.display_name, "language": spec.language}
        for spec in specs
        if spec.error is None
    ]


async def _on_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101  # registered for this class
    return JSONResponse({"error": error.detail}, error.status_code, error.headers)


def _respond_with(status: int) -> Callable[[Request, Exception], Awaitable[Response]]:
    async def respond(request: Request, error: Exception) -> Response:
        return JSONResponse({"error": str(error), "kind": type(error).__name__}, status)

    return respond


async def _on_unexpected_error(request: Request, error: Exception) -> Response:
    log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return JSONResponse({"error": "internal error of the relay; see its log output"}, 500)
