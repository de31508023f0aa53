"""Ending a kernel together with this process on Linux, also if a signal kills this process."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from functools import cache

__all__ = ["with_parent_death_signal"]

# The kernel gets it when the thread that started it ends, so that thread must run as long as the kernel.
PARENT_DEATH_SIGNAL = "TERM"
PROBE_TIMEOUT = 5.0


def with_parent_death_signal(command: list[str], environ: Mapping[str, str]) -> list[str]:
    """Return a command that runs the given one, and ends with the thread that starts it.

    util-linux's ``setpriv`` sets the signal and replaces itself by the command. A function for ``Popen`` to
    call in the child would have to run Python code in a fork of a process with threads.

    Args:
        command: Returned unchanged on other systems, without ``setpriv``, or if its program is not found:
            starting it reports that.
        environ: The environment in which the command will run.
    """
    prefix = _prefix() if sys.platform == "linux" else None
    if prefix is None or not command:
        return command
    program = os.path.expanduser(command[0])
    if shutil.which(program, path=environ.get("PATH", os.defpath)) is None:
        return command
    return [*prefix, *command]


@cache
def _prefix() -> tuple[str, ...] | None:
    """Return the beginning of a command that sets the signal; None if there is no such program."""
    program = shutil.which("setpriv")
    if program is None:
        return None
    prefix = (program, "--pdeathsig", PARENT_DEATH_SIGNAL, "--")
    try:
        # BusyBox has a setpriv without this option.
        probe = subprocess.run(  # noqa: S603  # a fixed command
            [*prefix, program, "--version"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=PROBE_TIMEOUT,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return prefix if probe.returncode == 0 else None
