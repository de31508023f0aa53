"""Answers for code that calls ``input()``, read from stdin."""

from __future__ import annotations

import getpass
from typing import TextIO

from enchannel._cli.terminal.escapes import strip_escapes
from enchannel._cli.terminal.screen import Screen

__all__ = ["InputReader"]


class InputReader:
    """Reads answers line by line: typed on a terminal, or from a pipe or file.

    Args:
        stdin: Where lines are read; None has no lines.
        screen: Where prompts are shown.
        stdout_has_messages: True if stdout is for messages in JSON, so that prompts go to stderr.
    """

    def __init__(self, stdin: TextIO | None, screen: Screen, *, stdout_has_messages: bool) -> None:
        self._stdin = stdin
        self._screen = screen
        self._stdout_has_messages = stdout_has_messages

    def read(self, prompt: str, password: bool) -> str:
        """Show a prompt and return the next line, without its newline.

        Raises:
            EOFError: stdin has no more lines.
        """
        stdin, screen = self._stdin, self._screen
        if stdin is None:
            raise EOFError
        is_typed = stdin.isatty()
        if is_typed and password:
            screen.flush()
            return getpass.getpass(strip_escapes(prompt))
        # A person must see the prompt, which would be hidden in a stdout that is not a terminal.
        is_visible = screen.out.is_terminal or not is_typed
        pane = screen.out if is_visible and not self._stdout_has_messages else screen.err
        if is_typed or not self._stdout_has_messages:
            screen.write_prompt(pane, prompt)
        line = stdin.readline()
        if not line:
            raise EOFError
        if is_typed:
            screen.on_line_typed(pane)
        return line.removesuffix("\n")
