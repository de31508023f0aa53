"""From a name to a kernel: which backend, and when it connects."""

from __future__ import annotations

import asyncio
import inspect
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
from enchannel.abc import Backend, Launcher, Link
from enchannel.errors import BackendNotFound, ConnectionFailed, NotSupported

__all__ = ["connect", "launch", "launch_link", "open_link"]

GROUP = "enchannel.backends"
LOCAL = "zmq"
CONTRACT = 1


def connect(
    target: str | os.PathLike[str] | ConnectionInfo | Mapping[str, Any],
    *,
    backend: Backend | str | None = None,
    timeout: float = 10.0,
    session: Session | None = None,
    silent_after: float = 5.0,
    scheduler: abc.SchedulerBase | None = None,
    **options: Any,
) -> Kernel:
    """Connect to a kernel that runs already.

    It returns when nothing that the kernel says from now on is lost. On a running event loop it
    returns at once, and connects in ``async with`` or ``await``.

    Args:
        target: A connection file's path; the name of one in Jupyter's runtime directory, or an
            unambiguous beginning of it; a ConnectionInfo or the dict of a connection file; or a URL,
            whose scheme is the name of the backend. ``replay:`` and a path plays a recording, as fast as
            ``speed`` times, from the first subscription on, or from when ``start`` emits.
        backend: The one to connect with, or its name; by default the target says which.
        timeout: Seconds until it has to answer.
        session: Who we are to the kernel; a new one by default.
        silent_after: Seconds without a heartbeat after which a kernel is called silent.
        scheduler: Where time comes from (timeouts, heartbeats); a thread of the library by default.
        options: The backend's own; for ZeroMQ see ``enchannel_zmq``.

    Raises:
        ConnectionFailed: with the channel that did not answer, and a hint.
        BackendNotFound: nothing that is installed knows this kind of target.

    Example:
        >>> with ec.connect("kernel-1234.json") as kernel:
        ...     ...
    """
    who = session or Session()

    def opened() -> Link:
        return open_link(
            target, backend=backend, session=who, timeout=timeout, scheduler=scheduler, **options
        )

    label = redact_url(target) if isinstance(target, str) else ""
    return _begin(Kernel(opened, who, label=label, scheduler=scheduler, silent_after=silent_after))


def launch(
    name: str = "python3",
    *,
    at: str | None = None,
    backend: Backend | str | None = None,
    cwd: str | os.PathLike[str] | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float = 60.0,
    session: Session | None = None,
    silent_after: float = 5.0,
    scheduler: abc.SchedulerBase | None = None,
    **options: Any,
) -> Kernel:
    """Start a kernel, and connect to it.

    It returns when nothing that the kernel says from now on is lost. On a running event loop it
    returns at once, and starts the kernel in ``async with`` or ``await``. The kernel is ours:
    it is shut down on leaving the block, by ``close()``, or when the interpreter ends.

    Args:
        name: The kernelspec's; ``enchannel kernels`` lists them.
        at: The URL of a server to start it on; on this machine by default.
        backend: The one to start it with, or its name; by default ``at`` says which.
        cwd: The directory that it starts in.
        env: Environment variables for it, beside those of this process.
        timeout: Seconds until it has to answer.
        session, silent_after, scheduler: As for ``connect``.
        options: The backend's own; for ZeroMQ see ``enchannel_zmq``.

    Raises:
        LaunchFailed: there is no such kernelspec, or its process did not come up; with its exit
            code and the end of its stderr.
        BackendNotFound: nothing that is installed knows that kind of server.
    """
    who = session or Session()

    def launched() -> Link:
        return launch_link(
            name,
            at=at,
            backend=backend,
            cwd=cwd,
            env=env,
            timeout=timeout,
            session=who,
            **options,
        )

    return _begin(Kernel(launched, who, label=name, scheduler=scheduler, silent_after=silent_after))


