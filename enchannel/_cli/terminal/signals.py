"""Ctrl-C, and what else asks a command to end."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum, auto
from types import FrameType, TracebackType
from typing import Any, Self

__all__ = ["Ended", "Signals", "Stopped"]


class Ended(BaseException):
    """Raised on the main thread: leave at once.

    Attributes:
        exit_code: What a shell calls an end by that signal.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.exit_code = 128 + signum


class Stopped(BaseException):
    """Raised on the main thread while it waits for a person: nobody needs the answer any more."""


class _Phase(Enum):
    RUNNING = auto()
    ASKING = auto()
    ENDING = auto()


# Where waking is not possible (Windows) a question waits for its answer, whatever happens to the kernel.
_WAKE: int | None = getattr(signal, "SIGALRM", None)


class Signals:
    """Handles signals while its block runs, on the main thread; those that are ignored stay so.

    The first Ctrl-C interrupts what runs, if something does; any other raises Ended, as do SIGTERM and
    SIGHUP. After ``ending`` none raises: they call ``on_hurry``.

    Args:
        on_hurry: Called by the handler.
    """

    def __init__(self, on_hurry: Callable[[], None]) -> None:
        self._phase = _Phase.RUNNING
        self._interrupted = False
        self._on_interrupt: Callable[[], bool] = _not_yet
        self._on_hurry = on_hurry
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGALRM"):
            signum: int | None = getattr(signal, name, None)
            if signum is None or signal.getsignal(signum) is signal.SIG_IGN:
                continue
            handle = self._woken if signum == _WAKE else self._asked_to_end
            self._before[signum] = signal.signal(signum, handle)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for signum, handler in self._before.items():
            signal.signal(signum, handler)

    def running(self, on_interrupt: Callable[[], bool]) -> None:
        """From now on the handler calls ``on_interrupt``: False where nothing has begun yet."""
        self._on_interrupt = on_interrupt

    def ending(self) -> None:
        """From now on it ends anyway."""
        self._phase = _Phase.ENDING

    @contextmanager
    def asking(self) -> Iterator[None]:
        """While the main thread waits for a person, the first Ctrl-C and ``wake`` raise Stopped."""
        self._phase = _Phase.ASKING
        try:
            yield
        finally:
            if self._phase is _Phase.ASKING:
                self._phase = _Phase.RUNNING

    def wake(self) -> None:
        """Stop asking, if it does; from any thread."""
        thread = threading.main_thread().ident
        if self._phase is _Phase.ASKING and _WAKE is not None and thread is not None:
            signal.pthread_kill(thread, _WAKE)

    def _asked_to_end(self, signum: int, frame: FrameType | None) -> None:
        if self._phase is _Phase.ENDING:
            self._on_hurry()
            return
        first, self._interrupted = not self._interrupted, True
        if signum != signal.SIGINT or not first or not self._on_interrupt():
            self._phase = _Phase.ENDING
            raise Ended(signum)
        if self._phase is _Phase.ASKING:
            raise Stopped

    def _woken(self, signum: int, frame: FrameType | None) -> None:
        if self._phase is _Phase.ASKING:
            raise Stopped


def _not_yet() -> bool:
    """Nothing has begun that could be interrupted."""
    return False
