"""The exit codes of the command."""

from __future__ import annotations

from enum import IntEnum

import enchannel as ec

__all__ = ["ExitCode", "is_successful_exit"]


class ExitCode(IntEnum):
    """The result of a command. A command that a signal ended has 128 and its number, as in a shell."""

    OK = 0
    RAISED = 1
    USAGE = 2
    NOT_CONNECTED = 3
    DIED = 4
    OUTPUT_MISSING = 5
    TIMED_OUT = 124
    INTERRUPTED = 130
    PIPE_CLOSED = 141

    @classmethod
    def of(cls, error: ec.EnchannelError) -> ExitCode:
        """Return the exit code for an error that ended the command."""
        match error:
            case ec.KernelDied() | ec.ConnectionLost():
                return cls.DIED
            case ec.OutputMissing():
                return cls.OUTPUT_MISSING
            case ec.RequestTimeout():
                return cls.TIMED_OUT
            case ec.KernelError() | ec.RequestAborted():
                return cls.RAISED
            case ec.RecordingFailed() | ec.InvalidMessage():
                return cls.USAGE
            case _:
                return cls.NOT_CONNECTED


def is_successful_exit(error: BaseException | None) -> bool:
    """Return True if Python code has ended itself without an error, as with ``sys.exit(0)``."""
    return (
        isinstance(error, ec.KernelError)
        and error.ename == "SystemExit"
        and error.evalue in ("", "0", "None")
    )
