"""The names of a kernel's channels."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["ChannelName"]


class ChannelName(StrEnum):
    """A channel of a kernel; the values are the protocol's words, and equal to the plain strings."""

    SHELL = "shell"
    IOPUB = "iopub"
    STDIN = "stdin"
    CONTROL = "control"
    HEARTBEAT = "heartbeat"
