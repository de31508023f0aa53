"""Listing running kernels and kernelspecs, on this machine and on servers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from enchannel._kernel.backend_call import bind_options
from enchannel._kernel.backend_lookup import find_backend
from enchannel._protocol.models import KernelModel, KernelspecModel
from enchannel._protocol.session import Session
from enchannel._rx.thread_calls import call_in_thread
from enchannel._rx.waiting import refuse_on_event_loop
from enchannel.abc import Backend, Lister, OpenContext
from enchannel.errors import NotSupported

__all__ = ["alist_kernels", "alist_kernelspecs", "list_kernels", "list_kernelspecs"]


def list_kernels(
    at: str | None = None,
    *,
    backend: Backend | str | None = None,
    timeout: float = 10.0,
    **options: Any,
) -> tuple[KernelModel, ...]:
    """Return the running kernels of this machine or of a server, the most recently active first.

    A kernel of this machine that ended without removing its connection file is listed with the state
    ``"dead"``. On a running event loop, use ``alist_kernels``.

    Args:
        at: The URL of a server, as for ``launch``; this machine by default.
        backend: The backend or its name; chosen by ``at`` by default.
        timeout: Seconds within which the server must answer.
        options: The options of the backend, such as ``token``.

    Raises:
        ConnectionFailed: the server did not answer, or is of another kind.
        AuthenticationFailed: the server does not accept the credentials.
        BackendNotFound: no installed backend supports this kind of server.
        NotSupported: the backend cannot list kernels.
        WouldDeadlock: called on a running event loop.
        ValueError, TypeError: an argument is invalid, or the backend does not have an option.

    Example:
        >>> for kernel in ec.list_kernels("http://localhost:8888", token="…"):
        ...     print(kernel.id, kernel.state)
    """
    refuse_on_event_loop("list_kernels()", "use `await enchannel.alist_kernels(…)`")
    return _kernel_listing(at, backend, timeout, options)()


async def alist_kernels(
    at: str | None = None,
    *,
    backend: Backend | str | None = None,
    timeout: float = 10.0,
    **options: Any,
) -> tuple[KernelModel, ...]:
    """Return the running kernels without blocking the event loop; see ``list_kernels``."""
    return await call_in_thread(_kernel_listing(at, backend, timeout, options))


def list_kernelspecs(
    at: str | None = None,
    *,
    backend: Backend | str | None = None,
    timeout: float = 10.0,
    **options: Any,
) -> tuple[KernelspecModel, ...]:
    """Return the kernelspecs of this machine or of a server, by name.

    They are the kinds of kernels that ``launch`` can start there.

    On a running event loop, use ``alist_kernelspecs``.

    Args:
        at, backend, timeout, options: As for ``list_kernels``.

    Raises:
        ConnectionFailed, AuthenticationFailed, BackendNotFound, NotSupported, WouldDeadlock, ValueError,
            TypeError: As for ``list_kernels``.
        MissingDependency: jupyter_client, which finds the kernelspecs of this machine, is not installed.
    """
    refuse_on_event_loop("list_kernelspecs()", "use `await enchannel.alist_kernelspecs(…)`")
    return _kernelspec_listing(at, backend, timeout, options)()


async def alist_kernelspecs(
    at: str | None = None,
    *,
    backend: Backend | str | None = None,
    timeout: float = 10.0,
    **options: Any,
) -> tuple[KernelspecModel, ...]:
    """Return the kernelspecs without blocking the event loop; see ``list_kernelspecs``."""
    return await call_in_thread(_kernelspec_listing(at, backend, timeout, options))


def _kernel_listing(
    at: str | None, backend: Backend | str | None, timeout: float, options: dict[str, Any]
) -> Callable[[], tuple[KernelModel, ...]]:
    context = OpenContext(session=Session(), timeout=timeout, at=at)
    lister, name = _find_lister(context, backend)
    return bind_options(
        lister.list_kernels, name, options, context, own=("at", "backend", "timeout")
    )


def _kernelspec_listing(
    at: str | None, backend: Backend | str | None, timeout: float, options: dict[str, Any]
) -> Callable[[], tuple[KernelspecModel, ...]]:
    context = OpenContext(session=Session(), timeout=timeout, at=at)
    lister, name = _find_lister(context, backend)
    return bind_options(
        lister.list_kernelspecs, name, options, context, own=("at", "backend", "timeout")
    )


def _find_lister(context: OpenContext, backend: Backend | str | None) -> tuple[Lister, str]:
    """Return a backend that can list kernels, and its name."""
    found = find_backend(context.at, backend)
    if not isinstance(found.backend, Lister):
        raise NotSupported(f"the backend {found.name!r} cannot list kernels")
    return found.backend, found.name
