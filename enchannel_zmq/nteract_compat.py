"""The functions of nteract's enchannel-zmq-backend, with Python names.

Each connects to all channels of a kernel and returns one or all of them. ``close()`` on the returned object
closes the connection.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import enchannel
from enchannel import Channel, ConnectionInfo, Kernel, Session
from enchannel.backends import refuse_on_event_loop

__all__ = [
    "Channels",
    "Target",
    "create_channels",
    "create_control_subject",
    "create_iopub_subject",
    "create_main_channel",
    "create_shell_subject",
    "create_stdin_subject",
]

Target: TypeAlias = ConnectionInfo | Mapping[str, Any] | str | os.PathLike[str]
"""A connection file, or its contents."""


@dataclass(frozen=True, slots=True)
class Channels:
    """The channels of one kernel, as Subjects.

    Attributes:
        shell, control, stdin, iopub: See ``Kernel``.
        kernel: The kernel of these channels.
    """

    shell: Channel
    control: Channel
    stdin: Channel
    iopub: Channel
    kernel: Kernel

    def close(self) -> None:
        """Complete the channels, and close the connection."""
        self.kernel.close()


def create_channels(
    config: Target, *, identity: str | None = None, timeout: float = 10.0
) -> Channels:
    """Connect to a kernel, and return its channels.

    Args:
        config: A connection file, or its contents.
        identity: The session id, which is also the identity of the sockets; default: random.
        timeout: Seconds within which the kernel must answer.

    Raises:
        ConnectionFailed: The kernel did not answer, or the target is invalid.
        WouldDeadlock: Called on a running event loop; use ``kernel = await enchannel.connect(…)`` there.
    """
    kernel = _connect(config, identity, timeout)
    return Channels(kernel.shell, kernel.control, kernel.stdin, kernel.iopub, kernel)


def create_main_channel(
    config: Target, *, identity: str | None = None, timeout: float = 10.0
) -> Channel:
    """Connect, and return one Subject for all channels; see ``create_channels``.

    Each message names its channel in ``channel``.
    """
    return _connect(config, identity, timeout).main


def create_shell_subject(
    config: Target, *, identity: str | None = None, timeout: float = 10.0
) -> Channel:
    """Connect, and return the shell channel; see ``create_channels``."""
    return create_channels(config, identity=identity, timeout=timeout).shell


def create_control_subject(
    config: Target, *, identity: str | None = None, timeout: float = 10.0
) -> Channel:
    """Connect, and return the control channel; see ``create_channels``."""
    return create_channels(config, identity=identity, timeout=timeout).control


def create_stdin_subject(
    config: Target, *, identity: str | None = None, timeout: float = 10.0
) -> Channel:
    """Connect, and return the stdin channel; see ``create_channels``."""
    return create_channels(config, identity=identity, timeout=timeout).stdin


def create_iopub_subject(
    config: Target, *, identity: str | None = None, timeout: float = 10.0
) -> Channel:
    """Connect, and return the iopub channel; see ``create_channels``."""
    return create_channels(config, identity=identity, timeout=timeout).iopub


def _connect(config: Target, identity: str | None, timeout: float) -> Kernel:
    refuse_on_event_loop("connecting", "use `kernel = await enchannel.connect(…)`")
    session = Session() if identity is None else Session(id=identity)
    return enchannel.connect(config, session=session, timeout=timeout)
