"""``enchannel run``."""

from __future__ import annotations

import argparse
import sys

import enchannel as ec
from enchannel._cli.child_processes import kill_children
from enchannel._cli.execution import Execution
from enchannel._cli.exit_code import ExitCode
from enchannel._cli.input_reader import InputReader
from enchannel._cli.kernel_session import open_kernel, use_kernel
from enchannel._cli.source_code import STDIN, UnreadableCode, is_notebook, read_code
from enchannel._cli.terminal.printer import JsonPrinter, TextPrinter
from enchannel._cli.terminal.screen import Screen
from enchannel._cli.terminal.signals import Signals, Terminated

__all__ = ["run"]


def run(arguments: argparse.Namespace, screen: Screen) -> int:
    """Run code or a notebook; return the exit code."""
    with Signals(on_repeated_signal=kill_children) as signals:
        try:
            if is_notebook(arguments.code):
                return _run_notebook(arguments, screen, signals)
            return _run_code(arguments, screen, signals)
        except Terminated as terminated:
            screen.abandon()
            return terminated.exit_code


def _run_code(arguments: argparse.Namespace, screen: Screen, signals: Signals) -> int:
    if option := _notebook_option(arguments):
        screen.print_message(f"{option} requires a notebook, a file whose name ends in .ipynb")
        return ExitCode.USAGE
    try:
        code = read_code(arguments.code)
    except UnreadableCode as error:
        screen.print_message(str(error))
        return ExitCode.USAGE
    printer = JsonPrinter(screen) if arguments.json else TextPrinter(screen)
    stdin = None if arguments.code == STDIN else sys.stdin
    input_reader = InputReader(stdin, screen, stdout_has_messages=arguments.json)

    def execute(kernel: ec.Kernel) -> ExitCode:
        execution = Execution(kernel, printer, screen, input_reader, signals)
        try:
            return execution.run(code, timeout=arguments.timeout)
        finally:
            if execution.is_overdue:
                kill_children()

    return use_kernel(open_kernel(arguments, screen), execute, arguments, screen, signals)


def _run_notebook(arguments: argparse.Namespace, screen: Screen, signals: Signals) -> int:
    try:
        from enchannel._cli.notebook.command import run_notebook
    except ImportError as error:
        raise ec.MissingDependency(
            f'running a notebook requires {error.name}; pip install "enchannel[notebook]"'
        ) from error
    return run_notebook(arguments, screen, signals)


def _notebook_option(arguments: argparse.Namespace) -> str:
    """Return an option that was given and is for notebooks only, or an empty string."""
    given = {
        "--output": arguments.output,
        "--resume": arguments.resume,
        "--strict": arguments.strict,
        "--allow-errors": arguments.allow_errors,
        "-p": arguments.parameter,
        "--parameters": arguments.parameters,
    }
    return next((name for name, value in given.items() if value), "")
