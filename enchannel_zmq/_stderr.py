"""What a kernel's process prints on its own stdout and stderr: logged, and the last of it kept."""

from __future__ import annotations

import logging
import os
import tempfile
from collections import deque

__all__ = ["Stderr"]

log = logging.getLogger("enchannel.kernel")

LINES = 100  # that are kept
CHARACTERS = 2_000  # of a line
TRUNCATE = 16 << 20  # bytes that were read already, after which the file starts anew


class Stderr:
    """A file without a name, which the process writes and we read: unlike a pipe it never makes a process
    wait, or end, when nobody reads."""

    def __init__(self, kernel_id: str) -> None:
        self._kernel_id = kernel_id
        self._file = tempfile.TemporaryFile(prefix="enchannel-")  # closed by close
        self._lines: deque[str] = deque(maxlen=LINES)
        self._rest = b""
        self._at = 0
        try:
            import fcntl
        except ImportError:  # Windows: it is not truncated there
            self._appends = False
        else:
            flags = fcntl.fcntl(self._file, fcntl.F_GETFL)
            fcntl.fcntl(self._file, fcntl.F_SETFL, flags | os.O_APPEND)
            self._appends = True

    def fileno(self) -> int:
        """For the process to write to."""
        return self._file.fileno()

    def read(self) -> None:
        """Take in what was written since the last time."""
        if self._file.closed:
            return
        self._file.seek(self._at)
        while data := self._file.read(65_536):
            self._at += len(data)
            *lines, rest = (self._rest + data).split(b"\n")
            self._rest = rest[-65_536:]
            for line in lines:
                text = line.decode(errors="replace").rstrip()[:CHARACTERS]
                self._lines.append(text)
                log.info("%s: %s", self._kernel_id, text)
        if self._appends and self._at > TRUNCATE:
            self._file.truncate(0)
            self._at = 0

    def text(self) -> str:
        """The last lines."""
        self.read()
        rest = [self._rest.decode(errors="replace")[:CHARACTERS]] if self._rest else []
        return "\n".join([*self._lines, *rest])

    def close(self) -> None:
        """Read what is there, and let go of the file."""
        self.read()
        self._file.close()
