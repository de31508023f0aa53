"""The names of the channels of a kernel."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["ChannelName"]


class ChannelName(StrEnum):
    """A channel of a kernel. The values are the protocol's names, and compare equal to plain strings."""

    SHELL = "shell"
    IOPUB = "iopub"
    STDIN = "stdin"
    CONTROL = "control"
    HEARTBEAT = "heartbeat"
