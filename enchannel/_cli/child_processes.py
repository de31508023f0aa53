"""The processes that this one has started."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path

__all__ = ["kill_children"]


def kill_children() -> None:
    """Kill the kernel, so that closing it has nothing to wait for.

    Where they cannot be listed (anywhere but on Linux) nothing happens: closing asks the kernel to end,
    and kills it when it does not.
    """
    for children in Path("/proc/self/task").glob("*/children"):
        with suppress(OSError):
            for pid in map(int, children.read_text().split()):
                kill = os.killpg if os.getpgid(pid) == pid else os.kill
                kill(pid, signal.SIGKILL)
