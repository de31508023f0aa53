"""What happens to a link and to the kernel at its other end, and that as JSON, to be kept or passed on."""

from __future__ import annotations

from enum import StrEnum
from typing import TypeAlias

import msgspec

from enchannel import errors
from enchannel.errors import EnchannelError, KernelError

__all__ = [
    "KernelState",
    "LinkState",
    "LinkEvent",
    "clean",
    "decode_error",
    "decode_event",
    "encode_event",
]


class LinkState(StrEnum):
    """How the connection to the kernel is."""

    CONNECTING = "connecting"
    CONNECTED = "connected"
    LOST = "lost"
    CLOSED = "closed"


class KernelState(StrEnum):
    """How the kernel at its other end is."""

    STARTING = "starting"
    IDLE = "idle"
    BUSY = "busy"
    RESTARTING = "restarting"
    SILENT = "silent"
    DEAD = "dead"


LinkEvent: TypeAlias = LinkState | KernelState | EnchannelError
"""What a link tells: a new state of the link, a new state of the kernel that only the backend can
know (starting, restarting, dead), or an error. ``ConnectionLost`` and ``KernelDied`` end the requests that
are open; all errors reach ``kernel.errors``."""


class _Told(msgspec.Struct, frozen=True, omit_defaults=True):
    """A status as JSON: an error by the name of its class and its text."""

    link: LinkState | None = None
    kernel: KernelState | None = None
    error: str | None = None
    text: str = ""
    exit_code: int | None = None
    stderr: str = ""


def encode_event(status: LinkEvent) -> bytes:
    """A status as JSON: ``{"link": …}``, ``{"kernel": …}``, or ``{"error": …, "text": …}``."""
    if isinstance(status, LinkState):
        told = _Told(link=status)
    elif isinstance(status, KernelState):
        told = _Told(kernel=status)
    else:
        exit_code: object = getattr(status, "exit_code", None)
        told = _Told(
            error=type(status).__name__,
            text=clean(str(status)),
            exit_code=exit_code if isinstance(exit_code, int) else None,
            stderr=clean(str(getattr(status, "stderr", ""))),
        )
    return msgspec.json.encode(told)


def decode_event(told: bytes) -> LinkEvent:
    """What ``encode_event`` has told.

    Raises:
        msgspec.MsgspecError: it is nothing of that kind.
    """
    status = msgspec.json.decode(told, type=_Told)
    return status.link or status.kernel or _error(status)


def decode_error(told: bytes) -> EnchannelError:
    """The error that was told; of a class that is not known here, an ``EnchannelError`` that names it.

    Raises:
        msgspec.MsgspecError: it is nothing of that kind.
    """
    return _error(msgspec.json.decode(told, type=_Told))


def _error(told: _Told) -> EnchannelError:
    kind: object = getattr(errors, told.error, None) if told.error in errors.__all__ else None
    if not isinstance(kind, type) or not issubclass(kind, EnchannelError) or kind is KernelError:
        return EnchannelError(f"{told.error}: {told.text}")
    error = kind(told.text)
    for name, value in (("exit_code", told.exit_code), ("stderr", told.stderr)):
        if hasattr(error, name):
            setattr(error, name, value)
    return error


def clean(text: str) -> str:
    """A text that can be encoded, whatever came in it."""
    return text.encode(errors="replace").decode()
