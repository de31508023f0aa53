"""Signals to other processes and counts of open descriptors, on every platform."""

import _thread
import signal
import sys
import threading
from typing import Final

import psutil

__all__ = ["KILL_EXIT_CODE", "count_descriptors", "interrupt_main_thread", "kill"]

if sys.platform == "win32":
    KILL_EXIT_CODE: Final = 15
else:
    KILL_EXIT_CODE: Final = -int(signal.SIGKILL)
"""The exit code of a process that was killed with ``kill``."""


def kill(pid: int) -> None:
    """Kill a process: SIGKILL, or its equivalent on Windows."""
    psutil.Process(pid).kill()


def count_descriptors() -> int:
    """Return how many file descriptors, or handles on Windows, this process has open."""
    me = psutil.Process()
    if sys.platform == "win32":
        return me.num_handles()
    return me.num_fds()


def interrupt_main_thread() -> None:
    """Raise KeyboardInterrupt in the main thread, also while it waits."""
    if sys.platform == "win32":
        _thread.interrupt_main()
    else:
        main = threading.main_thread().ident
        assert main is not None
        signal.pthread_kill(main, signal.SIGINT)
