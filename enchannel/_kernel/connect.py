"""Connecting and launching: finding the backend for a target and opening a link with it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, cast

from reactivex import abc

from enchannel._kernel.backend_call import bind_options
from enchannel._kernel.backend_lookup import find_backend, find_backend_of_target
from enchannel._kernel.concurrency import is_on_event_loop, require_supported_concurrency
from enchannel._kernel.heartbeat import validate_silent_after
from enchannel._kernel.kernel import Kernel, open_kernel
from enchannel._kernel.request_gate import DEFAULT_MAX_IN_FLIGHT, validate_max_in_flight
from enchannel._protocol.connection_info import ConnectionInfo
from enchannel._protocol.session import Session
from enchannel._protocol.url_secrets import redact_url
from enchannel._rx.waiting import require_user_thread
from enchannel.abc import Backend, Launcher, Link, Lister, OpenContext
from enchannel.errors import NotSupported

__all__ = ["connect", "launch", "launch_link", "open_link"]

CONNECT_OPTIONS = (
    "at",
    "backend",
    "timeout",
    "session",
    "silent_after",
    "max_in_flight",
    "scheduler",
)


def connect(
    target: str | os.PathLike[str] | ConnectionInfo | Mapping[str, Any],
    *,
    at: str | None = None,
    backend: Backend | str | None = None,
    timeout: float = 10.0,
    session: Session | None = None,
    silent_after: float | None = None,
    max_in_flight: int | None = DEFAULT_MAX_IN_FLIGHT,
    scheduler: abc.SchedulerBase | None = None,
    **options: Any,
) -> Kernel:
    """Connect to a running kernel.

    ``connect`` returns once iopub is subscribed to, so no message that the kernel sends later is lost. On a
    running event loop, ``connect`` returns immediately; ``async with`` or ``await`` connects.

    Args:
        target: The path of a connection file; the id of a kernel of this machine, the name of its file in
            Jupyter's runtime directory or an unambiguous prefix of either; a ConnectionInfo, the dict of a
            connection file, or a URL, whose scheme names the backend. ``replay:`` and a path plays a
            recording, as ``replay`` does. With ``at``,
            the id of a kernel on that server, or an unambiguous beginning of the id.
        at: The URL of the server that has the kernel, if ``target`` is not a URL itself.
        backend: The backend or its name; chosen by ``at`` or ``target`` by default.
        timeout: Seconds within which the kernel must answer.
        session: The identity of this client; a new one by default.
        silent_after: Seconds without a heartbeat after which the kernel state is ``silent``. None: 5
            seconds, or no heartbeats with a scheduler of virtual time. ``math.inf``: no heartbeats.
        max_in_flight: The maximum number of unanswered requests on each channel and subshell. Later ones
            wait here, in order, while their timeouts run. None: no limit; kernels drop requests then,
            ipykernel beyond some 2,000. Messages of channels and comms are sent at once.
        scheduler: The scheduler of timeouts and heartbeats; a thread of the library by default.
        options: The options of the backend; for ZeroMQ see ``enchannel_zmq``.

    Raises:
        ConnectionFailed: the connection failed; the text names the channel and a remedy.
        BackendNotFound: no installed backend supports this kind of target.
        NotSupported: the backend cannot find kernels by their id; or the call is made in a trio task or in
            a process that gevent or eventlet has patched.
        ValueError, TypeError: an argument is invalid, or the backend does not have an option; raised by the
            call, also on a running event loop.

    Example:
        >>> with ec.connect("kernel-1234.json") as kernel:
        ...     ...
    """
    require_supported_concurrency("connect()")
    context = _context(session, timeout, scheduler, at)
    validate_silent_after(silent_after)
    validate_max_in_flight(max_in_flight)
    opened = _open_call(target, context, backend, options)
    label = redact_url(target) if isinstance(target, str) else ""
    return _open_now_or_later(
        Kernel(
            opened,
            context.session,
            label=label,
            scheduler=scheduler,
            silent_after=silent_after,
            max_in_flight=max_in_flight,
        )
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
    silent_after: float | None = None,
    max_in_flight: int | None = DEFAULT_MAX_IN_FLIGHT,
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
        cwd: The working directory of the kernel; with ``at``, a directory of the server: of a Jupyter
            server below its root, of a relay on its machine.
        extra_env: Environment variables, added to those of this process.
        timeout: Seconds within which the kernel must answer.
        session, silent_after, max_in_flight, scheduler: As for ``connect``.
        options: The options of the backend; for ZeroMQ see ``enchannel_zmq``.

    Raises:
        LaunchFailed: the kernelspec or ``cwd`` does not exist, or the process did not start; with its exit
            code and the end of its stderr.
        BackendNotFound: no installed backend supports this kind of server.
        NotSupported: the backend cannot launch kernels; or as for ``connect``.
        ValueError, TypeError: As for ``connect``.
    """
    require_supported_concurrency("launch()")
    context = _context(session, timeout, scheduler, at)
    validate_silent_after(silent_after)
    validate_max_in_flight(max_in_flight)
    launched = _launch_call(name, context, backend, cwd, extra_env, options)
    return _open_now_or_later(
        Kernel(
            launched,
            context.session,
            label=name,
            scheduler=scheduler,
            silent_after=silent_after,
            max_in_flight=max_in_flight,
        )
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
        ConnectionFailed, BackendNotFound, NotSupported, ValueError, TypeError: As for ``connect``.
    """
    require_supported_concurrency("open_link()")
    require_user_thread("open_link()")
    context = _context(session, timeout, scheduler, at)
    return _open_call(target, context, backend, options)()


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
        LaunchFailed, BackendNotFound, NotSupported, ValueError, TypeError: As for ``launch``.
    """
    require_supported_concurrency("launch_link()")
    require_user_thread("launch_link()")
    context = _context(session, timeout, scheduler, at)
    return _launch_call(name, context, backend, cwd, extra_env, options)()


def _context(
    session: Session | None,
    timeout: float,
    scheduler: abc.SchedulerBase | None,
    at: str | None,
) -> OpenContext:
    if session is not None and not isinstance(session, Session):
        raise TypeError(f"session must be an enchannel.Session, not {type(session).__name__}")
    if scheduler is not None and not isinstance(scheduler, abc.SchedulerBase):
        raise TypeError(
            f"scheduler must be a scheduler of reactivex, not {type(scheduler).__name__}"
        )
    return OpenContext(session=session or Session(), timeout=timeout, scheduler=scheduler, at=at)


def _open_call(
    target: object,
    context: OpenContext,
    backend: Backend | str | None,
    options: Mapping[str, Any],
) -> Callable[[], Link]:
    """Return a function that opens a link, once all arguments are known to be valid."""
    if context.at is None:
        found = find_backend_of_target(target, backend)
    else:
        found = find_backend(context.at, backend)
        if not isinstance(found.backend, Lister):
            raise NotSupported(f"the backend {found.name!r} cannot find kernels by their id")
        _validate_id(target)
    call = bind_options(
        found.backend.open, found.name, options, target, context, own=CONNECT_OPTIONS
    )
    found.backend.validate_open(target, context, options)
    return call


def _launch_call(
    name: object,
    context: OpenContext,
    backend: Backend | str | None,
    cwd: str | os.PathLike[str] | None,
    extra_env: Mapping[str, str] | None,
    options: Mapping[str, Any],
) -> Callable[[], Link]:
    """Return a function that launches a kernel, once all arguments are known to be valid."""
    if not isinstance(name, str):
        raise TypeError(f"name must be the name of a kernelspec, not {type(name).__name__}")
    _validate_cwd(cwd)
    _validate_extra_env(extra_env)
    found = find_backend(context.at, backend)
    launcher = found.backend
    if not isinstance(launcher, Launcher):
        raise NotSupported(f"the backend {found.name!r} cannot launch kernels")
    call = bind_options(
        launcher.launch, found.name, options, name, context, own=("name", *CONNECT_OPTIONS)
    )
    launcher.validate_launch(name, context, options)
    return partial(call, cwd=None if cwd is None else Path(cwd), extra_env=extra_env)


def _validate_cwd(cwd: object) -> None:
    if cwd is not None and not isinstance(cwd, (str, os.PathLike)):
        raise TypeError(f"cwd must be the path of a directory, not {type(cwd).__name__}")
    if cwd is not None and (fault := _fault_of_text(os.fspath(cwd))):
        raise ValueError(f"cwd must not have {fault}: {cwd!r}")


def _validate_extra_env(variables: object) -> None:
    # Values are not shown: one may be a password.
    if variables is None:
        return
    if not isinstance(variables, Mapping):
        raise TypeError(
            'extra_env must be a mapping such as {"NAME": "value"}, '
            f"not {type(variables).__name__}"
        )
    for name, value in cast("Mapping[object, object]", variables).items():
        if not isinstance(name, str):
            raise TypeError(f"extra_env must have strings as names, not {name!r}")
        if not isinstance(value, str):
            raise TypeError(f"extra_env[{name!r}] must be a string, not {type(value).__name__}")
        if not name or "=" in name:
            raise ValueError(f"extra_env must have names without '=' and not empty, not {name!r}")
        for what, text in ((f"the name {name!r}", name), (f"extra_env[{name!r}]", value)):
            if fault := _fault_of_text(text):
                raise ValueError(f"{what} must not have {fault}")


def _fault_of_text(text: str | bytes) -> str:
    """Describe characters that no environment variable or path can have; empty if there are none."""
    if (b"\0" if isinstance(text, bytes) else "\0") in text:  # type: ignore[operator]
        return "a null character"
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        return "a character that the file system encoding lacks, such as a lone surrogate"
    return ""


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
    if is_on_event_loop():
        return kernel
    require_user_thread("connecting")
    return open_kernel(kernel)
