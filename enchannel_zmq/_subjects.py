"""The functions of nteract's enchannel-zmq-backend, in Python's spelling.

Each connects to the kernel as a whole and returns a channel, or all of them; ``close()`` of what is
returned ends the connection, as does the end of the process.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import enchannel
from enchannel import Channel, ConnectionInfo, Kernel, Session

__all__ = [
    "Channels",
    "create_channels",
    "create_control_subject",
    "create_iopub_subject",
    "create_main_channel",
    "create_shell_subject",
    "create_stdin_subject",
]

Target = ConnectionInfo | Mapping[str, Any] | str | os.PathLike[str]


@dataclass(frozen=True, slots=True)
class Channels:
    """The channels of one kernel, as Subjects.

    Attributes:
        shell, control, stdin, iopub: See ``Kernel``.
        kernel: The kernel that they belong to.
    """

    shell: Channel
    control: Channel
    stdin: Channel
    iopub: Channel
    kernel: Kernel

    def close(self) -> None:
        """Complete the channels and disconnect."""
        self.kernel.close()


def create_channels(
    config: Target, *, identity: str | None = None, timeout: float = 10.0
) -> Channels:
    """All channels of a kernel.

    Args:
        config: A connection file, or what is in it.
        identity: The session's id, which is what the sockets are called; a fresh one by default.
        timeout: Seconds until the kernel has to answer.

    Raises:
        ConnectionFailed: with the channel that did not answer.
        WouldDeadlock: on a running event loop; there, ``await enchannel.connect(…)``.
    """
    kernel = _connect(config, identity, timeout)
    return Channels(kernel.shell, kernel.control, kernel.stdin, kernel.iopub, kernel)


def create_main_channel(
    config: Target, *, identity: str | None = None, timeout: float = 10.0
) -> Channel:
    """One Subject for all channels: messages say their ``channel``. See ``create_channels``."""
    return _connect(config, identity, timeout).main


def create_shell_subject(
    config: Target, *, identity: str | None = None, timeout: float = 10.0
) -> Channel:
    """The shell channel alone. See ``create_channels``."""
    return create_channels(config, identity=identity, timeout=timeout).shell


def create_control_subject(
    config: Target, *, identity: str | None = None, timeout: float = 10.0
) -> Channel:
    """The control channel alone. See ``create_channels``."""
    return create_channels(config, identity=identity, timeout=timeout).control


def create_stdin_subject(
    config: Target, *, identity: str | None = None, timeout: float = 10.0
) -> Channel:
    """The stdin channel alone. See ``create_channels``."""
    return create_channels(config, identity=identity, timeout=timeout).stdin


def create_iopub_subject(
    config: Target, *, identity: str | None = None, timeout: float = 10.0
) -> Channel:
    """The iopub channel alone. See ``create_channels``."""
    return create_channels(config, identity=identity, timeout=timeout).iopub


def _connect(config: Target, identity: str | None, timeout: float) -> Kernel:
    session = Session() if identity is None else Session(id=identity)
    return enchannel.connect(config, session=session, timeout=timeout)
