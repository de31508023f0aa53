"""Output of a command: safe on a terminal, unchanged in a pipe, in order if both streams are one screen."""

from __future__ import annotations

import errno
import os
import select
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import TextIO

from enchannel._cli.terminal.backlog import Backlog
from enchannel._cli.terminal.escapes import strip_escapes
from enchannel._cli.terminal.pane import Pane

__all__ = ["Screen", "is_output_closed"]

# Characters that are written at once: a Ctrl-C takes effect between two writes.
MAX_WRITE_LENGTH = 1 << 16
RESET_COLOURS = "\x1b[0m"
ERASE_LINE = "\r\x1b[K"


class Screen:
    """Writes kernel output and the messages of the command to stdout and stderr.

    Output is buffered: after one or more writes, call ``flush``. After ``skip_backlog`` most of the output
    that had piled up is dropped, until ``on_queue_empty``.

    Attributes:
        out: Stdout.
        err: Stderr.
    """

    def __init__(
        self, out: TextIO | None, err: TextIO | None, environ: Mapping[str, str] = os.environ
    ) -> None:
        self.out, self.err = Pane(out, environ), Pane(err, environ)
        self._last = self.out
        self._backlog = Backlog()

    # -- kernel output ------------------------------------------------------------------------------

    def write_stream(self, pane: Pane, text: str) -> None:
        """Write stream output of the kernel."""
        for start in range(0, len(text), MAX_WRITE_LENGTH):
            piece = text[start : start + MAX_WRITE_LENGTH]
            if not self._backlog.is_active or self._backlog.admit(pane, piece):
                self._show(pane, piece)

    def write_block(self, pane: Pane, text: str) -> None:
        """Write kernel output on lines of its own; in a pipe without colours."""
        if not pane.is_terminal:
            text = strip_escapes(text)
        if not self._backlog.is_active:
            self._start_line(pane)
        self.write_stream(pane, text if text.endswith("\n") else f"{text}\n")

    def write_traceback(self, text: str) -> None:
        """Write a traceback of the kernel to stderr."""
        self._show_backlog_end()
        self.write_block(self.err, text)

    def write_prompt(self, pane: Pane, text: str) -> None:
        """Write the prompt of ``input()``; the answer is typed on the same line."""
        self._show_backlog_end()
        self.write_stream(pane, text)
        self._reset_colours(pane)
        self.flush()

    def on_line_typed(self, pane: Pane) -> None:
        """Note that the terminal has echoed a newline."""
        pane.at_line_start = True

    # -- output of the command ----------------------------------------------------------------------

    def print_message(self, text: str) -> None:
        """Print a message of the command on a line of stderr."""
        self._show_backlog_end()
        self._start_line(self.err)
        self._reset_colours(self.err)
        self.err.write(f"enchannel: {strip_escapes(text).strip()}\n")
        self.flush()

    def warn(self, text: str) -> None:
        """Print a warning of the command on a line of stderr."""
        self.print_message(f"warning: {text}")

    def write(self, text: str) -> None:
        """Write text of the command to stdout."""
        self._switch_to(self.out)
        self.out.write(text)

    def erase_line(self) -> None:
        """Erase the current line of stdout on a terminal."""
        if self.out.is_terminal:
            self.write(ERASE_LINE)
            self.out.at_line_start = True

    def flush(self) -> None:
        """Show everything that was written."""
        self._last.stream.flush()

    def finish(self) -> None:
        """Show everything that was written, and reset the terminal's colours."""
        self._show_backlog_end()
        for pane in (self.out, self.err):
            self._reset_colours(pane)
        self.flush()

    def abandon(self, last_message: str = "") -> None:
        """Discard unwritten output, for which the interpreter would wait, or complain, when it exits.

        Args:
            last_message: Printed on stderr if that does not block.
        """
        if last_message:
            with suppress(OSError):
                line = f"enchannel: {strip_escapes(last_message)}\n"
                _write_if_ready(self.err.stream.fileno(), line.encode())
        null = os.open(os.devnull, os.O_WRONLY)
        for pane in (self.out, self.err):
            # A stream without a descriptor is not written to when the interpreter exits.
            with suppress(OSError):
                if pane.escapes is not None and pane.escapes.is_coloured:
                    _write_if_ready(pane.stream.fileno(), RESET_COLOURS.encode())
                os.dup2(null, pane.stream.fileno())
        os.close(null)

    # -- output that had piled up -------------------------------------------------------------------

    @property
    def is_skipping(self) -> bool:
        """True if output is being dropped after ``skip_backlog``."""
        return self._backlog.is_active

    def skip_backlog(self) -> None:
        """Drop most of the output that had piled up: Ctrl-C was pressed. A signal handler may call this."""
        for pane in (self.out, self.err):
            if pane.is_terminal:
                pane.at_line_start = False  # after the ^C
        if self.out.is_terminal:
            self._backlog.start()

    def on_queue_empty(self) -> None:
        """End the skipping if the kernel has sent everything that had piled up."""
        if self._backlog.is_active and self._backlog.is_settled:
            self._show_backlog_end()

    def _show_backlog_end(self) -> None:
        if not self._backlog.is_active:
            return
        lost, tail = self._backlog.stop()
        if lost > 0:
            self._start_line(self.out)
            self._show(self.out, f"[… {lost} characters of output skipped …]\n")
        for pane, text in tail:
            self._show(pane, text)

    # -- writing ------------------------------------------------------------------------------------

    def _show(self, pane: Pane, text: str) -> None:
        self._switch_to(pane)
        shown = text if pane.escapes is None else pane.escapes.feed(text)
        if shown:
            pane.write(shown)

    def _switch_to(self, pane: Pane) -> None:
        if pane is self._last:
            return
        self._last.stream.flush()
        if pane.is_terminal and self._last.is_terminal:
            pane.at_line_start = self._last.at_line_start  # one screen shows both
        self._last = pane

    def _start_line(self, pane: Pane) -> None:
        self._switch_to(pane)
        if not pane.at_line_start:
            pane.write("\n")

    def _reset_colours(self, pane: Pane) -> None:
        if pane.escapes is not None and pane.escapes.is_coloured:
            self._switch_to(pane)
            pane.stream.write(RESET_COLOURS)
            pane.escapes.is_coloured = False


def is_output_closed(error: OSError) -> bool:
    """Return True if a write failed since the reader has left: a closed pipe, a terminal that hung up."""
    if sys.platform == "win32" and error.errno == errno.EINVAL:
        return True
    return isinstance(error, BrokenPipeError) or error.errno == errno.EIO


def _write_if_ready(descriptor: int, data: bytes) -> None:
    """Write past the buffers, unless the write would block."""
    # Only sockets can be selected on Windows.
    if sys.platform == "win32" or select.select([], [descriptor], [], 0)[1]:
        os.write(descriptor, data)
