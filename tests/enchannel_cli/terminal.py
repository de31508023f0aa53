"""Runs the command on a pseudo-terminal, where a test presses keys and waits for output."""

import errno
import os
import select
import subprocess
import sys
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Self

import pytest

from tests.rigs import DEADLINE

# Makes the terminal the controlling one, as a shell does: Ctrl-C and getpass need that.
SET_CONTROLLING_TERMINAL = (
    "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
    "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
)
CTRL_C = "\x03"
CTRL_D = "\x04"
# Waits for input, and goes on after the first interrupt. See ``press_ctrl_c_twice``.
CODE_THAT_SURVIVES_CTRL_C = """if True:
    import threading
    try:
        input('ready? ')
    except KeyboardInterrupt:
        print('never', flush=True)
        threading.Event().wait()
"""


class Terminal:
    """Runs ``enchannel`` on a terminal of its own.

    Args:
        arguments: The arguments of the command.
        environ: Additional environment variables.
        out: A file descriptor for stdout; by default the terminal.

    Attributes:
        process: The running command.
        shown: The output that ``wait_for`` has not returned yet.
    """

    process: subprocess.Popen[bytes]
    _master: int

    def __init__(
        self, *arguments: str, environ: Mapping[str, str] | None = None, out: int | None = None
    ) -> None:
        self.shown = ""
        if sys.platform == "win32":
            pytest.skip("pseudo-terminals need POSIX")
        import pty

        self._master, slave = pty.openpty()
        try:
            self.process = subprocess.Popen(
                [sys.executable, "-c", SET_CONTROLLING_TERMINAL, "-m", "enchannel", *arguments],
                stdin=slave,
                stdout=slave if out is None else out,
                stderr=slave,
                start_new_session=True,
                env={**os.environ, "TERM": "xterm", **(environ or {})},
            )
        finally:
            os.close(slave)

    def press(self, text: str) -> None:
        """Press keys."""
        os.write(self._master, text.encode())

    def wait_for(self, text: str) -> str:
        """Wait until a text is shown; return the output up to it, and remove that from ``shown``."""
        deadline = time.monotonic() + DEADLINE
        while text not in self.shown:
            if not self._read(deadline):
                raise AssertionError(f"{text!r} is not in {self.shown!r}")
        before, _, self.shown = self.shown.partition(text)
        return before + text

    def wait(self) -> tuple[str, int]:
        """Wait until the command ends; return the rest of the output, and the exit code."""
        deadline = time.monotonic() + DEADLINE
        while self._read(deadline):
            pass
        return self.shown, self.process.wait(DEADLINE)

    def press_ctrl_c_twice(self) -> None:
        """Interrupt CODE_THAT_SURVIVES_CTRL_C, and press Ctrl-C again when it goes on."""
        self.wait_for("ready? ")
        self.press(CTRL_C)
        self.wait_for("never")
        self.press(CTRL_C)

    def _read(self, deadline: float) -> bool:
        """Wait for output; return False at its end."""
        ready, _, _ = select.select([self._master], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            raise AssertionError(f"no more output after {self.shown!r}")
        try:
            data = os.read(self._master, 65_536)
        except OSError as error:
            # Linux reports EIO when the last process has closed the terminal.
            if error.errno != errno.EIO:
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
            # This also ends the kernel of the command.
            self.process.terminate()
            self.process.wait(DEADLINE)
        os.close(self._master)
