"""The ZeroMQ backend: launches kernels on this machine, and connects to running ones."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from enchannel import ChannelName, ConnectionInfo, KernelModel, KernelspecModel
from enchannel.abc import Launcher, Link, Lister, OpenContext
from enchannel.backends import redact_url
from enchannel.errors import ConnectionFailed, Remedy
from enchannel_zmq._connection_file import (
    find_connection_file,
    kernel_id_of,
    read_connection_file,
)
from enchannel_zmq._descriptors import validate_descriptors
from enchannel_zmq._launch import launch_kernel
from enchannel_zmq._link import ZmqLink
from enchannel_zmq._listing import installed_kernelspecs, local_kernels

__all__ = ["GIBIBYTE", "ZmqBackend"]

GIBIBYTE = 1 << 30
TRANSPORTS = ("auto", "ipc", "tcp")
ENCRYPTIONS = ("auto", "required", "disabled")
POSITIVE_OPTIONS = ("max_received", "keepalive_timeout")
# With 0, nothing is waited for.
NOT_NEGATIVE_OPTIONS = ("reconnect_timeout", "shutdown_timeout")


class ZmqBackend(Launcher, Lister):
    """Connects to kernels by their connection info, and launches kernels on this machine.

    A target is the path of a connection file, a kernel id (or a file name, or an unambiguous prefix of
    either) in Jupyter's runtime directory, a ConnectionInfo, or a dict of its fields.
    """

    contract = 1

    def open(
        self,
        target: Any,
        context: OpenContext,
        *,
        max_received: int = GIBIBYTE,
        keepalive_timeout: float = 5.0,
        reconnect_timeout: float = 30.0,
        allow_unsigned: bool = False,
    ) -> Link:
        """Connect to a running kernel.

        Args:
            target: See the class.
            context: Session and timeout.
            max_received: Maximum frame size in bytes; if the kernel sends more, that channel is reported as
                lost and is reconnected.
            keepalive_timeout: Seconds after which a connection to a host that does not respond is lost.
            reconnect_timeout: Seconds after which a lost connection is given up.
            allow_unsigned: Accept a connection without a key. Anyone who can reach the ports can then send
                messages as the kernel, and to it.

        Raises:
            ConnectionFailed: The target is invalid, or the kernel did not answer.
            AuthenticationFailed: The kernel signs its messages with another key.
            TypeError: The target is of another type.
        """
        info, kernel_id = _resolve(target)
        _raise_if_unsigned(info, allow_unsigned=allow_unsigned)
        validate_descriptors()
        link = ZmqLink(
            info,
            context.session,
            kernel_id=kernel_id,
            max_received=max_received,
            keepalive_timeout=keepalive_timeout,
            reconnect_timeout=reconnect_timeout,
        )
        link.open(context.timeout)
        return link.link()

    def launch(
        self,
        name: str,
        context: OpenContext,
        *,
        cwd: Path | None = None,
        extra_env: Mapping[str, str] | None = None,
        transport: Literal["auto", "ipc", "tcp"] = "auto",
        encryption: Literal["auto", "required", "disabled"] = "auto",
        independent: bool = False,
        shutdown_timeout: float = 5.0,
        max_received: int = GIBIBYTE,
        extra_arguments: Sequence[str] = (),
        record_history: bool = True,
    ) -> Link:
        """Start a kernel on this machine, and connect to it.

        Args:
            name: Name of the kernelspec.
            context: Session, and the timeout within which the kernel must answer; also after each restart.
            cwd: Working directory; default: that of this process.
            extra_env: Environment variables in addition to those of this process.
            transport: ``"ipc"``: sockets in a directory that only this user can enter; ``"tcp"``: ports of
                the loopback interface; ``"auto"``: ipc for kernels known to support it, if the temporary
                directory can have sockets, otherwise tcp.
            encryption: CURVE encryption: ``"auto"`` encrypts tcp if the kernelspec supports it,
                ``"required"`` encrypts both transports, ``"disabled"`` none.
            independent: Allow the kernel to outlive this process if it is detached. Otherwise the kernel
                ends with this process, also if a signal kills this process: on Linux with util-linux's
                ``setpriv`` every kernel does (it gets SIGTERM), elsewhere kernels that watch their parent,
                as ipykernel does.
            shutdown_timeout: Seconds for the kernel to end by itself: half of them after the shutdown
                request, half after SIGTERM. Then it is killed.
            max_received: See ``open``.
            extra_arguments: Arguments for the kernel, after those of its kernelspec.
            record_history: False keeps the code out of the user's IPython history, if the kernel is an
                ipykernel.

        Raises:
            LaunchFailed: The kernel did not start or did not answer. The error has the exit code and the
                output of the process.
            ValueError: ``transport`` or ``encryption`` is not one of those.
            TypeError: ``extra_arguments`` is not a sequence of strings.
        """
        _raise_unless_one_of("transport", transport, TRANSPORTS)
        _raise_unless_one_of("encryption", encryption, ENCRYPTIONS)
        _validate_arguments(extra_arguments)
        validate_descriptors()
        return launch_kernel(
            name,
            session=context.session,
            timeout=context.timeout,
            cwd=cwd,
            env=extra_env,
            transport=transport,
            encryption=encryption,
            independent=independent,
            shutdown_timeout=shutdown_timeout,
            max_received=max_received,
            extra_arguments=extra_arguments,
            record_history=record_history,
        )

    def list_kernels(self, context: OpenContext) -> tuple[KernelModel, ...]:
        """Return the kernels of this machine that have a connection file, the newest first.

        A kernel is ``"alive"`` if its heartbeat port answers within 0.3 s, otherwise ``"dead"``. A
        connection file that cannot be read is left out, and logged as a warning.

        Args:
            context: The timeout.

        Raises:
            ValueError: ``at`` is set.
        """
        _raise_if_at_server(context)
        return local_kernels(context.timeout)

    def list_kernelspecs(self, context: OpenContext) -> tuple[KernelspecModel, ...]:
        """Return the kernelspecs that are installed on this machine, by name.

        Args:
            context: Only checked.

        Raises:
            MissingDependency: jupyter_client is not installed.
            ValueError: ``at`` is set.
        """
        _raise_if_at_server(context)
        return installed_kernelspecs()

    def validate_open(self, target: Any, context: OpenContext, options: Mapping[str, Any]) -> None:
        """Check the type of the target, and the numbers; see ``Backend``."""
        _raise_if_at_server(context)
        _raise_unless_target(target)
        _validate_numbers(options)

    def validate_launch(self, name: str, context: OpenContext, options: Mapping[str, Any]) -> None:
        """Check the options; see ``Launcher``."""
        _raise_if_at_server(context)
        _raise_unless_one_of("transport", options.get("transport", "auto"), TRANSPORTS)
        _raise_unless_one_of("encryption", options.get("encryption", "auto"), ENCRYPTIONS)
        _validate_arguments(options.get("extra_arguments", ()))
        _validate_numbers(options)


def _raise_if_at_server(context: OpenContext) -> None:
    if context.at is not None:
        raise ValueError(
            f"at must be None for kernels on this machine, not {redact_url(context.at)!r}"
        )


def _validate_arguments(arguments: object) -> None:
    if (
        not isinstance(arguments, Sequence)
        or isinstance(arguments, (str, bytes))
        or not all(isinstance(argument, str) for argument in arguments)
    ):
        raise TypeError(f"extra_arguments must be a sequence of strings, not {arguments!r}")


def _validate_numbers(options: Mapping[str, Any]) -> None:
    for name in POSITIVE_OPTIONS:
        if name in options and not options[name] > 0:
            raise ValueError(f"{name} must be a positive number, not {options[name]!r}")
    for name in NOT_NEGATIVE_OPTIONS:
        if name in options and not options[name] >= 0:
            raise ValueError(f"{name} must be a number from 0, not {options[name]!r}")


def _raise_unless_one_of(option: str, value: object, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ValueError(f"{option} must be one of {', '.join(map(repr, known))}, not {value!r}")


def _raise_unless_target(target: object) -> None:
    if not isinstance(target, (str, os.PathLike, ConnectionInfo, Mapping)):
        raise TypeError(
            "target must be a path, kernel id, ConnectionInfo, dict or URL, "
            f"not {type(target).__name__}"
        )


def _resolve(target: Any) -> tuple[ConnectionInfo, str]:
    _raise_unless_target(target)
    if isinstance(target, ConnectionInfo):
        if missing := ", ".join(name for name in ChannelName if name not in target.ports):
            raise ConnectionFailed(f"target must have a port for every channel; missing: {missing}")
        return target, f"at {target.ip}"
    if isinstance(target, Mapping):
        info = ConnectionInfo.from_dict(target)
        return info, f"at {info.ip}"
    path = find_connection_file(target)
    return read_connection_file(path), kernel_id_of(path)


def _raise_if_unsigned(info: ConnectionInfo, *, allow_unsigned: bool) -> None:
    if info.key or allow_unsigned or _is_private(info):
        return
    raise ConnectionFailed(
        "the connection info has no key, so anyone who can reach the ports could send messages as the "
        "kernel",
        remedy=Remedy.ALLOW_UNSIGNED,
    )


def _is_private(info: ConnectionInfo) -> bool:
    """Return True if the sockets are in a directory that only this user can enter."""
    if info.transport != "ipc" or sys.platform == "win32":
        return False
    try:
        status = Path(info.ip).resolve().parent.stat()
    except OSError:
        return False
    return status.st_uid == os.getuid() and not status.st_mode & (stat.S_IRWXG | stat.S_IRWXO)
