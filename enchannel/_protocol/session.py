"""Who we are to a kernel."""

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
    except (KeyError, OSError, ImportError):  # a user without a name, as in some containers
        return "username"


@dataclass(frozen=True, slots=True)
class Session:
    """One client of a kernel; it keeps its id when the connection is made anew.

    Attributes:
        id: Unique among the kernel's clients.
        username: What headers say.
    """

    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    username: str = field(default_factory=_username)

    def fill_headers(self, message: AnyMessage) -> AnyMessage:
        """The message with session, user name, date and version where its header left them empty."""
        header = message.header
        if header.session and header.username and header.date and header.version:
            return message
        folded = replace(
            header,
            session=header.session or self.id,
            username=header.username or self.username,
            date=header.date or now(),
            version=header.version or PROTOCOL_VERSION,
        )
        return message.replace(header=folded)
