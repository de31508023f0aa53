"""``enchannel record``."""

from __future__ import annotations

import argparse
from queue import SimpleQueue

import enchannel as ec
from enchannel._cli.error_text import error_text
from enchannel._cli.exit_code import ExitCode
from enchannel._cli.kernel_session import connect
from enchannel._cli.terminal.screen import Screen
from enchannel._cli.terminal.signals import Signals, Terminated

__all__ = ["record"]


def record(arguments: argparse.Namespace, screen: Screen) -> int:
    """Record a running kernel until it ends or the command is stopped; return the exit code."""
    with Signals() as signals:
        try:
            return _record(arguments, screen, signals)
        except Terminated as terminated:
            # The recording had not begun.
            return terminated.exit_code


def _record(arguments: argparse.Namespace, screen: Screen, signals: Signals) -> int:
    kernel = connect(arguments.target, arguments, screen)
    try:
        recorder = ec.record(
            kernel, arguments.file, keep_input=arguments.keep_input, overwrite=arguments.overwrite
        )
        exit_code = _print_errors(kernel, screen, arguments.file)
        signals.start_shutdown()
        recorder.close()
    finally:
        kernel.close()
    count = f"{recorder.messages} message{'' if recorder.messages == 1 else 's'}"
    screen.print_message(f"recorded {count} in {recorder.path}")
    return exit_code if recorder.error is None else ExitCode.RAISED


def _print_errors(kernel: ec.Kernel, screen: Screen, path: str) -> int:
    """Print the errors of a kernel until its recording ends; return the exit code."""
    errors: SimpleQueue[ec.EnchannelError | None] = SimpleQueue()
    kernel.errors.subscribe(errors.put, on_completed=lambda: errors.put(None))
    try:
        screen.print_message(f"recording kernel {kernel.id} in {path}; press Ctrl-C to stop")
        while (error := errors.get()) is not None:
            screen.print_message(error_text(error))
            if isinstance(error, ec.RecordingFailed):
                break
    except Terminated as terminated:
        return ExitCode.OK if terminated.is_stop_request else terminated.exit_code
    return ExitCode.OK
