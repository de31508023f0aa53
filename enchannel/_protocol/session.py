"""The identity of a client towards a kernel."""

from __future__ import annotations

import getpass
import uuid
from dataclasses import dataclass, field

from msgspec.structs import replace

from enchannel._protocol.message import PROTOCOL_VERSION, AnyMessage, now

__all__ = ["Session"]


def _username() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        # A user without a name, as in some containers.
        return "username"


@dataclass(frozen=True, slots=True)
class Session:
    """The identity of a client of a kernel; it stays the same across reconnects.

    Attributes:
        id: Unique among the clients of the kernel.
        username: The user name in message headers; by default the login name.
    """

    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    username: str = field(default_factory=_username)

    def fill_headers(self, message: AnyMessage) -> AnyMessage:
        """Return the message with empty header fields (session, user name, date, version) filled in."""
        header = message.header
        if header.session and header.username and header.date and header.version:
            return message
        filled = replace(
            header,
            session=header.session or self.id,
            username=header.username or self.username,
            date=header.date or now(),
            version=header.version or PROTOCOL_VERSION,
        )
        return message.replace(header=filled)
