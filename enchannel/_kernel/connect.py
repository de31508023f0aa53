"""Connecting and launching: finding the backend for a target and opening a link with it."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from reactivex import abc

from enchannel._kernel.kernel import Kernel, open_kernel
from enchannel._protocol.connection_info import ConnectionInfo
from enchannel._protocol.session import Session
from enchannel._protocol.url_secrets import redact_url
from enchannel.abc import CONTRACT_VERSION, Backend, Launcher, Link, Lister, OpenContext
from enchannel.errors import BackendNotFound, ConnectionFailed, MissingDependency, NotSupported

__all__ = ["backend_name", "connect", "find_backend", "launch", "launch_link", "open_link"]

ENTRY_POINT_GROUP = "enchannel.backends"
LOCAL_BACKEND = "zmq"


def connect(
    target: str | os.PathLike[str] | ConnectionInfo | Mapping[str, Any],
    *,
    at: str | None = None,
    backend: Backend | str | None = None,
    timeout: float = 10.0,
    session: Session | None = None,
    silent_after: float = 5.0,
    scheduler: abc.SchedulerBase | None = None,
    **options: Any,
) -> Kernel:
    """Connect to a running kernel.

    ``connect`` returns once iopub is subscribed to, so no message that the kernel sends later is lost. On a
    running event loop, ``connect`` returns immediately; ``async with`` or ``await`` connects.

    Args:
        target: The path of a connection file, its name in Jupyter's runtime directory or an unambiguous
            prefix of that name, a ConnectionInfo, the dict of a connection file, or a URL, whose scheme
            names the backend. ``replay:`` and a path plays a recording, as ``replay`` does. With ``at``,
            the id of a kernel on that server, or an unambiguous beginning of the id.
        at: The URL of the server that has the kernel, if ``target`` is not a URL itself.
        backend: The backend or its name; chosen by ``at`` or ``target`` by default.
        timeout: Seconds within which the kernel must answer.
        session: The identity of this client; a new one by default.
        silent_after: Seconds without a heartbeat after which the kernel state is ``silent``.
        scheduler: The scheduler of timeouts and heartbeats; a thread of the library by default.
        options: The options of the backend; for ZeroMQ see ``enchannel_zmq``.

    Raises:
        ConnectionFailed: the connection failed; the text names the channel and a remedy.
        BackendNotFound: no installed backend supports this kind of target.
        NotSupported: the backend cannot find kernels by their id.

    Example:
        >>> with ec.connect("kernel-1234.json") as kernel:
        ...     ...
    """
    identity = session or Session()

    def opened() -> Link:
        return open_link(
            target,
            at=at,
            backend=backend,
            session=identity,
            timeout=timeout,
            scheduler=scheduler,
            **options,
        )

    label = redact_url(target) if isinstance(target, str) else ""
    return _open_now_or_later(
        Kernel(opened, identity, label=label, scheduler=scheduler, silent_after=silent_after)
    )


def launch(
    name: str = "python3",
    *,
    at: str | None = None,
    backend: Backend | str | None = None,
    cwd: str | os.PathLike[str] | None = None,
    extra_env: Mapping[str, str] | None = None,
    timeout: float = 60.0,
    session: Session | None = None,
    silent_after: float = 5.0,
    scheduler: abc.SchedulerBase | None = None,
    **options: Any,
) -> Kernel:
    """Launch a kernel and connect to it.

    ``launch`` returns once iopub is subscribed to, so no message that the kernel sends later is lost. On a
    running event loop, ``launch`` returns immediately; ``async with`` or ``await`` starts the kernel and
    connects.

    The kernel is owned: it is shut down on leaving the block, by ``close()``, or at interpreter exit.

    Args:
        name: The name of a kernelspec; ``enchannel kernels`` lists them.
        at: The URL of a server that starts the kernel; this machine by default.
        backend: The backend or its name; chosen by ``at`` by default.
        cwd: The working directory of the kernel.
        extra_env: Environment variables, added to those of this process.
        timeout: Seconds within which the kernel must answer.
        session, silent_after, scheduler: As for ``connect``.
        options: The options of the backend; for ZeroMQ see ``enchannel_zmq``.

    Raises:
        LaunchFailed: the kernelspec does not exist, or the process did not start; with its exit code and
            the end of its stderr.
        BackendNotFound: no installed backend supports this kind of server.
    """
    identity = session or Session()

    def launched() -> Link:
        return launch_link(
            name,
            at=at,
            backend=backend,
            cwd=cwd,
            extra_env=extra_env,
            timeout=timeout,
            session=identity,
            scheduler=scheduler,
            **options,
        )

    return _open_now_or_later(
        Kernel(launched, identity, label=name, scheduler=scheduler, silent_after=silent_after)
    )


def open_link(
    target: str | os.PathLike[str] | ConnectionInfo | Mapping[str, Any],
    *,
    at: str | None = None,
    backend: Backend | str | None = None,
    timeout: float = 10.0,
    session: Session | None = None,
    scheduler: abc.SchedulerBase | None = None,
    **options: Any,
) -> Link:
    """Open the link that ``connect`` uses, for programs that pass messages on without a Kernel.

    Args:
        target, at, backend, timeout, session, scheduler, options: As for ``connect``.

    Raises:
        ConnectionFailed, BackendNotFound, NotSupported: As for ``connect``.
    """
    if at is None:
        chosen = _backend(backend or _scheme(target))
    else:
        chosen = find_backend(at, backend)
        if not isinstance(chosen, Lister):
            raise NotSupported(
                f"the backend {backend_name(at, backend)!r} cannot find kernels by their id"
            )
        _validate_id(target)
    opening: Callable[..., Link] = chosen.open
    context = OpenContext(session=session or Session(), timeout=timeout, scheduler=scheduler, at=at)
    return opening(target, context, **options)


def launch_link(
    name: str = "python3",
    *,
    at: str | None = None,
    backend: Backend | str | None = None,
    cwd: str | os.PathLike[str] | None = None,
    extra_env: Mapping[str, str] | None = None,
    timeout: float = 60.0,
    session: Session | None = None,
    scheduler: abc.SchedulerBase | None = None,
    **options: Any,
) -> Link:
    """Launch a kernel and open a link to it, for programs that pass messages on without a Kernel.

    Closing the link does not shut the kernel down; its ``lifecycle`` does.

    Args:
        name, at, backend, cwd, extra_env, timeout, session, scheduler, options: As for ``launch``.

    Raises:
        LaunchFailed, BackendNotFound: As for ``launch``.
        ConnectionFailed: ``at`` is not a URL, or the connection failed.
        NotSupported: the backend cannot launch kernels.
    """
    launcher = find_backend(at, backend)
    if not isinstance(launcher, Launcher):
        raise NotSupported(f"the backend {backend_name(at, backend)!r} cannot launch kernels")
    launching: Callable[..., Link] = launcher.launch
    context = OpenContext(session=session or Session(), timeout=timeout, scheduler=scheduler, at=at)
    directory = None if cwd is None else Path(cwd)
    return launching(name, context, cwd=directory, extra_env=extra_env, **options)


def find_backend(at: str | None, backend: Backend | str | None) -> Backend:
    """Return the backend for a server, or for this machine if ``at`` is None.

    Args:
        at: As for ``launch``.
        backend: The backend or its name, if it is not chosen by ``at``.
    """
    chosen = backend or (LOCAL_BACKEND if at is None else _scheme(at))
    if at is not None and chosen == LOCAL_BACKEND:
        raise ConnectionFailed(
            f"at must be a server URL such as https://host, not {redact_url(at)!r}"
        )
    return _backend(chosen)


def backend_name(at: str | None, backend: Backend | str | None) -> str:
    """Return the name of the backend that ``find_backend`` returns, for error messages."""
    return _name(backend or (LOCAL_BACKEND if at is None else _scheme(at)))


def _validate_id(target: object) -> None:
    if not isinstance(target, str):
        raise TypeError(
            f"target must be the id of a kernel on the server at=, not {type(target).__name__}"
        )
    if not target or "://" in target:
        raise ValueError(
            f"target must be the id of a kernel on the server at=, not {redact_url(target)!r}"
        )


def _open_now_or_later(kernel: Kernel) -> Kernel:
    return kernel if _is_on_event_loop() else open_kernel(kernel)


def _is_on_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _scheme(target: object) -> str:
    """Return the scheme of a URL, or the name of the local backend for any other target."""
    if isinstance(target, str):
        match = re.match(r"([A-Za-z][A-Za-z0-9+.-]+):", target)
        if match is not None and not Path(target).exists():
            return match[1].lower()
    return LOCAL_BACKEND


def _name(backend: Backend | str) -> str:
    return backend if isinstance(backend, str) else type(backend).__name__


def _backend(chosen: Backend | str) -> Backend:
    if not isinstance(chosen, str):
        return _validate(chosen, _name(chosen), repr(chosen))
    return _load(chosen)


def _load(scheme: str) -> Backend:
    # Imported here: it takes a tenth of the time that importing this package does.
    from importlib import metadata

    found = {entry.name: entry for entry in metadata.entry_points(group=ENTRY_POINT_GROUP)}
    if scheme not in found:
        raise BackendNotFound(
            f"no backend {scheme!r}; installed: {', '.join(sorted(found)) or 'none'}{_install_hint(scheme)}"
        )
    try:
        backend: object = found[scheme].load()
    except MissingDependency:
        raise
    except ImportError as error:
        raise MissingDependency(
            f"the installed backend {scheme!r} cannot be imported: {error}{_install_hint(scheme)}"
        ) from error
    return _validate(backend, scheme, found[scheme].value)


def _validate(backend: object, name: str, origin: str) -> Backend:
    if not isinstance(backend, Backend):
        raise BackendNotFound(f"the backend {name!r} must be a Backend instance, not {origin}")
    if backend.contract != CONTRACT_VERSION:
        raise BackendNotFound(
            f"the backend {name!r} implements contract {backend.contract}, not {CONTRACT_VERSION}; "
            "install a version of it that supports this version of enchannel"
        )
    return backend


def _install_hint(scheme: str) -> str:
    if scheme in ("http", "https", "ws", "wss"):
        return '; pip install "enchannel[websocket]"'
    if scheme.startswith("socketio+"):
        return '; pip install "enchannel[socketio]"'
    return ""
