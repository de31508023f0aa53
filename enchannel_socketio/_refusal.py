"""A relay's answer to a message that it did not forward to the kernel."""

from __future__ import annotations

import msgspec

from enchannel.backends import EventRecord
from enchannel.errors import (
    ConnectionLost,
    EnchannelError,
    InvalidMessage,
    KernelDied,
    NotSupported,
)

__all__ = ["Refusal"]


class Refusal(msgspec.Struct, frozen=True):
    """The event ``refused`` of a relay.

    Attributes:
        error: The reason.
        msg_id: The id of the message; empty if the refusal does not concern a message.
        kind: The class of the reason.
        exit_code: See ``KernelDied``.
        stderr: See ``KernelDied``.
    """

    error: str
    msg_id: str = ""
    kind: str = ""
    exit_code: int | None = None
    stderr: str = ""

    def to_error(self) -> EnchannelError:
        """Return the error with which the request fails.

        If the kernel has ended, or is not connected, it is that error. Otherwise it names the relay.
        """
        if not self.msg_id:
            return EnchannelError(f"the relay reports: {self.error}")
        record = EventRecord(
            error=self.kind, text=self.error, exit_code=self.exit_code, stderr=self.stderr
        )
        error = record.to_error()
        if isinstance(error, (ConnectionLost, KernelDied)):
            return error
        text = f"the relay rejected the message: {self.error}"
        for kind in (InvalidMessage, NotSupported):
            if isinstance(error, kind):
                return kind(text)
        return ConnectionLost(text)
