"""The one thread of the process on which Socket.IO and HTTP happen, for all connections."""

from __future__ import annotations

from enchannel.backends import EventLoopThread, SharedResource

__all__ = ["shared"]


def _loop() -> EventLoopThread:
    return EventLoopThread("enchannel-socketio I/O")


shared = SharedResource(_loop)
"""Who leases it has it run; it ends with the last link."""
