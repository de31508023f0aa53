"""Ctrl-C, and the other signals that end a command."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum, auto
from types import FrameType, TracebackType
from typing import Any, Self

__all__ = ["InputCancelled", "Signals", "Terminated"]


class Terminated(BaseException):
    """Raised on the main thread when a signal ends the command.

    Attributes:
        exit_code: The exit code by which a shell reports that signal.
        is_stop_request: True for Ctrl-C and SIGTERM, which regularly end a command that serves or records.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.exit_code = 128 + signum
        self.is_stop_request = signum in (signal.SIGINT, signal.SIGTERM)


class InputCancelled(BaseException):
    """Raised on the main thread while it waits for a line of input that is not needed any more."""


class _Phase(Enum):
    RUNNING = auto()
    READING_INPUT = auto()
    SHUTTING_DOWN = auto()


# Windows has no signal that interrupts a read. There, input is read to the end of the line even if the
# kernel dies meanwhile.
_WAKE_SIGNAL: int | None = getattr(signal, "SIGALRM", None)


class Signals:
    """Handles signals on the main thread while its block runs; ignored signals stay ignored.

    The first Ctrl-C calls the interrupt handler. If that returns False, and for every later Ctrl-C, SIGTERM
    and SIGHUP, Terminated is raised. After ``start_shutdown`` signals call ``on_repeated_signal`` instead.

    Args:
        on_repeated_signal: Called by the signal handler, to end a shutdown that takes too long.
    """

    def __init__(self, on_repeated_signal: Callable[[], None] = lambda: None) -> None:
        self._phase = _Phase.RUNNING
        self._interrupted = False
        self._on_interrupt: Callable[[], bool] = lambda: False
        self._on_repeated_signal = on_repeated_signal
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Self:
        for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGALRM"):
            signum: int | None = getattr(signal, name, None)
            if signum is None or signal.getsignal(signum) is signal.SIG_IGN:
                continue
            handler = self._on_wake if signum == _WAKE_SIGNAL else self._on_signal
            self._previous[signum] = signal.signal(signum, handler)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for signum, handler in self._previous.items():
            signal.signal(signum, handler)

    def set_interrupt_handler(self, on_interrupt: Callable[[], bool]) -> None:
        """Call a function on the first Ctrl-C. It returns False if there is no code to interrupt."""
        self._on_interrupt = on_interrupt

    def start_shutdown(self) -> None:
        """Stop raising Terminated: the command is ending."""
        self._phase = _Phase.SHUTTING_DOWN

    @contextmanager
    def reading_input(self) -> Iterator[None]:
        """Let the first Ctrl-C and ``cancel_input`` raise InputCancelled in the block."""
        self._phase = _Phase.READING_INPUT
        try:
            yield
        finally:
            if self._phase is _Phase.READING_INPUT:
                self._phase = _Phase.RUNNING

    def cancel_input(self) -> None:
        """Raise InputCancelled on the main thread if it reads input; from any thread."""
        thread = threading.main_thread().ident
        if (
            sys.platform != "win32"
            and self._phase is _Phase.READING_INPUT
            and _WAKE_SIGNAL is not None
            and thread is not None
        ):
            signal.pthread_kill(thread, _WAKE_SIGNAL)

    def _on_signal(self, signum: int, frame: FrameType | None) -> None:
        if self._phase is _Phase.SHUTTING_DOWN:
            self._on_repeated_signal()
            return
        is_first, self._interrupted = not self._interrupted, True
        if signum != signal.SIGINT or not is_first or not self._on_interrupt():
            self._phase = _Phase.SHUTTING_DOWN
            raise Terminated(signum)
        if self._phase is _Phase.READING_INPUT:
            raise InputCancelled

    def _on_wake(self, signum: int, frame: FrameType | None) -> None:
        if self._phase is _Phase.READING_INPUT:
            raise InputCancelled
