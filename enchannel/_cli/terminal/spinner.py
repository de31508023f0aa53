"""An animation on a terminal while the command waits."""

from __future__ import annotations

import itertools
import os
import threading
from types import TracebackType
from typing import Self

from enchannel._cli.terminal.escapes import strip_escapes
from enchannel._cli.terminal.pane import Pane
from enchannel._cli.terminal.screen import ERASE_LINE

__all__ = ["Spinner"]

# Waits that are shorter show nothing.
START_DELAY = 0.2
FRAME_INTERVAL = 0.1
FRAMES = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
ASCII_FRAMES = "|/-\\"


class Spinner:
    """Shows an animated line while its block runs, and erases it. In a pipe it shows nothing.

    Args:
        pane: The stream; nothing else may be written to it meanwhile.
        text: The action that takes so long.
    """

    def __init__(self, pane: Pane, text: str) -> None:
        self._stream = pane.stream
        self._text = strip_escapes(text)
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        if pane.is_terminal and os.environ.get("TERM") != "dumb":
            self._thread = threading.Thread(
                target=self._animate, name="enchannel spinner", daemon=True
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
        self._stopped.set()
        if self._thread is not None:
            self._thread.join()

    def _animate(self) -> None:
        if self._stopped.wait(START_DELAY):
            return
        try:
            for frame in itertools.cycle(self._frames()):
                self._show(f"\r{frame} {self._text}")
                if self._stopped.wait(FRAME_INTERVAL):
                    break
            self._show(ERASE_LINE)
        except OSError:
            # The terminal is gone. The next write of the command reports it.
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
