"""``enchannel run``."""

from __future__ import annotations

import argparse
import sys

import enchannel as ec
from enchannel._cli.child_processes import kill_children
from enchannel._cli.execution import Execution
from enchannel._cli.exit_code import ExitCode
from enchannel._cli.input_reader import Answers
from enchannel._cli.kernel_session import DEFAULT_KERNEL, connect, in_kernel, launch
from enchannel._cli.source_code import STDIN, ProgramUnreadable, is_notebook, read_program
from enchannel._cli.terminal.printer import JsonPrinter, TextPrinter
from enchannel._cli.terminal.screen import Screen
from enchannel._cli.terminal.signals import Ended, Signals

__all__ = ["run"]


def run(arguments: argparse.Namespace, screen: Screen) -> int:
    """Run code; the exit code."""
    with Signals(on_hurry=kill_children) as signals:
        try:
            return _run(arguments, screen, signals)
        except Ended as ended:
            screen.let_go()  # also of what nobody has read yet
            return ended.exit_code


def _run(arguments: argparse.Namespace, screen: Screen, signals: Signals) -> int:
    if is_notebook(arguments.code):
        return _run_notebook(arguments, screen, signals)
    if unmeant := _for_notebooks(arguments):
        screen.say(f"{unmeant} is for notebooks, and this is none: their names end in .ipynb")
        return ExitCode.USAGE
    try:
        code = read_program(arguments.code)
    except ProgramUnreadable as error:
        screen.say(str(error))
        return ExitCode.USAGE
    printer = JsonPrinter(screen) if arguments.json else TextPrinter(screen)
    stdin = None if arguments.code == STDIN else sys.stdin
    answers = Answers(stdin, screen, only_messages=arguments.json)

    def execute(kernel: ec.Kernel) -> ExitCode:
        execution = Execution(kernel, printer, screen, answers, signals)
        try:
            return execution.run(code, timeout=arguments.timeout)
        finally:
            if execution.stubborn:
                kill_children()

    kernel = _kernel(arguments, screen)
    return in_kernel(kernel, execute, arguments, screen, signals)


def _kernel(arguments: argparse.Namespace, screen: Screen) -> ec.Kernel:
    if arguments.connection is not None:
        return connect(arguments.connection, arguments, screen)
    return launch(arguments.kernel or DEFAULT_KERNEL, arguments, screen)


def _run_notebook(arguments: argparse.Namespace, screen: Screen, signals: Signals) -> int:
    try:
        from enchannel._cli.notebook.run import run_notebook
    except ImportError as error:
        raise ec.NotSupported(
            f'running notebooks takes pip install "enchannel[notebook]" ({error})'
        ) from error
    return run_notebook(arguments, screen, signals)


def _for_notebooks(arguments: argparse.Namespace) -> str:
    """An option that only a notebook has a use for, if there is one."""
    given = {
        "--output": arguments.output,
        "--resume": arguments.resume,
        "--allow-errors": arguments.allow_errors,
        "-p": arguments.parameter,
        "--parameters": arguments.parameters,
    }
    return next((name for name, value in given.items() if value), "")
