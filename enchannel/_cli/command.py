"""The command: what is asked for is done, and whatever goes wrong is a sentence and an exit code."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import enchannel as ec
from enchannel._cli.arguments import parse
from enchannel._cli.error_text import error_text
from enchannel._cli.exit_code import ExitCode
from enchannel._cli.terminal.screen import Screen, is_gone

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line asks for.

    Returns:
        The exit code.
    """
    screen = Screen(sys.stdout, sys.stderr)
    try:
        return _main(arguments, screen)
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except OSError as error:
        gone = is_gone(error)
        screen.let_go(and_say="" if gone else error.strerror or str(error))
        return ExitCode.PIPE_CLOSED if gone else ExitCode.RAISED


def _main(arguments: Sequence[str] | None, screen: Screen) -> int:
    try:
        asked = parse(arguments)
    except SystemExit as ended:  # argparse has shown its help, or what it does not understand
        screen.flush()
        return int(ended.code or 0)
    try:
        code: int = asked.command(asked, screen)
        screen.flush()
        return code
    except ec.EnchannelError as error:
        screen.say(error_text(error))
        return ExitCode.of(error)
