"""``enchannel run``."""

from __future__ import annotations

import argparse
import sys

import enchannel as ec
from enchannel._cli.answers import Answers
from enchannel._cli.children import kill_children
from enchannel._cli.execution import Execution
from enchannel._cli.exit_code import ExitCode
from enchannel._cli.printer import JsonPrinter, TextPrinter
from enchannel._cli.program import STDIN, ProgramUnreadable, read_program
from enchannel._cli.screen import Screen
from enchannel._cli.signals import Ended, Signals
from enchannel._cli.spinner import Spinner

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
    try:
        code = read_program(arguments.code)
    except ProgramUnreadable as error:
        screen.say(str(error))
        return ExitCode.USAGE
    printer = JsonPrinter(screen) if arguments.json else TextPrinter(screen)
    stdin = None if arguments.code == STDIN else sys.stdin
    answers = Answers(stdin, screen, only_messages=arguments.json)
    kernel = _kernel(arguments, screen)
    recorder = None
    execution = Execution(kernel, printer, screen, answers, signals)
    try:
        try:
            if arguments.record is not None:
                recorder = ec.record(kernel, arguments.record)
            ended = execution.run(code, timeout=arguments.timeout)
        finally:
            signals.ending()
    except Ended:
        kill_children()
        raise
    finally:
        if execution.stubborn:
            kill_children()
        kernel.close()
        if recorder is not None:  # it ends with the kernel; this waits for it
            recorder.close()
    if recorder is not None and recorder.error is not None:
        screen.say(str(recorder.error))
        return ended or ExitCode.RAISED
    return ended


def _kernel(arguments: argparse.Namespace, screen: Screen) -> ec.Kernel:
    if arguments.connection is not None:
        with Spinner(screen.err, f"connecting to {arguments.connection}"):
            return ec.connect(arguments.connection)
    with Spinner(screen.err, f"starting {arguments.kernel}"):
        return ec.launch(arguments.kernel)
