"""``enchannel run``."""

from __future__ import annotations

import argparse
import sys

import enchannel as ec
from enchannel._cli.answers import Answers
from enchannel._cli.children import kill_children
from enchannel._cli.execution import Execution
from enchannel._cli.exit_code import ExitCode
from enchannel._cli.opening import connect, launch
from enchannel._cli.printer import JsonPrinter, TextPrinter
from enchannel._cli.program import STDIN, ProgramUnreadable, read_program
from enchannel._cli.screen import Screen
from enchannel._cli.signals import Ended, Signals

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
        _tell_of_what_is_left(kernel, arguments, screen)
        if recorder is not None:  # it ends with the kernel; this waits for it
            recorder.close()
    if recorder is not None and recorder.error is not None:
        screen.say(str(recorder.error))
        return ended or ExitCode.RAISED
    return ended


def _kernel(arguments: argparse.Namespace, screen: Screen) -> ec.Kernel:
    if arguments.connection is not None:
        return connect(arguments.connection, arguments, screen)
    return launch(arguments.kernel, arguments, screen)


def _tell_of_what_is_left(kernel: ec.Kernel, arguments: argparse.Namespace, screen: Screen) -> None:
    """A process of ours can be killed; a server has to be reached, and to do what it is asked."""
    if arguments.at is not None and kernel.owned and kernel.state.value is not ec.KernelState.DEAD:
        screen.say(f"kernel {kernel.id} could not be shut down, and may still run on its server")