def open_link(
    target: str | os.PathLike[str] | ConnectionInfo | Mapping[str, Any],
    *,
    backend: Backend | str | None = None,
    timeout: float = 10.0,
    session: Session | None = None,
    scheduler: abc.SchedulerBase | None = None,
    **options: Any,
) -> Link:
    """What ``connect`` connects by: the bare link, for who passes messages on and wants no Kernel.

    Args:
        target, backend, timeout, session, scheduler, options: As for ``connect``.

    Raises:
        ConnectionFailed, BackendNotFound: As ``connect`` does.
    """
    opening: Callable[..., Link] = _backend(backend or _scheme(target)).open
    if scheduler is not None and "scheduler" in inspect.signature(opening).parameters:
        options["scheduler"] = scheduler
    return opening(target, session=session or Session(), timeout=timeout, **options)


def launch_link(
    name: str = "python3",
    *,
    at: str | None = None,
    backend: Backend | str | None = None,
    cwd: str | os.PathLike[str] | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float = 60.0,
    session: Session | None = None,
    **options: Any,
) -> Link:
    """What ``launch`` launches: the bare link, for who passes messages on and wants no Kernel.

    Closing it leaves the kernel to itself, unless its ``lifecycle`` has shut it down.

    Args:
        name, at, backend, cwd, env, timeout, session, options: As for ``launch``.

    Raises:
        LaunchFailed, NotSupported, ConnectionFailed, BackendNotFound: As ``launch`` does.
    """
    chosen = backend or (LOCAL if at is None else _scheme(at))
    if at is not None and chosen == LOCAL:
        raise ConnectionFailed(
            f"at={redact_url(at)!r} is no server's URL, as https://host would be"
        )
    launcher = _backend(chosen)
    if not isinstance(launcher, Launcher):
        raise NotSupported(f"the backend {_name(chosen)!r} cannot start kernels")
    places = {} if at is None else {"at": at}
    launching: Callable[..., Link] = launcher.launch
    return launching(
        name,
        session=session or Session(),
        timeout=timeout,
        cwd=None if cwd is None else Path(cwd),
        env=env,
        **places,
        **options,
    )


def _begin(kernel: Kernel) -> Kernel:
    return kernel if _on_a_loop() else open_kernel(kernel)


def _on_a_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _scheme(target: object) -> str:
    """The scheme of a URL; of everything else, the local backend's name."""
    if isinstance(target, str):
        match = re.match(r"([A-Za-z][A-Za-z0-9+.-]+):", target)
        if match is not None and not Path(target).exists():
            return match[1].lower()
    return LOCAL


def _name(backend: Backend | str) -> str:
    return backend if isinstance(backend, str) else type(backend).__name__


def _backend(chosen: Backend | str) -> Backend:
    if not isinstance(chosen, str):
        return _checked(chosen, _name(chosen), repr(chosen))
    return _found(chosen)


def _found(scheme: str) -> Backend:
    from importlib import metadata  # a tenth of what importing this package would cost

    found = {entry.name: entry for entry in metadata.entry_points(group=GROUP)}
    if scheme not in found:
        raise BackendNotFound(
            f"no backend {scheme!r}; installed: {', '.join(sorted(found)) or 'none'}{_hint(scheme)}"
        )
    try:
        backend: object = found[scheme].load()
    except ImportError as error:
        raise BackendNotFound(
            f"the backend {scheme!r} is there and cannot be imported: {error}{_hint(scheme)}"
        ) from error
    return _checked(backend, scheme, found[scheme].value)


def _checked(backend: object, name: str, what: str) -> Backend:
    if not isinstance(backend, Backend):
        raise BackendNotFound(f"what {name!r} names is no backend: {what}")
    if backend.contract != CONTRACT:
        raise BackendNotFound(
            f"the backend {name!r} was written for contract {backend.contract}, and this is {CONTRACT}"
        )
    return backend


def _hint(scheme: str) -> str:
    if scheme in ("http", "https", "ws", "wss"):
        return '; pip install "enchannel[websocket]"'
    if scheme.startswith("socketio+"):
        return '; pip install "enchannel[socketio]"'
    return ""
