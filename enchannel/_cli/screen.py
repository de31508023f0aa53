"""Stdout and stderr: safe on a terminal, unchanged in a pipe, in order where both are one screen."""

from __future__ import annotations

import errno
import os
from collections import deque
from collections.abc import Mapping
from io import TextIOWrapper
from typing import TextIO

from enchannel._cli.escapes import Escapes, plain

__all__ = ["Pane", "Screen"]

SLICE = 1 << 16  # characters written at once, so that a Ctrl-C is noticed between two of them
BACKLOG = 1 << 16  # characters that are still shown after a Ctrl-C, of what had piled up
TAIL = 1 << 12  # and the last of them, which say where it stopped
RESET = "\x1b[0m"
ERASE_LINE = "\r\x1b[K"


class Pane:
    """One of the two streams.

    Attributes:
        terminal: Whether a person sees it.
        colours: Whether it shows colours: a terminal, unless NO_COLOR is set or it is a dumb one.
    """

    def __init__(self, stream: TextIO | None, environ: Mapping[str, str]) -> None:
        self.stream = stream or open(os.devnull, "w", encoding="utf-8")  # a closed one is None
        self.terminal = self.stream.isatty()
        dumb = environ.get("TERM") == "dumb"
        self.colours = self.terminal and not dumb and not environ.get("NO_COLOR")
        self.escapes = Escapes(colours=self.colours) if self.terminal else None
        self.fresh = True  # whether a line begins here
        if isinstance(self.stream, TextIOWrapper):
            # What it cannot spell is escaped, and lines are flushed together.
            self.stream.reconfigure(errors="backslashreplace", line_buffering=False)

    def put(self, text: str) -> None:
        """Write it as it is."""
        self.stream.write(text)
        self.fresh = text.endswith("\n")


class Screen:
    """Where a command writes. Whoever writes also calls ``flush``, once for all that is there.

    After ``hurry``, what had piled up is mostly left out, until ``caught_up``.
    """

    def __init__(
        self, out: TextIO | None, err: TextIO | None, environ: Mapping[str, str] = os.environ
    ) -> None:
        self.out, self.err = Pane(out, environ), Pane(err, environ)
        self._last = self.out
        self._hurrying = False
        self._allowance = 0
        self._left_out = 0
        self._tail: deque[tuple[Pane, str]] = deque()

    def stream(self, pane: Pane, text: str) -> None:
        """Text of the kernel's, as it comes."""
        for start in range(0, len(text), SLICE):
            piece = text[start : start + SLICE]
            if self._hurrying and not self._allowed(pane, piece):
                continue
            self._show(pane, piece)

    def line(self, pane: Pane, text: str) -> None:
        """Text of the kernel's, on lines of its own."""
        self._catch_up()
        self._fresh_line(pane)
        self._show(pane, text if text.endswith("\n") else f"{text}\n")

    def traceback(self, text: str) -> None:
        """An error of the kernel's: in colour on a terminal, plain in a pipe."""
        self.line(self.err, text if self.err.colours else plain(text))

    def prompt(self, pane: Pane, text: str) -> None:
        """What the kernel asks; a person answers on the same line."""
        self.stream(pane, text)
        self._reset(pane)
        self.flush()

    def answered(self, pane: Pane) -> None:
        """The person has ended the line."""
        pane.fresh = True

    def say(self, sentence: str) -> None:
        """A sentence of ours."""
        self._catch_up()
        self._fresh_line(self.err)
        self._turn_to(self.err)
        self._reset(self.err)
        self.err.put(f"enchannel: {plain(sentence).strip()}\n")
        self.flush()

    def write(self, text: str) -> None:
        """Text of ours, on stdout."""
        self._turn_to(self.out)
        self.out.put(text)

    def clear_line(self) -> None:
        """Take back the line that is being written, where that is possible."""
        if self.out.terminal:
            self.write(ERASE_LINE)
            self.out.fresh = True

    def flush(self) -> None:
        """Have it shown."""
        self._last.stream.flush()

    def finish(self) -> None:
        """Leave the terminal as it was found."""
        self._catch_up()
        for pane in (self.out, self.err):
            self._reset(pane)
        self.flush()

    def let_go(self) -> None:
        """Write no more: what is still unwritten must not make the interpreter wait, or complain."""
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for pane in (self.out, self.err):
            try:
                os.dup2(nowhere, pane.stream.fileno())
            except OSError:  # it has no descriptor, which is as good
                pass
        os.close(nowhere)

    # -- what had piled up ------------------------------------------------------------------------

    def hurry(self) -> None:
        """Somebody waits for the end of it. A signal handler may call this."""
        if self.out.terminal and not self._hurrying:
            self._allowance = BACKLOG
            self._hurrying = True

    def caught_up(self) -> None:
        """Nothing more is waiting to be shown."""
        self._catch_up()

    def _catch_up(self) -> None:
        if not self._hurrying:
            return
        self._hurrying = False
        kept = sum(len(text) for _, text in self._tail)
        missing, self._left_out = self._left_out - kept, 0
        if missing > 0:
            self._fresh_line(self.out)
            self._show(self.out, f"[… {missing} characters that had piled up …]\n")
        while self._tail:
            self._show(*self._tail.popleft())

    def _allowed(self, pane: Pane, text: str) -> bool:
        if self._allowance > 0:
            self._allowance -= len(text)
            return True
        if not self._left_out and pane.escapes is not None:
            pane.escapes.forget()
        self._left_out += len(text)
        self._tail.append((pane, text[-TAIL:]))
        while len(self._tail) > 1 and sum(len(t) for _, t in self._tail) > TAIL:
            self._tail.popleft()
        return False

    # -- how it is written ------------------------------------------------------------------------

    def _show(self, pane: Pane, text: str) -> None:
        self._turn_to(pane)
        shown = text if pane.escapes is None else pane.escapes.feed(text)
        if shown:
            pane.put(shown)

    def _turn_to(self, pane: Pane) -> None:
        if pane is self._last:
            return
        self._last.stream.flush()
        if pane.terminal and self._last.terminal:
            pane.fresh = self._last.fresh  # one screen shows both
        self._last = pane

    def _fresh_line(self, pane: Pane) -> None:
        self._turn_to(pane)
        if not pane.fresh:
            pane.put("\n")

    def _reset(self, pane: Pane) -> None:
        if pane.escapes is not None and pane.escapes.coloured:
            self._turn_to(pane)
            pane.stream.write(RESET)
            pane.escapes.coloured = False


def is_gone(error: OSError) -> bool:
    """Whether whoever read our output has left: a closed pipe, a terminal that hung up."""
    return isinstance(error, BrokenPipeError) or error.errno == errno.EIO
