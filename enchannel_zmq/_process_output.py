"""The output of a kernel's process on its own stdout and stderr: logged, with the last lines kept."""

from __future__ import annotations

import logging
import os
import sys
import tempfile
from collections import deque

if sys.platform != "win32":
    import fcntl

__all__ = ["ProcessOutput"]

log = logging.getLogger("enchannel.kernel")

MAX_LINES = 100
MAX_LINE_CHARACTERS = 2_000
MAX_PENDING_BYTES = 65_536
READ_BYTES = 65_536
# The file is emptied once this much has been read from it; not on Windows, where the process would go on
# writing at its old offset.
MAX_FILE_BYTES = 16 << 20


class ProcessOutput:
    """A nameless file that the process writes and this process reads.

    Unlike a pipe it never blocks or ends the process while it is not read.

    Args:
        kernel_id: Prefix of the log messages.
    """

    def __init__(self, kernel_id: str) -> None:
        self._kernel_id = kernel_id
        self._file = tempfile.TemporaryFile(prefix="enchannel-")
        self._lines: deque[str] = deque(maxlen=MAX_LINES)
        self._pending = b""
        self._offset = 0
        if sys.platform != "win32":
            flags = fcntl.fcntl(self._file, fcntl.F_GETFL)
            fcntl.fcntl(self._file, fcntl.F_SETFL, flags | os.O_APPEND)

    def fileno(self) -> int:
        """Return the descriptor for the process to write to."""
        return self._file.fileno()

    def read(self) -> None:
        """Log the lines that were written since the last call; a no-op if closed."""
        if self._file.closed:
            return
        self._file.seek(self._offset)
        while data := self._file.read(READ_BYTES):
            self._offset += len(data)
            *lines, pending = (self._pending + data).split(b"\n")
            self._pending = pending[-MAX_PENDING_BYTES:]
            for line in lines:
                text = line.decode(errors="replace").rstrip()[:MAX_LINE_CHARACTERS]
                self._lines.append(text)
                log.info("%s: %s", self._kernel_id, text)
        if sys.platform != "win32" and self._offset > MAX_FILE_BYTES:
            self._file.truncate(0)
            self._offset = 0

    def tail(self) -> str:
        """Read, and return the last lines."""
        self.read()
        pending = self._pending.decode(errors="replace")[:MAX_LINE_CHARACTERS]
        return "\n".join([*self._lines, *([pending] if self._pending else [])])

    def close(self) -> None:
        """Read a last time, and close the file."""
        self.read()
        self._file.close()
