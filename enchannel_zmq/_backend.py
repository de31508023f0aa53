"""The ZeroMQ backend: kernels of this machine, or reached by their connection files."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from enchannel import ChannelName, ConnectionInfo, Session
from enchannel.abc import Launcher, Link
from enchannel.errors import ConnectionFailed, LaunchFailed, Remedy
from enchannel_zmq._connection_file import (
    find_connection_file,
    kernel_id_of,
    read_connection_file,
)
from enchannel_zmq._descriptors import demand_descriptors
from enchannel_zmq._link import ZmqLink

__all__ = ["GIBIBYTE", "ZmqBackend"]

GIBIBYTE = 1 << 30


class ZmqBackend(Launcher):
    """Local kernels, and those whose connection file one has.

    ``connect`` takes a connection file's path, the name of one in Jupyter's runtime directory, a
    ConnectionInfo or a dict; ``launch`` the name of a kernelspec.
    """

    def open(
        self,
        target: Any,
        *,
        session: Session,
        timeout: float,
        max_received: int = GIBIBYTE,
        keepalive_timeout: float = 5.0,
        reconnect_timeout: float = 30.0,
        allow_unsigned: bool = False,
    ) -> Link:
        """Connect to a kernel that runs.

        Args:
            target: See the class.
            session: Who we are to the kernel.
            timeout: Seconds until it has to answer.
            max_received: Bytes; a kernel that sends a larger frame is cut off, and told of.
            keepalive: Seconds after which another host that gives no sign of life is gone.
            reconnect_timeout: Seconds for which a kernel that is lost is looked for again.
            allow_unsigned: Accept a connection without a key: anybody who reaches its ports can
                speak for the kernel, and to it.

        Raises:
            ConnectionFailed: the target makes no sense, or does not answer.
            AuthenticationFailed: the key is a wrong one.
        """
        info, kernel_id = _resolve(target)
        demand_key(info, allow_unsigned=allow_unsigned)
        demand_descriptors()
        link = ZmqLink(
            info,
            session,
            kernel_id=kernel_id,
            max_received=max_received,
            keepalive_timeout=keepalive_timeout,
            reconnect_timeout=reconnect_timeout,
        )
        link.open(timeout)
        return link.link()

    def launch(
        self,
        name: str,
        *,
        session: Session,
        timeout: float,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        transport: Literal["auto", "ipc", "tcp"] = "auto",
        encryption: Literal["auto", "required", "disabled"] = "auto",
        independent: bool = False,
        shutdown_timeout: float = 5.0,
        max_received: int = GIBIBYTE,
    ) -> Link:
        """Start a kernel on this machine.

        Args:
            name: The kernelspec's.
            session: Who we are to the kernel.
            timeout: Seconds until it has to answer.
            cwd: The directory that it starts in.
            env: Environment variables for it, beside those of this process.
            transport: ``"ipc"``: sockets in a directory that only the user can enter; ``"tcp"``: ports
                of the loopback interface; ``"auto"``: ipc for a kernel that is known to take it.
            encryption: CURVE: ``"auto"`` encrypts tcp where the kernelspec offers it, ``"required"``
                whatever the transport.
            independent: The kernel may outlive this process, if it is detached from.
            shutdown_timeout: Seconds for it to end by itself: half of them after being asked, half after
                SIGTERM; then it is killed.
            max_received: Bytes; a kernel that sends a larger frame is cut off, and told of.

        Raises:
            LaunchFailed: with the exit code and what the process printed.
        """
        try:
            from enchannel_zmq._process import start
        except ImportError as error:
            raise LaunchFailed(
                f'starting kernels takes jupyter_client: pip install "enchannel[kernel]" ({error.name})'
            ) from None
        demand_descriptors()
        return start(
            name,
            session=session,
            timeout=timeout,
            cwd=cwd,
            env=env,
            transport=transport,
            encryption=encryption,
            independent=independent,
            shutdown_timeout=shutdown_timeout,
            max_received=max_received,
        )


def _resolve(target: object) -> tuple[ConnectionInfo, str]:
    if isinstance(target, ConnectionInfo):
        if missing := ", ".join(name for name in ChannelName if name not in target.ports):
            raise ConnectionFailed(f"the connection info has no port for {missing}")
        return target, f"at {target.ip}"
    if isinstance(target, Mapping):
        info = ConnectionInfo.from_dict(target)
        return info, f"at {info.ip}"
    if isinstance(target, (str, os.PathLike)):
        path = find_connection_file(target)
        return read_connection_file(path), kernel_id_of(path)
    raise ConnectionFailed(
        f"a {type(target).__name__} is nothing to connect to; a path, a kernel's id, a "
        "ConnectionInfo, a dict or a URL is"
    )


def demand_key(info: ConnectionInfo, *, allow_unsigned: bool) -> None:
    """Refuse to talk without signatures where others could join in."""
    if info.key or allow_unsigned or _is_private(info):
        return
    raise ConnectionFailed(
        "the connection has no key, so anybody who reaches its ports could speak for the kernel",
        remedy=Remedy.ALLOW_UNSIGNED,
    )


def _is_private(info: ConnectionInfo) -> bool:
    """Whether its sockets are in a directory that nobody else can enter."""
    if info.transport != "ipc" or not hasattr(os, "getuid"):
        return False
    try:
        status = Path(info.ip).resolve().parent.stat()
    except OSError:
        return False
    return status.st_uid == os.getuid() and not status.st_mode & (stat.S_IRWXG | stat.S_IRWXO)
