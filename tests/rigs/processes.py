"""Child processes, signals to other processes and counts of open descriptors, on every platform."""

import _thread
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import psutil

__all__ = ["KILL_EXIT_CODE", "count_descriptors", "descendants", "interrupt_main_thread", "kill"]

PROC: Final = Path("/proc")

if sys.platform == "win32":
    KILL_EXIT_CODE: Final = 15
else:
    KILL_EXIT_CODE: Final = -int(signal.SIGKILL)
"""The exit code of a process that was killed with ``kill``."""


def descendants() -> set[psutil.Process]:
    """Return the child processes of this process, and theirs.

    psutil reads the parent of every process of the machine, a hundred times as slow as Linux's own lists.
    """
    me = os.getpid()
    if not (PROC / f"{me}/task/{me}/children").exists():
        return set(psutil.Process().children(recursive=True))
    # Linux may leave out a process while another one ends, so read until two results are equal.
    before, ids = None, set(_descendant_ids(me))
    while before != ids:
        before, ids = ids, set(_descendant_ids(me))
    found: set[psutil.Process] = set()
    for pid in ids:
        with suppress(psutil.NoSuchProcess):
            found.add(psutil.Process(pid))
    return found


def _descendant_ids(pid: int) -> Iterator[int]:
    # Each thread has the children that it started. Threads and processes may end meanwhile.
    with suppress(OSError):
        for task in (PROC / str(pid) / "task").iterdir():
            with suppress(OSError):
                for child in map(int, (task / "children").read_text().split()):
                    yield child
                    yield from _descendant_ids(child)


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
