"""The kernel of a command: started or connected to, here or on a server; recorded, and closed."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import enchannel as ec
from enchannel._cli.child_processes import kill_children
from enchannel._cli.error_text import error_text, reporting_invalid_arguments
from enchannel._cli.exit_code import ExitCode
from enchannel._cli.server_access import server_options
from enchannel._cli.terminal.screen import Screen
from enchannel._cli.terminal.signals import Signals, Terminated
from enchannel._cli.terminal.spinner import Spinner
from enchannel.backends import redact_url

__all__ = ["connect", "open_kernel", "use_kernel"]

DEFAULT_KERNEL = "python3"


def open_kernel(
    arguments: argparse.Namespace,
    screen: Screen,
    *,
    default_name: str = "",
    cwd: Path | None = None,
) -> ec.Kernel:
    """Connect to the kernel of ``--existing``; without that, start a kernel.

    Args:
        arguments: The command line.
        screen: Where progress is shown.
        default_name: The kernelspec to use without ``--kernel``.
        cwd: The working directory of a kernel that is started on this machine.
    """
    if arguments.existing is not None:
        return connect(arguments.existing, arguments, screen)
    return _launch(arguments.kernel or default_name or DEFAULT_KERNEL, arguments, screen, cwd)


def _launch(
    name: str, arguments: argparse.Namespace, screen: Screen, cwd: Path | None
) -> ec.Kernel:
    at: str | None = arguments.at
    if at is None:
        with Spinner(screen.err, f"starting {name}"):
            return ec.launch(name, cwd=cwd, record_history=False)
    options = server_options(at, arguments)
    progress = Spinner(screen.err, f"starting {name} on {redact_url(at)}")
    with progress, reporting_invalid_arguments():
        return ec.launch(name, at=at, **options)


def connect(target: str, arguments: argparse.Namespace, screen: Screen) -> ec.Kernel:
    """Connect to a running kernel."""
    at: str | None = arguments.at
    options = server_options(at or target, arguments)
    progress = Spinner(screen.err, f"connecting to {redact_url(target)}")
    with progress, reporting_invalid_arguments():
        return ec.connect(target, at=at, **options)


def use_kernel(
    kernel: ec.Kernel,
    execute: Callable[[ec.Kernel], ExitCode],
    arguments: argparse.Namespace,
    screen: Screen,
    signals: Signals,
) -> int:
    """Execute code in a kernel, record it for ``--record``, and close the kernel.

    Returns:
        The exit code of the command.
    """
    recorder = None
    try:
        try:
            if arguments.record is not None:
                recorder = ec.record(kernel, arguments.record)
            exit_code = execute(kernel)
        finally:
            signals.start_shutdown()
    except Terminated:
        kill_children()
        raise
    finally:
        kernel.close()
        _warn_if_running(kernel, arguments, screen)
        if recorder is not None:
            # The recording has ended with the kernel; this waits until it is written.
            recorder.close()
    if recorder is not None and recorder.error is not None:
        screen.print_message(error_text(recorder.error))
        return exit_code or ExitCode.RAISED
    return exit_code


def _warn_if_running(kernel: ec.Kernel, arguments: argparse.Namespace, screen: Screen) -> None:
    """Report a kernel that its server did not shut down. Local kernels are killed if necessary."""
    if arguments.at is not None and kernel.owned and kernel.state.value is not ec.KernelState.DEAD:
        screen.print_message(
            f"kernel {kernel.id} could not be shut down, and may still run on its server"
        )
