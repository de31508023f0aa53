"""The processes that the command has started: its kernel."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

__all__ = ["kill_children"]


def kill_children() -> None:
    """Kill the kernel's process group, so that closing the kernel does not wait for it.

    Children can be listed on Linux only. Elsewhere this does nothing: closing the kernel asks it to shut
    down, and kills it after a grace period.
    """
    if sys.platform != "linux":
        return
    for children in Path("/proc/self/task").glob("*/children"):
        with suppress(OSError):
            for pid in map(int, children.read_text().split()):
                kill = os.killpg if os.getpgid(pid) == pid else os.kill
                kill(pid, signal.SIGKILL)
