"""What is answered when code calls ``input()``."""

from __future__ import annotations

import getpass
from typing import TextIO

from enchannel._cli.terminal.escapes import plain
from enchannel._cli.terminal.screen import Screen

__all__ = ["Answers"]


class Answers:
    """Lines of stdin: typed by a person, or waiting in a pipe.

    Args:
        stdin: None, or one that has no lines left, answers nothing.
        screen: Where a person is asked.
        only_messages: Whether stdout is for messages alone, and not for a prompt.
    """

    def __init__(self, stdin: TextIO | None, screen: Screen, *, only_messages: bool) -> None:
        self._stdin = stdin
        self._screen = screen
        self._only_messages = only_messages

    def answer(self, prompt: str, password: bool) -> str:
        """The next one.

        Raises:
            EOFError: there is none.
        """
        stdin, screen = self._stdin, self._screen
        if stdin is None:
            raise EOFError
        person = stdin.isatty()
        if person and password:
            screen.flush()
            return getpass.getpass(plain(prompt))
        seen = screen.out.terminal or not person  # a person does not see what goes into a pipe
        pane = screen.out if seen and not self._only_messages else screen.err
        if person or not self._only_messages:
            screen.prompt(pane, prompt)
        line = stdin.readline()
        if not line:
            raise EOFError
        if person:
            screen.answered(pane)
        return line.removesuffix("\n")
