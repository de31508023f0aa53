"""The routes of a relay: kernels are started, listed, ruled and ended by HTTP, and the page is served."""

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

from enchannel.errors import EnchannelError, LaunchFailed, NotSupported
from enchannel_socketio.relay._access_control import ACCESS
from enchannel_socketio.relay._directory import Directory, NoSuchKernel, TooManyKernels
from enchannel_socketio.relay._kernels import Kernel
from enchannel_socketio.relay._tokens import Access, Keys

__all__ = ["routes"]

log = logging.getLogger("enchannel.socketio.relay")

PAGE = Path(__file__).parent / "page"


class Spawn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What may be said of a kernel that is to be started."""

    cwd: str | None = None
    env: dict[str, str] = {}


def routes(
    directory: Directory,
    keys: Keys,
    max_message: int,
    shut_down: Callable[[str], Awaitable[None]],
) -> Starlette:
    """The application behind the guard.

    Args:
        directory: Of the kernels.
        keys: For tokens that are given away.
        max_message: Bytes that a client may send.
        shut_down: Ends a kernel, and forgets it.
    """
    served = _Routes(directory, keys, max_message, shut_down)
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
            HTTPException: _refused,
            NoSuchKernel: _failed(404),
            TooManyKernels: _failed(429),
            NotSupported: _failed(501),
            LaunchFailed: _failed(502),
            EnchannelError: _failed(502),
            TimeoutError: _failed(504),
            Exception: _broken,
        },
    )


class _Routes:
    def __init__(
        self,
        directory: Directory,
        keys: Keys,
        max_message: int,
        shut_down: Callable[[str], Awaitable[None]],
    ) -> None:
        self._directory = directory
        self._keys = keys
        self._max_message = max_message
        self._shut_down = shut_down

    async def page(self, request: Request) -> Response:
        return FileResponse(PAGE / "index.html")

    async def spawn(self, request: Request) -> Response:
        _demand_full(request)
        wanted = await _body(request)
        kernel = await self._directory.spawn(
            request.path_params["name"],
            cwd=None if wanted.cwd is None else Path(wanted.cwd),
            env=wanted.env or None,
        )
        return JSONResponse({"id": kernel.id}, 201)

    async def shut_down(self, request: Request) -> Response:
        _demand_full(request)
        kernel = await self._found(request)
        await self._shut_down(kernel.id)
        return JSONResponse({"kernelId": kernel.id})

    async def kernels(self, request: Request) -> Response:
        access = _access(request)
        kernels = [kernel for kernel in await self._directory.all() if access.may_watch(kernel.id)]
        return JSONResponse(
            {
                "kernels": [await self._model(kernel, access) for kernel in kernels],
                "access": str(access),
                "can_spawn": access.is_full and self._directory.spawns,
            }
        )

    async def kernel(self, request: Request) -> Response:
        access = _access(request)
        kernel = await self._found(request)
        if not access.may_watch(kernel.id):
            raise HTTPException(403, "this token is for watching another kernel")
        most = [self._max_message, kernel.max_message]
        limits = {"max_message": min(limit for limit in most if limit is not None)}
        return JSONResponse(await self._model(kernel, access) | limits)

    async def interrupt(self, request: Request) -> Response:
        return await self._rule(request, lambda kernel: kernel.interrupt())

    async def restart(self, request: Request) -> Response:
        return await self._rule(request, lambda kernel: kernel.restart())

    async def watch(self, request: Request) -> Response:
        _demand_full(request)
        kernel = await self._found(request)
        link = self._keys.link(Access(kernel.id))
        return JSONResponse(
            {"token": self._keys.watch_token(kernel.id), "url": f"/?token={link}"}, 201
        )

    async def link(self, request: Request) -> Response:
        _demand_full(request)
        return JSONResponse({"url": f"/?token={self._keys.link(Access())}"}, 201)

    async def kernelspecs(self, request: Request) -> Response:
        _demand_full(request)
        return JSONResponse({"kernelspecs": await asyncio.to_thread(_kernelspecs)})

    async def _rule(self, request: Request, how: Callable[[Kernel], Awaitable[None]]) -> Response:
        _demand_full(request)
        kernel = await self._found(request)
        await how(kernel)
        return JSONResponse({"position": await kernel.position()})

    async def _found(self, request: Request) -> Kernel:
        access = _access(request)
        kernel_id = request.path_params["id"]
        if not access.may_watch(kernel_id):  # who may not know learns nothing
            raise HTTPException(403, "this token is for watching another kernel")
        return await self._directory.find(kernel_id)

    async def _model(self, kernel: Kernel, access: Access) -> dict[str, Any]:
        first, last = await kernel.log.ends()
        return {
            "id": kernel.id,
            "name": kernel.name,
            "state": kernel.state.value,
            "watchers": kernel.watchers,
            "first": first,
            "last": last,
            "access": str(access),
            "lifecycle": kernel.has_lifecycle,
        }


def _access(request: Request) -> Access:
    access: Access = request.scope[ACCESS]
    return access


def _demand_full(request: Request) -> None:
    if not _access(request).is_full:
        raise HTTPException(403, "this token is only for watching")


async def _body(request: Request) -> Spawn:
    body = await request.body()
    if not body:
        return Spawn()
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise HTTPException(415, "what is sent along is application/json")
    try:
        return msgspec.json.decode(body, type=Spawn)
    except (msgspec.MsgspecError, UnicodeError) as error:
        raise HTTPException(400, f"that makes no sense: {error}") from None


def _kernelspecs() -> list[dict[str, str]]:
    """Those that are installed; none without jupyter_client."""
    try:
        from jupyter_client.kernelspec import KernelSpecManager
    except ImportError:
        return []
    found = KernelSpecManager().get_all_specs()
    return [
        {
            "name": name,
            "display_name": str(found[name]["spec"].get("display_name", name)),
            "language": str(found[name]["spec"].get("language", "")),
        }
        for name in sorted(found)
    ]


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101  # it is what this handler is for
    return JSONResponse({"error": error.detail}, error.status_code, error.headers)


def _failed(status: int) -> Callable[[Request, Exception], Awaitable[Response]]:
    async def failed(request: Request, error: Exception) -> Response:
        return JSONResponse({"error": str(error), "kind": type(error).__name__}, status)

    return failed


async def _broken(request: Request, error: Exception) -> Response:
    log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return JSONResponse({"error": "the relay met something unexpected; its log says what"}, 500)
