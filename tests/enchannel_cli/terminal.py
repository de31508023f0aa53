"""A terminal with a person at it: types, and looks at what is shown."""

import errno
import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from tests.rigs import DEADLINE

# A shell would give it the terminal as its own; then Ctrl-C and getpass work.
OWN = (
    "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
    "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
)
CTRL_C = "\x03"
CTRL_D = "\x04"


class Terminal:
    """Runs ``enchannel`` on a terminal of its own.

    Args:
        arguments: Of the command.
        environ: Variables beside those of this process.
        out: Where its stdout goes instead, a file descriptor.
    """

    def __init__(
        self, *arguments: str, environ: Mapping[str, str] | None = None, out: int | None = None
    ) -> None:
        self.shown = ""
        self._here, there = pty.openpty()
        try:
            self.process = subprocess.Popen(
                [sys.executable, "-c", OWN, "-m", "enchannel", *arguments],
                stdin=there,
                stdout=there if out is None else out,
                stderr=there,
                start_new_session=True,
                env={**os.environ, "TERM": "xterm", **(environ or {})},
            )
        finally:
            os.close(there)

    def press(self, text: str) -> None:
        """Press keys."""
        os.write(self._here, text.encode())

    def see(self, text: str) -> str:
        """Wait until this is shown; all that is shown by then. What was seen once is not seen again."""
        deadline = time.monotonic() + DEADLINE
        while text not in self.shown:
            if not self._look(deadline):
                raise AssertionError(f"{text!r} is not in {self.shown!r}")
        before, _, self.shown = self.shown.partition(text)
        return before + text

    def end(self) -> tuple[str, int]:
        """Wait for the end; what was shown until then and not seen yet, and the exit code."""
        deadline = time.monotonic() + DEADLINE
        while self._look(deadline):
            pass
        return self.shown, self.process.wait(DEADLINE)

    def _look(self, deadline: float) -> bool:
        """Take in what comes; False at the end."""
        ready, _, _ = select.select([self._here], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            raise AssertionError(f"nothing more is shown after {self.shown!r}")
        try:
            data = os.read(self._here, 65_536)
        except OSError as error:
            if error.errno != errno.EIO:  # nobody has the terminal open any more
                raise
            data = b""
        self.shown += data.decode(errors="replace")
        return bool(data)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self.process.poll() is None:
            self.process.terminate()  # which also ends its kernel
            self.process.wait(DEADLINE)
        os.close(self._here)
