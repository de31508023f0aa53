"""The command: it runs a subcommand, and turns errors into a message and an exit code."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import enchannel as ec
from enchannel._cli.arguments import parse_arguments
from enchannel._cli.error_text import error_text
from enchannel._cli.exit_code import ExitCode
from enchannel._cli.terminal.screen import Screen, is_output_closed

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: Those after the name of the program; by default those of this process.

    Returns:
        The exit code.
    """
    screen = Screen(sys.stdout, sys.stderr)
    try:
        return _run(arguments, screen)
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except OSError as error:
        if is_output_closed(error):
            screen.abandon()
            return ExitCode.PIPE_CLOSED
        screen.abandon(last_message=error.strerror or str(error))
        return ExitCode.RAISED


def _run(arguments: Sequence[str] | None, screen: Screen) -> int:
    try:
        parsed = parse_arguments(arguments)
    except SystemExit as finished:
        # argparse has printed its help or an error.
        screen.flush()
        return int(finished.code or 0)
    try:
        exit_code: int = parsed.command(parsed, screen)
        screen.flush()
        return exit_code
    except ec.EnchannelError as error:
        screen.print_message(error_text(error))
        return ExitCode.of(error)
