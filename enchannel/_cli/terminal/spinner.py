"""A sign of life on a terminal while nothing is there to be shown."""

from __future__ import annotations

import itertools
import os
import threading
from types import TracebackType
from typing import Self

from enchannel._cli.terminal.escapes import plain
from enchannel._cli.terminal.screen import ERASE_LINE, Pane

__all__ = ["Spinner"]

PATIENCE = 0.2  # seconds; what is quicker needs no sign
TURN = 0.1
FRAMES = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
ASCII_FRAMES = "|/-\\"


class Spinner:
    """Turns while its block runs, and is gone without a trace after it. In a pipe it does nothing.

    Args:
        pane: Where; nothing else may write there meanwhile.
        text: What takes so long.
    """

    def __init__(self, pane: Pane, text: str) -> None:
        self._stream = pane.stream
        self._text = plain(text)
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        if pane.terminal and os.environ.get("TERM") != "dumb":
            self._thread = threading.Thread(
                target=self._turn, name="enchannel spinner", daemon=True
            )

    def __enter__(self) -> Self:
        if self._thread is not None:
            self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._over.set()
        if self._thread is not None:
            self._thread.join()

    def _turn(self) -> None:
        if self._over.wait(PATIENCE):
            return
        try:
            for frame in itertools.cycle(self._frames()):
                self._show(f"\r{frame} {self._text}")
                if self._over.wait(TURN):
                    break
            self._show(ERASE_LINE)
        except OSError:  # the terminal is gone, and whoever writes next will notice
            pass

    def _show(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()

    def _frames(self) -> str:
        try:
            FRAMES.encode(self._stream.encoding or "ascii")
        except (LookupError, UnicodeEncodeError):
            return ASCII_FRAMES
        return FRAMES
