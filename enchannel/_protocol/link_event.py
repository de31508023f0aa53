"""Events of a link and its kernel, and their JSON records for recordings and relays."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import TypeAlias

import msgspec

from enchannel import errors
from enchannel.errors import EnchannelError, KernelError, MessageNotForwarded

__all__ = [
    "EventRecord",
    "KernelState",
    "LinkEvent",
    "LinkState",
    "clean",
    "decode_error",
    "decode_event",
    "encode_event",
]


class LinkState(StrEnum):
    """The state of the connection to a kernel."""

    CONNECTING = "connecting"
    CONNECTED = "connected"
    LOST = "lost"
    CLOSED = "closed"


class KernelState(StrEnum):
    """The state of a kernel."""

    STARTING = "starting"
    IDLE = "idle"
    BUSY = "busy"
    RESTARTING = "restarting"
    SILENT = "silent"
    DEAD = "dead"


LinkEvent: TypeAlias = LinkState | KernelState | EnchannelError
"""An event of a link: a new state of the link, a new state of the kernel that only the backend can
detect (starting, restarting, dead), or an error. ``ConnectionLost`` and ``KernelDied`` fail the in-flight
requests, ``MessageNotForwarded`` fails the one that it names; all other errors are only reported on
``kernel.errors``."""


class EventRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """A link event as data, to be stored or forwarded as JSON.

    One of ``ended``, ``link``, ``kernel`` and ``error`` is set.

    Attributes:
        ended: The class of the error that ended the link; no record follows this one.
        link: The new state of the link.
        kernel: The new state of the kernel.
        error: The class of an error that does not end the link.
        text: The text of the error.
        exit_code: The exit code of the kernel process, if the error has it.
        stderr: The end of the stderr of the kernel process, if the error has it.
        msg_id: The id of the message that was not forwarded because of the error; empty: it does not
            concern a single message.

    Example:
        >>> EventRecord.of(KernelState.DEAD).encode()
        b'{"kernel":"dead"}'
        >>> EventRecord.of_end(KernelDied("kernel 5 died")).encode()
        b'{"ended":"KernelDied","text":"kernel 5 died"}'
    """

    ended: str | None = None
    link: LinkState | None = None
    kernel: KernelState | None = None
    error: str | None = None
    text: str = ""
    exit_code: int | None = None
    stderr: str = ""
    msg_id: str = ""

    @classmethod
    def of(cls, event: LinkEvent) -> EventRecord:
        """Return the record of an event; an error is kept as its class and text."""
        if isinstance(event, LinkState):
            return cls(link=event)
        if isinstance(event, KernelState):
            return cls(kernel=event)
        if isinstance(event, MessageNotForwarded):
            return msgspec.structs.replace(cls.of(event.reason), msg_id=clean(event.msg_id))
        exit_code: object = getattr(event, "exit_code", None)
        return cls(
            error=type(event).__name__,
            text=clean(str(event)),
            exit_code=exit_code if isinstance(exit_code, int) else None,
            stderr=clean(str(getattr(event, "stderr", ""))),
        )

    @classmethod
    def of_end(cls, error: EnchannelError) -> EventRecord:
        """Return the record of the error that ended a link."""
        return cls(ended=type(error).__name__, text=clean(str(error)))

    @classmethod
    def decode(cls, data: bytes) -> EventRecord:
        """Read a record from JSON.

        Raises:
            msgspec.MsgspecError: The data is not an event record.
        """
        return msgspec.json.decode(data, type=cls)

    def encode(self) -> bytes:
        """Return the record as JSON: the fields that are set."""
        return msgspec.json.encode(self)

    def with_kernel_id(self, old: str, new: str) -> EventRecord:
        """Return the record with the kernel called by its new id where the text has "kernel ID"."""
        if not old:
            return self
        # An id may be any word, also one of the text: that of a connection file is its name.
        name = rf"\bkernel {re.escape(old)}(?![\w-])"
        return msgspec.structs.replace(
            self, text=re.sub(name, lambda match: f"kernel {new}", self.text)
        )

    def to_event(self) -> LinkEvent:
        """Return the event; see ``to_error`` for errors."""
        return self.link or self.kernel or self.to_error()

    def to_error(self) -> EnchannelError:
        """Return the error; for an unknown class, an ``EnchannelError`` whose text names the class."""
        error = self._to_plain_error()
        return MessageNotForwarded(self.msg_id, error) if self.msg_id else error

    def _to_plain_error(self) -> EnchannelError:
        name = self.ended or self.error
        kind: object = getattr(errors, name, None) if name and name in errors.__all__ else None
        if (
            not isinstance(kind, type)
            or not issubclass(kind, EnchannelError)
            or kind in (KernelError, MessageNotForwarded)
        ):
            return EnchannelError(f"{name}: {self.text}")
        error = kind(self.text)
        for attribute, value in (("exit_code", self.exit_code), ("stderr", self.stderr)):
            if hasattr(error, attribute):
                setattr(error, attribute, value)
        return error


def encode_event(event: LinkEvent) -> bytes:
    """Return an event as JSON: ``{"link": …}``, ``{"kernel": …}``, or ``{"error": …, "text": …}``."""
    return EventRecord.of(event).encode()


def decode_event(data: bytes) -> LinkEvent:
    """Read an event that ``encode_event`` has written.

    Raises:
        msgspec.MsgspecError: The data is not an event.
    """
    return EventRecord.decode(data).to_event()


def decode_error(data: bytes) -> EnchannelError:
    """Read an error that ``encode_event`` has written.

    An error of an unknown class becomes an ``EnchannelError`` whose text names the class.

    Raises:
        msgspec.MsgspecError: The data is not an event.
    """
    return EventRecord.decode(data).to_error()


def clean(text: str) -> str:
    """Return a text with characters that UTF-8 cannot encode replaced."""
    return text.encode(errors="replace").decode()
