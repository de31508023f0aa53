"""Stdout and stderr: safe on a terminal, unchanged in a pipe, in order where both are one screen."""

from __future__ import annotations

import errno
import os
import select
import time
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from io import TextIOWrapper
from typing import TextIO

from enchannel._cli.terminal.escapes import Escapes, plain

__all__ = ["Pane", "Screen", "is_gone"]

SLICE = 1 << 16  # characters written at once, so that a Ctrl-C is noticed between two of them
BACKLOG = 1 << 16  # characters that are still shown after a Ctrl-C, of what had piled up
TAIL = 1 << 12  # and the last of them, which say where it stopped
SETTLING = 0.3  # seconds in which a kernel sends what had piled up on its side
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
        if visible := plain(text[-64:]):  # a colour may be reset after the newline
            self.fresh = visible.endswith("\n")


class Screen:
    """Where a command writes. Whoever writes also calls ``flush``, once for all that is there.

    After ``hurry``, what had piled up is mostly left out, until ``caught_up``.

    Attributes:
        hurrying: Whether it is so.
    """

    def __init__(
        self, out: TextIO | None, err: TextIO | None, environ: Mapping[str, str] = os.environ
    ) -> None:
        self.out, self.err = Pane(out, environ), Pane(err, environ)
        self._last = self.out
        self.hurrying = False
        self._settled = 0.0
        self._allowance = 0
        self._left_out = 0
        self._tail: deque[tuple[Pane, str]] = deque()

    def stream(self, pane: Pane, text: str) -> None:
        """Text of the kernel's, as it comes."""
        for start in range(0, len(text), SLICE):
            piece = text[start : start + SLICE]
            if not self.hurrying or self._allowed(pane, piece):
                self._show(pane, piece)

    def line(self, pane: Pane, text: str) -> None:
        """Text of the kernel's, on lines of its own; in a pipe without colours."""
        if not pane.terminal:
            text = plain(text)
        if not self.hurrying:
            self._fresh_line(pane)
        self.stream(pane, text if text.endswith("\n") else f"{text}\n")

    def traceback(self, text: str) -> None:
        """An error of the kernel's."""
        self._stop_hurrying()
        self.line(self.err, text)

    def prompt(self, pane: Pane, text: str) -> None:
        """What the kernel asks; a person answers on the same line."""
        self._stop_hurrying()
        self.stream(pane, text)
        self._reset(pane)
        self.flush()

    def answered(self, pane: Pane) -> None:
        """The person has ended the line."""
        pane.fresh = True

    def say(self, sentence: str) -> None:
        """A sentence of ours."""
        self._stop_hurrying()
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
        self._stop_hurrying()
        for pane in (self.out, self.err):
            self._reset(pane)
        self.flush()

    def let_go(self, *, and_say: str = "") -> None:
        """Write no more: what is still unwritten must not make the interpreter wait, or complain.

        Args:
            and_say: A last sentence, past the buffers.
        """
        if and_say:
            with suppress(OSError):
                _write_now(self.err.stream.fileno(), f"enchannel: {plain(and_say)}\n".encode())
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for pane in (self.out, self.err):
            with suppress(OSError):  # it has no descriptor, which is as good
                if pane.escapes is not None and pane.escapes.coloured:
                    _write_now(pane.stream.fileno(), RESET.encode())
                os.dup2(nowhere, pane.stream.fileno())
        os.close(nowhere)

    # -- what had piled up ------------------------------------------------------------------------

    def hurry(self) -> None:
        """Ctrl-C was pressed: somebody waits for the end of it. A signal handler may call this."""
        for pane in (self.out, self.err):
            if pane.terminal:
                pane.fresh = False  # there is a ^C now
        if self.out.terminal and not self.hurrying:
            self._allowance = BACKLOG
            self._settled = time.monotonic() + SETTLING
            self.hurrying = True

    def caught_up(self) -> None:
        """Nothing more is waiting to be shown; there may still be after a ``hurry`` a moment ago."""
        if self.hurrying and time.monotonic() >= self._settled:
            self._stop_hurrying()

    def _stop_hurrying(self) -> None:
        if not self.hurrying:
            return
        self.hurrying = False
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


def _write_now(descriptor: int, data: bytes) -> None:
    """Past the buffers, and only if nothing has to be waited for."""
    if select.select([], [descriptor], [], 0)[1]:
        os.write(descriptor, data)
