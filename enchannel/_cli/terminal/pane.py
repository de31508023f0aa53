"""Stdout or stderr of the command."""

from __future__ import annotations

import os
from collections.abc import Mapping
from io import TextIOWrapper
from typing import TextIO

from enchannel._cli.terminal.escapes import Escapes, strip_escapes

__all__ = ["Pane"]

# A colour may be reset after the newline that ends a text.
LINE_END_LENGTH = 64


class Pane:
    """One of the two output streams.

    Args:
        stream: None (a closed stream) discards all output.
        environ: NO_COLOR and TERM are read from it.

    Attributes:
        stream: The stream that is written to.
        is_terminal: True if a person sees the text.
        has_colours: True on a terminal, unless NO_COLOR is set or TERM is ``dumb``.
        escapes: The filter of kernel output on a terminal; None in a pipe.
        at_line_start: True if the next text starts a line.
    """

    def __init__(self, stream: TextIO | None, environ: Mapping[str, str]) -> None:
        self.stream = stream or open(os.devnull, "w", encoding="utf-8")
        self.is_terminal = self.stream.isatty()
        is_dumb = environ.get("TERM") == "dumb"
        self.has_colours = self.is_terminal and not is_dumb and not environ.get("NO_COLOR")
        self.escapes = Escapes(colours=self.has_colours) if self.is_terminal else None
        self.at_line_start = True
        if isinstance(self.stream, TextIOWrapper):
            # Characters that the encoding lacks are escaped, and lines are flushed together.
            self.stream.reconfigure(errors="backslashreplace", line_buffering=False)

    def write(self, text: str) -> None:
        """Write a text unchanged."""
        self.stream.write(text)
        if visible := strip_escapes(text[-LINE_END_LENGTH:]):
            self.at_line_start = visible.endswith("\n")
