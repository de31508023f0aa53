"""The kernel of a command: one that is started for it, or that runs; here, or on a server. And its end."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import enchannel as ec
from enchannel._cli.child_processes import kill_children
from enchannel._cli.exit_code import ExitCode
from enchannel._cli.server_access import access, kernel_at
from enchannel._cli.terminal.screen import Screen
from enchannel._cli.terminal.signals import Ended, Signals
from enchannel._cli.terminal.spinner import Spinner
from enchannel.backends import redact_url

__all__ = ["DEFAULT_KERNEL", "connect", "in_kernel", "launch"]

DEFAULT_KERNEL = "python3"


def launch(
    name: str, arguments: argparse.Namespace, screen: Screen, *, cwd: Path | None = None
) -> ec.Kernel:
    """Start a kernel, by its kernelspec's name; here it starts in a directory, if one is given."""
    at: str | None = arguments.at
    if at is None:
        with Spinner(screen.err, f"starting {name}"):
            return ec.launch(name, cwd=cwd)
    told = access(at, arguments)
    with Spinner(screen.err, f"starting {name} on {redact_url(at)}"):
        return ec.launch(name, at=at, **told)


def connect(target: str, arguments: argparse.Namespace, screen: Screen) -> ec.Kernel:
    """Connect to a kernel that runs."""
    at: str | None = arguments.at
    told = access(at or target, arguments)
    with Spinner(screen.err, f"connecting to {redact_url(target)}"):
        if at is not None:
            target = kernel_at(at, target, told)
        return ec.connect(target, **told)


def in_kernel(
    kernel: ec.Kernel,
    execute: Callable[[ec.Kernel], ExitCode],
    arguments: argparse.Namespace,
    screen: Screen,
    signals: Signals,
) -> int:
    """Do something with a kernel, record it if that is asked for, and close it."""
    recorder = None
    try:
        try:
            if arguments.record is not None:
                recorder = ec.record(kernel, arguments.record)
            ended = execute(kernel)
        finally:
            signals.ending()
    except Ended:
        kill_children()
        raise
    finally:
        kernel.close()
        _tell_of_what_is_left(kernel, arguments, screen)
        if recorder is not None:  # it ends with the kernel; this waits for it
            recorder.close()
    if recorder is not None and recorder.error is not None:
        screen.say(str(recorder.error))
        return ended or ExitCode.RAISED
    return ended


def _tell_of_what_is_left(kernel: ec.Kernel, arguments: argparse.Namespace, screen: Screen) -> None:
    """A process of ours can be killed; a server has to be reached, and to do what it is asked."""
    if arguments.at is not None and kernel.owned and kernel.state.value is not ec.KernelState.DEAD:
        screen.say(f"kernel {kernel.id} could not be shut down, and may still run on its server")
