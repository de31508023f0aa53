"""The one thread of the process on which WebSockets and HTTP happen, for all connections."""

from __future__ import annotations

from enchannel.abc import Loop, Shared

__all__ = ["shared"]


def _loop() -> Loop:
    return Loop("enchannel-websocket I/O")


shared = Shared(_loop)
"""Who leases it has it run; it ends with the last link."""
